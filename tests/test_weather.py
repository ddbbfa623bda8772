"""An outage on a clock of its own: the gateway is left alone, and what waited comes back without a spike."""

from collections.abc import Iterator
from typing import Any

import pytest

from django_gatewaypay.gateways.circuit import Circuit
from django_gatewaypay.services import refreshing
from tests.proof.weather import Outage, Weather

pytestmark = [pytest.mark.no_cover, pytest.mark.django_db(transaction=True), pytest.mark.slow]

ROWS, MINUTES = 60, 2


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """An outage is a line for every row."""
    with caplog.at_level("CRITICAL", "gatewaypay"):
        yield


def weather(kind: str = "silence") -> dict[str, Any]:
    return Outage(rows=ROWS, minutes=MINUTES, kind=kind).play(lambda _: None)


def unmet(result: dict[str, Any]) -> set[str]:
    return {figure.name for figure in Weather().figures([result], quick=True) if not figure.met}


@pytest.mark.parametrize("kind", ["silence", "refusal"])
def test_an_outage_passes(kind: str) -> None:
    """Every bar is met, and every paid payment is found."""
    result = weather(kind)

    assert (unmet(result), result["violations"]) == (set(), [])
    assert result["paid"] == ROWS // 2


@pytest.mark.checker
def test_without_a_circuit_the_gateway_would_be_stormed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the figures can fail: every row knocks three times each time."""
    monkeypatch.setattr(Circuit, "enter", lambda *_: 0.0)

    assert "calls a second during the outage" in unmet(weather())


@pytest.mark.checker
def test_without_chance_all_would_come_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put off by a fixed time is a spike later."""
    monkeypatch.setattr(refreshing.random, "uniform", lambda *_: 1.0)

    assert "most calls in one second after it" in unmet(weather())
