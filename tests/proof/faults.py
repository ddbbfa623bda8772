"""The fault matrix on both databases: 54 faults, each with the tests that inject it and what came of them."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

from .frame import REPOSITORY, Chunk, Figure, Part, Progress

__all__ = ["TITLES", "Faults", "read_report"]

DATABASES = ("sqlite", "postgres")
#: Set, it leaves one test of each fault (tests/faults/conftest.py).
SAMPLE = "GATEWAYPAY_FAULTS_SAMPLE"
#: Set, it leaves all, of each gateway on each database.
ALL = "GATEWAYPAY_FAULTS_ALL"
GATEWAYS = ("sandbox", "stripe", "mollie")
SHARE = re.compile(r"\[ *(\d+)%\]")
NAME = re.compile(r"test_fault_(\d\d)_")

#: What is injected (reliability.md, list B).
TITLES = (
    "no signature, or another scheme", "a flipped bit", "a reserialised body", "a signature too old",
    "a signature of the future, or of no time", "a hundred copies at once", "secrets are rotated",
    "signatures that begin rightly", "no secret is configured", "bodies without measure, other types and methods",
    "a flood of forgeries", "another amount", "another currency", "another merchant's transaction",
    "another account or session", "unknown types, fields and words", "hints with made-up ids",
    "play money on a live account", "older news after the success", "a declined attempt, then success",
    "every order of five events, with duplicates", "the callback before the answer", "callback and poll at once",
    "success beside the expiry", "no callback at all", "our clock is wrong", "paid twice",
    "timeouts, before and after the effect", "killed between answer and commit", "500 for ever",
    "a retry after the key's life", "429 and Retry-After", "the gateway is down", "drips, floods, redirects, bad TLS",
    "a definite no", "web is killed at each commit", "killed between commit and on_commit", "an on_commit job raises",
    "the host's hook fails in each way", "a worker is killed, tasks come twice", "several beats",
    "the queue is flushed", "the database is away", "SQLite under eight writers", "a bad deploy",
    "a change while the page connects", "the channel layer drops all", "Redis is cut from open pages",
    "half-open sockets", "two thousand shoppers reconnect", "a double click on \"pay\"", "prices from the browser",
    "addresses to return to", "two refunds at once",
)  # fmt: skip


class Faults(Part):
    """One run of `tests/faults` for each database."""

    name: ClassVar[str] = "faults"
    title: ClassVar[str] = "Every fault of the matrix ends as it has to, on SQLite and on PostgreSQL."

    def chunks(self, *, quick: bool) -> Sequence[Chunk]:
        """The whole matrix on each database; when quick, one test of each fault: `make test` runs them all."""
        return [{"db": database, "sample": quick} for database in DATABASES]

    def run(self, chunk: Chunk, progress: Progress) -> dict[str, Any]:
        """All tests of the matrix in a process of their own."""
        database = str(chunk["db"])
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            code, last = run_pytest(report, database, progress, sample=bool(chunk["sample"]))
            cases = read_report(report.read_text()) if report.exists() else {}
        violations = [
            violation(case, database) for tests in cases.values() for case in tests if case["said"] == "failed"
        ]
        if code not in {0, 1} or not cases:
            violations.append({"what": f"pytest ended with {code}: {last}", "replay": command(database, "")})
        return {"db": database, "faults": cases, "violations": violations}

    def figures(self, results: Sequence[Mapping[str, Any]], *, quick: bool) -> list[Figure]:
        """How many are green on both, and one line each."""
        by_database = {result["db"]: result["faults"] for result in results}
        rows = [row(number, title, by_database) for number, title in enumerate(TITLES, 1)]
        met = sum(one.met for one in rows)
        total = len(TITLES)
        opened = sorted({case["name"] for case in every_case(by_database) if case["said"] == "xfailed"})
        return [
            Figure(
                "faults covered and green on both databases", f"{met} of {total}", f"{total} of {total}", met == total
            ),
            Figure("single expectations not reached yet (xfail)", len(opened), note=", ".join(opened)),
            *rows,
        ]


def run_pytest(report: Path, database: str, progress: Progress, *, sample: bool) -> tuple[int, str]:
    """The exit code, and the last line that was printed."""
    options = [
        "-v",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        f"--junit-xml={report}",
        "--timeout=600",
        "--tb=short",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "tests/faults", *options],
        cwd=REPOSITORY,
        env={**os.environ, "GATEWAYPAY_TEST_DB": database, SAMPLE if sample else ALL: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    last = ""
    assert process.stdout
    for line in process.stdout:
        # What failed, and why, is in the piece's log.
        sys.stderr.write(line)
        last = line.strip() or last
        if found := SHARE.search(line):
            progress(int(found[1]) / 100)
    return process.wait(), last


def read_report(text: str) -> dict[str, list[dict[str, str]]]:
    """The cases of a JUnit report by the number of their fault; a setup or teardown that fails, fails its test."""
    cases: dict[str, list[dict[str, str]]] = {}
    for case in ElementTree.fromstring(text).iter("testcase"):  # noqa: S314 - our own report
        found = NAME.match(case.attrib["name"])
        if found:
            cases.setdefault(found[1], []).append(read_case(case))
    return cases


def read_case(case: ElementTree.Element) -> dict[str, str]:
    name, _, parameters = case.attrib["name"].partition("[")
    words = parameters.rstrip("]").split("-")
    file = case.attrib["classname"].replace(".", "/") + ".py"
    return {
        "name": name,
        "test": f"{file}::{case.attrib['name']}",
        "gateway": next((word for word in words if word in GATEWAYS), ""),
        "said": read_verdict(case),
    }


def read_verdict(case: ElementTree.Element) -> str:
    """ "passed", "failed", "xfailed" or "skipped"."""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    skipped = case.find("skipped")
    if skipped is None:
        return "passed"
    return "xfailed" if skipped.attrib.get("type") == "pytest.xfail" else "skipped"


def violation(case: Mapping[str, str], database: str) -> dict[str, str]:
    return {"what": f"{case['name']} on {database}", "replay": command(database, case["test"])}


def command(database: str, test: str) -> str:
    return f"GATEWAYPAY_TEST_DB={database} python -m pytest '{test or 'tests/faults'}'"


def every_case(by_database: Mapping[str, Mapping[str, Sequence[Mapping[str, str]]]]) -> Iterator[Mapping[str, str]]:
    return (case for faults in by_database.values() for cases in faults.values() for case in cases)


def row(number: int, title: str, by_database: Mapping[str, Mapping[str, Sequence[Mapping[str, str]]]]) -> Figure:
    """One fault: met when something passed, and nothing failed, on each database."""
    cases = {database: by_database.get(database, {}).get(f"{number:02}", []) for database in DATABASES}
    tests = {case["test"]: case for found in cases.values() for case in found}
    used = {case["gateway"] for case in tests.values()}
    gateways = ", ".join(gateway for gateway in GATEWAYS if gateway in used)
    said = {database: [case["said"] for case in found] for database, found in cases.items()}
    met = all("passed" in verdicts and "failed" not in verdicts for verdicts in said.values())
    value = f"{len(tests)} tests" + (f": {gateways}" if gateways else "") if tests else "no test"
    return Figure(f"fault {number:02}", value, "green on both", met, f"{title}; {'; '.join(map(tell, said.items()))}")


def tell(one: tuple[str, Sequence[str]]) -> str:
    """For example "sqlite 7 passed, 1 xfailed"."""
    database, verdicts = one
    counts = [
        f"{verdicts.count(word)} {word}" for word in ("passed", "failed", "xfailed", "skipped") if word in verdicts
    ]
    return f"{database} {', '.join(counts) or 'not run'}"
