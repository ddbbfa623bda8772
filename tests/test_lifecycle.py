"""What an update makes of a transaction: the truth table of `decide`; test_exhaustion.py walks the sequences."""

from dataclasses import replace
from typing import Any

import pytest
from moneyed import Money

from django_gatewaypay.lifecycle import TRANSITIONS, Decision, Facts, Verdict, decide
from django_gatewaypay.lifecycle.decision import LOCAL_MOVES
from django_gatewaypay.models import Fulfilment, TransactionEvent
from django_gatewaypay.types import CLOSED_STATES, OPEN_STATES, PaymentUpdate, State

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


@pytest.mark.parametrize("word", [State.PENDING, State.PROCESSING])
def test_what_nobody_has_said_is_empty(word: State) -> None:
    """No reason, no reference, no flag, no money and no note come from nowhere."""
    decision = decide(facts(State.PENDING), says(word))

    said_nothing = {"captured": 0, "authorized": 0, "refunded": 0, "late": False, "attention": frozenset()}
    known_nothing = {"reason": "", "gateway_reference": "", "payment_reference": "", "order_paid": False}
    assert decision.facts == facts(word, **said_nothing, **known_nothing, replaced=False)
    assert (decision.note, decision.owed, decision.release_authorization) == ("", None, False)


def test_nothing_new_is_written_nowhere_and_a_contradiction_is_noted() -> None:
    """Saying it again is nothing; saying otherwise too late is a line in the ledger."""
    again = decide(facts(State.PENDING), says(State.PENDING))
    silent = decide(facts(State.PENDING), says(None))
    otherwise = decide(facts(State.SUCCESS), says(State.FAILED))

    assert (again.kind, again.note, silent.kind, silent.note) == (None, "", None, "")
    assert (otherwise.kind, otherwise.note, otherwise.facts) == (Kind.NOTED, "ignored failed", facts(State.SUCCESS))


def test_the_end_of_an_open_payment_decides_this_and_nothing_else() -> None:
    """Each word of the decision, also those that say no."""
    decision = decide(facts(State.PENDING), says(State.FAILED))

    assert decision == Decision(
        facts=facts(State.FAILED),
        kind=Kind.MOVED,
        owed=Fulfilment.Kind.RELEASE,
        release_authorization=False,
        give_back=False,
        note="",
    )


def test_a_verdict_that_says_nothing_and_a_decision_that_does_nothing_are_empty() -> None:
    """Nothing is agreed to, revoked, resolved, fulfilled, owed, let go or given back by leaving it out."""
    silent = Decision(facts=facts(State.PENDING), kind=None)

    assert Verdict() == Verdict(resolved=frozenset(), agreed=None, revoked=None, fulfil=False)
    assert (silent.owed, silent.release_authorization, silent.give_back, silent.note) == (None, False, False, "")


@pytest.mark.parametrize(("agreed", "whole"), [(None, 2000), (500, 500), (2100, 2100), (0, 0)])
def test_the_whole_is_the_amount_until_a_person_takes_something_else_for_it(agreed: int | None, whole: int) -> None:
    """Less, more, and also nothing."""
    assert facts(State.PENDING, agreed=agreed).whole == whole


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
    assert (decision.kind, decision.note) == (Kind.NOTED, "ignored expired of another session")


@pytest.mark.parametrize(
    ("word", "captured"),
    [(State.PENDING, FULL), (None, SHORT), (State.SUCCESS, None), (State.HELD, None), (State.AUTHORIZED, None)],
)
def test_any_hint_of_money_on_another_session_is_held(word: State | None, captured: Money | None) -> None:
    """Money without a word for it, and a word without its money, are money."""
    known = facts(State.PENDING, gateway_reference=REFERENCE)
    decision = decide(known, says(word, captured=captured, gateway_reference="ps_other"))

    assert (decision.facts.state, decision.facts.reason) == (State.HELD, "reference_mismatch")


def test_money_on_another_session_after_success_raises_a_flag() -> None:
    """Paid twice in two sessions: the first stays, the second is visible."""
    known = facts(State.SUCCESS, gateway_reference=REFERENCE)
    decision = decide(known, says(State.SUCCESS, gateway_reference="ps_other"))
    again = decide(decision.facts, says(State.SUCCESS, gateway_reference="ps_other"))

    assert decision.facts == again.facts == replace(known, attention=frozenset({"mismatch"}))
    assert (decision.kind, decision.note) == (Kind.AMENDED, "money on another session")
    assert again.kind is Kind.NOTED


@pytest.mark.parametrize(
    ("captured", "agreed", "state", "reason", "owed"),
    [
        (500, 500, State.SUCCESS, "", Fulfilment.Kind.FULFIL),
        (500, None, State.HELD, "reference_mismatch", None),
        (500, 400, State.HELD, "reference_mismatch", None),
        (0, 0, State.HELD, "reference_mismatch", None),
    ],
    ids=["complete", "nothing-agreed", "other-agreed", "nothing-taken"],
)
def test_money_on_another_session_does_not_take_back_what_is_paid_as_agreed(
    captured: int, agreed: int | None, state: State, reason: str, owed: Any
) -> None:
    """A part that a person takes for the whole is paid; the strange money is flagged either way."""
    known = facts(State.AUTHORIZED, captured=captured, agreed=agreed, gateway_reference=REFERENCE)
    decision = decide(known, says(State.SUCCESS, gateway_reference="ps_other"))

    assert decision.facts == replace(known, state=state, reason=reason, attention=frozenset({"mismatch"}))
    assert (decision.kind, decision.owed) == (Kind.MOVED, owed)


def test_the_first_payment_reference_stays() -> None:
    """Silence does not take it away, and a second one does not replace it."""
    first = decide(facts(State.PENDING), says(State.PROCESSING, payment_reference="py_1")).facts
    silent = decide(first, says(State.AUTHORIZED)).facts
    second = decide(silent, says(State.SUCCESS, payment_reference="py_2")).facts

    assert [one.payment_reference for one in (first, silent, second)] == ["py_1"] * 3


# --- Late money, paid twice, reserved for nothing.


def test_a_success_in_time_fulfils_the_order_and_needs_nobody() -> None:
    """The ordinary case: no flag, no reason, not late."""
    decision = decide(facts(State.PENDING), says(State.SUCCESS))

    assert decision.facts == facts(State.SUCCESS)
    assert decision.owed == Fulfilment.Kind.FULFIL


@pytest.mark.parametrize("before", sorted(CLOSED_STATES))
@pytest.mark.parametrize(("policy", "owed"), [("review", None), ("fulfil", Fulfilment.Kind.FULFIL)])
def test_late_money_wins_and_the_policy_decides_about_the_order(before: State, policy: str, owed: Any) -> None:
    """A success after the end is a success, marked late; staff decide unless the host has said so."""
    decision = decide(facts(before), says(State.SUCCESS), late_payment=policy)

    assert (decision.facts.state, decision.facts.late, decision.owed) == (State.SUCCESS, True, owed)
    assert ("late" in decision.facts.attention) is (owed is None)


@pytest.mark.parametrize("before", sorted(CLOSED_STATES))
def test_late_money_goes_back_where_the_host_says_so(before: State) -> None:
    """A success, marked late; nothing is owed to the order, and nobody has to look."""
    decision = decide(facts(before), says(State.SUCCESS), late_payment="refund")

    assert (decision.give_back, decision.owed) == (True, None)
    assert (decision.facts.state, decision.facts.late, decision.facts.attention) == (State.SUCCESS, True, frozenset())


@pytest.mark.parametrize(
    ("known", "update"),
    [
        (facts(State.PENDING), says(State.SUCCESS)),
        (facts(State.HELD, captured=500, late=True), says(State.SUCCESS)),
        (facts(State.EXPIRED, attention=frozenset({"disputed"})), says(State.SUCCESS)),
        (facts(State.EXPIRED, attention=frozenset({"late"})), says(State.SUCCESS, flags=frozenset({"unmatched"}))),
        (facts(State.EXPIRED), says(State.SUCCESS, refunded=Money("1.00", "EUR"))),
        (facts(State.EXPIRED, agreed=500), says(State.SUCCESS, captured=Money("5.00", "EUR"))),
        (facts(State.EXPIRED, paid_too=True), says(State.SUCCESS)),
        (facts(State.EXPIRED, order_paid=True), says(State.SUCCESS)),
        (facts(State.EXPIRED, replaced=True), says(State.SUCCESS)),
    ],
    ids=["in-time", "held", "disputed", "flagged", "partly-back", "agreed", "paid-too", "order-paid", "replaced"],
)
def test_what_is_not_plainly_late_does_not_go_back_by_itself(known: Facts, update: PaymentUpdate) -> None:
    """In time it is nobody's to give back; what else there is to say about it, a person decides."""
    decision = decide(known, update, late_payment="refund")

    assert (decision.facts.state, decision.give_back) == (State.SUCCESS, False)
    assert decision.owed or decision.facts.attention


@pytest.mark.parametrize("before", [State.PENDING, State.EXPIRED])
@pytest.mark.parametrize("policy", ["review", "fulfil", "refund"])
def test_a_second_paid_transaction_of_an_order_fulfils_nothing(before: State, policy: str) -> None:
    """Paid twice: the money is kept and flagged, and the order is fulfilled once."""
    decision = decide(facts(before, order_paid=True), says(State.SUCCESS), late_payment=policy)

    assert (decision.facts.state, decision.owed) == (State.SUCCESS, None)
    assert decision.facts.attention == {"duplicate_payment", *(["late"] if before is State.EXPIRED else [])}


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


def test_a_decline_says_why() -> None:
    """The gateway's word for it is the reason."""
    assert decide(facts(State.PENDING), says(State.FAILED, decline_code="expired_card")).facts.reason == "expired_card"


def test_money_that_was_taken_under_a_failure_says_so_in_its_reason() -> None:
    """The decline's word is not why it is held."""
    decision = decide(facts(State.PENDING, captured=500), says(State.FAILED, decline_code="declined"))

    assert (decision.facts.state, decision.facts.reason) == (State.HELD, "unexpected_capture")


@pytest.mark.parametrize("word", [State.PENDING, State.PROCESSING, State.FAILED, State.EXPIRED])
def test_money_that_cannot_be_counted_is_never_overlooked(word: State) -> None:
    """Half a cent was taken, whatever else is said: staff look at it."""
    decision = decide(facts(State.PENDING), says(word, captured=Money("9.995", "EUR")))

    assert (decision.facts.state, decision.facts.reason) == (State.HELD, "amount_mismatch")
    assert decision.facts.attention == {"mismatch"}


def test_a_second_paid_attempt_is_flagged_also_when_the_first_waits_for_staff() -> None:
    """Paid late and not fulfilled, and now paid again in time: the order is fulfilled, and staff know of both."""
    decision = decide(facts(State.PENDING, paid_too=True), says(State.SUCCESS))

    assert (decision.owed, decision.facts.attention) == (Fulfilment.Kind.FULFIL, {"duplicate_payment"})


# --- What was written again from the gateway's list.

RECOVERED = frozenset({"recovered"})


@pytest.mark.parametrize("before", [State.PENDING, State.EXPIRED])
@pytest.mark.parametrize(
    ("reason", "attention"), [("", RECOVERED), ("recovered", frozenset()), ("recovered", RECOVERED)]
)
def test_a_recovered_payment_waits_for_a_person_to_say_that_it_was_our_price(
    before: State, reason: str, attention: frozenset[str]
) -> None:
    """Its amount is the gateway's own; the reason or the flag alone tells it, and afterwards both do."""
    known = facts(before, reason=reason, attention=attention)
    decision = decide(known, says(State.SUCCESS))

    held = {"state": State.HELD, "captured": 2000, "reason": "recovered", "attention": RECOVERED}
    assert decision.facts == replace(known, **held, late=before is State.EXPIRED)
    assert (decision.kind, decision.owed) == (Kind.MOVED, None)
    assert decide(decision.facts, says(State.SUCCESS)).facts == decision.facts


def test_other_money_than_a_recovered_row_says_is_the_reason() -> None:
    """What is wrong with it by any measure is said first; that it was recovered stays in sight."""
    decision = decide(facts(State.PENDING, attention=RECOVERED), says(State.SUCCESS, captured=OVER))

    assert (decision.facts.state, decision.facts.reason) == (State.HELD, "amount_mismatch")
    assert decision.facts.attention == {"mismatch", "recovered"}


@pytest.mark.parametrize("agreed", [None, 2000])
@pytest.mark.parametrize(
    ("reason", "attention", "recovered"),
    [
        ("recovered", RECOVERED, True),
        ("recovered", frozenset(), True),
        ("amount_mismatch", RECOVERED, True),
        ("amount_mismatch", frozenset({"mismatch"}), False),
    ],
)
def test_the_price_counts_once_a_person_has_agreed_to_it(
    agreed: int | None, reason: str, attention: frozenset[str], recovered: bool
) -> None:
    """Of a payment that was recovered; any other needs nobody."""
    held = facts(State.HELD, reason=reason, attention=attention, agreed=agreed)
    decision = decide(held, says(State.SUCCESS))

    waits = recovered and agreed is None
    assert (decision.facts.state is State.HELD, decision.owed is None) == (waits, waits)


# --- What a person decides.

ACCEPTED = Verdict(resolved=frozenset({"mismatch", "late"}), agreed=500, fulfil=True)
KEPT = Verdict(resolved=frozenset({"late", "duplicate_payment"}))
NOW_FULFIL = Verdict(resolved=frozenset({"late", "duplicate_payment"}), fulfil=True)


def late_success(*codes: str, **known: Any) -> Facts:
    return facts(State.SUCCESS, late=True, attention=frozenset(codes), **known)


@pytest.mark.parametrize("reason", ["amount_mismatch", "unexpected_capture"])
@pytest.mark.parametrize("late", [False, True])
def test_a_held_payment_that_a_person_takes_is_paid(reason: str, late: bool) -> None:
    """What was taken is the whole; the order is fulfilled, also late, since somebody has looked."""
    held = facts(State.HELD, reason=reason, late=late, attention=frozenset({"mismatch"}))
    decision = decide(held, PaymentUpdate(), verdict=ACCEPTED)

    assert decision.facts == facts(State.SUCCESS, captured=500, agreed=500, late=late)
    assert (decision.kind, decision.owed) == (Kind.MOVED, Fulfilment.Kind.FULFIL)


def test_one_cent_too_is_paid_when_a_person_takes_it_for_the_whole() -> None:
    """The least that can be agreed to."""
    decision = decide(facts(State.HELD, captured=1), PaymentUpdate(), verdict=replace(ACCEPTED, agreed=1))

    assert (decision.facts.state, decision.owed) == (State.SUCCESS, Fulfilment.Kind.FULFIL)


def test_a_person_may_fulfil_what_is_late_and_replaced() -> None:
    """Somebody has looked: that a newer attempt exists does not make it a second payment."""
    held = facts(State.HELD, late=True, replaced=True, attention=frozenset({"mismatch", "late"}))
    decision = decide(held, PaymentUpdate(), verdict=ACCEPTED)

    assert (decision.facts.state, decision.owed) == (State.SUCCESS, Fulfilment.Kind.FULFIL)
    assert decision.facts.attention == frozenset()


def test_the_full_amount_too_needs_a_person_once_it_is_held() -> None:
    """A gateway that says "failed" and has taken everything: nothing is counted as paid until somebody says so."""
    held = decide(facts(State.PENDING), says(State.FAILED, captured=FULL)).facts
    silent = decide(held, says(None, captured=FULL))
    taken = decide(held, PaymentUpdate(), verdict=replace(ACCEPTED, agreed=2000))

    assert (silent.facts.state, taken.facts.state) == (State.HELD, State.SUCCESS)


def test_a_held_payment_of_a_paid_order_is_taken_and_fulfils_nothing() -> None:
    """A person cannot make an order be fulfilled twice; the second payment is flagged as one."""
    held = facts(State.HELD, attention=frozenset({"mismatch"}), order_paid=True)
    decision = decide(held, PaymentUpdate(), verdict=ACCEPTED)

    assert (decision.facts.state, decision.owed) == (State.SUCCESS, None)
    assert decision.facts.attention == {"duplicate_payment"}


@pytest.mark.parametrize("agreed", [0, 400, 2000])
def test_what_was_not_taken_cannot_be_taken_for_the_whole(agreed: int) -> None:
    """No money and other money stay under review, whatever anybody agrees to."""
    captured = 0 if agreed == 0 else 500
    decision = decide(facts(State.HELD, captured=captured), PaymentUpdate(), verdict=replace(ACCEPTED, agreed=agreed))

    assert (decision.facts.state, decision.owed) == (State.HELD, None)


def test_a_late_success_is_kept_or_fulfilled_as_a_person_says() -> None:
    """Kept: the flags go, and nothing is owed. Fulfilled: the order is."""
    late = late_success("late")
    kept = decide(late, PaymentUpdate(), verdict=KEPT)
    fulfilled = decide(late, PaymentUpdate(), verdict=NOW_FULFIL)

    assert kept.facts == fulfilled.facts == late_success()
    assert (kept.kind, kept.owed) == (Kind.AMENDED, None)
    assert (fulfilled.kind, fulfilled.owed) == (Kind.AMENDED, Fulfilment.Kind.FULFIL)


def test_a_fulfilment_that_changes_no_row_is_an_amendment_all_the_same() -> None:
    """No flag goes and no total moves; what the host is owed is written over the version that was seen."""
    late = late_success()
    decision = decide(late, PaymentUpdate(), verdict=Verdict(fulfil=True))

    assert decision == Decision(facts=late, kind=Kind.AMENDED, owed=Fulfilment.Kind.FULFIL)


def test_who_fulfils_what_was_no_second_payment_has_dealt_with_that_flag() -> None:
    """Nobody else has paid by now, so nothing is left to look at."""
    decision = decide(late_success("late", "duplicate_payment"), PaymentUpdate(), verdict=NOW_FULFIL)

    assert (decision.owed, decision.facts.attention) == (Fulfilment.Kind.FULFIL, frozenset())


def test_who_says_fulfil_second_has_decided_nothing() -> None:
    """The flags of a payment that could not be fulfilled stay up."""
    late = late_success("late", order_paid=True)
    decision = decide(late, PaymentUpdate(), verdict=NOW_FULFIL)

    assert (decision.facts, decision.kind, decision.owed) == (late, None, None)


def test_a_second_payment_stays_in_sight_when_one_of_them_is_fulfilled() -> None:
    """Two were paid: that one of them is fulfilled does not settle the other."""
    decision = decide(late_success("late", "duplicate_payment", paid_too=True), PaymentUpdate(), verdict=NOW_FULFIL)

    assert (decision.owed, decision.facts.attention) == (Fulfilment.Kind.FULFIL, {"duplicate_payment"})


@pytest.mark.parametrize("before", sorted(set(State) - {State.SUCCESS}))
def test_what_is_not_paid_is_not_fulfilled_because_somebody_says_so(before: State) -> None:
    """Only money makes a payment."""
    assert decide(facts(before), PaymentUpdate(), verdict=Verdict(fulfil=True)).owed is None


@pytest.mark.parametrize("word", sorted(CLOSED_STATES))
def test_the_rest_that_is_let_go_as_agreed_ends_in_success(word: State) -> None:
    """A part was captured, and a person takes it for the whole; without that, the same end is held."""
    part = facts(State.AUTHORIZED, authorized=2000, captured=500)
    agreed = decide(replace(part, agreed=500), says(word))
    silent = decide(part, says(word))

    assert (agreed.facts.state, agreed.facts.reason, agreed.owed) == (State.SUCCESS, "", Fulfilment.Kind.FULFIL)
    assert (agreed.facts.attention, agreed.facts.late) == (frozenset(), False)
    assert (silent.facts.state, silent.facts.reason) == (State.HELD, "unexpected_capture")


def test_an_authorization_whose_rest_is_not_gone_yet_waits_for_its_end() -> None:
    """Agreeing to a part makes no payment while the gateway still holds the rest."""
    agreed = decide(facts(State.AUTHORIZED, captured=500), PaymentUpdate(), verdict=Verdict(agreed=500))

    assert (agreed.facts.state, agreed.kind, agreed.owed) == (State.AUTHORIZED, Kind.AMENDED, None)
    assert decide(agreed.facts, says(State.AUTHORIZED)).facts == agreed.facts


@pytest.mark.parametrize(("captured", "state"), [(SHORT, State.SUCCESS), (FULL, State.HELD), (OVER, State.HELD)])
def test_the_agreed_total_is_what_a_success_must_say(captured: Money, state: State) -> None:
    """Neither less nor more; also the amount that was asked for is wrong by then."""
    decision = decide(facts(State.AUTHORIZED, agreed=500), says(State.SUCCESS, captured=captured))

    assert decision.facts.state is state
    assert decision.facts.attention == (frozenset() if state is State.SUCCESS else {"mismatch"})


@pytest.mark.parametrize(("agreed", "revoked", "left"), [(500, 500, None), (500, 700, 500), (None, 500, None)])
def test_an_agreement_is_taken_back_unless_another_one_counts_by_now(
    agreed: int | None, revoked: int, left: int | None
) -> None:
    """A capture that failed takes back its own total, and nobody else's."""
    decision = decide(facts(State.AUTHORIZED, agreed=agreed), PaymentUpdate(), verdict=Verdict(revoked=revoked))

    assert decision.facts.agreed == left


@pytest.mark.parametrize("verdict", [Verdict(agreed=700), Verdict(revoked=500)])
def test_of_what_is_paid_only_the_taken_total_can_be_agreed_to(verdict: Verdict) -> None:
    """Success is final, and so is what made it one."""
    paid = facts(State.SUCCESS, captured=500, agreed=500)

    assert decide(paid, PaymentUpdate(), verdict=verdict).facts == paid
    assert decide(replace(paid, captured=900), PaymentUpdate(), verdict=Verdict(agreed=900)).facts.agreed == 900


def test_what_is_resolved_comes_back_when_it_is_said_anew() -> None:
    """A person deals with what was known; news is news."""
    over = decide(facts(State.SUCCESS), says(None, captured=OVER)).facts
    settled = decide(over, PaymentUpdate(), verdict=Verdict(resolved=frozenset({"mismatch"}))).facts
    agreed = decide(over, PaymentUpdate(), verdict=Verdict(resolved=frozenset({"mismatch"}), agreed=2100)).facts

    assert (over.attention, settled.attention) == ({"mismatch"}, frozenset())
    assert decide(settled, says(None, refunded=SHORT)).facts.attention == frozenset()
    assert decide(settled, says(None, captured=OVER)).facts.attention == {"mismatch"}
    assert decide(agreed, says(State.SUCCESS, captured=OVER)).kind is None
