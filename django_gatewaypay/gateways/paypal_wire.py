"""PayPal's words: its states, its reasons, and what an order or a capture says about a payment."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..money import InvalidAmount, Money, parse_amount
from ..types import DisputeState, DisputeUpdate, PaymentUpdate, RefundState, RefundUpdate, State

__all__ = [
    "DECLINES",
    "capture_with",
    "first",
    "open_authorization",
    "read_authorization",
    "read_capture",
    "read_dispute",
    "read_money",
    "read_order",
    "read_refund",
    "refund_of",
    "section",
    "text",
]

ORDERS: Mapping[str, State] = {
    "CREATED": State.PENDING,
    "SAVED": State.PENDING,
    "PAYER_ACTION_REQUIRED": State.PENDING,
    "APPROVED": State.PENDING,
    "VOIDED": State.CANCELED,
}
CAPTURES: Mapping[str, State] = {
    "COMPLETED": State.SUCCESS,
    "PARTIALLY_REFUNDED": State.SUCCESS,
    "REFUNDED": State.SUCCESS,
    "PENDING": State.PROCESSING,
    "DECLINED": State.FAILED,
    "FAILED": State.FAILED,
}
AUTHORIZATIONS: Mapping[str, State] = {
    "CREATED": State.AUTHORIZED,
    "PENDING": State.PROCESSING,
    "CAPTURED": State.PROCESSING,
    "PARTIALLY_CAPTURED": State.PROCESSING,
    "DENIED": State.FAILED,
    "VOIDED": State.CANCELED,
    "EXPIRED": State.EXPIRED,
}
REFUNDS: Mapping[str, RefundState] = {
    "COMPLETED": RefundState.SUCCEEDED,
    "PENDING": RefundState.SUBMITTED,
    "FAILED": RefundState.FAILED,
    "CANCELLED": RefundState.FAILED,
}
OPEN_AUTHORIZATIONS = frozenset({"CREATED", "PENDING", "PARTIALLY_CAPTURED"})
DISPUTES: Mapping[str, DisputeState] = {
    "OPEN": DisputeState.OPEN,
    "WAITING_FOR_SELLER_RESPONSE": DisputeState.OPEN,
    "WAITING_FOR_BUYER_RESPONSE": DisputeState.UNDER_REVIEW,
    "UNDER_REVIEW": DisputeState.UNDER_REVIEW,
    "RESOLVED": DisputeState.UNDER_REVIEW,
}
# Of a resolved one. Any other outcome does not say who has the money.
OUTCOMES: Mapping[str, DisputeState] = {
    "RESOLVED_BUYER_FAVOUR": DisputeState.LOST,
    "ACCEPTED": DisputeState.LOST,
    "RESOLVED_SELLER_FAVOUR": DisputeState.WON,
    "CANCELED_BY_BUYER": DisputeState.WON,
    "DENIED": DisputeState.WON,
}
# Issues of a 422, and the processor's codes of a capture that was declined.
DECLINES: Mapping[str, str] = {
    "CARD_EXPIRED": "expired_card",
    "COMPLIANCE_VIOLATION": "declined",
    "INSTRUMENT_DECLINED": "declined",
    "PAYER_ACCOUNT_LOCKED_OR_CLOSED": "invalid_account",
    "PAYER_ACCOUNT_RESTRICTED": "invalid_account",
    "PAYER_CANNOT_PAY": "declined",
    "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING": "declined",
    "TRANSACTION_LIMIT_EXCEEDED": "limit_exceeded",
    "TRANSACTION_REFUSED": "declined",
    "0500": "declined",
    "1330": "invalid_account",
    "5110": "incorrect_cvc",
    "5120": "insufficient_funds",
    "5400": "expired_card",
    "9500": "fraud_suspected",
    "9520": "lost_or_stolen",
}


def read_order(order: Mapping[str, Any]) -> PaymentUpdate:
    """What an order says, judged by its capture: a COMPLETED order may hold one that is declined or pending."""
    unit = first(order.get("purchase_units"))
    payments = section(unit, "payments")
    captures, authorizations = objects(payments.get("captures")), objects(payments.get("authorizations"))
    ours: dict[str, Any] = {"transaction_id": text(unit.get("custom_id")), "gateway_reference": text(order.get("id"))}
    taken = [one for one in captures if CAPTURES.get(text(one.get("status"))) in {State.SUCCESS, State.PROCESSING}]
    if taken:
        refunded = total(one for one in objects(payments.get("refunds")) if one.get("status") == "COMPLETED")
        told = read_capture(taken[-1], ours, captured=total(taken), refunded=refunded)
        return _with_rest(told, taken, authorizations)
    if authorizations and not (captures and authorizations[-1].get("status") != "CREATED"):
        return read_authorization(authorizations[-1], ours)
    if captures:
        return read_capture(captures[-1], ours)
    state = ORDERS.get(text(order.get("status")))
    return PaymentUpdate(state=state, raw={"order_status": text(order.get("status"))}, **ours)


def _with_rest(
    told: PaymentUpdate, taken: Sequence[Mapping[str, Any]], authorizations: Sequence[Mapping[str, Any]]
) -> PaymentUpdate:
    """Captured in part, with more to come: the rest is still reserved, unless a capture was the final one."""
    held = authorizations[-1] if authorizations else {}
    ended = held.get("status") != "PARTIALLY_CAPTURED" or any(one.get("final_capture") is True for one in taken)
    if told.state is not State.SUCCESS or ended:
        return told
    return replace(told, state=State.AUTHORIZED, authorized=read_money(held))


def open_authorization(order: Mapping[str, Any]) -> str:
    """The authorization of an order that can be captured or let go, or nothing."""
    authorization = first(_payments(order).get("authorizations"))
    return text(authorization.get("id")) if authorization.get("status") in OPEN_AUTHORIZATIONS else ""


def capture_with(order: Mapping[str, Any], amount: Money) -> str:
    """The first capture of an order that has `amount` left to refund, or nothing."""
    refunds = [
        one
        for one in objects(_payments(order).get("refunds"))
        if REFUNDS.get(text(one.get("status"))) is not RefundState.FAILED
    ]
    for capture in objects(_payments(order).get("captures")):
        reference, taken = text(capture.get("id")), read_money(capture)
        gone = [read_money(one) for one in refunds if _parent(one) == reference]
        if taken is None or taken.currency != amount.currency or None in gone:
            continue
        left = taken.amount - sum((money.amount for money in gone if money), Decimal(0))
        if CAPTURES.get(text(capture.get("status"))) is State.SUCCESS and amount.amount <= left:
            return reference
    return ""


def _parent(refund: Mapping[str, Any]) -> str:
    """The capture that a refund is of, by its link upwards."""
    links = [text(one.get("href")) for one in objects(refund.get("links")) if one.get("rel") == "up"]
    return links[0].rpartition("/")[2] if links else ""


def refund_of(order: Mapping[str, Any], refund_id: str) -> RefundUpdate | None:
    """The refund of an order that has our id."""
    found = map(read_refund, objects(_payments(order).get("refunds")))
    return next((one for one in found if one and refund_id and one.refund_id == refund_id), None)


def read_refund(refund: Mapping[str, Any]) -> RefundUpdate | None:
    """What became of a refund; None where it has no id."""
    reference, ours = text(refund.get("id")), text(refund.get("invoice_id"))
    if not reference:
        return None
    return RefundUpdate(
        refund_reference=reference,
        # An unknown word leaves it open, to be asked for again.
        state=REFUNDS.get(text(refund.get("status")), RefundState.SUBMITTED),
        amount=read_money(refund),
        # A refund that was made at PayPal has the invoice id of the payment, if any.
        refund_id="" if ours == text(refund.get("custom_id")) else ours,
        reason=text(section(refund, "status_details").get("reason")),
    )


def read_dispute(resource: Mapping[str, Any]) -> PaymentUpdate:
    """Where a dispute stands, and of which payment it is."""
    disputed = first(resource.get("disputed_transactions"))
    reference, status = text(resource.get("dispute_id")), text(resource.get("status"))
    outcome = text(section(resource, "dispute_outcome").get("outcome_code")) if status == "RESOLVED" else ""
    told = DisputeUpdate(
        dispute_reference=reference,
        state=OUTCOMES.get(outcome) or DISPUTES.get(status, DisputeState.OPEN),
        amount=read_money(resource, "dispute_amount"),
        due_at=_time(resource.get("seller_response_due_date")),
        reason=text(resource.get("reason")),
    )
    return PaymentUpdate(
        transaction_id=text(disputed.get("custom") or disputed.get("invoice_number")),
        payment_reference=text(disputed.get("seller_transaction_id")),
        dispute=told if reference else None,
        raw={"id": reference, "status": status, "outcome": outcome},
    )


def _time(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def read_capture(
    capture: Mapping[str, Any],
    ours: Mapping[str, str],
    *,
    captured: Money | None = None,
    refunded: Money | None = None,
) -> PaymentUpdate:
    """What one capture says; totals where several are known."""
    state = CAPTURES.get(text(capture.get("status")))
    reason = text(section(capture, "processor_response").get("response_code"))
    return PaymentUpdate(
        state=state,
        captured=(captured or read_money(capture)) if state is State.SUCCESS else None,
        refunded=refunded,
        payment_reference=text(capture.get("id")) if state in {State.SUCCESS, State.PROCESSING} else "",
        decline_code=DECLINES.get(reason, "declined") if state is State.FAILED else "",
        raw=raw_of(capture),
        **named(capture, ours),
    )


def read_authorization(authorization: Mapping[str, Any], ours: Mapping[str, str]) -> PaymentUpdate:
    """What one authorization says. Its id is no payment reference: refunds need the capture's."""
    state = AUTHORIZATIONS.get(text(authorization.get("status")))
    return PaymentUpdate(
        state=state,
        authorized=read_money(authorization) if state is State.AUTHORIZED else None,
        decline_code="declined" if state is State.FAILED else "",
        raw=raw_of(authorization),
        **named(authorization, ours),
    )


def named(resource: Mapping[str, Any], ours: Mapping[str, str]) -> dict[str, Any]:
    """Whose it is: as the order says, else as the resource itself does."""
    related = section(section(resource, "supplementary_data"), "related_ids")
    return {
        "transaction_id": ours.get("transaction_id") or text(resource.get("custom_id")),
        "gateway_reference": ours.get("gateway_reference") or text(related.get("order_id")),
    }


def raw_of(resource: Mapping[str, Any]) -> dict[str, str]:
    reason = text(section(resource, "status_details").get("reason"))
    return {"id": text(resource.get("id")), "status": text(resource.get("status")), "reason": reason}


def read_money(resource: Mapping[str, Any], name: str = "amount") -> Money | None:
    """The amount of a resource; None when it cannot be read, which the core holds for review."""
    amount = section(resource, name)
    try:
        return parse_amount(amount.get("value"), amount.get("currency_code"))
    except InvalidAmount:
        return None


def total(resources: Any) -> Money | None:
    """The sum of what can be read, or None."""
    found = [read_money(one) for one in resources]
    known = [money for money in found if money is not None]
    if not known or len(known) < len(found) or len({money.currency for money in known}) > 1:
        return None
    return Money(sum((money.amount for money in known), Decimal(0)), known[0].currency)


def _payments(order: Mapping[str, Any]) -> Mapping[str, Any]:
    return section(first(order.get("purchase_units")), "payments")


def section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object inside an object, empty where there is none."""
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def objects(found: object) -> Sequence[Mapping[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def first(found: object) -> Mapping[str, Any]:
    """The first object of a list, empty where there is none."""
    return next(iter(objects(found)), {})


def text(value: object) -> str:
    """A wire value as short printable text, for matching and for staff."""
    said = value if isinstance(value, str) else "" if value is None else str(value)
    return "".join(char for char in said[:255] if char.isprintable())
