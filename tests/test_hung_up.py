"""The suite sees a connection that an ended thread has left open."""

import threading

import pytest
from django.db import connections

from tests.conftest import hang_up, opened


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("name", "told"), [("gatewaypay-sweep_0", ["gatewaypay-sweep_0"]), ("uvicorn", [])])
def test_a_connection_that_was_left_open_is_closed_and_told_when_it_was_ours(name: str, told: list[str]) -> None:
    """Those that live on, as ours here, are left alone."""
    left = []

    def leave() -> None:
        connections["default"].ensure_connection()
        left.append(connections["default"])

    thread = threading.Thread(target=leave, name=name)
    thread.start()
    thread.join()

    assert hang_up() == told
    assert id(left[0]) not in opened
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")
    with pytest.raises(Exception, match="closed"):
        left[0].connection.cursor()
