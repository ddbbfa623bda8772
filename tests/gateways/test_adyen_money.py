"""Adyen after the payment: a capture, refunds and their ids, disputes; it finds nothing and lists nothing."""

from datetime import datetime
from typing import Any

import pytest
from moneyed import Money

from django_gatewaypay.exceptions import UnsupportedOperation
from django_gatewaypay.types import DisputeState, PaymentUpdate, RefundRequest, RefundState, State

from .test_adyen import EXAMPLES, NOW, OUR_ID, PAID, REQUEST, AdyenServer, item, make, read_one, signed
from .test_adyen import naps as naps
from .test_adyen import server as server

REFUND_ID = "0199f0c2-7c1e-7000-8000-00000000000f"


def wanted(**fields: Any) -> RefundRequest:
    return RefundRequest(
        payment=PAID, amount=Money(5, "EUR"), idempotency_key="r-1", **{"refund_id": REFUND_ID, **fields}
    )


# --- Captures.


def test_an_authorization_is_captured_once(server: AdyenServer) -> None:
    """Adyen tells the amount of each capture and never the total: a part that is not the last is refused at once."""
    with pytest.raises(UnsupportedOperation):
        make(server).capture(PAID, idempotency_key="c-1", final=False)

    assert not make(server).supports_several_captures
    assert server.requests == []


@pytest.mark.parametrize("reference", [OUR_ID, f"{OUR_ID}.manual"])
def test_a_capture_in_part_tells_what_was_taken(reference: str) -> None:
    """Whichever reference Adyen echoes, that of the payment or that of the capture."""
    update = read_one(item("CAPTURE", merchantReference=reference, amount={"currency": "EUR", "value": 700}))

    assert (update.state, update.captured, update.transaction_id) == (State.SUCCESS, Money(7, "EUR"), OUR_ID)


# --- Refunds.


def test_a_refund_carries_both_ids(server: AdyenServer) -> None:
    """The payment's and its own, in one signed reference of at most 80 characters."""
    refund = make(server).refund(wanted())
    (call,) = server.requests

    assert call.json["reference"] == f"{OUR_ID}.{REFUND_ID}"
    assert len(call.json["reference"]) <= 80
    assert (refund.refund_id, refund.state) == (REFUND_ID, RefundState.SUBMITTED)


def test_a_refund_without_an_id_names_its_payment(server: AdyenServer) -> None:
    """Nothing is made up."""
    make(server).refund(wanted(refund_id=""))

    assert server.requests[0].json["reference"] == OUR_ID


@pytest.mark.parametrize(
    ("reference", "refund_id"), [(f"{OUR_ID}.{REFUND_ID}", REFUND_ID), (OUR_ID, ""), (f"{OUR_ID}.manual", "")]
)
@pytest.mark.parametrize(
    ("event", "success", "state"),
    [
        ("REFUND", "true", RefundState.SUCCEEDED),
        ("REFUND", "false", RefundState.FAILED),
        ("REFUND_FAILED", "true", RefundState.FAILED),
        ("REFUNDED_REVERSED", "true", RefundState.FAILED),
    ],
)
def test_a_refunds_callback_names_payment_and_refund(
    event: str, success: str, state: RefundState, reference: str, refund_id: str
) -> None:
    """By our ids where Adyen echoes them, by its own anyway; why it failed, in Adyen's words."""
    update = read_one(
        item(event, success, pspReference="R1", originalReference="P1", merchantReference=reference, reason="Closed")
    )

    assert (update.transaction_id, update.payment_reference, update.state) == (OUR_ID, "P1", None)
    assert update.refund
    assert (update.refund.refund_reference, update.refund.refund_id) == ("R1", refund_id)
    assert (update.refund.state, update.refund.amount) == (state, REQUEST.amount)
    assert update.refund.reason == ("Closed" if state is RefundState.FAILED else "")


def test_adyen_finds_and_lists_nothing() -> None:
    """It has no such calls, and none is pretended."""
    ours = make()

    assert not any([ours.supports_find_refund, ours.supports_list, ours.supports_fetch])
    with pytest.raises(UnsupportedOperation):
        ours.find_refund(wanted())
    with pytest.raises(UnsupportedOperation):
        ours.list_payments(NOW, NOW)


# --- Disputes.


def disputed(event: str, success: str = "true", **fields: Any) -> PaymentUpdate:
    more = {"defensePeriodEndsAt": "2026-12-01T12:00:00+01:00", "chargebackReasonCode": " 4853"}
    return read_one(item(event, success, **{"originalReference": "P1", "additionalData": more, **fields}))


@pytest.mark.parametrize(
    ("event", "state"),
    [
        ("REQUEST_FOR_INFORMATION", DisputeState.OPEN),
        ("NOTIFICATION_OF_CHARGEBACK", DisputeState.OPEN),
        ("CHARGEBACK", DisputeState.OPEN),
        ("INFORMATION_SUPPLIED", DisputeState.UNDER_REVIEW),
        ("DISPUTE_DEFENSE_PERIOD_ENDED", DisputeState.UNDER_REVIEW),
        ("CHARGEBACK_REVERSED", DisputeState.WON),
        ("ISSUER_RESPONSE_TIMEFRAME_EXPIRED", DisputeState.WON),
        ("PREARBITRATION_WON", DisputeState.WON),
        ("SECOND_CHARGEBACK", DisputeState.LOST),
        ("PREARBITRATION_LOST", DisputeState.LOST),
    ],
)
def test_a_dispute_says_where_it_stands(event: str, state: DisputeState) -> None:
    """Its stages are one dispute, named after the payment; the state of the payment stays."""
    update = disputed(event, pspReference="D1")

    assert update.dispute
    assert (update.dispute.dispute_reference, update.dispute.state) == ("P1", state)
    assert (update.dispute.amount, update.dispute.reason) == (REQUEST.amount, "4853")
    assert update.dispute.due_at == datetime.fromisoformat("2026-12-01T12:00:00+01:00")
    assert (update.state, update.transaction_id, update.payment_reference) == (None, OUR_ID, "P1")


@pytest.mark.parametrize("event", ["CHARGEBACK", "CHARGEBACK_REVERSED"])
def test_a_stage_may_name_the_payment_by_itself(event: str) -> None:
    """Without an original reference, its own is the payment's."""
    update = disputed(event, originalReference="", pspReference="P1")

    assert update.dispute
    assert (update.dispute.dispute_reference, update.payment_reference) == ("P1", "P1")


@pytest.mark.parametrize("event", ["CHARGEBACK", "CAPTURE", "NOTIFICATION_OF_FRAUD"])
def test_what_did_not_happen_is_no_dispute(event: str) -> None:
    """Nor is anything else."""
    assert disputed(event, "false").dispute is None


@pytest.mark.parametrize(
    "more",
    [None, {}, {"defensePeriodEndsAt": None}, {"defensePeriodEndsAt": "soon"}, {"defensePeriodEndsAt": "2026-12-01"}],
)
def test_a_dispute_may_have_no_time(more: Any) -> None:
    """And Adyen's own words for a reason."""
    update = disputed("CHARGEBACK", additionalData=more, reason="Fraud")

    assert update.dispute
    assert (update.dispute.due_at, update.dispute.reason) == (None, "Fraud")


@pytest.mark.skipif(not EXAMPLES, reason="no specs/ of Adyen: name its folder in GATEWAYPAY_SHARED")
@pytest.mark.parametrize(
    ("event", "state", "due"),
    [
        ("NOTIFICATION_OF_CHARGEBACK", DisputeState.OPEN, "2021-07-31T03:03:08+02:00"),
        ("CHARGEBACK", DisputeState.OPEN, "2021-07-31T03:03:07+02:00"),
        ("CHARGEBACK_REVERSED", DisputeState.WON, ""),
    ],
)
def test_adyens_own_disputes_are_read(event: str, state: DisputeState, due: str) -> None:
    """The official examples."""
    (one,) = EXAMPLES[event]["notificationItems"]
    (update,) = make().parse_callback(signed(one["NotificationRequestItem"]))

    assert update.dispute
    assert (update.dispute.state, update.dispute.amount) == (state, Money(10, "EUR"))
    assert update.dispute.due_at == (datetime.fromisoformat(due) if due else None)
