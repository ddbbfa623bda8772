"""When a transaction is asked about next. Pure: states and times in, a time out."""

import random
from datetime import datetime, timedelta

from .conf import settings
from .types import State

__all__ = [
    "CLAIM_LEASE",
    "ask_movement_at",
    "backoff_delay",
    "first_poll_at",
    "knows_key",
    "next_poll_at",
    "unanswered_delay",
]

#: How long a worker owns what it has claimed; longer than any gateway call may take.
CLAIM_LEASE = timedelta(seconds=60)
#: A shopper who waits is asked for after 2, 5, 10, 20, 40 s and so on.
WAITING_DELAYS = (2, 5, 10, 20, 40)
POLL_CEILING = timedelta(minutes=30)
WATCHED_CLOSED = frozenset({State.EXPIRED, State.CANCELED})


def knows_key(since: datetime, now: datetime, ttl: timedelta) -> bool:
    """Whether a gateway surely knows an idempotency key that it first got at `since`.

    A quarter of the key's life is not used: a clock, theirs or ours, may be set right meanwhile.
    """
    return now - since < ttl * 3 / 4


def backoff_delay(attempts: int, *, first: float = 60, ceiling: timedelta = POLL_CEILING) -> timedelta:
    """Doubling from `first` seconds to the ceiling, with up to 10 % jitter."""
    seconds = min(first * 2 ** min(attempts, 20), ceiling.total_seconds())
    return timedelta(seconds=seconds * random.uniform(1.0, 1.1))  # noqa: S311 - spreads load, guards nothing


def unanswered_delay() -> timedelta:
    """How soon to ask again after a question without an answer, however long the pace between answers is."""
    return backoff_delay(0, first=120)


def ask_movement_at(now: datetime, attempts: int = 0) -> datetime:
    """When to ask what became of a refund or a capture that the gateway has taken: banks need days."""
    return now + backoff_delay(attempts, first=300, ceiling=timedelta(hours=12))


def first_poll_at(now: datetime) -> datetime:
    """When polling starts for a payment that nobody waits for."""
    return now + settings.POLL_AFTER


def next_poll_at(
    state: State, now: datetime, *, attempts: int, expires_at: datetime, waiting: bool = False
) -> datetime | None:
    """When to ask the gateway again after `attempts` answers; None when there is nothing to ask.

    Args:
        waiting: the shopper has come back and looks at a page that says "confirming".
    """
    if state in WATCHED_CLOSED:
        due = now + backoff_delay(attempts, first=300, ceiling=timedelta(hours=6))
        return due if due < expires_at + settings.WATCH_AFTER_EXPIRY else None
    if state in {State.SUCCESS, State.FAILED, State.HELD}:
        return None
    if waiting and attempts < len(WAITING_DELAYS):
        return now + timedelta(seconds=WAITING_DELAYS[attempts])
    if state is State.AUTHORIZED:
        # It lives for days, and the host decides about it; only its end is news.
        return now + backoff_delay(attempts, first=300, ceiling=timedelta(hours=6))
    return now + backoff_delay(attempts - len(WAITING_DELAYS) if waiting else attempts)
