"""Is the clock running? The work itself says so."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Callback, Capture, Fulfilment, Movement, Refund, Transaction
from tests.factories import make_transaction

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/payments/health/"


def ago(minutes: float) -> Any:
    return timezone.now() - timedelta(minutes=minutes)


def a_callback(**fields: Any) -> Callback:
    return Callback.objects.create(gateway="hosted", event_id="evt_1", update={}, received_at=ago(9), **fields)


def poll_waits(minutes: float) -> None:
    Transaction.objects.filter(pk=make_transaction("pending").pk).update(next_poll_at=ago(minutes))


def expiry_waits(minutes: float) -> None:
    make_transaction("pending", expires_at=ago(minutes))


def callback_waits(minutes: float) -> None:
    a_callback(next_attempt_at=ago(minutes))


def fulfilment_waits(minutes: float) -> None:
    make_transaction("success")
    Fulfilment.objects.update(state="owed", next_attempt_at=ago(minutes))


def movement_waits(kind: type[Movement], minutes: float) -> None:
    row = make_transaction("success")
    kind._default_manager.create(
        transaction=row, amount_minor=1, created_at=ago(9), updated_at=ago(9), next_attempt_at=ago(minutes)
    )


def refund_waits(minutes: float) -> None:
    movement_waits(Refund, minutes)


def capture_waits(minutes: float) -> None:
    movement_waits(Capture, minutes)


KINDS = pytest.mark.parametrize(
    "waits", [poll_waits, expiry_waits, callback_waits, fulfilment_waits, refund_waits, capture_waits]
)


@KINDS
def test_due_work_that_nobody_does_is_told(waits: Any) -> None:
    """After three minutes the page is red and says for how long."""
    with time_machine.travel(timezone.now(), tick=False):
        waits(4)
        answer = Client().get(URL)

    assert (answer.status_code, answer.json()["status"]) == (503, "late")
    assert 239 <= answer.json()["seconds"] <= 245


@KINDS
def test_work_that_has_just_come_due_is_no_alarm(waits: Any) -> None:
    """A beat takes a minute."""
    waits(2)
    answer = Client().get(URL)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_what_will_never_be_done_again_is_no_work() -> None:
    """Success, a dead callback, a claimed row: nothing waits."""
    make_transaction("success")
    a_callback(state="dead", next_attempt_at=None)
    Transaction.objects.filter(pk=make_transaction("pending").pk).update(next_poll_at=ago(9), claimed_until=ago(-1))

    assert services.health().waiting == timedelta(0)


def test_the_clock_turns_it_green_again() -> None:
    """One tick does what was due."""
    make_transaction("pending", expires_at=ago(40), gateway_reference="ps_unknown")
    Transaction.objects.update(claimed_until=None)
    red = services.health().late
    services.tick()

    assert (red, services.health().late) == (True, False)


def test_it_costs_six_reads() -> None:
    """However much there is to do."""
    for _ in range(20):
        poll_waits(9)
    with CaptureQueriesContext(connection) as queries:
        services.health()

    assert len(queries) == 6


def test_a_database_that_is_away_is_red_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor reads 503, not a page of Django's."""

    def away() -> None:
        raise OperationalError

    monkeypatch.setattr("django_gatewaypay.services.health", away)
    answer = Client().get(URL)

    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_it_is_only_read(method: str) -> None:
    """And never kept by a cache."""
    assert getattr(Client(), method)(URL).status_code == 405
    assert "no-store" in Client().get(URL)["Cache-Control"]
