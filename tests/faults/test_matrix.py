"""The matrix is whole: each of the 54 faults has a test, and no test counts for a fault that is not in the list."""

import ast
import re
from pathlib import Path
from textwrap import dedent

from tests.proof.faults import TITLES, Faults, read_report

FAULTS = range(1, 55)


def numbers() -> set[int]:
    """The faults that the functions of this folder name."""
    found = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_fault"):
                named = re.fullmatch(r"test_fault_(\d\d)_[a-z0-9_]+", node.name)
                assert named, node.name
                found.add(int(named[1]))
    return found


def test_every_fault_has_a_test() -> None:
    """1 to 54, and nothing else."""
    assert numbers() == set(FAULTS)
    assert len(TITLES) == len(FAULTS)


REPORT = dedent("""\
    <testsuites><testsuite>
    <testcase classname="tests.faults.test_x" name="test_fault_01_good[sandbox-1]"/>
    <testcase classname="tests.faults.test_x" name="test_fault_01_good[stripe-1]"/>
    <testcase classname="tests.faults.test_x" name="test_fault_01_open"><skipped type="pytest.xfail"/></testcase>
    <testcase classname="tests.faults.test_x" name="test_fault_02_bad"><failure/></testcase>
    <testcase classname="tests.faults.test_x" name="test_fault_02_good"/>
    <testcase classname="tests.faults.test_x" name="test_fault_03_broken"/>
    <testcase classname="tests.faults.test_x" name="test_fault_03_broken"><error/></testcase>
    <testcase classname="tests.faults.test_x" name="test_fault_04_open"><skipped type="pytest.xfail"/></testcase>
    <testcase classname="tests.faults.test_x" name="test_fault_05_away"><skipped type="pytest.skip"/></testcase>
    <testcase classname="tests.faults.test_x" name="test_something_else"/>
    </testsuite></testsuites>""")


def test_the_proof_counts_what_is_green_and_nothing_else() -> None:
    """Failed, broken, only expected to fail, skipped, missing, or not run on one database: none of it is met."""
    faults = read_report(REPORT)
    both = [{"db": database, "faults": faults} for database in ("sqlite", "postgres")]
    rows = {figure.name: figure for figure in Faults().figures(both, quick=True)}
    one = {figure.name: figure for figure in Faults().figures(both[:1], quick=True)}

    assert [name for name, figure in rows.items() if name.startswith("fault ") and figure.met] == ["fault 01"]
    assert rows["fault 01"].value == "3 tests: sandbox, stripe"
    assert "sqlite 2 passed, 1 xfailed; postgres 2 passed, 1 xfailed" in rows["fault 01"].note
    assert not one["fault 01"].met
    assert (rows["faults covered and green on both databases"].value, rows["fault 06"].value) == ("1 of 54", "no test")
    assert rows["single expectations not reached yet (xfail)"].value == 2
