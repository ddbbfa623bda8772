"""Times as the host's database keeps them, and as everybody else tells them."""

from datetime import UTC, datetime

from django.conf import settings as django_settings
from django.utils import timezone

__all__ = ["as_ours", "as_theirs"]


def as_theirs(moment: datetime) -> datetime:
    """A time of the host's as aware UTC, whether the host has USE_TZ or not."""
    return (timezone.make_aware(moment) if timezone.is_naive(moment) else moment).astimezone(UTC)


def as_ours(moment: datetime) -> datetime:
    """An aware time as the host's database keeps it."""
    return moment if django_settings.USE_TZ else timezone.make_naive(moment)
