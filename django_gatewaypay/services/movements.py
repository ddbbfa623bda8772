"""What refunds and captures share: the gateway is told until it answers, and asked until it knows.

An `Errand` says how one kind of movement is told, found and asked for; everything else is here. No call leaves
inside a database transaction, and whatever dies between two commits is finished by the sweep.
"""

from typing import Any
from uuid import UUID

from moneyed import Money

from ..exceptions import AmountNotLeft, IdempotencyConflict, MovementInProgress
from ..lifecycle import open_movement
from ..models import Transaction
from ..money import InvalidAmount, to_minor
from ..types import UNANSWERED_MOVEMENTS, MovementState, Source
from .errands import ERRANDS, Row
from .trips import Trip, ask, tell

__all__ = ["begin", "drive_movement", "find_known", "read_minor"]


# --- For the verbs.


def read_minor(row: Transaction, amount: Money | None) -> int | None:
    """An amount in minor units; None stays None: all that is left.

    Raises:
        InvalidAmount: another currency, or no amount of it.
    """
    if amount is None:
        return None
    if amount.currency.code != row.currency:
        raise InvalidAmount(f"This payment is in {row.currency}.")
    minor = to_minor(amount)
    if minor <= 0:
        raise InvalidAmount("The amount must be more than nothing.")
    return minor


def find_known(kind: type[Row], row: Transaction, key: str, asked: int | None) -> Row | None:
    """What was asked for under this idempotency key before.

    Args:
        asked: minor units; None for all that is left, which is not compared.

    Raises:
        IdempotencyConflict: it was another amount.
    """
    known = kind.objects.select_related("transaction").filter(transaction=row, idempotency_key=key).first()
    if not key or known is None:
        return None
    if asked not in {None, known.amount_minor}:
        raise IdempotencyConflict
    return known


def begin(movement: Row, *, source: Source, asked: int | None) -> Row:
    """Write it down, then tell the gateway; the row as it is then. Who sends the same key twice finds the first one.

    Args:
        movement: unsaved, with its transaction, amount, reason, actor and key.
        asked: the amount as it was asked for; None for all that is left.

    Raises:
        AmountNotLeft, MovementInProgress, IdempotencyConflict: nothing was written.
    """
    try:
        open_movement(movement, source=source)
    except (AmountNotLeft, MovementInProgress):
        known = find_known(type(movement), movement.transaction, movement.idempotency_key, asked)
        if known is None:
            raise
        return known
    return drive_movement(type(movement), movement.pk, source=source, actor=movement.actor)


# --- To the gateway.


def drive_movement(kind: type[Row], movement_id: UUID, *, source: Source = Source.POLL, actor: Any = None) -> Row:
    """Tell the gateway, or ask it what became of it; the row as it is then. Harmless when there is nothing to do.

    Args:
        actor: the person who wants it now; nobody, when it is the clock.

    Raises:
        DoesNotExist: there is no such row.
    """
    trip = Trip(_read(kind, movement_id), ERRANDS[kind], source, actor)
    if trip.movement.state in UNANSWERED_MOVEMENTS and not trip.movement.waits_for_approval:
        tell(trip)
    elif trip.movement.state == MovementState.SUBMITTED:
        ask(trip)
    return _read(kind, movement_id)


def _read(kind: type[Row], movement_id: UUID) -> Row:
    found: Row = kind.objects.select_related("transaction").get(pk=movement_id)
    return found
