"""Celery's part: a clock and a worker. Whatever is lost here, the database knows is still to be done."""

import logging
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from celery import Task, shared_task
from celery.schedules import crontab
from django.utils import timezone
from kombu.exceptions import OperationalError
from kombu.pools import producers

from . import services

__all__ = [
    "ask_again_soon",
    "beat_schedule",
    "enqueue",
    "expire_overdue",
    "poll_pending",
    "process_callback",
    "reconcile",
    "send_link",
    "send_notices",
    "sweep",
]

logger = logging.getLogger("gatewaypay.celery")

FIRST_QUESTION_SECONDS = 2
BEAT_SECONDS = 60.0
#: What each night's comparison with the gateways looks at: the last hour is still the clock's business.
RECONCILED_FROM, RECONCILED_TO = timedelta(days=3), timedelta(hours=1)
#: For who must not wait: `retry=False` alone leaves kombu to knock at a dead broker's door for six seconds.
IMPATIENT = {"max_retries": 0, "socket_connect_timeout": 2, "socket_timeout": 5}


def beat_schedule() -> dict[str, dict[str, Any]]:
    """The entries for the host's `beat_schedule`."""
    return {
        "gatewaypay.poll_pending": {"task": "gatewaypay.poll_pending", "schedule": BEAT_SECONDS},
        "gatewaypay.expire_overdue": {"task": "gatewaypay.expire_overdue", "schedule": BEAT_SECONDS},
        "gatewaypay.sweep": {"task": "gatewaypay.sweep", "schedule": 30.0},
        "gatewaypay.send_notices": {"task": "gatewaypay.send_notices", "schedule": BEAT_SECONDS},
        "gatewaypay.reconcile": {"task": "gatewaypay.reconcile", "schedule": crontab(hour="3", minute="17")},
    }


@shared_task(name="gatewaypay.process_callback", ignore_result=True)
def process_callback(callback_id: str) -> None:
    """Work on one stored callback."""
    services.process_callback(uuid.UUID(callback_id))


@shared_task(name="gatewaypay.poll_pending", ignore_result=True)
def poll_pending(transaction_id: str | None = None) -> None:
    """Ask about every transaction that is due; or about one that a shopper waits for, until it is decided."""
    if transaction_id is None:
        _batch_after_batch(services.poll_due)
        return
    again = services.poll_one(uuid.UUID(transaction_id))
    # From a minute on the ordinary beat is soon enough. Eager mode knows no countdown and would never end.
    if again is not None and again < 60 and not poll_pending.request.is_eager:
        enqueue(poll_pending, transaction_id, countdown=again)


@shared_task(name="gatewaypay.expire_overdue", ignore_result=True)
def expire_overdue() -> None:
    """Close what is past its time."""
    _batch_after_batch(services.expire_overdue)


@shared_task(name="gatewaypay.sweep", ignore_result=True)
def sweep() -> None:
    """Re-drive callbacks and fulfilments."""
    services.sweep()


@shared_task(name="gatewaypay.reconcile", ignore_result=True)
def reconcile() -> None:
    """Compare the last days with the gateways; what differs is flagged for staff, and mended by nobody."""
    now = timezone.now()
    report = services.reconcile(now - RECONCILED_FROM, now - RECONCILED_TO, flag=True)
    services.keep_report(report)
    services.send_report(report)


@shared_task(name="gatewaypay.send_notices", ignore_result=True)
def send_notices() -> None:
    """Mail staff what waits for a person, if that is due."""
    if services.notices_are_due():
        services.send_notices()


@shared_task(name="gatewaypay.send_link", ignore_result=True)
def send_link(order_id: str, digest: str, path: str, language: str) -> None:
    """Mail the link to the payments of an order, if that is due to whoever asked."""
    services.send_link(order_id, digest, path, language)


def _batch_after_batch(work: Callable[[], int]) -> None:
    """After an outage there is more than one batch; the next beat goes on where this one ends."""
    end = time.monotonic() + BEAT_SECONDS
    while work() >= services.BATCH and time.monotonic() < end:
        pass


def ask_again_soon(transaction_id: str) -> None:
    """A shopper waits for this transaction."""
    enqueue(poll_pending, transaction_id, countdown=FIRST_QUESTION_SECONDS)


def enqueue(task: "Task[..., Any]", *args: str, countdown: float = 0) -> bool:
    """Hand work to Celery; False, and a line in the log, when the broker is not there."""
    broker = task.app.connection_for_write(transport_options=IMPATIENT | task.app.conf.broker_transport_options)
    try:
        with producers[broker].acquire(block=True) as producer:
            task.apply_async(args=args, countdown=countdown, retry=False, producer=producer)
    except (OperationalError, OSError) as error:
        logger.warning("broker unavailable task=%s error=%s", task.name, type(error).__name__)
        return False
    return True
