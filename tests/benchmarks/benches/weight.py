"""What installing the package costs before anybody pays: the time of a start, and memory."""

import json
import os
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...proof.frame import REPOSITORY
from ..frame import Bench, Line, Result, at_most

__all__ = ["WeightBench", "by_package"]

KINDS = {
    "plain": "Django, with REST framework and Channels in INSTALLED_APPS, and neither imported",
    "app": "the same, with this package installed and mounted",
    "used": "a host whose own views and sockets use Django, REST framework and Channels",
    "used-app": "the same, with this package installed and mounted",
}
ROUNDS = 15
MILLISECONDS, MEGABYTES = 60, 15
#: What is shown of what is imported.
SHOWN = 12


class WeightBench(Bench):
    """Fresh processes in turn, their bytecode compiled before."""

    name = "weight"
    title = "Start-up and weight: what the package adds before anybody pays"

    def run(self, *, quick: bool) -> Result:
        """See `Bench`. Quick: two of each."""
        samples: dict[str, list[Any]] = {name: [] for name in KINDS}
        for name in KINDS:
            started(name)
        for number in range(2 if quick else ROUNDS):
            for name, known in samples.items():
                known.append(json.loads(started(name).stdout))
            print(f"{self.name}: round {number + 1}", file=sys.stderr, flush=True)
        imports = {name: by_package(started(name, "-X", "importtime").stderr) for name in ("plain", "app")}
        return {"samples": samples, "imports": imports}

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        samples = result["samples"]
        opened = sum(one["opened"] for known in samples.values() for one in known)
        time, weight = added(samples, "used-app", "used")
        unused = "{:.0f} ms, {:.1f} MB".format(*added(samples, "app", "plain"))
        return [
            at_most("weight", f"ms of CPU that a start takes longer; {KINDS['used']} = 0", round(time), MILLISECONDS),
            at_most("weight", f"MB of memory; {KINDS['used']} = 0", round(weight, 1), MEGABYTES),
            Line("weight", f"the same, {KINDS['plain']} = 0", unused, note="REST framework and Channels are in it"),
            at_most("weight", "connections to the database that importing and `ready()` open", opened, 0),
        ]

    def table(self, result: Result) -> str:
        """See `Bench`."""
        rows = [f"| {KINDS[name]} | {middle(known, 'cpu') * 1000:.0f} | {middle(known, 'memory') / 1e6:.1f} |"
                for name, known in result["samples"].items()]  # fmt: skip
        head = [f"Medians of {len(result['samples']['plain'])} fresh processes, taken in turn.", ""]
        return "\n".join([*head, "| host | ms of CPU | MB |", "|---|---|---|", *rows, "", imported(result["imports"])])


def started(kind: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """A host that has started, and ended."""
    return subprocess.run(
        [sys.executable, *options, "-m", "tests.benchmarks.start", kind],
        cwd=REPOSITORY,
        env={name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        capture_output=True,
        text=True,
        check=True,
    )


def middle(samples: Sequence[Mapping[str, float]], name: str) -> float:
    """The median."""
    return statistics.median(one[name] for one in samples)


def added(samples: Mapping[str, Any], name: str, base: str) -> tuple[float, float]:
    """Milliseconds and megabytes that one host has more than another."""
    time, weight = (middle(samples[name], what) - middle(samples[base], what) for what in ("cpu", "memory"))
    return time * 1000, weight / 1e6


def by_package(told: str) -> dict[str, float]:
    """Milliseconds by top-level package, from what `-X importtime` has written."""
    spent: Counter[str] = Counter()
    for taken, name in re.findall(r"^import time: +(\d+) \| +\d+ \| +([\w.]+)$", told, re.MULTILINE):
        spent[name.partition(".")[0]] += int(taken)
    return {name: taken / 1000 for name, taken in spent.items()}


def imported(imports: Mapping[str, Mapping[str, float]]) -> str:
    """Whose modules it is that are imported on top."""
    more = Counter({name: taken - imports["plain"].get(name, 0) for name, taken in imports["app"].items()})
    shown = ", ".join(f"{name} {taken:.0f}" for name, taken in more.most_common(SHOWN) if taken >= 1)
    return f"Whose modules are imported on top, in ms of one run under `-X importtime`: {shown}."
