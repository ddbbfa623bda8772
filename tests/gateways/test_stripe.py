"""Stripe, against its own API description, its own SDK and a server that speaks its wire."""

import json
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
import time_machine
from moneyed import Money

from django_gatewaypay.exceptions import (
    GatewayDeclined,
    GatewayError,
    GatewayRejected,
    GatewayUnavailable,
    InvalidSignature,
    MalformedCallback,
)
from django_gatewaypay.gateways import http, stripe_wire
from django_gatewaypay.gateways.stripe import StripeGateway
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

from . import specs
from .patience import impatient_at_first

KEY = "sk_test_do_not_show"
SECRET, OLD = "whsec_current_do_not_show", "whsec_old_do_not_show"
OURS = "0199f0c2-7c1e-7000-8000-000000000001"
CREATED = datetime(2026, 11, 22, 12, tzinfo=UTC)
REQUEST = PaymentRequest(
    created_at=CREATED,
    transaction_id=OURS,
    order_id="1234",
    amount=Money("19.90", "EUR"),
    callback_url="https://shop.example/payments/callbacks/card/",
    return_url="https://shop.example/payments/return/0199f0c2/",
    expires_at=CREATED + timedelta(hours=2),
    idempotency_key="key-1",
    description="Order 1234",
)
SPEC = "specs/stripe-checkout-2023-08-16.noexpand.json"
FIXTURES = "specs/stripe-fixtures3-2026-07-29.subset.json"
INTENT_ACTIONS = {"capture", "cancel"}


class StripeServer(GatewayServer):
    """Checkout Sessions, PaymentIntents and refunds, as far as one payment needs them."""

    def __init__(self) -> None:
        super().__init__()
        self.intents: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.replies: dict[str, tuple[Any, tuple[int, dict[str, Any]]]] = {}
        self.captured_at_cancel = ""
        self.shown_at_once = 100

    def work(self, request: RecordedRequest) -> tuple[int, dict[str, Any]]:
        if request.method == "POST" and request.headers.get("content-type") != "application/x-www-form-urlencoded":
            return 400, {"error": {"type": "invalid_request_error"}}
        if request.method == "GET":
            return self.read(request.path, request.query)
        asked = (request.path, request.body)
        first, answer = self.replies.setdefault(request.key, (asked, (0, {})))
        if first != asked:
            return 400, {"error": {"type": "idempotency_error", "message": "keys belong to one call"}}
        if not answer[0]:
            answer = self.write(request.path, specs.decode_form(request.body))
            self.replies[request.key] = asked, answer
        return answer

    def read(self, path: str, query: str) -> tuple[int, dict[str, Any]]:
        reference = path.rpartition("/")[2]
        asked = specs.decode_form(query.encode())
        if path == "/v1/checkout/sessions":
            return 200, self.page([self.expanded(one) for one in self.sessions.values()][::-1], asked)
        if path == "/v1/refunds":
            ours = [one for one in self.refunds.values() if one["payment_intent"] == asked["payment_intent"]]
            return 200, self.page(ours[::-1], asked)
        if reference in self.sessions:
            return 200, self.expanded(self.sessions[reference])
        found = self.refunds.get(reference)
        return (
            (200, found) if found else (404, {"error": {"type": "invalid_request_error", "code": "resource_missing"}})
        )

    def expanded(self, session: dict[str, Any]) -> dict[str, Any]:
        return {**session, "payment_intent": self.intents.get(session["payment_intent"])}

    def page(self, found: list[dict[str, Any]], asked: dict[str, Any]) -> dict[str, Any]:
        """The newest first, at most `limit` and no more than the server's own."""
        times = asked.get("created", {})
        within = [
            one
            for one in found
            if int(times.get("gte", 0)) <= one["created"] and not one["created"] >= int(times.get("lt", 10**11))
        ]
        names = [one["id"] for one in within]
        after = asked.get("starting_after")
        rest = within[names.index(after) + 1 :] if after else within
        size = min(int(asked["limit"]), self.shown_at_once)
        return {"object": "list", "data": rest[:size], "has_more": len(rest) > size}

    def write(self, path: str, form: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        *_, reference, action = path.split("/")
        if path == "/v1/checkout/sessions":
            return 200, self.open(form)
        if path == "/v1/refunds":
            return self.give_back(form)
        if action == "expire" and self.sessions[reference]["status"] == "open":
            self.sessions[reference].update(status="expired", url=None)
            return 200, self.sessions[reference]
        if action == "cancel" and self.captured_at_cancel:
            self.act(self.captured_at_cancel, "succeeded")
        intent = self.intents.get(reference)
        if action in INTENT_ACTIONS and intent and intent["status"] == "requires_capture":
            return self.take(intent, int(form["amount_to_capture"]) if action == "capture" else 0, form)
        return 400, {"error": {"type": "invalid_request_error", "code": "unexpected_state"}}

    def take(self, intent: dict[str, Any], amount: int, form: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """docs.stripe.com/payments/multicapture: reserved until the final capture, which lets the rest go."""
        left = intent["amount_capturable"] - amount
        if left < 0:
            return 400, {"error": {"type": "invalid_request_error", "code": "amount_too_large"}}
        taken = intent["amount_received"] + amount
        final = form.get("final_capture") != "false" or not amount
        status = ("succeeded" if taken else "canceled") if final else "requires_capture"
        intent.update(status=status, amount_received=taken, amount_capturable=0 if final else left)
        released = intent["amount"] - taken if final and not taken else 0
        intent["latest_charge"].update(captured=final and bool(taken), amount_captured=taken, amount_refunded=released)
        return 200, {**intent, "latest_charge": "ch_1"}

    def open(self, form: dict[str, Any]) -> dict[str, Any]:
        price = form["line_items"]["0"]["price_data"]
        reference = f"cs_test_{len(self.sessions) + 1}"
        self.sessions[reference] = {
            "id": reference,
            "object": "checkout.session",
            "mode": form["mode"],
            "created": int(time.time()),
            "status": "open",
            "payment_status": "unpaid",
            "payment_intent": None,
            "amount_total": int(price["unit_amount"]),
            "currency": price["currency"],
            "metadata": form["metadata"],
            "client_reference_id": form["client_reference_id"],
            "client_secret": "cs_secret_do_not_show",
            "customer_details": {"email": "zoe@example.com"},
            "url": f"{self.url}c/pay/{reference}",
        }
        self.wanted = form
        return self.sessions[reference]

    def give_back(self, form: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        intent = self.intents[form["payment_intent"]]
        charge, amount = intent["latest_charge"], int(form["amount"])
        if charge["amount_refunded"] + amount > charge["amount_captured"]:
            return 400, {"error": {"type": "invalid_request_error", "code": "charge_already_refunded"}}
        reference = f"re_{len(self.refunds) + 1}"
        charge["amount_refunded"] += amount
        self.refunds[reference] = {
            "id": reference,
            "object": "refund",
            "created": int(time.time()),
            "amount": amount,
            "currency": intent["currency"],
            "payment_intent": intent["id"],
            "metadata": form["metadata"],
            "status": "pending",
        }
        return 200, self.refunds[reference]

    # --- What the shopper does.

    def act(self, reference: str, status: str, **fields: Any) -> dict[str, Any]:
        """The PaymentIntent of a session gets a status."""
        session = self.sessions[reference]
        amount = session["amount_total"]
        intent = self.intents.setdefault(
            f"pi_{reference}",
            {
                "id": f"pi_{reference}",
                "object": "payment_intent",
                "amount": amount,
                "amount_received": 0,
                "amount_capturable": 0,
                "currency": session["currency"],
                "client_secret": "pi_secret_do_not_show",
                "latest_charge": None,
                "metadata": self.wanted["payment_intent_data"]["metadata"],
            },
        )
        session["payment_intent"] = intent["id"]
        intent.update(status=status, **fields)
        if status in {"succeeded", "requires_capture"}:
            taken = status == "succeeded"
            intent["amount_received" if taken else "amount_capturable"] = amount
            intent["latest_charge"] = {
                "id": "ch_1",
                "object": "charge",
                "status": "succeeded",
                "captured": taken,
                "amount": amount,
                "amount_captured": amount if taken else 0,
                "amount_refunded": 0,
                "currency": session["currency"],
                "disputed": False,
                "payment_intent": intent["id"],
                "metadata": intent["metadata"],
            }
            session.update(status="complete", payment_status="paid" if taken else "unpaid", url=None)
        return intent


def event(kind: str, found: dict[str, Any], event_id: str = "evt_1") -> bytes:
    return json.dumps({"id": event_id, "object": "event", "type": kind, "data": {"object": found}}).encode()


def signed(body: bytes, secret: str = SECRET, age: int = 0) -> CallbackRequest:
    """Signed by Stripe's own SDK."""
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, int(time.time()) - age)
    return CallbackRequest({"Content-Type": "application/json", "Stripe-Signature": header}, body)


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries do not wait."""
    slept: list[float] = []
    monkeypatch.setattr(http.time, "sleep", slept.append)
    return slept


@pytest.fixture
def server() -> Iterator[StripeServer]:
    with StripeServer() as ours:
        yield ours


@pytest.fixture
def gateway(server: StripeServer) -> Iterator[StripeGateway]:
    ours = StripeGateway("card", api_key=KEY, webhook_secrets=[SECRET, OLD], api_base=server.url, timeout=(10, 10))
    yield ours
    ours.client.session.close()


def open_session(gateway: StripeGateway, request: PaymentRequest = REQUEST) -> PaymentRef:
    session = gateway.create_session(request)
    return PaymentRef(transaction_id=OURS, gateway_reference=session.gateway_reference, amount=request.amount)


def parse(gateway: StripeGateway, kind: str, found: dict[str, Any]) -> Any:
    request = signed(event(kind, found))
    gateway.verify_callback(request)
    (update,) = gateway.parse_callback(request)
    return update


# --- What we send.


def test_a_session_says_what_stripe_needs(gateway: StripeGateway, server: StripeServer) -> None:
    """Our id is on the session and on its PaymentIntent; the version is pinned; the key is ours."""
    session = gateway.create_session(REQUEST)
    (call,) = server.requests

    assert specs.decode_form(call.body) == {
        "mode": "payment",
        "success_url": REQUEST.return_url,
        "cancel_url": REQUEST.return_url,
        "client_reference_id": OURS,
        "metadata": {"transaction_id": OURS, "order_id": "1234"},
        "payment_intent_data": {"metadata": {"transaction_id": OURS}},
        "expires_at": str(int(REQUEST.expires_at.timestamp())),
        "line_items": {
            "0": {
                "quantity": "1",
                "price_data": {"currency": "eur", "unit_amount": "1990", "product_data": {"name": "Order 1234"}},
            }
        },
    }
    assert (call.path, call.key) == ("/v1/checkout/sessions", "key-1")
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.headers["stripe-version"] == "2026-10-28.endive"
    assert session.next_action.url == f"{server.url}c/pay/{session.gateway_reference}"


@pytest.mark.parametrize("manual", [False, True])
def test_every_body_is_one_that_stripe_describes(gateway: StripeGateway, server: StripeServer, manual: bool) -> None:
    """The official OpenAPI description has nothing against any form of a whole payment's life."""
    spec = specs.load(SPEC)
    payment = open_session(gateway, replace(REQUEST, manual_capture=manual))
    server.act(payment.gateway_reference, "requires_capture" if manual else "succeeded")
    if manual:
        gateway.capture(payment, idempotency_key="c")
    gateway.refund(RefundRequest(payment=payment, amount=Money(1, "EUR"), idempotency_key="r", reason="duplicate"))
    other = open_session(gateway, replace(REQUEST, idempotency_key="key-2", manual_capture=manual))
    gateway.cancel_payment(other, idempotency_key="x")
    third = open_session(gateway, replace(REQUEST, idempotency_key="key-3", manual_capture=True))
    server.act(third.gateway_reference, "requires_capture")
    gateway.cancel_payment(third, idempotency_key="y")
    found = {}
    for call in server.requests:
        if call.method == "POST":
            path = call.path.replace(f"/sessions/{call.path.split('/')[-2]}", "/sessions/{session}")
            path = path.replace(f"/payment_intents/{call.path.split('/')[-2]}", "/payment_intents/{intent}")
            found[path] = [*found.get(path, []), *specs.form_errors(spec, path, call.body)]

    assert not any(found.values()), found
    assert {"/v1/checkout/sessions", "/v1/checkout/sessions/{session}/expire", "/v1/refunds"} <= found.keys()
    assert "/v1/payment_intents/{intent}/cancel" in found
    assert ("/v1/payment_intents/{intent}/capture" in found) is manual


def test_the_description_would_notice() -> None:
    """The check above is no rubber stamp: an unknown field and a word for a number are told."""
    spec = specs.load(SPEC)

    assert specs.form_errors(spec, "/v1/refunds", b"amount=ten")
    assert specs.form_errors(spec, "/v1/refunds", b"amount=10&colour=red")
    assert not specs.form_errors(spec, "/v1/refunds", b"amount=10")


@pytest.mark.parametrize(
    ("expires_in", "sent"),
    [(10, 45), (30, 45), (45, 45), (46, 46), (23 * 60, 23 * 60), (24 * 60, 24 * 60 - 5), (72 * 60, 24 * 60 - 5)],
)
def test_a_session_lives_as_long_as_stripe_allows(
    gateway: StripeGateway, server: StripeServer, expires_in: int, sent: int
) -> None:
    """Minutes after our row was made; never a clock of the moment, so that a retry sends the same bytes."""
    for _ in range(2):
        gateway.create_session(replace(REQUEST, expires_at=CREATED + timedelta(minutes=expires_in)))
    first, second = server.requests

    assert int(specs.decode_form(first.body)["expires_at"]) == int((CREATED + timedelta(minutes=sent)).timestamp())
    assert first.body == second.body


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("19.90", "EUR", 1990),
        ("2000", "JPY", 2000),
        ("5", "ISK", 500),
        ("5", "UGX", 500),
        ("1.230", "KWD", 1230),
        ("100", "MGA", 100),
        ("100.50", "HUF", 10050),
        ("100.50", "TWD", 10050),
    ],
)
def test_money_is_exact_in_both_directions(
    gateway: StripeGateway, server: StripeServer, amount: str, currency: str, minor: int
) -> None:
    """Stripe's places, not those of ISO 4217, on the way out and on the way in."""
    money = Money(amount, currency)
    payment = open_session(gateway, replace(REQUEST, amount=money))
    server.act(payment.gateway_reference, "succeeded")

    assert server.sessions[payment.gateway_reference]["amount_total"] == minor
    assert gateway.fetch_payment(payment).captured == money


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("1.234", "KWD"), ("0.5", "JPY"), ("5.50", "ISK"), ("5.5", "UGX"), ("1.005", "EUR"), ("0", "EUR"), ("1.5", "MGA")],
)
def test_an_amount_that_stripe_would_change_is_refused_before_the_call(
    gateway: StripeGateway, server: StripeServer, amount: str, currency: str
) -> None:
    """Nothing is rounded, and nothing is sent."""
    with pytest.raises(GatewayRejected, match="amount"):
        gateway.create_session(replace(REQUEST, amount=Money(amount, currency)))
    assert server.requests == []


@pytest.mark.parametrize(
    ("minor", "currency"),
    [(1.5, "eur"), (True, "eur"), ("100", "eur"), (None, "eur"), (1, "xyz"), (10**15, "eur"), (1, 7)],
)
def test_an_amount_that_cannot_be_read_is_no_amount(gateway: StripeGateway, minor: Any, currency: Any) -> None:
    """The state stands, and the core holds the money for review."""
    update = parse(
        gateway,
        "payment_intent.succeeded",
        {"id": "pi_1", "status": "succeeded", "amount_received": minor, "currency": currency,
         "metadata": {"transaction_id": OURS}},
    )  # fmt: skip

    assert (update.state, update.captured) == (State.SUCCESS, None)


# --- A payment's life.


def test_a_payment_from_session_to_refund(gateway: StripeGateway, server: StripeServer) -> None:
    """Created, paid, told, asked, refunded in part, and asked again: every fact in full."""
    payment = open_session(gateway)
    reference = payment.gateway_reference
    opened = gateway.fetch_payment(payment)
    intent = server.act(reference, "succeeded")
    told = parse(gateway, "checkout.session.completed", server.sessions[reference])
    asked = gateway.fetch_payment(payment)
    refund = gateway.refund(RefundRequest(payment=payment, amount=Money("4.90", "EUR"), idempotency_key="r-1"))
    server.refunds["re_1"]["status"] = "succeeded"

    assert (opened.state, opened.captured, opened.payment_reference) == (State.PENDING, None, "")
    for update in (told, asked):
        assert (update.state, update.captured) == (State.SUCCESS, REQUEST.amount)
        assert (update.transaction_id, update.gateway_reference) == (OURS, reference)
        assert update.payment_reference == intent["id"]
    assert (refund.refund_reference, refund.state, refund.amount) == (
        "re_1",
        RefundState.SUBMITTED,
        Money("4.90", "EUR"),
    )
    assert gateway.fetch_refund(payment, "re_1").state is RefundState.SUCCEEDED
    assert gateway.fetch_payment(payment).refunded == Money("4.90", "EUR")
    assert gateway.fetch_payment(payment).captured == REQUEST.amount


def test_the_payment_intent_and_its_charge_are_asked_for(gateway: StripeGateway) -> None:
    """One call tells everything."""
    urls: list[str] = []
    gateway.client.session.hooks["response"].append(lambda response, **_: urls.append(response.request.url))
    gateway.fetch_payment(open_session(gateway))

    assert urls[-1].endswith("/v1/checkout/sessions/cs_test_1?expand%5B%5D=payment_intent.latest_charge")


def test_an_authorization_is_captured(gateway: StripeGateway, server: StripeServer) -> None:
    """Reserved, then taken; the answer is what is true afterwards."""
    payment = open_session(gateway, replace(REQUEST, manual_capture=True))
    server.act(payment.gateway_reference, "requires_capture")
    asked = gateway.fetch_payment(payment)
    taken = gateway.capture(payment, idempotency_key="c-1")

    assert specs.decode_form(server.requests[0].body)["payment_intent_data"]["capture_method"] == "manual"
    assert (asked.state, asked.authorized, asked.captured) == (State.AUTHORIZED, REQUEST.amount, None)
    assert (taken.state, taken.captured) == (State.SUCCESS, REQUEST.amount)
    assert taken.gateway_reference == payment.gateway_reference


def test_an_authorization_is_let_go(gateway: StripeGateway, server: StripeServer) -> None:
    """What Stripe then calls refunded was never taken."""
    payment = open_session(gateway, replace(REQUEST, manual_capture=True))
    server.act(payment.gateway_reference, "requires_capture")
    gone = gateway.cancel_payment(payment, idempotency_key="x-1")
    asked = gateway.fetch_payment(payment)

    assert (gone.state, gone.gateway_reference) == (State.CANCELED, payment.gateway_reference)
    assert (asked.state, asked.captured, asked.refunded) == (State.CANCELED, None, None)
    keys = [call.key for call in server.requests if call.method == "POST"]
    assert keys == ["key-1", "x-1", "x-1-intent"]


def test_an_open_session_is_closed(gateway: StripeGateway, server: StripeServer) -> None:
    """An empty form still says that it is one; Stripe refuses it otherwise."""
    payment = open_session(gateway)
    closed = gateway.cancel_payment(payment, idempotency_key="x-1")

    assert (closed.state, closed.transaction_id) == (State.EXPIRED, OURS)
    assert server.requests[-1].headers["content-type"] == "application/x-www-form-urlencoded"
    assert server.requests[-1].body == b""


@pytest.mark.parametrize("when", ["before", "between"])
def test_canceling_too_late_tells_what_is_true(gateway: StripeGateway, server: StripeServer, when: str) -> None:
    """Money that was taken is never reported as canceled, not even when it is taken in between."""
    payment = open_session(gateway)
    server.act(payment.gateway_reference, "succeeded" if when == "before" else "requires_capture")
    server.captured_at_cancel = payment.gateway_reference if when == "between" else ""
    update = gateway.cancel_payment(payment, idempotency_key="x-1")

    assert (update.state, update.captured) == (State.SUCCESS, REQUEST.amount)


def test_nothing_is_refunded_where_nothing_was_paid(gateway: StripeGateway) -> None:
    """There is no PaymentIntent to refund."""
    payment = open_session(gateway)
    with pytest.raises(GatewayRejected, match="Nothing was paid"):
        gateway.refund(RefundRequest(payment=payment, amount=payment.amount, idempotency_key="r"))


def test_a_reason_in_other_words_is_not_sent(gateway: StripeGateway, server: StripeServer) -> None:
    """Stripe knows three; free text may be about a person."""
    payment = open_session(gateway)
    server.act(payment.gateway_reference, "succeeded")
    request = RefundRequest(
        payment=payment, amount=payment.amount, idempotency_key="r", refund_id="r1", reason="Zoë called"
    )
    gateway.refund(request)

    assert specs.decode_form(server.requests[-1].body) == {
        "amount": "1990",
        "payment_intent": "pi_cs_test_1",
        "metadata": {"transaction_id": OURS, "refund_id": "r1"},
    }


@pytest.mark.parametrize(
    ("session", "intent", "state"),
    [
        ({"status": "open"}, None, State.PENDING),
        ({"status": "open"}, "requires_payment_method", State.PENDING),
        ({"status": "open"}, "requires_action", State.PENDING),
        ({"status": "open"}, "processing", State.PENDING),
        ({"status": "open"}, "succeeded", State.SUCCESS),
        ({"status": "expired"}, None, State.EXPIRED),
        ({"status": "expired"}, "canceled", State.EXPIRED),
        ({"status": "complete"}, None, State.PROCESSING),
        ({"status": "complete"}, "processing", State.PROCESSING),
        ({"status": "complete"}, "requires_payment_method", State.FAILED),
        ({"status": "complete"}, "canceled", State.CANCELED),
        ({"status": "complete"}, "brand_new", State.PROCESSING),
        ({"status": "complete"}, "requires_capture", State.AUTHORIZED),
        ({"status": "complete", "payment_status": "paid"}, None, State.SUCCESS),
        ({"status": "complete", "payment_status": "no_payment_required"}, None, None),
        ({"status": "brand_new"}, None, None),
        ({"status": ["open"]}, None, None),
        ({"status": None}, "succeeded", None),
    ],
)
def test_a_session_and_its_payment_intent_make_one_state(
    gateway: StripeGateway, server: StripeServer, session: dict[str, Any], intent: str | None, state: State | None
) -> None:
    """An unknown word is data, never a guess."""
    payment = open_session(gateway)
    if intent:
        server.act(payment.gateway_reference, intent)
    server.sessions[payment.gateway_reference].update({"payment_status": "unpaid", **session})

    assert gateway.fetch_payment(payment).state is state


# --- Errors.


def refusal(status: int, **error: Any) -> Answer:
    return Answer.json({"error": error}, status, headers={"Content-Type": "application/json", "Request-Id": "req_9"})


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (refusal(400, type="invalid_request_error", code="parameter_missing"), GatewayRejected, "parameter_missing"),
        (refusal(400, type="idempotency_error"), GatewayRejected, "idempotency_error"),
        (refusal(401, type="invalid_request_error"), GatewayRejected, "invalid_request_error"),
        (refusal(402, type="card_error", code="card_declined"), GatewayDeclined, "card_declined"),
        (refusal(409, type="idempotency_error", code="idempotency_key_in_use"), GatewayUnavailable, "http_409"),
        (refusal(429, type="rate_limit_error", code="rate_limit"), GatewayUnavailable, "http_429"),
        (refusal(500, type="api_error"), GatewayUnavailable, "http_500"),
        (Answer.json({"error": "text"}, 400), GatewayRejected, "http_400"),
        (Answer.html(), GatewayUnavailable, "http_200_unreadable"),
        (Answer.json({"id": "cs_1"}), GatewayUnavailable, "no_session"),
        (Answer.json({"id": "cs_1", "url": "https://evil.example/"}), GatewayUnavailable, "payment_url"),
    ],
)
def test_an_error_says_whether_the_outcome_is_known(
    gateway: StripeGateway, server: StripeServer, answer: Answer, kind: type[GatewayError], code: str
) -> None:
    """With Stripe's own code, and its id of the call where it named one; never with our secrets."""
    server.script(*[answer] * 3)
    with pytest.raises(kind) as caught:
        gateway.create_session(REQUEST)

    assert caught.value.code == code
    assert caught.value.request_id == answer.headers.get("Request-Id", "")
    said = repr(gateway) + "".join(traceback.format_exception(caught.value))
    assert "do_not_show" not in said


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        ("insufficient_funds", "insufficient_funds"),
        ("lost_card", "lost_or_stolen"),
        ("fraudulent", "fraud_suspected"),
        ("incorrect_zip", "incorrect_address"),
        ("do_not_honor", "declined"),
        ("generic_decline", "declined"),
        ("brand_new", "declined"),
        (None, "declined"),
    ],
)
def test_a_decline_is_told_in_the_standard_words(
    gateway: StripeGateway, server: StripeServer, code: str | None, ours: str
) -> None:
    """By an answer and by an event alike."""
    error = {"type": "card_error", "code": "card_declined", "decline_code": code}
    server.script(refusal(402, **error))
    with pytest.raises(GatewayDeclined) as caught:
        gateway.create_session(REQUEST)
    payment = open_session(gateway)
    intent = server.act(payment.gateway_reference, "requires_payment_method", last_payment_error=error)
    told = parse(gateway, "payment_intent.payment_failed", intent)

    assert caught.value.decline_code == told.decline_code == ours
    assert gateway.fetch_payment(payment).decline_code == ours
    # The shopper may try again while the session is open.
    assert told.state is gateway.fetch_payment(payment).state is State.PENDING


def test_every_decline_is_a_standard_word() -> None:
    """The table maps to words that the core knows."""
    assert set(stripe_wire.DECLINES.values()) <= DECLINE_CODES


@pytest.mark.parametrize("answer", [Answer.lost(), Answer.hang(60)])
def test_a_lost_answer_opens_no_second_session(
    gateway: StripeGateway, server: StripeServer, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timeout after the effect is got over under the same key, with the same bytes."""
    server.script(answer)
    if answer.delay:
        impatient_at_first(gateway.client, monkeypatch)
    payment = open_session(gateway)
    first, second = server.requests

    assert list(server.sessions) == [payment.gateway_reference]
    assert (first.key, first.body) == (second.key, second.body)


def test_a_lost_refund_gives_back_once(gateway: StripeGateway, server: StripeServer) -> None:
    """The same key again is the same refund."""
    payment = open_session(gateway)
    server.act(payment.gateway_reference, "succeeded")
    payment = replace(payment, payment_reference="pi_cs_test_1")
    server.script(Answer.lost())
    gateway.refund(RefundRequest(payment=payment, amount=payment.amount, idempotency_key="r-1"))

    assert list(server.refunds) == ["re_1"]


def test_a_busy_stripe_is_asked_again_when_it_says(
    gateway: StripeGateway, server: StripeServer, naps: list[float]
) -> None:
    """429 with Retry-After is waited for, and no error."""
    server.script(Answer.busy("2", 429))
    gateway.create_session(REQUEST)

    assert naps == [2.0]


# --- Signatures.


def refused(gateway: StripeGateway, request: CallbackRequest) -> bool:
    try:
        gateway.verify_callback(request)
    except InvalidSignature:
        return True
    return False


def headed(header: str, body: bytes = b"{}") -> CallbackRequest:
    return CallbackRequest({"stripe-signature": header}, body)


@pytest.mark.parametrize(("secret", "verdict"), [(SECRET, False), (OLD, False), ("whsec_stranger", True)])
def test_every_secret_in_force_verifies(gateway: StripeGateway, secret: str, verdict: bool) -> None:
    """What Stripe's SDK signs with one of our secrets is accepted, and nothing else."""
    assert refused(gateway, signed(b'{"a": "Zo\xc3\xab"}', secret)) is verdict


def test_what_we_accept_the_sdk_accepts(gateway: StripeGateway) -> None:
    """A signature made by our own helper's formula passes Stripe's SDK, and ours passes us."""
    body = event("checkout.session.completed", {"id": "cs_1"})
    request = signed(body)
    gateway.verify_callback(request)

    assert stripe.WebhookSignature.verify_header(body, request.headers["Stripe-Signature"], SECRET, tolerance=300)
    assert stripe.Webhook.construct_event(body, request.headers["Stripe-Signature"], SECRET).id == "evt_1"


def test_every_flipped_bit_is_refused(gateway: StripeGateway) -> None:
    """The SDK and we agree on every one."""
    good = signed(b'{"id":1}')
    for position in range(len(good.body) * 8):
        body = bytearray(good.body)
        body[position // 8] ^= 1 << position % 8
        assert refused(gateway, replace(good, body=bytes(body))), position


@pytest.mark.parametrize(
    ("age", "verdict"), [(0, False), (300, False), (301, True), (-300, False), (-301, True), (86_400, True)]
)
def test_five_minutes_are_allowed_to_both_sides(gateway: StripeGateway, age: int, verdict: bool) -> None:
    """The SDK accepts the future; we do not."""
    with time_machine.travel(CREATED, tick=False):
        assert refused(gateway, signed(b"{}", age=age)) is verdict


@pytest.mark.parametrize(
    ("make", "verdict"),
    [
        (lambda t, v: f"t={t},v1={v}", False),
        (lambda t, v: f"v1={v},t={t}", False),
        (lambda t, v: f"t={t},v1=00,v1={v},v0=11", False),
        (lambda t, v: f"t={t},v1={v},v2", False),
        (lambda t, v: f"t={t},v0={v}", True),
        (lambda t, v: f"t={t},v2={v}", True),
        (lambda t, v: f"t={t},V1={v}", True),
        (lambda t, v: f"t={t},v1={v.upper()}", True),
        (lambda t, v: f"t={t},v1={v[:63]}", True),
        (lambda t, v: f"t={t},v1=", True),
        (lambda t, v: f"t={t},v1=\ud800é", True),
        (lambda t, v: f"t={t},t={t},v1={v}", True),
        (lambda t, v: f"t={t}.0,v1={v}", True),
        (lambda t, v: f"t=+{t},v1={v}", True),
        (lambda t, v: f"t= {t},v1={v}", True),
        (lambda t, v: f"t=nan,v1={v}", True),
        (lambda t, v: f"t={'9' * 5000},v1={v}", True),
        (lambda t, v: f"v1={v}", True),
        (lambda t, v: f"t={t}", True),
        (lambda t, v: "", True),
        (lambda t, v: ",,==,", True),
    ],
)
def test_a_header_is_read_strictly(gateway: StripeGateway, make: Any, verdict: bool) -> None:
    """Any v1 may match, other schemes count for nothing, the time is a whole number, once."""
    header = signed(b"{}").headers["Stripe-Signature"]
    stamp, digest = (part.partition("=")[2] for part in header.split(","))

    assert refused(gateway, headed(make(stamp, digest))) is verdict


def test_no_header_is_refused(gateway: StripeGateway) -> None:
    """A bare post is nothing."""
    assert refused(gateway, CallbackRequest({}, b"{}"))


def test_vectors_that_others_wrote_are_judged_alike() -> None:
    """Signatures of other implementations are accepted and refused as their authors say."""
    found = {}
    for one in specs.vectors("stripe"):
        gateway = StripeGateway("card", api_key=KEY, webhook_secrets=[one["secret"]])
        with time_machine.travel(one["now"], tick=False):
            found[one["name"]] = not refused(gateway, CallbackRequest(one["headers"], one["body"].encode()))

    assert found == {one["name"]: one["valid"] for one in specs.vectors("stripe")}


# --- Events.


def test_a_delayed_method_is_decided_later(gateway: StripeGateway, server: StripeServer) -> None:
    """`completed` is not `paid`."""
    payment = open_session(gateway)
    session = server.sessions[payment.gateway_reference]
    session.update(status="complete", payment_intent="pi_1")
    completed = parse(gateway, "checkout.session.completed", session)
    failed = parse(gateway, "checkout.session.async_payment_failed", session)
    session["payment_status"] = "paid"
    succeeded = parse(gateway, "checkout.session.async_payment_succeeded", session)

    assert (completed.state, completed.captured) == (State.PROCESSING, None)
    assert failed.state is State.FAILED
    assert (succeeded.state, succeeded.captured) == (State.SUCCESS, REQUEST.amount)
    assert completed.payment_reference == "pi_1"


def test_an_expired_session_is_told(gateway: StripeGateway, server: StripeServer) -> None:
    """Nobody can pay it any more."""
    payment = open_session(gateway)
    gateway.cancel_payment(payment, idempotency_key="x")

    told = parse(gateway, "checkout.session.expired", server.sessions[payment.gateway_reference])
    assert (told.state, told.gateway_reference, told.transaction_id) == (
        State.EXPIRED,
        payment.gateway_reference,
        OURS,
    )


INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 1990,
    "currency": "eur",
    "metadata": {"transaction_id": OURS},
}
CHARGE = {**INTENT, "id": "ch_1", "object": "charge", "payment_intent": "pi_1", "status": "succeeded", "captured": True}
REFUND = {**INTENT, "id": "re_1", "object": "refund", "payment_intent": "pi_1", "amount": 490}


@pytest.mark.parametrize(
    ("kind", "fields", "state"),
    [
        ("succeeded", {"status": "succeeded", "amount_received": 1990}, State.SUCCESS),
        ("payment_failed", {"status": "requires_payment_method"}, State.PENDING),
        ("canceled", {"status": "canceled"}, State.CANCELED),
        ("processing", {"status": "processing"}, State.PROCESSING),
        ("amount_capturable_updated", {"status": "requires_capture", "amount_capturable": 1990}, State.AUTHORIZED),
        ("requires_action", {"status": "requires_action"}, State.PENDING),
        ("brand_new", {"status": "brand_new"}, None),
    ],
)
def test_an_event_about_a_payment_intent_names_us_by_metadata(
    gateway: StripeGateway, kind: str, fields: dict[str, Any], state: State | None
) -> None:
    """It knows no session, and says so by saying nothing."""
    told = parse(gateway, f"payment_intent.{kind}", {**INTENT, **fields})

    assert (told.state, told.transaction_id) == (state, OURS)
    assert (told.gateway_reference, told.payment_reference, told.event_id) == ("", "pi_1", "evt_1")
    assert told.captured == (REQUEST.amount if state is State.SUCCESS else None)
    assert told.authorized == (REQUEST.amount if state is State.AUTHORIZED else None)


def test_a_refunded_charge_tells_the_total(gateway: StripeGateway) -> None:
    """Absolute, not what this refund added."""
    told = parse(gateway, "charge.refunded", {**CHARGE, "amount_captured": 1990, "amount_refunded": 490})

    assert (told.refunded, told.captured) == (Money("4.90", "EUR"), REQUEST.amount)
    assert (told.transaction_id, told.payment_reference, told.gateway_reference) == (OURS, "pi_1", "")


def test_a_released_authorization_is_no_refund(gateway: StripeGateway) -> None:
    """Stripe sends charge.refunded for it all the same; nothing was taken, so the core asks."""
    told = parse(gateway, "charge.refunded", {**CHARGE, "captured": False, "amount_refunded": 1990})

    assert told.thin
    assert told.refunded is told.captured is None


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("pending", RefundState.SUBMITTED),
        ("requires_action", RefundState.SUBMITTED),
        ("succeeded", RefundState.SUCCEEDED),
        ("failed", RefundState.FAILED),
        ("canceled", RefundState.FAILED),
        ("brand_new", RefundState.SUBMITTED),
    ],
)
@pytest.mark.parametrize("kind", ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"])
def test_a_refund_tells_what_became_of_it(gateway: StripeGateway, kind: str, status: str, state: RefundState) -> None:
    """It may fail after it succeeded; each event is the news of one refund."""
    told = parse(gateway, kind, {**REFUND, "status": status})

    assert told.refund
    assert (told.refund.refund_reference, told.refund.state, told.refund.amount) == (
        "re_1",
        state,
        Money("4.90", "EUR"),
    )
    assert (told.transaction_id, told.payment_reference, told.state) == (OURS, "pi_1", None)


@pytest.mark.parametrize("kind", ["created", "updated", "closed", "funds_withdrawn", "funds_reinstated"])
def test_a_dispute_raises_a_flag(gateway: StripeGateway, kind: str) -> None:
    """It never moves the state; Stripe's own disputes carry no metadata, so the PaymentIntent is named."""
    told = parse(gateway, f"charge.dispute.{kind}", {"id": "dp_1", "payment_intent": "pi_1", "metadata": {}})

    assert (told.state, told.flags, told.payment_reference) == (None, frozenset({"disputed"}), "pi_1")


def test_a_disputed_payment_says_so_when_asked(gateway: StripeGateway, server: StripeServer) -> None:
    """The poll finds what the event could not name."""
    payment = open_session(gateway)
    server.act(payment.gateway_reference, "succeeded")["latest_charge"]["disputed"] = True

    assert gateway.fetch_payment(payment).flags == {"disputed"}


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("customer.created", {"id": "cus_1", "metadata": {"transaction_id": OURS}}),
        ("payout.paid", {"id": "po_1"}),
        ("checkout.session.completed", {"id": "cs_other", "status": "complete", "payment_status": "paid"}),
        ("invoice.paid", {}),
        ("", {}),
    ],
)
def test_what_is_not_ours_names_no_payment(gateway: StripeGateway, kind: str, found: dict[str, Any]) -> None:
    """So that the core keeps it and does nothing."""
    told = parse(gateway, kind, found)

    assert (told.transaction_id, told.gateway_reference, told.event_id) == ("", "", "evt_1")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_body_that_cannot_be_read_is_malformed(gateway: StripeGateway, body: bytes) -> None:
    """No crash, whatever was signed."""
    with pytest.raises(MalformedCallback):
        gateway.parse_callback(CallbackRequest({}, body))


@pytest.mark.parametrize("name", ["checkout.session", "payment_intent", "charge", "refund", "dispute"])
def test_stripes_own_examples_are_read(gateway: StripeGateway, name: str) -> None:
    """Every official fixture, in every event that carries it, without a crash and without anything personal."""
    fixture = specs.load(FIXTURES)["resources"][name] | {"metadata": {"transaction_id": OURS}}
    kinds = {
        "checkout.session": ["checkout.session.completed", "checkout.session.expired"],
        "payment_intent": ["payment_intent.succeeded", "payment_intent.payment_failed"],
        "charge": ["charge.refunded", "charge.succeeded"],
        "refund": ["refund.created", "charge.refund.updated"],
        "dispute": ["charge.dispute.created"],
    }
    for kind in kinds[name]:
        told = parse(gateway, kind, fixture)
        assert told.transaction_id == OURS
        said = json.dumps(dict(told.raw))
        for private in ("@example.com", "_secret_", "Jenny", "receipt"):
            assert private not in said


@pytest.mark.parametrize("value", [None, 1, True, "x", [], ["x"], {"id": ["x"]}, 10**30, "a\x00b\ud800", "x" * 9999])
@pytest.mark.parametrize(
    "field", ["id", "status", "metadata", "payment_intent", "latest_charge", "last_payment_error", "currency"]
)
def test_odd_values_do_not_crash(gateway: StripeGateway, field: str, value: Any) -> None:
    """Another JSON type is no fact; what goes into rows is short and printable."""
    for kind in ("checkout.session.completed", "payment_intent.succeeded", "charge.refunded", "refund.failed"):
        body = json.dumps({"id": value, "type": kind, "data": {"object": {**CHARGE, field: value}}}).encode()
        (told,) = gateway.parse_callback(CallbackRequest({}, body))
        for text in (told.transaction_id, told.gateway_reference, told.event_id, *told.raw.values()):
            assert len(text) <= 255
            assert text.isprintable()


# --- The account.


@pytest.mark.parametrize(
    ("key", "test_mode"),
    [("sk_test_1", True), ("rk_test_1", True), ("sk_live_1", False), ("rk_live_1", False), ("test", False)],
)
def test_the_key_tells_whether_it_is_play_money(key: str, test_mode: bool) -> None:
    """By its prefix, as Stripe makes them."""
    assert StripeGateway("card", api_key=key, webhook_secrets=[SECRET]).test_mode is test_mode


@pytest.mark.parametrize("options", [{"api_key": ""}, {"api_key": "sk_do_not_show\n"}, {"webhook_secrets": []}])
def test_an_account_without_its_secrets_is_refused_at_once(options: dict[str, Any]) -> None:
    """And the refusal does not quote them."""
    with pytest.raises(ValueError, match=r"key|secret") as caught:
        StripeGateway("card", **{"api_key": KEY, "webhook_secrets": [SECRET], **options})
    assert "do_not_show" not in str(caught.value)


def test_nothing_secret_is_kept_of_an_answer(gateway: StripeGateway, server: StripeServer) -> None:
    """Neither keys nor client secrets nor the shopper's address reach a row, a repr or a log line."""
    payment = open_session(gateway)
    server.act(payment.gateway_reference, "succeeded")
    told = parse(gateway, "checkout.session.completed", server.sessions[payment.gateway_reference])
    said = repr([gateway, told, gateway.fetch_payment(payment), signed(b"{}")])

    assert "do_not_show" not in said
    assert "zoe@" not in said
