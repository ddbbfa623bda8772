"""PayPal after the payment: captures in parts, refunds and their ids, disputes."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from moneyed import Money

from django_gatewaypay.exceptions import GatewayRejected, GatewayUnavailable, UnsupportedOperation
from django_gatewaypay.gateways.paypal import PayPalGateway
from django_gatewaypay.testing.gateway_server import Answer
from django_gatewaypay.types import DisputeState, PaymentRef, PaymentUpdate, RefundRequest, RefundState, State

from .test_paypal import NOW, OUR_ID, REQUEST, PayPalServer, approve, event, make, open_order, pay
from .test_paypal import gateway as gateway
from .test_paypal import naps as naps
from .test_paypal import server as server


def eur(amount: str) -> Money:
    return Money(amount, "EUR")


def reserved(gateway: PayPalGateway, server: PayPalServer) -> PaymentRef:
    """An authorization of 19.90 EUR."""
    ref = approve(server, open_order(gateway, manual_capture=True))
    gateway.fetch_payment(ref)
    return ref


def take(
    gateway: PayPalGateway, ref: PaymentRef, amount: str, key: str = "c-1", *, final: bool = True
) -> PaymentUpdate:
    return gateway.capture(replace(ref, amount=eur(amount)), idempotency_key=key, final=final)


def back(ref: PaymentRef, amount: str = "5.00", name: str = "r1") -> RefundRequest:
    return RefundRequest(payment=ref, amount=eur(amount), idempotency_key=f"key-{name}", refund_id=name)


def read(kind: str, found: Any) -> PaymentUpdate:
    (update,) = make().parse_callback(event(kind, found))
    return update


# --- Captures.


def test_captures_come_in_parts(gateway: PayPalGateway, server: PayPalServer) -> None:
    """Each says whether it is the final one; each answer tells the totals."""
    ref = reserved(gateway, server)
    first = take(gateway, ref, "7.00", "c-1", final=False)
    asked = gateway.fetch_payment(ref)
    last = take(gateway, ref, "5.00", "c-2")
    sent = [call.json["final_capture"] for call in server.calls("/capture") if "authorizations" in call.path]

    assert gateway.supports_several_captures
    assert sent == [False, True]
    for told in (first, asked):
        assert (told.state, told.captured, told.authorized) == (State.AUTHORIZED, eur("7.00"), eur("19.90"))
    assert (last.state, last.captured) == (State.SUCCESS, eur("12.00"))


def test_the_last_cent_ends_the_authorization(gateway: PayPalGateway, server: PayPalServer) -> None:
    """Whatever was said."""
    ref = reserved(gateway, server)
    take(gateway, ref, "7.00", "c-1", final=False)
    update = take(gateway, ref, "12.90", "c-2", final=False)

    assert (update.state, update.captured) == (State.SUCCESS, REQUEST.amount)


def test_a_lost_capture_takes_once(gateway: PayPalGateway, server: PayPalServer) -> None:
    """The same key again is the same capture."""
    ref = reserved(gateway, server)
    server.script(Answer(works=True), Answer.lost())
    take(gateway, ref, "7.00", final=False)

    assert take(gateway, ref, "7.00", final=False).captured == eur("7.00")


def test_more_than_is_reserved_is_refused(gateway: PayPalGateway, server: PayPalServer) -> None:
    """A definite no, in PayPal's own word."""
    ref = reserved(gateway, server)
    with pytest.raises(GatewayRejected) as caught:
        take(gateway, ref, "19.91")

    assert caught.value.code == "MAX_CAPTURE_AMOUNT_EXCEEDED"


@pytest.mark.parametrize(("taken", "state", "captured"), [("", State.CANCELED, None), ("7.00", State.SUCCESS, "7.00")])
def test_the_rest_is_let_go(
    gateway: PayPalGateway, server: PayPalServer, taken: str, state: State, captured: str | None
) -> None:
    """What was captured stays captured, and is all there is."""
    ref = reserved(gateway, server)
    if taken:
        take(gateway, ref, taken, final=False)
    gone = gateway.cancel_payment(ref, idempotency_key="x-1")
    asked = gateway.fetch_payment(ref)

    for told in (gone, asked):
        assert (told.state, told.captured, told.authorized) == (state, captured and eur(captured), None)


def test_one_capture_of_several_tells_no_total(gateway: PayPalGateway, server: PayPalServer) -> None:
    """Its callback makes the core ask for the order."""
    ref = reserved(gateway, server)
    take(gateway, ref, "7.00", final=False)
    (capture,) = server.sessions[ref.gateway_reference]["purchase_units"][0]["payments"]["captures"]
    update = read("PAYMENT.CAPTURE.COMPLETED", capture)

    assert update.thin
    assert (update.captured, update.transaction_id, update.gateway_reference) == (None, OUR_ID, ref.gateway_reference)


# --- Refunds.


def test_a_refund_carries_our_id(gateway: PayPalGateway, server: PayPalServer) -> None:
    """As its invoice id, which PayPal takes once; the payment's is the custom id, by which callbacks are matched."""
    ref = pay(gateway, server)
    refund = gateway.refund(back(ref))
    told = read("PAYMENT.CAPTURE.REFUNDED", server.sessions[refund.refund_reference])

    assert server.calls("/refund")[0].json == {
        "amount": {"currency_code": "EUR", "value": "5.00"},
        "custom_id": OUR_ID,
        "invoice_id": "r1",
    }
    assert refund.refund_id == gateway.fetch_refund(ref, refund.refund_reference).refund_id == "r1"
    assert (told.transaction_id, told.refund) == (OUR_ID, refund)


def test_a_refund_that_was_made_at_paypal_has_no_id_of_ours(gateway: PayPalGateway, server: PayPalServer) -> None:
    """Its invoice id is the payment's, if it has one."""
    for more in ({}, {"invoice_id": OUR_ID}):
        found = {"id": "R1", "status": "COMPLETED", "custom_id": OUR_ID, **more} if more else {"id": "R1"}
        told = read("PAYMENT.CAPTURE.REFUNDED", found).refund

        assert told
        assert told.refund_id == ""


def test_a_refund_is_found_by_our_id(gateway: PayPalGateway, server: PayPalServer) -> None:
    """In the order, among all of its refunds; it is then not made again, whatever its key."""
    ref = pay(gateway, server)
    before = gateway.find_refund(back(ref))
    gateway.refund(back(ref, "1.00", "r9"))
    made = gateway.refund(back(ref))
    server.replies.clear()

    assert before is None
    assert gateway.find_refund(back(ref)) == gateway.refund(back(ref)) == made
    assert len(server.calls("/refund")) == 2


def test_a_lost_refund_gives_back_once(gateway: PayPalGateway, server: PayPalServer) -> None:
    """The retry goes under the same key, to the same capture."""
    ref = pay(gateway, server)
    server.script(Answer(works=True), Answer.lost())
    gateway.refund(back(ref, "15.00"))
    first, second = server.calls("/refund")

    assert (first.path, first.body) == (second.path, second.body)
    assert gateway.fetch_payment(ref).refunded == eur("15.00")


def test_a_refund_is_of_a_capture_that_has_as_much_left(gateway: PayPalGateway, server: PayPalServer) -> None:
    """Of several, the first; PayPal refuses what none of them has, and nothing goes back."""
    ref = reserved(gateway, server)
    take(gateway, ref, "7.00", "c-1", final=False)
    take(gateway, ref, "12.90", "c-2")
    first, second = (
        one["id"] for one in server.sessions[ref.gateway_reference]["purchase_units"][0]["payments"]["captures"]
    )
    ref = replace(ref, payment_reference=first)
    for number, amount in enumerate(["6.00", "2.00", "1.00"]):
        gateway.refund(back(ref, amount, f"r{number}"))
    with pytest.raises(GatewayRejected) as caught:
        gateway.refund(back(ref, "13.00", "r9"))

    assert [call.path.split("/")[-2] for call in server.calls("/refund")] == [first, second, first, first]
    assert caught.value.code == "REFUND_AMOUNT_EXCEEDED"
    assert gateway.fetch_payment(ref).refunded == eur("9.00")


def test_a_refund_that_failed_leaves_its_amount(gateway: PayPalGateway, server: PayPalServer) -> None:
    """Another one may take it; the failed one stays found."""
    ref = pay(gateway, server)
    server.refund_status = "FAILED"
    failed = gateway.refund(back(ref, "19.90", "r1"))
    server.refund_status = "COMPLETED"
    again = gateway.refund(back(ref, "19.90", "r2"))

    assert (failed.state, again.state) == (RefundState.FAILED, RefundState.SUCCEEDED)
    assert gateway.find_refund(back(ref, "19.90", "r1")) == failed


@pytest.mark.parametrize(
    "amount",
    [
        None,
        {"value": "x", "currency_code": "EUR"},
        {"value": "1.00", "currency_code": "EUR"},
        {"value": "19.90", "currency_code": "USD"},
    ],
)
def test_what_the_order_cannot_tell_is_left_to_paypal(
    gateway: PayPalGateway, server: PayPalServer, amount: Any
) -> None:
    """The capture that we know is asked for the money, and PayPal says whether it has it."""
    ref = pay(gateway, server)
    order = json.loads(json.dumps(server.sessions[ref.gateway_reference]))
    order["purchase_units"][0]["payments"]["captures"][0]["amount"] = amount
    server.script(Answer.json(order), Answer.json({"id": "R1", "status": "PENDING"}, 201))
    refund = gateway.refund(back(ref))

    assert server.calls("/refund")[0].path == f"/v2/payments/captures/{ref.payment_reference}/refund"
    assert refund.state is RefundState.SUBMITTED


def test_no_order_no_refund(gateway: PayPalGateway, server: PayPalServer) -> None:
    """What cannot be read is an unknown outcome, and nothing was sent."""
    ref = pay(gateway, server)
    server.script(*[Answer.error(503)] * 3)
    with pytest.raises(GatewayUnavailable):
        gateway.refund(back(ref))

    assert server.calls("/refund") == []


# --- Disputes.

DISPUTE = {
    "dispute_id": "PP-D-1",
    "create_time": "2026-11-22T10:00:00.000Z",
    "disputed_transactions": [{"seller_transaction_id": "C1", "custom": OUR_ID, "buyer": {"name": "Zoe"}}],
    "reason": "MERCHANDISE_OR_SERVICE_NOT_RECEIVED",
    "status": "OPEN",
    "dispute_amount": {"currency_code": "EUR", "value": "19.90"},
    "dispute_life_cycle_stage": "CHARGEBACK",
    "seller_response_due_date": "2026-12-01T12:00:00.000Z",
}


@pytest.mark.parametrize(
    ("status", "outcome", "state"),
    [
        ("OPEN", None, DisputeState.OPEN),
        ("WAITING_FOR_SELLER_RESPONSE", None, DisputeState.OPEN),
        ("WAITING_FOR_BUYER_RESPONSE", None, DisputeState.UNDER_REVIEW),
        ("UNDER_REVIEW", "RESOLVED_BUYER_FAVOUR", DisputeState.UNDER_REVIEW),
        ("RESOLVED", "RESOLVED_BUYER_FAVOUR", DisputeState.LOST),
        ("RESOLVED", "ACCEPTED", DisputeState.LOST),
        ("RESOLVED", "RESOLVED_SELLER_FAVOUR", DisputeState.WON),
        ("RESOLVED", "CANCELED_BY_BUYER", DisputeState.WON),
        ("RESOLVED", "DENIED", DisputeState.WON),
        ("RESOLVED", "RESOLVED_WITH_PAYOUT", DisputeState.UNDER_REVIEW),
        ("RESOLVED", "NONE", DisputeState.UNDER_REVIEW),
        ("RESOLVED", None, DisputeState.UNDER_REVIEW),
        ("OTHER", None, DisputeState.OPEN),
        (None, None, DisputeState.OPEN),
    ],
)
@pytest.mark.parametrize("kind", ["CREATED", "UPDATED", "RESOLVED"])
def test_a_dispute_says_where_it_stands(kind: str, status: Any, outcome: Any, state: DisputeState) -> None:
    """With its amount, PayPal's reason, and the time until which an answer is taken; nothing about the buyer."""
    told = read(f"CUSTOMER.DISPUTE.{kind}", {**DISPUTE, "status": status, "dispute_outcome": {"outcome_code": outcome}})

    assert told.dispute
    assert (told.dispute.dispute_reference, told.dispute.state) == ("PP-D-1", state)
    assert (told.dispute.amount, told.dispute.reason) == (eur("19.90"), "MERCHANDISE_OR_SERVICE_NOT_RECEIVED")
    assert told.dispute.due_at == datetime(2026, 12, 1, 12, tzinfo=UTC)
    assert (told.state, told.transaction_id, told.payment_reference) == (None, OUR_ID, "C1")
    assert told.flags == {"disputed"}
    assert "Zoe" not in repr(told)


@pytest.mark.parametrize("due", [None, "", 17, "soon", "2026-12-01T12:00:00", ["x"]])
def test_a_dispute_may_have_no_time(due: Any) -> None:
    """A time without its zone is none."""
    told = read("CUSTOMER.DISPUTE.CREATED", {**DISPUTE, "seller_response_due_date": due})

    assert told.dispute
    assert told.dispute.due_at is None


def test_a_dispute_without_a_name_is_a_flag_only() -> None:
    """Nobody could tell it from another one."""
    told = read("CUSTOMER.DISPUTE.CREATED", {**DISPUTE, "dispute_id": None})

    assert (told.dispute, told.flags) == (None, {"disputed"})


# --- The list.


def test_paypal_lists_no_orders(gateway: PayPalGateway) -> None:
    """Orders v2 has no such call, and none is pretended."""
    assert not gateway.supports_list
    with pytest.raises(UnsupportedOperation):
        gateway.list_payments(NOW, NOW)
