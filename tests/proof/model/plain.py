"""What a payment comes to, in plain Python: no Django, no row, no schedule. The package is held to this."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

__all__ = ["CLOSED", "OPEN", "TAKEN", "Expectation", "Fact", "Intent", "Payment", "refuse_capture", "refuse_refund"]

RANKS = {
    "created": 0, "pending": 1, "processing": 2, "authorized": 3, "expired": 4, "canceled": 4, "failed": 4,
    "held": 5, "success": 6,
}  # fmt: skip
OPEN = {"created", "pending", "processing", "authorized"}
CLOSED = {"expired", "canceled", "failed"}
TAKEN = {"held", "success"}
RUNGS = ("requested", "unknown", "submitted", "succeeded", "failed")


@dataclass(frozen=True)
class Fact:
    """What somebody said: a word, and money in minor units."""

    word: str = ""
    captured: int = 0
    currency: str = "EUR"
    refunded: int = 0
    authorized: int = 0
    foreign: bool = False  # about another session
    local: bool = False  # our own conclusion, not the gateway's word
    overdue: bool = False  # said after the payment's time
    agreed: int = 0  # staff take this for the whole
    revoked: int = 0  # and this no more


@dataclass(frozen=True)
class Payment:
    """Everything that is observed of a transaction. It only climbs, and its totals only rise."""

    state: str = "created"
    captured: int = 0
    refunded: int = 0
    late: bool = False
    authorized: int = 0
    agreed: int = 0
    amount: int = 1999

    def told(self, fact: Fact) -> "Payment":
        """The payment after a fact, whatever came before."""
        if fact.local and self.state not in {"created", "pending"}:
            return self
        if fact.foreign:
            return self.move("success" if self.is_whole else "held") if fact.word == "success" else self
        right = fact.currency == "EUR"
        known, word = self.agree(fact).count(fact, right), fact.word or self.state
        if fact.overdue and word == "canceled" and self.state != "authorized":
            word = "expired"
        heard, uncounted = max(word, self.state, key=RANKS.__getitem__), fact.captured > 0 and not right
        if known.is_whole and (uncounted or heard in CLOSED | TAKEN):
            return known.move("success")
        if word == "success":
            return known.move(word if right and fact.captured == (known.agreed or self.amount) else "held")
        return known.move("held" if uncounted or (known.captured and heard in CLOSED) else word)

    @property
    def is_whole(self) -> bool:
        """All that staff take for the whole is there."""
        return 0 < self.captured == self.agreed

    def agree(self, fact: Fact) -> "Payment":
        agreed = fact.agreed or self.agreed
        agreed = 0 if agreed == fact.revoked else agreed
        return self if self.state == "success" and agreed != self.captured else replace(self, agreed=agreed)

    def count(self, fact: Fact, right: bool) -> "Payment":
        totals = {name: getattr(fact, name) * right for name in ("captured", "refunded", "authorized")}
        return replace(self, **{name: max(getattr(self, name), total) for name, total in totals.items()})

    def move(self, state: str) -> "Payment":
        """Up the ladder, or not at all."""
        if RANKS[state] <= RANKS[self.state]:
            return self
        return replace(self, state=state, late=self.late or (self.state in CLOSED and state in TAKEN))


@dataclass(frozen=True)
class Intent:
    """Money that somebody wants moved, once: a refund, or a capture. It climbs until the gateway's word is its end."""

    amount: int
    key: str = ""
    state: str = "requested"
    there: bool = False  # the gateway has named it
    foreign: bool = False  # made at the gateway, not by us
    final: bool = False
    before: int = 0  # what was captured before it
    waits: bool = False  # for a second person
    alone: bool = True  # no second person has agreed

    @property
    def is_open(self) -> bool:
        return self.state in {"requested", "unknown"}

    def may_become(self, state: str, said: set[str], calm: bool) -> bool:
        """Whether its row may be so, where `said` is all that the gateway has ever had of it."""
        up = RUNGS.index(state) > RUNGS.index(self.state)
        why = state in said or (state == "unknown" and not calm) or (state == "failed" and not said)
        return state == self.state or (up and why)


def total(intents: Iterable[Intent]) -> int:
    return sum(one.amount for one in intents if one.state != "failed")


def refuse_refund(payment: Payment, refunds: list[Intent], amount: int | None) -> str | int:
    """Why not; or how much. What is on its way is gone already, and so is what others gave back."""
    ours, undone = [one for one in refunds if not one.foreign], [one for one in refunds if one.state == "failed"]
    back = sum(one.amount for one in undone if one.there)
    named = total(one for one in refunds if one.foreign)
    left = payment.captured - total(ours) - max(named, payment.refunded - back - total(ours), 0)
    if payment.captured <= 0:
        return "InvalidTransition"
    if any(one.is_open for one in ours):
        return "MovementInProgress"
    amount = left if amount is None else amount
    return amount if 0 < amount <= left else "AmountNotLeft"


def refuse_capture(payment: Payment, captures: list[Intent], amount: int | None) -> str | int:
    """Why not; or how much. One at a time, never more than was reserved or asked for, and nothing after the last."""
    alive = [one for one in captures if one.state != "failed"]
    left = min(payment.authorized, payment.amount) - max(total(captures), payment.captured)
    if payment.state != "authorized":
        return "InvalidTransition"
    if any(one.state != "succeeded" for one in alive):
        return "MovementInProgress"
    if any(one.final for one in alive):
        return "InvalidTransition"
    amount = left if amount is None else amount
    return amount if 0 < amount <= left else "AmountNotLeft"


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
