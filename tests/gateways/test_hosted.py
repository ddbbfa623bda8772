"""The plain hosted protocol, against a gateway on the other side of a real socket."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from moneyed import Money

from django_gatewaypay.exceptions import (
    GatewayDeclined,
    GatewayRejected,
    GatewayUnavailable,
    InvalidSignature,
    MalformedCallback,
)
from django_gatewaypay.gateways import http
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer, sign
from django_gatewaypay.types import CallbackRequest, PaymentRef, PaymentRequest, State

REQUEST = PaymentRequest(
    created_at=datetime(2026, 11, 22, tzinfo=UTC),
    transaction_id="0199f0c2-7c1e-7000-8000-000000000001",
    order_id="1234",
    amount=Money("19.90", "EUR"),
    callback_url="https://shop.example/payments/callbacks/hosted/",
    return_url="https://shop.example/payments/return/0199f0c2/",
    expires_at=datetime(2025, 10, 9, 10, 30, 0, 999, tzinfo=timezone(timedelta(hours=2))),
    idempotency_key="key-1",
    description="Order 1234",
)


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries do not wait."""
    slept: list[float] = []
    monkeypatch.setattr(http.time, "sleep", slept.append)
    return slept


@pytest.fixture
def gateway(gateway_server: GatewayServer) -> Iterator[HostedGateway]:
    ours = HostedGateway(
        "card", api_base=gateway_server.url, webhook_secrets=[gateway_server.secret], api_key="sk_1", timeout=(10, 10)
    )
    yield ours
    ours.client.session.close()


def open_session(gateway: HostedGateway) -> PaymentRef:
    session = gateway.create_session(REQUEST)
    return PaymentRef(
        transaction_id=REQUEST.transaction_id, gateway_reference=session.gateway_reference, amount=REQUEST.amount
    )


def callback(body: bytes, secret: str, event_id: str = "evt_1") -> CallbackRequest:
    return CallbackRequest(sign(secret, event_id, body), body)


# --- Opening a session.


def test_a_session_is_opened_with_what_the_protocol_asks_for(
    gateway: HostedGateway, gateway_server: GatewayServer
) -> None:
    """The amount is a decimal string, the time is UTC, the key is ours, the token is a bearer."""
    session = gateway.create_session(REQUEST)
    (call,) = gateway_server.requests

    assert call.json == {
        "amount": "19.90",
        "currency": "EUR",
        "callback_url": REQUEST.callback_url,
        "return_url": REQUEST.return_url,
        "transaction_id": REQUEST.transaction_id,
        "order_id": "1234",
        "expires_at": "2025-10-09T08:30:00Z",
        "description": "Order 1234",
    }
    assert call.key == "key-1"
    assert call.headers["authorization"] == "Bearer sk_1"
    assert session.gateway_reference in gateway_server.sessions
    assert session.next_action.url == f"{gateway_server.url}pay/{session.gateway_reference}"
    assert session.next_action.method == "GET"


@pytest.mark.parametrize(
    ("money", "amount"), [(Money(2000, "JPY"), "2000"), (Money("1.5", "KWD"), "1.500"), (Money("5", "EUR"), "5.00")]
)
def test_an_amount_is_written_with_the_places_of_its_currency(
    gateway: HostedGateway, gateway_server: GatewayServer, money: Money, amount: str
) -> None:
    """No currency is assumed to have cents."""
    gateway.create_session(replace(REQUEST, amount=money))

    assert gateway_server.requests[0].json["amount"] == amount


def test_the_same_key_finds_the_same_session(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """Asking twice opens one session."""
    first, second = gateway.create_session(REQUEST), gateway.create_session(REQUEST)

    assert first == second
    assert len(gateway_server.sessions) == 1


def test_a_lost_answer_opens_no_second_session(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """A timeout after the effect is got over under the same key."""
    gateway_server.script(Answer.lost())
    session = gateway.create_session(REQUEST)

    assert list(gateway_server.sessions) == [session.gateway_reference]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"reference": "ps_1"},
        {"payment_url": "http://127.0.0.1/pay"},
        {"reference": "", "payment_url": "http://127.0.0.1/pay"},
        {"reference": None, "payment_url": "http://127.0.0.1/pay"},
        {"reference": 17, "payment_url": "http://127.0.0.1/pay"},
        {"reference": "x" * 256, "payment_url": "http://127.0.0.1/pay"},
        {"reference": "ps\n1", "payment_url": "http://127.0.0.1/pay"},
        {"reference": "ps_1", "payment_url": None},
        {"reference": "ps_1", "payment_url": ["http://127.0.0.1/pay"]},
        {"reference": "ps_1", "payment_url": ""},
        {"reference": "ps_1", "payment_url": "/pay/ps_1"},
        {"reference": "ps_1", "payment_url": "javascript:alert(1)"},
        {"reference": "ps_1", "payment_url": "https://evil.example/pay"},
        {"reference": "ps_1", "payment_url": "http://shop.example/pay"},
        {"reference": "ps_1", "payment_url": "https://127.0.0.1@evil.example/pay"},
        {"reference": "ps_1", "payment_url": "http://user@127.0.0.1/pay"},
        {"reference": "ps_1", "payment_url": "http://[::1/pay"},
        {"reference": "ps_1", "payment_url": "https://evil.example\\@127.0.0.1/pay"},
        {"reference": "ps_1", "payment_url": "http://127.0.0.1/pay\r\nX: y"},
    ],
)
def test_a_useless_session_is_an_unknown_outcome(
    gateway: HostedGateway, gateway_server: GatewayServer, answer: dict[str, Any]
) -> None:
    """A session without a reference, or an address that is not the gateway's own, reaches no shopper."""
    gateway_server.script(Answer.json(answer, 201))
    with pytest.raises(GatewayUnavailable):
        gateway.create_session(REQUEST)


def test_a_shopper_may_be_sent_to_a_named_host(gateway_server: GatewayServer) -> None:
    """Where a gateway's pages have another host than its API, the host's settings name it."""
    gateway_server.script(Answer.json({"reference": "ps_1", "payment_url": "https://pay.example/1"}))
    gateway = HostedGateway(
        "card", api_base=gateway_server.url, webhook_secrets=[gateway_server.secret], payment_hosts=["pay.example"]
    )
    session = gateway.create_session(REQUEST)
    gateway.client.session.close()

    assert session.next_action.url == "https://pay.example/1"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(Answer.error(402), GatewayDeclined), (Answer.error(422), GatewayRejected), (Answer.html(), GatewayUnavailable)],
)
def test_a_session_that_is_not_opened_says_whether_that_is_sure(
    gateway: HostedGateway, gateway_server: GatewayServer, answer: Answer, kind: type[Exception]
) -> None:
    """Declined, rejected and unknown are kept apart."""
    gateway_server.script(*[answer] * 3)
    with pytest.raises(kind):
        gateway.create_session(REQUEST)


# --- Asking and canceling.


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("pending", State.PENDING),
        ("processing", State.PROCESSING),
        ("authorized", State.AUTHORIZED),
        ("success", State.SUCCESS),
        ("failed", State.FAILED),
        ("canceled", State.CANCELED),
        ("expired", State.EXPIRED),
        ("SUCCESS", None),
        ("paid", None),
        ("", None),
        ("held", None),
        ("created", None),
    ],
)
def test_a_status_is_one_of_the_protocol_or_unknown(
    gateway: HostedGateway, gateway_server: GatewayServer, word: str, state: State | None
) -> None:
    """An unknown word is data: no state, and the word is kept for staff."""
    payment = open_session(gateway)
    gateway_server.set_status(payment.gateway_reference, word)
    update = gateway.fetch_payment(payment)

    assert update.state is state
    assert update.thin is (state is None)
    assert update.raw["status"] == word
    assert (update.transaction_id, update.gateway_reference) == (payment.transaction_id, payment.gateway_reference)


@pytest.mark.parametrize("word", [None, 1, True, ["success"], {"status": "success"}])
def test_a_status_that_is_no_word_is_unknown(gateway: HostedGateway, gateway_server: GatewayServer, word: Any) -> None:
    """Another JSON type never becomes a state, and never a crash."""
    payment = open_session(gateway)
    gateway_server.set_status(payment.gateway_reference, word)

    assert gateway.fetch_payment(payment).state is None


def test_a_paid_session_tells_what_was_taken(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """What the gateway took comes from the gateway, not from what we asked for."""
    payment = open_session(gateway)
    gateway_server.pay(payment.gateway_reference, amount="19.89")
    update = gateway.fetch_payment(payment)

    assert update.state is State.SUCCESS
    assert update.captured == Money("19.89", "EUR")


@pytest.mark.parametrize(
    ("amount", "currency"),
    [(19.9, "EUR"), ("1e3", "EUR"), ("19.901", "EUR"), (None, "EUR"), ("19.90", "XYZ"), ("19.90", None), (True, "EUR")],
)
def test_an_amount_that_cannot_be_read_is_no_amount(
    gateway: HostedGateway, gateway_server: GatewayServer, amount: Any, currency: Any
) -> None:
    """A success without a readable amount leaves it to the core to hold the money for review."""
    payment = open_session(gateway)
    gateway_server.set_status(payment.gateway_reference, "success", amount=amount, currency=currency)
    update = gateway.fetch_payment(payment)

    assert update.state is State.SUCCESS
    assert update.captured is None


def test_an_unpaid_session_has_taken_nothing(gateway: HostedGateway) -> None:
    """The amount of an open session is a wish, not a fact."""
    assert gateway.fetch_payment(open_session(gateway)).captured is None


def test_a_reference_cannot_leave_its_path(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """A reference is quoted, so a hostile one asks for itself and nothing else."""
    payment = replace(open_session(gateway), gateway_reference="../create-session?x=1#y")
    with pytest.raises(GatewayRejected):
        gateway.fetch_payment(payment)

    assert gateway_server.requests[-1].path == "/status/..%2Fcreate-session%3Fx%3D1%23y"


def test_an_unpaid_session_can_be_canceled(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """The answer is what is true afterwards."""
    payment = open_session(gateway)
    update = gateway.cancel_payment(payment, idempotency_key="cancel-1")

    assert update.state is State.CANCELED
    assert gateway_server.requests[-1].key == "cancel-1"


def test_canceling_what_is_paid_tells_that_it_is_paid(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """Money that was taken is never reported as canceled."""
    payment = open_session(gateway)
    gateway_server.pay(payment.gateway_reference)
    update = gateway.cancel_payment(payment, idempotency_key="cancel-1")

    assert update.state is State.SUCCESS
    assert update.captured == REQUEST.amount


@pytest.mark.parametrize("status", [404, 405, 422])
def test_a_gateway_that_cannot_cancel_is_asked_what_is_true(
    gateway: HostedGateway, gateway_server: GatewayServer, status: int
) -> None:
    """The call is optional; its absence is not an error."""
    payment = open_session(gateway)
    gateway_server.script(Answer.error(status))

    assert gateway.cancel_payment(payment, idempotency_key="cancel-1").state is State.PENDING


# --- Callbacks.


def test_a_signed_callback_becomes_an_update(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """Verified, then read: state, amount, references and the event's id."""
    payment = open_session(gateway)
    gateway_server.pay(payment.gateway_reference)
    request = CallbackRequest(*gateway_server.callback(payment.gateway_reference, event_id="evt_7"))
    gateway.verify_callback(request)
    (update,) = gateway.parse_callback(request)

    assert (update.state, update.captured, update.event_id) == (State.SUCCESS, REQUEST.amount, "evt_7")
    assert (update.transaction_id, update.gateway_reference) == (payment.transaction_id, payment.gateway_reference)


def test_a_callback_and_a_poll_say_the_same(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """Whoever brings the news, it is the same fact."""
    payment = open_session(gateway)
    gateway_server.set_status(payment.gateway_reference, "failed", decline_code="insufficient_funds")
    (told,) = gateway.parse_callback(CallbackRequest(*gateway_server.callback(payment.gateway_reference)))
    asked = gateway.fetch_payment(payment)

    assert replace(told, event_id="", raw={}) == replace(asked, raw={})
    assert told.decline_code == "insufficient_funds"


def test_a_callback_of_a_stranger_is_refused(gateway: HostedGateway) -> None:
    """Without the secret there is no callback."""
    with pytest.raises(InvalidSignature):
        gateway.verify_callback(callback(b"{}", "whsec_c3RyYW5nZXI="))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"event_id": null}',
        b'{"event_id": ""}',
        b'{"event_id": 17}',
        b'{"event_id": "a\\u0000b"}',
        json.dumps({"event_id": "x" * 256}).encode(),
    ],
    ids=repr,
)
def test_a_signed_callback_that_cannot_be_read_is_malformed(gateway: HostedGateway, body: bytes) -> None:
    """No crash, whatever was signed: no object or no event id is one known error."""
    with pytest.raises(MalformedCallback):
        gateway.parse_callback(callback(body, "whsec_YQ=="))


@pytest.mark.parametrize(
    "fields",
    [
        {"reference": None, "transaction_id": {"a": 1}, "status": 1e400},
        {"reference": 17, "amount": [], "currency": {}, "status": "success"},
        {"reference": "x" * 10_000, "status": "success", "amount": "9" * 10_000, "currency": "EUR"},
        {"reference": "a\u0000b\ud800", "status": "success", "amount": "-0", "currency": "EUR"},
        {"decline_code": ["x"], "status": "failed"},
    ],
)
def test_odd_fields_are_shortened_and_printable(gateway: HostedGateway, fields: dict[str, Any]) -> None:
    """What goes into rows and pages is short, printable text."""
    body = json.dumps({"event_id": "evt_1", **fields}).encode()
    (update,) = gateway.parse_callback(callback(body, "whsec_YQ=="))
    words = [update.transaction_id, update.gateway_reference, update.decline_code, *update.raw.values()]

    assert all(isinstance(word, str) and len(word) <= 255 and (word.isprintable() or not word) for word in words)


def test_only_listed_fields_are_kept(gateway: HostedGateway) -> None:
    """What a gateway sends beyond the protocol is not stored: it may be personal."""
    body = json.dumps({"event_id": "evt_1", "status": "pending", "email": "a@b.example", "card": "4242"}).encode()
    (update,) = gateway.parse_callback(callback(body, "whsec_YQ=="))

    assert dict(update.raw) == {"event_id": "evt_1", "status": "pending"}


# --- Its options.


@pytest.mark.parametrize("secrets", [[], "", [""], "whsec_YQ==", ["whsec_"], ["whsec_*"], lambda: []])
def test_an_adapter_without_a_secret_cannot_be_made(secrets: Any) -> None:
    """No secret, no gateway: there is no unverified mode."""
    with pytest.raises(ValueError, match="callback secret"):
        HostedGateway("card", api_base="https://api.example", webhook_secrets=secrets)


def test_an_adapter_does_not_print_its_secrets(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """Its repr names the alias and nothing else."""
    assert repr(gateway) == "<HostedGateway 'card'>"
    assert gateway_server.secret not in str(gateway)
