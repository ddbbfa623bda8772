"""P14: what becomes dearer with the number of payments in the books."""

import math
import statistics
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, ClassVar

from ..books import copied, sizes
from ..frame import Bench, Line, Result, at_most, typical
from ..rounds import started

__all__ = ["GrowthBench"]

HERE = "tests.benchmarks.sides.growing"
ASIDE = (sys.executable, "-m", "tests.benchmarks.side")
#: Pages of an index that is worth a row.
LARGE = 10
PAPER = """
On paper, ten times as many: what a statement finds by a B-tree costs the levels of the tree and the rows that it
wants. A tree grows by a level when its rows are so many times more as a page has entries, which are counted here at
{rows:,} payments and taken for the inner pages as well. A level is one page more for each look, and the upper ones are
in memory.

| index | rows | pages | entries in a page | levels | levels at ten times the rows |
|---|---|---|---|---|---|
{indexes}
"""


class GrowthBench(Bench):
    """The same calls at books of several sizes, in turn, each in a warm process of its own."""

    name = "growth"
    title = "The same calls, with more and more payments in the books"
    paths: ClassVar[Mapping[str, tuple[str, str]]] = {
        "callback": (f"{HERE}:Callback", "a callback, whole path"),
        "poll": (f"{HERE}:Poll", "one poll, still pending"),
        "list": (f"{HERE}:ChangeList", "the admin's list of payments"),
        "payment": (f"{HERE}:PaymentPage", "the admin's page of one payment"),
    }

    def run(self, *, quick: bool) -> Result:
        """See `Bench`. Quick: two small books, two calls."""
        calls, rounds = (2, 2) if quick else (20, 15)
        with copied(sizes(quick=quick)) as known:
            paths = {name: compare(side, known, calls, rounds) for name, (side, _) in self.paths.items()}
        return {"calls": calls, "rounds": rounds, "paths": paths}

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        largest = [list(path.values())[-1] for path in result["paths"].values()]
        plans = [plan for told in largest for plan in told["plans"]]
        reading = [plan["sql"] for plan in plans if plan["reads_most"]]
        return [
            *(line for name in result["paths"] for line in self._lines(name, result["paths"][name])),
            at_most("P14", "statements that read most of a table", len(reading), 0, "; ".join(reading)),
        ]

    def _lines(self, name: str, path: Mapping[str, Any]) -> list[Line]:
        first, *_, last = path
        words = self.paths[name][1]
        asked = {size: told["asked"] for size, told in path.items()}
        flat = f"{int(first):,} payments = 1"
        buffers = path[last]["buffers"] / path[first]["buffers"]
        return [
            Line("P14", f"SQL, {words}", numbers(asked), "the same", len(set(asked.values())) == 1),
            Line("P14", f"CPU, {words}, {flat}", f"{typical({'sides': path}, last, first):.2f}"),
            Line("P14", f"buffers, {words}, {flat}", f"{buffers:.2f}"),
        ]

    def table(self, result: Result) -> str:
        """See `Bench`."""
        known = list(next(iter(result["paths"].values())))
        head = f"| call | {' | '.join(f'{int(size):,} payments' for size in known)} |"
        rows = [self._row(name, path) for name, path in result["paths"].items()]
        words = (
            "CPU time of the web process, statements, and the pages that PostgreSQL touches for them. Session and "
            "permissions of the admin are Django's, and not among the pages and plans."
        )
        plans = [self._plans(name, path[known[-1]]) for name, path in result["paths"].items()]
        table = "\n".join([head, "|---" * (len(known) + 1) + "|", *rows])
        return "\n\n".join([words, table, paper(result, known[-1]).strip(), *plans])

    def _row(self, name: str, path: Mapping[str, Any]) -> str:
        cells = [f"{cpu(told):.1f} ms · {told['asked']} SQL · {told['buffers']} buffers" for told in path.values()]
        return f"| {self.paths[name][1]} | {' | '.join(cells)} |"

    def _plans(self, name: str, told: Mapping[str, Any]) -> str:
        plans = "\n\n".join(f"{one['sql']}\n-- {one['buffers']} buffers\n{one['plan']}" for one in told["plans"])
        summary = f"<summary>The plans of {self.paths[name][1]}, in the largest books</summary>"
        return f"<details>\n{summary}\n\n```text\n{plans}\n```\n\n</details>"


def compare(side: str, known: Mapping[int, str], calls: int, rounds: int) -> dict[str, Any]:
    """What one call costs in each of the books."""
    with ExitStack() as stack:
        runners = {
            str(count): stack.enter_context(started(f"{side} at {count:,}", [*ASIDE, side], url))
            for count, url in known.items()
        }
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda runner: runner.ask("ready"), runners.values()))
        for runner in runners.values():
            runner.ask("measure", calls=calls)
        told: dict[str, Any] = {size: {"samples": []} for size in runners}
        for _ in range(rounds):
            for size, runner in runners.items():
                told[size]["samples"].append(runner.ask("measure", calls=calls))
        for size, runner in runners.items():
            told[size]["asked"] = len(runner.ask("statements")["fresh"])
            plans = runner.ask("tell", what="plans")
            told[size]["buffers"] = sum(plan["buffers"] for plan in plans)
        # Those of the largest books are shown.
        told[size] |= {"plans": plans, "indexes": runner.ask("tell", what="indexes")}
    return told


def numbers(asked: Mapping[str, int]) -> str:
    """One number if all are the same."""
    found = list(asked.values())
    return str(found[0]) if len(set(found)) == 1 else " → ".join(map(str, found))


def cpu(told: Mapping[str, Any]) -> float:
    """Milliseconds of a call."""
    return statistics.median(sample["cpu"] for sample in told["samples"]) * 1000


def paper(result: Result, largest: str) -> str:
    """How deep the indexes are that the plans use, and would be."""
    paths = [path[largest] for path in result["paths"].values()]
    used = {name for told in paths for plan in told["plans"] for name in plan["indexes"]}
    known = {name: size for told in paths for name, size in told["indexes"].items() if name in used}
    sizes = {name: size for name, size in known.items() if size["pages"] >= LARGE}
    rows = [
        index_row(name, sizes[name]["rows"], sizes[name]["pages"])
        for name in sorted(sizes, key=lambda name: -sizes[name]["pages"])
    ]
    return PAPER.format(rows=int(largest), indexes="\n".join(rows))


def index_row(name: str, rows: float, pages: int) -> str:
    """One index: as it is, and with ten times the rows."""
    entries = rows / (pages - 1)  # the first page says where the root is
    deep = f"{levels(rows, entries)} | {levels(rows * 10, entries)}"
    return f"| {name} | {rows:,.0f} | {pages:,} | {entries:.0f} | {deep} |"


def levels(rows: float, entries: float) -> int:
    """How many pages are between the root of a B-tree and a row, both ends counted."""
    return 1 + sum(1 for _ in shrinking(rows, entries))


def shrinking(rows: float, entries: float) -> Iterator[int]:
    """The pages of each level that needs one above it."""
    pages = math.ceil(rows / entries)
    while pages > 1:
        yield pages
        pages = math.ceil(pages / entries)
