"""Delivery to the host: the hook may be called twice, what it writes counts once."""

import threading
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from django_gatewaypay import dispatch
from django_gatewaypay.models import Fulfilment
from django_gatewaypay.schedule import CLAIM_LEASE
from tests.factories import make_order, make_transaction
from tests.shop import handler
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)


def owed(**order: Any) -> tuple[Order, Fulfilment]:
    """A fulfilment that is due again, because the hook failed the first time."""
    made = make_order(mood="raise", **order)
    make_transaction("success", order=made)
    Order.objects.update(mood="")
    Fulfilment.objects.update(next_attempt_at=timezone.now())
    return made, Fulfilment.objects.get()


def test_a_fulfilment_is_delivered_once() -> None:
    """A second delivery finds it done."""
    order, row = owed()
    first, second = dispatch.deliver(row.pk), dispatch.deliver(row.pk)

    order.refresh_from_db()
    assert (first, second, order.fulfilments) == (True, False, 1)


@pytest.mark.postgres  # SQLite has one writer at a time: the second worker would wait before the hook
def test_two_deliveries_at_once_have_one_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hung and lost its claim rolls back what it wrote when it wakes up."""
    order, row = owed()
    hanging, go_on = threading.Event(), threading.Event()
    real = handler.ShopOrders.fulfil

    def hang_first(self: Any, transaction: Any) -> None:
        if not hanging.is_set():
            hanging.set()
            go_on.wait(60)
        real(self, transaction)

    monkeypatch.setattr(handler.ShopOrders, "fulfil", hang_first)
    answers: list[bool] = []

    def slow() -> None:
        answers.append(dispatch.deliver(row.pk))
        connection.close()

    worker = threading.Thread(target=slow)
    worker.start()
    hanging.wait(60)
    Fulfilment.objects.update(next_attempt_at=timezone.now())
    answers.append(dispatch.deliver(row.pk))
    go_on.set()
    worker.join()

    order.refresh_from_db()
    assert answers == [True, False]
    assert order.fulfilments == 1


def test_a_claim_keeps_others_away() -> None:
    """What somebody is delivering is not due."""
    _, row = owed()
    before = timezone.now()
    claimed = dispatch._claim(row.pk)

    row.refresh_from_db()
    assert claimed.attempts == row.attempts == 2
    assert before + CLAIM_LEASE <= row.next_attempt_at <= timezone.now() + CLAIM_LEASE
    assert dispatch._claim(row.pk) is None


@pytest.mark.parametrize("rival", [{"attempts": 7}, {"state": "done"}])
def test_a_claim_that_comes_a_moment_late_is_none(rival: dict[str, Any]) -> None:
    """Whoever changed the row between our reading and our writing has it."""
    _, row = owed()
    rivals = [rival]

    def come_between(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and rivals:
            Fulfilment.objects.filter(pk=row.pk).update(**rivals.pop())
        return execute(sql, *rest)

    with connection.execute_wrapper(come_between):
        assert dispatch._claim(row.pk) is None


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("turn", [0, 1])
def test_one_row_is_claimed_delivered_and_marked_and_no_other(turn: int, attempts: int) -> None:
    """Two orders wait; one is delivered, and the other goes on waiting, tried as often as ours before or after."""
    made = [owed()[0], make_order(mood="raise")]
    make_transaction("success", order=made[1])
    Order.objects.update(mood="")
    rows = list(Fulfilment.objects.order_by("id"))
    mine, other = rows[turn], rows[1 - turn]
    Fulfilment.objects.filter(pk=mine.pk).update(next_attempt_at=timezone.now())
    Fulfilment.objects.filter(pk=other.pk).update(next_attempt_at=timezone.now(), attempts=attempts)
    delivered = dispatch.deliver(mine.pk)

    mine.refresh_from_db()
    other.refresh_from_db()
    assert delivered
    assert [Order.objects.get(pk=row.order_id).fulfilments for row in (mine, other)] == [1, 0]
    assert (mine.state, mine.attempts, mine.next_attempt_at, mine.last_error) == ("done", 2, None, "")
    assert mine.done_at is not None
    assert (other.state, other.attempts, other.done_at) == ("owed", attempts, None)
    assert other.next_attempt_at <= timezone.now()
    assert other.last_error.startswith("HookFailed")


# --- When the hook fails.


def wait_of(row: Fulfilment) -> float:
    return (row.next_attempt_at - timezone.now()).total_seconds()


def test_a_hook_that_fails_is_called_again_later() -> None:
    """What went wrong is kept, and the order stays owed."""
    with time_machine.travel(timezone.now(), tick=False):
        make_transaction("success", order=make_order(mood="raise"))
        row = Fulfilment.objects.get()
        wait = wait_of(row)

    assert (row.state, row.attempts, row.done_at) == ("owed", 1, None)
    assert row.last_error == "HookFailed: no stock in the cellar"
    assert 5 <= wait <= 5.5


@pytest.mark.parametrize(("attempts", "least", "most"), [(1, 10, 11), (4, 80, 88), (9, 2560, 2816), (20, 3600, 3960)])
def test_the_pause_after_a_failure_doubles_up_to_an_hour(settings: Any, attempts: int, least: int, most: int) -> None:
    """From five seconds on, with at most 10 % jitter."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "MAX_ATTEMPTS": 100}
    _, row = owed()
    Order.objects.update(mood="raise")
    Fulfilment.objects.update(attempts=attempts)
    with time_machine.travel(timezone.now(), tick=False):
        answer = dispatch.deliver(row.pk)
        row.refresh_from_db()
        wait = wait_of(row)

    assert (answer, row.state, row.attempts) == (False, "owed", attempts + 1)
    assert least <= wait <= most


def test_the_last_allowed_failure_gives_it_up(settings: Any) -> None:
    """After MAX_ATTEMPTS the row waits for staff; the clock comes by once more, to tell them."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "MAX_ATTEMPTS": 3}
    _, row = owed()
    Order.objects.update(mood="raise")
    seen = []
    for _ in range(2):
        dispatch.deliver(row.pk)
        row.refresh_from_db()
        seen.append((row.state, row.attempts, row.next_attempt_at <= timezone.now()))
        Fulfilment.objects.filter(state="owed").update(next_attempt_at=timezone.now())

    assert seen == [("owed", 2, False), ("dead", 3, True)]
    assert not dispatch.deliver(row.pk)


def test_a_long_complaint_of_the_host_is_cut() -> None:
    """As long as its column, whatever the host says."""
    _, row = owed()
    dispatch._note_failure(dispatch._claim(row.pk), ValueError("x" * 400))

    row.refresh_from_db()
    assert row.last_error == "ValueError: " + "x" * 243


def test_a_failure_is_noted_in_its_own_row() -> None:
    """Others that failed as often keep what they have."""
    _, first = owed()
    make_transaction("success", order=make_order(mood="raise_after"))
    second = Fulfilment.objects.exclude(pk=first.pk).get()
    Fulfilment.objects.update(attempts=2)
    second.refresh_from_db()
    dispatch._note_failure(second, ValueError("only here"))

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.last_error, second.last_error) == ("HookFailed: no stock in the cellar", "ValueError: only here")


@pytest.mark.parametrize("rival", [{"attempts": 7}, {"state": "done"}])
def test_who_has_lost_the_claim_writes_nothing_any_more(rival: dict[str, Any]) -> None:
    """Neither that it is done nor that it failed: the row is another worker's, or settled."""
    _, row = owed()
    stale = dispatch._claim(row.pk)
    Fulfilment.objects.update(**rival)
    row.refresh_from_db()
    before = (row.state, row.attempts, row.next_attempt_at, row.last_error)
    dispatch._note_failure(stale, ValueError("late"))
    with pytest.raises(dispatch.ClaimLost):
        dispatch._mark_done(stale)

    row.refresh_from_db()
    assert (row.state, row.attempts, row.next_attempt_at, row.last_error) == before


def test_a_hook_that_outlived_its_claim_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its writes are rolled back with the mark that it may not make."""
    order, row = owed()
    real = handler.ShopOrders.fulfil

    def be_overtaken(self: Any, transaction: Any) -> None:
        real(self, transaction)
        Fulfilment.objects.update(attempts=7)

    monkeypatch.setattr(handler.ShopOrders, "fulfil", be_overtaken)
    answer = dispatch.deliver(row.pk)

    order.refresh_from_db()
    assert (answer, order.fulfilments) == (False, 0)
