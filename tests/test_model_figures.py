"""The model's figures are counted: where money is moved too far, they say so."""

from collections.abc import Callable
from typing import Any

import pytest
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.models import Capture, Refund
from tests.invariants import Books
from tests.proof.model import OVER, Model
from tests.proof.model.machine import Machine, stage
from tests.proof.model.scales import weigh

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover]

FIVE = Money(5, "EUR")


def refund(pk: Any) -> None:
    services.refund(pk, FIVE, reason="Asked.")


def capture(pk: Any) -> None:
    services.capture(pk, FIVE, final=False)


def lose_an_answer(alias: str, work: Callable[[Any], None]) -> dict[str, int]:
    """Let the gateway do what it is asked, lose its answer, and let the clock ask again; what was moved too far."""
    with stage() as here:
        machine = type("Play", (Machine,), {"stage": here})()
        machine.begin(alias, paid=True, moves=[])
        here.wire.fault = "lost"
        [pk] = machine.known
        work(pk)
        here.clock.shift(61)
        services.tick()
        assert here.wire.moved.total() > 0
        return weigh(here.wire, Books.read())


@pytest.mark.parametrize(("alias", "work"), [("hosted", refund), ("card", capture)])
def test_what_is_told_again_is_not_moved_again(alias: str, work: Callable[[Any], None]) -> None:
    """Nothing is over where the key is the same."""
    assert lose_an_answer(alias, work) == {"over-refund": 0, "over-capture": 0}


@pytest.mark.parametrize(
    ("alias", "work", "kind", "over"),
    [("hosted", refund, Refund, "over-refund"), ("card", capture, Capture, "over-capture")],
)
def test_money_that_was_moved_twice_is_counted(
    alias: str, work: Callable[[Any], None], kind: type, over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What got no answer is told again under another key."""
    monkeypatch.setattr(kind, "gateway_key", property(lambda row: f"{row.pk}-{row.attempts}"))

    assert lose_an_answer(alias, work) == {"over-refund": 0, "over-capture": 0, over: 1}


def test_a_figure_is_what_was_counted() -> None:
    """Nothing else decides whether the bar is met."""
    tally = {"runs": 300, "steps": 15_000, "refunds moved": 7, "over-refund": 1}
    figures = {figure.name: figure for figure in Model().figures([{"tally": tally}], quick=False)}
    small = {figure.name: figure for figure in Model().figures([{"tally": tally}], quick=True)}

    assert small["captures moved"].met, "the small size may miss what is rare"
    assert (figures["refunds moved"].value, figures["refunds moved"].met) == (7, True)
    assert (figures["captures moved"].value, figures["captures moved"].met) == (0, False)
    assert {name: figures[name].met for name in OVER} == {"over-refund": False, "over-capture": True}
