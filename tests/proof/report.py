"""What the proof came to: JSON for machines, a page of the documentation for people."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .frame import REPOSITORY, Figure
from .parts import NAMES, find

__all__ = ["write"]

DATA = REPOSITORY / "docs" / "reference" / "proof.json"
PAGE = REPOSITORY / "docs" / "reference" / "proof.md"
HEAD = """# The proof

Written by `make prove` and by nobody's hand. Each part runs alone: `make prove PART=simulation`; a run that was cut
off goes on where it was. {size}

{whole}

"""
#: All parts together, on two cores.
MINUTES = 120


def write(home: Path, *, quick: bool, shown: Iterable[str]) -> bool:
    """Report what has been run; whether every bar of the shown parts is met.

    The full size goes into the documentation, the quick one beside its results. Of a part that has no piece in this
    checkout, the documentation keeps what it says.
    """
    known = {} if quick else _known()
    told = {name: _tell(name, home / name, quick=quick) for name in NAMES}
    told |= {name: one for name, one in known.items() if name in told and not told[name]["commits"]}
    data = REPOSITORY / ".prove" / "quick.json" if quick else DATA
    page = REPOSITORY / ".prove" / "quick.md" if quick else PAGE
    data.write_text(json.dumps(told, indent=1) + "\n")
    page.write_text(_page(told, quick=quick))
    chosen = {name: told[name] for name in shown}
    if not quick and set(chosen) == set(told):
        chosen["all"] = {"title": "One proof.", "figures": _whole(told)}
    for name, one in chosen.items():
        print(f"\n{name}: {one['title']}")
        for figure in one["figures"]:
            print(f"  {'ok ' if figure['met'] else 'NOT MET'} {_line(figure)}")
    return all(figure["met"] for one in chosen.values() for figure in one["figures"])


def _known() -> dict[str, Any]:
    return dict(json.loads(DATA.read_text())) if DATA.exists() else {}


def _tell(name: str, folder: Path, *, quick: bool) -> dict[str, Any]:
    pieces = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    part = find(name)
    wanted = len(part.chunks(quick=quick))
    results = [piece["result"] for piece in pieces]
    violations = [one for result in results for one in result.get("violations", [])]
    figures = [
        Figure("pieces run", f"{len(pieces)} of {wanted}", "all", len(pieces) == wanted),
        Figure("violations", len(violations), "0", not violations),
        *(part.figures(results, quick=quick) if results else []),
    ]
    return {
        "title": part.title,
        "figures": [asdict(figure) for figure in figures],
        "violations": violations[:20],
        "seconds": round(sum(piece["seconds"] for piece in pieces)),
        "busy": _busy(pieces),
        "commits": sorted({piece["commit"] for piece in pieces}),
        "machines": _distinct(piece["machine"] for piece in pieces),
    }


def _busy(pieces: Sequence[Mapping[str, Any]]) -> int:
    """The seconds in which one piece or more of them ran; what lies between two runs does not count."""
    busy, until = 0, 0
    for piece in sorted(pieces, key=lambda piece: piece["began"]):
        ended = piece["began"] + piece["seconds"]
        busy += max(0, ended - max(until, piece["began"]))
        until = max(until, ended)
    return round(busy)


def _distinct(machines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [json.loads(text) for text in sorted({json.dumps(one, sort_keys=True) for one in machines})]


def _page(told: Mapping[str, Mapping[str, Any]], *, quick: bool) -> str:
    size = "This is the quick size." if quick else "The figures in JSON: [proof.json](proof.json)."
    whole = "" if quick else _table(_whole(told))
    return HEAD.format(size=size, whole=whole) + "\n".join(_section(name, one) for name, one in told.items())


def _whole(told: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Whether it is one proof: of one commit, within the time that it may take."""
    commits = sorted({commit for one in told.values() for commit in one["commits"]})
    minutes = round(sum(one["busy"] for one in told.values()) / 60)
    figures = [
        Figure("commits", ", ".join(commits), "one", len(commits) == 1),
        Figure("minutes, without pauses", minutes, f"<= {MINUTES}", minutes <= MINUTES),
    ]
    return [asdict(figure) for figure in figures]


def _section(name: str, one: Mapping[str, Any]) -> str:
    machines = "; ".join(f"{m['cores']} cores, {m['system']}, Python {m['python']}" for m in one["machines"])
    lines = [
        f"## {name}: {one['title']}",
        f"`make prove PART={name}` · commit {', '.join(one['commits'])} · {machines} · {one['busy'] // 60} min"
        if one["commits"]
        else f"`make prove PART={name}` · **not run at this size yet**",
        _table(one["figures"]),
        *_violations(one["violations"]),
    ]
    return "\n\n".join(lines) + "\n"


def _table(figures: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(["| what | figure | bar | | note |\n|---|---|---|---|---|", *map(_row, figures)])


def _row(figure: Mapping[str, Any]) -> str:
    cells = (figure["name"], figure["value"], figure["bar"] or "–", _mark(figure), figure["note"])
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _violations(violations: Sequence[Mapping[str, str]]) -> list[str]:
    return [f"- **violated**: {one['what']} · replay: `{one['replay']}`" for one in violations]


def _mark(figure: Mapping[str, Any]) -> str:
    return "met" if figure["met"] else "**NOT MET**"


def _line(figure: Mapping[str, Any]) -> str:
    bar = f" (bar: {figure['bar']})" if figure["bar"] else ""
    note = f" · {figure['note']}" if figure["note"] else ""
    return f"{figure['name']}: {figure['value']}{bar}{note}"
