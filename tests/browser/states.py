"""A payment in every state that a shopper can meet, for pictures and for checks of each screen."""

from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone

from django_gatewaypay.lifecycle import apply_update
from django_gatewaypay.models import Transaction
from django_gatewaypay.types import PaymentUpdate, Source, State
from tests.factories import make_transaction

__all__ = ["STATES"]

DESCRIPTION = "Wool scarf, order 4711"


def made(state: str, **fields: object) -> Transaction:
    return make_transaction(state, description=DESCRIPTION, **fields)


def waiting(seconds: int) -> Transaction:
    return made("pending", waiting_since=timezone.now() - timedelta(seconds=seconds))


def declined() -> Transaction:
    row = made("pending")
    update = PaymentUpdate(state=State.FAILED, decline_code="insufficient_funds")
    return apply_update(row.pk, update, source=Source.POLL).transaction


def late() -> Transaction:
    row = made("expired")
    update = PaymentUpdate(state=State.SUCCESS, captured=row.amount)
    return apply_update(row.pk, update, source=Source.POLL).transaction


STATES: dict[str, Callable[[], Transaction]] = {
    "preparing": lambda: made("created"),
    "ready": lambda: made("pending"),
    "confirming-soon": lambda: waiting(2),
    "confirming-longer": lambda: waiting(30),
    "confirming-patience": lambda: waiting(120),
    "reserved": lambda: made("authorized"),
    "review": lambda: made("held"),
    "success": lambda: made("success", return_url="/orders/4711/"),
    "late": late,
    "declined": declined,
    "canceled": lambda: made("canceled"),
    "expired": lambda: made("expired"),
}
