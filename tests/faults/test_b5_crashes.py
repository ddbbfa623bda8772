"""B5, crashes: the web process dies at every commit, the host's hook in every way. Faults 36 to 39."""

import itertools
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import time_machine
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Callback, Fulfilment, Transaction
from django_gatewaypay.types import CallbackRequest
from tests.example.running import until
from tests.journeys.conftest import server_url as server_url
from tests.shop.models import Order

from .lives import WAITS
from .processes import MORTAL, Life, Mother, later, pass_time
from .processes import mother as mother
from .world import ALIAS, World, only

LEASE = 61
#: The inbox row, the move, the claim of the fulfilment and its delivery.
COMMITS = 4


def send(life: Life, callback: CallbackRequest) -> int:
    """The gateway posts a callback to a process; the status, 0 when the connection ended without one."""
    url = f"{life.url}/payments/callbacks/{ALIAS}/"
    try:
        return requests.post(url, data=callback.body, headers=dict(callback.headers), timeout=60).status_code
    except requests.ConnectionError:
        return 0


def paid(world: World, **order: Any) -> tuple[Transaction, CallbackRequest]:
    row = world.start(**order)
    world.happen(row, "success")
    return row, world.tell(row)


# --- 36


@pytest.mark.parametrize("when", ["before", "after"])
def test_fault_36_web_is_killed_at_each_commit_of_a_callback(world: World, mother: Mother, when: str) -> None:
    """No 2xx, and the gateway's next try ends right; or a 2xx, and the row is there. At every commit there is."""
    for number in itertools.count(1):
        row, callback = paid(world)
        earlier = Callback.objects.count()
        wound = {"at": number, "when": when, "how": "kill"}
        with mother.bear("web", world.settings, wound=wound) as life:
            answered = send(life, callback)
            survived = answered != 0
            assert life.alive if survived else life.wait() is None
        kept = Callback.objects.count() - earlier

        assert answered in {0, 200}
        # Killed before the first commit nothing is there; from then on the message is kept.
        assert kept == (0 if (number, when) == (1, "before") else 1)
        if survived:
            break
        with mother.bear("web", world.settings) as life:
            assert send(life, callback) == 200
        pass_time(2 * LEASE)
        assert world.fate(row) == ("success", 1)
        # Each of Mollie's hints may be news, so each is kept.
        assert Callback.objects.count() == earlier + (1 if world.signs else 1 + kept)

    assert number > COMMITS


@only("sandbox")
@pytest.mark.parametrize("when", ["before", "after"])
def test_fault_36_the_sweep_alone_ends_what_was_kept(world: World, mother: Mother, when: str) -> None:
    """A gateway that never tries again: what had been committed is enough, and the poll knows the rest."""
    for number in range(1, COMMITS + 1):
        row, callback = paid(world)
        earlier = Callback.objects.count()
        wound = {"at": number, "when": when, "how": "kill"}
        with mother.bear("web", world.settings, wound=wound) as life:
            assert send(life, callback) == 0
        lost = Callback.objects.count() == earlier
        pass_time(16 * 60 if lost else 2 * LEASE)

        assert world.fate(row) == ("success", 1)
        assert lost == ((number, when) == (1, "before"))


# --- 37


@only("sandbox")
def test_fault_37_killed_between_commit_and_on_commit(world: World, mother: Mother) -> None:
    """The move is committed and nobody was told; the drain fulfils within a minute."""
    row, callback = paid(world)
    with mother.bear("web", world.settings, wound={"instead_of": "django_gatewaypay.dispatch.settle"}) as life:
        assert send(life, callback) == 0
    before = (world.fate(row), dict(world.owed(row)))
    pass_time(60)

    assert before == (("success", 0), {f"fulfil:{row.order_id}": "owed"})
    assert world.fate(row) == ("success", 1)
    assert world.owed(row) == {f"fulfil:{row.order_id}": "done"}


@only("sandbox")
def test_fault_37_a_beat_in_another_process_finds_it_too(world: World, mother: Mother) -> None:
    """The outbox is in the database: whoever ticks next delivers, at once."""
    row, callback = paid(world)
    with mother.bear("web", world.settings, wound={"instead_of": "django_gatewaypay.dispatch.settle"}) as life:
        send(life, callback)
    with mother.bear("tick", world.settings) as life:
        done = life.said()["done"]

    assert done == ["polled=0 expired=0 callbacks=0 fulfilments=1 movements=0"]
    assert world.fate(row) == ("success", 1)


@only("sandbox")
def test_fault_37_the_drain_publishes_too(world: World, mother: Mother, server_url: str) -> None:
    """A page that listens is nudged by the drain, as the dead process would have nudged it."""
    from tests.faults.live import Page

    row, callback = paid(world)
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "BASE_URL": server_url}
    with Page(server_url, row) as page:
        with mother.bear("web", world.settings, wound={"instead_of": "django_gatewaypay.dispatch.settle"}) as life:
            send(life, callback)
        pass_time(60)

        assert page.next()["state"] == "success"


# --- 38


class BrokenHandler(logging.Handler):
    """A log handler with a bug."""

    def handle(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("the disk is full")


@pytest.fixture
def broken_log() -> Iterator[None]:
    logger, handler = logging.getLogger("gatewaypay.transition"), BrokenHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_fault_38_redis_is_down_after_the_commit(world: World) -> None:
    """The nudge is lost and nothing else: 200, the state stays, the order is fulfilled."""
    row, callback = paid(world)
    dead = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": ["redis://127.0.0.1:9/0"]}}
    world.settings.CHANNEL_LAYERS = {"default": dead}
    answered = world.tell_all(callback)

    assert (answered, world.fate(row)) == ([200], ("success", 1))
    assert world.owed(row) == {f"fulfil:{row.order_id}": "done"}


def test_fault_38_one_on_commit_callback_raises_and_the_next_ones_run(world: World, broken_log: None) -> None:
    """What is written to the log comes first in line: its failure keeps nobody from the fulfilment."""
    row, callback = paid(world)
    answered = world.tell_all(callback)

    assert (answered, world.fate(row)) == ([200], ("success", 1))
    assert world.inbox_states() == ["processed"]


# --- 39


def staff_retries(owed: Fulfilment) -> None:
    """A member of staff selects the fulfilment in the admin and presses "Try again now"."""
    staff = get_user_model().objects.create_superuser("ann", password="x")
    browser = Client()
    browser.force_login(staff)
    url = reverse("admin:gatewaypay_fulfilment_changelist")
    assert b"Try again now" in browser.get(url).content
    browser.post(url, {"action": "retry_selected", "_selected_action": [owed.pk]})


def test_fault_39_the_hook_raises_until_staff_take_over(world: World) -> None:
    """Ten tries with growing pauses under one key, a dead letter with the reason, and one effect by hand."""
    row, callback = paid(world, mood="raise_after")
    waits = []
    # The clock stands still, because a pause is measured after the try that it follows.
    with time_machine.travel(timezone.now(), tick=False):
        assert world.tell_all(callback) == [200]
        while (owed := Fulfilment.objects.get()).state == "owed":
            assert owed.next_attempt_at
            waits.append((owed.next_attempt_at - timezone.now()).total_seconds())
            Fulfilment.objects.update(next_attempt_at=timezone.now())
            services.tick()

    assert (owed.state, owed.attempts, owed.last_error) == ("dead", 10, "HookFailed: after writing")
    assert waits[0] < 6
    assert all(later > 1.7 * sooner for sooner, later in itertools.pairwise(waits)), waits
    assert world.attention(row) == {"hook_dead"}
    assert world.fate(row) == ("success", 0)

    Order.objects.update(mood="")
    staff_retries(owed)
    assert world.fate(row) == ("success", 1)
    assert world.owed(row) == {f"fulfil:{row.order_id}": "done"}


@only("sandbox")
def test_fault_39_the_hook_kills_its_process(world: World, mother: Mother) -> None:
    """What it had written is rolled back; after the lease another process delivers under the same key."""
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "ORDERS": MORTAL}
    row, callback = paid(world, mood="die")
    with mother.bear("web", world.settings) as life:
        answered = send(life, callback)
    Order.objects.update(mood="")
    services.tick()
    early = world.fate(row)
    pass_time(2 * LEASE)

    assert (answered, early) == (0, ("success", 0))
    assert world.fate(row) == ("success", 1)
    assert Fulfilment.objects.get().attempts == 2


@only("sandbox")
def test_fault_39_the_hook_hangs_and_its_process_is_killed(world: World, mother: Mother) -> None:
    """Somebody restarts the worker that hangs: the effect comes from the next try, once."""
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "ORDERS": MORTAL}
    row, callback = paid(world, mood="hang")
    before = mother.heard(WAITS)
    with mother.bear("web", world.settings) as life, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send, life, callback)
        until(lambda: mother.heard(WAITS) > before, 60)
        hangs = life.alive and not answer.done()
        life.kill()
        answered = answer.result(60)
    Order.objects.update(mood="")
    pass_time(2 * LEASE)

    assert (hangs, answered) == (True, 0)
    assert world.fate(row) == ("success", 1)
    assert Fulfilment.objects.get().attempts == 2


@only("sandbox")
@pytest.mark.postgres  # SQLite has one writer at a time: whoever hangs in the hook keeps everybody else waiting
def test_fault_39_the_hook_hangs_while_another_process_delivers(world: World, mother: Mother) -> None:
    """The claim runs out, the other delivers, and the one that wakes up rolls back what it wrote."""
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "ORDERS": MORTAL}
    row, callback = paid(world, mood="doze")
    before = mother.heard(WAITS)
    with mother.bear("web", world.settings) as life, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send, life, callback)
        until(lambda: mother.heard(WAITS) > before, 60)
        Order.objects.update(mood="")
        with later(LEASE):
            services.tick()
        meanwhile = (answer.done(), world.fate(row))
        Order.objects.update(mood="wake")
        answered = answer.result(60)

    assert (meanwhile, answered) == ((False, ("success", 1)), 200)
    assert world.fate(row) == ("success", 1)
    assert Fulfilment.objects.get().attempts == 2


@pytest.mark.postgres  # there is no wire to SQLite that an acknowledgement could be lost on
@only("sandbox")
def test_fault_39_the_hook_succeeds_and_our_commit_is_lost(world: World, mother: Mother) -> None:
    """Lost before the server had it: tried again. Lost on the way back: it stays done. One effect either way."""
    for when, how in [("before", "cut"), ("after", "deaf")]:
        row, callback = paid(world)
        with mother.bear("web", world.settings, wound={"at": COMMITS, "when": when, "how": how}) as life:
            answered = send(life, callback)
        first = world.fate(row)
        pass_time(2 * LEASE)

        assert answered == 200
        assert first == ("success", 0 if when == "before" else 1)
        assert world.fate(row) == ("success", 1)
    assert connection.vendor == "postgresql"
