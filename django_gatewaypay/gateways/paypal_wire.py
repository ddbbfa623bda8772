"""PayPal's words: its states, its reasons, and what an order or a capture says about a payment."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ..money import InvalidAmount, Money, parse_amount
from ..types import PaymentUpdate, RefundState, State

__all__ = [
    "DECLINES",
    "REFUNDS",
    "first",
    "read_authorization",
    "read_capture",
    "read_money",
    "read_order",
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
        return read_capture(taken[-1], ours, captured=total(taken), refunded=refunded)
    if authorizations and not (captures and authorizations[-1].get("status") != "CREATED"):
        return read_authorization(authorizations[-1], ours)
    if captures:
        return read_capture(captures[-1], ours)
    state = ORDERS.get(text(order.get("status")))
    return PaymentUpdate(state=state, raw={"order_status": text(order.get("status"))}, **ours)


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


def read_money(resource: Mapping[str, Any]) -> Money | None:
    """The amount of a resource; None when it cannot be read, which the core holds for review."""
    amount = section(resource, "amount")
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
