"""Bodies over real HTTP: a client that names no length is read like any other, and no further."""

import json
from collections.abc import Iterator

import pytest
import requests

from django_gatewaypay.models import Callback, Transaction
from tests.factories import make_order
from tests.journeys.conftest import Site

pytestmark = pytest.mark.django_db(transaction=True)

JSON = {"Content-Type": "application/json"}


def pieces(body: bytes, size: int = 65_536) -> Iterator[bytes]:
    """What makes requests send a chunked body, without a Content-Length."""
    yield from (body[start : start + size] for start in range(0, len(body), size))


def test_a_chunked_request_starts_a_payment(site: Site) -> None:
    """No Content-Length is no empty body."""
    body = json.dumps({"order_id": str(make_order().pk)}).encode()
    answer = requests.post(f"{site.url}/payments/initiate/", data=pieces(body, 3), headers=JSON, timeout=60)

    assert answer.status_code == 201, answer.text
    assert Transaction.objects.get().state == "pending"


@pytest.mark.parametrize("path", ["initiate/", "callbacks/sandbox/"])
@pytest.mark.parametrize("chunked", [True, False])
def test_ten_megabytes_are_refused_however_they_come(site: Site, path: str, chunked: bool) -> None:
    """413, with and without a Content-Length."""
    body = b'{"order_id": "' + b"1" * 10_000_000 + b'"}'
    answer = requests.post(
        f"{site.url}/payments/{path}", data=pieces(body) if chunked else body, headers=JSON, timeout=60
    )

    assert answer.status_code == 413
    assert not Transaction.objects.exists()
    assert not Callback.objects.exists()


def test_a_chunked_callback_is_verified_like_any_other(site: Site) -> None:
    """The signature is checked on what has arrived."""
    answer = requests.post(f"{site.url}/payments/callbacks/sandbox/", data=pieces(b"{}"), headers=JSON, timeout=60)

    assert answer.status_code == 400
