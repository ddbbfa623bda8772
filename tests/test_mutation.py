"""The mutation run finds what no test notices, counts no excuse twice, and tells which excuses are stale."""

from typing import Any

import pytest

from tests.proof.mutation import MODULES, REPOSITORY, Judge, Mutation, choose, content_of, key_of
from tests.proof.survivors import REVIEWED

KNOWN = next(iter(REVIEWED))
SHARE = "mutants of money.py noticed, %"


def mutant(verdict: str = "killed", change: str = "a -> b") -> dict[str, Any]:
    return {"module": "money.py", "where": "to_minor", "change": change, "verdict": verdict, "by": ""}


def excused(key: str) -> dict[str, Any]:
    """A survivor with a reviewed reason."""
    place, _, change = key.partition(": ")
    module, _, where = place.partition(" ")
    return {"module": module, "where": where, "change": change, "verdict": "survived", "by": ""}


def unmet(*found: dict[str, Any], quick: bool = True) -> dict[str, str]:
    figures = Mutation().figures([{"mutants": found}], quick=quick)
    return {figure.name: figure.note for figure in figures if not figure.met}


def test_a_survivor_without_a_reason_is_told() -> None:
    """However good the share is."""
    killed = [mutant(change=str(number)) for number in range(99)]

    assert unmet(*killed) == {}
    assert unmet(*killed, mutant("survived")) == {
        "survivors": "",
        "`money.py to_minor: a -> b`": "no test notices it",
    }


def test_a_survivor_with_a_reason_is_not_counted() -> None:
    """The share is of those that anybody could notice."""
    figures = {one.name: one for one in Mutation().figures([{"mutants": [mutant(), excused(KNOWN)]}], quick=True)}

    assert figures["mutants of all noticed, %"].value == 100
    assert figures[f"`{KNOWN}`"].note == REVIEWED[KNOWN]
    assert SHARE not in unmet(*[mutant()] * 18, mutant("timed out"), mutant("survived"))
    assert SHARE in unmet(*[mutant()] * 18, mutant("survived"))


def test_a_reason_that_names_no_mutant_is_told() -> None:
    """Its code has changed; the full run has seen every mutant there is."""
    everyone = [excused(key) for key in REVIEWED]

    assert [key_of(one) for one in everyone] == list(REVIEWED)
    assert "reasons that name no mutant" not in unmet(mutant(), *everyone, quick=False)
    assert unmet(mutant(), *everyone[1:], quick=False)["reasons that name no mutant"] == f"`{KNOWN}`"


def test_every_module_and_its_tests_are_there() -> None:
    """And a changed test is judged again."""
    pieces = Mutation().chunks(quick=False)

    assert {piece["modules"][0] for piece in pieces} == set(MODULES)
    assert {piece["content"] for piece in pieces} == {content_of(module) for module in MODULES}
    assert all((REPOSITORY / "django_gatewaypay" / module).exists() for module in MODULES)


@pytest.mark.slow
def test_a_mistake_is_killed_and_a_change_of_nothing_survives() -> None:
    """The judge itself, warm and cold."""
    pytest.importorskip("mutmut")
    source = (REPOSITORY / "django_gatewaypay" / "money.py").read_text()
    wrong = source.replace("return int(scaled)", "return int(scaled) + 1")
    wrong_at_import = source.replace("[0-9]{1,15}", "[0-9]{1,16}")
    harmless = source.replace("return int(scaled)", "return int(scaled) + 0")

    with Judge("money.py") as judge:
        verdicts = [judge.judge(code, at_import=False) for code in (wrong, harmless)]
        verdicts.append(judge.judge(wrong_at_import, at_import=True))

    assert [one["verdict"] for one in verdicts] == ["killed", "survived", "killed"]
    assert "test_an_amount_survives_the_round_trip" in verdicts[0]["by"]


def test_the_sample_is_the_same_every_time() -> None:
    """A quick run can be repeated."""
    pytest.importorskip("mutmut")
    sample = [mutant.change for mutant in choose("schedule.py", {"sample": 7})]

    assert sample == [mutant.change for mutant in choose("schedule.py", {"sample": 7})]
    assert len(set(sample)) == 7
