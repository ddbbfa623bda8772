"""Times on the command line."""

from datetime import date, datetime, time

from django.conf import settings as django_settings
from django.core.management.base import CommandError
from django.utils import timezone

__all__ = ["read_moment"]


def read_moment(option: str, text: str) -> datetime:
    """A day or a time, in the host's time zone where it names none.

    Raises:
        CommandError: it is neither.
    """
    try:
        moment = _read(text)
    except ValueError as error:
        raise CommandError(f"{option} {text}: use a day (2026-11-01) or a time (2026-11-01T13:30).") from error
    if not django_settings.USE_TZ:
        return timezone.make_naive(moment) if timezone.is_aware(moment) else moment
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


def _read(text: str) -> datetime:
    """A day begins at midnight."""
    try:
        return datetime.combine(date.fromisoformat(text), time.min)
    except ValueError:
        return datetime.fromisoformat(text)
