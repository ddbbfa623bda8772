"""The way back in: a payment that our books have lost, written again as the gateway knows it."""

import logging
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.utils import timezone

from .. import dispatch
from ..models import Transaction, TransactionEvent
from ..types import CLOSED_STATES, PaymentUpdate, Source, State
from .decision import Facts, Kind, decide
from .door import evidence

__all__ = ["write_recovered"]

logger = logging.getLogger("gatewaypay.transition")

NOTE = "found again at the gateway"


def write_recovered(row: Transaction, update: PaymentUpdate, *, actor: Any = None, reason: str = "") -> Transaction:
    """Write a transaction again, and its ledger, in one commit. Money makes it `held`: a person takes it, or not.

    Args:
        row: unsaved, with the id that the gateway echoes; what was asked for is the gateway's word.
        update: what is true of it there; not one that ended unpaid.
        actor: the user who asked for it.
        reason: why, in words.

    Raises:
        IntegrityError: it is there already, or another payment of its order is open.
    """
    row.attention = "recovered"
    begun = _begin(row)
    facts = decide(
        Facts(state=State.CREATED, amount=row.amount_minor, currency=row.currency, attention=row.attention_codes),
        update if update.state else replace(update, state=State.PENDING),
    ).facts
    _take(row, facts)
    # Durable: inside somebody's transaction this commit would not be one.
    with transaction.atomic(durable=True):
        row.save(force_insert=True)
        begun.save(force_insert=True)
        _write_move(row, update, actor, reason)
        transaction.on_commit(lambda: dispatch.settle(row.pk, State.CREATED, State(row.state), None), robust=True)
    logger.warning("recovered transaction=%s order=%r state=%s", row.pk, row.order_id, row.state)
    return row


def _begin(row: Transaction) -> TransactionEvent:
    """The first line of its ledger, as it once was."""
    return TransactionEvent(
        transaction=row,
        kind=Kind.MOVED,
        version=0,
        to_state=State.CREATED,
        attention=row.attention,
        source=Source.SYSTEM,
        note=NOTE,
        created_at=row.created_at,
    )


def _take(row: Transaction, facts: Facts) -> None:
    row.version = 1
    row.state = facts.state
    row.reason = facts.reason
    row.attention = " ".join(sorted(facts.attention))
    row.captured_minor = facts.captured
    row.authorized_minor = facts.authorized
    row.refunded_minor = facts.refunded
    row.gateway_reference = facts.gateway_reference
    row.payment_reference = facts.payment_reference
    # The clock looks at what is open at once.
    row.next_poll_at = None if State(row.state) in {State.HELD} | CLOSED_STATES else timezone.now()


def _write_move(row: Transaction, update: PaymentUpdate, actor: Any, reason: str) -> None:
    source, note = Source.STAFF if actor else Source.POLL, " · ".join(filter(None, (NOTE, reason)))
    moved = TransactionEvent.of(row, Kind.MOVED, source=source, actor=actor, note=note)
    moved.from_state, moved.evidence = State.CREATED, evidence(update)
    moved.save(force_insert=True)
