"""What a bench is, and what it has to say."""

import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "Bench",
    "Entrant",
    "Line",
    "Result",
    "Rounds",
    "absent",
    "at_least",
    "at_most",
    "counted",
    "ratios",
    "typical",
]

#: What a bench has measured, in JSON values: kept as it is, and read again for every page.
Result = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One figure of a target.

    Args:
        target: which one, "P1".
        what: what was measured.
        figure: what it came to.
        bar: what it has to be, in words; "" when it only informs.
        met: whether it is; None when that was not measured.
        note: what a reader should know beside it.
    """

    target: str
    what: str
    figure: str
    bar: str = ""
    met: bool | None = True
    note: str = ""


class Bench(ABC):
    """One question and its answer. A module in `benches/` that has one is found by its name."""

    name: ClassVar[str]
    """The word on the command line."""
    title: ClassVar[str]
    """What is measured, in a sentence."""

    @abstractmethod
    def run(self, *, quick: bool) -> Result:
        """Measure; Django is not set up, and PostgreSQL and Valkey are there (see `servers`)."""

    @abstractmethod
    def lines(self, result: Result) -> list[Line]:
        """The figures, from what `run` has brought."""

    def table(self, result: Result) -> str:
        """More about it for the page, in Markdown."""
        return ""

    def bars(self, result: Result) -> Mapping[str, float]:
        """What the chart shows; nothing, no chart."""
        return {}


@dataclass(frozen=True)
class Entrant:
    """Who takes part: a class of `side.Side`, run in a process of its own.

    Args:
        side: "module:Class".
        words: who that is, for the table.
        ours: whether it is this package.
        rival: the name of a rival, whose environment it needs.
    """

    side: str
    words: str
    ours: bool = False
    rival: str = ""


class Rounds(Bench):
    """Floor, rivals and us in turn, round after round in one run, each in a warm process of its own."""

    entrants: ClassVar[Mapping[str, Entrant]]
    base: ClassVar[str]
    """The entrant whose CPU time is 1."""
    calls: ClassVar[int] = 60
    rounds: ClassVar[int] = 15

    def run(self, *, quick: bool) -> Result:
        """See `Bench`. Quick: a handful of calls, without the rivals, which have to be fetched."""
        from .rounds import race

        return race(self, calls=5 if quick else self.calls, rounds=2 if quick else self.rounds, rivals=not quick)

    def table(self, result: Result) -> str:
        """See `Bench`."""
        rows = [self._row(name, side, result) for name, side in result["sides"].items()]
        missing = [f"- **Not run**: {name}: {why}" for name, why in result["missing"].items()]
        head = f"| who | CPU, {self.base} = 1 | middle half of the rounds | SQL | SQL of a duplicate | versions |\n"
        return head + "\n".join(["|---|---|---|---|---|---|", *rows, *([""] if missing else []), *missing])

    def bars(self, result: Result) -> Mapping[str, float]:
        """See `Bench`."""
        return {name: typical(result, name, self.base) for name in result["sides"]}

    def _row(self, name: str, side: Mapping[str, Any], result: Result) -> str:
        known = ratios(result, name, self.base)
        low, _, high = statistics.quantiles(known, n=4)
        versions = ", ".join(f"{package} {version}" for package, version in side["versions"].items())
        counted = f"{len(side['fresh'])} | {len(side['again']) if 'again' in side else '–'}"
        words = f"{name}: {self.entrants[name].words}"
        return f"| {words} | {statistics.median(known):.2f} | {low:.2f} to {high:.2f} | {counted} | {versions} |"


def ratios(result: Result, name: str, base: str) -> list[float]:
    """CPU time of one entrant over that of another, round by round; each is first divided by its yardstick."""
    ours, theirs = ([one["cpu"] / one["yardstick"] for one in result["sides"][who]["samples"]] for who in (name, base))
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def typical(result: Result, name: str, base: str) -> float:
    """The median of `ratios`."""
    return statistics.median(ratios(result, name, base))


def at_most(target: str, what: str, figure: float, bar: float, note: str = "") -> Line:
    """A figure that must not be larger than its bar."""
    return Line(target, what, shown(figure), f"≤ {bar:g}", figure <= bar, note)


def at_least(target: str, what: str, figure: float, bar: float, note: str = "") -> Line:
    """A figure that must not be smaller than its bar."""
    return Line(target, what, shown(figure), f"≥ {bar:g}", figure >= bar, note)


def absent(result: Result, target: str, what: str, bar: str, who: str) -> Line:
    """The line of somebody who was not measured, with the reason; what was kept before knows nobody who came later."""
    return Line(target, what, "–", bar, None, result["missing"].get(who, "not measured yet"))


def shown(figure: float) -> str:
    return f"{figure:.2f}" if isinstance(figure, float) else str(figure)


def counted(result: Result, name: str, which: str) -> int:
    """How many statements a call of an entrant asks: "fresh", or "again" for the same call once more."""
    return len(result["sides"][name][which])
