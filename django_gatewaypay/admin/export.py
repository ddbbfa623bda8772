"""The filtered list as a CSV file, written while it is read: a page of rows at a time, however many there are."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Q, QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from ..models import Transaction
from ..money import format_minor

__all__ = ["export", "guarded"]

ROWS_AT_ONCE = 2000
#: A spreadsheet takes a cell that begins like this for a formula, and runs it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
#: What the cells are made of: half of the columns are never read.
READ = (
    "order_id", "gateway", "state", "reason", "late", "attention", "currency", "amount_minor", "authorized_minor",
    "captured_minor", "returned_minor", "refunded_minor", "undone_minor", "gateway_reference", "payment_reference",
    "created_at", "updated_at",
)  # fmt: skip
Cell = Callable[[Transaction], object]
#: Most sums are nothing, and prices come again.
amount = lru_cache(maxsize=4096)(format_minor)
COLUMNS: dict[str, Cell] = {
    "id": lambda row: row.pk,
    "order": lambda row: row.order_id,
    "gateway": lambda row: row.gateway,
    "state": lambda row: row.state,
    "reason": lambda row: row.reason,
    "late": lambda row: "yes" if row.late else "",
    "attention": lambda row: row.attention,
    "currency": lambda row: row.currency,
    "amount": lambda row: amount(row.amount_minor, row.currency),
    "authorized": lambda row: amount(row.authorized_minor, row.currency),
    "captured": lambda row: amount(row.captured_minor, row.currency),
    "given back": lambda row: amount(row.given_back_minor, row.currency),
    "refund status": lambda row: row.refund_status,
    "gateway reference": lambda row: row.gateway_reference,
    "payment reference": lambda row: row.payment_reference,
    "created": lambda row: row.created_at.isoformat(),
    "updated": lambda row: row.updated_at.isoformat(),
}


def export(model_admin: Any, request: HttpRequest) -> StreamingHttpResponse:
    """What the list shows under the same query string, all of its pages.

    Raises:
        PermissionDenied: who may not see the list.
        BadRequest: a filter that the list does not have.
    """
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    try:
        rows = model_admin.get_changelist_instance(request).queryset
    except IncorrectLookupParameters as error:
        raise BadRequest("There is no such filter.") from error
    pages = Pages(rows)
    # A server of Django's asynchronous kind would collect all of an ordinary iterator before it sends any.
    content = pages.later() if isinstance(request, ASGIRequest) else iter(pages)
    disposition = {"Content-Disposition": 'attachment; filename="transactions.csv"'}
    return StreamingHttpResponse(content, content_type="text/csv; charset=utf-8", headers=disposition)


class Pages:
    """The lines of the file, from the newest payment to the oldest; each page begins where the last one ended."""

    def __init__(self, rows: QuerySet[Transaction]) -> None:
        self.rows = rows.only(*READ).order_by("-created_at", "-pk")
        self.last: Transaction | None = None

    def __iter__(self) -> Iterator[str]:
        yield write(list(COLUMNS))
        while text := self.next_page():
            yield text

    async def later(self) -> AsyncIterator[str]:
        """The same, for an asynchronous server."""
        yield write(list(COLUMNS))
        while text := await sync_to_async(self.next_page)():
            yield text

    def next_page(self) -> str:
        """The lines of the next rows; nothing after the last one."""
        rows = self.rows
        if self.last:
            moment = self.last.created_at
            # The first condition says nothing new, but an index can answer it.
            rows = rows.filter(Q(created_at__lt=moment) | Q(pk__lt=self.last.pk), created_at__lte=moment)
        page = list(rows[:ROWS_AT_ONCE])
        self.last = page[-1] if page else None
        return write(*([cell(row) for cell in COLUMNS.values()] for row in page))


def write(*lines: list[Any]) -> str:
    """Lines as CSV."""
    file = io.StringIO()
    csv.writer(file).writerows([[guarded(cell) for cell in line] for line in lines])
    return file.getvalue()


def guarded(cell: object) -> str:
    """A cell that no spreadsheet runs."""
    text = str(cell)
    return f"'{text}" if text.startswith(FORMULA) else text
