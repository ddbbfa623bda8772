"""The small door: captures and refunds, whose rows climb a ladder of their own and never move a transaction's state.

Whoever writes here holds the transaction's row first. So totals and caps are exact, and no two writers wait
for each other.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone

from ..conf import settings
from ..exceptions import AmountNotLeft, InvalidTransition, MovementInProgress, SecondPersonNeeded
from ..models import Callback, Capture, Refund, Transaction
from ..money import parse_amount, to_minor
from ..schedule import CLAIM_LEASE
from ..types import UNANSWERED_MOVEMENTS, MovementState, PaymentUpdate, Source
from .decision import Verdict
from .door import apply_update
from .intents import log, write_event, write_intent
from .steps import ENDED, Row, Step, hold_movement, hold_transaction

__all__ = [
    "apply_movement",
    "approve_movement",
    "conclude_movement",
    "left_to_capture",
    "left_to_refund",
    "open_movement",
    "withdraw_movement",
]

#: What a refund that was made elsewhere counts as, long before it is sure.
GIVEN = [MovementState.SUBMITTED.value, MovementState.SUCCEEDED.value]
UNANSWERED = [state.value for state in UNANSWERED_MOVEMENTS]
GIVEN_UP = frozenset({MovementState.UNKNOWN, MovementState.SUBMITTED})


def left_to_refund(row: Transaction) -> int:
    """What can still be given back, in minor units: also what was refunded at the gateway's console is gone."""
    foreign = Refund.objects.filter(transaction=row, foreign=True, state__in=GIVEN)
    told = row.refunded_minor - row.undone_minor - row.refunding_minor
    elsewhere = max(foreign.aggregate(total=Sum("amount_minor"))["total"] or 0, told, 0)
    return max(row.captured_minor - row.refunding_minor - elsewhere, 0)


def left_to_capture(row: Transaction) -> int:
    """What can still be taken of an authorization, in minor units."""
    return max(row.authorized_minor - max(row.capturing_minor, row.captured_minor), 0)


def open_movement(movement: Row, *, source: Source) -> Row:
    """Write an intent down and set its money aside, in one commit; nobody has told the gateway yet.

    A refund above the host's limit then waits for a second person, and has no time of a next attempt.

    Args:
        movement: unsaved, with its transaction, amount, reason, actor and key.

    Raises:
        MovementInProgress: nobody knows yet what became of an earlier one, or this very intent is there already.
        AmountNotLeft: it is more than is left, whoever else is asking.
    """
    try:
        with transaction.atomic(durable=True):
            movement.transaction = hold_transaction(movement.transaction_id)
            _check_left(movement)
            _complete(movement)
            write_intent(movement, source)
    except IntegrityError as error:
        raise MovementInProgress from error
    log(movement, "")
    return movement


def _check_left(movement: Refund | Capture) -> None:
    row = movement.transaction
    if type(movement)._default_manager.filter(transaction=row, state__in=UNANSWERED).exists():
        raise MovementInProgress
    left = left_to_refund(row) if isinstance(movement, Refund) else left_to_capture(row)
    if not 0 < movement.amount_minor <= left:
        raise AmountNotLeft


def _complete(movement: Refund | Capture) -> None:
    """What only who holds the transaction's row can say. A crash from here on is the sweep's to mend."""
    movement.created_at = movement.updated_at = now = timezone.now()
    movement.next_attempt_at = now + CLAIM_LEASE
    if isinstance(movement, Capture):
        movement.before_minor = movement.transaction.captured_minor
    elif _is_above_limit(movement):
        movement.needs_approval, movement.next_attempt_at = True, None


def _is_above_limit(refund: Refund) -> bool:
    """Also when it takes several refunds to get there: what one person has given back of a payment is counted."""
    row = refund.transaction
    limit = settings.REFUND_APPROVAL_ABOVE.get(row.currency)
    if limit is None:
        return False
    alone = Refund.objects.filter(transaction=row, foreign=False, approver=None)
    given = alone.exclude(state=MovementState.FAILED).aggregate(total=Sum("amount_minor"))["total"] or 0
    return given + refund.amount_minor > to_minor(parse_amount(limit, row.currency))


def approve_movement(refund_id: UUID, *, actor: Any, note: str = "approved") -> Refund:
    """The second person agrees; the refund as it is then, ready for the gateway.

    Raises:
        Refund.DoesNotExist: there is no such refund.
        InvalidTransition: it waits for nobody.
        SecondPersonNeeded: it is nobody, or the one who asked for it.
    """
    with transaction.atomic(durable=True):
        refund = _hold_waiting(refund_id)
        if actor is None or actor.pk == refund.actor_id:
            raise SecondPersonNeeded
        refund.approver, refund.version, refund.updated_at = actor, refund.version + 1, timezone.now()
        refund.next_attempt_at = refund.updated_at + CLAIM_LEASE
        refund.save(update_fields=("approver", "version", "updated_at", "next_attempt_at"))
        write_event(refund, Source.STAFF, actor, note, None)
    return refund


def withdraw_movement(refund_id: UUID, *, source: Source, actor: Any, note: str) -> Refund:
    """A refund that waits for a second person is given up: the gateway never hears of it. See `approve_movement`."""
    with transaction.atomic(durable=True):
        refund = _hold_waiting(refund_id)
        Step(MovementState.FAILED, source, error="withdrawn", note=note, actor=actor).write(refund)
    return refund


def conclude_movement(
    kind: type[Row],
    movement_id: UUID,
    state: MovementState,
    *,
    source: Source,
    actor: Any,
    note: str,
    resolved: frozenset[str],
) -> Row:
    """A person says what became of one of which nobody else can tell; the row as it is then.

    Args:
        resolved: the attention codes that this deals with, unless another one waits for the same.

    Raises:
        DoesNotExist: there is no such row.
        InvalidTransition: the gateway is still asked, or it is over.
    """
    with transaction.atomic(durable=True):
        movement = hold_movement(kind, movement_id)
        if movement.state not in GIVEN_UP or movement.next_attempt_at or state not in ENDED:
            raise InvalidTransition("Nobody has to say what became of this: it is known, or the gateway is asked.")
        error = "concluded" if state is MovementState.FAILED else ""
        Step(state, source, error=error, note=note, actor=actor).write(movement)
        others = kind._default_manager.filter(transaction=movement.transaction, next_attempt_at=None)
        if not others.filter(state__in=[given_up.value for given_up in GIVEN_UP]).exists():
            verdict = Verdict(resolved=resolved)
            apply_update(
                movement.transaction_id, PaymentUpdate(), source=source, actor=actor, verdict=verdict, note=note
            )
    return movement


def _hold_waiting(refund_id: UUID) -> Refund:
    refund = hold_movement(Refund, refund_id)
    if not refund.waits_for_approval:
        raise InvalidTransition("This refund does not wait for a second person.")
    return refund


def apply_movement(
    kind: type[Row],
    movement_id: UUID,
    state: MovementState,
    *,
    source: Source,
    reference: str = "",
    error: str = "",
    note: str = "",
    due: datetime | None = None,
    actor: Any = None,
    callback: Callback | None = None,
) -> Row:
    """Let a capture or a refund climb to `state`; the row as it is then. A lower word changes nothing.

    Args:
        reference: the gateway's id of it.
        error: why it failed, or why nobody knows.
        note: for the ledger.
        due: when to ask or to tell again, unless this is the end.
        actor: who decided it, if a person did.
        callback: the inbox row that told.

    Raises:
        DoesNotExist: there is no such row.
    """
    step = Step(state, source, reference, error, note, due, actor, callback)
    with transaction.atomic():
        movement = hold_movement(kind, movement_id)
        if state.rank > MovementState(movement.state).rank:
            step.write(movement)
    return movement
