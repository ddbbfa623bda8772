"""Storms: the same event a hundred times at once, spoiled callbacks, requests from the API's description, forgeries."""

import copy
import fcntl
import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from django.conf import settings

from . import storms_copies, storms_mutated, storms_schema
from .frame import REPOSITORY, Chunk, Figure, Part, Progress
from .storms_site import configured, fresh_database, more_connections, servers

__all__ = ["Storms"]

SEED = 1
COPIES, CONNECTIONS, SERVERS = 100, 100, 2
SIZES = {
    # What each kind comes to, and in how many pieces.
    "full": {"mutated": (100_000, 4), "schema": (50_000, 4), "copies": (1000, 2), "flood": (60, 1)},
    "quick": {"mutated": (3_000, 2), "schema": (500, 1), "copies": (20, 1), "flood": (5, 1)},
}
LOCK = REPOSITORY / ".prove" / "storms.lock"


class Storms(Part):
    """Pieces that only count run beside each other; those that measure real servers have the machine for themselves."""

    name = "storms"
    title = "However often, however spoiled: one effect for each event, none for a forgery, and never a 500"

    def chunks(self, *, quick: bool) -> Sequence[Chunk]:
        made: list[Chunk] = []
        for kind, (count, pieces) in SIZES["quick" if quick else "full"].items():
            for number in range(pieces):
                real = kind in {"copies", "flood"}
                db = "postgres" if real or number % 2 else "sqlite"
                made.append({"kind": kind, "seed": SEED + number, "count": count // pieces, "db": db})
        return made

    def run(self, chunk: Chunk, progress: Progress) -> dict[str, Any]:
        result = RUNS[chunk["kind"]](chunk, progress)
        wrong = result.pop("wrong")
        violations = [{"what": _what(one), "replay": _replay(chunk, one)} for one in wrong]
        return {"kind": chunk["kind"], **result, "violations": violations[:100], "wrong": len(wrong)}

    def figures(self, results: Sequence[Mapping[str, Any]], *, quick: bool) -> list[Figure]:
        of = {kind: [one for one in results if one["kind"] == kind] for kind in RUNS}
        wanted = {kind: count for kind, (count, _) in SIZES["quick" if quick else "full"].items()}
        return [
            *_copies_figures(of["copies"], wanted["copies"]),
            *_mutated_figures(of["mutated"], wanted["mutated"]),
            *_schema_figures(of["schema"], wanted["schema"]),
            *_flood_figures(of["flood"], quick=quick),
        ]


# --- The pieces.


@contextmanager
def _machine(*, alone: bool) -> Iterator[None]:
    """Wait for the machine: one piece that measures, or several that count."""
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def _run_copies(chunk: Chunk, progress: Progress) -> dict[str, Any]:
    with ExitStack() as stack:
        stack.enter_context(_machine(alone=True))
        more_connections()
        stack.enter_context(fresh_database())
        stack.enter_context(configured())
        addresses = stack.enter_context(servers(SERVERS))
        return storms_copies.copies(addresses, chunk["count"], COPIES, CONNECTIONS, progress)


def _run_flood(chunk: Chunk, progress: Progress) -> dict[str, Any]:
    with ExitStack() as stack:
        stack.enter_context(_machine(alone=True))
        more_connections()
        stack.enter_context(fresh_database())
        stack.enter_context(configured())
        addresses = stack.enter_context(servers(SERVERS))
        return storms_copies.flood(addresses, chunk["count"], progress)


def _run_mutated(chunk: Chunk, progress: Progress) -> dict[str, Any]:
    with _machine(alone=False), fresh_database(), storms_mutated.site():
        first = chunk.get("first", 0)
        return storms_mutated.mutated(chunk["seed"], chunk["count"], progress, first=first)


def _run_schema(chunk: Chunk, progress: Progress) -> dict[str, Any]:
    with _machine(alone=False), fresh_database(), storms_schema.gateway() as gateway:
        gateways = copy.deepcopy(settings.GATEWAYPAY["GATEWAYS"])
        gateways["hosted"]["OPTIONS"]["api_base"] = gateway.url
        with configured(GATEWAYS=gateways):
            return storms_schema.schema_driven(chunk["seed"], chunk["count"], progress)


RUNS = {"mutated": _run_mutated, "schema": _run_schema, "copies": _run_copies, "flood": _run_flood}


def _what(wrong: Any) -> str:
    return wrong if isinstance(wrong, str) else f"message {wrong[0]}: {wrong[1]}"


def _replay(chunk: Chunk, wrong: Any) -> str:
    """One command that does it again: one message where it is one message that is wrong, or else the piece."""
    again = dict(chunk) if isinstance(wrong, str) else {**chunk, "first": wrong[0], "count": 1}
    return f"echo {shlex.quote(json.dumps(again))} | python -m tests.proof.chunk storms replay.json"


# --- The figures.


def _sum(results: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(result[name] for result in results)


def _answers(results: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """How many answers were errors of ours, and all of them by status."""
    told: Counter[str] = Counter()
    for result in results:
        told.update(result["answers"])
    bad = sum(count for status, count in told.items() if not status.isdigit() or int(status) >= 500)
    return bad, ", ".join(f"{status}: {count}" for status, count in sorted(told.items()))


def _copies_figures(results: Sequence[Mapping[str, Any]], wanted: int) -> list[Figure]:
    events, effects, sent = (_sum(results, name) for name in ("events", "effects", "sent"))
    once = events == effects == _sum(results, "inbox") >= wanted
    pace = ", ".join(f"{result['a second']}/s, p99 {result['p99 ms']} ms" for result in results)
    return [
        Figure("events x copies", f"{events} x {COPIES}", f"{wanted} x {COPIES}", events >= wanted, pace),
        Figure("effects", effects, f"exactly {events}", once, f"{CONNECTIONS} connections, {SERVERS} servers"),
        Figure("copies answered", sent, "each with 200", not _sum(results, "wrong"), "inbox, ledger, orders counted"),
    ]


def _mutated_figures(results: Sequence[Mapping[str, Any]], wanted: int) -> list[Figure]:
    sent, wrong, (bad, told) = _sum(results, "sent"), _sum(results, "wrong"), _answers(results)
    kept = "kept" if all(set(result["kept"].values()) == {200} for result in results) else "refused"
    left = f"{_sum(results, 'left genuine')} more were left genuine by their bend, and not sent; of "
    left += f"{_sum(results, 'unreadable')} more Django itself can make no request, at any address"
    return [
        Figure("spoiled callbacks", sent, f">= {wanted}", sent >= wanted, left),
        Figure("spoiled callbacks answered 500 or above", bad, "0", bad == 0, told),
        Figure("writes, acceptances, telling bodies", wrong, "0", not wrong, "every column of ours is compared"),
        Figure("unspoiled callbacks of each gateway", kept, "kept", kept == "kept", "so the door is not merely shut"),
    ]


def _schema_figures(results: Sequence[Mapping[str, Any]], wanted: int) -> list[Figure]:
    sent, wrong, bad, (_, told) = *(_sum(results, name) for name in ("sent", "wrong", "errors")), _answers(results)
    told += f" (503 of /health/, where no clock runs: {_sum(results, 'late')})"
    drawn = f"{_sum(results, 'cases')} cases drawn by schemathesis, each sent in eight ways"
    return [
        Figure("schema-driven requests", sent, f">= {wanted}", sent >= wanted, drawn),
        Figure("schema-driven requests answered 500 or above", bad, "0", bad == 0, told),
        Figure("answers that are not as described", wrong, "0", not wrong, "distinct"),
    ]


def _flood_figures(results: Sequence[Mapping[str, Any]], *, quick: bool) -> list[Figure]:
    """How slow it was is judged on a machine that does nothing else, and not before a merge."""
    slowest = max((result["good p99 ms"] for result in results), default=0)
    pace = min((result["forged a second"] for result in results), default=0)
    forged, good = (f"{_sum(results, name)} in all" for name in ("forged", "good"))
    refused = "not all" if _sum(results, "wrong") else "all"
    return [
        Figure("forged callbacks a second", pace, "", True, f"{forged}, the client on the same machine"),
        Figure("forged callbacks refused, and nothing written", refused, "all", refused == "all"),
        Figure(
            "p99 of good callbacks meanwhile, ms", slowest, "" if quick else "< 1000", quick or slowest < 1000, good
        ),
    ]
