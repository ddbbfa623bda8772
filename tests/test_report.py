"""The page of the proof."""

import json
from pathlib import Path

import pytest

from tests.proof import report


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of a documentation that nobody has written yet."""
    monkeypatch.setattr(report, "DATA", tmp_path / "proof.json")
    monkeypatch.setattr(report, "PAGE", tmp_path / "proof.md")
    return tmp_path / "proof.md"


def piece(folder: Path, commit: str, number: int = 0, began: int = 0, seconds: float = 7) -> None:
    """One piece of the weather that has been run."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {"chunk": {}, "result": {"violations": []}, "commit": commit, "began": began, "seconds": seconds}
    machine = {"cores": 2, "system": "Linux", "python": "3.13.0"}
    (folder / f"{number:04}.json").write_text(json.dumps(said | {"machine": machine}))


def test_what_was_not_run_is_not_met(page: Path, tmp_path: Path) -> None:
    """A part without a piece says so in the report, and the run has not met its bars."""
    met = report.write(tmp_path / "empty", quick=False, shown=["weather"])

    assert not met
    assert "make prove PART=weather` · **not run at this size yet**" in page.read_text()


def test_another_checkout_goes_on_with_the_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier checkout has run stays in the page, with its own commit."""
    monkeypatch.setattr("tests.proof.weather.Weather.figures", lambda *_, **__: [])
    piece(tmp_path / "first" / "weather", "aaaa")
    report.write(tmp_path / "first", quick=False, shown=["weather"])
    report.write(tmp_path / "second", quick=False, shown=["weather"])

    assert "make prove PART=weather` · commit aaaa · 2 cores" in page.read_text()


def test_the_whole_is_of_one_commit_and_in_time(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pieces at once take their time once, and a pause between two runs takes none."""
    monkeypatch.setattr("tests.proof.weather.Weather.figures", lambda *_, **__: [])
    for number, (began, seconds) in enumerate([(0, 3000), (600, 1200), (90_000, 4200)]):
        piece(tmp_path / "weather", "aaaa", number, began, seconds)
    report.write(tmp_path, quick=False, shown=["weather"])

    assert "| commits | aaaa | one | met |" in page.read_text()
    assert "| minutes, without pauses | 120 | <= 120 | met |" in page.read_text()

    piece(tmp_path / "weather", "bbbb", 3, 100_000, 60)
    report.write(tmp_path, quick=False, shown=["weather"])

    assert "| commits | aaaa, bbbb | one | **NOT MET** |" in page.read_text()
    assert "| minutes, without pauses | 121 | <= 120 | **NOT MET** |" in page.read_text()


def test_a_proof_of_several_commits_is_not_met(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said where all parts are asked for, and not where one is."""
    monkeypatch.setattr(report, "NAMES", {"weather": ""})
    monkeypatch.setattr("tests.proof.weather.Weather.figures", lambda *_, **__: [])
    monkeypatch.setattr("tests.proof.weather.Weather.chunks", lambda *_, **__: [{}, {}])
    for number, commit in enumerate(["aaaa", "bbbb"]):
        piece(tmp_path / "weather", commit, number)

    assert not report.write(tmp_path, quick=False, shown=["weather"])
    assert "NOT MET commits: aaaa, bbbb (bar: one)" in capsys.readouterr().out
