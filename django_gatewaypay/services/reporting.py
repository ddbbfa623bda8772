"""What a reconciliation has found, such that a page, a table and a file can show it."""

from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar

from .comparing import Kind

__all__ = ["Account", "Difference", "Report"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One payment on which the books do not agree.

    Args:
        reference: the gateway's id of the session.
        ours, theirs: what either side says; "" where it has nothing.
        done: what was done about it; "" when nothing was.
        mended: it does not differ any more.
    """

    kind: Kind
    gateway: str
    transaction_id: str
    order_id: str
    reference: str
    ours: str
    theirs: str
    done: str = ""
    mended: bool = False

    @property
    def matters(self) -> bool:
        """Somebody has to look at it."""
        return not self.mended and self.kind is not Kind.MISSING_UNPAID


@dataclass
class Account:
    """How far one gateway account was compared.

    Args:
        listed: it was read what the gateway has.
        asked: the gateway was asked about what we have.
        theirs, ours: payments of either side that were compared.
        foreign: payments of theirs that name none of ours.
        unanswered: payments about which the gateway gave no answer.
        trouble: why it was not compared to the end; "" when it was.
    """

    alias: str
    listed: bool = False
    asked: bool = False
    theirs: int = 0
    ours: int = 0
    foreign: int = 0
    unanswered: int = 0
    trouble: str = ""

    @property
    def directions(self) -> str:
        """Which way was compared: "both", "ours", "theirs" or "none"."""
        if self.listed and self.asked:
            return "both"
        return "ours" if self.asked else "theirs" if self.listed else "none"

    @property
    def complete(self) -> bool:
        """Nothing was left out."""
        return not self.trouble and not self.unanswered


@dataclass
class Report:
    """What was compared, and what differs.

    Args:
        applied: what could be mended was.
        differences: the first of them, up to `KEPT`.
        counts: all of them, by kind.
        left: how many of all somebody has to look at.
    """

    KEPT: ClassVar[int] = 100_000

    since: datetime
    until: datetime
    applied: bool = False
    accounts: list[Account] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    counts: Counter[Kind] = field(default_factory=Counter)
    left: int = 0

    def add(self, difference: Difference) -> None:
        """One more."""
        self.counts[difference.kind] += 1
        self.left += difference.matters
        if len(self.differences) < self.KEPT:
            self.differences.append(difference)

    @property
    def complete(self) -> bool:
        """Every account was compared to the end."""
        return all(account.complete for account in self.accounts)

    @property
    def total(self) -> int:
        """How many differences there are."""
        return self.counts.total()

    @property
    def summary(self) -> str:
        """The figures in one line."""
        found = " ".join(f"{kind}={self.counts[kind]}" for kind in Kind if self.counts[kind])
        compared = sum(account.ours for account in self.accounts)
        unanswered = sum(account.unanswered for account in self.accounts)
        return " ".join(filter(None, [f"compared={compared}", found, f"left={self.left}", f"unanswered={unanswered}"]))

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "applied": self.applied,
            "complete": self.complete,
            "left": self.left,
            "counts": {str(kind): count for kind, count in self.counts.items()},
            "accounts": [{**asdict(account), "directions": account.directions} for account in self.accounts],
            "differences": [asdict(difference) for difference in self.differences],
        }

    @staticmethod
    def columns() -> list[str]:
        """The names of a difference's fields, in order."""
        return [one.name for one in fields(Difference)]
