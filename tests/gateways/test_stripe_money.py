"""Stripe after the payment: captures in parts, refunds and their ids, disputes, the list."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from moneyed import Money

from django_gatewaypay.exceptions import GatewayRejected, GatewayUnavailable, UnsupportedOperation
from django_gatewaypay.gateways.stripe import StripeGateway
from django_gatewaypay.testing.gateway_server import Answer
from django_gatewaypay.types import (
    DisputeState,
    ListedPayment,
    PaymentRef,
    RefundRequest,
    RefundState,
    State,
)

from . import specs
from .test_stripe import CHARGE, CREATED, FIXTURES, KEY, OURS, REQUEST, SECRET, StripeServer, open_session, parse
from .test_stripe import gateway as gateway
from .test_stripe import naps as naps
from .test_stripe import server as server


@pytest.fixture
def parts(server: StripeServer) -> Iterator[StripeGateway]:
    """An account that may capture in parts."""
    ours = StripeGateway("card", api_key=KEY, webhook_secrets=[SECRET], api_base=server.url, multicapture=True)
    yield ours
    ours.client.session.close()


def eur(amount: str) -> Money:
    return Money(amount, "EUR")


def reserved(gateway: StripeGateway, server: StripeServer) -> PaymentRef:
    payment = open_session(gateway, replace(REQUEST, manual_capture=True))
    server.act(payment.gateway_reference, "requires_capture")
    return payment


def paid(gateway: StripeGateway, server: StripeServer) -> PaymentRef:
    payment = open_session(gateway)
    server.act(payment.gateway_reference, "succeeded")
    return payment


def back(payment: PaymentRef, amount: str = "4.90", name: str = "r1") -> RefundRequest:
    return RefundRequest(payment=payment, amount=eur(amount), idempotency_key=f"key-{name}", refund_id=name)


# --- Captures.


def test_an_account_captures_once_unless_it_may_do_more(gateway: StripeGateway, server: StripeServer) -> None:
    """A part that is not the last is refused before the call, and multicapture is not asked for."""
    payment = reserved(gateway, server)
    with pytest.raises(UnsupportedOperation, match="multicapture"):
        gateway.capture(replace(payment, amount=eur("7.00")), idempotency_key="c-1", final=False)

    assert not gateway.supports_several_captures
    assert "payment_method_options" not in specs.decode_form(server.requests[0].body)
    assert not any(call.path.endswith("/capture") for call in server.requests)


def test_a_capture_in_part_lets_the_rest_go(gateway: StripeGateway, server: StripeServer) -> None:
    """One capture, and it is a success of what was taken."""
    payment = reserved(gateway, server)
    taken = gateway.capture(replace(payment, amount=eur("7.00")), idempotency_key="c-1")

    assert specs.decode_form(server.requests[-1].body) == {"amount_to_capture": "700"}
    assert (taken.state, taken.captured) == (State.SUCCESS, eur("7.00"))
    assert gateway.fetch_payment(payment).captured == eur("7.00")


def test_captures_come_in_parts_where_they_may(parts: StripeGateway, server: StripeServer) -> None:
    """Asked for with the session; each answer tells the totals, also while some is still reserved."""
    payment = reserved(parts, server)
    opened = specs.decode_form(server.requests[0].body)
    first = parts.capture(replace(payment, amount=eur("7.00")), idempotency_key="c-1", final=False)
    asked = parts.fetch_payment(payment)
    sent = [call for call in server.requests if call.path.endswith("/capture")]
    last = parts.capture(replace(payment, amount=eur("5.00")), idempotency_key="c-2")

    assert parts.supports_several_captures
    assert opened["payment_method_options"] == {"card": {"request_multicapture": "if_available"}}
    assert specs.decode_form(sent[0].body) == {"amount_to_capture": "700", "final_capture": "false"}
    for told in (first, asked):
        assert (told.state, told.captured, told.authorized) == (State.AUTHORIZED, eur("7.00"), eur("19.90"))
    assert (last.state, last.captured) == (State.SUCCESS, eur("12.00"))


def test_the_rest_is_let_go_after_a_part(parts: StripeGateway, server: StripeServer) -> None:
    """What was taken stays taken."""
    payment = reserved(parts, server)
    parts.capture(replace(payment, amount=eur("7.00")), idempotency_key="c-1", final=False)
    update = parts.cancel_payment(payment, idempotency_key="x-1")

    assert (update.state, update.captured) == (State.SUCCESS, eur("7.00"))


def test_more_than_is_reserved_is_refused(gateway: StripeGateway, server: StripeServer) -> None:
    """A definite no, in Stripe's own word."""
    payment = reserved(gateway, server)
    with pytest.raises(GatewayRejected) as caught:
        gateway.capture(replace(payment, amount=eur("19.91")), idempotency_key="c-1")

    assert caught.value.code == "amount_too_large"


@pytest.mark.parametrize(("refunded", "total"), [(0, None), (1290, None), (500, None)])
def test_what_a_part_lets_go_is_no_refund(gateway: StripeGateway, refunded: int, total: Money | None) -> None:
    """Stripe may count the released rest as refunded, or not: the total of such a charge tells nothing."""
    told = parse(gateway, "charge.refunded", {**CHARGE, "amount_captured": 700, "amount_refunded": refunded})

    assert (told.state, told.captured, told.refunded) == (State.SUCCESS, eur("7.00"), total)


@pytest.mark.parametrize(("field", "value"), [("amount_capturable", None), ("amount_received", "7"), ("currency", 1)])
def test_a_reserve_that_cannot_be_read_is_none(
    gateway: StripeGateway, server: StripeServer, field: str, value: Any
) -> None:
    """It is not guessed."""
    payment = reserved(gateway, server)
    server.intents["pi_cs_test_1"][field] = value

    assert gateway.fetch_payment(payment).authorized is None


# --- Refunds.


def test_a_refund_carries_our_id(gateway: StripeGateway, server: StripeServer) -> None:
    """In its metadata, which comes back with every word about it."""
    payment = paid(gateway, server)
    refund = gateway.refund(back(payment))
    told = parse(gateway, "refund.failed", {**server.refunds["re_1"], "status": "failed", "failure_reason": "declined"})

    assert specs.decode_form(server.requests[-1].body)["metadata"] == {"transaction_id": OURS, "refund_id": "r1"}
    assert refund.refund_id == gateway.fetch_refund(payment, "re_1").refund_id == "r1"
    assert told.refund
    assert (told.refund.refund_id, told.refund.state, told.refund.reason) == ("r1", RefundState.FAILED, "declined")


def test_a_refund_is_found_by_our_id(gateway: StripeGateway, server: StripeServer) -> None:
    """Among all of its payment, page after page."""
    server.shown_at_once = 2
    payment = paid(gateway, server)
    made = [gateway.refund(back(payment, "1.00", f"r{number}")) for number in range(5)]

    assert gateway.find_refund(back(payment, name="r9")) is None
    assert [gateway.find_refund(back(payment, "1.00", f"r{number}")) for number in range(5)] == made


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": {}, "has_more": True}])
def test_a_list_of_refunds_that_cannot_be_read_is_not_empty(
    gateway: StripeGateway, server: StripeServer, answer: dict[str, Any]
) -> None:
    """Who reads "none" there gives the money back twice."""
    payment = replace(paid(gateway, server), payment_reference="pi_cs_test_1")
    server.script(Answer.json(answer))
    with pytest.raises(GatewayUnavailable):
        gateway.find_refund(back(payment))


def test_more_than_was_taken_is_not_given_back(gateway: StripeGateway, server: StripeServer) -> None:
    """A definite no."""
    payment = paid(gateway, server)
    gateway.refund(back(payment, "19.90"))
    with pytest.raises(GatewayRejected) as caught:
        gateway.refund(back(payment, "0.01", "r2"))

    assert caught.value.code == "charge_already_refunded"


# --- Disputes.

DISPUTE = {
    "id": "dp_1",
    "object": "dispute",
    "payment_intent": "pi_1",
    "charge": "ch_1",
    "amount": 1990,
    "currency": "eur",
    "reason": "fraudulent",
    "status": "needs_response",
    "evidence_details": {"due_by": 1796126400},
    "metadata": {},
}


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("warning_needs_response", DisputeState.OPEN),
        ("needs_response", DisputeState.OPEN),
        ("appeal_needs_response", DisputeState.OPEN),
        ("warning_under_review", DisputeState.UNDER_REVIEW),
        ("under_review", DisputeState.UNDER_REVIEW),
        ("appeal_under_review", DisputeState.UNDER_REVIEW),
        ("warning_closed", DisputeState.WON),
        ("won", DisputeState.WON),
        ("lost", DisputeState.LOST),
        ("prevented", DisputeState.OPEN),
        ("brand_new", DisputeState.OPEN),
        (None, DisputeState.OPEN),
    ],
)
def test_a_dispute_says_where_it_stands(gateway: StripeGateway, word: Any, state: DisputeState) -> None:
    """With its amount, Stripe's reason, and the time until which an answer is taken."""
    told = parse(gateway, "charge.dispute.updated", {**DISPUTE, "status": word})

    assert told.dispute
    assert (told.dispute.dispute_reference, told.dispute.state) == ("dp_1", state)
    assert (told.dispute.amount, told.dispute.reason) == (eur("19.90"), "fraudulent")
    assert told.dispute.due_at == datetime(2026, 12, 1, 12, tzinfo=UTC)
    assert (told.state, told.payment_reference, told.flags) == (None, "pi_1", {"disputed"})


@pytest.mark.parametrize("details", [None, {}, {"due_by": 0}, {"due_by": None}, {"due_by": "soon"}, {"due_by": 10**20}])
def test_a_dispute_may_have_no_time(gateway: StripeGateway, details: Any) -> None:
    """0 says that the bank takes no answer."""
    told = parse(gateway, "charge.dispute.created", {**DISPUTE, "evidence_details": details})

    assert told.dispute
    assert told.dispute.due_at is None


def test_a_dispute_without_a_name_is_a_flag_only(gateway: StripeGateway) -> None:
    """Nobody could tell it from another one."""
    told = parse(gateway, "charge.dispute.created", {**DISPUTE, "id": None})

    assert (told.dispute, told.flags) == (None, {"disputed"})


def test_stripes_own_dispute_is_read(gateway: StripeGateway) -> None:
    """The official fixture."""
    found = specs.load(FIXTURES)["resources"]["dispute"]
    told = parse(gateway, "charge.dispute.created", found).dispute

    assert told
    assert (told.amount, told.reason, told.state) == (Money(10, "USD"), "general", DisputeState.OPEN)
    assert told.due_at == datetime.fromtimestamp(found["evidence_details"]["due_by"], UTC)


# --- The list.


def listed(gateway: StripeGateway, since: timedelta, until: timedelta) -> list[ListedPayment]:
    return list(gateway.list_payments(CREATED + since, CREATED + until))


HOUR = timedelta(hours=1)


@pytest.fixture
def at_noon() -> Iterator[None]:
    with time_machine.travel(CREATED, tick=False):
        yield


@pytest.mark.usefixtures("at_noon")
def test_the_list_tells_what_a_fetch_tells(gateway: StripeGateway, server: StripeServer) -> None:
    """Totals, order, what was asked for and when; one call with everything inside."""
    payment = paid(gateway, server)
    gateway.refund(back(payment))
    (one,) = listed(gateway, -HOUR, HOUR)
    call = server.requests[-1]

    assert one.update == gateway.fetch_payment(payment)
    assert (one.update.captured, one.update.refunded) == (eur("19.90"), eur("4.90"))
    assert (one.amount, one.order_id, one.created_at) == (eur("19.90"), "1234", CREATED)
    assert specs.decode_form(call.query.encode()) == {
        "created": {
            "gte": str(int((CREATED - HOUR).timestamp())),
            "lt": str(int((CREATED + HOUR).timestamp())),
        },
        "expand": {"": "data.payment_intent.latest_charge"},
        "limit": "100",
    }


@pytest.mark.usefixtures("at_noon")
def test_the_list_is_read_to_its_end(gateway: StripeGateway, server: StripeServer) -> None:
    """Page after page, each session once; what other integrations opened names none of ours."""
    server.shown_at_once = 2
    for number in range(5):
        open_session(gateway, replace(REQUEST, idempotency_key=f"key-{number}"))
    server.sessions["cs_test_3"]["metadata"] = {}
    server.sessions["cs_test_4"]["mode"] = "subscription"
    found = [(one.update.gateway_reference, one.update.transaction_id) for one in listed(gateway, -HOUR, HOUR)]

    assert found == [("cs_test_5", OURS), ("cs_test_3", ""), ("cs_test_2", OURS), ("cs_test_1", OURS)]


@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize(
    ("since", "until", "count"),
    [(timedelta(0), HOUR, 1), (-HOUR, timedelta(0), 0), (-HOUR, timedelta(microseconds=1), 1)],
)
def test_the_window_is_in_whole_seconds(
    gateway: StripeGateway, server: StripeServer, since: timedelta, until: timedelta, count: int
) -> None:
    """Rather one payment twice than none."""
    open_session(gateway)

    assert len(listed(gateway, since, until)) == count


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"data": None},
        {"data": [{"id": "cs_1", "mode": "payment"}]},
        {"data": [{"mode": "payment", "created": "x"}]},
    ],
)
def test_a_list_that_cannot_be_read_says_so(
    gateway: StripeGateway, server: StripeServer, answer: dict[str, Any]
) -> None:
    """It is not taken for an empty one."""
    server.script(Answer.json(answer))
    with pytest.raises(GatewayUnavailable):
        listed(gateway, -HOUR, HOUR)
