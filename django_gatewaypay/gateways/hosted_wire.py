"""How the plain hosted protocol reads: docs/reference/hosted-protocol. Plain functions, for `hosted`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard

from ..money import InvalidAmount, Money, format_minor, parse_amount, to_minor
from ..types import DECLINE_CODES, DisputeState, DisputeUpdate, RefundState, RefundUpdate

__all__ = [
    "decline_code",
    "is_reference",
    "objects_in",
    "read_dispute",
    "read_money",
    "read_refund",
    "read_time",
    "text",
    "write_money",
    "write_time",
]

REFUND_STATES: Mapping[str, RefundState] = {str(state): state for state in RefundState}
DISPUTE_STATES: Mapping[str, DisputeState] = {str(state): state for state in DisputeState}


def write_money(money: Money) -> dict[str, str]:
    """An amount as the wire writes it.

    Raises:
        InvalidAmount: it is no amount of its currency.
    """
    currency = money.currency.code
    return {"amount": format_minor(to_minor(money), currency), "currency": currency}


def write_time(moment: datetime, timespec: str = "auto") -> str:
    """An aware time as the wire writes it."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def read_money(data: Mapping[str, Any], name: str = "amount") -> Money | None:
    """What the gateway wrote; None when it cannot be read, which the core holds for review where it matters."""
    try:
        return parse_amount(data.get(name), data.get("currency"))
    except InvalidAmount:
        return None


def read_time(value: object) -> datetime | None:
    """An aware time; None where there is something else."""
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def read_refund(data: Mapping[str, Any], prefix: str = "") -> RefundUpdate | None:
    """What became of a refund; None where none is named.

    Args:
        prefix: "refund_" beside the facts of a payment, whose own names these are otherwise.
    """
    reference = text(data.get("refund_reference"))
    if not reference:
        return None
    return RefundUpdate(
        refund_reference=reference,
        # An unknown word leaves it open, to be asked for again.
        state=REFUND_STATES.get(text(data.get(f"{prefix}status")), RefundState.SUBMITTED),
        amount=read_money(data, f"{prefix}amount"),
        refund_id=text(data.get("refund_id")),
        reason=text(data.get(f"{prefix}reason")),
    )


def read_dispute(data: Mapping[str, Any]) -> DisputeUpdate | None:
    """Where a dispute stands; None where none is named."""
    reference = text(data.get("dispute_reference"))
    if not reference:
        return None
    return DisputeUpdate(
        dispute_reference=reference,
        # An unknown word is no end.
        state=DISPUTE_STATES.get(text(data.get("dispute_status")), DisputeState.OPEN),
        amount=read_money(data, "dispute_amount"),
        due_at=read_time(data.get("dispute_due_at")),
        reason=text(data.get("dispute_reason")),
    )


def decline_code(value: object) -> str:
    """The reason in the standard words; a gateway's own one is in the raw fields."""
    return value if isinstance(value, str) and value in DECLINE_CODES else "declined"


def objects_in(value: object) -> list[Mapping[str, Any]] | None:
    """The objects of a list; None where there is something else."""
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        return None
    return value


def is_reference(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable()


def text(value: object) -> str:
    """A wire value as short printable text, for matching and for staff."""
    found = value if isinstance(value, str) else "" if value is None else str(value)
    return "".join(char for char in found[:255] if char.isprintable())
