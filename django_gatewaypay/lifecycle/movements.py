"""The small door: captures and refunds, whose rows climb a ladder of their own and never move a transaction's state."""

import logging
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from ..exceptions import AmountNotLeft, MovementInProgress
from ..models import Callback, Capture, Movement, Refund, Transaction, TransactionEvent
from ..signals import movement_changed
from ..types import MovementState, Source

__all__ = ["apply_movement", "left_to_capture", "left_to_refund", "open_movement"]

logger = logging.getLogger("gatewaypay.movement")

Row = TypeVar("Row", Refund, Capture)
#: What a refund that was made elsewhere counts as, long before it is sure.
GIVEN = [MovementState.SUBMITTED.value, MovementState.SUCCEEDED.value]
ENDED = frozenset({MovementState.SUCCEEDED, MovementState.FAILED})


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

    Raises:
        AmountNotLeft: it is more than is left, whoever else is asking.
        MovementInProgress: nobody knows yet what became of an earlier one, or this very intent is there already.
    """
    try:
        with transaction.atomic(durable=True):
            _set_aside(movement)
            movement.save(force_insert=True)
            _write_event(movement, source, movement.actor, movement.reason, None)
    except IntegrityError as error:
        raise MovementInProgress from error
    _log(movement, "")
    return movement


def _set_aside(movement: Refund | Capture) -> None:
    """Guarded by one statement, so that two who ask at once cannot both have the last cent."""
    row = movement.transaction
    if isinstance(movement, Refund):
        # What went back elsewhere is added to what we have set aside ourselves by now.
        elsewhere = row.captured_minor - row.refunding_minor - left_to_refund(row)
        free = Q(refunding_minor__lte=F("captured_minor") - elsewhere - movement.amount_minor)
        taken = {"refunding_minor": F("refunding_minor") + movement.amount_minor}
    else:
        free = Q(capturing_minor__lte=F("authorized_minor") - movement.amount_minor)
        taken = {"capturing_minor": F("capturing_minor") + movement.amount_minor}
    if not Transaction.objects.filter(free, pk=row.pk).update(**taken):
        raise AmountNotLeft


def apply_movement(
    kind: type[Row],
    movement_id: UUID,
    state: MovementState,
    *,
    source: Source,
    reference: str = "",
    error: str = "",
    note: str = "",
    actor: Any = None,
    callback: Callback | None = None,
) -> Row:
    """Let a capture or a refund climb to `state`; the row as it is then. A lower word changes nothing.

    Args:
        reference: the gateway's id of it.
        error: why it failed, or why nobody knows.
        note: for the ledger.
        actor: who decided it, if a person did.
        callback: the inbox row that told.

    Raises:
        DoesNotExist: there is no such row.
    """
    step = Step(state, source, reference, error[:255], note or error, actor, callback)
    while True:
        movement = kind.objects.select_related("transaction").get(pk=movement_id)
        before = MovementState(movement.state)
        if state.rank <= before.rank:
            return movement
        if step.write(movement, before):
            _log(movement, before)
            return movement


@dataclass(frozen=True)
class Step:
    """What goes into the books for one rung of the ladder."""

    state: MovementState
    source: Source
    reference: str
    error: str
    note: str
    actor: Any
    callback: Callback | None

    def write(self, movement: Refund | Capture, before: MovementState) -> bool:
        """One commit: row, totals, ledger. False when somebody else changed the row first."""
        changes: dict[str, Any] = {
            "state": self.state,
            "version": movement.version + 1,
            "updated_at": timezone.now(),
            "last_error": self.error,
            "gateway_reference": movement.gateway_reference or self.reference,
        }
        if self.state in ENDED:
            changes["next_attempt_at"] = None
        with transaction.atomic():
            mine = type(movement).objects.filter(pk=movement.pk, version=movement.version)
            if not mine.update(**changes):
                return False
            for name, value in changes.items():
                setattr(movement, name, value)
            _count(movement, before, self.state)
            _write_event(movement, self.source, self.actor, self.note, self.callback)
            transaction.on_commit(lambda: _tell(movement, before), robust=True)
        return True


def _count(movement: Refund | Capture, before: MovementState, state: MovementState) -> None:
    """Keep the transaction's totals: what is set aside, what has gone, what came back."""
    amount, totals = movement.amount_minor, {}
    ours = "capturing_minor" if isinstance(movement, Capture) else "refunding_minor"
    foreign = isinstance(movement, Refund) and movement.foreign
    if state is MovementState.FAILED and not foreign:
        totals[ours] = F(ours) - amount
    if isinstance(movement, Refund) and state is MovementState.SUCCEEDED:
        totals["returned_minor"] = F("returned_minor") + amount
    if isinstance(movement, Refund) and before is MovementState.SUCCEEDED:
        totals["returned_minor"] = F("returned_minor") - amount
        totals["undone_minor"] = F("undone_minor") + amount
    if totals:
        Transaction.objects.filter(pk=movement.transaction_id).update(**totals)


def _write_event(movement: Refund | Capture, source: Source, actor: Any, note: str, callback: Callback | None) -> None:
    row = Transaction.objects.get(pk=movement.transaction_id)
    TransactionEvent.objects.create(
        transaction=row,
        kind=TransactionEvent.Kind(str(movement._meta.model_name)),
        version=row.version,
        from_state=row.state,
        to_state=row.state,
        reason=movement.state,
        late=row.late,
        attention=row.attention,
        captured_minor=row.captured_minor,
        authorized_minor=row.authorized_minor,
        refunded_minor=row.refunded_minor,
        source=source,
        evidence={
            "id": str(movement.pk),
            "amount": f"{movement.amount_text} {row.currency}",
            "state": str(movement.state),
            "reference": movement.gateway_reference,
        },
        note=note[:255],
        callback=callback,
        actor=actor,
        created_at=timezone.now(),
    )


def _tell(movement: Refund | Capture, before: MovementState) -> None:
    for receiver, error in movement_changed.send_robust(
        type(movement), movement=movement, previous=before, state=MovementState(movement.state)
    ):
        if isinstance(error, Exception):
            logger.error("receiver failed %s=%s receiver=%r", movement._meta.model_name, movement.pk, receiver,
                         exc_info=error)  # fmt: skip


def _log(movement: Movement, before: str) -> None:
    logger.info(
        "%s=%s transaction=%s from=%s to=%s amount=%s",
        movement._meta.model_name, movement.pk, movement.transaction_id, before or "-", movement.state,
        movement.amount_minor,
    )  # fmt: skip
