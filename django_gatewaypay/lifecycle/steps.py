"""One rung of the ladder of a capture or a refund: row, totals, ledger, and what follows the commit."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from ..models import Callback, Capture, Refund, Transaction
from ..signals import movement_changed
from ..types import MovementState, PaymentUpdate, Source
from .decision import Verdict
from .door import apply_update
from .intents import log, set_aside, write_event
from .late import is_automatic

__all__ = ["ENDED", "Row", "Step", "count", "hold_movement", "hold_transaction", "tell"]

logger = logging.getLogger("gatewaypay.movement")

Row = TypeVar("Row", Refund, Capture)
ENDED = frozenset({MovementState.SUCCEEDED, MovementState.FAILED})


def hold_transaction(transaction_id: UUID) -> Transaction:
    """The row as it is, and nobody else changes it until the caller's commit."""
    return Transaction.objects.select_for_update().get(pk=transaction_id)


def hold_movement(kind: type[Row], movement_id: UUID) -> Row:
    """The row and its transaction as they are, the transaction first."""
    found = kind.objects.values_list("transaction_id", flat=True).get(pk=movement_id)
    row = hold_transaction(found)
    movement: Row = kind.objects.get(pk=movement_id)
    movement.transaction = row
    return movement


@dataclass(frozen=True)
class Step:
    """One rung of the ladder, and what goes into the books for it."""

    state: MovementState
    source: Source
    reference: str = ""
    error: str = ""
    note: str = ""
    due: datetime | None = None
    actor: Any = None
    callback: Callback | None = None

    def write(self, movement: Refund | Capture) -> None:
        """Row, totals, ledger, for who holds the transaction's row."""
        before, step = MovementState(movement.state), self._without_known_reference(movement)
        changes = step._changes(movement)
        type(movement)._default_manager.filter(pk=movement.pk).update(**changes)
        for name, value in changes.items():
            setattr(movement, name, value)
        count(movement, before)
        write_event(movement, step.source, step.actor, step.note or step.error, step.callback)
        if isinstance(movement, Capture) and movement.state == MovementState.FAILED:
            take_back(movement, step)
        if is_automatic(movement) and movement.state == MovementState.FAILED:
            leave_to_staff(movement, step)
        transaction.on_commit(lambda: tell(movement, before), robust=True)

    def _without_known_reference(self, movement: Refund | Capture) -> "Step":
        """What is counted as another one already is not this one: a gateway that names it has made none for us."""
        others = type(movement)._default_manager.filter(transaction=movement.transaction).exclude(pk=movement.pk)
        if not self.reference or not others.filter(gateway_reference=self.reference).exists():
            return self
        error = f"The gateway names {self.reference}, which is known already."
        return Step(MovementState.FAILED, self.source, error=error, actor=self.actor, callback=self.callback)

    def _changes(self, movement: Refund | Capture) -> dict[str, Any]:
        changes: dict[str, Any] = {
            "state": self.state.value,
            "version": movement.version + 1,
            "updated_at": timezone.now(),
            "last_error": self.error[:255],
            "gateway_reference": movement.gateway_reference or self.reference,
        }
        if self.state in ENDED or self.due:
            changes["next_attempt_at"] = None if self.state in ENDED else self.due
        if self.state is MovementState.SUBMITTED:
            changes["attempts"] = 0
        return changes


def count(movement: Refund | Capture, before: MovementState) -> None:
    """Keep the transaction's totals: what is set aside, what has gone, what came back."""
    amount, failed = movement.amount_minor, movement.state == MovementState.FAILED
    if failed and not getattr(movement, "foreign", False):
        set_aside(movement, -amount)
    if isinstance(movement, Capture):
        return
    given = (movement.state == MovementState.SUCCEEDED) - (before is MovementState.SUCCEEDED)
    # The gateway had it, so that its totals may have counted it; ours only rise.
    undone = amount if failed and movement.gateway_reference else 0
    Transaction.objects.filter(pk=movement.transaction_id).update(
        returned_minor=F("returned_minor") + given * amount, undone_minor=F("undone_minor") + undone
    )


def take_back(capture: Capture, step: Step) -> None:
    """What was agreed to for the sake of a capture that has failed counts no more; what is paid stays so."""
    row, total = capture.transaction, capture.before_minor + capture.amount_minor
    if capture.final and row.agreed_minor == total:
        off, note = Verdict(revoked=total), f"capture failed: {step.note or step.error}"
        apply_update(row.pk, PaymentUpdate(), source=step.source, actor=step.actor, verdict=off, note=note)


def leave_to_staff(refund: Refund | Capture, step: Step) -> None:
    """Late money that could not be given back by itself: a person decides about the order and about the money."""
    note = f"not given back: {step.note or step.error}"
    apply_update(
        refund.transaction_id, PaymentUpdate(), source=step.source, actor=step.actor, flags=("late",), note=note
    )


def tell(movement: Refund | Capture, before: MovementState | str) -> None:
    """After the commit: the log and the signal."""
    log(movement, before)
    for receiver, error in movement_changed.send_robust(
        type(movement), movement=movement, previous=before, state=MovementState(movement.state)
    ):
        if isinstance(error, Exception):
            logger.error("receiver failed %s=%s receiver=%r", movement._meta.model_name, movement.pk, receiver,
                         exc_info=error)  # fmt: skip
