"""Writing an intent to move money down: its row, the money that is set aside for it, and the ledger's line."""

import logging
from typing import Any

from django.db.models import F

from ..models import Callback, Capture, Movement, Refund, Transaction, TransactionEvent
from ..types import Source

__all__ = ["log", "set_aside", "write_event", "write_intent"]

logger = logging.getLogger("gatewaypay.movement")


def write_intent(movement: Refund | Capture, source: Source) -> None:
    """In the commit of the caller, who holds the transaction's row: the sweep finds it from then on."""
    movement.save(force_insert=True)
    set_aside(movement, movement.amount_minor)
    write_event(movement, source, movement.actor, movement.reason, None)


def set_aside(movement: Refund | Capture, amount: int) -> None:
    """Also kept by the database: it refuses to set more aside than there is."""
    name = "refunding_minor" if isinstance(movement, Refund) else "capturing_minor"
    Transaction.objects.filter(pk=movement.transaction_id).update(**{name: F(name) + amount})


def write_event(movement: Refund | Capture, source: Source, actor: Any, note: str, callback: Callback | None) -> None:
    """The ledger's line about a movement as it is now."""
    row, kind = movement.transaction, TransactionEvent.Kind(str(movement._meta.model_name))
    event = TransactionEvent.of(row, kind, source=source, actor=actor, callback=callback, note=note)
    event.from_state, event.reason = row.state, movement.state
    event.evidence = {
        "id": str(movement.pk),
        "amount": f"{movement.amount_text} {row.currency}",
        "state": str(movement.state),
        "reference": movement.gateway_reference,
    }
    event.save(force_insert=True)


def log(movement: Movement, before: str) -> None:
    """One line for each change."""
    logger.info(
        "%s=%s transaction=%s from=%s to=%s amount=%s",
        movement._meta.model_name, movement.pk, movement.transaction_id, before or "-", movement.state,
        movement.amount_minor,
    )  # fmt: skip
