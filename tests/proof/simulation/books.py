"""A gateway account's own books: the truth about who paid what, whoever was told."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["OPEN", "Books", "Session", "Wanted"]

OPEN = frozenset({"open", "processing"})


@dataclass(frozen=True)
class Wanted:
    """What a session is asked for with; the same key must come with the same.

    Args:
        ends_at: until when it shall be payable; None where the gateway decides that itself.
        manual: it shall only be reserved.
    """

    transaction_id: str
    minor: int
    currency: str
    ends_at: float | None = None
    manual: bool = False


@dataclass
class Session:
    """One payment session. Amounts are minor units.

    Args:
        status: open, processing, authorized, paid, failed, canceled or expired.
        authorized: what was reserved, where it is captured later.
        declined: attempts that came to nothing while it stays open.
        silent: its gateway never calls back about it.
        order: what it was opened for, as far as this world saw.
        kept_back: messages that others shall overtake.
        takings: what was captured of the authorization, one after the other.
        taking: a capture takes its time.
        most_given: what was given back at the worst moment.
    """

    alias: str
    reference: str
    wanted: Wanted
    ends_at: float
    status: str = "open"
    authorized: int = 0
    captured: int = 0
    captured_currency: str = ""
    declined: int = 0
    cancelable: bool = True
    silent: bool = False
    order: str = ""
    kept_back: list[Any] = field(default_factory=list)
    takings: list[int] = field(default_factory=list)
    taking: bool = False
    most_given: int = 0


class Books:
    """The sessions of one account.

    Args:
        now: the gateway's own clock.
        tell: is called with a session and what happened to it.
        reserve: is called with a session whose money is reserved, and not taken.
    """

    def __init__(
        self,
        alias: str,
        chance: random.Random,
        *,
        now: Callable[[], float],
        tell: Callable[[Session, str], None],
        reserve: Callable[[Session], None],
    ) -> None:
        self.alias = alias
        self.chance = chance
        self.now = now
        self.tell = tell
        self.reserve = reserve
        self.sessions: dict[str, Session] = {}
        self.keys: dict[str, Session | str] = {}
        self.asked: list[tuple[str, Wanted]] = []

    def open(self, key: str, wanted: Wanted) -> Session | str:
        """The session of a key, or a definite no in a word."""
        self.asked.append((key, wanted))
        if key not in self.keys:
            self.keys[key] = self._answer(wanted)
        found = self.keys[key]
        if isinstance(found, Session) and found.wanted != wanted:
            return "reused"
        return found

    def _answer(self, wanted: Wanted) -> Session | str:
        drawn = self.chance.random()
        if drawn < 0.02:
            return "declined" if drawn < 0.01 else "rejected"
        reference = f"{self.alias}_{len(self.sessions) + 1}"
        ends_at = wanted.ends_at or self.now() + self.chance.choice((900, 3600, 14400))
        session = Session(self.alias, reference, wanted, ends_at, cancelable=self.chance.random() < 0.9)
        self.sessions[reference] = session
        return session

    # --- What the shopper does on the gateway's page; whether it was still possible.

    def pay(self, reference: str, minor: int, currency: str) -> bool:
        session = self.sessions[reference]
        if not self._is_payable(session):
            return False
        self._take(session, minor, currency)
        return True

    def decline(self, reference: str, *, finally_: bool) -> bool:
        """The bank says no: to this attempt, or for good."""
        session = self.sessions[reference]
        if not self._is_payable(session):
            return False
        session.declined += 1
        session.status = "failed" if finally_ else session.status
        self.tell(session, "failed" if finally_ else "attempt failed")
        return True

    def begin_transfer(self, reference: str) -> bool:
        """A slow method: the bank decides later, however late."""
        session = self.sessions[reference]
        if not self._is_payable(session):
            return False
        session.status = "processing"
        self.tell(session, "processing")
        return True

    def end_transfer(self, reference: str, *, paid: bool) -> None:
        session = self.sessions[reference]
        if paid:
            self._take(session, session.wanted.minor, session.wanted.currency)
        else:
            session.status = "failed"
            self.tell(session, "failed")

    def _take(self, session: Session, minor: int, currency: str) -> None:
        """The money is there: taken, or only reserved, as the shop wants it."""
        session.captured_currency = currency
        if session.wanted.manual:
            session.status, session.authorized = "authorized", minor
            self.reserve(session)
        else:
            session.status, session.captured = "paid", minor
            self.tell(session, "paid")

    def _is_payable(self, session: Session) -> bool:
        return session.status == "open" and self.now() < session.ends_at

    # --- What the merchant and the clock do.

    def cancel(self, session: Session) -> bool:
        """Close it, if it is open and may be closed."""
        if session.status != "open" or not session.cancelable:
            return False
        session.status = "canceled"
        self.tell(session, "canceled")
        return True

    def expire(self, session: Session) -> None:
        if session.status == "open":
            session.status = "expired"
            self.tell(session, "expired")
