"""The model test in its everyday size, and the proof that it finds what it is for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_gatewaypay import dispatch
from django_gatewaypay.lifecycle import decision, door, movements
from django_gatewaypay.models import Capture, Fulfilment, Refund
from django_gatewaypay.services import callbacks, captures, refunds, trips
from django_gatewaypay.types import MovementState, PaymentUpdate, State
from tests.proof.model import Model
from tests.proof.model.crash import Crash, Killed
from tests.proof.model.machine import Machine, Silence, play, stage
from tests.proof.model.plain import Expectation, Fact, Payment
from tests.shop.models import Order

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover]

# `.ci/run` plays 300 x 50 in the quick proof, on two cores and without measuring coverage.
RUNS, STEPS = 20, 50
PLAIN = Path(__file__).parent / "proof" / "model" / "plain.py"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_program_departs_from_the_model() -> None:
    """Programs of fifty steps: every invariant and every expectation holds after each."""
    with stage() as here:
        play(here, seed=0, runs=RUNS, steps=STEPS)

    assert here.tally["runs"] >= RUNS
    assert here.tally["steps"] >= RUNS * STEPS
    for name in (
        "initiate", "callback", "callback: again", "callback: forged", "poll", "expire", "cancel", "refund", "capture",
        "crash",
    ):  # fmt: skip
        assert here.tally[name], f"{name} was not played"


# --- It can fail.


def downgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late `expired` moves a payment that was paid."""
    table = {**decision.TRANSITIONS, State.SUCCESS: frozenset({State.EXPIRED, State.FAILED, State.CANCELED})}
    monkeypatch.setattr(decision, "TRANSITIONS", table)


def fulfil_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook is called outside of the transaction that marks it done."""
    real = dispatch._call_hook

    def call_twice(owed: Fulfilment) -> None:
        real(owed)
        real(owed)

    monkeypatch.setattr(dispatch, "_call_hook", call_twice)


def believe_any_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signed success counts whatever was paid."""
    monkeypatch.setattr(decision, "_target", lambda after, update: update.state or after.state)


def forget_what_is_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fulfilment is called after the commit, and no outbox row remembers it."""
    monkeypatch.setattr(
        door.Entry, "_write_owed", lambda self, row, decision: Order.objects.filter(pk=row.order_id).update(paid=True)
    )


def believe_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No signature is checked."""
    from tests.proof.model.wire import ModelGateway

    monkeypatch.setattr(ModelGateway, "verify_callback", lambda self, request: None)


def acknowledge_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is answered before it is kept."""
    monkeypatch.setattr(callbacks, "_store", lambda *_: None)


def renew_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refund that got no answer is told again under another key."""
    key = property(lambda refund: f"{refund.pk}-{refund.attempts}")
    monkeypatch.setattr(Refund, "gateway_key", key)


def forget_what_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be given back is what has not come back yet: refunds in flight are left out."""
    for place in (movements, refunds):
        monkeypatch.setattr(place, "left_to_refund", lambda row: row.captured_minor - row.returned_minor)


def take_silence_for_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refund that timed out has failed."""
    real = trips._keep_trying

    def fail(trip: Any, error: Exception) -> None:
        trip.climb(MovementState.FAILED, error=str(error)) if trip.errand.kind is Refund else real(trip, error)

    monkeypatch.setattr(trips, "_keep_trying", fail)


def capture_under_any_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture that got no answer is told again under another key."""
    monkeypatch.setattr(Capture, "gateway_key", property(lambda capture: f"{capture.pk}-{capture.attempts}"))


def count_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was just captured is added to a total that has it in it already."""
    real = captures._read

    def add(movement: Capture, told: PaymentUpdate) -> Any:
        return real(movement, replace(told, captured=told.captured + movement.amount if told.captured else None))

    monkeypatch.setattr(captures, "_read", add)


def decide_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a second person."""
    monkeypatch.setattr(movements, "_is_above_limit", lambda refund: False)


DEFECTS = [
    downgrade, fulfil_twice, believe_any_amount, forget_what_is_owed, believe_anybody,
    acknowledge_first, forget_what_is_on_its_way, count_twice, decide_alone,
]  # fmt: skip
#: What comes to light only where the gateway's answer is lost.
DEFECTS_IN_SILENCE = [renew_the_key, take_silence_for_a_no, capture_under_any_key]


def play_small(world: type[Machine], runs: int) -> None:
    """The same programs, whatever is planted."""
    with stage() as here:
        play(here, seed=1, runs=runs, steps=30, shrink=False, world=world)


@pytest.mark.parametrize("plant", DEFECTS)
def test_a_planted_defect_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: Any) -> None:
    """The small size is enough to find each."""
    plant(monkeypatch)

    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever breaks first
        play_small(Machine, runs=60)
    assert isinstance(caught.value, AssertionError) or "Order" in str(caught.value), caught.value


@pytest.mark.parametrize("plant", DEFECTS_IN_SILENCE)
def test_a_defect_is_found_where_answers_are_lost(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: Any
) -> None:
    """So is what needs a gateway that moves money and does not say so."""
    plant(monkeypatch)

    with pytest.raises(AssertionError):
        play_small(Silence, runs=20)


def test_lost_answers_alone_break_nothing() -> None:
    """The same programs without a defect: what is found above is the defect."""
    play_small(Silence, runs=20)


def test_a_failure_names_its_seed_and_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the report prints can be played again."""
    fulfil_twice(monkeypatch)
    monkeypatch.setattr("django.test.utils.setup_databases", lambda **_: [])
    monkeypatch.setattr("django.test.utils.teardown_databases", lambda *_, **__: None)
    result = Model().run({"seed": 7, "runs": 20, "steps": 10, "db": "sqlite"}, bool)

    [violation] = result["violations"]
    assert violation["what"].startswith("seed 7 on sqlite: Violation: invariant 8: ")
    assert "state.begin(" in violation["what"]
    assert violation["replay"] == "python -m tests.proof.model seed=7 runs=20 steps=10 db=sqlite"


# --- Its parts.


def test_the_model_is_small_and_knows_nothing_of_the_package() -> None:
    """Whoever reads it sees what the truth is held to."""
    source = PLAIN.read_text()

    assert "django" not in source.replace("no Django", "")
    assert len([line for line in source.splitlines() if line.strip()]) < 140


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_loses_what_was_not_committed_and_everything_after_it(after: bool) -> None:
    """Just before the commit nothing is there; just after it the row is, and nothing follows."""
    with Crash() as crash:
        crash.arm(2, after=after)
        Order.objects.create()
        with pytest.raises(Killed):
            Order.objects.create()
        with pytest.raises(Killed):
            Order.objects.create()
        crash.disarm()
        connection.close()

        assert Order.objects.count() == 1 + after


def test_after_a_crash_several_things_are_possible_and_the_books_say_which() -> None:
    """What cannot have come of it is a violation."""
    expected = Expectation()
    expected.must([Fact("pending")])
    expected.may([Fact("success", captured=1999), Fact("expired")])

    assert {payment.state for payment in expected.payments} == {"pending", "expired", "success"}
    assert not expected.saw(Payment("failed"))
    expected.must([Fact("success", captured=5)])
    assert expected.payment.state == "held"
