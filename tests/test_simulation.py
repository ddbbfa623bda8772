"""Seeds of the simulation: they find nothing in the package, and they find what is planted."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from django_gatewaypay import dispatch, services, tasks
from django_gatewaypay.lifecycle import door, intents, movements, steps
from django_gatewaypay.models import Fulfilment, Refund, Transaction, TransactionQuerySet
from django_gatewaypay.services import sessions, sweeping, trips
from django_gatewaypay.types import MovementState, State
from django_gatewaypay.views import callbacks
from tests.proof.simulation import simulation, staff, world
from tests.proof.simulation.simulation import Outcome, simulate

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover]

PAYMENTS = 10


def hunt(kind: str, *, seeds: int = 25) -> bool:
    """Whether one of the seeds finds a violation of a kind."""
    for seed in range(1, seeds + 1):
        if any(what.startswith(kind) for what in simulate(seed, payments=PAYMENTS).violations):
            return True
    return False


def all_shoppers(monkeypatch: pytest.MonkeyPatch, plan: str) -> None:
    """Do the same, so that few seeds are enough."""
    monkeypatch.setattr(simulation, "PLANS", {plan: 1})


@pytest.mark.parametrize("seed", range(101, 105))
def test_nothing_is_lost_and_nothing_is_twice(seed: int) -> None:
    """Faults of all kinds, and the books are right."""
    outcome = simulate(seed, payments=PAYMENTS)

    assert outcome.violations == []
    assert sum(outcome.faults.values()) > PAYMENTS
    assert sum(outcome.states.values()) >= PAYMENTS / 2


def test_a_seed_replays() -> None:
    """The same seed has the same event log, to the last letter; another one has another."""
    first, again, other = (simulate(seed, payments=6) for seed in (7, 7, 8))

    assert facts(first) == facts(again)
    assert first.digest != other.digest


def facts(outcome: Outcome) -> list[Any]:
    return [outcome.digest, outcome.faults, outcome.visits, outcome.crashes, outcome.states]


@pytest.mark.checker
def test_an_acknowledgement_before_the_commit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that answers first and keeps the message afterwards loses some."""
    monkeypatch.setattr(callbacks.services, "keep_callback", lambda alias, message: [])

    assert hunt("acknowledged and not kept", seeds=3)


@pytest.mark.checker
def test_a_delivery_without_a_claim_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not claim what it delivers, delivers it twice."""

    def deliver(fulfilment_id: int) -> bool:
        owed = Fulfilment.objects.select_related("transaction").filter(pk=fulfilment_id, state="owed").first()
        if owed:
            dispatch._call_hook(owed)
            Fulfilment.objects.filter(pk=owed.pk).update(state="done", done_at=timezone.now(), next_attempt_at=None)
        return owed is not None

    monkeypatch.setattr(dispatch, "deliver", deliver)

    assert hunt("double")


@pytest.mark.checker
def test_an_expiry_that_overwrites_success_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that looks at the clock alone, and past the door, loses what was paid."""

    def expire(transaction_id: uuid.UUID) -> None:
        Transaction.objects.filter(pk=transaction_id).update(state="expired", next_poll_at=None)

    def overdue(rows: Any, now: Any) -> Any:
        return rows.filter(expires_at__lte=now).exclude(state="expired")

    monkeypatch.setattr(TransactionQuerySet, "overdue", overdue)
    monkeypatch.setattr(sweeping, "expire", expire)
    all_shoppers(monkeypatch, "pays_late")

    assert hunt("lost", seeds=5)


@pytest.mark.checker
def test_a_fresh_key_at_every_try_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks again under another key opens a second session."""
    real = sessions.payment_request

    def ask(row: Transaction) -> Any:
        return replace(real(row), idempotency_key=f"key-{uuid.uuid4()}")

    monkeypatch.setattr(sessions, "payment_request", ask)

    assert hunt("invariant 14", seeds=5)


@pytest.mark.checker
def test_a_door_that_trusts_the_amount_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paid is not paid in full."""
    decide: Callable[..., Any] = door.decide

    def trust(facts: Any, update: Any, **options: Any) -> Any:
        if update.state is State.SUCCESS:
            update = replace(update, captured=Transaction(amount_minor=facts.amount, currency=facts.currency).amount)
        return decide(facts, update, **options)

    monkeypatch.setattr(door, "decide", trust)
    all_shoppers(monkeypatch, "pays_wrong")

    assert hunt("false", seeds=5)


@pytest.mark.checker
def test_questions_that_make_more_of_themselves_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever hands on two for one keeps the workers busy for ever."""
    real = sweeping.poll_one

    def multiply(transaction_id: uuid.UUID) -> float:
        tasks.enqueue(tasks.poll_pending, str(transaction_id), countdown=0.5)
        return real(transaction_id) or 0.5

    monkeypatch.setattr(services, "poll_one", multiply)
    all_shoppers(monkeypatch, "pays_by_transfer")
    monkeypatch.setattr(world, "ENDLESS", 2_500)

    assert hunt("endless", seeds=5)


@pytest.fixture
def many_refunds(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pay, and whatever was paid goes back, in one way or another."""
    monkeypatch.setattr(simulation, "REFUNDED", 100)
    all_shoppers(monkeypatch, "pays")


@pytest.mark.usefixtures("many_refunds")
def test_whatever_goes_back_is_counted() -> None:
    """Staff refund and capture, and the books are right."""
    outcomes = [simulate(seed, payments=PAYMENTS) for seed in (107, 119, 124)]

    assert [outcome.violations for outcome in outcomes] == [[], [], []]
    assert sum(outcome.refunds for outcome in outcomes) > 3
    assert sum(outcome.captures for outcome in outcomes)


@pytest.mark.checker
@pytest.mark.usefixtures("many_refunds")
def test_a_refund_under_a_fresh_key_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tells the gateway again under another key gives back twice."""
    monkeypatch.setattr(Refund, "gateway_key", property(lambda self: f"key-{uuid.uuid4()}"))

    assert hunt("over-refunded")


@pytest.mark.checker
@pytest.mark.usefixtures("many_refunds")
def test_a_silence_that_is_taken_for_a_no_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refund that timed out may have been made."""

    def conclude(trip: Any, error: Exception) -> None:
        trip.climb(MovementState.FAILED, error=str(error))

    monkeypatch.setattr(trips, "_keep_trying", conclude)

    assert hunt("over-refunded")


@pytest.mark.checker
@pytest.mark.usefixtures("many_refunds")
def test_a_cap_that_nobody_keeps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people, each with a part of one payment: together it is more than the whole."""
    monkeypatch.setattr(staff, "REFUNDS", {"two clerks": 1})
    monkeypatch.setattr(movements, "_check_left", lambda movement: None)
    for module in (intents, steps):
        monkeypatch.setattr(module, "set_aside", lambda movement, amount: None)

    assert hunt("over-refunded")
