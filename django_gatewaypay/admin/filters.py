"""The filters of the lists. Each is answered by an index, and none of them counts."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar

from django.conf import settings as django_settings
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..conf import settings
from ..types import MovementState
from .words import ATTENTION

__all__ = ["ApprovalFilter", "AttentionFilter", "GatewayFilter", "TimeFilter", "time_filter"]

#: Days that every database and every time zone can tell.
FIRST_YEAR, LAST_YEAR = 1970, 2999


class GatewayFilter(admin.SimpleListFilter):
    """The aliases of the settings, without a DISTINCT over the whole table."""

    title = _("gateway")
    parameter_name = "gateway"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(alias, alias) for alias in settings.GATEWAYS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(gateway=self.value()) if self.value() else queryset


class AttentionFilter(admin.SimpleListFilter):
    """What waits for a person."""

    title = _("attention")
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("any", _("any")), *((code, words.label) for code, words in ATTENTION.items())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        code = self.value()
        if not code:
            return queryset
        flagged = queryset.exclude(attention="")
        return flagged if code == "any" else flagged.filter(attention__contains=code)


class ApprovalFilter(admin.SimpleListFilter):
    """Refunds that a second person has to look at."""

    title = _("approval")
    parameter_name = "approval"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("waiting", _("waits for a second person"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        waiting = {"state": MovementState.REQUESTED, "needs_approval": True, "approver": None}
        return queryset.filter(**waiting) if self.value() else queryset


class TimeFilter(admin.ListFilter):
    """From one day to another, both of them included; Django's own hierarchy looks at every row to list its days."""

    title = _("time")
    template = "admin/gatewaypay/time_filter.html"
    field_name: ClassVar[str]
    names = ("since", "until")

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        given = {name: params.pop(name) for name in self.names if name in params}
        self.since, self.until = (read_day(given.get(name)) for name in self.names)
        self.others: dict[str, str] = {}

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.names)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.since:
            queryset = queryset.filter(**{f"{self.field_name}__gte": midnight(self.since)})
        if self.until:
            queryset = queryset.filter(**{f"{self.field_name}__lt": midnight(self.until + timedelta(days=1))})
        return queryset

    def choices(self, changelist: Any) -> Iterator[Any]:
        """The spans that one asks for most, each a pair of days."""
        self.others = {name: text for name, text in changelist.params.items() if name not in self.names}
        today = local_day()
        spans = [
            (_("Any time"), None, None),
            (_("Today"), today, None),
            (_("Yesterday"), today - timedelta(days=1), today - timedelta(days=1)),
            (_("Past 7 days"), today - timedelta(days=6), None),
            (_("Past 30 days"), today - timedelta(days=29), None),
        ]
        for label, since, until in spans:
            days = {"since": since and since.isoformat(), "until": until and until.isoformat()}
            yield {
                "display": label,
                "selected": (since, until) == (self.since, self.until),
                "query_string": changelist.get_query_string(days),
            }


def time_filter(name: str) -> type[TimeFilter]:
    """The filter of one column, which has an index."""
    return type("ColumnTimeFilter", (TimeFilter,), {"field_name": name})


def read_day(texts: list[str] | None) -> date | None:
    """A day of the query string; nothing where the field was left empty."""
    if not texts or not texts[-1]:
        return None
    try:
        day = date.fromisoformat(texts[-1])
    except ValueError as error:
        raise IncorrectLookupParameters(error) from error
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise IncorrectLookupParameters
    return day


def local_day() -> date:
    """Today, where the reader is."""
    return timezone.localdate() if django_settings.USE_TZ else timezone.now().date()


def midnight(day: date) -> datetime:
    """When a day begins, where the reader is."""
    start = datetime.combine(day, time.min)
    return timezone.make_aware(start) if django_settings.USE_TZ else start
