"""The chaos as a part of the proof: each piece is one run with a seed of its own."""

import json
import resource
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...plant.apart import run_apart
from ..frame import REPOSITORY, Chunk, Figure, Part, Progress

__all__ = ["Chaos", "run_chaos"]

LOGS = REPOSITORY / ".prove" / "chaos"
#: What must not be, and the words for it in the report.
BARS = {
    "lost": "captured at the gateway, and neither success nor flagged here",
    "unfulfilled": "paid, and its order not fulfilled",
    "double": "orders fulfilled twice",
    "over_refunded": "more given back than was taken, twice for one intent, or unlike in both books",
    "stuck": "payments, refunds, callbacks or fulfilments that never ended",
    "overdue": "open after their time",
    "acknowledged_missing": "answered 2xx, and not in the inbox",
    "told": "told as success to a shopper, and not success",
    "odd": "answers that no shopper may get",
    "invariant": "runs in which one of the 24 invariants does not hold",
}
PAYMENTS, KILLS, SETTLED_WITHIN = 10_000, 300, 300
SHAPES = (("celery", "early"), ("celery", "late"), ("celery", "early"), ("celery", "late"), ("tick", "early"))


class Chaos(Part):
    """Real processes, real kills."""

    name = "chaos"
    title = "Whatever is killed, cut or forgotten: no payment is lost, doubled or stuck, and nobody lends a hand"
    alone = True

    def chunks(self, *, quick: bool) -> Sequence[Chunk]:
        if quick:
            return [shape(1, 80, 6, "celery", "early", threads=16, expire_after=15)]
        return [shape(seed, 2050, 84, clock, acks) for seed, (clock, acks) in enumerate(SHAPES, start=1)]

    def run(self, chunk: Chunk, progress: Progress) -> dict[str, Any]:
        return run_chaos(chunk, progress)

    def figures(self, results: Sequence[Mapping[str, Any]], *, quick: bool) -> list[Figure]:
        return [*sizes(results, quick=quick), *verdicts(results), *notes(results)]


def shape(
    seed: int,
    payments: int,
    mischiefs: int,
    clock: str,
    acks: str,
    *,
    threads: int = 40,
    expire_after: int = 40,
    patience: float = 30,
) -> dict[str, Any]:
    """One run.

    Args:
        clock: "celery", or "tick" for two `gatewaypay_tick --loop` and no Celery.
        acks: "early" as Celery does it by default, or "late".
        threads: how many shoppers at a time.
        expire_after: seconds that a shopper has.
        patience: so many seconds a shopper tries to start a payment.
    """
    return {
        "seed": seed,
        "payments": payments,
        "mischiefs": mischiefs,
        "clock": clock,
        "acks": acks,
        "threads": threads,
        "expire_after": expire_after,
        "patience": patience,
    }


def run_chaos(chunk: Chunk, progress: Progress) -> dict[str, Any]:
    """Play it in a process of its own; the logs stay when something is wrong.

    Raises:
        RuntimeError: the run itself came to no end.
    """
    logs = LOGS / f"seed-{chunk['seed']}-{chunk['clock']}-{time.strftime('%Y%m%d-%H%M%S')}"
    logs.mkdir(parents=True)
    before, began = _cpu_seconds(), time.monotonic()
    result = run_apart("tests.proof.chaos.play", chunk, logs, progress)
    if result is None:
        raise RuntimeError(f"The chaos came to no end; the logs are in {logs.relative_to(REPOSITORY)}.")
    result["seconds_cpu"] = round(_cpu_seconds() - before, 1)
    result["seconds"] = round(time.monotonic() - began, 1)
    wrong = [f"{kind}: {one}" for kind, found in result["examples"].items() for one in found]
    where = logs.relative_to(REPOSITORY)
    again = f"python -m tests.proof.chaos '{json.dumps(dict(chunk))}'"
    result["violations"] = [{"what": f"{one} (logs in {where})", "replay": again} for one in wrong]
    if not wrong and result["seconds_to_settle"] <= SETTLED_WITHIN:
        shutil.rmtree(logs)
    return result


def _cpu_seconds() -> float:
    """Of all processes that we have started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- The lines of the report.


def sizes(results: Sequence[Mapping[str, Any]], *, quick: bool) -> list[Figure]:
    payments, kills = (sum(result[name] for result in results) for name in ("payments", "kills"))
    least = ("", "") if quick else (f"{PAYMENTS}", f"{KILLS}")
    return [
        Figure("payments", payments, least[0], quick or payments >= PAYMENTS),
        Figure("processes killed or restarted", kills, least[1], quick or kills >= KILLS, _list(results, "mischief")),
    ]


def verdicts(results: Sequence[Mapping[str, Any]]) -> list[Figure]:
    slowest = max((result["seconds_to_settle"] for result in results), default=0)
    counts = {kind: sum(result["wrong"][kind] for result in results) for kind in BARS}
    return [
        *(Figure(kind.replace("_", " "), counts[kind], "0", not counts[kind], BARS[kind]) for kind in BARS),
        Figure(
            "seconds from the last fault until all is settled",
            slowest,
            f"{SETTLED_WITHIN}",
            slowest <= SETTLED_WITHIN,
            f"what is not paid expires after 20 to 40 s here; each run: {_each(results, 'seconds_to_settle')}",
        ),
    ]


def notes(results: Sequence[Mapping[str, Any]]) -> list[Figure]:
    sent = sum(sum(result["callback_answers"].values()) for result in results)
    fives = sum(
        count
        for result in results
        for answer, count in result["shopper_answers"].items()
        if answer.rpartition(" ")[2].startswith("5")
    )
    asked = sum(sum(result["shopper_answers"].values()) for result in results)
    seeds = ", ".join(f"{result['seed']} ({result['clock']}, acks {result['acks']})" for result in results)
    return [
        Figure("captured at the gateway", sum(result["captured"] for result in results)),
        Figure("refunds", _list(results, "refunds") or "none", note=_list(results, "staff_answers")),
        Figure("callbacks sent", sent, note=_list(results, "callback_answers")),
        Figure("callbacks acknowledged", sum(result["acknowledged"] for result in results)),
        Figure("shoppers' requests answered 5xx", fives, note=f"of {asked}"),
        Figure("processes that ended by themselves", _list(results, "died_by_themselves") or "none"),
        Figure("seeds", seeds),
    ]


def _list(results: Sequence[Mapping[str, Any]], name: str) -> str:
    total: Counter[str] = Counter()
    for result in results:
        total.update(result[name])
    return ", ".join(f"{kind} {count}" for kind, count in sorted(total.items()))


def _each(results: Sequence[Mapping[str, Any]], name: str) -> str:
    return ", ".join(str(result[name]) for result in results)
