"""The part of the proof: thousands of seeds, and what they came to."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tests.proof.frame import Chunk, Figure, Part, Progress

if TYPE_CHECKING:
    from .simulation import Outcome

__all__ = ["Simulation"]

#: What a violation may be about; the first word of its text. Anything else is another invariant.
KINDS = {
    "lost": "captured at the gateway, and neither success nor with staff here",
    "double": "an order that was fulfilled more than once",
    "stuck": "neither at its end nor with staff when all had been quiet",
    "false": "success here without exactly this capture there, or a refund that never was",
    "over-refunded": "more given back, there or here, than was taken; or twice for one intent; or given and unknown",
    "endless": "messages that make more and more of themselves",
    "over-captured": "more taken of an authorization than staff wanted, or than was reserved",
}
#: What is counted in every seed.
TOTALS = ("payments", "refunds", "captures", "overtakings")
#: So often a process must have died at every crash point that was ever reached.
EACH_POINT = 10


class Simulation(Part):
    """Seeded worlds of the real views, services, models and tasks, with all kinds of faults."""

    name = "simulation"
    title = "Whatever goes wrong between the shop, its processes and the gateways: nothing is lost, nothing is twice."

    def chunks(self, *, quick: bool) -> Sequence[Chunk]:
        """Most seeds on SQLite in memory, one in twenty on PostgreSQL."""
        if quick:
            return [{"db": "sqlite", "first": first, "seeds": 5, "payments": 20} for first in (1, 6)]
        return [
            {"db": "postgres" if number % 20 == 19 else "sqlite", "first": 1 + number * 25, "seeds": 25, "payments": 50}
            for number in range(80)
        ]

    def run(self, chunk: Chunk, progress: Progress) -> dict[str, Any]:
        """Every seed of the piece; the sums."""
        from tests.proof.database import empty_database

        from .simulation import simulate

        sums: dict[str, Counter[str]] = {"faults": Counter(), "visits": Counter(), "crashes": Counter()}
        totals, violations = Counter[str](), []
        with empty_database(in_memory=True):
            for number in range(chunk["seeds"]):
                outcome = simulate(chunk["first"] + number, payments=chunk["payments"])
                for name, counts in sums.items():
                    counts.update(getattr(outcome, name))
                totals.update({name: getattr(outcome, name) for name in TOTALS})
                violations += told(outcome, chunk)
                progress((number + 1) / chunk["seeds"])
        return {**sums, **totals, "violations": violations}

    def figures(self, results: Sequence[Mapping[str, Any]], *, quick: bool) -> list[Figure]:
        """How much was tried, what went wrong on purpose, and what must be 0."""
        faults, visits, crashes = (summed(results, name) for name in ("faults", "visits", "crashes"))
        seeds = sum(piece["seeds"] for piece in self.chunks(quick=quick)[: len(results)])
        totals = {name: sum(one[name] for one in results) for name in TOTALS}
        rarest = min((crashes[point] for point in visits), default=0)
        return [
            at_least("seeds", seeds, 2_000, quick, "1 and following"),
            at_least(
                "payments",
                totals["payments"],
                100_000,
                quick,
                "with a gateway each of three: signed, two events, a hint",
            ),
            at_least("refunds", totals["refunds"], 10_000, quick, "by staff, at two desks, through their API"),
            at_least("captures", totals["captures"], 5_000, quick, "of what was reserved: all, in part, in parts"),
            at_least("injected faults", faults.total(), 250_000, quick, listed(faults)),
            Figure("overtakings", totals["overtakings"], note="between two statements of another"),
            Figure("crash points", len(visits), note=listed({point: crashes[point] for point in visits})),
            at_least("crashes at the point with the fewest", rarest, EACH_POINT, quick, ""),
            *zeros(results),
        ]


def told(outcome: "Outcome", chunk: Chunk) -> list[dict[str, str]]:
    """The violations of a seed, and how to see them again."""
    command = (
        f"python -m tests.proof.simulation --seed {outcome.seed} --payments {chunk['payments']} --db {chunk['db']} -v"
    )
    return [{"what": what[:500], "replay": command} for what in outcome.violations]


def summed(results: Sequence[Mapping[str, Any]], name: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for result in results:
        total.update(result[name])
    return total


def listed(counts: Mapping[str, int]) -> str:
    """The counts by name, the largest first."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def at_least(name: str, value: int, bar: int, quick: bool, note: str) -> Figure:
    """A count with the bar of the full size."""
    return Figure(name, value, "" if quick else f"≥ {bar:,}", quick or value >= bar, note)


def zeros(results: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """What must not be, by kind."""
    whats = [one["what"] for result in results for one in result["violations"]]
    counts = Counter(what.partition(":")[0] if what.partition(":")[0] in KINDS else "other" for what in whats)
    kinds = {**KINDS, "other": "any other invariant, error or answer"}
    return [Figure(kind, counts[kind], "0", not counts[kind], note) for kind, note in kinds.items()]
