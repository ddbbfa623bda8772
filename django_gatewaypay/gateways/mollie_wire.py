"""How Mollie's objects read: https://docs.mollie.com/reference. Plain functions, for `mollie`."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from ..exceptions import GatewayRejected
from ..money import InvalidAmount, Money, format_minor, parse_amount, to_minor
from ..types import DisputeState, DisputeUpdate, PaymentRef, RefundState, RefundUpdate

__all__ = [
    "DECLINES",
    "REFUND_STATES",
    "is_older",
    "listed",
    "object_in",
    "payment_id",
    "payment_path",
    "read_dispute",
    "read_money",
    "read_refund",
    "read_time",
    "text",
    "write_amount",
]

REFUND_STATES: Mapping[str, RefundState] = {
    "queued": RefundState.SUBMITTED,
    "pending": RefundState.SUBMITTED,
    "processing": RefundState.SUBMITTED,
    "refunded": RefundState.SUCCEEDED,
    "failed": RefundState.FAILED,
    "canceled": RefundState.FAILED,
}
# details.failureReason of a card payment; every other reason is "declined".
DECLINES: Mapping[str, str] = {
    "authentication_abandoned": "authentication_failed",
    "authentication_failed": "authentication_failed",
    "authentication_required": "authentication_required",
    "authentication_unavailable_acs": "issuer_unavailable",
    "card_expired": "expired_card",
    "insufficient_funds": "insufficient_funds",
    "invalid_card_number": "incorrect_number",
    "invalid_card_type": "card_not_supported",
    "invalid_cvv": "incorrect_cvc",
    "possible_fraud": "fraud_suspected",
}


def write_amount(money: Money) -> dict[str, str]:
    """The amount as Mollie writes it.

    Raises:
        GatewayRejected: it is no amount of its currency; Mollie was not called.
    """
    currency = money.currency.code
    try:
        minor = to_minor(money)
        if minor <= 0:
            raise InvalidAmount
    except InvalidAmount as error:
        raise GatewayRejected("Mollie cannot take this amount.", gateway="Mollie", code="amount") from error
    return {"currency": currency, "value": format_minor(minor, currency)}


def read_money(value: object) -> Money | None:
    """What Mollie wrote; None when it cannot be read, which the core holds for review."""
    found = object_in(value)
    try:
        return parse_amount(found.get("value"), found.get("currency"))
    except InvalidAmount:
        return None


def read_refund(found: Mapping[str, Any]) -> RefundUpdate:
    """What became of a refund."""
    return RefundUpdate(
        refund_reference=text(found.get("id")),
        state=REFUND_STATES.get(text(found.get("status")), RefundState.SUBMITTED),
        amount=read_money(found.get("amount")),
        refund_id=text(object_in(found.get("metadata")).get("refund_id")),
    )


def read_dispute(payment: Mapping[str, Any]) -> DisputeUpdate | None:
    """The newest chargeback that stands, else the newest that was reversed; Mollie names no time for an answer."""
    found = object_in(payment.get("_embedded")).get("chargebacks")
    named = [one for one in found if text(object_in(one).get("id"))] if isinstance(found, list) else []
    standing = [one for one in named if not one.get("reversedAt")]
    newest = max(standing or named, key=lambda one: text(one.get("createdAt")), default=None)
    if newest is None:
        return None
    return DisputeUpdate(
        dispute_reference=text(newest.get("id")),
        state=DisputeState.OPEN if standing else DisputeState.WON,
        amount=read_money(newest.get("amount")),
        reason=text(object_in(newest.get("reason")).get("code")),
    )


def payment_path(payment: PaymentRef, *rest: str) -> str:
    return "/".join(["v2/payments", *(quote(part, safe="") for part in (payment.gateway_reference, *rest))])


def listed(page: Mapping[str, Any], name: str) -> tuple[Sequence[Mapping[str, Any]] | None, str]:
    """The objects on one page of a list, None where it is no such page, and where the next one starts."""
    found = object_in(page.get("_embedded")).get(name)
    after = text(object_in(object_in(page.get("_links")).get("next")).get("href"))
    start = parse_qs(urlsplit(after).query).get("from", [""])[0] if after else ""
    return ([one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else None), start


def payment_id(value: object) -> str:
    """A payment's id; nothing where it is another thing's, which the core then sets aside."""
    return value if isinstance(value, str) and re.fullmatch(r"tr_[A-Za-z0-9]{1,64}", value, re.ASCII) else ""


def read_time(value: object) -> datetime | None:
    """An aware time; None where there is something else."""
    try:
        moment = datetime.fromisoformat(text(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def is_older(payment: Mapping[str, Any], moment: datetime) -> bool:
    """Whether a payment was made before `moment`."""
    created_at = read_time(payment.get("createdAt"))
    return created_at is not None and created_at < moment


def object_in(value: object) -> Mapping[str, Any]:
    """An object, or an empty one where there is something else."""
    return value if isinstance(value, Mapping) else {}


def text(value: object) -> str:
    """A wire value as short printable text, for matching and for staff."""
    found = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    return "".join(char for char in found[:255] if char.isprintable())
