"""The model test: random programs against the real services, beside a model in plain Python."""

import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.proof.frame import Chunk, Figure, Part, Progress

__all__ = ["Model"]

RUNS, STEPS, RUNS_IN_A_CHUNK = 10_000, 50, 250
MOVED = {
    "refunds moved": "money that the gateway has given back because it was asked to",
    "captures moved": "money that the gateway has taken because it was asked to",
    "approvals": "refunds that a second person has agreed to",
    "voids": "authorizations that staff have let go, where nothing went wrong",
}
OVER = {
    "over-refund": "looked for after each write: more given back than taken, or twice, in our rows or at the gateway",
    "over-capture": "looked for after each write: more taken than reserved or asked for, in our rows or at the gateway",
}


class Model(Part):
    """Hypothesis writes the programs; a failure is its shortest one."""

    name = "model"
    title = "No program of payments, callbacks, clocks and crashes departs from a plain model, or breaks an invariant."

    def chunks(self, *, quick: bool) -> Sequence[Chunk]:
        """Each with a seed of its own; every fifth on PostgreSQL."""
        if quick:
            return [{"seed": seed, "runs": 150, "steps": 50, "db": "sqlite"} for seed in (1, 2)]
        return [
            {"seed": seed, "runs": RUNS_IN_A_CHUNK, "steps": STEPS, "db": "sqlite" if seed % 5 else "postgres"}
            for seed in range(1, RUNS // RUNS_IN_A_CHUNK + 1)
        ]

    def run(self, chunk: Chunk, progress: Progress) -> dict[str, Any]:
        """Play the chunk's programs; what was done, by name."""
        from django.test.utils import setup_databases, teardown_databases

        from .machine import play, stage

        databases = setup_databases(verbosity=0, interactive=False)
        violations = []
        try:
            with stage(lambda runs: progress(min(runs / chunk["runs"], 1))) as here:
                try:
                    play(here, seed=chunk["seed"], runs=chunk["runs"], steps=chunk["steps"])
                except Exception as error:  # noqa: BLE001 - the violation is the result
                    violations.append({"what": tell(error, chunk), "replay": replay(chunk)})
        finally:
            teardown_databases(databases, verbosity=0)
        return {"violations": violations, "tally": {**here.tally, **here.wire.moved}}

    def figures(self, results: Sequence[Mapping[str, Any]], *, quick: bool) -> list[Figure]:
        """What was played."""
        tally = sum((Counter(result["tally"]) for result in results), Counter())
        runs, steps = (300, 50) if quick else (RUNS, STEPS)
        counted = {"runs", "steps", *MOVED, *OVER}
        done = {name: count for name, count in sorted(tally.items()) if name not in counted}
        return [
            Figure("runs", tally["runs"], f"{runs:,} or more", tally["runs"] >= runs),
            Figure("steps", tally["steps"], f"{runs * steps:,} or more", tally["steps"] >= runs * steps),
            *[
                Figure(name, tally[name], "" if quick else "more than 0", quick or tally[name] > 0, MOVED[name])
                for name in MOVED
            ],
            *[Figure(name, tally[name], "0", tally[name] == 0, OVER[name]) for name in OVER],
            Figure("what was done", len(done), note=", ".join(f"{name} {count:,}" for name, count in done.items())),
        ]


def tell(error: Exception, chunk: Chunk) -> str:
    """The seed, what broke, and Hypothesis' shortest program."""
    program = "\n".join(getattr(error, "__notes__", []))
    where = "".join(traceback.format_exception(error)[-3:])
    return f"seed {chunk['seed']} on {chunk['db']}: {type(error).__name__}: {error}\n{program}\n{where}"


def replay(chunk: Chunk) -> str:
    """One command that plays the same programs."""
    words = " ".join(f"{name}={value}" for name, value in chunk.items())
    return f"python -m tests.proof.model {words}"
