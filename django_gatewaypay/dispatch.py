"""After the commit: the live nudge, the host's hooks, the signal. Nothing here can undo a state."""

import logging
import uuid
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from .announcer import announce
from .conf import settings
from .models import Fulfilment, Transaction
from .orders import order_handler
from .schedule import CLAIM_LEASE, backoff_delay
from .signals import transaction_changed
from .types import OPEN_STATES, State

__all__ = ["deliver", "redeliver", "settle"]

logger = logging.getLogger("gatewaypay.fulfil")


class ClaimLost(Exception):
    """Another worker delivered while we did; what we wrote is rolled back."""


def settle(transaction_id: uuid.UUID, previous: State, state: State, owed: int | None) -> None:
    """What follows a committed change. A crash before or inside costs nothing: the sweep does it again."""
    if owed is not None:
        deliver(owed)
    # Second, so that who reads "paid" on the page finds a paid order in the shop.
    announce(transaction_id)
    if transaction_changed.has_listeners(Transaction):
        _send_signal(transaction_id, previous, state)


def redeliver(fulfilment_id: int) -> bool:
    """Deliver what a crash or a bad day of the host has left over, and nudge the pages that heard nothing then."""
    done = deliver(fulfilment_id)
    if done:
        announce(Fulfilment.objects.values_list("transaction_id", flat=True).get(pk=fulfilment_id))
    return done


def _send_signal(transaction_id: uuid.UUID, previous: State, state: State) -> None:
    row = Transaction.objects.get(pk=transaction_id)
    for receiver, error in transaction_changed.send_robust(
        Transaction, transaction=row, previous=previous, state=state
    ):
        if isinstance(error, Exception):
            logger.error("receiver failed transaction=%s receiver=%r", transaction_id, receiver, exc_info=error)


def deliver(fulfilment_id: int) -> bool:
    """Call the host's hook for one outbox row, unless somebody else does; whether it is done now.

    The hook runs in the database transaction that marks the row done, and the mark is the last
    statement: whoever lost the claim meanwhile rolls the hook's writes back. So the hook may be
    called twice, and what it writes counts once.
    """
    owed = _claim(fulfilment_id)
    if owed is None:
        return False
    try:
        with transaction.atomic():
            _call_hook(owed)
            _mark_done(owed)
    except ClaimLost:
        logger.warning("rolled back, delivered elsewhere key=%r attempt=%s", owed.key, owed.attempts)
        return False
    except Exception as error:
        logger.exception("failed key=%r transaction=%s attempt=%s", owed.key, owed.transaction_id, owed.attempts)
        _note_failure(owed, error)
        return False
    logger.info("done key=%r transaction=%s attempt=%s", owed.key, owed.transaction_id, owed.attempts)
    return True


def _claim(fulfilment_id: int) -> Fulfilment | None:
    """Take the row for a while. The attempt's number is the claim: a later claim outdates ours."""
    now = timezone.now()
    owed = Fulfilment.objects.select_related("transaction").filter(pk=fulfilment_id, next_attempt_at__lte=now).first()
    if owed is None or owed.state != Fulfilment.State.OWED:
        return None
    mine = Fulfilment.objects.filter(pk=owed.pk, state=Fulfilment.State.OWED, attempts=owed.attempts)
    if not mine.update(attempts=owed.attempts + 1, next_attempt_at=now + CLAIM_LEASE):
        return None
    owed.attempts += 1
    return owed


def _call_hook(owed: Fulfilment) -> None:
    handler = order_handler()
    if owed.kind == Fulfilment.Kind.FULFIL:
        handler.fulfil(owed.transaction)
    elif _order_is_alive(owed):
        logger.info("release not due key=%r: the order has another payment", owed.key)
    else:
        handler.release(owed.transaction)


def _order_is_alive(owed: Fulfilment) -> bool:
    """Paid, or about to be. Money that goes back unfulfilled keeps nothing for anybody."""
    payments = Transaction.objects.filter(order_id=owed.order_id)
    if payments.filter(state__in=[*OPEN_STATES, State.HELD]).exists() or payments.paid().exists():
        return True
    return Fulfilment.objects.filter(order_id=owed.order_id, kind=Fulfilment.Kind.FULFIL).exists()


def _mark_done(owed: Fulfilment) -> None:
    mine = Fulfilment.objects.filter(pk=owed.pk, state=Fulfilment.State.OWED, attempts=owed.attempts)
    now = timezone.now()
    if not mine.update(state=Fulfilment.State.DONE, done_at=now, next_attempt_at=None, last_error=""):
        raise ClaimLost


def _note_failure(owed: Fulfilment, error: Exception) -> None:
    dead = owed.attempts >= settings.MAX_ATTEMPTS
    delay = backoff_delay(owed.attempts - 1, first=5, ceiling=timedelta(hours=1))
    Fulfilment.objects.filter(pk=owed.pk, state=Fulfilment.State.OWED, attempts=owed.attempts).update(
        state=Fulfilment.State.DEAD if dead else Fulfilment.State.OWED,
        # A row that was given up comes up once more: the sweep flags its transaction for staff.
        next_attempt_at=timezone.now() + (timedelta(0) if dead else delay),
        last_error=f"{type(error).__name__}: {error}"[:255],
    )
