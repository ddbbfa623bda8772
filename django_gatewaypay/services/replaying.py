"""Work on stored callbacks once more: what was given up, what matched nothing, or whatever is asked for."""

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q, QuerySet
from django.utils import timezone

from ..models import Callback
from ..schedule import CLAIM_LEASE
from .callbacks import retry_callback

__all__ = ["Replayed", "replay"]

logger = logging.getLogger("gatewaypay.callback")

BATCH = 200
WAITING = (Callback.State.DEAD, Callback.State.UNMATCHED)


@dataclass
class Replayed:
    """What became of callbacks: how many there were, and their states afterwards."""

    found: int = 0
    became: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        told = [f"{state}={count}" for state, count in sorted(self.became.items())]
        return " ".join([f"found={self.found}", *told])


def replay(
    callback_ids: Collection[uuid.UUID] = (),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    gateways: Collection[str] = (),
    states: Collection[str] = (),
    dry_run: bool = False,
    progress: Callable[[Replayed], None] | None = None,
) -> Replayed:
    """Work on callbacks now, the oldest first. Harmless: what was said before changes nothing when it is said again.

    Args:
        callback_ids: these, whatever their state.
        since, until: received in this time.
        gateways: of these aliases.
        states: words of `Callback.State`; given up and unmatched, when neither ids nor states are named.
        dry_run: only count.
        progress: is called after each batch.

    Raises:
        Callback.DoesNotExist: there is no callback of one of the ids; nothing was done.
    """
    rows = _chosen(callback_ids, since, until, gateways, states)
    if callback_ids:
        _check_known(callback_ids)
    done = Replayed()
    for batch in _batches(rows):
        done.found += len(batch)
        for pk, state in batch:
            done.became[state if dry_run else str(_work_again(pk, state))] += 1
        if progress:
            progress(done)
    logger.info("replayed dry_run=%s %s", dry_run, done)
    return done


def _chosen(
    callback_ids: Collection[uuid.UUID],
    since: datetime | None,
    until: datetime | None,
    gateways: Collection[str],
    states: Collection[str],
) -> QuerySet[Callback]:
    rows = Callback.objects.all()
    if callback_ids:
        rows = rows.filter(pk__in=callback_ids)
    if states or not callback_ids:
        rows = rows.filter(state__in=states or WAITING)
    if gateways:
        rows = rows.filter(gateway__in=gateways)
    if since:
        rows = rows.filter(received_at__gte=since)
    return rows.filter(received_at__lt=until) if until else rows


def _work_again(pk: uuid.UUID, state: str) -> Callback.State:
    if state == Callback.State.PROCESSED:
        opened = {"attempts": 0, "processed_at": None, "next_attempt_at": timezone.now() + CLAIM_LEASE}
        Callback.objects.filter(pk=pk, state=state).update(state=Callback.State.RECEIVED, **opened)
    return retry_callback(pk)


def _check_known(callback_ids: Collection[uuid.UUID]) -> None:
    known = set(Callback.objects.filter(pk__in=callback_ids).values_list("pk", flat=True))
    unknown = sorted(str(pk) for pk in callback_ids if pk not in known)
    if unknown:
        raise Callback.DoesNotExist(f"There is no callback {unknown[0]}.")


def _batches(rows: QuerySet[Callback]) -> Iterator[list[tuple[uuid.UUID, str]]]:
    """Ids and states, by keyset: each row once, although working on it changes its state."""
    rows = rows.order_by("received_at", "pk")
    batch = list(rows.values_list("pk", "state", "received_at")[:BATCH])
    while batch:
        yield [(pk, state) for pk, state, _ in batch]
        pk, _, received_at = batch[-1]
        later = Q(received_at__gt=received_at) | Q(received_at=received_at, pk__gt=pk)
        batch = list(rows.filter(later, received_at__gte=received_at).values_list("pk", "state", "received_at")[:BATCH])
