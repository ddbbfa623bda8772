"""What waits for a person: taken as it is, fulfilled, or dealt with; once, with a name and a reason."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.exceptions import InvalidTransition, ReasonMissing
from django_gatewaypay.lifecycle import apply_update
from django_gatewaypay.models import Fulfilment, Transaction
from django_gatewaypay.services import reviewing
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import PaymentUpdate, Source, State
from tests.factories import make_order, make_transaction
from tests.invariants import check_books, check_settled
from tests.shop.models import Order
from tests.test_races import together

pytestmark = pytest.mark.django_db(transaction=True)

WHY = "  the customer has written to us "
VERBS = [services.accept, services.fulfil, lambda pk, **why: services.resolve(pk, ["late"], **why)]


@pytest.fixture
def staff() -> Any:
    return get_user_model().objects.create_user("night")


def says(state: State | None, **more: Any) -> PaymentUpdate:
    return PaymentUpdate(**{"state": state, **more})


def euros(text: str) -> Money:
    return Money(text, "EUR")


def hear(row: Transaction, *updates: PaymentUpdate) -> Transaction:
    for update in updates:
        apply_update(row.pk, update, source=Source.POLL)
    row.refresh_from_db()
    return row


def late_success(order: Order | None = None, **fields: Any) -> Transaction:
    row = make_transaction(State.EXPIRED, order=order, **fields)
    return hear(row, says(State.SUCCESS, captured=row.amount))


def order_of(row: Transaction) -> Order:
    return Order.objects.get(pk=row.order_id)


# --- Held.

HELD: dict[str, tuple[list[PaymentUpdate], int]] = {
    "too little": ([says(State.SUCCESS, captured=euros("5.00"))], 500),
    "too much": ([says(State.SUCCESS, captured=euros("25.00"))], 2500),
    "taken under a failure": ([says(State.FAILED, captured=euros("19.99"))], 1999),
    "a part, and the rest is gone": (
        [says(State.AUTHORIZED, authorized=euros("19.99"), captured=euros("5.00")), says(State.EXPIRED)],
        500,
    ),
    "too little, and late": ([says(State.EXPIRED), says(State.SUCCESS, captured=euros("5.00"))], 500),
    "some of it in another currency": (
        [says(State.PENDING, captured=euros("5.00")), says(State.SUCCESS, captured=Money("9.00", "USD"))],
        500,
    ),
}


@pytest.mark.parametrize("kind", HELD)
def test_a_held_payment_is_taken_as_it_is(staff: Any, kind: str) -> None:
    """What was taken is the whole from now on; the order is fulfilled, once, and nothing waits any more."""
    updates, captured = HELD[kind]
    row = hear(make_transaction(State.PENDING), *updates)
    assert (row.state, order_of(row).fulfilments) == ("held", 0)
    accepted = services.accept(row.pk, reason=WHY, actor=staff)

    row.refresh_from_db()
    assert (row.state, row.attention, row.reason) == (accepted.state, "", "") == ("success", "", "")
    assert (row.captured_minor, row.agreed_minor) == (captured, captured)
    assert order_of(row).fulfilments == 1
    check_settled()


def test_the_history_names_who_decided_and_what_was_before_and_after(staff: Any) -> None:
    """Actor, reason, states, flags and the total that counts."""
    row = hear(make_transaction(State.PENDING), says(State.SUCCESS, captured=euros("5.00")))
    services.accept(row.pk, reason=WHY, actor=staff)

    before, event = list(row.events.all())[-2:]
    assert (event.actor, event.source, event.note) == (staff, "staff", WHY.strip())
    assert (event.from_state, event.to_state) == ("held", "success")
    assert (before.attention, event.attention, event.evidence["resolved"]) == ("mismatch", "", ["mismatch"])
    assert event.evidence["agreed_minor"] == 500


UNCOUNTED: dict[str, list[PaymentUpdate]] = {
    "another currency": [says(State.SUCCESS, captured=Money("19.99", "USD"))],
    "another session": [says(State.SUCCESS, captured=euros("19.99"), gateway_reference="ps_other")],
    "an amount that nobody said": [says(State.SUCCESS)],
    "half a cent": [says(State.SUCCESS, captured=euros("19.995"))],
}


@pytest.mark.parametrize("kind", UNCOUNTED)
def test_money_that_cannot_be_counted_is_not_taken_for_a_payment(staff: Any, kind: str) -> None:
    """It is given back at the gateway; then the payment is dealt with, and leaves the queue."""
    row = hear(make_transaction(State.PENDING), *UNCOUNTED[kind])
    with pytest.raises(InvalidTransition, match="give it back at the gateway"):
        services.accept(row.pk, reason=WHY, actor=staff)
    resolved = services.resolve(row.pk, ["mismatch"], reason="given back at the console", actor=staff)

    assert (resolved.state, resolved.attention, order_of(row).fulfilments) == ("held", "", 0)
    check_settled()


def test_a_payment_that_was_found_again_is_taken_by_a_person(hosted: GatewayServer, staff: Any) -> None:
    """In full too: the gateway's list cannot say what we had asked for."""
    started = services.initiate(str(make_order().pk)).transaction
    hosted.pay(started.gateway_reference)
    started.events.all().delete()
    Transaction.objects.filter(pk=started.pk).delete()
    services.reconcile(timezone.now() - timedelta(hours=1), apply=True)
    found = services.refresh(started.pk)
    assert (found.state, found.reason, order_of(found).fulfilments) == ("held", "recovered", 0)
    accepted = services.accept(found.pk, reason=WHY, actor=staff)

    assert (accepted.state, accepted.attention, accepted.agreed_minor) == ("success", "", 1999)
    assert order_of(found).fulfilments == 1
    check_settled(hosted)


def test_what_was_given_back_is_not_taken(staff: Any) -> None:
    """An order is not fulfilled for money that has gone back."""
    short = hear(make_transaction(State.PENDING), says(State.SUCCESS, captured=euros("5.00"), refunded=euros("5.00")))
    late = hear(late_success(), says(None, refunded=euros("19.99")))

    for verb, row in ((services.accept, short), (services.fulfil, late)):
        with pytest.raises(InvalidTransition, match="given back"):
            verb(row.pk, reason=WHY, actor=staff)
    assert not Fulfilment.objects.filter(kind="fulfil").exists()


def test_a_held_payment_of_an_order_that_was_paid_meanwhile_becomes_a_duplicate(staff: Any) -> None:
    """It is a success, fulfils nothing, and waits for another decision."""
    order = make_order()
    row = hear(make_transaction(State.PENDING, order=order), says(State.SUCCESS, captured=euros("5.00")))
    make_transaction(State.SUCCESS, order=order, gateway="wallet")
    accepted = services.accept(row.pk, reason=WHY, actor=staff)

    assert (accepted.state, accepted.attention) == ("success", "duplicate_payment")
    assert order_of(row).fulfilments == 1
    check_settled()


def test_two_who_accept_at_once_have_one_effect(staff: Any) -> None:
    """One move, one fulfilment; the second finds it done."""
    row = hear(make_transaction(State.PENDING), says(State.SUCCESS, captured=euros("5.00")))
    results = together(*[lambda: services.accept(row.pk, reason=WHY, actor=staff)] * 4)

    row.refresh_from_db()
    late = [result for result in results if isinstance(result, Exception)]
    assert all(isinstance(error, InvalidTransition) for error in late)
    assert (row.state, len(late) < 4) == ("success", True)
    assert row.events.filter(actor=staff).count() == 1
    assert order_of(row).fulfilments == 1
    check_settled()


def test_a_decision_about_other_money_than_there_is_by_now_does_not_hold(
    staff: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More came while somebody was thinking: the payment stays under review, with its flag."""
    row = hear(make_transaction(State.PENDING), says(State.SUCCESS, captured=euros("5.00")))
    real = reviewing._check_money

    def think(seen: Transaction) -> None:
        real(seen)
        apply_update(seen.pk, says(State.SUCCESS, captured=euros("7.00")), source=Source.POLL)

    monkeypatch.setattr(reviewing, "_check_money", think)
    with pytest.raises(InvalidTransition, match="Other money"):
        services.accept(row.pk, reason=WHY, actor=staff)

    row.refresh_from_db()
    assert (row.state, row.attention, row.agreed_minor) == ("held", "mismatch", None)
    check_books()


# --- Late, and twice.


def test_a_late_success_is_kept_without_its_order(staff: Any) -> None:
    """The flag goes, the money stays, nothing is fulfilled; it still can be."""
    row = late_success()
    kept = services.accept(row.pk, reason=WHY, actor=staff)
    assert (kept.state, kept.attention, order_of(row).fulfilments) == ("success", "", 0)
    check_settled()
    services.fulfil(row.pk, reason="it is in stock again", actor=staff)

    assert order_of(row).fulfilments == 1
    assert row.events.last().note == "it is in stock again"
    check_settled()


def test_a_late_success_is_fulfilled_when_a_person_says_so(staff: Any) -> None:
    """Also when a newer attempt of the order was open; it happens once."""
    row = late_success(created_at=timezone.now() - timedelta(hours=1))
    make_transaction(State.FAILED, order=order_of(row))
    fulfilled = services.fulfil(row.pk, reason=WHY, actor=staff)

    assert (fulfilled.state, fulfilled.attention, order_of(row).fulfilments) == ("success", "", 1)
    with pytest.raises(InvalidTransition, match="fulfilled already"):
        services.fulfil(row.pk, reason=WHY, actor=staff)
    check_settled()


def test_two_who_fulfil_at_once_have_one_effect(staff: Any) -> None:
    """Two late payments of one order, and two people at each: one fulfilment, and the other payment stays in sight."""
    order = make_order()
    rows = [late_success(order, gateway=alias) for alias in ("hosted", "wallet")]
    jobs: list[Callable[[], Any]] = [
        lambda row=row: services.fulfil(row.pk, reason=WHY, actor=staff) for row in rows * 2
    ]  # type: ignore[misc]
    results = together(*jobs)

    errors = [result for result in results if isinstance(result, Exception)]
    assert [type(error) for error in errors] == [InvalidTransition] * 3
    assert order_of(rows[0]).fulfilments == 1
    flagged = [row.pk for row in Transaction.objects.exclude(attention="")]
    assert len(flagged) >= 1
    check_settled()


def test_the_second_payment_of_an_order_is_kept_and_fulfils_nothing(staff: Any) -> None:
    """Its flag goes when a person keeps the money; it cannot fulfil what is fulfilled."""
    order = make_order()
    make_transaction(State.SUCCESS, order=order)
    second = make_transaction(State.SUCCESS, order=order, gateway="wallet")
    with pytest.raises(InvalidTransition, match="fulfilled already"):
        services.fulfil(second.pk, reason=WHY, actor=staff)
    second.refresh_from_db()
    before = second.attention
    kept = services.accept(second.pk, reason=WHY, actor=staff)

    assert (before, kept.attention, order_of(second).fulfilments) == ("duplicate_payment", "", 1)
    check_settled()


@pytest.mark.parametrize(
    "decide",
    [services.accept, lambda pk, **why: services.resolve(pk, ["mismatch"], **why)],
    ids=["accepted", "resolved"],
)
def test_more_than_was_asked_for_is_no_news_once_a_person_has_seen_it(
    hosted: GatewayServer, staff: Any, decide: Any
) -> None:
    """The gateway may repeat its total; another total is news."""
    row = services.initiate(str(make_order().pk)).transaction
    for amount in ("19.99", "25.00"):
        hosted.pay(row.gateway_reference, amount)
        flagged = services.refresh(row.pk).attention
    seen = decide(row.pk, reason=WHY, actor=staff)
    quiet = services.refresh(row.pk)
    hosted.pay(row.gateway_reference, "30.00")

    assert (flagged, seen.attention, quiet.attention, quiet.agreed_minor) == ("mismatch", "", "", 2500)
    assert services.refresh(row.pk).attention == "mismatch"


# --- Dealt with.


def test_only_what_is_named_is_dealt_with(staff: Any) -> None:
    """The other flags stay up; neither money nor order moves."""
    row = hear(late_success(), says(None, flags=frozenset({"disputed"})))
    resolved = services.resolve(row.pk, {"disputed", "unmatched"}, reason=WHY, actor=staff)

    assert (resolved.state, resolved.attention, order_of(row).fulfilments) == ("success", "late", 0)
    assert row.events.last().evidence == {"resolved": ["disputed"]}
    with pytest.raises(InvalidTransition, match="None of this"):
        services.resolve(row.pk, {"disputed"}, reason=WHY, actor=staff)


def test_two_who_resolve_at_once_are_one_line_in_the_ledger(staff: Any) -> None:
    """The second changes nothing."""
    row = late_success()
    together(*[lambda: services.resolve(row.pk, ["late"], reason=WHY, actor=staff)] * 4)

    assert row.events.filter(actor=staff).count() == 1
    check_settled()


# --- Who, why, and when not.


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("reason", ["", " \n\t"])
def test_nothing_is_decided_without_a_reason(staff: Any, verb: Any, reason: str) -> None:
    """The books keep why; a blank is no reason."""
    row = late_success()
    version = row.version
    with pytest.raises(ReasonMissing):
        verb(row.pk, reason=reason, actor=staff)

    row.refresh_from_db()
    assert row.version == version


@pytest.mark.parametrize("verb", VERBS)
def test_there_is_nothing_to_decide_about_what_is_not_there(staff: Any, verb: Any) -> None:
    """An unknown id says so."""
    with pytest.raises(Transaction.DoesNotExist):
        verb(uuid.uuid4(), reason=WHY, actor=staff)


@pytest.mark.parametrize("state", sorted(set(State) - {State.HELD}))
@pytest.mark.parametrize("verb", VERBS)
def test_what_waits_for_nobody_is_not_decided(staff: Any, verb: Any, state: State) -> None:
    """Neither what is open, nor what ended unpaid, nor what is paid and done."""
    row = make_transaction(state)
    version = row.version
    with pytest.raises(InvalidTransition):
        verb(row.pk, reason=WHY, actor=staff)

    row.refresh_from_db()
    assert row.version == version


def test_held_money_is_taken_by_somebody(staff: Any) -> None:
    """The host's own code may keep and resolve; that other money counts as the whole needs a name."""
    held = hear(make_transaction(State.PENDING), says(State.SUCCESS, captured=euros("5.00")))
    with pytest.raises(ReasonMissing, match="who"):
        services.accept(held.pk, reason=WHY, actor=None)
    late = late_success()
    services.accept(late.pk, reason=WHY, actor=None)

    event = late.events.last()
    assert (event.source, event.actor, event.note) == ("system", None, WHY.strip())
    check_books()


def test_permission_is_the_callers_business() -> None:
    """A user without any permission is not asked for one here: views and admin have done so."""
    nobody = get_user_model().objects.create_user("nobody")

    assert services.accept(late_success().pk, reason=WHY, actor=nobody).attention == ""
