"""P11: how fast payments past their time are closed, with a line in the ledger for each."""

import statistics
from collections.abc import Mapping
from typing import Any, ClassVar

from ..frame import Bench, Line, Result
from ..rounds import Runner
from ..servers import databases
from ..worker import at_work

__all__ = ["ExpiryBench"]

WORKER = "tests.benchmarks.sides.expiring:Expiry"
CHUNK = 1_000
RATIO = 0.7
OTHERS = ("asking", "chunks", "rows")


class ExpiryBench(Bench):
    """Each way closes rows of the same tables. Those that go row by row close some of them, which is enough."""

    name = "expiry"
    title = "Payments past their time are closed, with their history"
    words: ClassVar[Mapping[str, str]] = {
        "statement": "one statement for all: state and ledger",
        "chunks": f"the same for {CHUNK:,} at a time",
        "rows": "the same for one at a time",
        "ours": "ours, of payments that no gateway knows: through the door, with what the host is owed, and its hook",
        "asking": "ours, of payments with a session: the gateway, which answers at once, is asked, and closes it",
    }

    def run(self, *, quick: bool) -> Result:
        """See `Bench`. Quick: a few rows, once."""
        rows, some, rounds = (2_000, 200, 1) if quick else (100_000, 1_000, 3)
        with databases(["expiry"]) as known, at_work(WORKER, known["expiry"]) as worker:
            return {"rows": rows, "some": some, "rounds": [one_round(worker, rows, some) for _ in range(rounds)]}

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        return [
            self._line(result, "ours", f"≥ {RATIO}", ratio(result, "ours") >= RATIO),
            *(self._line(result, name) for name in OTHERS),
        ]

    def _line(self, result: Result, name: str, bar: str = "", met: bool = True) -> Line:
        what = f"rows per second, {name}, one statement for {result['rows']:,} = 1"
        return Line("P11", what, f"{ratio(result, name):.3f}", bar, met, self.words[name])

    def table(self, result: Result) -> str:
        """See `Bench`."""
        rows = [
            f"| {name}: {words} | {pace(result, name):,.0f} | {ratio(result, name):.3f} |"
            for name, words in self.words.items()
        ]
        words = "Time on the wall, commits and all."
        return "\n".join([words, "", "| who | rows per second | one statement = 1 |", "|---|---|---|", *rows])


def one_round(worker: Runner, rows: int, some: int) -> dict[str, Any]:
    """Rows per second of each way, with the rows that it needs."""
    told = {}
    for name, more in (("statement", {}), ("chunks", {"size": CHUNK}), ("rows", {"count": some})):
        worker.ask("fill", count=rows, opened=False)
        told[name] = worker.ask(name, **more)
    told["ours"] = worker.ask("ours", count=some)
    worker.ask("fill", count=some, opened=True)
    told["asking"] = worker.ask("asking", count=some)
    return told


def pace(result: Result, name: str) -> float:
    """The median of the rounds."""
    return statistics.median(one[name] for one in result["rounds"])


def ratio(result: Result, name: str) -> float:
    """The same over the statement's, round by round."""
    return statistics.median(one[name] / one["statement"] for one in result["rounds"])
