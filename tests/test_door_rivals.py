"""The door: what the host is owed, how rivals end, and what follows the commit."""

import itertools
import random
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from moneyed import Money

from django_gatewaypay.exceptions import InvalidTransition
from django_gatewaypay.lifecycle import Verdict, apply_update, door, read_row
from django_gatewaypay.models import Fulfilment, Refund, Transaction
from django_gatewaypay.types import PaymentUpdate, Source, State
from tests.factories import make_order, make_transaction

pytestmark = pytest.mark.django_db(transaction=True)


def says(state: State | None, **more: Any) -> PaymentUpdate:
    return PaymentUpdate(**{"state": state, **more})


# --- What the host is owed.


def test_two_paid_transactions_of_one_order_fulfil_it_once() -> None:
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


def test_a_release_is_owed_to_its_own_transaction() -> None:
    """Its key, kind, order and time are in the outbox."""
    row = make_transaction(State.PENDING, order=make_order(mood="raise"))
    before = timezone.now()
    apply_update(row.pk, says(State.FAILED), source=Source.POLL)

    owed = Fulfilment.objects.get()
    assert (owed.key, owed.kind, owed.order_id, owed.transaction) == (
        f"release:{row.pk}",
        "release",
        row.order_id,
        row,
    )
    assert before <= owed.created_at <= timezone.now()
    assert owed.next_attempt_at >= owed.created_at
    assert owed.attempts == 1, "the hook was called at once"


def test_what_is_owed_is_due_from_its_commit_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever dies right after the commit leaves it to the next look of the sweep."""
    monkeypatch.setattr(door.dispatch, "settle", lambda *_: None)
    before, row = timezone.now(), make_transaction(State.PENDING)
    apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL)

    owed = Fulfilment.objects.get()
    assert before <= owed.next_attempt_at <= timezone.now()
    assert (owed.state, owed.attempts) == ("owed", 0)


def test_late_stays_late_and_a_flag_stays_up() -> None:
    """Short money after the end, then the rest: still late, still flagged, and still for staff to decide."""
    order = make_order()
    row = make_transaction(State.EXPIRED, order=order)
    for captured in (Money("5.00", "EUR"), row.amount):
        apply_update(row.pk, says(State.SUCCESS, captured=captured), source=Source.POLL)

    row.refresh_from_db()
    order.refresh_from_db()
    assert (row.state, row.late, row.attention, order.fulfilments) == ("success", True, "late mismatch", 0)


def test_a_second_payment_is_flagged_also_when_the_first_waits_for_staff() -> None:
    """Paid late and fulfilled by nobody, then paid again in time: the order is fulfilled, and staff know of both."""
    order = make_order()
    late = make_transaction(State.EXPIRED, order=order, created_at=timezone.now() - timedelta(hours=1))
    apply_update(late.pk, says(State.SUCCESS, captured=late.amount), source=Source.POLL)
    row = make_transaction(State.SUCCESS, order=order)

    order.refresh_from_db()
    late.refresh_from_db()
    assert (late.attention, row.attention, order.fulfilments) == ("late", "duplicate_payment", 1)


def test_what_is_no_payment_of_this_order_is_no_second_one() -> None:
    """Neither another order's late money nor an attempt of ours that is under review."""
    stranger = make_transaction(State.EXPIRED)
    apply_update(stranger.pk, says(State.SUCCESS, captured=stranger.amount), source=Source.POLL)
    order = make_order()
    make_transaction(State.HELD, order=order)
    row = make_transaction(State.SUCCESS, order=order)

    assert row.attention == ""


@pytest.mark.parametrize(
    ("policy", "newer", "fulfilments", "attention"),
    [
        ("review", False, 0, "late"),
        ("fulfil", False, 1, ""),
        ("fulfil", True, 0, "duplicate_payment late"),
    ],
)
def test_late_money_follows_the_hosts_policy(
    settings: Any, policy: str, newer: bool, fulfilments: int, attention: str
) -> None:
    """The setting is read live; a newer attempt of the same order stands before an older one's money."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "LATE_PAYMENT": policy}
    order = make_order()
    row = make_transaction(State.EXPIRED, order=order, created_at=timezone.now() - timedelta(hours=1))
    make_transaction(State.EXPIRED, order=order if newer else make_order())
    apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL)

    row.refresh_from_db()
    order.refresh_from_db()
    assert (row.state, row.attention, order.fulfilments) == ("success", attention, fulfilments)


def test_an_older_attempt_does_not_stand_before_a_newer_ones_late_money(settings: Any) -> None:
    """Only what came later replaces."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "LATE_PAYMENT": "fulfil"}
    order = make_order()
    make_transaction(State.EXPIRED, order=order, created_at=timezone.now() - timedelta(hours=1))
    row = make_transaction(State.EXPIRED, order=order)
    apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL)

    order.refresh_from_db()
    assert order.fulfilments == 1


@pytest.mark.parametrize("ended", [State.EXPIRED, State.CANCELED, State.FAILED])
def test_late_money_is_owed_back_where_the_host_says_so(settings: Any, ended: State) -> None:
    """All of it, in the same commit, with how the payment had ended; the row that is returned knows it too."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "LATE_PAYMENT": "refund"}
    row = make_transaction(ended)
    outcome = apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL, note="by telephone")

    refund, fresh = Refund.objects.get(), Transaction.objects.get()
    assert (refund.transaction_id, refund.amount_minor, refund.state) == (row.pk, 1999, "requested")
    assert refund.reason == f"Paid after the payment had ended ({ended})."
    assert (fresh.state, fresh.late, fresh.attention, fresh.refunding_minor) == ("success", True, "", 1999)
    assert outcome.transaction.refunding_minor == 1999
    assert row.events.filter(kind="moved").last().note == "by telephone"


@pytest.mark.parametrize(
    ("ours", "kept"),
    [("", "{why}"), ("by telephone", "by telephone · {why}")],
)
def test_why_late_money_does_not_go_back_is_in_the_ledger(settings: Any, ours: str, kept: str) -> None:
    """After what whoever brought the news has said; a person has to look."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "LATE_PAYMENT": "refund"}
    row = make_transaction(State.EXPIRED, gateway="wallet")
    apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL, note=ours)

    event, why = row.events.last(), "not given back: the gateway wallet is not in the settings"
    assert event.note == kept.format(why=why)
    assert (event.to_state, event.attention, Refund.objects.count()) == ("success", "late", 0)


@pytest.mark.parametrize("ended", [State.EXPIRED, State.PENDING])
def test_what_is_no_late_success_has_nothing_to_give_back(settings: Any, ended: State) -> None:
    """Neither short money nor money in time says why it stays."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "LATE_PAYMENT": "refund"}
    row = make_transaction(ended, gateway="wallet")
    captured = Money("5.00", "EUR") if ended is State.EXPIRED else row.amount
    apply_update(row.pk, says(State.SUCCESS, captured=captured), source=Source.POLL, note="by telephone")

    event = row.events.last()
    assert (event.note, event.to_state) == ("by telephone", "held" if ended is State.EXPIRED else "success")
    assert Refund.objects.count() == 0


def test_a_release_of_another_attempt_is_no_payment() -> None:
    """And another order's fulfilment is none of this one."""
    make_transaction(State.SUCCESS)
    order = make_order()
    make_transaction(State.FAILED, order=order)
    row = make_transaction(State.SUCCESS, order=order)

    order.refresh_from_db()
    assert (order.fulfilments, row.attention) == (1, "")


# --- Rivals and what follows the commit.


def test_endless_rivals_end_in_an_error_and_not_in_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compare-and-set gives up after a bounded number of lost races."""
    row = make_transaction(State.PENDING)
    monkeypatch.setattr(door, "MAX_RACES", 3)
    monkeypatch.setattr(door.Entry, "_write_row", lambda *_: False)

    with pytest.raises(InvalidTransition):
        apply_update(row.pk, says(State.CANCELED), source=Source.CANCEL)


def test_rivals_step_aside_for_moments_of_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Milliseconds, longer from race to race, and never the same: who collided does not collide again in step."""
    row = make_transaction(State.PENDING)
    pauses: list[float] = []
    random.seed(4)
    # Not `time.sleep` itself, which other threads call as well.
    monkeypatch.setattr(door, "time", SimpleNamespace(sleep=pauses.append))
    monkeypatch.setattr(door.Entry, "_write_row", lambda *_: False)
    with pytest.raises(InvalidTransition):
        apply_update(row.pk, says(State.CANCELED), source=Source.CANCEL)

    assert all(0 <= pause <= 0.002 * race for race, pause in enumerate(pauses, 1))
    assert len(set(pauses)) == len(pauses) > 20
    assert max(pauses) > 0.03


def test_who_reads_an_old_row_decides_again() -> None:
    """A rival's commit between our reading and our writing is neither lost nor overwritten."""
    row = make_transaction(State.PENDING)
    rivals = [{"version": 7, "state": "processing"}]

    def come_between(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and rivals:
            Transaction.objects.filter(pk=row.pk).update(**rivals.pop())
        return execute(sql, *rest)

    with connection.execute_wrapper(come_between):
        outcome = apply_update(row.pk, says(State.EXPIRED), source=Source.EXPIRY, local=True)

    row.refresh_from_db()
    assert (row.state, row.version, outcome.moved) == ("processing", 7, False)


@pytest.mark.parametrize("said", [State.PENDING, State.EXPIRED])
def test_a_row_that_the_caller_has_read_is_believed_only_where_it_is_compared(said: State) -> None:
    """What would change nothing, or something, in an old row is decided upon the row as it is now."""
    row = make_transaction(State.PENDING)
    update = says(said)
    known = read_row(update, id=row.pk)
    apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL)
    outcome = apply_update(row.pk, update, source=Source.CALLBACK, known=known)

    event = row.events.order_by("pk").last()
    assert (outcome.transaction.state, outcome.moved) == ("success", False)
    assert (event.kind, event.from_state, event.to_state) == ("noted", "success", "success")


@pytest.mark.parametrize("by", ["the door", "a list"])
def test_a_row_that_does_not_say_enough_is_read_again(by: str) -> None:
    """A second payment of an order is told to staff, whoever has read it in whatever way."""
    order = make_order()
    late = make_transaction(State.EXPIRED, order=order, created_at=timezone.now() - timedelta(hours=1))
    row = make_transaction(order=order)
    paid = says(State.SUCCESS, captured=row.amount)
    apply_update(late.pk, paid, source=Source.POLL)
    known = read_row(paid, id=row.pk) if by == "the door" else Transaction.objects.get(pk=row.pk)
    outcome = apply_update(row.pk, paid, source=Source.POLL, known=known)

    assert (outcome.transaction.state, outcome.transaction.attention) == ("success", "duplicate_payment")


def test_a_row_that_the_caller_has_read_is_not_read_again(django_assert_num_queries: Any) -> None:
    """Written over the version that was read: BEGIN, the row, the ledger, COMMIT."""
    row = make_transaction(State.PENDING)
    update = says(State.PROCESSING)
    known = read_row(update, id=row.pk)
    with django_assert_num_queries(4):
        apply_update(row.pk, update, source=Source.POLL, known=known)

    row.refresh_from_db()
    assert row.state == "processing"


@pytest.mark.parametrize(("read_for", "reads"), [(says(State.SUCCESS), 0), (says(State.PROCESSING), 1)])
def test_a_success_is_read_once_where_its_order_was_looked_at(read_for: PaymentUpdate, reads: int) -> None:
    """And once more where it was read for something else."""
    row = make_transaction(State.PENDING)
    known = read_row(read_for, id=row.pk)
    with CaptureQueriesContext(connection) as seen:
        apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL, known=known)

    looks = [one["sql"] for one in seen if one["sql"].startswith("SELECT") and "order_paid" in one["sql"]]
    assert len(looks) == reads


def test_a_persons_word_has_its_order_looked_at_again() -> None:
    """What was read for the gateway's word does not know whether this very payment was fulfilled."""
    row = make_transaction(State.EXPIRED)
    apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL)
    known, verdict = read_row(says(State.SUCCESS), id=row.pk), Verdict(fulfil=True, resolved=frozenset({"late"}))
    with CaptureQueriesContext(connection) as seen:
        outcome = apply_update(row.pk, PaymentUpdate(), source=Source.STAFF, verdict=verdict, known=known)

    assert outcome.decision.owed == "fulfil"
    assert sum("order_paid" in one["sql"] for one in seen) == 1


def test_a_move_ends_a_claim_that_came_after_the_reading() -> None:
    """Claims and polls count no version: what was read of them is written all the same."""
    row = make_transaction(State.PENDING)
    update = says(State.PROCESSING)
    known = read_row(update, id=row.pk)
    Transaction.objects.filter(pk=row.pk).update(claimed_until=timezone.now() + timedelta(minutes=1), poll_attempts=3)
    apply_update(row.pk, update, source=Source.CALLBACK, known=known)

    row.refresh_from_db()
    assert (row.state, row.claimed_until, row.poll_attempts) == ("processing", None, 0)


@pytest.mark.parametrize("lost", [1, 3])
def test_a_lost_race_for_the_outbox_is_run_again(monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    """The database refuses a second fulfilment of an order; the door reads again and goes on."""
    row = make_transaction(State.PENDING)
    real, races = door.Entry._write_owed, itertools.count(1)

    def collide(entry: Any, *given: Any) -> Any:
        if next(races) <= lost:
            raise IntegrityError("the order has its fulfilment already")
        return real(entry, *given)

    monkeypatch.setattr(door.Entry, "_write_owed", collide)
    outcome = apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL)

    row.refresh_from_db()
    assert (outcome.moved, row.state, row.version, Fulfilment.objects.count()) == (True, "success", 2, 1)


def test_nothing_that_follows_the_commit_can_undo_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error after the commit is not the caller's."""
    row = make_transaction(State.PENDING)

    def crash(*_: Any, **__: Any) -> None:
        raise RuntimeError("after the commit")

    monkeypatch.setattr(door, "_log", crash)
    monkeypatch.setattr(door.dispatch, "settle", crash)
    outcome = apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL)

    assert outcome.moved
    assert Transaction.objects.get().state == "success"


def test_what_follows_the_commit_is_told_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction, the two states and the outbox row; for an amendment too, and not for a note."""
    row = make_transaction(State.PENDING)
    told: list[Any] = []
    monkeypatch.setattr(door.dispatch, "settle", lambda *given: told.append(given))
    paid = says(State.SUCCESS, captured=row.amount)
    for update in (paid, replace(paid, refunded=row.amount), says(State.EXPIRED)):
        apply_update(row.pk, update, source=Source.CALLBACK)

    owed = Fulfilment.objects.get()
    assert told == [
        (row.pk, State.PENDING, State.SUCCESS, owed),
        (row.pk, State.SUCCESS, State.SUCCESS, None),
    ]


def test_moves_and_new_flags_are_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each, with its source; what was known before is not said again."""
    caplog.set_level("INFO", logger="gatewaypay.transition")
    row = make_transaction(State.PENDING)
    caplog.clear()
    for update in (says(None), says(State.SUCCESS, captured=row.amount), says(None)):
        flags = ("known",) if update.thin else ("known", "b", "a")
        apply_update(row.pk, update, source=Source.POLL, flags=flags)

    assert [record.message for record in caplog.records if record.name == "gatewaypay.transition"] == [
        f"attention transaction={row.pk} codes=known source=poll",
        f"moved transaction={row.pk} from=pending to=success source=poll version=3 late=False",
        f"attention transaction={row.pk} codes=a,b source=poll",
    ]
