"""P10: how long ten thousand polls take."""

import statistics
from collections.abc import Mapping
from typing import Any, ClassVar

from ..frame import Bench, Line, Result, at_most
from ..servers import databases
from ..sides.polling import PAUSE
from ..worker import at_work

__all__ = ["PollsBench"]

WORKER = "tests.benchmarks.sides.polling:Polls"
THREADS = 32


class PollsBench(Bench):
    """The gateway is in a process of its own and takes its time for each answer. Time on the wall is compared."""

    name = "polls"
    title = f"Payments are asked about at a gateway that takes {PAUSE * 1000:.0f} ms"
    words: ClassVar[Mapping[str, str]] = {
        "threads": f"{THREADS} threads on one `requests.Session`, nothing is written down",
        "ours": "ours: `gatewaypay.poll_pending` in one worker process",
    }

    def run(self, *, quick: bool) -> Result:
        """See `Bench`. Quick: a hundred."""
        polls = 100 if quick else 10_000
        with databases(["polls"]) as known, at_work(WORKER, known["polls"]) as worker:
            worker.ask("fill", count=polls)
            worker.ask("floor", threads=THREADS)  # the connections, the code
            floors = [worker.ask("floor", threads=THREADS)]
            ours = worker.ask("ours")
            floors.append(worker.ask("floor", threads=THREADS))
        return {"polls": polls, "threads": floors, "ours": [ours]}

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        what = f"seconds for {result['polls']:,} polls, {THREADS} threads = 1"
        each = seconds(result, "ours") / result["polls"] * 1000
        return [at_most("P10", what, slower(result), 1.3, f"{each:.1f} ms each")]

    def table(self, result: Result) -> str:
        """See `Bench`."""
        rows = [self._row(name, result) for name in self.words]
        words = "Seconds on the wall."
        return "\n".join([words, "", "| who | seconds | CPU of a poll, ms |", "|---|---|---|", *rows])

    def _row(self, name: str, result: Result) -> str:
        cpu = statistics.median(one["cpu"] for one in result[name]) / result["polls"] * 1000
        return f"| {name}: {self.words[name]} | {seconds(result, name):.1f} | {cpu:.2f} |"

    def bars(self, result: Result) -> Mapping[str, float]:
        """See `Bench`."""
        return {"threads": 1.0, "ours": slower(result)}


def seconds(result: Result, name: str) -> float:
    """The median of what somebody took."""
    found: list[Mapping[str, Any]] = result[name]
    return statistics.median(one["seconds"] for one in found)


def slower(result: Result) -> float:
    """Ours over the floor."""
    return seconds(result, "ours") / seconds(result, "threads")
