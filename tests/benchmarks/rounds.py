"""Runs the entrants of one bench in turn: a process for each, and one question at a time."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.metadata import version
from typing import Any

from ..embedded import redis_url
from ..proof.frame import REPOSITORY
from ..proof.rivals.part import RIVALS, environment
from .frame import Entrant, Rounds
from .servers import databases

__all__ = ["Runner", "entering", "find_pythons", "homes", "profile", "race", "started", "surroundings"]

#: What a rival needs beside itself to be measured as we are.
BESIDE = (f"Django=={version('Django')}", f"psycopg[binary]=={version('psycopg')}", "gunicorn")
WARM = 50
#: What is installed for each. dj-stripe moves no money that could be attacked, so that it is measured only.
PACKAGES = {**{rival: packages for rival, (packages, _) in RIVALS.items()}, "dj-stripe": ["dj-stripe>=2.10"]}


class Runner:
    """One entrant's process, asked and answered in JSON lines."""

    def __init__(self, process: "subprocess.Popen[str]", name: str) -> None:
        self.process = process
        self.name = name

    def ask(self, do: str, **more: Any) -> Any:
        """Its answer; it has to answer, or to die.

        Raises:
            RuntimeError: it died; what it said is on standard error.
        """
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()} instead of an answer.")
        return json.loads(line)


def race(bench: Rounds, *, calls: int, rounds: int, rivals: bool) -> dict[str, Any]:
    """Everybody's samples, statements and counts, and who could not take part."""
    pythons, missing = find_pythons(bench.entrants, rivals=rivals)
    with entered(bench.entrants, pythons) as runners:
        sides = {name: {**runner.ask("ready"), "samples": []} for name, runner in runners.items()}
        for runner in runners.values():
            runner.ask("measure", calls=min(WARM, calls))
        for number in range(rounds):
            for name, runner in runners.items():
                sides[name]["samples"].append(runner.ask("measure", calls=calls))
            print(f"{bench.name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for name, runner in runners.items():
            sides[name] |= runner.ask("statements") | {"counts": runner.ask("counts")}
    return {"calls": calls, "rounds": rounds, "sides": sides, "missing": missing}


def profile(bench: Rounds, *, quick: bool) -> dict[str, dict[str, float]]:
    """Where the time of one call goes, for each entrant of ours: milliseconds by group of packages."""
    calls = 5 if quick else bench.calls
    found = {}
    ours = {name: one for name, one in bench.entrants.items() if one.ours}
    with entered(ours, dict.fromkeys(ours, sys.executable)) as runners:
        for name, runner in runners.items():
            runner.ask("ready")
            runner.ask("measure", calls=min(WARM, calls))
            told = runner.ask("profile", calls=calls)
            found |= {f"{name}, {clock}": spent for clock, spent in told.items()}
    return found


@contextmanager
def entered(entrants: Mapping[str, Entrant], pythons: Mapping[str, str]) -> Iterator[dict[str, Runner]]:
    """The processes of the entrants that have an interpreter; ended afterwards."""
    with homes(entrants, pythons) as known, ExitStack() as stack:
        yield {
            name: stack.enter_context(entering(name, entrants[name], python, known[name]))
            for name, python in pythons.items()
        }


@contextmanager
def homes(entrants: Mapping[str, Entrant], names: Iterable[str]) -> Iterator[dict[str, str]]:
    """The database of each of the named entrants, by its address; gone afterwards."""
    wanted = {name: _database_of(entrants[name]) for name in names}
    with databases(wanted.values()) as known:
        yield {name: known[database] for name, database in wanted.items()}


def entering(name: str, entrant: Entrant, python: str, url: str) -> AbstractContextManager[Runner]:
    """The process of one entrant."""
    return started(name, [python, "-m", "tests.benchmarks.side", entrant.side], url)


@contextmanager
def started(name: str, command: Sequence[str], url: str) -> Iterator[Runner]:
    """A process that answers JSON lines; ended afterwards.

    Args:
        url: its database.
    """
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=surroundings(url), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield Runner(process, name)
        finally:
            process.terminate()


def surroundings(url: str) -> dict[str, str]:
    """The environment of a process with a database; Valkey is everybody's."""
    return {**os.environ, "GATEWAYPAY_BENCH_DATABASE": url, "GATEWAYPAY_BENCH_REDIS": redis_url()}


def _database_of(entrant: Entrant) -> str:
    module, _, name = entrant.side.partition(":")
    return str(getattr(importlib.import_module(module), name).database)


def find_pythons(entrants: Mapping[str, Entrant], *, rivals: bool) -> tuple[dict[str, str], dict[str, str]]:
    """An interpreter for each, and why there is none: a rival has to be fetched, and may not want this Python."""
    pythons, missing = {}, {}
    for name, entrant in entrants.items():
        if not entrant.rival:
            pythons[name] = sys.executable
            continue
        try:
            pythons[name] = _fetch(entrant.rival, rivals)
        except LookupError as error:
            missing[name] = str(error)
    return pythons, missing


def _fetch(rival: str, wanted: bool) -> str:
    if not wanted:
        raise LookupError("rivals are left out when quick")
    python = ".".join(map(str, sys.version_info[:2]))
    try:
        # An environment for each Python: a rival runs on the same one as we do.
        return environment(f"bench-{rival}-{python}", [*PACKAGES[rival], *BESIDE])
    except subprocess.CalledProcessError as error:
        raise LookupError(f"pip could not install it for Python {python} and {BESIDE[0]}") from error
