"""What a gateway does after the payment: captures, voids, refunds, and how these end by themselves."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from .books import Session

__all__ = ["GivenBack", "Till"]

Answer = TypeVar("Answer")
#: How a refund ends, and how many of a hundred. A bank may send money back that had arrived.
FATES = {"at once": 40, "later": 40, "fails": 10, "comes back": 10}


@dataclass(eq=False)
class GivenBack:
    """One refund.

    Args:
        refund_id: what the shop calls it.
        status: pending, succeeded or failed.
        sure: it has succeeded, and will not come back.
    """

    reference: str
    refund_id: str
    session: Session
    minor: int
    status: str = "pending"
    sure: bool = False


@dataclass(frozen=True)
class Kept:
    """What was asked for under a key, and what was answered."""

    at: float
    asked: Any
    answer: Any


class Tell(Protocol):
    """Is told of what happened to a session, and to which refund of it."""

    def __call__(self, session: Session, what: str, given: GivenBack | None = None) -> None: ...


class Till:
    """Captures, voids and refunds of one account.

    Args:
        now: the gateway's own clock.
        later: does something in so many seconds.
        tell: is told what has happened.
        remembers: for how many seconds a key is known.
        returns: a refund may come back after it has succeeded.
    """

    def __init__(
        self,
        alias: str,
        chance: random.Random,
        *,
        now: Callable[[], float],
        later: Callable[[float, Callable[[], object]], object],
        tell: Tell,
        remembers: float = 86400,
        returns: bool = True,
    ) -> None:
        self.alias, self.chance, self.now, self.later, self.tell = alias, chance, now, later, tell
        self.remembers, self.returns = remembers, returns
        #: It refuses nothing for being too much: whoever asks has to count.
        self.careless = chance.random() < 0.3
        self.refusals = chance.choice((0, 0.05, 0.3))
        self.refunds: dict[str, GivenBack] = {}
        self.keys: dict[str, Kept] = {}

    def of(self, session: Session) -> list[GivenBack]:
        """The refunds of a payment."""
        return [one for one in self.refunds.values() if one.session is session]

    # --- What the merchant asks for; a text is a definite no.

    def capture(self, key: str, session: Session, minor: int, *, final: bool, slowly: bool = False) -> str:
        """Take of what is reserved; "" for yes."""
        return self._once(key, (session.reference, minor, final), lambda: self._capture(session, minor, final, slowly))

    def refund(self, key: str, session: Session, minor: int, refund_id: str) -> GivenBack | str:
        """Give back; the same key finds the same refund."""
        asked = (session.reference, minor, refund_id)
        return self._once(key, asked, lambda: self._refund(session, minor, refund_id))

    def release(self, session: Session, word: str = "canceled") -> bool:
        """Let go what is reserved still; also when its time is over."""
        if session.status != "authorized" or session.taking:
            return False
        session.status = "paid" if session.captured else word
        self.tell(session, session.status if session.captured else word)
        return True

    def reserve(self, session: Session) -> None:
        """A shopper has paid, and nothing is taken yet. Banks do not wait for ever."""
        self.tell(session, "authorized")
        self.later(self.chance.choice((2400, 7200, 10**6)), lambda: self.release(session, "expired"))

    def _once(self, key: str, asked: Any, work: Callable[[], Answer]) -> Answer | str:
        kept = self.keys.get(key)
        if kept is None or self.now() - kept.at > self.remembers:
            kept = self.keys[key] = Kept(self.now(), asked, work())
        answer: Answer | str = kept.answer
        return answer if kept.asked == asked else "reused"

    def _is_too_much(self, minor: int, left: int) -> bool:
        return minor > left and not self.careless

    def _capture(self, session: Session, minor: int, final: bool, slowly: bool) -> str:
        if session.status != "authorized" or session.taking:
            return "unexpected_state"
        if self._is_too_much(minor, session.authorized - session.captured):
            return "too_much"
        if self.chance.random() < self.refusals:
            return "declined"
        session.taking = True
        if slowly:
            self.later(self.chance.uniform(10, 600), lambda: self._take(session, minor, final))
        else:
            self._take(session, minor, final)
        return ""

    def _take(self, session: Session, minor: int, final: bool) -> None:
        session.taking = False
        session.takings.append(minor)
        session.captured += minor
        if final or session.captured >= session.authorized:
            session.status = "paid"
        self.tell(session, "paid" if session.status == "paid" else "captured")

    def _refund(self, session: Session, minor: int, refund_id: str) -> GivenBack | str:
        if not session.captured:
            return "unexpected_state"
        out = sum(one.minor for one in self.of(session) if one.status != "failed")
        if self._is_too_much(minor, session.captured - out):
            return "too_much"
        if self.chance.random() < self.refusals:
            return "declined"
        reference = f"re_{session.reference}_{len(self.refunds) + 1}"
        given = self.refunds[reference] = GivenBack(reference, refund_id, session, minor)
        session.most_given = max(session.most_given, out + minor)
        self._decide(given)
        return given

    def _decide(self, given: GivenBack) -> None:
        fate = self.chance.choices(list(FATES), weights=list(FATES.values()))[0]
        if fate == "at once":
            given.status, given.sure = "succeeded", True
        self.tell(given.session, "refunded", given)
        back = fate == "comes back" and self.returns
        if fate == "fails" or back:
            self.later(self.chance.uniform(1000, 3500), lambda: self._end(given, "failed"))
        if fate in {"later", "comes back"}:
            self.later(self.chance.uniform(5, 900), lambda: self._end(given, "succeeded", sure=not back))

    def _end(self, given: GivenBack, status: str, *, sure: bool = False) -> None:
        given.status, given.sure = status, sure
        self.tell(given.session, f"refund {status}", given)
