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


def piece(folder: Path, commit: str) -> None:
    """One piece of the weather that has been run."""
    folder.mkdir(parents=True)
    machine = {"cores": 2, "system": "Linux", "python": "3.13.0"}
    said = {"chunk": {}, "result": {"violations": []}, "seconds": 7, "commit": commit, "machine": machine}
    (folder / "0000.json").write_text(json.dumps(said))


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
