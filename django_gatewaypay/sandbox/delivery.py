"""Sends the callbacks that the pretend gateway owes, from a thread of its own.

A request never sends one: the shop's callback view may be slow, and may be served by this very process.
`settle_due()` and `deliver_due()` are the whole work of the thread; tests call them themselves.
"""

import base64
import logging
import os
import secrets
import threading
from datetime import datetime, timedelta

# gateways.http is the shop's client. This is another company's server, so it brings its own.
import requests
from django.db import connections
from django.db.models import F, Min
from django.utils import timezone

from ..gateways.signing import sign_standard_webhook
from . import decisions
from .access import webhook_secret
from .models import SandboxDelivery, SandboxPayment, SandboxRefund
from .movements import settle_refunds_due

__all__ = ["deliver_due", "settle_due", "threaded", "wake"]

logger = logging.getLogger("gatewaypay.sandbox")

#: Whether `wake()` starts the thread. Tests that send by themselves set it to False.
threaded = True

TIMEOUT = (2, 5)
# Longer than a call can take: after it, a claim whose sender died is free again.
CLAIM = timedelta(seconds=60)
WAITS = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 10, 30, 60, 60, 60))
PAUSE_AFTER_ERROR = 5.0


def settle_due(now: datetime | None = None) -> int:
    """Decide every payment and every refund whose time has come; how many there were."""
    now = now or timezone.now()
    return decisions.settle_due(now) + settle_refunds_due(now)


def deliver_due(now: datetime | None = None) -> int:
    """Send every callback that is due; how many were sent, taken by the shop or not."""
    due = list(SandboxDelivery.objects.due(now or timezone.now()).select_related("payment"))
    return sum(_deliver(row, now or timezone.now()) for row in due)


def _deliver(row: SandboxDelivery, now: datetime) -> bool:
    """Send one callback, unless another sender has it."""
    mine = SandboxDelivery.objects.owed().filter(pk=row.pk, attempts=row.attempts)
    if not mine.update(attempts=F("attempts") + 1, due_at=now + CLAIM):
        return False
    row.attempts += 1
    _record(row, _send(row), now)
    return True


def _send(row: SandboxDelivery) -> int | None:
    """Post a callback, signed now; the status of the answer, None when there was none."""
    body = row.body.encode()
    secret = webhook_secret() if row.flavour == row.Flavour.GOOD else _strange_secret()
    headers = {"Content-Type": "application/json", **sign_standard_webhook(secret, row.event_id, body)}
    try:
        with requests.Session() as session:
            session.trust_env = False
            response = session.post(
                row.payment.callback_url,
                data=body,
                headers=headers,
                timeout=TIMEOUT,
                allow_redirects=False,
                stream=True,
            )
            return response.status_code
    except (requests.RequestException, OSError):
        return None


def _strange_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _record(row: SandboxDelivery, status: int | None, now: datetime) -> None:
    row.response_status = status
    if status is not None and 200 <= status < 300:
        row.delivered_at = now
    elif row.attempts > len(WAITS):
        row.gave_up = True
    else:
        row.due_at = now + WAITS[row.attempts - 1]
    row.save(update_fields=["response_status", "delivered_at", "gave_up", "due_at"])
    logger.info("delivered event=%s attempt=%s answer=%s", row.event_id, row.attempts, status)


class Sender:
    """The one thread of this process: asleep until something is due, or until it is woken."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the thread: a fork takes the memory along and leaves the thread behind."""
        self.lock = threading.Lock()
        self.bell = threading.Event()
        self.thread: threading.Thread | None = None

    def wake(self) -> None:
        self.bell.set()
        with self.lock:
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self.run, name="gatewaypay-sandbox", daemon=True)
                self.thread.start()

    def run(self) -> None:
        while True:
            self.bell.clear()
            pause = self.work()
            self.bell.wait(pause)

    def work(self) -> float | None:
        """Do what is due; the seconds until the next thing is, None when nothing is planned."""
        try:
            settle_due()
            deliver_due()
            return _seconds_until_next()
        # Whatever it was, the thread must outlive it: nobody else would send.
        except Exception:
            logger.exception("sender")
            return PAUSE_AFTER_ERROR
        finally:
            connections.close_all()


def _seconds_until_next() -> float | None:
    planned = (
        SandboxPayment.objects.aggregate(at=Min("settle_at"))["at"],
        SandboxRefund.objects.aggregate(at=Min("settle_at"))["at"],
        SandboxDelivery.objects.owed().aggregate(at=Min("due_at"))["at"],
    )
    times = [at for at in planned if at is not None]
    return max((min(times) - timezone.now()).total_seconds(), 0.05) if times else None


sender = Sender()
os.register_at_fork(after_in_child=sender.reset)


def wake() -> None:
    """Let the thread look for work now; call it after the commit."""
    if threaded:
        sender.wake()
