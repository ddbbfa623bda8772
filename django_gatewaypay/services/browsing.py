"""Transactions for staff, page by page, the newest first. Each filter has its index, and nothing is counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Greatest

from ..models import Transaction
from ..types import RefundStatus

__all__ = ["Page", "Place", "browse"]

#: Where a page ended.
Place = tuple[datetime, UUID]
GIVEN_BACK = Greatest(F("returned_minor"), F("refunded_minor") - F("undone_minor"))
#: As the index has it: something went back, or was said to have.
TOUCHED = Q(returned_minor__gt=0) | Q(refunded_minor__gt=0)


@dataclass(frozen=True)
class Page:
    """Some transactions, and where the next page begins; None after the last."""

    rows: Sequence[Transaction]
    next: Place | None


def browse(
    *,
    order_id: str = "",
    gateway: str = "",
    state: str = "",
    attention: str = "",
    refund_status: str = "",
    created_from: datetime | None = None,
    created_to: datetime | None = None,
    limit: int = 50,
    cursor: Place | None = None,
) -> Page:
    """One page of the transactions that all of the filters allow.

    Args:
        attention: a code, or "any".
        created_from, created_to: from then on, and before.
        cursor: the `next` of the page before.
    """
    named = {"order_id": order_id, "gateway": gateway, "state": state}
    rows: QuerySet[Transaction] = Transaction.objects.filter(**{name: value for name, value in named.items() if value})
    if attention:
        rows = _flagged(rows, attention)
    if refund_status:
        rows = _given_back(rows, RefundStatus(refund_status))
    if created_from:
        rows = rows.filter(created_at__gte=created_from)
    if created_to:
        rows = rows.filter(created_at__lt=created_to)
    if cursor:
        rows = _older(rows, *cursor)
    found = list(rows.order_by("-created_at", "-pk")[: limit + 1])
    shown = found[:limit]
    return Page(shown, (shown[-1].created_at, shown[-1].pk) if len(found) > limit else None)


def _flagged(rows: QuerySet[Transaction], code: str) -> QuerySet[Transaction]:
    flagged = rows.exclude(attention="")
    if code == "any":
        return flagged
    first, last = Q(attention__startswith=f"{code} "), Q(attention__endswith=f" {code}")
    return flagged.filter(Q(attention=code) | first | last | Q(attention__contains=f" {code} "))


def _given_back(rows: QuerySet[Transaction], status: RefundStatus) -> QuerySet[Transaction]:
    rows = rows.alias(given_back=GIVEN_BACK)
    if status is RefundStatus.NONE:
        return rows.filter(given_back__lte=0)
    in_full = Q(given_back__gte=F("captured_minor"))
    return rows.filter(TOUCHED, in_full if status is RefundStatus.FULL else ~in_full, given_back__gt=0)


def _older(rows: QuerySet[Transaction], created_at: datetime, pk: UUID) -> QuerySet[Transaction]:
    return rows.filter(Q(created_at__lt=created_at) | Q(created_at=created_at, pk__lt=pk), created_at__lte=created_at)
