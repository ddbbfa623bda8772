"""Is the clock running? Read from the work itself: what is long overdue, nobody does."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from ..models import Callback, Capture, Fulfilment, Refund, Transaction

__all__ = ["Health", "health"]

LATE_AFTER = timedelta(minutes=3)


@dataclass(frozen=True)
class Health:
    """How long the oldest piece of due work has been waiting.

    Args:
        waiting: nothing, when nothing is due.
    """

    waiting: timedelta

    @property
    def late(self) -> bool:
        """Neither beat nor `gatewaypay_tick` runs, or they cannot keep up."""
        return self.waiting > LATE_AFTER


def health() -> Health:
    """Six indexed reads."""
    now = timezone.now()
    oldest = min(filter(None, _due_times(now)), default=now)
    return Health(waiting=max(now - oldest, timedelta(0)))


def _due_times(now: datetime) -> list[datetime | None]:
    """Since when the first of each kind of work is due."""
    kinds = (Callback, Fulfilment, Refund, Capture)
    owed = [kind._default_manager.filter(next_attempt_at__lte=now).order_by("next_attempt_at") for kind in kinds]
    return [
        Transaction.objects.due(now).values_list("next_poll_at", flat=True).first(),
        Transaction.objects.overdue(now).values_list("expires_at", flat=True).first(),
        *(rows.values_list("next_attempt_at", flat=True).first() for rows in owed),
    ]
