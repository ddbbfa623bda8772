"""The sandbox's API is the plain hosted protocol, and answers every question with a definite word."""

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from django_gatewaypay.sandbox.decisions import Action, decide
from django_gatewaypay.sandbox.models import Mode, SandboxPayment

pytestmark = pytest.mark.django_db

CREATE = "/sandbox/create-session"


def create(api: Client, body: Any, key: str | None = "key-1") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body)
    headers = {} if key is None else {"Idempotency-Key": key}
    return api.post(CREATE, data, content_type="application/json", headers=headers)


def test_a_session_is_opened(api: Client, body: dict[str, Any], settings: Any) -> None:
    """The answer holds the reference, the page's address on our origin, the status and the end."""
    response = create(api, body)
    answer = response.json()

    assert response.status_code == 201
    assert answer["reference"].startswith("sbx_")
    assert answer["payment_url"] == f"{settings.GATEWAYPAY['BASE_URL']}/sandbox/pay/{answer['reference']}/"
    assert answer["status"] == "pending"
    assert answer["expires_at"] == body["expires_at"].replace("+00:00", "Z")


def test_the_same_key_and_body_find_the_same_session(api: Client, body: dict[str, Any]) -> None:
    """A retry opens nothing."""
    first, second = create(api, body), create(api, dict(reversed(body.items())))

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert SandboxPayment.objects.count() == 1


@pytest.mark.parametrize("change", [{"amount": "20.00"}, {"transaction_id": "another"}, {"currency": "USD"}])
def test_the_same_key_with_another_body_is_refused(api: Client, body: dict[str, Any], change: dict[str, str]) -> None:
    """A key names one request."""
    create(api, body)
    response = create(api, body | change)

    assert (response.status_code, response.json()) == (422, {"code": "idempotency_conflict"})


@pytest.mark.django_db(transaction=True)
def test_a_race_for_one_key_opens_one_session(api: Client, body: dict[str, Any]) -> None:
    """Many at once with one key are told of the same session."""
    barrier, answers = threading.Barrier(8), []

    def call() -> None:
        barrier.wait()
        try:
            answers.append(create(api, body).json()["reference"])
        finally:
            connection.close()

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 8
    assert len(set(answers)) == 1


BAD_FIELDS = [
    ("amount", ["0", "-1", "1.999", "1e2", "NaN", 19.99, True, None, [], "9" * 15 + ".99", "1" * 4000]),
    ("currency", ["eur", "XX", "", None, 7, "E\x00R"]),
    ("callback_url", [None, 7, "", "ftp://{shop}/", "//{shop}/", "javascript:alert(1)", "http://127.0.0.1:1/cb"]),
    ("callback_url", ["http://{shop}@evil.example/", "http://evil.example\\@{shop}/", "http://{shop}.evil.example/"]),
    ("callback_url", ["https://{shop}/", "http://[::1", "http://127.0.0.1:99999/", "http://169.254.169.254/latest"]),
    ("return_url", [None, 7, "", "javascript:alert(1)", "http://", "http://a b/", "http://a/\r\nX: y", "http://é/"]),
    ("return_url", ["http://a;script-src/", "http://u:p@a.example/", "http://a.example/" + "x" * 2000]),
    ("transaction_id", [None, 7, "", "x" * 256, "a\x00b", "a\nb", "\ud800"]),
    ("capture", ["automatic", "", 7, True, [], {}]),
    ("expires_at", [None, 7, "", "soon", "2026-01-01", "2030-01-01T00:00:00", "0001-01-01T00:00:00+14:00"]),
]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD_FIELDS for value in values])
def test_a_bad_value_is_refused_by_name(api: Client, body: dict[str, Any], name: str, value: Any, shop: Any) -> None:
    """A definite 422 that says which field, and no row."""
    value = value.replace("{shop}", shop.url.removeprefix("http://")) if isinstance(value, str) else value
    response = create(api, body | {name: value})

    assert response.status_code == 422
    assert response.json()["code"] == ("amount" if name == "currency" else name)
    assert not SandboxPayment.objects.exists()


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 60_000, b'{"amount": ' + b"9" * 5000 + b"}"]
)
def test_a_malformed_body_is_refused(api: Client, data: bytes) -> None:
    """What is no JSON object never becomes a server error."""
    response = create(api, data)

    assert (response.status_code, response.json()) == (422, {"code": "malformed"})


@pytest.mark.parametrize("key", [None, "", "with space", "\x7f", "é", "k" * 256])
def test_a_missing_or_odd_key_is_refused(api: Client, body: dict[str, Any], key: str | None) -> None:
    """Without a usable key no session is opened."""
    response = create(api, body, key)

    assert (response.status_code, response.json()) == (422, {"code": "idempotency_key"})


def test_a_large_body_is_refused(api: Client) -> None:
    """64 KB are enough for anybody."""
    response = create(api, b" " * (64 * 1024 + 1))

    assert (response.status_code, response.json()) == (413, {"code": "too_large"})


@pytest.mark.parametrize(
    "declared", [{"CONTENT_LENGTH": "²"}, {"CONTENT_LENGTH": "-1"}, {"HTTP_TRANSFER_ENCODING": "chunked"}]
)
def test_a_body_of_unknown_length_is_refused(api: Client, declared: dict[str, str]) -> None:
    """Who does not say how much comes is not read."""
    response = api.post(CREATE, b"{}", content_type="application/json", **declared)

    assert response.status_code == 413


def test_a_description_loses_what_cannot_be_shown(api: Client, body: dict[str, Any]) -> None:
    """It is for reading only, so it never fails a payment."""
    create(api, body | {"description": "Cup\x00\n" + "x" * 300})

    assert SandboxPayment.objects.get().description == ("Cup" + "x" * 300)[:255]


CALLS = [
    ("post", CREATE),
    ("get", "/sandbox/status/sbx_x"),
    ("post", "/sandbox/cancel/sbx_x"),
    ("post", "/sandbox/capture/sbx_x"),
    ("post", "/sandbox/refund/sbx_x"),
    ("get", "/sandbox/refund/sbr_x"),
    ("get", "/sandbox/refunds/sbx_x"),
    ("get", "/sandbox/list"),
]


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong", "Basic x", "é"])
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_the_key_is_required(method: str, path: str, given: str) -> None:
    """The API is for customers."""
    response = getattr(Client(), method)(path, headers={"Authorization": given})

    assert (response.status_code, response.json()) == (401, {"code": "unauthorized"})


@pytest.mark.parametrize(("method", "path"), CALLS[1:-1])
def test_an_unknown_reference_is_not_found(api: Client, method: str, path: str) -> None:
    """With a code, as everything else."""
    response = getattr(api, method)(path)

    assert (response.status_code, response.json()) == (404, {"code": "not_found"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", CREATE),
        ("post", "/sandbox/status/x"),
        ("get", "/sandbox/cancel/x"),
        ("get", "/sandbox/capture/x"),
        ("delete", "/sandbox/refund/x"),
        ("post", "/sandbox/refunds/x"),
        ("post", "/sandbox/list"),
        ("get", "/sandbox/pay/x/after/"),
    ],
)
def test_each_address_has_one_method(api: Client, method: str, path: str) -> None:
    """Reading never changes anything, and writing is never a GET."""
    assert getattr(api, method)(path).status_code == 405


def test_status_tells_the_facts(api: Client, payment: SandboxPayment) -> None:
    """The echo of the request, and the word for what is true."""
    assert api.get(f"/sandbox/status/{payment.reference}").json() == {
        "transaction_id": payment.transaction_id,
        "reference": payment.reference,
        "status": "pending",
        "amount": "19.99",
        "currency": "EUR",
    }


def test_a_decline_says_why(api: Client, payment: SandboxPayment) -> None:
    """A failed payment carries its decline code."""
    decide(payment, Action.DECLINE)
    answer = api.get(f"/sandbox/status/{payment.reference}").json()

    assert (answer["status"], answer["decline_code"]) == ("failed", "declined")


def test_an_unpaid_session_expires_by_itself(api: Client, expired: SandboxPayment) -> None:
    """Nobody has to write that down."""
    assert api.get(f"/sandbox/status/{expired.reference}").json()["status"] == "expired"


def test_cancel_closes_an_unpaid_session(api: Client, payment: SandboxPayment) -> None:
    """And says so twice when asked twice."""
    path = f"/sandbox/cancel/{payment.reference}"

    assert [api.post(path).json()["status"] for _ in range(2)] == ["canceled", "canceled"]


@pytest.mark.parametrize(
    ("action", "status"), [(Action.PAY, "success"), (Action.DECLINE, "failed"), (Action.DELAY, "processing")]
)
def test_cancel_leaves_what_is_decided(api: Client, payment: SandboxPayment, action: Action, status: str) -> None:
    """It answers what is true."""
    decide(payment, action)

    assert api.post(f"/sandbox/cancel/{payment.reference}").json()["status"] == status


def test_cancel_leaves_an_expired_session_expired(api: Client, expired: SandboxPayment) -> None:
    """Its page may still be paid."""
    assert api.post(f"/sandbox/cancel/{expired.reference}").json()["status"] == "expired"
    expired.refresh_from_db()
    assert expired.is_undecided


def test_cancel_does_not_stop_money_on_its_way(api: Client, payment: SandboxPayment) -> None:
    """A late payment was pressed already."""
    decide(payment, Action.PAY, Mode.LATE)

    assert api.post(f"/sandbox/cancel/{payment.reference}").json()["status"] == "pending"


def test_asking_makes_a_decision_that_is_due(api: Client, payment: SandboxPayment) -> None:
    """The answer does not depend on the thread."""
    decide(payment, Action.DELAY, seconds=5, now=timezone.now() - timedelta(seconds=6))

    assert api.get(f"/sandbox/status/{payment.reference}").json()["status"] == "success"
    assert payment.deliveries.count() == 2
