"""Disputes: what a gateway says of them is kept in rows of their own, and shown to staff.

They never move a transaction's state. Order is no matter: the highest word that was said holds, and the
newest amount and due date of that word.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone
from moneyed import Money

from ..lifecycle import apply_update
from ..models import Callback, Dispute, Transaction, TransactionEvent
from ..money import minor_in
from ..signals import dispute_changed
from ..types import DisputeState, DisputeUpdate, PaymentUpdate, Source
from .moments import as_ours

__all__ = ["dump_dispute", "hear_dispute", "load_dispute"]

logger = logging.getLogger("gatewaypay.dispute")

FLAG = frozenset({"disputed"})


def hear_dispute(
    row: Transaction, update: PaymentUpdate, *, source: Source, callback: Callback | None = None
) -> PaymentUpdate:
    """Keep what an update says about a dispute; the update without the flag that the dispute's row has raised.

    News raises "disputed" in the same commit. What is known already raises nothing: a person may have dealt with it.
    """
    if update.dispute is not None:
        if _changes(_find(row, update.dispute), update.dispute):
            _keep(row, update.dispute, source, callback)
    elif not (update.flags & FLAG and Dispute.objects.filter(transaction=row).exists()):
        return update
    return replace(update, flags=update.flags - FLAG)


def _keep(row: Transaction, told: DisputeUpdate, source: Source, callback: Callback | None) -> None:
    """One commit: the dispute, its ledger line, the flag."""
    with transaction.atomic():
        # Two who hear of it at once come one after the other.
        held = Transaction.objects.select_for_update().get(pk=row.pk)
        dispute = _find(held, told)
        changes = _changes(dispute, told)
        if changes:
            dispute = _write(held, dispute, told, changes)
            _write_event(dispute, source, callback)
            apply_update(row.pk, PaymentUpdate(), source=source, flags=FLAG, note=f"dispute {dispute.state}")
            transaction.on_commit(lambda: _tell(dispute), robust=True)


def _find(row: Transaction, told: DisputeUpdate) -> Dispute | None:
    return Dispute.objects.filter(transaction=row, gateway_reference=told.dispute_reference).first()


def _changes(known: Dispute | None, told: DisputeUpdate) -> dict[str, Any]:
    """The columns that become different; none when nothing is news."""
    said = {name: value for name, value in _columns(told).items() if value not in {None, ""}}
    if known is None:
        return said
    if told.state.rank < DisputeState(known.state).rank:
        # An older word only fills in what the newer ones have left out.
        said = {name: value for name, value in said.items() if getattr(known, name) in {None, ""}}
    return {name: value for name, value in said.items() if getattr(known, name) != value}


def _columns(told: DisputeUpdate) -> dict[str, Any]:
    # What cannot be counted is news about money, not money.
    minor = None if told.amount is None else minor_in(told.amount.currency.code, told.amount)
    return {
        "state": told.state.value,
        "amount_minor": minor,
        "currency": told.amount.currency.code if told.amount is not None and minor is not None else "",
        "reason": told.reason[:64],
        "due_at": as_ours(told.due_at) if told.due_at else None,
    }


def _write(row: Transaction, known: Dispute | None, told: DisputeUpdate, changes: dict[str, Any]) -> Dispute:
    now = timezone.now()
    dispute = known or Dispute(transaction=row, gateway_reference=told.dispute_reference, opened_at=now)
    for name, value in {**changes, "updated_at": now}.items():
        setattr(dispute, name, value)
    dispute.save()
    return dispute


def _write_event(dispute: Dispute, source: Source, callback: Callback | None) -> None:
    row = dispute.transaction
    evidence = {
        "reference": dispute.gateway_reference,
        "state": dispute.state,
        "amount": f"{dispute.amount_text} {dispute.currency}".strip(),
        "reason": dispute.reason,
        "due_at": dispute.due_at.isoformat() if dispute.due_at else "",
    }
    event = TransactionEvent.of(row, TransactionEvent.Kind.DISPUTE, source=source, callback=callback)
    event.from_state, event.reason = row.state, dispute.state
    event.evidence = {name: value for name, value in evidence.items() if value}
    event.save(force_insert=True)


def _tell(dispute: Dispute) -> None:
    logger.warning(
        "dispute=%r transaction=%s state=%s amount=%s",
        dispute.gateway_reference, dispute.transaction_id, dispute.state, dispute.amount_minor,
    )  # fmt: skip
    for receiver, error in dispute_changed.send_robust(Dispute, dispute=dispute, state=DisputeState(dispute.state)):
        if isinstance(error, Exception):
            logger.error("receiver failed dispute=%r receiver=%r", dispute.gateway_reference, receiver, exc_info=error)


def dump_dispute(told: DisputeUpdate | None) -> dict[str, Any] | None:
    """A dispute's news as JSON, for the inbox."""
    if told is None:
        return None
    amount = [f"{told.amount.amount:f}", told.amount.currency.code] if told.amount is not None else None
    return {
        "reference": told.dispute_reference,
        "state": told.state,
        "amount": amount,
        "due_at": told.due_at.isoformat() if told.due_at else None,
        "reason": told.reason,
    }


def load_dispute(said: Mapping[str, Any] | None) -> DisputeUpdate | None:
    """The news that `dump_dispute` wrote."""
    if said is None:
        return None
    return DisputeUpdate(
        dispute_reference=said["reference"],
        state=DisputeState(said["state"]),
        amount=Money(*said["amount"]) if said["amount"] else None,
        due_at=datetime.fromisoformat(said["due_at"]) if said["due_at"] else None,
        reason=said["reason"],
    )
