"""Which captures have come through: a gateway tells totals, and a capture has succeeded when they cover it."""

from django.db import transaction
from moneyed import Money

from ..models import Callback, Capture, Transaction
from ..money import minor_in
from ..types import CLOSED_STATES, MovementState, PaymentUpdate, Source
from .door import apply_update
from .movements import apply_movement

__all__ = ["hear_failed_capture", "is_covered", "settle_captures"]

FAILED = frozenset({"capture_failed"})


def is_covered(capture: Capture, captured: Money | None = None) -> bool:
    """Whether what is known to be captured by now, or what somebody says is, has this one in it."""
    row, total = capture.transaction, capture.before_minor + capture.amount_minor
    told = None if captured is None else minor_in(row.currency, captured)
    return max(row.captured_minor, told or 0) >= total


def settle_captures(row: Transaction, *, source: Source, callback: Callback | None = None) -> None:
    """After news of a payment: let its captures that are on their way climb."""
    if not row.capturing_minor:
        return
    told = Capture.objects.filter(transaction=row).exclude(submitted_at=None)
    for capture in told.exclude(state__in=[MovementState.SUCCEEDED, MovementState.FAILED]).select_related(
        "transaction"
    ):
        if is_covered(capture):
            apply_movement(Capture, capture.pk, MovementState.SUCCEEDED, source=source, callback=callback)
        elif row.state in CLOSED_STATES and capture.state == MovementState.SUBMITTED:
            _fail(capture, f"The payment is {row.state}.", source, callback)


def hear_failed_capture(row: Transaction, update: PaymentUpdate, *, callback: Callback) -> None:
    """The gateway says that a capture has failed which it had taken: the newest one, since it names none."""
    if not update.flags & FAILED:
        return
    taken = Capture.objects.filter(transaction=row).exclude(state=MovementState.FAILED).order_by("-created_at")
    capture = taken.exclude(submitted_at=None).first()
    if capture:
        _fail(capture, "The gateway says that it failed.", Source.CALLBACK, callback)


def _fail(capture: Capture, error: str, source: Source, callback: Callback | None) -> None:
    """In one commit with the flag that staff see."""
    with transaction.atomic():
        apply_movement(Capture, capture.pk, MovementState.FAILED, source=source, error=error, callback=callback)
        apply_update(capture.transaction_id, PaymentUpdate(), source=source, flags=FAILED, note=error)
