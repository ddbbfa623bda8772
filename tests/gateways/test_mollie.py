"""Mollie, against its own SDK's models and signatures, and a server that speaks its wire."""

import json
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest
from mollie import models
from mollie.utils.webhooks import InvalidSignatureException, SignatureValidator
from moneyed import Money

from django_gatewaypay.exceptions import (
    GatewayError,
    GatewayRejected,
    GatewayUnavailable,
    InvalidSignature,
    MalformedCallback,
)
from django_gatewaypay.gateways import http, mollie_wire
from django_gatewaypay.gateways.mollie import MollieGateway
from django_gatewaypay.models import Transaction
from django_gatewaypay.services import process_callback, receive_callback
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer, RecordedRequest
from django_gatewaypay.types import (
    DECLINE_CODES,
    CallbackRequest,
    PaymentRef,
    PaymentRequest,
    RefundRequest,
    RefundState,
    State,
)

from ..factories import make_transaction
from . import specs
from .patience import impatient_at_first

KEY = "test_do_not_show"
SECRET, OLD = "current_do_not_show", "old_do_not_show"
OURS = "0199f0c2-7c1e-7000-8000-000000000001"
CREATED = datetime(2026, 11, 22, 12, tzinfo=UTC)
REQUEST = PaymentRequest(
    created_at=CREATED,
    transaction_id=OURS,
    order_id="1234",
    amount=Money("19.90", "EUR"),
    callback_url="https://shop.example/payments/callbacks/ideal/",
    return_url="https://shop.example/payments/return/0199f0c2/",
    expires_at=CREATED + timedelta(minutes=30),
    idempotency_key="key-1",
    description="Order 1234",
)


class MollieServer(GatewayServer):
    """Payments, captures and refunds, as far as one payment needs them."""

    def __init__(self) -> None:
        super().__init__()
        self.refunds: dict[str, dict[str, Any]] = {}
        self.replies: dict[tuple[str, str, str], tuple[int, dict[str, Any]]] = {}
        self.captures: list[dict[str, Any]] = []
        self.chargebacks: list[dict[str, Any]] = []
        self.shown_at_once = 250

    def work(self, request: RecordedRequest) -> tuple[int, dict[str, Any]]:
        if request.method == "GET":
            query = dict(parse_qsl(request.query))
            return self.read(query, *request.path.removeprefix("/v2/payments").strip("/").split("/"))
        asked = (request.method, request.path, request.key)
        if asked not in self.replies:
            self.replies[asked] = self.write(request)
        return self.replies[asked]

    def read(self, query: dict[str, str], reference: str, *rest: str) -> tuple[int, dict[str, Any]]:
        if not reference:
            return 200, self.page("payments", [*self.sessions.values()], query)
        if rest == ("refunds",):
            ours = [one for one in self.refunds.values() if one["paymentId"] == reference]
            return 200, self.page("refunds", ours, query)
        if rest == ("captures",):
            return 200, self.page("captures", self.captures, query)
        found = self.refunds.get(rest[-1]) if rest else self.sessions.get(reference)
        if found is None:
            return 404, {"status": 404, "title": "Not Found"}
        back = self.chargebacks if query.get("embed") == "chargebacks" else []
        return 200, found | ({"_embedded": {"chargebacks": back}} if back else {})

    def page(self, name: str, found: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        """The newest first, at most `limit` and no more than the server's own; `from` is the first one shown."""
        newest = found[::-1]
        names = [one["id"] for one in newest]
        rest = newest[names.index(query["from"]) :] if "from" in query else newest
        size = min(int(query["limit"]), self.shown_at_once)
        more = {"href": f"{self.url}v2/payments?from={rest[size]['id']}&limit=5"} if len(rest) > size else None
        return {"count": len(rest[:size]), "_embedded": {name: rest[:size]}, "_links": {"next": more}}

    def write(self, request: RecordedRequest) -> tuple[int, dict[str, Any]]:
        reference, _, action = request.path.removeprefix("/v2/payments").strip("/").partition("/")
        if not reference:
            return 201, self.open(request.json)
        payment = self.sessions[reference]
        if request.method == "DELETE" and payment["isCancelable"]:
            payment.update(status="canceled", isCancelable=False)
            return 200, payment
        if action == "release-authorization" and payment["status"] == "authorized":
            payment["status"] = "canceled"
            return 202, {}
        if action == "captures" and payment["status"] == "authorized" and fits(request.json, payment["amount"]):
            payment.update(status="paid", amountCaptured=request.json["amount"])
            return 201, {"id": "cpt_1", "status": "succeeded"}
        left = payment.get("amountRemaining") or payment.get("amountCaptured") or payment["amount"]
        if action == "refunds" and payment["status"] == "paid" and fits(request.json, left):
            return 201, self.give_back(reference, request.json)
        return 422, {"status": 422, "title": "Unprocessable Entity", "detail": "zoe@example.com do_not_show"}

    def open(self, wanted: dict[str, Any]) -> dict[str, Any]:
        reference = f"tr_{len(self.sessions) + 1}"
        self.sessions[reference] = {
            "resource": "payment",
            "id": reference,
            "mode": "test",
            "createdAt": datetime.now(UTC).isoformat(timespec="seconds"),
            "status": "open",
            "isCancelable": True,
            "amount": wanted["amount"],
            "metadata": wanted["metadata"],
            "details": {"consumerName": "Zoe", "consumerAccount": "NL55INGB0000000000"},
            "_links": {"checkout": {"href": f"{self.url}checkout/{reference}", "type": "text/html"}},
        }
        return self.sessions[reference]

    def give_back(self, reference: str, wanted: dict[str, Any]) -> dict[str, Any]:
        payment, currency = self.sessions[reference], wanted["amount"]["currency"]
        gone = Decimal(payment.get("amountRefunded", {"value": "0"})["value"]) + Decimal(wanted["amount"]["value"])
        taken = Decimal((payment.get("amountCaptured") or payment["amount"])["value"])
        payment["amountRefunded"] = {"currency": currency, "value": str(gone)}
        payment["amountRemaining"] = {"currency": currency, "value": str(taken - gone)}
        name = f"re_{len(self.refunds) + 1}"
        self.refunds[name] = {"id": name, "status": "queued", "paymentId": reference, **wanted}
        return self.refunds[name]


def fits(wanted: dict[str, Any], left: dict[str, str]) -> bool:
    return Decimal(wanted["amount"]["value"]) <= Decimal(left["value"])


def hint(reference: str = "tr_1", **headers: str) -> CallbackRequest:
    """A classic callback: an id, and nothing that proves it."""
    return CallbackRequest({"Content-Type": "application/x-www-form-urlencoded", **headers}, f"id={reference}".encode())


def signed(body: str, secret: str = SECRET) -> CallbackRequest:
    """A next-generation callback, signed by Mollie's own SDK."""
    signature = SignatureValidator.create_signature(body, secret)
    return CallbackRequest(
        {"Content-Type": "application/json", "X-Mollie-Signature": f"sha256={signature}"}, body.encode()
    )


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries do not wait."""
    slept: list[float] = []
    monkeypatch.setattr(http.time, "sleep", slept.append)
    return slept


@pytest.fixture
def server() -> Iterator[MollieServer]:
    with MollieServer() as ours:
        yield ours


@pytest.fixture
def gateway(server: MollieServer) -> Iterator[MollieGateway]:
    ours = MollieGateway("ideal", api_key=KEY, webhook_secrets=[SECRET, OLD], api_base=server.url, timeout=(10, 10))
    yield ours
    ours.client.session.close()


def open_payment(gateway: MollieGateway, request: PaymentRequest = REQUEST) -> PaymentRef:
    session = gateway.create_session(request)
    return PaymentRef(transaction_id=OURS, gateway_reference=session.gateway_reference, amount=request.amount)


# --- What we send.


def test_a_payment_says_what_mollie_needs(gateway: MollieGateway, server: MollieServer) -> None:
    """Amount as text, our id as metadata, our addresses, our key."""
    session = gateway.create_session(REQUEST)
    (call,) = server.requests

    assert call.json == {
        "amount": {"currency": "EUR", "value": "19.90"},
        "description": "Order 1234",
        "redirectUrl": REQUEST.return_url,
        "cancelUrl": REQUEST.return_url,
        "webhookUrl": REQUEST.callback_url,
        "metadata": {"transaction_id": OURS, "order_id": "1234"},
    }
    assert (call.method, call.path, call.key) == ("POST", "/v2/payments", "key-1")
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert session.gateway_reference == "tr_1"
    assert session.next_action.url == f"{server.url}checkout/tr_1"


def test_every_body_is_one_that_mollies_sdk_would_send(gateway: MollieGateway, server: MollieServer) -> None:
    """The SDK's models, made from Mollie's API description, read each body and write the same one."""
    payment = open_payment(gateway, replace(REQUEST, manual_capture=True))
    server.set_status("tr_1", "authorized")
    gateway.capture(payment, idempotency_key="c")
    gateway.refund(RefundRequest(payment=payment, amount=Money(1, "EUR"), idempotency_key="r", reason="Zoe called"))
    bodies = [call.json for call in server.requests if call.method == "POST"]
    kinds = [models.PaymentRequest, models.EntityCapture, models.RefundRequest]
    for kind, body in zip(kinds, bodies, strict=True):
        # Every name is one that the model knows, so that nothing was dropped on the way.
        known = {field.alias or name for name, field in kind.model_fields.items()}
        assert body.keys() <= known
        assert kind.model_validate(body).model_dump(by_alias=True, exclude_unset=True, mode="json") == body
    assert bodies[0]["captureMode"] == "manual"


def test_a_callback_that_mollie_could_not_reach_is_not_named(gateway: MollieGateway, server: MollieServer) -> None:
    """Mollie refuses such a payment; on a developer's machine, asking is enough."""
    gateway.create_session(replace(REQUEST, callback_url="http://127.0.0.1:8000/payments/callbacks/ideal/"))

    assert "webhookUrl" not in server.requests[0].json


@pytest.mark.parametrize(
    ("amount", "currency", "value"),
    [
        ("19.9", "EUR", "19.90"),
        ("2000", "JPY", "2000"),
        ("5", "ISK", "5"),
        ("100.5", "HUF", "100.50"),
        ("1.5", "KWD", "1.500"),
        ("0.01", "USD", "0.01"),
    ],
)
def test_money_is_exact_in_both_directions(
    gateway: MollieGateway, server: MollieServer, amount: str, currency: str, value: str
) -> None:
    """With the places of its currency, no more and no fewer."""
    payment = open_payment(gateway, replace(REQUEST, amount=Money(amount, currency)))
    server.set_status("tr_1", "paid")

    assert server.requests[0].json["amount"] == {"currency": currency, "value": value}
    assert gateway.fetch_payment(payment).captured == Money(amount, currency)


@pytest.mark.parametrize(("amount", "currency"), [("0.5", "JPY"), ("5.5", "ISK"), ("1.005", "EUR"), ("0", "EUR")])
def test_an_amount_that_does_not_fit_is_refused_before_the_call(
    gateway: MollieGateway, server: MollieServer, amount: str, currency: str
) -> None:
    """Nothing is rounded, and nothing is sent."""
    with pytest.raises(GatewayRejected, match="amount"):
        gateway.create_session(replace(REQUEST, amount=Money(amount, currency)))
    assert server.requests == []


# --- A payment's life.


def test_a_payment_from_opening_to_refund(gateway: MollieGateway, server: MollieServer) -> None:
    """Created, paid, hinted at, asked, refunded in part, and asked again."""
    payment = open_payment(gateway)
    opened = gateway.fetch_payment(payment)
    server.set_status("tr_1", "paid")
    request = hint()
    gateway.verify_callback(request)
    (told,) = gateway.parse_callback(request)
    asked = gateway.fetch_payment(payment)
    refund = gateway.refund(RefundRequest(payment=payment, amount=Money("4.90", "EUR"), idempotency_key="r-1"))
    server.refunds["re_1"]["status"] = "refunded"

    assert (opened.state, opened.captured) == (State.PENDING, None)
    assert (told.thin, told.gateway_reference, told.captured, told.transaction_id) == (True, "tr_1", None, "")
    assert (asked.state, asked.captured) == (State.SUCCESS, REQUEST.amount)
    assert (asked.transaction_id, asked.gateway_reference) == (OURS, "tr_1")
    assert (refund.refund_reference, refund.state, refund.amount) == (
        "re_1",
        RefundState.SUBMITTED,
        Money("4.9", "EUR"),
    )
    assert gateway.fetch_refund(payment, "re_1").state is RefundState.SUCCEEDED
    assert gateway.fetch_payment(payment).refunded == Money("4.90", "EUR")


def test_an_authorization_is_captured_or_let_go(gateway: MollieGateway, server: MollieServer) -> None:
    """The answer is what is true afterwards."""
    first, second = (open_payment(gateway, replace(REQUEST, idempotency_key=key)) for key in ("a", "b"))
    for payment in (first, second):
        server.set_status(payment.gateway_reference, "authorized", isCancelable=False)
    asked = gateway.fetch_payment(first)
    taken = gateway.capture(first, idempotency_key="c")
    gone = gateway.cancel_payment(second, idempotency_key="x")

    assert (asked.state, asked.authorized, asked.captured) == (State.AUTHORIZED, REQUEST.amount, None)
    assert (taken.state, taken.captured) == (State.SUCCESS, REQUEST.amount)
    assert gone.state is State.CANCELED


@pytest.mark.parametrize(
    ("status", "cancelable", "state", "deleted"),
    [
        ("open", True, State.CANCELED, True),
        ("open", False, State.PENDING, False),
        ("pending", None, State.PROCESSING, False),
        ("paid", False, State.SUCCESS, False),
    ],
)
def test_what_may_be_canceled_is_canceled(
    gateway: MollieGateway, server: MollieServer, status: str, cancelable: bool | None, state: State, deleted: bool
) -> None:
    """Mollie decides by method; otherwise the truth is told."""
    payment = open_payment(gateway)
    server.set_status("tr_1", status, isCancelable=cancelable)

    assert gateway.cancel_payment(payment, idempotency_key="x").state is state
    assert any(call.method == "DELETE" for call in server.requests) is deleted


def test_a_payment_that_is_paid_while_it_is_canceled_is_paid(gateway: MollieGateway, server: MollieServer) -> None:
    """Mollie refuses, and is asked again."""
    payment = open_payment(gateway)
    server.script(Answer.json({"id": "tr_1", "status": "open", "isCancelable": True}))
    server.set_status("tr_1", "paid", isCancelable=False)

    assert gateway.cancel_payment(payment, idempotency_key="x").state is State.SUCCESS


@pytest.mark.parametrize("word", [*models.PaymentResponseStatus, "brand_new", None, ["paid"], 1])
def test_every_status_of_mollies_sdk_is_known_and_no_other(
    gateway: MollieGateway, server: MollieServer, word: Any
) -> None:
    """An unknown word is data: no state."""
    payment = open_payment(gateway)
    word = getattr(word, "value", word)
    server.set_status("tr_1", word)
    known = {"open": State.PENDING, "pending": State.PROCESSING, "authorized": State.AUTHORIZED, "paid": State.SUCCESS}
    known |= {"failed": State.FAILED, "canceled": State.CANCELED, "expired": State.EXPIRED}

    assert gateway.fetch_payment(payment).state is (known.get(word) if isinstance(word, str) else None)


def test_every_refund_status_of_mollies_sdk_is_known() -> None:
    """And both tables use our words."""
    words = {status.value for status in models.RefundResponseStatus}

    assert words == mollie_wire.REFUND_STATES.keys()
    assert set(mollie_wire.DECLINES.values()) <= DECLINE_CODES
    assert mollie_wire.DECLINES.keys() <= {one.value for one in models.PaymentDetailsFailureReasonResponse}


@pytest.mark.parametrize(
    ("reason", "ours"), [("insufficient_funds", "insufficient_funds"), ("brand_new", "declined"), (None, "declined")]
)
def test_a_failed_payment_says_why(gateway: MollieGateway, server: MollieServer, reason: str | None, ours: str) -> None:
    """In the standard words."""
    payment = open_payment(gateway)
    server.set_status("tr_1", "failed", details={"failureReason": reason})

    assert gateway.fetch_payment(payment).decline_code == ours


def test_totals_are_absolute(gateway: MollieGateway, server: MollieServer) -> None:
    """What was captured, what was refunded (it may be more), and whether anything was charged back."""
    payment = open_payment(gateway)
    euro = {"currency": "EUR"}
    server.set_status(
        "tr_1", "paid", amountCaptured=euro | {"value": "10.00"}, amountRefunded=euro | {"value": "44.90"},
        amountChargedBack=euro | {"value": "19.90"},
    )  # fmt: skip
    disputed = gateway.fetch_payment(payment)
    zero = euro | {"value": "0.00"}
    server.set_status("tr_1", "paid", amountCaptured=zero, amountRefunded=zero, amountChargedBack=zero)
    plain = gateway.fetch_payment(payment)

    assert (disputed.captured, disputed.refunded) == (Money(10, "EUR"), Money("44.90", "EUR"))
    assert disputed.flags == {"disputed"}
    assert (plain.captured, plain.refunded, plain.flags) == (REQUEST.amount, None, frozenset())


@pytest.mark.parametrize(
    "amount", [None, 19.9, {"value": 19.9, "currency": "EUR"}, {"value": "1e3", "currency": "EUR"}]
)
def test_an_amount_that_cannot_be_read_is_no_amount(gateway: MollieGateway, server: MollieServer, amount: Any) -> None:
    """The state stands, and the core holds the money for review."""
    payment = open_payment(gateway)
    server.set_status("tr_1", "paid", amount=amount)
    update = gateway.fetch_payment(payment)

    assert (update.state, update.captured) == (State.SUCCESS, None)


# --- Errors.


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (
            Answer.json({"title": "Unprocessable Entity", "field": "amount", "detail": "x"}, 422),
            GatewayRejected,
            "amount",
        ),
        (Answer.json({"title": "Unauthorized Request"}, 401), GatewayRejected, "Unauthorized Request"),
        (Answer.json({"title": ["x"]}, 404), GatewayRejected, "http_404"),
        (Answer.json({}, 409), GatewayUnavailable, "http_409"),
        (Answer.json({}, 429), GatewayUnavailable, "http_429"),
        (Answer.json({}, 503), GatewayUnavailable, "http_503"),
        (Answer.html(), GatewayUnavailable, "http_200_unreadable"),
        (Answer.json({"id": "tr_1"}, 201), GatewayUnavailable, "no_session"),
        (
            Answer.json({"_links": {"checkout": {"href": "https://evil.example"}}}, 201),
            GatewayUnavailable,
            "no_session",
        ),
        (
            Answer.json({"id": "tr_1", "_links": {"checkout": {"href": "https://evil.example"}}}, 201),
            GatewayUnavailable,
            "payment_url",
        ),
    ],
)
def test_an_error_says_whether_the_outcome_is_known(
    gateway: MollieGateway, server: MollieServer, answer: Answer, kind: type[GatewayError], code: str
) -> None:
    """With Mollie's own word for it; never with our secrets."""
    server.script(*[answer] * 3)
    with pytest.raises(kind) as caught:
        gateway.create_session(REQUEST)

    assert caught.value.code == code
    assert "do_not_show" not in repr(gateway) + "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("answer", [Answer.lost(), Answer.hang(60), Answer.busy("2", 429)])
def test_a_lost_answer_opens_no_second_payment(
    gateway: MollieGateway, server: MollieServer, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is got over under the same key, with the same bytes."""
    server.script(answer)
    if answer.delay:
        impatient_at_first(gateway.client, monkeypatch)
    open_payment(gateway)
    first, second = server.requests

    assert list(server.sessions) == ["tr_1"]
    assert (first.key, first.body) == (second.key, second.body)


# --- Callbacks.


def refused(gateway: MollieGateway, request: CallbackRequest) -> bool:
    try:
        gateway.verify_callback(request)
    except InvalidSignature:
        return True
    return False


@pytest.mark.parametrize(("secret", "verdict"), [(SECRET, False), (OLD, False), ("stranger", True)])
def test_a_signed_callback_is_judged_like_the_sdk_does(gateway: MollieGateway, secret: str, verdict: bool) -> None:
    """In both directions: what the SDK signs, and what the SDK refuses."""
    request = signed('{"id": "event_1"}', secret)
    try:
        SignatureValidator.validate(request.body.decode(), [SECRET, OLD], request.headers["X-Mollie-Signature"])
        theirs = False
    except InvalidSignatureException:
        theirs = True

    assert refused(gateway, request) is theirs is verdict


def test_every_flipped_bit_is_refused(gateway: MollieGateway) -> None:
    """The raw bytes are signed."""
    good = signed('{"id":1}')
    for position in range(len(good.body) * 8):
        body = bytearray(good.body)
        body[position // 8] ^= 1 << position % 8
        assert refused(gateway, replace(good, body=bytes(body))), position


@pytest.mark.parametrize(
    ("make", "verdict"),
    [
        (lambda v: v, False),
        (lambda v: f"sha256={v}", False),
        (lambda v: f"sha256=00, sha256={v}", False),
        (lambda v: "", True),
        (lambda v: "sha256=", True),
        (lambda v: f"sha1={v}", True),
        (lambda v: v[:63], True),
        (lambda v: "\ud800é", True),
    ],
)
def test_a_signature_header_is_believed_only_when_it_is_right(gateway: MollieGateway, make: Any, verdict: bool) -> None:
    """With or without prefix, several during a rotation; an empty one is a bad one."""
    digest = SignatureValidator.create_signature("{}", SECRET)

    assert refused(gateway, CallbackRequest({"x-mollie-signature": make(digest)}, b"{}")) is verdict


def test_a_signature_that_cannot_be_checked_is_refused() -> None:
    """Without a secret, nothing is proved."""
    gateway = MollieGateway("ideal", api_key=KEY)

    assert refused(gateway, signed("{}"))
    assert not refused(gateway, hint())


def test_vectors_that_others_wrote_are_judged_alike() -> None:
    """Signatures that were not made here are accepted and refused as they should be."""
    found = {}
    for one in specs.vectors("mollie"):
        gateway = MollieGateway("ideal", api_key=KEY, webhook_secrets=[one["secret"]])
        found[one["name"]] = not refused(gateway, CallbackRequest(one["headers"], one["body"].encode()))

    assert found == {one["name"]: one["valid"] for one in specs.vectors("mollie")}


@pytest.mark.parametrize("reference", ["ord_1", "sub_1", "tr_", "tr_1/refunds", "tr_%0A", "../tr_1", "tr_" + "x" * 65])
def test_a_hint_about_something_else_names_no_payment(gateway: MollieGateway, reference: str) -> None:
    """So that the core keeps it and does nothing."""
    (told,) = gateway.parse_callback(hint(reference))

    assert (told.gateway_reference, told.transaction_id) == ("", "")


@pytest.mark.parametrize("body", [b"", b"id=", b"x=1", b"id=tr_1&id=tr_2", b"\xff", b"&".join([b"a=1"] * 99)])
def test_a_form_that_names_nothing_is_malformed(gateway: MollieGateway, body: bytes) -> None:
    """No crash, whatever was sent."""
    with pytest.raises(MalformedCallback):
        gateway.parse_callback(CallbackRequest({"Content-Type": "application/x-www-form-urlencoded"}, body))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
def test_json_that_cannot_be_read_is_malformed(gateway: MollieGateway, body: bytes) -> None:
    """The same for the next generation."""
    with pytest.raises(MalformedCallback):
        gateway.parse_callback(CallbackRequest({"content-type": "application/json; charset=utf-8"}, body))


@pytest.mark.parametrize(
    ("event", "reference"),
    [
        ({"type": "payment.paid", "entityId": "tr_1"}, "tr_1"),
        ({"type": "refund.failed", "entityId": "re_1", "_embedded": {"entity": {"paymentId": "tr_1"}}}, "tr_1"),
        ({"type": "refund.failed", "entityId": "re_1"}, ""),
        ({"type": "payout.completed", "entityId": "po_1"}, ""),
        ({"type": ["x"], "entityId": {"x": 1}, "_embedded": "x"}, ""),
    ],
)
def test_an_event_names_its_payment(gateway: MollieGateway, event: dict[str, Any], reference: str) -> None:
    """It has an id of its own, and is a hint all the same."""
    request = signed(json.dumps({"resource": "event", "id": "event_1", **event}))
    gateway.verify_callback(request)
    (told,) = gateway.parse_callback(request)

    assert (told.gateway_reference, told.event_id, told.thin) == (reference, "event_1", True)


@pytest.fixture
def account(server: MollieServer, settings: Any) -> MollieServer:
    """The same gateway as an account of the settings."""
    options = {"api_key": KEY, "api_base": server.url}
    ours = {"BACKEND": "django_gatewaypay.gateways.mollie.MollieGateway", "OPTIONS": options}
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {"ideal": ours}}
    return server


@pytest.mark.django_db
def test_two_hints_with_the_same_bytes_are_both_worked_on(account: MollieServer) -> None:
    """The second one is about another change; dropping it as a redelivery would lose a payment."""
    reference = f"tr_{uuid.uuid4().hex}"
    row = make_transaction(State.PENDING, gateway="ideal", gateway_reference=reference)
    amount = {"currency": "EUR", "value": f"{row.amount.amount:f}"}
    account.sessions[reference] = {"id": reference, "status": "open", "amount": amount}
    states = []
    for status in ("pending", "paid"):
        account.set_status(reference, status)
        (found,) = receive_callback("ideal", hint(reference))
        process_callback(found)
        states.append(Transaction.objects.get(pk=row.pk).state)

    assert states == [State.PROCESSING, State.SUCCESS]


@pytest.mark.django_db
def test_a_false_hint_changes_nothing(account: MollieServer) -> None:
    """Anybody can send one; only what Mollie answers counts."""
    row = make_transaction(State.PENDING, gateway="ideal", gateway_reference="tr_9")
    amount = {"currency": "EUR", "value": f"{row.amount.amount:f}"}
    account.sessions["tr_9"] = {"id": "tr_9", "status": "open", "amount": amount}
    body = b"id=tr_9&status=paid"
    (found,) = receive_callback("ideal", CallbackRequest(hint().headers, body))
    process_callback(found)

    assert Transaction.objects.get(pk=row.pk).state == State.PENDING


# --- The account.


def test_the_key_tells_whether_it_is_play_money() -> None:
    """By its prefix, as Mollie makes them."""
    assert MollieGateway("ideal", api_key="test_1").test_mode
    assert not MollieGateway("ideal", api_key="live_1").test_mode


@pytest.mark.parametrize("options", [{"api_key": ""}, {"api_key": "do_not_show\n"}, {"webhook_secrets": [""]}])
def test_a_useless_account_is_refused_at_once(options: dict[str, Any]) -> None:
    """And the refusal does not quote its secrets."""
    with pytest.raises(ValueError, match=r"key|secret") as caught:
        MollieGateway("ideal", **{"api_key": KEY, **options})
    assert "do_not_show" not in str(caught.value)


def test_nothing_personal_is_kept_of_an_answer(gateway: MollieGateway, server: MollieServer) -> None:
    """Neither keys nor the shopper's name and account reach a row."""
    update = gateway.fetch_payment(open_payment(gateway))
    server.set_status("tr_1", "paid")
    said = repr([gateway, update, gateway.fetch_payment(open_payment(gateway)), hint(), signed("{}")])

    for private in ("do_not_show", "Zoe", "INGB"):
        assert private not in said
