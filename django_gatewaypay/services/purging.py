"""Forget what gateways have said in their own words, once it is old enough. What we understood of it stays."""

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from ..conf import settings
from ..models import Callback

__all__ = ["purge"]

logger = logging.getLogger("gatewaypay.purge")

CHUNK = 500


def purge(
    older_than: timedelta | None = None,
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Clear the gateway's own fields (`update["raw"]`) of processed callbacks; of how many.

    The row stays, so that a redelivery is still known; so do state, amounts and references. The ledger is
    append-only and keeps its evidence (docs/adr/0011).

    Args:
        older_than: `KEEP_PAYLOADS` when None.
        dry_run: only count.
        progress: is called after each chunk with the count so far.

    Raises:
        ValueError: the age is negative.
    """
    age = settings.KEEP_PAYLOADS if older_than is None else older_than
    if age < timedelta(0):
        raise ValueError("The age is negative.")
    count = 0
    for chunk in _chunks(age):
        for row in chunk:
            del row.update["raw"]
        if not dry_run:
            Callback.objects.bulk_update(chunk, ["update"])
        count += len(chunk)
        if progress:
            progress(count)
    logger.info("purged dry_run=%s callbacks=%s", dry_run, count)
    return count


def _chunks(age: timedelta) -> Iterator[list[Callback]]:
    """What is old enough, oldest first, by keyset: no cursor and no transaction stays open."""
    old = Callback.objects.filter(state=Callback.State.PROCESSED, received_at__lt=timezone.now() - age)
    old = old.filter(update__has_key="raw").only("pk", "update", "received_at").order_by("received_at", "pk")
    chunk = list(old[:CHUNK])
    while chunk:
        yield chunk
        last = chunk[-1]
        later = Q(received_at__gt=last.received_at) | Q(received_at=last.received_at, pk__gt=last.pk)
        chunk = list(old.filter(later, received_at__gte=last.received_at)[:CHUNK])
