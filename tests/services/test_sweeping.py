"""What the clock does, and that two clocks do no more than one."""

import contextlib
import itertools
import signal
import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import close_old_connections, connection, transaction
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.gateways.circuit import FAILURES, Circuit
from django_gatewaypay.models import Fulfilment, Transaction
from django_gatewaypay.registry import gateways
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from tests.factories import make_order, make_transaction

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not sleep."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


def start(count: int = 1) -> list[Transaction]:
    return [services.initiate(str(make_order().pk)).transaction for _ in range(count)]


def let_pass(minutes: float) -> None:
    """Move every transaction into the past, as if the clock had gone on."""
    for row in Transaction.objects.all():
        row.created_at -= timedelta(minutes=minutes)
        row.expires_at -= timedelta(minutes=minutes)
        row.next_poll_at = row.next_poll_at and row.next_poll_at - timedelta(minutes=minutes)
        row.claimed_until = row.claimed_until and row.claimed_until - timedelta(minutes=minutes)
        row.save()


def questions(hosted: GatewayServer) -> int:
    return sum(request.path.startswith("/status") for request in hosted.requests)


def test_a_payment_is_asked_about_after_a_quarter_of_an_hour(hosted: GatewayServer) -> None:
    """Not before POLL_AFTER, and then at once."""
    [row] = start()
    hosted.pay(row.gateway_reference)
    let_pass(14)
    early = services.poll_due()
    let_pass(1.1)
    due = services.poll_due()

    row.refresh_from_db()
    assert (early, due, row.state) == (0, 1, "success")


def test_a_session_that_still_cannot_be_opened_is_tried_again_later(hosted: GatewayServer) -> None:
    """A created row keeps its own pace, and its one key."""
    row = make_transaction("created", next_poll_at=timezone.now())
    hosted.script(*[Answer.error(503)] * 3)
    services.poll_due()

    row.refresh_from_db()
    assert (row.state, row.poll_attempts, row.claimed_until) == ("created", 1, None)
    assert row.next_poll_at > timezone.now()


def test_one_row_can_be_asked_about_alone(hosted: GatewayServer) -> None:
    """For the shopper who waits: when it is due, and how long until it is due again."""
    [row] = start()
    early = services.poll_one(row.pk)
    asked = questions(hosted)
    with time_machine.travel(timezone.now(), tick=False):
        services.refresh_for_shopper(row)
        Transaction.objects.update(next_poll_at=timezone.now())
        soon = services.poll_one(row.pk)
    hosted.pay(row.gateway_reference)
    Transaction.objects.update(next_poll_at=timezone.now())

    assert (asked, early, 4 < soon <= 5) == (0, None, True)
    assert services.poll_one(row.pk) is None


@pytest.mark.parametrize(
    ("due", "claimed", "again"),
    [
        (0.8, None, True),  # a little early: it comes again
        (0.8, 60, False),  # somebody asks just now, and goes on
        (-1, 60, False),
        (1.5, None, False),  # somebody has asked already, and goes on
        (None, None, False),
    ],
)
def test_who_has_nothing_to_ask_leaves_the_rest_to_who_asked(
    hosted: GatewayServer, due: float | None, claimed: float | None, again: bool
) -> None:
    """A message that comes twice is no second chain of questions; one that comes a little early waits."""
    [row] = start()
    now = timezone.now()
    times = [moment and now + timedelta(seconds=moment) for moment in (due, claimed)]
    Transaction.objects.update(next_poll_at=times[0], claimed_until=times[1], waiting_since=now)
    with time_machine.travel(now, tick=False):
        seconds = services.poll_one(row.pk)

    assert (seconds is not None and 0.5 <= seconds <= 0.8) is again
    assert questions(hosted) == 0


def test_who_could_not_ask_comes_again(hosted: GatewayServer) -> None:
    """The gateway gave no answer: the next question is still this one's."""
    [row] = start()
    services.refresh_for_shopper(row)
    Transaction.objects.update(next_poll_at=timezone.now())
    hosted.script(*[Answer.error(503)] * 3)

    assert services.poll_one(row.pk)


def test_questions_become_rarer(hosted: GatewayServer) -> None:
    """Each answer that decides nothing doubles the pause."""
    [row] = start()
    pauses = []
    with time_machine.travel(timezone.now(), tick=False):
        for _ in range(4):
            Transaction.objects.update(next_poll_at=timezone.now())
            services.poll_due()
            row.refresh_from_db()
            pauses.append((row.next_poll_at - timezone.now()).total_seconds())

    assert row.poll_attempts == 4
    assert all(later > 1.7 * sooner for sooner, later in itertools.pairwise(pauses))


def test_a_gateway_that_is_away_is_asked_again_later(hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row that fails keeps neither itself nor the others."""
    monkeypatch.setattr(services.sweeping, "TOGETHER", 1)  # so that all three errors are one row's
    rows = start(3)
    for row in rows:
        hosted.pay(row.gateway_reference)
    let_pass(16)
    hosted.script(*[Answer.error(503)] * 3)
    services.poll_due()

    states = sorted(Transaction.objects.values_list("state", flat=True))
    assert states == ["pending", "success", "success"]
    assert Transaction.objects.get(state="pending").next_poll_at > timezone.now()


def test_after_half_an_hour_an_unpaid_payment_expires(hosted: GatewayServer) -> None:
    """The gateway is asked once more, its session is closed, the stock goes back."""
    [row] = start()
    let_pass(29)
    early = services.expire_overdue()
    let_pass(1.1)
    due = services.expire_overdue()

    row.refresh_from_db()
    assert (early, due, row.state) == (0, 1, "expired")
    assert Fulfilment.objects.get().state == "done"


def test_an_expired_payment_is_watched_and_late_money_is_found(hosted: GatewayServer) -> None:
    """For three days the gateway is asked, ever more rarely; then it is left alone."""
    [row] = start()
    services.expire(row.pk)
    hosted.pay(row.gateway_reference)
    let_pass(10)
    services.poll_due()
    found = Transaction.objects.get()
    [other] = start()
    services.expire(other.pk)
    let_pass(73 * 60)
    services.poll_due()
    other.refresh_from_db()

    assert (found.state, found.late) == ("success", True)
    assert (other.state, other.next_poll_at) == ("expired", None)


def test_one_tick_does_everything(hosted: GatewayServer) -> None:
    """Expiry, polling, callbacks and fulfilments in one call, and it says how much it did."""
    paid, unpaid = start(2)
    hosted.pay(paid.gateway_reference)
    let_pass(31)
    done = services.tick()

    states = {str(row.pk): row.state for row in Transaction.objects.all()}
    assert states == {str(paid.pk): "success", str(unpaid.pk): "expired"}
    assert str(done) == "polled=0 expired=2 callbacks=0 fulfilments=0 movements=0"
    assert not services.tick().anything


def test_a_hook_that_fails_is_called_again_until_it_works(hosted: GatewayServer) -> None:
    """What it wrote before it failed does not count; in the end it counts once."""
    order = make_order(mood="raise_after")
    row = make_transaction("success", order=order)
    failed = Fulfilment.objects.get()
    order.refresh_from_db()
    fulfilments = order.fulfilments
    type(order).objects.update(mood="")
    Fulfilment.objects.update(next_attempt_at=timezone.now())
    services.sweep()

    order.refresh_from_db()
    assert (failed.state, failed.attempts, fulfilments) == ("owed", 1, 0)
    assert "HookFailed" in failed.last_error
    assert (Fulfilment.objects.get().state, order.fulfilments) == ("done", 1)
    assert Transaction.objects.get(pk=row.pk).state == "success"


def test_a_hook_that_never_works_is_given_up_where_staff_see_it(hosted: GatewayServer) -> None:
    """The transaction stays paid and is flagged; a retry by hand delivers it."""
    order = make_order(mood="raise")
    row = make_transaction("success", order=order)
    for _ in range(11):
        Fulfilment.objects.exclude(next_attempt_at=None).update(next_attempt_at=timezone.now())
        services.sweep()
    dead = Fulfilment.objects.get()
    row.refresh_from_db()
    type(order).objects.update(mood="")
    delivered = services.retry_fulfilment(dead.pk)

    order.refresh_from_db()
    assert (dead.state, dead.attempts, row.attention) == ("dead", 10, "hook_dead")
    assert (delivered, order.fulfilments) == (True, 1)
    assert not services.retry_fulfilment(dead.pk)


def test_a_failure_of_one_row_is_logged_and_does_not_stop_the_others(
    hosted: GatewayServer, monkeypatch: Any, caplog: Any
) -> None:
    """A bug in one place does not keep a thousand shoppers waiting."""
    rows = start(2)
    for row in rows:
        hosted.pay(row.gateway_reference)
    let_pass(16)
    real = services.sweeping.refresh_row

    def broken(row: Transaction) -> Any:
        if row.pk == rows[0].pk:
            raise ValueError("a bug")
        return real(row)

    monkeypatch.setattr(services.sweeping, "refresh_row", broken)
    services.poll_due()

    assert Transaction.objects.get(pk=rows[1].pk).state == "success"
    assert "a bug" in caplog.text


@pytest.mark.parametrize(("asked", "least", "most"), [("7", 7, 300), ("999999", 300, 380)])
def test_a_busy_gateway_is_left_alone_for_as_long_as_it_wants(
    hosted: GatewayServer, asked: str, least: float, most: float
) -> None:
    """Its Retry-After counts for that row, up to five minutes; other rows do not suffer."""
    busy, other = start(2)
    began = timezone.now()
    Transaction.objects.filter(pk=busy.pk).update(next_poll_at=timezone.now(), waiting_since=timezone.now())
    hosted.script(*[Answer.busy(asked, 429)] * 3)
    services.poll_due()
    Transaction.objects.filter(pk=other.pk).update(next_poll_at=timezone.now())
    services.poll_due()

    busy.refresh_from_db()
    assert least <= (busy.next_poll_at - began).total_seconds()
    assert (busy.next_poll_at - timezone.now()).total_seconds() <= most
    assert questions(hosted) >= 2
    assert Transaction.objects.get(pk=other.pk).poll_attempts == 1


def test_an_outage_leaves_the_rows_as_they_were(hosted: GatewayServer) -> None:
    """While the circuit is open nobody is asked, no attempt is counted, and the rows come back spread over a minute."""
    start(30)
    # For the circuit the time stands still: after its first pause, of four seconds, it would let one through.
    gateways["hosted"].client.circuit = circuit = Circuit(clock=lambda: 1000.0)
    for _ in range(FAILURES):
        circuit.failed()
    Transaction.objects.update(next_poll_at=timezone.now())
    before, began = questions(hosted), timezone.now()
    services.poll_due()
    due = [*Transaction.objects.values_list("next_poll_at", flat=True)]

    assert questions(hosted) == before
    assert {row.poll_attempts for row in Transaction.objects.all()} == {0}
    assert min(due) > began + timedelta(seconds=3)
    assert max(due) < timezone.now() + timedelta(seconds=70)
    assert max(due) - min(due) > timedelta(seconds=15)


@pytest.mark.parametrize("work", [services.poll_due, services.expire_overdue, services.tick])
def test_many_clocks_do_the_work_of_one(hosted: GatewayServer, work: Any) -> None:
    """Five beats at once: every transaction is claimed by one of them."""
    start(20)
    let_pass(31)
    barrier = threading.Barrier(5)
    errors: list[Exception] = []

    def beat() -> None:
        close_old_connections()
        try:
            barrier.wait()
            work()
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=beat) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    assert questions(hosted) == 20


# --- Several at once.


def in_turn(monkeypatch: pytest.MonkeyPatch, ask: Any) -> list[str]:
    """Let `ask` stand before every look at a gateway; the names of the threads that looked."""
    real, names = services.sweeping.refresh_row, []

    def look(row: Transaction) -> Any:
        names.append(threading.current_thread().name)
        ask()
        return real(row)

    monkeypatch.setattr(services.sweeping, "refresh_row", look)
    return names


@pytest.mark.postgres
def test_gateways_are_asked_at_once(hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight payments wait for each other's questions; each ends. Their connections: `hung_up`."""
    rows = start(9)
    for row in rows:
        hosted.pay(row.gateway_reference)
    let_pass(16)
    first = itertools.count()
    meeting = threading.Barrier(8, timeout=20)
    names = in_turn(monkeypatch, lambda: meeting.wait() if next(first) < 8 else None)

    assert services.poll_due() == 9
    assert {*Transaction.objects.values_list("state", flat=True)} == {"success"}
    assert (len(names), len({*names})) == (9, 8)


@pytest.mark.parametrize("why", ["a transaction around it", "one row", "one writer"])
def test_where_others_would_see_nothing_it_goes_one_by_one(
    hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """In the thread that called."""
    start(1 if why == "one row" else 3)
    let_pass(16)
    names = in_turn(monkeypatch, lambda: None)
    if why == "one writer":
        monkeypatch.setattr(connection.features, "has_select_for_update", False)
    with transaction.atomic() if why == "a transaction around it" else contextlib.nullcontext():
        services.poll_due()

    assert {*names} == {threading.current_thread().name}


@pytest.mark.postgres
def test_who_is_told_to_stop_begins_nothing_more(monkeypatch: pytest.MonkeyPatch, hosted: GatewayServer) -> None:
    """What was begun is finished; what was not is left to whoever comes after its claim."""
    start(30)
    let_pass(16)
    first, main = itertools.count(), threading.main_thread().ident or 0

    def stop(*_: Any) -> None:
        raise SystemExit

    def ask() -> None:
        if next(first) == 0:
            signal.pthread_kill(main, signal.SIGUSR1)
        threading.Event().wait(0.2)

    names = in_turn(monkeypatch, ask)
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(SystemExit):
            services.poll_due()
    finally:
        signal.signal(signal.SIGUSR1, before)
    # Stopped while it was starting a thread, the pool does not wait for that one; the process does, before it ends.
    for thread in threading.enumerate():
        if thread.name in names:
            thread.join()

    assert 1 <= len(names) < 30
    assert Transaction.objects.exclude(claimed_until=None).count() == 30 - len(names)


def test_a_payment_that_is_gone_when_its_turn_comes(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Somebody has deleted it, in the database, since it was claimed: nothing is asked, and nothing is wrong."""
    monkeypatch.setattr(services.sweeping, "_claim_transactions", lambda *_: [uuid.uuid4()])

    assert services.poll_due() == 1
    assert "failed" not in caplog.text
