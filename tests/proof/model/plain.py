"""What a payment comes to, in plain Python: no Django, no row, no schedule. The package is held to this."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

__all__ = ["CLOSED", "OPEN", "TAKEN", "Expectation", "Fact", "Payment"]

RANKS = {
    "created": 0, "pending": 1, "processing": 2, "expired": 3, "canceled": 3, "failed": 3, "held": 4, "success": 5,
}  # fmt: skip
OPEN = {"created", "pending", "processing"}
CLOSED = {"expired", "canceled", "failed"}
TAKEN = {"held", "success"}


@dataclass(frozen=True)
class Fact:
    """What somebody said: a word, and money in minor units."""

    word: str
    captured: int = 0
    currency: str = "EUR"
    refunded: int = 0
    foreign: bool = False  # about another session
    local: bool = False  # our own conclusion, not the gateway's word


@dataclass(frozen=True)
class Payment:
    """Everything that is observed of a transaction. It only climbs, and its totals only rise."""

    state: str = "created"
    captured: int = 0
    refunded: int = 0
    late: bool = False
    amount: int = 1999

    def told(self, fact: Fact) -> "Payment":
        """The payment after a fact, whatever came before."""
        if fact.local and self.state not in {"created", "pending"}:
            return self
        if fact.foreign:
            return self.move("held") if fact.word == "success" else self
        right = fact.currency == "EUR"
        known = replace(
            self,
            captured=max(self.captured, fact.captured * right),
            refunded=max(self.refunded, fact.refunded * right),
        )
        if fact.word == "success" and not (right and fact.captured == self.amount):
            return known.move("held")
        return known.move("held" if fact.word in CLOSED and known.captured else fact.word)

    def move(self, state: str) -> "Payment":
        """Up the ladder, or not at all."""
        if RANKS[state] <= RANKS[self.state]:
            return self
        return replace(self, state=state, late=self.late or (self.state in CLOSED and state in TAKEN))


class Expectation:
    """What a payment may be now: one thing after what surely happened, several after a crash."""

    def __init__(self) -> None:
        self.payments = {Payment()}

    @property
    def payment(self) -> Payment:
        """The only one that is left, once the books were looked at."""
        [payment] = self.payments
        return payment

    def must(self, facts: Iterable[Fact]) -> None:
        """All of the facts were told, in this order."""
        for fact in facts:
            self.payments = {payment.told(fact) for payment in self.payments}

    def may(self, facts: Iterable[Fact]) -> None:
        """Any of the facts were told, in any order, or none."""
        told = list(facts)
        new = set(self.payments)
        while new:
            new = {payment.told(fact) for payment in new for fact in told} - self.payments
            self.payments |= new

    def saw(self, payment: Payment) -> bool:
        """Whether this is one of them; from now on it is the only one."""
        expected = payment in self.payments
        self.payments = {payment}
        return expected
