"""P8: what it takes to find what is due, however long the history is."""

from typing import Any

from ..books import copied, sizes
from ..frame import Bench, Line, Result, at_most
from ..worker import at_work

__all__ = ["DueBench"]

WORKER = "tests.benchmarks.sides.sweeping:Due"
#: What every shop has to do, of whatever age it is.
WAITING, DUE = 10_000, 1_000
MILLISECONDS = 1.5
GROWTH = 1.25
#: Of so few pages one more is no growth.
FEW = {"buffers": 10, "index_bytes": 16 * 8192}


class DueBench(Bench):
    """The statements are those that the sweep sends, noted while it does."""

    name = "due"
    title = "What is due is found, whatever has been before"

    def run(self, *, quick: bool) -> Result:
        """See `Bench`. Quick: two small histories."""
        counts = sizes(quick=quick)
        share = 10 if quick else 1
        with copied(counts) as known:
            return {"sizes": {count: look(known[count], WAITING // share, DUE // share) for count in counts}}

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        first, last = ends(result)
        many = int(list(result["sizes"])[-1])
        slowest = max(last, key=lambda name: last[name]["milliseconds"])
        worst = {what: grown(first, last, what) for what in ("buffers", "index_bytes")}
        return [
            Line(
                "P8",
                f"ms of the slowest among {many:,} payments",
                f"{last[slowest]['milliseconds']:.2f}",
                f"≤ {MILLISECONDS}",
                last[slowest]["milliseconds"] <= MILLISECONDS,
                f"{slowest}; a time of this machine",
            ),
            at_most("P8", "buffers, smallest history = 1", *worst["buffers"]),
            at_most("P8", "size of the index, smallest history = 1", *worst["index_bytes"]),
        ]

    def table(self, result: Result) -> str:
        """See `Bench`."""
        head = f"| what is due | {' | '.join(f'{int(count):,} payments' for count in result['sizes'])} | index |"
        rows = [self._row(name, result) for name in ends(result)[1]]
        words = "Buffers, milliseconds on the wall, and the size of the index; each finds the same rows at every size."
        return "\n".join([words, "", head, "|---" * (len(result["sizes"]) + 2) + "|", *rows, "", plans(result)])

    def _row(self, name: str, result: Result) -> str:
        cells = [
            f"{seen[name]['buffers']} · {seen[name]['milliseconds']:.2f} ms · {seen[name]['index_bytes'] // 1024} KiB"
            for seen in result["sizes"].values()
        ]
        last = ends(result)[1][name]
        return f"| {name}, {last['rows']:.0f} rows | {' | '.join(cells)} | {', '.join(last['indexes']) or '–'} |"


def look(url: str, waiting: int, due: int) -> Any:
    """What one size shows."""
    with at_work(WORKER, url) as worker:
        worker.ask("prepare", waiting=waiting, due=due)
        return worker.ask("look")


def ends(result: Result) -> tuple[Any, Any]:
    """The smallest size and the largest."""
    seen = list(result["sizes"].values())
    return seen[0], seen[-1]


def grown(first: Any, last: Any, what: str) -> tuple[float, float, str]:
    """By how much the worst of the statements has grown; the bar, and which one that is."""
    found = {name: last[name][what] / max(first[name][what], FEW[what]) for name in last}
    name = max(found, key=found.__getitem__)
    return found[name], GROWTH, name


def plans(result: Result) -> str:
    """Every plan at the largest size."""
    return "\n\n".join(f"{name}:\n\n```text\n{seen['plan']}\n```" for name, seen in ends(result)[1].items())
