"""The one door: the truth table of `decide`, and what `apply_update` writes; test_exhaustion.py walks the sequences."""

from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from moneyed import Money

from django_gatewaypay.exceptions import InvalidTransition
from django_gatewaypay.lifecycle import TRANSITIONS, Facts, apply_update, decide, door
from django_gatewaypay.lifecycle.decision import LOCAL_MOVES
from django_gatewaypay.models import Fulfilment, Transaction, TransactionEvent
from django_gatewaypay.types import CLOSED_STATES, OPEN_STATES, PaymentUpdate, Source, State
from tests.factories import make_order, make_transaction

Kind = TransactionEvent.Kind
FULL, SHORT, OVER, FOREIGN = (Money("20.00", "EUR"), Money("5.00", "EUR"), Money("21.00", "EUR"), Money("20.00", "USD"))
REFERENCE = "ps_ours"


def facts(state: State, **known: Any) -> Facts:
    captured = 2000 if state is State.SUCCESS else 500 if state is State.HELD else 0
    return Facts(**{"state": state, "amount": 2000, "currency": "EUR", "captured": captured, **known})


def says(state: State | None, **more: Any) -> PaymentUpdate:
    captured = FULL if state is State.SUCCESS else None
    return PaymentUpdate(**{"state": state, "captured": captured, **more})


# --- The truth table.

EXPECTED_MOVES = {
    State.CREATED: "pending processing authorized expired canceled failed held success",
    State.PENDING: "processing authorized expired canceled failed held success",
    State.PROCESSING: "authorized expired canceled failed held success",
    State.AUTHORIZED: "expired canceled failed held success",
    State.EXPIRED: "held success",
    State.CANCELED: "held success",
    State.FAILED: "held success",
    State.HELD: "success",
    State.SUCCESS: "",
}


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("word", [None, *State])
def test_every_state_meets_every_word_of_a_gateway_as_the_table_says(before: State, word: State | None) -> None:
    """A gateway's word moves a transaction up the ladder or not at all."""
    decision = decide(facts(before), says(word))

    legal = word is not None and str(word) in EXPECTED_MOVES[before].split()
    assert decision.facts.state is (word if legal else before)
    assert (decision.kind is Kind.MOVED) is legal


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("word", [State.EXPIRED, State.CANCELED, State.FAILED, State.SUCCESS, State.HELD])
def test_our_own_word_closes_what_is_not_with_the_bank_and_nothing_else(before: State, word: State) -> None:
    """Expiry and cancel on our side never touch a payment that the bank decides, and never make money."""
    decision = decide(facts(before), says(word), local=True)

    own = {
        (State.CREATED, State.EXPIRED),
        (State.CREATED, State.CANCELED),
        (State.CREATED, State.FAILED),
        (State.PENDING, State.EXPIRED),
        (State.PENDING, State.CANCELED),
        (State.PENDING, State.HELD),
    }
    assert (decision.kind is Kind.MOVED) is ((before, word) in own)


def test_the_tables_are_the_ladder() -> None:
    """Every legal move climbs, and success has none."""
    for before, targets in TRANSITIONS.items():
        assert all(target.rank > before.rank for target in targets)
    assert TRANSITIONS[State.SUCCESS] == frozenset()
    assert all(targets <= TRANSITIONS[before] for before, targets in LOCAL_MOVES.items())


# --- Money.


@pytest.mark.parametrize(
    ("captured", "state", "reason"),
    [
        (FULL, State.SUCCESS, ""),
        (SHORT, State.HELD, "amount_mismatch"),
        (OVER, State.HELD, "amount_mismatch"),
        (Money("-20.00", "EUR"), State.HELD, "amount_mismatch"),
        (Money("20.001", "EUR"), State.HELD, "amount_mismatch"),
        (Money(0, "EUR"), State.HELD, "amount_mismatch"),
        (FOREIGN, State.HELD, "currency_mismatch"),
        (Money(2000, "JPY"), State.HELD, "currency_mismatch"),
        (None, State.HELD, "amount_mismatch"),
    ],
)
def test_a_success_counts_only_when_its_money_is_exactly_ours(
    captured: Money | None, state: State, reason: str
) -> None:
    """A signed success with other money is held for review, never success and never dropped."""
    decision = decide(facts(State.PENDING), says(State.SUCCESS, captured=captured))

    assert (decision.facts.state, decision.facts.reason) == (state, reason)
    assert ("mismatch" in decision.facts.attention) is (state is State.HELD)
    assert (decision.owed == Fulfilment.Kind.FULFIL) is (state is State.SUCCESS)


def test_a_short_payment_does_not_block_the_full_one() -> None:
    """A stranger's cent cannot keep an order from being paid."""
    held = decide(facts(State.PENDING), says(State.SUCCESS, captured=SHORT)).facts
    paid = decide(held, says(State.SUCCESS))

    assert paid.facts.state is State.SUCCESS
    assert paid.owed == Fulfilment.Kind.FULFIL


def test_more_money_after_success_raises_a_flag_and_changes_no_state() -> None:
    """An overpayment that shows later is kept and shown."""
    decision = decide(facts(State.SUCCESS), says(State.SUCCESS, captured=OVER))

    assert decision.facts.state is State.SUCCESS
    assert decision.facts.captured == 2100
    assert decision.facts.attention == {"mismatch"}
    assert decision.kind is Kind.AMENDED


@pytest.mark.parametrize("word", sorted(CLOSED_STATES))
def test_money_that_was_taken_is_never_told_as_a_failure(word: State) -> None:
    """A gateway that closes a session with money in it puts the transaction under review."""
    decision = decide(facts(State.PENDING, captured=500), says(word))

    assert decision.facts.state is State.HELD
    assert decision.facts.reason == "unexpected_capture"


def test_refunds_change_a_total_and_never_the_state() -> None:
    """Success is absorbing, also under a full refund."""
    decision = decide(facts(State.SUCCESS), says(State.SUCCESS, refunded=FULL))

    assert (decision.facts.state, decision.facts.refunded) == (State.SUCCESS, 2000)


# --- References.


@pytest.mark.parametrize("before", sorted(OPEN_STATES | CLOSED_STATES))
def test_money_on_another_session_is_held(before: State) -> None:
    """A payment that names our transaction but not our session waits for a person."""
    known = facts(before, gateway_reference=REFERENCE)
    decision = decide(known, says(State.SUCCESS, gateway_reference="ps_other"))

    assert (decision.facts.state, decision.facts.reason) == (State.HELD, "reference_mismatch")
    assert decision.facts.gateway_reference == REFERENCE
    assert decision.owed is None


def test_another_session_that_merely_ends_is_noted() -> None:
    """An older session's `expired` does not touch the one that is being paid."""
    known = facts(State.PENDING, gateway_reference=REFERENCE)
    decision = decide(known, says(State.EXPIRED, gateway_reference="ps_other"))

    assert decision.facts == known
    assert decision.kind is Kind.NOTED


def test_money_on_another_session_after_success_raises_a_flag() -> None:
    """Paid twice in two sessions: the first stays, the second is visible."""
    known = facts(State.SUCCESS, gateway_reference=REFERENCE)
    decision = decide(known, says(State.SUCCESS, gateway_reference="ps_other"))

    assert decision.facts == replace(known, attention=frozenset({"mismatch"}))


# --- Late money, paid twice, reserved for nothing.


@pytest.mark.parametrize("before", sorted(CLOSED_STATES))
@pytest.mark.parametrize(("policy", "owed"), [("review", None), ("fulfil", Fulfilment.Kind.FULFIL)])
def test_late_money_wins_and_the_policy_decides_about_the_order(before: State, policy: str, owed: Any) -> None:
    """A success after the end is a success, marked late; staff decide unless the host has said so."""
    decision = decide(facts(before), says(State.SUCCESS), late_payment=policy)

    assert (decision.facts.state, decision.facts.late, decision.owed) == (State.SUCCESS, True, owed)
    assert ("late" in decision.facts.attention) is (owed is None)


@pytest.mark.parametrize("before", [State.PENDING, State.EXPIRED])
@pytest.mark.parametrize("policy", ["review", "fulfil"])
def test_a_second_paid_transaction_of_an_order_fulfils_nothing(before: State, policy: str) -> None:
    """Paid twice: the money is kept and flagged, and the order is fulfilled once."""
    decision = decide(facts(before, order_paid=True), says(State.SUCCESS), late_payment=policy)

    assert decision.facts.state is State.SUCCESS
    assert decision.owed is None
    assert "duplicate_payment" in decision.facts.attention


def test_a_late_success_that_a_newer_attempt_has_replaced_waits_for_staff() -> None:
    """The shopper is paying again already: the old money is a duplicate until a person says otherwise."""
    decision = decide(facts(State.EXPIRED, replaced=True), says(State.SUCCESS), late_payment="fulfil")

    assert decision.owed is None
    assert {"duplicate_payment", "late"} <= decision.facts.attention


@pytest.mark.parametrize("before", sorted(CLOSED_STATES))
def test_an_authorization_that_comes_after_the_end_is_let_go(before: State) -> None:
    """Funds reserved for nothing are released and flagged."""
    decision = decide(facts(before), says(State.AUTHORIZED, authorized=FULL))

    assert decision.release_authorization
    assert decision.facts.state is before
    assert "late" in decision.facts.attention


@pytest.mark.parametrize("before", sorted(OPEN_STATES))
@pytest.mark.parametrize("word", sorted(CLOSED_STATES))
def test_the_end_of_an_open_payment_owes_a_release(before: State, word: State) -> None:
    """Stock goes back when a payment ends unpaid, once."""
    ended = decide(facts(before), says(word))
    again = decide(ended.facts, says(State.FAILED))

    assert ended.owed == Fulfilment.Kind.RELEASE
    assert again.owed is None


def test_a_gateways_flag_reaches_staff_and_moves_nothing() -> None:
    """A dispute is news about money that was taken; the state stays."""
    decision = decide(facts(State.SUCCESS), PaymentUpdate(flags=frozenset({"disputed"})))

    assert (decision.facts.state, decision.facts.attention) == (State.SUCCESS, {"disputed"})
    assert decision.kind is Kind.AMENDED


# --- The door.


@pytest.mark.django_db(transaction=True)
class TestApplyUpdate:
    """What one call writes, and what it never writes."""

    def test_a_move_writes_the_row_the_ledger_and_the_outbox_together(self) -> None:
        """One version up, one event, one fulfilment; replaying the ledger gives the row."""
        row = make_transaction(State.PENDING)
        paid = says(State.SUCCESS, captured=row.amount, gateway_reference=row.gateway_reference)
        outcome = apply_update(row.pk, paid, source=Source.POLL)

        row.refresh_from_db()
        event = row.events.last()
        assert outcome.moved
        assert (row.state, row.version) == ("success", 2)
        assert (event.version, event.from_state, event.to_state, event.source) == (2, "pending", "success", "poll")
        assert (event.captured_minor, event.evidence["captured"]) == (1999, "19.99 EUR")
        assert Fulfilment.objects.get().key == f"fulfil:{row.order_id}"

    def test_saying_it_again_writes_nothing(self) -> None:
        """A duplicate changes no row and adds no event."""
        row = make_transaction(State.PENDING)
        paid = says(State.SUCCESS, captured=row.amount)
        apply_update(row.pk, paid, source=Source.POLL)
        events = TransactionEvent.objects.count()
        outcome = apply_update(row.pk, paid, source=Source.CALLBACK)

        assert not outcome.moved
        assert TransactionEvent.objects.count() == events
        assert Transaction.objects.get().version == 2

    def test_a_contradicting_callback_is_kept_as_a_note(self) -> None:
        """The loser of a race stays readable, and changes nothing."""
        row = make_transaction(State.SUCCESS)
        apply_update(row.pk, says(State.EXPIRED), source=Source.CALLBACK)

        row.refresh_from_db()
        assert row.state == "success"
        assert row.events.last().kind == Kind.NOTED
        assert row.events.last().note == "ignored expired"

    def test_success_stops_the_polling_and_expiry_goes_on_watching(self) -> None:
        """The gateway is asked about what may still change, and about nothing else."""
        paid, expired = make_transaction(State.PENDING), make_transaction(State.PENDING)
        apply_update(paid.pk, says(State.SUCCESS, captured=paid.amount), source=Source.POLL)
        apply_update(expired.pk, says(State.EXPIRED), source=Source.EXPIRY, local=True)

        assert Transaction.objects.get(pk=paid.pk).next_poll_at is None
        assert Transaction.objects.get(pk=expired.pk).next_poll_at is not None

    def test_two_paid_transactions_of_one_order_fulfil_it_once(self) -> None:
        """The second success is kept, flagged and owed nothing."""
        order = make_order()
        first = make_transaction(State.PENDING, order=order)
        second = make_transaction(State.PENDING, order=order, gateway="second")
        for row in (first, second):
            apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL)

        order.refresh_from_db()
        second.refresh_from_db()
        assert order.fulfilments == 1
        assert (second.state, second.attention) == ("success", "duplicate_payment")

    def test_a_failed_commit_leaves_nothing_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Row, ledger and outbox commit together or not at all."""
        row = make_transaction(State.PENDING)

        def crash(*_: Any, **__: Any) -> None:
            raise RuntimeError("the process dies here")

        monkeypatch.setattr(door.Entry, "_write_owed", crash)
        with pytest.raises(RuntimeError):
            apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL)

        row.refresh_from_db()
        assert (row.state, row.version, row.events.count()) == ("pending", 1, 2)
        assert not Fulfilment.objects.exists()

    def test_the_actor_and_the_note_are_in_the_ledger(self) -> None:
        """Staff are named where they acted."""
        row = make_transaction(State.PENDING)
        staff = get_user_model().objects.create_user("night")
        apply_update(row.pk, says(State.CANCELED), source=Source.STAFF, actor=staff, note="asked by telephone")

        event = row.events.last()
        assert (event.actor, event.note, event.source) == (staff, "asked by telephone", "staff")

    def test_endless_rivals_end_in_an_error_and_not_in_a_loop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The compare-and-set gives up after a bounded number of lost races."""
        row = make_transaction(State.PENDING)
        monkeypatch.setattr(door, "MAX_RACES", 3)
        monkeypatch.setattr(door.Entry, "_write_row", lambda *_: False)

        with pytest.raises(InvalidTransition):
            apply_update(row.pk, says(State.CANCELED), source=Source.CANCEL)

    def test_the_ledger_cannot_be_edited_or_deleted(self) -> None:
        """History is append-only through the ORM's instances."""
        event = make_transaction(State.PENDING).events.last()

        with pytest.raises(TypeError):
            event.save()
        with pytest.raises(TypeError):
            event.delete()
