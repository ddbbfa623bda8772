"""Every short sequence of updates ends where its set says; and a machine that does not is found out."""

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from django_gatewaypay.lifecycle import Decision, Facts, decide
from django_gatewaypay.lifecycle.decision import Kind
from django_gatewaypay.types import CLOSED_STATES, State
from tests.proof.exhaustion import WORLDS, Exhaustion, Walk, World, walk
from tests.proof.exhaustion_rules import LETTERS

# Millions of steps of one function, whose lines others cover.
pytestmark = pytest.mark.no_cover
# The mutation run walks less far, some hundred times.
LENGTH = int(os.environ.get("GATEWAYPAY_TEST_WALK", "4"))
Decide = Callable[..., Decision]


def world(name: str, late_payment: str = "review", judged: Decide = decide) -> World:
    letters, is_open = WORLDS[name]
    return World(letters, is_open, late_payment, judged)


@pytest.mark.parametrize("late_payment", ["review", "fulfil", "refund"])
@pytest.mark.parametrize("name", ["open", "created", "in part"])
def test_every_sequence_of_one_payment_ends_where_its_set_says(name: str, late_payment: str) -> None:
    """State, money and flags follow from what was said, in every order and with every repetition."""
    found = walk(world(name, late_payment), LENGTH)

    assert found.troubles == {}
    assert found.sequences > 15**LENGTH


@pytest.mark.parametrize(
    "late_payment",
    ["review", "fulfil", "refund"],
)
@pytest.mark.parametrize("name", ["two attempts", "three attempts", "two in part"])
def test_every_sequence_of_one_order_fulfils_it_at_most_once(name: str, late_payment: str) -> None:
    """Several attempts end as each would alone; one of them may have the fulfilment, and who pays twice is flagged."""
    assert walk(world(name, late_payment), LENGTH).troubles == {}


def test_the_walk_leaves_nothing_out() -> None:
    """Going through all sequences at once ends exactly where going through each of them ends."""
    small = World([["pending", "expired", "paid", "paid short", "our expiry", "other paid"]], True, "review")
    together = Walk(small)
    together.go(4, lambda _: None)
    one_by_one = set()
    for length in range(1, 5):
        for sequence in itertools.product(small.alphabet, repeat=length):
            known = small.start()[0].facts
            for _, letter in sequence:
                update, local = LETTERS[letter]
                known = decide(known, update, local=local).facts
            one_by_one.add((frozenset(sequence), known))

    found = {
        (frozenset(letter for bit, letter in enumerate(small.alphabet) if said >> bit & 1), ones[0].facts)
        for said, place in together.came
        for ones, _ in [together.places[place]]
    }
    assert found == one_by_one


# --- A machine with a mistake.


def lets_failure_overwrite_success(known: Facts, update: Any, **more: Any) -> Decision:
    decision = decide(known, update, **more)
    if known.state is State.SUCCESS and update.state is State.FAILED:
        return replace(decision, facts=replace(decision.facts, state=State.FAILED), kind=Kind.MOVED)
    return decision


def forgets_money(known: Facts, update: Any, **more: Any) -> Decision:
    decision = decide(known, update, **more)
    return replace(decision, facts=replace(decision.facts, captured=0)) if update.state is State.EXPIRED else decision


def takes_the_last_total(known: Facts, update: Any, **more: Any) -> Decision:
    decision = decide(known, update, **more)
    said = int(update.refunded.amount * 100) if update.refunded else known.refunded
    return replace(decision, facts=replace(decision.facts, refunded=said))


def keeps_the_first_end(known: Facts, update: Any, **more: Any) -> Decision:
    decision = decide(known, update, **more)
    stays = known.state in CLOSED_STATES and decision.facts.state is State.HELD
    return replace(decision, facts=replace(decision.facts, state=known.state), kind=Kind.AMENDED) if stays else decision


def fulfils_a_repeated_success(known: Facts, update: Any, **more: Any) -> Decision:
    decision = decide(known, update, **more)
    repeated = known.state is State.SUCCESS and update.state is State.SUCCESS
    return replace(decision, owed="fulfil") if repeated else decision


def never_looks_at_the_order(known: Facts, update: Any, **more: Any) -> Decision:
    return decide(replace(known, order_paid=False, paid_too=False, replaced=False), update, **more)


def overlooks_a_payment_that_waits_for_staff(known: Facts, update: Any, **more: Any) -> Decision:
    return decide(replace(known, paid_too=False), update, **more)


def expires_what_the_bank_has(known: Facts, update: Any, local: bool = False, **more: Any) -> Decision:
    return decide(known, update, local=local and known.state is not State.PROCESSING, **more)


def believes_any_money(known: Facts, update: Any, **more: Any) -> Decision:
    decision = decide(known, update, **more)
    short = update.state is State.SUCCESS and decision.facts.state is State.HELD and decision.kind == Kind.MOVED
    return replace(decision, facts=replace(decision.facts, state=State.SUCCESS)) if short else decision


def drops_a_flag(known: Facts, update: Any, **more: Any) -> Decision:
    decision = decide(known, update, **more)
    return replace(decision, facts=replace(decision.facts, attention=known.attention)) if update.flags else decision


def takes_a_promise_for_money(known: Facts, update: Any, **more: Any) -> Decision:
    decision = decide(known, update, **more)
    promised = decision.facts.agreed is not None and decision.facts.state in CLOSED_STATES
    return replace(decision, facts=replace(decision.facts, state=State.SUCCESS)) if promised else decision


def forgets_what_was_agreed(known: Facts, update: Any, **more: Any) -> Decision:
    return decide(replace(known, agreed=None), update, **more)


@pytest.mark.parametrize(
    ("name", "mistake", "length", "trouble"),
    [
        ("open", lets_failure_overwrite_success, 2, "success was left"),
        ("open", forgets_money, 2, "a total fell"),
        ("open", takes_the_last_total, 2, "a total fell"),
        ("open", keeps_the_first_end, 2, "state is expired, not held"),
        ("open", fulfils_a_repeated_success, 2, "a fulfilment without success"),
        ("open", expires_what_the_bank_has, 2, "our own word touched what is with the bank"),
        ("open", believes_any_money, 1, "success without our money"),
        ("open", drops_a_flag, 1, "attention is"),
        ("in part", takes_a_promise_for_money, 2, "success without our money"),
        ("in part", forgets_what_was_agreed, 2, "state is held, not success"),
        ("two attempts", never_looks_at_the_order, 2, "the order is owed its fulfilment twice"),
        ("two attempts", overlooks_a_payment_that_waits_for_staff, 3, "paid twice, and no duplicate_payment says so"),
    ],
)
def test_a_planted_mistake_is_found_with_its_shortest_sequence(
    name: str, mistake: Decide, length: int, trouble: str
) -> None:
    """Each rule of the walk can fail, and says after what."""
    troubles = walk(world(name, judged=mistake), 3).troubles

    assert [len(path) for said, path in troubles.items() if said.startswith(trouble)][:1] == [length], troubles


def test_the_piece_of_the_proof_reports_its_troubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken rule is a violation in the report, with the sequence."""
    chunk = {"world": "open", "late_payment": "review", "length": 2}
    assert Exhaustion().run(chunk, lambda _: None)["violations"] == []

    monkeypatch.setattr("tests.proof.exhaustion.World", lambda *given: world("open", judged=believes_any_money))
    violations = Exhaustion().run(chunk, lambda _: None)["violations"]

    assert any("['paid short']" in one["what"] for one in violations)
