"""What our own books show of captures and refunds. See `ours`."""

from collections.abc import Callable, Iterable
from itertools import pairwise

from django_gatewaypay.conf import settings
from django_gatewaypay.models import Capture, Refund, Transaction, TransactionEvent
from django_gatewaypay.services.trips import DEATHS
from django_gatewaypay.types import MovementState, State

from .books import Books, hold

__all__ = ["MOVEMENTS"]

ENDED = frozenset({MovementState.SUCCEEDED, MovementState.FAILED})
#: The codes that say so when nobody can tell what became of one.
GIVEN_UP = frozenset({"refund_unknown", "capture_failed"})


def check_caps(books: Books) -> None:
    """7: our own refunds that have not failed are what is set aside, and no more than was taken; captures likewise."""
    for row, _ in books.rows():
        own = [refund for refund in of(row, books.refunds.values()) if not refund.foreign]
        out, taken = total(own), total(of(row, books.captures.values()))
        hold(7, out == row.refunding_minor, f"{row.pk}: {out} refunded, {row.refunding_minor} set aside")
        hold(7, out <= row.captured_minor, f"{row.pk}: {out} refunded of {row.captured_minor}")
        hold(7, taken == row.capturing_minor, f"{row.pk}: {taken} captured, {row.capturing_minor} set aside")
        hold(7, taken <= row.authorized_minor, f"{row.pk}: {taken} captured of {row.authorized_minor}")
        within = row.refunded_minor <= row.captured_minor
        hold(7, within or row.state != State.SUCCESS, f"{row.pk}: {row.refunded_minor} of {row.captured_minor}")


def check_totals(books: Books) -> None:
    """7: what has gone back, and what of it came back again, is the sum of the rows."""
    for row, _ in books.rows():
        refunds = of(row, books.refunds.values())
        gone = sum(refund.amount_minor for refund in refunds if refund.state == MovementState.SUCCEEDED)
        hold(7, gone == row.returned_minor, f"{row.pk}: {gone} went back, the row says {row.returned_minor}")
        back = [one for one in refunds if one.state == MovementState.FAILED and one.gateway_reference]
        undone = sum(refund.amount_minor for refund in back)
        hold(7, undone == row.undone_minor, f"{row.pk}: {undone} came back, the row says {row.undone_minor}")


def check_ladders(books: Books) -> None:
    """4: a capture or refund begins as requested, only climbs, and its last line in the ledger is what it is."""
    for movement in books.movements():
        lines = lines_of(movement, books)
        states = [MovementState(line.reason) for line in lines]
        foreign = getattr(movement, "foreign", False)
        hold(4, states and (foreign or states[0] is MovementState.REQUESTED), f"{movement.pk} began as {states}")
        climbs = all(before.rank <= after.rank for before, after in pairwise(states))
        hold(4, climbs and states[-1] == movement.state, f"{movement.pk} is {movement.state}, the ledger has {states}")


def check_pace(books: Books) -> None:
    """23: what is not over comes up again, waits for a second person, or was given up where staff see it."""
    for movement in books.movements():
        where = f"{movement._meta.model_name} {movement.pk} in {movement.state}"
        over, due = movement.state in ENDED, movement.next_attempt_at is not None
        hold(23, not (over and due), f"{where} is over, and tried again")
        told = any(GIVEN_UP & frozenset(event.attention.split()) for event in books.ledger[movement.transaction_id])
        hold(
            23, over or due or movement.waits_for_approval or told, f"{where} is never tried again, and nobody is told"
        )
        hold(23, movement.waits_for_approval is False or not due, f"{where} waits for a person and for the clock")
        unanswered = movement.state in {MovementState.REQUESTED, MovementState.UNKNOWN}
        # Who dies while it is looked up tries once more, and not for ever.
        spent = movement.attempts > settings.MAX_ATTEMPTS + 1 + DEATHS
        hold(23, not (unanswered and due and spent), f"{where} is still tried after {movement.attempts} attempts")


def check_people(books: Books) -> None:
    """24: a refund of ours says why; above the limit, two people are behind what the gateway was told."""
    for refund in books.refunds.values():
        hold(24, refund.foreign or refund.reason, f"refund {refund.pk} does not say why")
        if refund.needs_approval and refund.submitted_at:
            two = refund.approver_id is not None and refund.approver_id != refund.actor_id
            hold(24, two, f"refund {refund.pk} was asked for and approved by {refund.actor_id}")


def of(row: Transaction, movements: Iterable[Refund | Capture]) -> list[Refund | Capture]:
    """Those of one payment."""
    return [movement for movement in movements if movement.transaction_id == row.pk]


def total(movements: Iterable[Refund | Capture]) -> int:
    return sum(movement.amount_minor for movement in movements if movement.state != MovementState.FAILED)


def lines_of(movement: Refund | Capture, books: Books) -> list[TransactionEvent]:
    """Its lines in the ledger, oldest first."""
    ledger = books.ledger[movement.transaction_id]
    return [event for event in ledger if event.evidence.get("id") == str(movement.pk)]


MOVEMENTS: tuple[Callable[[Books], None], ...] = (
    check_caps, check_totals, check_ladders, check_pace, check_people,
)  # fmt: skip
