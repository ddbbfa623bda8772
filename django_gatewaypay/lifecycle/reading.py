"""Transactions as the door needs them: one statement, compiled once in a process and filled in ever after."""

from functools import cache
from typing import Any

from django.db import router
from django.db.models import Exists, OuterRef, Q

from ..models import Fulfilment, Transaction
from ..models.statements import condition, prepared
from ..types import PaymentUpdate, State
from .decision import NO_VERDICT, Verdict

__all__ = ["read_row"]


def read_row(update: PaymentUpdate, verdict: Verdict = NO_VERDICT, **where: Any) -> Transaction | None:
    """The transaction of which this is so, with what the other payments of its order say where `update` may pay it.

    Args:
        where: values by field; of several transactions it is one, and always the same.
    """
    # The end of a payment in part may be the end of what was agreed, and so may a person's word.
    told = update.state is not None and update.state.rank >= State.EXPIRED.rank
    asks = bool(told or update.captured or verdict != NO_VERDICT)
    using = router.db_for_read(Transaction)
    sql, values = _select_sql(using, tuple(where), siblings=asks, anybody=asks and verdict.fulfil)
    found = Transaction.objects.using(using).raw(sql, [*values, *prepared(using, Transaction, where)])
    return min(found, key=lambda row: row.pk, default=None)


@cache
def _select_sql(using: str, names: tuple[str, ...], *, siblings: bool, anybody: bool) -> tuple[str, tuple[Any, ...]]:
    """The statement, and the values that stand before those of `names`."""
    rows = Transaction.objects.using(using).order_by()
    if siblings:
        paid = Fulfilment.objects.filter(order_id=OuterRef("order_id"), kind=Fulfilment.Kind.FULFIL)
        newer = Transaction.objects.filter(order_id=OuterRef("order_id"), created_at__gt=OuterRef("created_at"))
        others = Transaction.objects.paid().filter(order_id=OuterRef("order_id"))
        rows = rows.annotate(
            order_paid=Exists(paid if anybody else paid.filter(~Q(transaction=OuterRef("pk")))),
            paid_too=Exists(others.filter(~Q(pk=OuterRef("pk")))),
            replaced=Exists(newer),
        )
    sql, values = rows.query.get_compiler(using).as_sql()
    return f"{sql} WHERE {' AND '.join(condition(using, Transaction, name) for name in names)}", tuple(values)
