"""Mutation testing of the rooms where a small mistake costs money: every small change has to turn a test red.

A piece works on a copy of the repository. A server imports what does not change, and forks for every mutant; the
fork takes the mutant up and runs the tests of that module until one fails. No file is edited.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from .frame import REPOSITORY, Chunk, Figure, Part, Progress
from .survivors import REVIEWED

__all__ = ["MODULES", "Mutation"]

PACKAGE = "django_gatewaypay"
#: What is mutated, and its own tests, which have to notice: a module is not held by what others test.
MODULES: Mapping[str, Sequence[str]] = {
    "lifecycle/decision.py": (
        "tests/test_exhaustion.py",
        "tests/test_lifecycle.py",
        # It judges the walk itself.
        "--deselect=tests/test_exhaustion.py::test_a_planted_mistake_is_found_with_its_shortest_sequence",
    ),
    "dispatch.py": ("tests/test_dispatch.py", "tests/test_settle.py"),
    "money.py": ("tests/test_money.py",),
    "schedule.py": ("tests/test_schedule.py",),
    "gateways/signing.py": ("tests/gateways/test_signing.py",),
    "lifecycle/door.py": ("tests/test_door.py", "tests/test_door_rivals.py"),
    "lifecycle/reading.py": ("tests/test_reading.py",),
    "models/statements.py": ("tests/test_statements.py",),
}
#: Characters of source whose mutants make a piece.
SLICE = 1500
SAMPLE, SEED = 7, 4
BAR = 95
ENVIRONMENT = {"GATEWAYPAY_TEST_DB": "sqlite", "GATEWAYPAY_TEST_WALK": "2", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
COPIED = (PACKAGE, "tests", "pyproject.toml")


class Mutation(Part):
    """The tests of the core notice every small change to it."""

    name: ClassVar[str] = "mutation"
    title: ClassVar[str] = "A small mistake in the state machine, outbox, money or signatures turns a test red"

    def chunks(self, *, quick: bool) -> Sequence[Chunk]:
        """Slices of each module's mutants; a sample of each when quick. What changed since is done again."""
        if quick:
            return [{"modules": list(MODULES)[half::2], "sample": SAMPLE} for half in (0, 1)]
        return [
            {"modules": [module], "slice": number, "of": count, "content": content_of(module)}
            for module in MODULES
            for count in [len((REPOSITORY / PACKAGE / module).read_text()) // SLICE + 1]
            for number in range(count)
        ]

    def run(self, chunk: Chunk, progress: Progress) -> dict[str, Any]:
        """Judge the chosen mutants, one after the other."""
        chosen = {module: choose(module, chunk) for module in chunk["modules"]}
        total, done = sum(map(len, chosen.values())), 0
        found: list[dict[str, Any]] = []
        for module, mutants in chosen.items():
            with Judge(module) as judge:
                for mutant in mutants:
                    verdict = judge.judge(mutant.code, at_import=mutant.at_import)
                    found.append({"module": module, "where": mutant.where, "change": mutant.change, **verdict})
                    print(verdict["verdict"], key_of(found[-1]), file=sys.stderr, flush=True)
                    done += 1
                    progress(done / total)
        # Who may live is asked when it is reported: a reason may come, or go, after the run.
        return {"mutants": found}

    def figures(self, results: Sequence[Mapping[str, Any]], *, quick: bool) -> list[Figure]:
        """The share that was noticed, per module, and who was not."""
        found = [one for result in results for one in result["mutants"]]
        lines = [_score(module, [one for one in found if one["module"] == module]) for module in MODULES]
        survivors = [one for one in found if one["verdict"] == "survived"]
        return [
            _score("all", found),
            *(line for line in lines if line.value),
            Figure("survivors", len(survivors), "each with its reason", not any(map(is_unknown, survivors))),
            *([] if quick else [_stale(found)]),
            *map(_survivor, survivors),
        ]


def _score(name: str, found: Sequence[Mapping[str, Any]]) -> Figure:
    """Of the mutants that anybody could notice: those with a reviewed reason to live are named, and not counted."""
    counted = [one for one in found if one["verdict"] != "survived" or is_unknown(one)]
    noticed = [one for one in counted if one["verdict"] != "survived"]
    share = round(100 * len(noticed) / len(counted), 1) if counted else 0
    verdicts = Counter(one["verdict"] for one in found)
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    reviewed = f", {len(found) - len(counted)} with a reason"
    return Figure(f"mutants of {name} noticed, %", share, f">= {BAR}", not found or share >= BAR, said + reviewed)


def _survivor(one: Mapping[str, Any]) -> Figure:
    reason = REVIEWED.get(key_of(one), "no test notices it")
    return Figure(f"`{key_of(one)}`", "survived", "a reason", not is_unknown(one), reason)


def _stale(found: Sequence[Mapping[str, Any]]) -> Figure:
    """Reasons whose code has changed since: they would excuse nobody, or one day somebody else."""
    stale = sorted(set(REVIEWED) - set(map(key_of, found)))
    return Figure("reasons that name no mutant", len(stale), "0", not stale, "; ".join(f"`{key}`" for key in stale))


def key_of(one: Mapping[str, Any]) -> str:
    """How the list of reviewed survivors names a mutant."""
    return f"{one['module']} {one['where']}: {one['change']}"


def is_unknown(one: Mapping[str, Any]) -> bool:
    """It lives, and nobody has said why it may."""
    return one["verdict"] == "survived" and key_of(one) not in REVIEWED


def choose(module: str, chunk: Chunk) -> Sequence[Any]:
    """The mutants of a module that a piece looks at."""
    # Its two libraries are wanted by nobody else.
    from .mutants import Mutants

    mutants = Mutants((REPOSITORY / PACKAGE / module).read_text())
    everything = range(len(mutants))
    if "sample" in chunk:
        return mutants.make(random.Random(f"{SEED} {module}").sample(everything, min(chunk["sample"], len(mutants))))
    return mutants.make(everything[chunk["slice"] :: chunk["of"]])


def content_of(module: str) -> str:
    """A mark of the module and its tests as they are now."""
    tests = {test.partition("::")[0] for test in MODULES[module] if not test.startswith("-")}
    files = [REPOSITORY / PACKAGE / module, *(REPOSITORY / test for test in sorted(tests))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


class Judge:
    """Runs tests against the mutants of one module, in a copy of the repository."""

    def __init__(self, module: str) -> None:
        self.name = f"{PACKAGE}.{module.removesuffix('.py').replace('/', '.')}"
        self.tests = MODULES[module]
        self.servers: dict[bool, subprocess.Popen[str]] = {}

    def __enter__(self) -> "Judge":
        self.copy = Path(tempfile.mkdtemp(prefix="gatewaypay-mutants-"))
        for name in COPIED:
            source = REPOSITORY / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, self.copy / name)
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers.values():
            assert server.stdin
            assert server.stdout
            server.stdin.close()
            server.wait(60)
            server.stdout.close()
        shutil.rmtree(self.copy)

    def judge(self, code: str | None, *, at_import: bool) -> dict[str, Any]:
        """Killed by which test, timed out, or survived."""
        server = self.servers.get(at_import) or self._start(at_import)
        assert server.stdin
        assert server.stdout
        server.stdin.write(json.dumps({"name": self.name, "code": code, "tests": self.tests}) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        if not answer:
            raise RuntimeError(self._log(at_import).read_text()[-3000:])
        verdict: dict[str, Any] = json.loads(answer)
        return verdict

    def _start(self, at_import: bool) -> "subprocess.Popen[str]":
        scratch = self.copy / f"scratch-{at_import:d}"
        scratch.mkdir()
        with self._log(at_import).open("w") as log:
            self.servers[at_import] = subprocess.Popen(
                [sys.executable, "-m", "tests.proof.mutation_server", *([] if at_import else self.tests)],
                cwd=self.copy,
                env={**os.environ, **ENVIRONMENT, "GATEWAYPAY_TEST_SCRATCH": str(scratch)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        # Tests that fail anyway would notice everything.
        sound = self.judge(None, at_import=at_import)
        if sound["verdict"] != "survived":
            raise RuntimeError(f"The tests of {self.name} fail without any change: {sound}")
        return self.servers[at_import]

    def _log(self, at_import: bool) -> Path:
        return self.copy / f"server-{at_import:d}.log"
