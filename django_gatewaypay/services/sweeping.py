"""What the clock does: ask about pending payments, expire old ones, re-drive what was left undone.

Every piece of work is claimed by a lease in the database, so that two clocks and ten workers do it once.
"""

import logging
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import connections, models, router, transaction
from django.utils import timezone

from .. import dispatch, schedule
from ..exceptions import GatewayError
from ..lifecycle import apply_update
from ..models import Callback, Capture, Fulfilment, Refund, Transaction, find, update_where
from ..types import PaymentUpdate, Source, State
from .callbacks import process_callback
from .movements import drive_movement
from .refreshing import asked_nothing, expire, refresh_row, rest_delay
from .sessions import open_session

__all__ = ["BATCH", "Done", "expire_overdue", "poll_due", "poll_one", "retry_fulfilment", "sweep", "tick"]

logger = logging.getLogger("gatewaypay.poll")

BATCH = 200
#: How many rows are worked on at once where gateways are asked: each takes a database connection meanwhile.
TOGETHER = 8
#: A message that comes so much too soon waits: two clocks are never quite the same.
EARLY = timedelta(seconds=1)
Key = TypeVar("Key", uuid.UUID, int)


@dataclass(frozen=True)
class Done:
    """How much one tick did."""

    polled: int
    expired: int
    callbacks: int
    fulfilments: int
    movements: int

    @property
    def anything(self) -> bool:
        return any(asdict(self).values())

    def __str__(self) -> str:
        return " ".join(f"{name}={count}" for name, count in asdict(self).items())


def tick(limit: int = BATCH) -> Done:
    """Everything that is due now, once."""
    expired = expire_overdue(limit)
    polled = poll_due(limit)
    return Done(polled, expired, *sweep(limit))


def poll_due(limit: int = BATCH) -> int:
    """Ask the gateways about every transaction whose time has come; how many."""
    return _ask_each(_poll, _claim_transactions(Transaction.objects.due(timezone.now()), limit))


def poll_one(transaction_id: uuid.UUID) -> float | None:
    """Ask about one transaction if it is due; seconds until the caller should come again.

    None when it is never due again, and when the next question is somebody else's: of two messages about one row, one
    goes on and the other ends, however often the broker brings them.
    """
    due = Transaction.objects.due(timezone.now()).filter(pk=transaction_id)
    asked = _each(_poll, _claim_transactions(due, 1))
    now, row = timezone.now(), Transaction.objects.filter(pk=transaction_id)
    if not asked:
        row = row.unclaimed(now).filter(next_poll_at__lte=now + EARLY)
    again = row.values_list("next_poll_at", flat=True).first()
    return max((again - now).total_seconds(), 0.5) if again else None


def expire_overdue(limit: int = BATCH) -> int:
    """Close what is past its time, after asking the gateway once more; how many."""
    return _ask_each(expire, _claim_transactions(Transaction.objects.overdue(timezone.now()), limit))


def sweep(limit: int = BATCH) -> tuple[int, int, int]:
    """Re-drive callbacks that were not processed, fulfilments that were not delivered, and captures and refunds.

    How many of each.
    """
    now = timezone.now()
    inbox = Callback.objects.filter(next_attempt_at__lte=now).order_by("next_attempt_at")
    outbox = Fulfilment.objects.filter(next_attempt_at__lte=now).order_by("next_attempt_at")
    callbacks = _each(process_callback, _claim(inbox, limit, next_attempt_at=now + schedule.CLAIM_LEASE))
    fulfilments = _each(_deliver, list(outbox.values_list("pk", flat=True)[:limit]))
    return (
        callbacks,
        fulfilments,
        sum(_ask_each(drive, _claim_movements(kind, limit)) for kind, drive in DRIVERS.items()),
    )


def _claim_movements(kind: type[Refund | Capture], limit: int) -> list[uuid.UUID]:
    now = timezone.now()
    return _claim(kind.objects.due(now), limit, next_attempt_at=now + schedule.CLAIM_LEASE)


def _refund(refund_id: uuid.UUID) -> None:
    drive_movement(Refund, refund_id)


def _capture(capture_id: uuid.UUID) -> None:
    drive_movement(Capture, capture_id)


DRIVERS: Mapping[type[Refund | Capture], Callable[[uuid.UUID], None]] = {Refund: _refund, Capture: _capture}


def _claim_transactions(due: models.QuerySet[Transaction], limit: int) -> list[uuid.UUID]:
    return _claim(due, limit, claimed_until=timezone.now() + schedule.CLAIM_LEASE)


def _claim(due: models.QuerySet, limit: int, **lease: datetime) -> list[uuid.UUID]:  # type: ignore[type-arg]
    """Take up to `limit` rows that nobody else has: skipped where locked, leased until processed."""
    with transaction.atomic():
        pks = list(due.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
        if pks:
            due.model._default_manager.filter(pk__in=pks).update(**lease)
    return pks


def _each(work: Callable[[Key], object], keys: Iterable[Key]) -> int:
    """Do the work for every key; one that fails does not keep the others waiting."""
    count = 0
    for key in keys:
        count += 1
        try:
            work(key)
        # The row keeps its lease and comes up again; staff read the reason in the log.
        except Exception:
            logger.exception("failed %s=%s", work.__name__.strip("_"), key)
    return count


def _ask_each(work: Callable[[uuid.UUID], object], keys: Sequence[uuid.UUID]) -> int:
    """`_each`, several at once: most of it is waiting for gateways. How many."""
    connection = connections[router.db_for_write(Transaction)]
    threads = min(TOGETHER, len(keys))
    # SQLite has one writer, and what a transaction has not committed no other connection sees.
    if threads < 2 or connection.in_atomic_block or not connection.features.has_select_for_update:
        return _each(work, keys)
    left = deque(keys)
    with ThreadPoolExecutor(threads, "gatewaypay-sweep") as pool:
        try:
            for done in [pool.submit(_work_off, work, left) for _ in range(threads)]:
                done.result()
        finally:
            left.clear()  # who is told to stop begins nothing more
    return len(keys)


def _work_off(work: Callable[[uuid.UUID], object], left: deque[uuid.UUID]) -> None:
    try:
        while left:
            try:
                key = left.popleft()
            except IndexError:  # another thread was quicker
                return
            _each(work, [key])
    finally:
        connections.close_all()


def _poll(transaction_id: uuid.UUID) -> None:
    row, trouble = find(Transaction, id=transaction_id), None
    if row is None:
        return  # deleted in the database since it was claimed
    try:
        row = open_session(row) if row.state == State.CREATED else refresh_row(row)
    except GatewayError as error:
        trouble = error
        logger.warning("no answer transaction=%s error=%s code=%r", row.pk, type(error).__name__, error.code)
        row.refresh_from_db()
    _put_off(row, trouble)


def _put_off(row: Transaction, trouble: GatewayError | None) -> None:
    """Free the row, and ask again later if there is still something to ask; not before the gateway wants it."""
    if row.state == State.CREATED:
        return  # open_session has put it off already
    unasked = trouble is not None and asked_nothing(trouble)
    attempts = row.poll_attempts + (not unasked)
    due = schedule.next_poll_at(
        State(row.state),
        timezone.now(),
        attempts=attempts,
        expires_at=row.expires_at,
        waiting=row.waiting_since is not None,
    )
    if due and trouble:
        rested = timezone.now() + rest_delay(trouble)
        # Nobody knows more than before: asked again soon, whatever the pace was.
        due = rested if unasked else max(min(due, timezone.now() + schedule.unanswered_delay()), rested)
    _free(row, attempts, due)


def _free(row: Transaction, attempts: int, due: datetime | None) -> None:
    free = {"poll_attempts": attempts, "next_poll_at": due, "claimed_until": None}
    update_where(Transaction, {"id": row.pk, "version": row.version}, free)


def _deliver(fulfilment_id: int) -> None:
    dispatch.redeliver(fulfilment_id)
    dead = Fulfilment.objects.filter(pk=fulfilment_id, state=Fulfilment.State.DEAD).first()
    if dead and dead.next_attempt_at:
        logger.error("fulfilment given up key=%r", dead.key)
        apply_update(dead.transaction_id, PaymentUpdate(), source=Source.SYSTEM, flags=("hook_dead",))
        # Last: whoever dies before this does it again.
        Fulfilment.objects.filter(pk=dead.pk, state=Fulfilment.State.DEAD).update(next_attempt_at=None)


def retry_fulfilment(fulfilment_id: int) -> bool:
    """Deliver a fulfilment now, also one that was given up; whether it is done."""
    open_again = Fulfilment.objects.filter(pk=fulfilment_id).exclude(state=Fulfilment.State.DONE)
    open_again.update(state=Fulfilment.State.OWED, next_attempt_at=timezone.now())
    return dispatch.redeliver(fulfilment_id)
