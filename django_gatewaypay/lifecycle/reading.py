"""Transactions as the door needs them: one statement, compiled once in a process and filled in ever after."""

from functools import cache
from typing import Any

from django.db import router
from django.db.models import Exists, OuterRef, Q

from ..models import Fulfilment, Transaction
from ..models.statements import Select
from ..types import PaymentUpdate, State
from .decision import NO_VERDICT, Verdict

__all__ = ["read_row", "suffices"]


def read_row(update: PaymentUpdate, verdict: Verdict = NO_VERDICT, **where: Any) -> Transaction | None:
    """The transaction of which this is so, with what the other payments of its order say where `update` may pay it.

    Args:
        where: values by field; of several transactions it is one, and always the same.
    """
    using, siblings = router.db_for_read(Transaction), _asks_siblings(update, verdict)
    asked = _ask(using, tuple(where), siblings=siblings, anybody=siblings and verdict.fulfil)
    return min(asked.fetch(**where), key=lambda row: row.pk, default=None)


def suffices(row: Transaction, update: PaymentUpdate, verdict: Verdict = NO_VERDICT) -> bool:
    """Whether a row that was read some other way says as much as `read_row` would."""
    return not _asks_siblings(update, verdict) or (verdict == NO_VERDICT and hasattr(row, "paid_too"))


def _asks_siblings(update: PaymentUpdate, verdict: Verdict) -> bool:
    # The end of a payment in part may be the end of what was agreed, and so may a person's word.
    told = update.state is not None and update.state.rank >= State.EXPIRED.rank
    return bool(told or update.captured or verdict != NO_VERDICT)


@cache
def _ask(using: str, where: tuple[str, ...], *, siblings: bool, anybody: bool) -> Select[Transaction]:
    rows = Transaction.objects.using(using)
    if siblings:
        paid = Fulfilment.objects.filter(order_id=OuterRef("order_id"), kind=Fulfilment.Kind.FULFIL)
        newer = Transaction.objects.filter(order_id=OuterRef("order_id"), created_at__gt=OuterRef("created_at"))
        others = Transaction.objects.paid().filter(order_id=OuterRef("order_id"))
        rows = rows.annotate(
            order_paid=Exists(paid if anybody else paid.filter(~Q(transaction=OuterRef("pk")))),
            paid_too=Exists(others.filter(~Q(pk=OuterRef("pk")))),
            replaced=Exists(newer),
        )
    return Select.of(rows, where)
