"""What the overview tells, each figure by a query that an index answers and that has an end."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings as django_settings
from django.db.models import Count, QuerySet
from django.db.models.functions import TruncHour
from django.utils import timezone

from ..models import Callback, Dispute, Fulfilment, Refund, Transaction
from ..types import CLOSED_STATES, DisputeState, MovementState, State

__all__ = ["Amount", "Day", "Hour", "Lag", "attention", "dead", "disputes", "lag", "last_day", "oldest", "refunds"]

HOURS = 24
#: The charts tell of so many of the newest payments at most, and counts of so many rows.
MOST_PAYMENTS = 50_000
MOST_FLAGGED = 10_000
MOST_COUNTED = 1_000
MOST_CALLBACKS = 1_000
#: States in which a payment waits, for whom it may be.
WAITING = (State.CREATED, State.PENDING, State.PROCESSING, State.AUTHORIZED)


@dataclass(frozen=True)
class Amount:
    """How many, up to where counting stopped."""

    number: int
    more: bool = False

    def __str__(self) -> str:
        return f"{self.number}+" if self.more else str(self.number)

    def __bool__(self) -> bool:
        return self.number > 0


@dataclass
class Hour:
    """The payments that began in one hour, by how they stand now."""

    start: datetime
    paid: int = 0
    unpaid: int = 0
    open: int = 0

    @property
    def total(self) -> int:
        return self.paid + self.unpaid + self.open

    @property
    def rate(self) -> int | None:
        """Of a hundred that ended, how many were paid; None where none has ended."""
        ended = self.paid + self.unpaid
        return 100 * self.paid // ended if ended else None


@dataclass
class Day:
    """The last 24 hours of one gateway."""

    gateway: str
    hours: list[Hour] = field(default_factory=list)

    @property
    def whole(self) -> Hour:
        """All of its hours together."""
        sums = {name: sum(getattr(hour, name) for hour in self.hours) for name in ("paid", "unpaid", "open")}
        return Hour(self.hours[0].start, **sums)


@dataclass(frozen=True)
class Lag:
    """How long callbacks wait between "received" and "processed"."""

    number: int
    middle: timedelta
    worst: timedelta

    @property
    def middle_seconds(self) -> str:
        return seconds(self.middle)

    @property
    def worst_seconds(self) -> str:
        return seconds(self.worst)


def last_day() -> list[Day]:
    """By gateway, what began in each of the last 24 hours, and how it stands."""
    starts = hours()
    recent = Transaction.objects.filter(created_at__gte=starts[0])
    newest = recent.order_by("-created_at").values_list("created_at", flat=True)
    for edge in newest[MOST_PAYMENTS : MOST_PAYMENTS + 1]:
        recent = recent.filter(created_at__gte=edge)
    found = recent.annotate(hour=TruncHour("created_at")).values_list("gateway", "hour", "state")
    days: dict[str, dict[datetime, Hour]] = {}
    for gateway, start, state, number in found.annotate(number=Count("pk")).order_by():
        day = days.setdefault(gateway, {hour: Hour(hour) for hour in starts})
        # The clock of another server may be ahead of ours.
        hour, name = day.get(start, day[starts[-1]]), stands(state)
        setattr(hour, name, getattr(hour, name) + number)
    return [Day(gateway, list(day.values())) for gateway, day in sorted(days.items())]


def stands(state: str) -> str:
    """How the charts call a state."""
    if state == State.SUCCESS:
        return "paid"
    return "unpaid" if state in CLOSED_STATES else "open"


def hours() -> list[datetime]:
    """When each of the last 24 hours began, the running one included."""
    now = timezone.localtime() if django_settings.USE_TZ else timezone.now()
    running = now.replace(minute=0, second=0, microsecond=0)
    return [running - timedelta(hours=ago) for ago in reversed(range(HOURS))]


def oldest() -> list[Transaction]:
    """Of each state in which a payment waits, the one that has waited longest."""
    rows = (Transaction.objects.filter(state=state).order_by("created_at").first() for state in WAITING)
    return [row for row in rows if row]


def lag() -> Lag | None:
    """Of the newest callbacks of the last day."""
    since = timezone.now() - timedelta(days=1)
    newest = Callback.objects.filter(received_at__gte=since).order_by("-received_at")
    pairs = newest.values_list("received_at", "processed_at")[:MOST_CALLBACKS]
    spans = [processed - received for received, processed in pairs if processed]
    return Lag(len(spans), sorted(spans)[len(spans) // 2], max(spans)) if spans else None


def seconds(span: timedelta) -> str:
    """With one decimal."""
    return f"{span.total_seconds():.1f}"


def attention() -> tuple[Amount, dict[str, int]]:
    """How many payments wait for a person, and how many of them for which reason."""
    flagged = Transaction.objects.exclude(attention="").order_by("-created_at")
    texts = list(flagged.values_list("attention", flat=True)[: MOST_FLAGGED + 1])
    codes = Counter(code for text in texts for code in text.split())
    often = sorted(codes.items(), key=lambda one: (-one[1], one[0]))
    return Amount(min(len(texts), MOST_FLAGGED), len(texts) > MOST_FLAGGED), dict(often)


def dead(model: type[Callback | Fulfilment]) -> Amount:
    """What was given up."""
    return counted(model._default_manager.filter(state=model.State.DEAD))


def refunds() -> tuple[Amount, Amount]:
    """How many wait for a second person, and of how many nobody knows what became of them."""
    waiting = Refund.objects.filter(state=MovementState.REQUESTED, needs_approval=True, approver=None)
    return counted(waiting), counted(Refund.objects.filter(state=MovementState.UNKNOWN))


def disputes() -> tuple[Amount, Dispute | None]:
    """How many are open, and the one that has to be answered next."""
    unanswered = Dispute.objects.filter(state=DisputeState.OPEN)
    return counted(unanswered), unanswered.exclude(due_at=None).order_by("due_at").first()


def counted(rows: QuerySet[Any]) -> Amount:
    """How many rows; nobody needs to know by how much it is more than a thousand."""
    number = rows.order_by()[: MOST_COUNTED + 1].count()
    return Amount(min(number, MOST_COUNTED), number > MOST_COUNTED)
