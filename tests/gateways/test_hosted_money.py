"""The plain hosted protocol after the payment: captures, refunds, disputes and the list, over a real socket."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moneyed import Money

from django_gatewaypay.exceptions import GatewayRejected, GatewayUnavailable, UnsupportedOperation
from django_gatewaypay.gateways import http
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import (
    CallbackRequest,
    DisputeState,
    ListedPayment,
    PaymentRef,
    PaymentUpdate,
    RefundRequest,
    RefundState,
    State,
)

from .test_hosted import REQUEST

DUE = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries do not wait."""
    slept: list[float] = []
    monkeypatch.setattr(http.time, "sleep", slept.append)
    return slept


@pytest.fixture
def gateway(gateway_server: GatewayServer) -> Iterator[HostedGateway]:
    ours = HostedGateway("card", api_base=gateway_server.url, webhook_secrets=[gateway_server.secret], timeout=(10, 10))
    yield ours
    ours.client.session.close()


def eur(amount: str) -> Money:
    return Money(amount, "EUR")


def opened(gateway: HostedGateway, number: int = 1, *, manual: bool = False) -> PaymentRef:
    name = f"0199f0c2-7c1e-7000-8000-{number:012}"
    request = replace(REQUEST, transaction_id=name, idempotency_key=f"key-{number}", order_id=f"order-{number}")
    session = gateway.create_session(replace(request, manual_capture=manual))
    return PaymentRef(transaction_id=name, gateway_reference=session.gateway_reference, amount=REQUEST.amount)


def paid(gateway: HostedGateway, server: GatewayServer, *, manual: bool = False) -> PaymentRef:
    payment = opened(gateway, manual=manual)
    server.pay(payment.gateway_reference)
    return payment


def back(payment: PaymentRef, amount: str = "5.00", name: str = "r1") -> RefundRequest:
    """A refund that has not been asked for yet."""
    return RefundRequest(payment=payment, amount=eur(amount), idempotency_key=f"key-{name}", refund_id=name)


def told(gateway: HostedGateway, callback: tuple[dict[str, str], bytes]) -> PaymentUpdate:
    request = CallbackRequest(*callback)
    gateway.verify_callback(request)
    (update,) = gateway.parse_callback(request)
    return update


# --- Captures.


@pytest.mark.parametrize("manual", [False, True])
def test_a_session_says_whether_it_only_reserves(
    gateway: HostedGateway, gateway_server: GatewayServer, manual: bool
) -> None:
    """The word is left out where money is taken at once, as it always was."""
    opened(gateway, manual=manual)

    assert gateway_server.requests[0].json.get("capture") == ("manual" if manual else None)


def test_an_authorization_says_what_is_reserved(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """Nothing is taken yet."""
    asked = gateway.fetch_payment(paid(gateway, gateway_server, manual=True))

    assert (asked.state, asked.authorized, asked.captured) == (State.AUTHORIZED, eur("19.90"), None)


def test_a_capture_says_amount_and_whether_more_follows(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """A decimal string, our key, and the totals of afterwards in the answer."""
    payment = replace(paid(gateway, gateway_server, manual=True), amount=eur("7.00"))
    first = gateway.capture(payment, idempotency_key="c-1", final=False)
    call = gateway_server.requests[-1]
    last = gateway.capture(replace(payment, amount=eur("5.50")), idempotency_key="c-2")

    assert (call.path, call.key) == (f"/capture/{payment.gateway_reference}", "c-1")
    assert call.json == {"amount": "7.00", "currency": "EUR", "final": False}
    assert (first.state, first.captured, first.authorized) == (State.AUTHORIZED, eur("7.00"), eur("19.90"))
    assert (last.state, last.captured, last.authorized) == (State.SUCCESS, eur("12.50"), eur("19.90"))


def test_a_lost_capture_takes_once(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """The same key again is the same capture."""
    payment = replace(paid(gateway, gateway_server, manual=True), amount=eur("7.00"))
    gateway_server.script(Answer.lost())
    for _ in range(2):
        gateway.capture(payment, idempotency_key="c-1", final=False)

    assert gateway.fetch_payment(payment).captured == eur("7.00")


def test_more_than_was_reserved_is_not_taken(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """A definite no."""
    payment = replace(paid(gateway, gateway_server, manual=True), amount=eur("19.91"))
    with pytest.raises(GatewayRejected) as caught:
        gateway.capture(payment, idempotency_key="c-1")

    assert caught.value.code == "too_much"


@pytest.mark.parametrize(
    ("taken", "state", "captured"), [("", State.CANCELED, None), ("7.00", State.SUCCESS, eur("7.00"))]
)
def test_the_rest_of_an_authorization_is_let_go(
    gateway: HostedGateway, gateway_server: GatewayServer, taken: str, state: State, captured: Money | None
) -> None:
    """What was taken of it stays taken, and is all there is."""
    payment = paid(gateway, gateway_server, manual=True)
    if taken:
        gateway.capture(replace(payment, amount=eur(taken)), idempotency_key="c-1", final=False)
    update = gateway.cancel_payment(payment, idempotency_key="x-1")

    assert (update.state, update.captured) == (state, captured)


# --- Refunds.


def test_a_refund_says_what_it_is_for(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """Amount, our id and reason go out; its reference and what became of it come back."""
    payment = paid(gateway, gateway_server)
    refund = gateway.refund(replace(back(payment), reason="Wrong size"))
    call = gateway_server.requests[-1]

    assert (call.path, call.key) == (f"/refund/{payment.gateway_reference}", "key-r1")
    assert call.json == {"amount": "5.00", "currency": "EUR", "refund_id": "r1", "reason": "Wrong size"}
    assert refund.refund_reference in gateway_server.refunds
    assert (refund.state, refund.amount, refund.refund_id) == (RefundState.SUCCEEDED, eur("5.00"), "r1")
    assert gateway.fetch_payment(payment).refunded == eur("5.00")


def test_a_lost_refund_gives_back_once(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """The same key again is the same refund."""
    payment = paid(gateway, gateway_server)
    gateway_server.script(Answer.lost())
    first, second = gateway.refund(back(payment)), gateway.refund(back(payment))

    assert first == second
    assert [*gateway_server.refunds] == [first.refund_reference]


def test_a_key_belongs_to_one_refund(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """Another amount under the same key is refused."""
    payment = paid(gateway, gateway_server)
    gateway.refund(back(payment))
    with pytest.raises(GatewayRejected) as caught:
        gateway.refund(back(payment, "6.00"))

    assert caught.value.code == "key_reused"


def test_more_than_was_taken_is_not_given_back(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """What is on its way counts; what has failed does not."""
    payment = paid(gateway, gateway_server)
    gateway_server.next_refund = "submitted"
    first = gateway.refund(back(payment, "19.90", "r1"))
    with pytest.raises(GatewayRejected) as caught:
        gateway.refund(back(payment, "0.01", "r2"))
    gateway_server.set_refund(first.refund_reference, "failed")

    assert caught.value.code == "too_much"
    assert gateway.refund(back(payment, "19.90", "r3")).state is RefundState.SUBMITTED


@pytest.mark.parametrize("status", ["submitted", "succeeded", "failed", "word_of_next_year"])
def test_a_refund_can_be_asked_for(gateway: HostedGateway, gateway_server: GatewayServer, status: str) -> None:
    """It may fail after it succeeded; an unknown word leaves it open."""
    payment = paid(gateway, gateway_server)
    reference = gateway.refund(back(payment)).refund_reference
    gateway_server.set_refund(reference, status, "account_closed")
    asked = gateway.fetch_refund(payment, reference)

    assert asked.state == (status if status in {*RefundState} else "submitted")
    assert (asked.refund_reference, asked.refund_id, asked.reason) == (reference, "r1", "account_closed")


def test_a_refund_is_found_by_our_id(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """Among those of its payment, whoever has made the others."""
    payment = paid(gateway, gateway_server)
    gateway_server.refund_at_the_console(payment.gateway_reference, "1.00")
    wanted = back(payment)

    assert gateway.find_refund(wanted) is None
    made = gateway.refund(wanted)
    assert gateway.find_refund(wanted) == made


@pytest.mark.parametrize("answer", [{}, {"refunds": None}, {"refunds": {}}, {"refunds": ["re_1"]}])
def test_a_list_of_refunds_that_cannot_be_read_is_not_empty(
    gateway: HostedGateway, gateway_server: GatewayServer, answer: dict[str, Any]
) -> None:
    """Who reads "none" there gives the money back twice."""
    payment = paid(gateway, gateway_server)
    gateway_server.script(Answer.json(answer))
    with pytest.raises(GatewayUnavailable):
        gateway.find_refund(back(payment))


@pytest.mark.parametrize("answer", [{}, {"refund_reference": None}, {"refund_reference": ""}])
def test_a_refund_without_a_name_is_an_unknown_outcome(
    gateway: HostedGateway, gateway_server: GatewayServer, answer: dict[str, Any]
) -> None:
    """Nobody could ask for it."""
    payment = paid(gateway, gateway_server)
    gateway_server.script(Answer.json({**answer, "status": "succeeded"}, 201))
    with pytest.raises(GatewayUnavailable):
        gateway.refund(back(payment))


def test_a_callback_about_a_refund_tells_of_both(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """The facts of the refund stand beside those of the payment, and are not mistaken for them."""
    payment = paid(gateway, gateway_server)
    reference = gateway.refund(back(payment)).refund_reference
    gateway_server.set_refund(reference, "failed", "account_closed")
    update = told(gateway, gateway_server.refund_callback(reference))

    assert (update.transaction_id, update.state, update.captured) == (
        payment.transaction_id,
        State.SUCCESS,
        eur("19.90"),
    )
    assert update.refund
    assert (update.refund.refund_reference, update.refund.refund_id) == (reference, "r1")
    assert (update.refund.state, update.refund.amount) == (RefundState.FAILED, eur("5.00"))
    assert update.refund.reason == "account_closed"
    assert not update.refunded


# --- Disputes.


@pytest.mark.parametrize(
    ("word", "state"), [*((str(state), state) for state in DisputeState), ("word_of_next_year", DisputeState.OPEN)]
)
def test_a_dispute_is_told_beside_the_payment(
    gateway: HostedGateway, gateway_server: GatewayServer, word: str, state: DisputeState
) -> None:
    """By a callback and when asked; the payment stays what it is."""
    payment = paid(gateway, gateway_server)
    gateway_server.dispute(payment.gateway_reference, word, dispute_due_at=DUE.isoformat(), dispute_reference="dp_1")
    update = told(gateway, gateway_server.callback(payment.gateway_reference))

    assert update.state is State.SUCCESS
    assert update.dispute
    assert (update.dispute.dispute_reference, update.dispute.state) == ("dp_1", state)
    assert (update.dispute.amount, update.dispute.due_at) == (eur("19.90"), DUE)
    assert update.dispute.reason == "fraudulent"
    assert gateway.fetch_payment(payment).dispute == update.dispute


@pytest.mark.parametrize("due", [None, 17, "soon", "2026-12-01T12:00:00", ["x"]])
def test_a_time_that_cannot_be_read_is_none(gateway: HostedGateway, gateway_server: GatewayServer, due: Any) -> None:
    """Neither is one without its zone."""
    payment = paid(gateway, gateway_server)
    gateway_server.dispute(payment.gateway_reference, dispute_due_at=due, dispute_amount="many")
    dispute = gateway.fetch_payment(payment).dispute

    assert dispute
    assert (dispute.due_at, dispute.amount) == (None, None)


# --- The list.


def listed(gateway: HostedGateway, since: timedelta, until: timedelta) -> list[ListedPayment]:
    now = datetime.now(UTC)
    return list(gateway.list_payments(now + since, now + until))


def test_the_list_tells_all_that_the_books_need(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """What is true, when it was opened, for which order and for how much; also of what was paid differently."""
    payment = opened(gateway)
    gateway_server.pay(payment.gateway_reference, amount="19.89")
    (one,) = listed(gateway, timedelta(hours=-1), timedelta(hours=1))

    assert one.update == replace(gateway.fetch_payment(payment), raw=one.update.raw)
    assert (one.amount, one.update.captured, one.order_id) == (eur("19.90"), eur("19.89"), "order-1")
    assert one.created_at == gateway_server.asked[payment.gateway_reference].created_at


def test_the_list_is_read_to_its_end(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """Page after page, each payment once."""
    gateway_server.shown_at_once = 2
    names = [opened(gateway, number).transaction_id for number in range(5)]

    assert [one.update.transaction_id for one in listed(gateway, timedelta(hours=-1), timedelta(hours=1))] == names
    assert sum(call.path == "/list" for call in gateway_server.requests) == 3


def test_the_list_keeps_to_its_window(gateway: HostedGateway, gateway_server: GatewayServer) -> None:
    """From the first moment to before the last one, so that two windows meet without a gap."""
    payment = opened(gateway)
    at = gateway_server.asked[payment.gateway_reference].created_at
    windows = [(at, at + timedelta(hours=1)), (at - timedelta(hours=1), at), (at, at)]

    assert [len(list(gateway.list_payments(*window))) for window in windows] == [1, 0, 0]


PAGE = {"payments": [{"reference": "ps_1", "status": "pending", "created_at": "2026-11-22T00:00:00Z"}]}


@pytest.mark.parametrize(
    ("pages", "read"),
    [
        ([{}], 0),
        ([{"payments": {}}], 0),
        ([{"payments": [17]}], 0),
        ([{**PAGE, "next": "a"}, {"payments": None}], 1),
        ([{**PAGE, "next": "a"}, {**PAGE, "next": "a"}], 2),
        ([{"payments": [{"reference": "ps_1", "status": "pending"}]}], 0),
    ],
)
def test_a_list_that_cannot_be_read_says_so(
    gateway: HostedGateway, gateway_server: GatewayServer, pages: list[dict[str, Any]], read: int
) -> None:
    """What was read is true, and it is not all."""
    gateway_server.script(*map(Answer.json, pages))
    found = []
    with pytest.raises(GatewayUnavailable):
        found.extend(one.created_at for one in gateway.list_payments(DUE, DUE))

    assert found == [datetime(2026, 11, 22, tzinfo=UTC)] * read


@pytest.mark.parametrize(
    ("verb", "body", "code"),
    [
        ("refund", {"amount": "many", "currency": "EUR"}, "amount"),
        ("refund", {"amount": "0", "currency": "EUR"}, "amount"),
        ("refund", {"amount": "1.00", "currency": "USD"}, "amount"),
        ("refund", {"amount": "1.00"}, "bad_request"),
        ("capture", {"amount": "1.00", "currency": "EUR"}, "not_authorized"),
    ],
)
def test_the_scripted_gateway_refuses_by_name(
    gateway: HostedGateway, gateway_server: GatewayServer, verb: str, body: dict[str, Any], code: str
) -> None:
    """A definite 422, and its books are as before."""
    payment = paid(gateway, gateway_server)
    with pytest.raises(GatewayRejected) as caught:
        gateway.client.post(f"{verb}/{payment.gateway_reference}", json=body, idempotency_key="k-1")

    assert (caught.value.status, caught.value.code) == (422, code)
    assert gateway_server.refunds == {}


@pytest.mark.parametrize("query", ["", "?since=2030-01-01T00:00:00Z", "?since=soon&until=later"])
def test_the_scripted_gateway_lists_a_time_only(gateway: HostedGateway, query: str) -> None:
    """Which one, has to be said."""
    with pytest.raises(GatewayRejected) as caught:
        gateway.client.get(f"list{query}")

    assert caught.value.code == "bad_request"


# --- What a gateway may lack.


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize("call", ["capture", "refund", "fetch_refund", "find_refund", "list_payments"])
def test_a_call_that_a_gateway_lacks_is_unsupported(
    gateway: HostedGateway, gateway_server: GatewayServer, call: str, status: int
) -> None:
    """Nothing was moved, and nothing is concluded."""
    payment = paid(gateway, gateway_server)
    calls: dict[str, Any] = {
        "capture": lambda: gateway.capture(payment, idempotency_key="c-1"),
        "refund": lambda: gateway.refund(back(payment)),
        "fetch_refund": lambda: gateway.fetch_refund(payment, "re_1"),
        "find_refund": lambda: gateway.find_refund(back(payment)),
        "list_payments": lambda: list(gateway.list_payments(DUE, DUE)),
    }
    gateway_server.script(Answer.error(status))
    with pytest.raises(UnsupportedOperation):
        calls[call]()
