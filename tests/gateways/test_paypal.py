"""PayPal, against a scripted account on loopback, PayPal's API descriptions and real signatures."""

import base64
import json
import os
import subprocess
import sys
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from moneyed import Money
from openapi_schema_validator import OAS30Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from django_gatewaypay.checks import check_gateways
from django_gatewaypay.exceptions import (
    GatewayRejected,
    GatewayUnavailable,
    InvalidSignature,
    MalformedCallback,
)
from django_gatewaypay.gateways import http, paypal, paypal_signature, paypal_wire
from django_gatewaypay.gateways.paypal import PayPalGateway
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

CLIENT_ID, SECRET, WEBHOOK_ID = "client-1", "very-secret", "4JH86294D6297924G"
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
OUR_ID = "0199f0c2-7c1e-7000-8000-000000000001"
REQUEST = PaymentRequest(
    created_at=NOW,
    transaction_id=OUR_ID,
    order_id="1234",
    amount=Money("19.90", "EUR"),
    callback_url="https://shop.example/payments/callbacks/paypal/",
    return_url="https://shop.example/payments/return/0199f0c2/",
    expires_at=NOW + timedelta(minutes=30),
    idempotency_key=f"gatewaypay-{OUR_ID}",
    description="Order 1234",
)
SHARED = Path(os.environ.get("GATEWAYPAY_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def read_shared(name: str) -> dict[str, Any]:
    file = SHARED / name
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


SPECS = [
    read_shared(f"specs/paypal-{name}.json")
    for name in ("checkout_orders_v2", "payments_payment_v2", "notifications_webhooks_v1.trimmed")
]
VECTORS = read_shared("vectors.json")
needs_specs = pytest.mark.skipif(not all(SPECS), reason="no specs/ of PayPal: name its folder in GATEWAYPAY_SHARED")
needs_vectors = pytest.mark.skipif(not VECTORS, reason="no vectors.json: name its folder in GATEWAYPAY_SHARED")


class PayPalServer(GatewayServer):
    """Tokens, orders, captures, authorizations and refunds of one account; the same key replays."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[str] = []
        self.replies: dict[str, tuple[int, dict[str, Any]]] = {}
        self.pem = b""
        self.capture_status = "COMPLETED"
        self.refund_status = "COMPLETED"
        self.verdict = "SUCCESS"

    def _receive(self, request: RecordedRequest) -> Answer:
        if "/notifications/certs/" in request.path and not self._script:
            self.requests.append(request)
            return Answer(body=self.pem)
        return super()._receive(request)

    def work(self, request: RecordedRequest) -> tuple[int, dict[str, Any]]:
        path = request.path.strip("/").split("/")
        if path[1] == "oauth2":
            basic = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
            if (
                request.headers.get("authorization") != f"Basic {basic}"
                or request.body != b"grant_type=client_credentials"
            ):
                return 401, {"error": "invalid_client", "error_description": "Client Authentication failed"}
            self.tokens.append(f"token-{len(self.tokens)}")
            return 200, {"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": 32400}
        if not self.tokens or request.headers.get("authorization") != f"Bearer {self.tokens[-1]}":
            return 401, {"error": "invalid_token", "error_description": "Token signature verification failed"}
        if path[-1] == "verify-webhook-signature":
            return 200, {"verification_status": self.verdict}
        if request.method == "GET":
            return (200, self.sessions[path[-1]]) if path[-1] in self.sessions else issue("INVALID_RESOURCE_ID", 404)
        key = request.headers.get("paypal-request-id", "")
        if not 0 < len(key) <= 108:
            return issue("PAYPAL_REQUEST_ID_REQUIRED", 400)
        if key not in self.replies:
            reply = self._write(path, request.json)
            if reply[0] >= 400:
                return reply
            self.replies[key] = reply
        return self.replies[key]

    def _write(self, path: list[str], body: Any) -> tuple[int, dict[str, Any]]:
        if path[-1] == "orders":
            return self._create(body)
        reference, verb = path[-2:]
        return getattr(self, f"_{verb}_{path[-3]}")(self.sessions[reference], body)

    def _create(self, body: Any) -> tuple[int, dict[str, Any]]:
        order = {"id": f"O{uuid.uuid4().hex[:16].upper()}", "status": "PAYER_ACTION_REQUIRED", **body}
        order["links"] = [{"rel": "self", "href": "x"}, {"rel": "payer-action", "href": f"{self.url}{order['id']}"}]
        self.sessions[order["id"]] = order
        return 200, order

    def _pay(self, order: dict[str, Any], kind: str, status: str, amount: Any = None) -> dict[str, Any]:
        unit = order["purchase_units"][0]
        paid = {
            "id": f"{kind[0].upper()}{uuid.uuid4().hex[:16].upper()}",
            "status": status,
            "amount": amount or unit["amount"],
            "custom_id": unit["custom_id"],
            "supplementary_data": {"related_ids": {"order_id": order["id"]}},
        }
        unit.setdefault("payments", {}).setdefault(kind, []).append(paid)
        self.sessions[paid["id"]] = paid
        order["status"] = "COMPLETED"
        return paid

    def _capture_orders(self, order: dict[str, Any], _: Any) -> tuple[int, dict[str, Any]]:
        if order["status"] == "COMPLETED":
            return issue("ORDER_ALREADY_CAPTURED")
        self._pay(order, "captures", self.capture_status)
        return 201, order

    def _authorize_orders(self, order: dict[str, Any], _: Any) -> tuple[int, dict[str, Any]]:
        self._pay(order, "authorizations", "CREATED")
        return 201, order

    def _order_of(self, paid: dict[str, Any]) -> dict[str, Any]:
        return self.sessions[paid["supplementary_data"]["related_ids"]["order_id"]]

    def _capture_authorizations(self, held: dict[str, Any], body: Any) -> tuple[int, dict[str, Any]]:
        order = self._order_of(held)
        payments = order["purchase_units"][0]["payments"]
        gone = sum(amount_of(one) for one in [*payments.get("captures", []), body])
        if held["status"] not in {"CREATED", "PARTIALLY_CAPTURED"}:
            return issue("AUTHORIZATION_ALREADY_CAPTURED")
        if gone > amount_of(held):
            return issue("MAX_CAPTURE_AMOUNT_EXCEEDED")
        held["status"] = "CAPTURED" if gone == amount_of(held) else "PARTIALLY_CAPTURED"
        taken = self._pay(order, "captures", "COMPLETED", body["amount"])
        taken["final_capture"] = body["final_capture"]
        taken["supplementary_data"]["related_ids"]["authorization_id"] = held["id"]
        return 201, taken

    def _void_authorizations(self, held: dict[str, Any], _: Any) -> tuple[int, dict[str, Any]]:
        if held["status"] not in {"CREATED", "PARTIALLY_CAPTURED"}:
            return issue("PREVIOUSLY_CAPTURED")
        held["status"] = "VOIDED"
        return 200, held

    def _refund_captures(self, paid: dict[str, Any], body: Any) -> tuple[int, dict[str, Any]]:
        order = self._order_of(paid)
        refunds = order["purchase_units"][0]["payments"].get("refunds", [])
        up = {"rel": "up", "href": f"https://api.paypal.com/v2/payments/captures/{paid['id']}"}
        ours = [one for one in refunds if up in one["links"] and one["status"] != "FAILED"]
        if sum(map(amount_of, ours)) + amount_of(body) > amount_of(paid):
            return issue("REFUND_AMOUNT_EXCEEDED")
        if any(one.get("invoice_id") == body.get("invoice_id", "-") for one in refunds):
            return issue("DUPLICATE_INVOICE_ID")
        paid["status"] = "PARTIALLY_REFUNDED"
        made = self._pay(order, "refunds", self.refund_status, body["amount"])
        made.update(body, links=[up])
        return 201, made

    def calls(self, path: str = "") -> list[RecordedRequest]:
        """What was asked, but for tokens."""
        return [one for one in self.requests if "oauth2" not in one.path and one.path.endswith(path)]


def amount_of(found: dict[str, Any]) -> Decimal:
    return Decimal(found["amount"]["value"])


def issue(name: str, status: int = 422) -> tuple[int, dict[str, Any]]:
    return status, {"name": "UNPROCESSABLE_ENTITY", "details": [{"issue": name}], "debug_id": "d1"}


def find_faults(call: RecordedRequest) -> list[str]:
    """What PayPal's descriptions say against the body of a call."""
    wanted = call.path.strip("/").split("/")
    for spec in SPECS:
        for path, operations in spec["paths"].items():
            steps = path.strip("/").split("/")
            if len(steps) != len(wanted) or not all(a == b or a[0] == "{" for a, b in zip(steps, wanted, strict=True)):
                continue
            found = operations[call.method.lower()].get("requestBody")
            if not found:
                return ["a body where none is asked for"]
            schema = found["content"]["application/json"]["schema"]
            registry = Registry().with_resource("urn:paypal", DRAFT4.create_resource(spec))
            check = OAS30Validator({"$ref": f"urn:paypal{schema['$ref']}"}, registry=registry)
            return [error.message for error in check.iter_errors(call.json)]
    return [f"no such path: {call.path}"]


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not wait."""
    monkeypatch.setattr(http.time, "sleep", lambda _: None)


@pytest.fixture
def server() -> Iterator[PayPalServer]:
    """Whatever was sent to it is checked against PayPal's own API descriptions."""
    with PayPalServer() as running:
        yield running
    for call in running.calls():
        if all(SPECS) and call.body:
            assert find_faults(call) == []


def make(server: GatewayServer | None = None, **options: Any) -> PayPalGateway:
    given: dict[str, Any] = {"client_id": CLIENT_ID, "client_secret": SECRET, "webhook_id": WEBHOOK_ID}
    return PayPalGateway("paypal", api_base=server.url if server else "", **{**given, "timeout": (10, 10), **options})


@pytest.fixture
def gateway(server: PayPalServer) -> PayPalGateway:
    return make(server)


def open_order(gateway: PayPalGateway, **fields: Any) -> PaymentRef:
    session = gateway.create_session(replace(REQUEST, **fields))
    return PaymentRef(
        transaction_id=OUR_ID, gateway_reference=session.gateway_reference, amount=fields.get("amount", REQUEST.amount)
    )


def approve(server: PayPalServer, ref: PaymentRef) -> PaymentRef:
    server.set_status(ref.gateway_reference, "APPROVED")
    return ref


def pay(gateway: PayPalGateway, server: PayPalServer, **fields: Any) -> PaymentRef:
    ref = approve(server, open_order(gateway, **fields))
    return replace(ref, payment_reference=gateway.fetch_payment(ref).payment_reference)


# --- Opening an order.


@needs_specs
def test_the_check_of_bodies_bites() -> None:
    """A wrong body would be noticed."""
    call = RecordedRequest("POST", "/v2/checkout/orders", {}, b'{"intent": "STEAL", "purchase_units": []}')

    assert len(find_faults(call)) == 2


def test_an_order_is_opened_with_what_paypal_asks_for(gateway: PayPalGateway, server: PayPalServer) -> None:
    """Our id twice, a decimal string, our key in PayPal's own header, the whole order in return."""
    ref = open_order(gateway)
    (call,) = server.calls()

    assert call.json["intent"] == "CAPTURE"
    assert call.json["purchase_units"] == [
        {
            "reference_id": "default",
            "custom_id": OUR_ID,
            "invoice_id": OUR_ID,
            "amount": {"currency_code": "EUR", "value": "19.90"},
            "description": "Order 1234",
        }
    ]
    assert call.json["payment_source"]["paypal"]["experience_context"]["return_url"] == REQUEST.return_url
    assert call.headers["paypal-request-id"] == REQUEST.idempotency_key
    assert call.headers["prefer"] == "return=representation"
    assert ref.gateway_reference in server.sessions


@pytest.mark.parametrize("rel", ["payer-action", "approve"])
def test_both_names_of_the_link_are_known(gateway: PayPalGateway, server: PayPalServer, rel: str) -> None:
    """Accounts on the older form answer `approve`."""
    url = "https://www.sandbox.paypal.com/checkoutnow?token=O1"
    server.script(Answer(works=True), Answer.json({"id": "O1", "links": [{"rel": rel, "href": url}]}))

    assert gateway.create_session(REQUEST).next_action.url == url


@pytest.mark.parametrize(
    "answer", [{}, {"id": "O1"}, {"id": "O1", "links": []}, {"id": 5, "links": [{"rel": "approve", "href": "x"}]}]
)
def test_an_answer_without_an_order_leaves_the_outcome_open(
    gateway: PayPalGateway, server: PayPalServer, answer: Any
) -> None:
    """Nothing is known, so nothing is told."""
    server.script(Answer(works=True), Answer.json(answer))

    with pytest.raises(GatewayUnavailable):
        gateway.create_session(REQUEST)


def test_a_payment_page_elsewhere_is_refused(gateway: PayPalGateway, server: PayPalServer) -> None:
    """The shopper is sent to PayPal only."""
    links = [{"rel": "approve", "href": "https://paypal.example/"}]
    server.script(Answer(works=True), Answer.json({"id": "O1", "links": links}))

    with pytest.raises(GatewayUnavailable):
        gateway.create_session(REQUEST)


@pytest.mark.parametrize(
    ("amount", "currency", "value"),
    [
        ("1990", "JPY", "1990"),
        ("19.9", "EUR", "19.90"),
        ("500", "HUF", "500"),
        ("30", "TWD", "30"),
        ("1.23", "KWD", "1.23"),
    ],
)
def test_money_follows_paypals_own_rules(
    gateway: PayPalGateway, server: PayPalServer, amount: str, currency: str, value: str
) -> None:
    """Out and back without a loss."""
    money = Money(amount, currency)
    ref = approve(server, open_order(gateway, amount=money))

    assert server.calls()[0].json["purchase_units"][0]["amount"] == {"currency_code": currency, "value": value}
    assert gateway.fetch_payment(ref).captured == money


@pytest.mark.parametrize(("amount", "currency"), [("1.5", "HUF"), ("1.5", "TWD"), ("1.234", "KWD"), ("1.5", "JPY")])
def test_an_amount_that_paypal_cannot_express_is_not_sent(
    gateway: PayPalGateway, server: PayPalServer, amount: str, currency: str
) -> None:
    """Refused here, never rounded."""
    with pytest.raises(GatewayRejected):
        open_order(gateway, amount=Money(amount, currency))

    assert server.calls() == []


# --- The token.


def test_one_token_serves_many_calls_until_it_is_refused(gateway: PayPalGateway, server: PayPalServer) -> None:
    """Cached; fetched again once when PayPal has forgotten it."""
    ref = open_order(gateway)
    gateway.fetch_payment(ref)
    before = len(server.tokens)
    server.tokens.append("revoked by PayPal")
    gateway.fetch_payment(ref)

    assert before == 1
    assert len(server.tokens) == 3


def test_a_token_that_ends_is_fetched_again_in_time(server: PayPalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute before its end."""
    gateway = make(server)
    gateway._token.get()
    gateway._token._ends = 0
    gateway._token.get()

    assert len(server.tokens) == 2


def test_wrong_credentials_are_our_mistake_and_repeat_no_secret(server: PayPalServer) -> None:
    """Neither the error nor the gateway shows them."""
    ours = make(server, client_secret="wrong-secret")
    with pytest.raises(GatewayRejected) as caught:
        ours.create_session(REQUEST)

    assert caught.value.code == "invalid_client"
    assert "wrong-secret" not in repr(caught.value) + str(caught.value) + repr(ours)


def test_a_token_that_is_refused_twice_is_refused(gateway: PayPalGateway, server: PayPalServer) -> None:
    """No endless circle."""
    no = Answer.json({"error": "invalid_token"}, 401)
    server.script(Answer(works=True), no, Answer(works=True), no)

    with pytest.raises(GatewayRejected):
        gateway.create_session(REQUEST)
    assert len(server.requests) == 4


@pytest.mark.parametrize("data", [{}, {"access_token": ""}, {"access_token": "a\nb"}, {"access_token": 5}])
def test_an_answer_without_a_token_is_no_answer(gateway: PayPalGateway, server: PayPalServer, data: Any) -> None:
    """And no header is made of it."""
    server.script(Answer.json(data))

    with pytest.raises(GatewayUnavailable):
        gateway.create_session(REQUEST)


# --- From approval to money.


@pytest.mark.parametrize("status", ["CREATED", "SAVED", "PAYER_ACTION_REQUIRED"])
def test_an_order_that_waits_for_the_shopper_is_pending(
    gateway: PayPalGateway, server: PayPalServer, status: str
) -> None:
    """And is not captured."""
    ref = open_order(gateway)
    server.set_status(ref.gateway_reference, status)

    assert gateway.fetch_payment(ref).state is State.PENDING
    assert server.calls("/capture") == []


def test_an_approved_order_is_left_alone_once_we_have_closed_it(gateway: PayPalGateway, server: PayPalServer) -> None:
    """Who was told that it is over is not charged because we went on watching."""
    ref = approve(server, open_order(gateway))
    said = gateway.fetch_payment(replace(ref, closed=True))

    assert said.state is State.PENDING
    assert not server.calls("/capture")


def test_an_approved_order_is_captured_when_it_is_asked_for(gateway: PayPalGateway, server: PayPalServer) -> None:
    """Return, callback and poll all come here: once, under one key, with the whole truth in return."""
    ref = approve(server, open_order(gateway))
    update = gateway.fetch_payment(ref)
    again = gateway.fetch_payment(ref)
    (call,) = server.calls("/capture")

    assert (update.state, update.captured) == (State.SUCCESS, REQUEST.amount)
    assert (update.transaction_id, update.gateway_reference) == (OUR_ID, ref.gateway_reference)
    assert update.payment_reference.startswith("C")
    assert call.headers["paypal-request-id"] == f"gatewaypay-{OUR_ID}-capture"
    assert call.body == b"{}"
    assert again == update


def test_a_capture_whose_answer_is_lost_takes_the_money_once(gateway: PayPalGateway, server: PayPalServer) -> None:
    """The retry goes under the same key."""
    ref = approve(server, open_order(gateway))
    server.script(Answer(works=True), Answer.lost())
    update = gateway.fetch_payment(ref)
    keys = {call.headers["paypal-request-id"] for call in server.calls("/capture")}

    assert update.captured == REQUEST.amount
    assert (len(server.calls("/capture")), len(keys)) == (2, 1)


@pytest.mark.parametrize("answer", [Answer.busy("1", 429), Answer.error(500), Answer.error(503)])
def test_a_busy_gateway_is_asked_again(gateway: PayPalGateway, server: PayPalServer, answer: Answer) -> None:
    """Too many requests, or broken: the same key may be tried again."""
    ref = approve(server, open_order(gateway))
    server.script(Answer(works=True), answer)

    assert gateway.fetch_payment(ref).state is State.SUCCESS


@pytest.mark.parametrize(
    ("name", "then", "state"),
    [("ORDER_ALREADY_CAPTURED", "pay", State.SUCCESS), ("ORDER_NOT_APPROVED", "wait", State.PENDING)],
)
def test_somebody_who_was_faster_is_no_error(
    gateway: PayPalGateway, server: PayPalServer, name: str, then: str, state: State
) -> None:
    """The order says what is true."""
    ref = approve(server, open_order(gateway))
    status, data = issue(name)
    seen = dict(server.sessions[ref.gateway_reference])
    if then == "pay":
        server._pay(server.sessions[ref.gateway_reference], "captures", "COMPLETED")
    server.script(Answer.json(seen), Answer.json(data, status))

    assert gateway.fetch_payment(ref).state is state


@pytest.mark.parametrize(
    ("name", "state", "code"),
    [
        ("INSTRUMENT_DECLINED", State.PENDING, "declined"),
        ("TRANSACTION_REFUSED", State.FAILED, "declined"),
        ("PAYER_ACCOUNT_RESTRICTED", State.FAILED, "invalid_account"),
    ],
)
def test_a_decline_ends_the_payment_unless_the_shopper_may_choose_again(
    gateway: PayPalGateway, server: PayPalServer, name: str, state: State, code: str
) -> None:
    """INSTRUMENT_DECLINED leads the shopper back to PayPal."""
    ref = approve(server, open_order(gateway))
    status, data = issue(name)
    server.script(Answer(works=True), Answer.json(data, status))
    update = gateway.fetch_payment(ref)

    assert (update.state, update.decline_code) == (state, code)


def test_a_capture_that_we_asked_for_wrongly_is_an_error(gateway: PayPalGateway, server: PayPalServer) -> None:
    """With PayPal's issue and its debug id."""
    ref = approve(server, open_order(gateway))
    headers = {"Paypal-Debug-Id": "d1", "Content-Type": "application/json"}
    server.script(Answer(works=True), Answer.json(issue("PERMISSION_DENIED")[1], 403, headers=headers))
    with pytest.raises(GatewayRejected) as caught:
        gateway.fetch_payment(ref)

    assert (caught.value.code, caught.value.request_id) == ("PERMISSION_DENIED", "d1")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("COMPLETED", State.SUCCESS),
        ("PARTIALLY_REFUNDED", State.SUCCESS),
        ("REFUNDED", State.SUCCESS),
        ("PENDING", State.PROCESSING),
        ("DECLINED", State.FAILED),
        ("FAILED", State.FAILED),
    ],
)
def test_the_capture_counts_and_not_the_order(
    gateway: PayPalGateway, server: PayPalServer, status: str, state: State
) -> None:
    """The order is COMPLETED every time."""
    server.capture_status = status
    update = gateway.fetch_payment(approve(server, open_order(gateway)))

    assert update.state is state
    assert update.captured == (REQUEST.amount if state is State.SUCCESS else None)
    assert update.decline_code == ("declined" if state is State.FAILED else "")


@pytest.mark.parametrize(("status", "state"), [("VOIDED", State.CANCELED), ("COMPLETED", None), ("NEW WORD", None)])
def test_an_order_without_payments_speaks_for_itself(
    gateway: PayPalGateway, server: PayPalServer, status: str, state: State | None
) -> None:
    """An unknown word is data."""
    ref = open_order(gateway)
    server.set_status(ref.gateway_reference, status)
    update = gateway.fetch_payment(ref)

    assert (update.state, update.raw) == (state, {"order_status": status})


def test_decline_codes_are_the_standard_words() -> None:
    """Every issue and processor code is mapped into the shared vocabulary."""
    assert set(paypal_wire.DECLINES.values()) <= DECLINE_CODES


# --- Authorize, capture, void, refund.


def test_an_authorization_is_captured_later(gateway: PayPalGateway, server: PayPalServer) -> None:
    """Approved becomes authorized; the capture's id is what refunds need."""
    ref = approve(server, open_order(gateway, manual_capture=True))
    held = gateway.fetch_payment(ref)
    taken = gateway.capture(ref, idempotency_key="gatewaypay-1-take")
    (call,) = [one for one in server.calls("/capture") if "authorizations" in one.path]

    assert (held.state, held.authorized, held.payment_reference) == (State.AUTHORIZED, REQUEST.amount, "")
    assert (taken.state, taken.captured) == (State.SUCCESS, REQUEST.amount)
    assert taken.payment_reference.startswith("C")
    assert call.headers["paypal-request-id"] == "gatewaypay-1-take"
    assert gateway.fetch_payment(ref).state is State.SUCCESS
    assert gateway.capture(ref, idempotency_key="again").state is State.SUCCESS


def test_an_authorization_is_let_go(gateway: PayPalGateway, server: PayPalServer) -> None:
    """And stays canceled."""
    ref = approve(server, open_order(gateway, manual_capture=True))
    gateway.fetch_payment(ref)

    assert gateway.cancel_payment(ref, idempotency_key="k1").state is State.CANCELED
    assert gateway.fetch_payment(ref).state is State.CANCELED


def test_an_authorization_that_was_captured_meanwhile_is_told(gateway: PayPalGateway, server: PayPalServer) -> None:
    """The void is refused, and the order says why."""
    ref = approve(server, open_order(gateway, manual_capture=True))
    gateway.fetch_payment(ref)
    seen = json.loads(json.dumps(server.sessions[ref.gateway_reference]))
    gateway.capture(ref, idempotency_key="k1")
    server.script(Answer.json(seen))

    assert gateway.cancel_payment(ref, idempotency_key="k2").state is State.SUCCESS


def test_an_order_that_nobody_approved_cannot_be_closed(gateway: PayPalGateway, server: PayPalServer) -> None:
    """PayPal has no such call, and nothing is pretended; an approved one is not captured by canceling."""
    ref = open_order(gateway)
    first = gateway.cancel_payment(ref, idempotency_key="k")
    second = gateway.cancel_payment(approve(server, ref), idempotency_key="k")

    assert (first.state, second.state) == (State.PENDING, State.PENDING)
    assert server.calls("/capture") == []


def test_a_refund_is_made_of_the_capture(gateway: PayPalGateway, server: PayPalServer) -> None:
    """By the capture's id, with our id, and found again; the order then tells the total."""
    ref = pay(gateway, server)
    refund = gateway.refund(RefundRequest(payment=ref, amount=Money("5", "EUR"), idempotency_key="r1"))
    (call,) = server.calls("/refund")

    assert call.path == f"/v2/payments/captures/{ref.payment_reference}/refund"
    assert call.json == {"amount": {"currency_code": "EUR", "value": "5.00"}, "custom_id": OUR_ID}
    assert (refund.state, refund.amount) == (RefundState.SUCCEEDED, Money("5", "EUR"))
    assert gateway.fetch_refund(ref, refund.refund_reference) == refund
    assert gateway.fetch_payment(ref).refunded == Money("5", "EUR")
    assert gateway.fetch_payment(ref).captured == REQUEST.amount


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("COMPLETED", RefundState.SUCCEEDED),
        ("PENDING", RefundState.SUBMITTED),
        ("FAILED", RefundState.FAILED),
        ("CANCELLED", RefundState.FAILED),
        ("NEW WORD", RefundState.SUBMITTED),
    ],
)
def test_every_state_of_a_refund_is_read(
    gateway: PayPalGateway, server: PayPalServer, status: str, state: RefundState
) -> None:
    """An unknown word leaves it open."""
    ref = pay(gateway, server)
    server.sessions["R1"] = {"id": "R1", "status": status, "amount": {"value": "5.00", "currency_code": "EUR"}}

    assert gateway.fetch_refund(ref, "R1").state is state


def test_a_refund_without_a_name_is_unknown(gateway: PayPalGateway, server: PayPalServer) -> None:
    """It could not be asked for again."""
    ref = pay(gateway, server)
    server.script(Answer(works=True), Answer.json({}, 201))

    with pytest.raises(GatewayUnavailable):
        gateway.refund(RefundRequest(payment=ref, amount=Money("5", "EUR"), idempotency_key="r1"))


# --- Reading a callback.


def event(kind: str, resource: Any, **fields: Any) -> CallbackRequest:
    return CallbackRequest({}, json.dumps({"id": "WH-1", "event_type": kind, "resource": resource, **fields}).encode())


def resource(status: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": "C1",
        "status": status,
        "custom_id": OUR_ID,
        "amount": {"currency_code": "EUR", "value": "19.90"},
        "supplementary_data": {"related_ids": {"order_id": "O1"}},
        "payer": {"email_address": "a@b.example"},
        **fields,
    }


@pytest.mark.parametrize(
    ("kind", "status", "state"),
    [
        ("PAYMENT.CAPTURE.COMPLETED", "COMPLETED", State.SUCCESS),
        ("PAYMENT.CAPTURE.PENDING", "PENDING", State.PROCESSING),
        ("PAYMENT.CAPTURE.DENIED", "DECLINED", State.FAILED),
        ("PAYMENT.AUTHORIZATION.CREATED", "CREATED", State.AUTHORIZED),
        ("PAYMENT.AUTHORIZATION.VOIDED", "VOIDED", State.CANCELED),
        ("PAYMENT.CAPTURE.REFUNDED", "COMPLETED", None),
        ("PAYMENT.CAPTURE.REVERSED", "COMPLETED", None),
        ("SOMETHING.NEW", "COMPLETED", None),
    ],
)
def test_every_event_is_read(kind: str, status: str, state: State | None) -> None:
    """Whose it is, what it says, and nothing personal."""
    (update,) = make().parse_callback(event(kind, resource(status)))

    assert (update.state, update.event_id) == (state, "WH-1")
    assert (update.transaction_id, update.gateway_reference) == (OUR_ID, "O1")
    assert update.captured == (REQUEST.amount if state is State.SUCCESS else None)
    assert update.raw["event_type"] == kind
    assert "a@b.example" not in repr(update)


@pytest.mark.parametrize("kind", ["CHECKOUT.ORDER.APPROVED", "CHECKOUT.ORDER.COMPLETED", "CHECKOUT.ORDER.VOIDED"])
def test_news_of_an_order_make_the_core_ask(kind: str) -> None:
    """An approved order must be captured, which asking does."""
    order = {"id": "O1", "status": "APPROVED", "purchase_units": [{"custom_id": OUR_ID}]}
    (update,) = make().parse_callback(event(kind, order))

    assert update.thin
    assert (update.transaction_id, update.gateway_reference) == (OUR_ID, "O1")


def test_a_refunds_news_name_the_refund() -> None:
    """Also one that staff made at PayPal."""
    (update,) = make().parse_callback(event("PAYMENT.CAPTURE.REFUNDED", resource("COMPLETED", id="R1")))

    assert update.refund
    assert (update.refund.refund_reference, update.refund.state) == ("R1", RefundState.SUCCEEDED)


@pytest.mark.parametrize("field", ["custom", "invoice_number"])
def test_a_dispute_is_flagged(field: str) -> None:
    """It moves nothing."""
    dispute = {"dispute_id": "PP-D-1", "disputed_transactions": [{field: OUR_ID}]}
    (update,) = make().parse_callback(event("CUSTOMER.DISPUTE.CREATED", dispute))

    assert (update.transaction_id, update.state, update.flags) == (OUR_ID, None, {"disputed"})


@pytest.mark.parametrize("amount", [None, {}, {"value": "1.2.3", "currency_code": "EUR"}, {"value": 1.5}, 5])
def test_an_amount_that_cannot_be_read_is_no_amount(amount: Any) -> None:
    """The core then holds the payment for review."""
    (update,) = make().parse_callback(event("PAYMENT.CAPTURE.COMPLETED", resource("COMPLETED", amount=amount)))

    assert (update.state, update.captured) == (State.SUCCESS, None)


def test_captures_in_two_currencies_have_no_total() -> None:
    """What cannot be added is not."""
    captures = [resource("COMPLETED"), resource("COMPLETED", amount={"currency_code": "USD", "value": "1.00"})]
    order = {"id": "O1", "status": "COMPLETED", "purchase_units": [{"payments": {"captures": captures}}]}

    assert paypal_wire.total(captures) is None
    assert paypal_wire.read_order(order).state is State.SUCCESS


@pytest.mark.parametrize("body", [b"", b"[]", b"{"])
def test_a_callback_that_is_no_json_is_malformed(body: bytes) -> None:
    """Also behind a good signature."""
    with pytest.raises(MalformedCallback):
        make().parse_callback(CallbackRequest({}, body))


@pytest.mark.parametrize("body", [b"{}", b'{"resource": 5}', b'{"event_type": [], "resource": {"id": {}}}'])
def test_a_callback_about_nothing_is_thin(body: bytes) -> None:
    """Without a crash."""
    (update,) = make().parse_callback(CallbackRequest({}, body))

    assert update.thin


# --- Proving a callback, offline.


def name_of(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def certify(subject: str, key: Any, issuer: str, issuer_key: Any, *, authority: bool = False) -> x509.Certificate:
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage |= {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(subject))
        .issuer_name(name_of(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(NOW + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not authority:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


ROOT_KEY, MIDDLE_KEY, LEAF_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(3))
ROOT = certify("Root", ROOT_KEY, "Root", ROOT_KEY, authority=True)
MIDDLE = certify("Middle", MIDDLE_KEY, "Root", ROOT_KEY, authority=True)
HOST = "messageverificationcerts.paypal.com"
LEAF = certify(HOST, LEAF_KEY, "Middle", MIDDLE_KEY)
BODY = '{"id": "WH-1", "summary": "für 19,90 €"}'.encode()


def signed(server: GatewayServer, *, sent: datetime = NOW, **headers: str) -> dict[str, str]:
    """The headers of PayPal's documentation, made here from scratch."""
    time = sent.strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"t-1|{time}|{WEBHOOK_ID}|{zlib.crc32(BODY)}".encode()
    return {
        "PAYPAL-TRANSMISSION-ID": "t-1",
        "PAYPAL-TRANSMISSION-TIME": time,
        "PAYPAL-TRANSMISSION-SIG": base64.b64encode(LEAF_KEY.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode(),
        "PAYPAL-CERT-URL": f"{server.url}v1/notifications/certs/CERT-1",
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        **headers,
    }


@pytest.fixture
def offline(server: PayPalServer, tmp_path: Path) -> PayPalGateway:
    server.pem = pem(LEAF, MIDDLE)
    roots = tmp_path / "roots.pem"
    roots.write_bytes(pem(ROOT))
    return make(server, trust_store=str(roots))


def refused(gateway: PayPalGateway, headers: dict[str, str], body: bytes = BODY, at: datetime = NOW) -> bool:
    with time_machine.travel(at, tick=False):
        try:
            gateway.verify_callback(CallbackRequest(headers, body))
        except InvalidSignature:
            return True
    return False


@needs_vectors
def test_real_signatures_of_paypal_are_accepted(server: PayPalServer, tmp_path: Path) -> None:
    """Two of the sandbox of 2015, with its certificates and at their time; a changed byte is refused."""
    certs = {name: one["pem"].strip() + "\n" for name, one in VECTORS["paypal_certs"].items()}
    roots = tmp_path / "roots.pem"
    roots.write_text(certs["root"])
    vectors = [one for one in VECTORS["vectors"] if one["gateway"] == "paypal"]
    for vector in vectors:
        server.pem = (certs[vector["cert_pem"]] + certs["intermediate"]).encode()
        headers = {**vector["headers"], "PAYPAL-CERT-URL": f"{server.url}v1/notifications/certs/{vector['cert_pem']}"}
        at = datetime.fromisoformat(headers["PAYPAL-TRANSMISSION-TIME"]) + timedelta(seconds=30)
        ours = make(server, webhook_id=vector["webhook_id"], trust_store=str(roots))
        body = vector["body"].encode()

        assert refused(ours, headers, body, at) is not vector["valid"]
        assert refused(ours, headers, body + b" ", at)
        assert refused(make(server, webhook_id="other", trust_store=str(roots)), headers, body, at)
    assert vectors


def test_a_signed_callback_is_accepted_and_its_certificate_kept(offline: PayPalGateway, server: PayPalServer) -> None:
    """One download, without our credentials."""
    headers = signed(server)
    verdicts = [refused(offline, headers), refused(offline, headers)]
    (call,) = server.requests

    assert verdicts == [False, False]
    assert call.path == "/v1/notifications/certs/CERT-1"
    assert "authorization" not in call.headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAYPAL-TRANSMISSION-ID", "t-2"),
        ("PAYPAL-TRANSMISSION-TIME", "2026-11-22T10:00:01Z"),
        ("PAYPAL-TRANSMISSION-TIME", "2026-11-22T10:00:00"),
        ("PAYPAL-TRANSMISSION-TIME", "now"),
        ("PAYPAL-TRANSMISSION-TIME", ""),
        ("PAYPAL-TRANSMISSION-SIG", ""),
        ("PAYPAL-TRANSMISSION-SIG", "not base64!"),
        ("PAYPAL-TRANSMISSION-SIG", "AAAA"),
        ("PAYPAL-AUTH-ALGO", "SHA1withRSA"),
        ("PAYPAL-AUTH-ALGO", ""),
        ("PAYPAL-CERT-URL", ""),
    ],
)
def test_a_changed_header_is_refused(offline: PayPalGateway, server: PayPalServer, name: str, value: str) -> None:
    """Every one of the five counts."""
    assert refused(offline, signed(server, **{name: value}))


def test_a_bare_post_is_refused(offline: PayPalGateway) -> None:
    """No headers are no signature."""
    assert refused(offline, {})


@pytest.mark.parametrize(
    ("age", "bad"),
    [
        (timedelta(), False),
        (timedelta(days=3, hours=1), False),
        (timedelta(days=4, seconds=1), True),
        (timedelta(minutes=-4), False),
        (timedelta(minutes=-6), True),
    ],
)
def test_only_paypals_tries_are_fresh(offline: PayPalGateway, server: PayPalServer, age: timedelta, bad: bool) -> None:
    """Three days of retries and some; not of tomorrow."""
    assert refused(offline, signed(server, sent=NOW - age)) is bad


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v1/notifications/certs/CERT-1",
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
        "https://user@api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/../../x",
        "https://api.paypal.com/v1/notifications/certs/%2e%2e",
        "https://api.paypal.com/v1/notifications/certs/",
        "https://api.paypal.com/v1/notifications/certs/a/b",
        "https://api.paypal.com/v2/x",
        "https://api.paypal.com/v1/notifications/certs/CERT-1?x=1",
        "https://api.paypal.com/v1/notifications/certs/CERT-1#x",
        "ht\rtps://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/CERT\t-1",
        "https://[api.paypal.com/v1/notifications/certs/CERT-1",
        "file:///etc/passwd",
    ],
)
def test_no_other_address_is_ever_asked(
    offline: PayPalGateway, server: PayPalServer, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Whoever sends the message chooses the address; it leads to PayPal's folder or nowhere."""
    asked: list[str] = []
    monkeypatch.setattr(offline.client, "download", asked.append)

    assert refused(offline, signed(server, **{"PAYPAL-CERT-URL": url}))
    assert asked == []


@pytest.mark.parametrize("host", ["api", "api.sandbox", "api-m", "api-m.sandbox"])
def test_paypals_own_addresses_are_asked(
    offline: PayPalGateway, server: PayPalServer, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Live and sandbox, both hosts of each."""
    monkeypatch.setattr(offline.client, "download", lambda _: pem(LEAF, MIDDLE))
    url = f"https://{host}.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77"

    assert not refused(offline, signed(server, **{"PAYPAL-CERT-URL": url}))


@pytest.mark.parametrize(
    "chain",
    [
        b"",
        b"<html>",
        pem(LEAF),
        pem(MIDDLE, LEAF),
        pem(certify("paypal.com.evil.example", LEAF_KEY, "Middle", MIDDLE_KEY), MIDDLE),
        pem(certify("evilpaypal.com", LEAF_KEY, "Middle", MIDDLE_KEY), MIDDLE),
        pem(certify(HOST, LEAF_KEY, HOST, LEAF_KEY)),
        pem(certify(HOST, LEAF_KEY, "Middle", LEAF_KEY), MIDDLE),
        pem(certify(HOST, ec.generate_private_key(ec.SECP256R1()), "Middle", MIDDLE_KEY), MIDDLE),
    ],
)
def test_a_certificate_that_is_not_paypals_is_refused(
    offline: PayPalGateway, server: PayPalServer, chain: bytes
) -> None:
    """No chain, another name, another issuer, another kind of key."""
    server.pem = chain

    assert refused(offline, signed(server))


def test_a_certificate_counts_in_its_time_only(offline: PayPalGateway, server: PayPalServer) -> None:
    """Also one that is kept."""
    later = NOW + timedelta(days=31)
    before = refused(offline, signed(server))

    assert not before
    assert refused(offline, signed(server, sent=later), at=later)


def test_a_stranger_root_is_not_trusted(server: PayPalServer) -> None:
    """The default trust store is the one of https."""
    server.pem = pem(LEAF, MIDDLE)

    assert refused(make(server), signed(server))


@pytest.mark.parametrize(
    "answer", [Answer.redirect("https://api.paypal.com/x"), Answer.error(500), Answer.closed(), Answer.huge()]
)
def test_a_certificate_that_cannot_be_had_proves_nothing(
    offline: PayPalGateway, server: PayPalServer, answer: Answer
) -> None:
    """No redirect is followed; PayPal tries again later."""
    server.script(answer)

    assert refused(offline, signed(server))
    assert not refused(offline, signed(server))


def test_one_odd_root_does_not_take_the_others_with_it() -> None:
    """Trust stores hold old certificates; what cannot be read is left out."""
    odd = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

    assert paypal_signature.read_roots(odd + pem(ROOT) + odd) == [ROOT]


def test_few_certificates_are_kept(
    offline: PayPalGateway, server: PayPalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many addresses fill no memory."""
    for number in range(20):
        refused(offline, signed(server, **{"PAYPAL-CERT-URL": f"{server.url}v1/notifications/certs/C{number}"}))

    assert len(offline.checker._known) <= paypal_signature.MAX_CERTIFICATES


# --- Proving a callback, by asking PayPal.


@pytest.mark.parametrize(("verdict", "bad"), [("SUCCESS", False), ("FAILURE", True), ("", True)])
def test_paypal_is_asked_with_the_message_as_it_came(server: PayPalServer, verdict: str, bad: bool) -> None:
    """Byte for byte, with the five headers and our webhook id."""
    server.verdict = verdict
    answer = refused(make(server, callback_check="postback"), signed(server))
    (call,) = server.calls()

    assert answer is bad
    assert BODY in call.body
    assert call.json["webhook_id"] == WEBHOOK_ID
    assert call.json["transmission_id"] == "t-1"


def test_no_answer_of_paypal_proves_nothing(server: PayPalServer) -> None:
    """It is refused, and PayPal sends it again; a token that has ended is no obstacle."""
    ours = make(server, callback_check="postback")
    server.script(Answer(works=True), *[Answer.error(500)] * 3)
    first = refused(ours, signed(server))
    server.tokens.append("revoked by PayPal")

    assert first
    assert not refused(ours, signed(server))


def test_a_body_that_is_no_json_is_not_sent_on(server: PayPalServer) -> None:
    """It could say something else around itself."""
    with pytest.raises(MalformedCallback):
        make(server, callback_check="postback").verify_callback(CallbackRequest({}, b'{}, "webhook_id": "x"'))
    assert server.requests == []


# --- Options.


@pytest.mark.parametrize("options", [{"callback_check": "never"}, {"webhook_id": ""}])
def test_bad_options_are_refused_at_start(options: dict[str, Any]) -> None:
    """No word turns the check off."""
    with pytest.raises(ValueError, match="webhook_id"):
        make(**options)


def test_sandbox_and_live_have_their_own_addresses() -> None:
    """And say which of them they are."""
    assert (make(sandbox=True).client.base, make(sandbox=True).test_mode) == ("https://api-m.sandbox.paypal.com", True)
    assert (make().client.base, make().test_mode) == ("https://api-m.paypal.com", False)


def test_a_missing_library_is_said_at_start(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it; asking PayPal needs none."""
    monkeypatch.setattr(paypal, "CertificateChecker", None)
    given = {"client_id": CLIENT_ID, "client_secret": SECRET, "webhook_id": WEBHOOK_ID}
    entry = {"BACKEND": "django_gatewaypay.gateways.paypal.PayPalGateway", "OPTIONS": given}
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {"paypal": entry}, "DEFAULT_GATEWAY": "paypal"}
    (error,) = check_gateways()

    assert error.id == "gatewaypay.E009"
    assert 'pip install "django-gatewaypay[paypal]"' in error.msg
    assert SECRET not in error.msg
    assert make(callback_check="postback").checker is None


def test_the_adapter_is_imported_without_the_library() -> None:
    """Only its offline check is missing then."""
    code = "import sys; sys.modules['cryptography'] = None; from django_gatewaypay.gateways import paypal as p; "
    done = subprocess.run([sys.executable, "-c", code + "print(p.CertificateChecker)"], capture_output=True, text=True)

    assert done.stdout.strip() == "None"
