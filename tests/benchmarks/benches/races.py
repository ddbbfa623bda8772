"""P3: what many at once end in. Nothing is timed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from ...proof.frame import REPOSITORY
from ..frame import Bench, Line, Result
from ..servers import databases

__all__ = ["RacesBench"]

FILE = "tests/test_races.py"
HUNDRED = "test_a_hundred_copies_of_one_callback_are_one"
COPIES = "one callback, a hundred times at once: one row, one move, one fulfilment, each answered 200"
CONFLICTS = {
    "test_callback_and_poll_never_disagree": "callback against poll, 200 times: one move, one fulfilment each",
    "test_contradicting_callbacks_always_end_paid": "paid against failed, 200 times: paid, and both are kept",
    "test_expiry_and_payment_in_the_same_instant": "callback against expiry, 50 times: paid, in time or late",
}


class RacesBench(Bench):
    """Runs what the suite has, on PostgreSQL."""

    name = "races"
    title = "A hundred copies of one callback; two hundred conflicts at once"

    def run(self, *, quick: bool) -> Result:
        """See `Bench`. Quick: the copies alone."""
        wanted = [HUNDRED] if quick else [HUNDRED, *CONFLICTS]
        with tempfile.TemporaryDirectory() as folder, databases(["races"]) as known:
            report = Path(folder) / "report.xml"
            told = [f"{FILE}::{name}" for name in wanted]
            subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", *told],
                cwd=REPOSITORY,
                env={**os.environ, "GATEWAYPAY_TEST_DB": "postgres", "DATABASE_URL": known["races"]},
                stdout=sys.stderr,
                check=False,
            )
            return {"seen": outcomes(report)}

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        return [self._line(name, words, result["seen"]) for name, words in {HUNDRED: COPIES, **CONFLICTS}.items()]

    def _line(self, name: str, words: str, seen: dict[str, str]) -> Line:
        figure = seen.get(name, "–")
        return Line("P3", words, figure, "passed", figure == "passed" if name in seen else None, f"`{FILE}`")


def outcomes(report: Path) -> dict[str, str]:
    """Each test of a JUnit report by name: passed, skipped or failed."""
    cases = ElementTree.parse(report).iter("testcase")  # noqa: S314 - written by our own pytest a moment ago
    return {case.attrib["name"]: outcome(case) for case in cases}


def outcome(case: ElementTree.Element) -> str:
    """What one test came to."""
    tags = {child.tag for child in case}
    if tags & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in tags else "passed"
