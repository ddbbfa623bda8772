"""What a reconciliation has found, such that a page, a table and a file can show it."""

import csv
import io
import json
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, Self

from .comparing import Kind

__all__ = ["Account", "Difference", "Report", "as_csv", "as_json"]

#: A spreadsheet takes a cell that begins like this for a formula, and runs it.
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
SUMS = ("theirs", "ours", "foreign", "unanswered")


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

    def take(self, later: "Account") -> None:
        """What was compared of it afterwards."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.listed, self.asked, self.trouble = later.listed, later.asked, later.trouble or self.trouble


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

    def take(self, later: "Report") -> None:
        """What was found in another step of the same comparison; a payment at the seam of two is told once."""
        known = {(one.kind, one.transaction_id, one.reference) for one in self.differences}
        for difference in later.differences:
            if (difference.kind, difference.transaction_id, difference.reference) not in known:
                self.add(difference)
        accounts = {account.alias: account for account in self.accounts}
        for account in later.accounts:
            if account.alias in accounts:
                accounts[account.alias].take(account)
            else:
                self.accounts.append(account)

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

    def as_dict(self, most: int = KEPT) -> dict[str, Any]:
        """Everything, for JSON; of the differences the first so many."""
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "applied": self.applied,
            "complete": self.complete,
            "left": self.left,
            "counts": {str(kind): count for kind, count in self.counts.items()},
            "accounts": [{**asdict(account), "directions": account.directions} for account in self.accounts],
            "differences": [asdict(difference) for difference in self.differences[:most]],
        }

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Self:
        """The report that `as_dict` told."""
        named = {field.name for field in fields(Account)}
        return cls(
            since=datetime.fromisoformat(told["since"]),
            until=datetime.fromisoformat(told["until"]),
            applied=told["applied"],
            accounts=[Account(**{name: one[name] for name in named}) for one in told["accounts"]],
            differences=[Difference(**{**one, "kind": Kind(one["kind"])}) for one in told["differences"]],
            counts=Counter({Kind(kind): count for kind, count in told["counts"].items()}),
            left=told["left"],
        )

    @staticmethod
    def columns() -> list[str]:
        """The names of a difference's fields, in order."""
        return [one.name for one in fields(Difference)]


def as_csv(report: Report) -> str:
    """For a spreadsheet, in which no cell is a formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    columns = report.columns()
    writer.writerow(columns)
    writer.writerows([_harmless(str(getattr(one, name))) for name in columns] for one in report.differences)
    return text.getvalue()


def as_json(report: Report) -> str:
    """Everything that the report knows."""
    return json.dumps(report.as_dict(), indent=2) + "\n"


def _harmless(text: str) -> str:
    """What a spreadsheet shows and does not work out."""
    return f"'{text}" if text.startswith(FORMULAS) else text
