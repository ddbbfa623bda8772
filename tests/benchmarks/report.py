"""What the benches came to: JSON for machines, a page and its charts for people."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..proof.frame import REPOSITORY
from .benches import BENCHES
from .chart import draw
from .frame import Line, Rounds
from .sql import shortened
from .targets import ELSEWHERE, TARGETS, WHY

__all__ = ["FULL", "QUICK", "Place", "keep", "verdict"]

HEAD = """# Performance

Written by `make bench` and by nobody's hand; what was measured, call by call, is in [{data}]({data}). Floor, rivals
and this package run in turn, round after round, in one run, each in a warm process of its own and through its WSGI
handler, on PostgreSQL. What is compared is the **CPU time of the web process** for one call, unless a table says
otherwise: the servers' own time is nobody's. Each sample is divided by a fixed piece of plain Python that runs before
and after it, each round gives one ratio, and the page shows the median of the rounds. Machines are shared, so that
only ratios of one run mean anything, and differences under a quarter mean little. SQL counts statements; opening and
ending a transaction are none.

What is pushed goes another way, and is measured on the wall: uvicorn, Valkey and the open pages are processes of
their own, and for the pixels there is a Celery worker and a Chromium. `load`, `nodes` and `weight` say themselves what
they measure.

## The targets

| | path | what | figure | target | | again with | note |
|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Place:
    """Where a page, its data and its charts are kept."""

    folder: Path
    charts: Path

    @property
    def data(self) -> Path:
        return self.folder / "performance.json"

    @property
    def page(self) -> Path:
        return self.folder / "performance.md"

    def known(self) -> dict[str, Any]:
        """What earlier runs have left, by kind and by bench."""
        return json.loads(self.data.read_text()) if self.data.exists() else {"benches": {}, "profiles": {}}


FULL = Place(REPOSITORY / "docs" / "reference", REPOSITORY / "docs" / "_static" / "performance")
QUICK = Place(REPOSITORY / ".bench", REPOSITORY / ".bench" / "charts")


def keep(place: Place, kind: str, news: Mapping[str, Any]) -> None:
    """Write down what this run has brought; what it did not run stays as it was, with its own commit.

    Args:
        kind: "benches" or "profiles".
        news: what to keep, by the name of its bench.
    """
    told = place.known()
    told[kind] |= news
    place.charts.mkdir(parents=True, exist_ok=True)
    place.folder.mkdir(parents=True, exist_ok=True)
    place.data.write_text(json.dumps(told, indent=1) + "\n")
    for name, kept in told["benches"].items():
        bars = BENCHES[name].bars(kept["result"])
        if bars:
            (place.charts / f"{name}.svg").write_text(draw(BENCHES[name].title, bars, _ours(name)))
    place.page.write_text("\n".join(_page(place, told)))


def verdict(line: Line) -> str:
    """Met or not, in words."""
    if line.met is None:
        return "**not measured yet**"
    if not line.bar:
        return "told only"
    return "met" if line.met else "**NOT MET**"


def _page(place: Place, told: Mapping[str, Any]) -> Iterator[str]:
    yield HEAD.format(data=place.data.name) + "\n".join(_target_rows(told["benches"])) + "\n"
    yield from _reasons(told["benches"])
    for name, kept in told["benches"].items():
        yield from _section(place, name, kept)
    yield "## Where one call goes\n"
    yield from _profiles(told["profiles"])
    yield "## What one call asks the database\n"
    yield from _statements(told["benches"])


def _target_rows(benches: Mapping[str, Any]) -> Iterator[str]:
    """Every target, in its order: with its figures, or with the word that nobody has measured it."""
    found = [(line, name) for name, kept in benches.items() for line in BENCHES[name].lines(kept["result"])]
    for target, path in TARGETS.items():
        mine = [one for one in found if one[0].target == target]
        for line, name in mine:
            yield _row(target, path, line, f"`make bench PART={name}`")
        if not mine:
            yield _row(target, path, Line(target, "–", "–", met=None, note=ELSEWHERE.get(target, "")), "–")


def _reasons(benches: Mapping[str, Any]) -> Iterator[str]:
    """Of what is not met now, and of nothing else."""
    lines = [line for name, kept in benches.items() for line in BENCHES[name].lines(kept["result"])]
    missed = {line.target for line in lines if line.met is False}
    if missed:
        yield "### What is not met, and why\n"
    for target in TARGETS:
        if target in missed:
            yield f"- **{target}, {TARGETS[target]}.** {WHY.get(target, 'Nobody knows yet.')}\n"


def _row(target: str, path: str, line: Line, command: str) -> str:
    cells = (target, path, line.what, line.figure, line.bar or "–", verdict(line), command, line.note)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _section(place: Place, name: str, kept: Mapping[str, Any]) -> Iterator[str]:
    bench, table = BENCHES[name], BENCHES[name].table(kept["result"])
    yield f"## {bench.title}\n"
    yield f"`make bench PART={name}` · {_where(kept)}\n"
    if bench.bars(kept["result"]):
        chart = os.path.relpath(place.charts / f"{name}.svg", place.folder)
        yield f"```{{image}} {chart}\n:alt: {bench.title}, as bars\n```\n"
    if table:
        yield table + "\n"


def _where(kept: Mapping[str, Any]) -> str:
    machine = kept["machine"]
    servers = ", ".join(f"{name} {version}" for name, version in kept["servers"].items())
    here = f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}, {servers}"
    return f"commit {kept['commit']} · {here} · {kept['seconds']} s"


def _ours(name: str) -> set[str]:
    bench = BENCHES[name]
    if not isinstance(bench, Rounds):
        return {"ours"}
    return {who for who, entrant in bench.entrants.items() if entrant.ours}


def _profiles(profiles: Mapping[str, Any]) -> Iterator[str]:
    """A table for each: who takes how much of the time on the wall, while Python's profiler looks on."""
    if not profiles:
        yield "Nobody has looked yet: `make bench PROFILE=callback`.\n"
    for name, kept in profiles.items():
        yield f"### {name}\n\n`make bench PROFILE={name}` · {_where(kept)}\n"
        yield (
            "Shares of the time on the wall, with the waiting for PostgreSQL in it, and of CPU time, while Python's "
            "profiler looks on: it makes many small functions look dearer than they are.\n"
        )
        yield _profile_table(kept["result"]) + "\n"


def _profile_table(result: Mapping[str, Mapping[str, float]]) -> str:
    groups = dict.fromkeys(group for spent in result.values() for group in spent)
    shares = {
        who: {group: taken / sum(spent.values()) for group, taken in spent.items()} for who, spent in result.items()
    }
    ordered = sorted(groups, key=lambda group: -max(share.get(group, 0) for share in shares.values()))
    rows = [
        f"| {group} | {' | '.join(f'{share.get(group, 0):.0%}' for share in shares.values())} |" for group in ordered
    ]
    return "\n".join([f"| where | {' | '.join(result)} |", "|---" * (len(result) + 1) + "|", *rows])


def _statements(benches: Mapping[str, Any]) -> Iterator[str]:
    for name, kept in benches.items():
        for who in sorted(_ours(name) & set(kept["result"].get("sides", {}))):
            asked = [shortened(sql) for sql in kept["result"]["sides"][who]["fresh"]]
            lines = "\n".join(f"{number}. {sql}" for number, sql in enumerate(asked, 1))
            if asked:
                yield f"### {name}, {who}\n\n```text\n{lines}\n```\n"
