"""P9: how fast due rows are taken, and by whom."""

import statistics
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, ClassVar

from ..frame import Bench, Line, Result, at_most
from ..rounds import Runner
from ..servers import databases
from ..worker import at_work

__all__ = ["ClaimBench"]

WORKER = "tests.benchmarks.sides.sweeping:Claims"
RATIO = 0.5


class ClaimBench(Bench):
    """Both take the same rows in batches of the same size: the lease of a minute is written on them."""

    name = "claim"
    title = "What is due is claimed"
    words: ClassVar[Mapping[str, str]] = {
        "raw": "one `UPDATE` of what `FOR UPDATE SKIP LOCKED` finds",
        "ours": "ours, as the sweep does it",
    }

    def run(self, *, quick: bool) -> Result:
        """See `Bench`. Quick: once."""
        rows, rounds = 2_000, 1 if quick else 15
        with databases(["claim"]) as known, ExitStack() as stack:
            first, second = (stack.enter_context(at_work(WORKER, known["claim"])) for _ in range(2))
            first.ask("fill", count=rows)
            told = [one_round(first, second) for _ in range(rounds)]
            return {"rows": rows, "batch": first.ask("batch"), "rounds": told}

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        pairs = [one["pair"] for one in result["rounds"]]
        ratio = statistics.median(one["ours"] / one["raw"] for one in result["rounds"])
        together = sum(0 not in pair["shares"] for pair in pairs)
        twice = sum(pair["twice"] for pair in pairs)
        note = f"in {together} of {len(pairs)} rounds both had some"
        return [
            Line("P9", "rows per second, raw = 1", f"{ratio:.2f}", f"≥ {RATIO}", ratio >= RATIO),
            # Where one had everything, nothing was shown.
            Line("P9", "taken twice by two workers", str(twice), "0", twice == 0 if together else None, note),
            at_most("P9", "left by two workers", sum(pair["left"] for pair in pairs), 0),
        ]

    def table(self, result: Result) -> str:
        """See `Bench`."""
        words = (
            f"{result['rows']:,} due rows in batches of {result['batch']}, time on the wall; nobody is asked about. "
            "Who has claimed a row leaves it where the next one looks, so that each batch looks past those before it."
        )
        rows = [
            f"| {name}: {words} | {statistics.median(one[name] for one in result['rounds']):,.0f} |"
            for name, words in self.words.items()
        ]
        pairs = [one["pair"] for one in result["rounds"]]
        shares = ", ".join("/".join(map(str, pair["shares"])) for pair in pairs)
        pace = statistics.median(pair["pace"] for pair in pairs)
        rows.append(f"| two workers of ours at the same rows; their shares: {shares} | {pace:,.0f} |")
        return "\n".join([words, "", "| who | rows per second |", "|---|---|", *rows])

    def bars(self, result: Result) -> Mapping[str, float]:
        """See `Bench`: seconds for a row, raw = 1."""
        slower = statistics.median(one["raw"] / one["ours"] for one in result["rounds"])
        return {"raw": 1.0, "ours": slower}


def one_round(first: Runner, second: Runner) -> dict[str, Any]:
    """Each way alone, then two workers of ours at once."""
    told: dict[str, Any] = {}
    for how in ("raw", "ours"):
        first.ask("reset")
        taken = first.ask("take", how=how)
        told[how] = len(taken["keys"]) / (taken["ended"] - taken["began"])
    return told | {"pair": pair(first, second)}


def pair(first: Runner, second: Runner) -> dict[str, Any]:
    """What two workers took, and whether anything was taken twice, or not at all."""
    first.ask("reset")
    with ThreadPoolExecutor(2) as pool:
        taken = list(pool.map(lambda worker: worker.ask("take", how="ours"), (first, second)))
    keys = [key for one in taken for key in one["keys"]]
    seconds = max(one["ended"] for one in taken) - min(one["began"] for one in taken)
    return {
        "shares": [len(one["keys"]) for one in taken],
        "twice": len(keys) - len(set(keys)),
        "left": first.ask("left"),
        "pace": len(keys) / seconds,
    }
