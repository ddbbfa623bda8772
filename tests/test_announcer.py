"""Nudges: fast, over few connections, from any thread and any process, and never an error."""

import asyncio
import logging
import os
import threading
import time
import uuid
import warnings
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings as django_settings

from django_gatewaypay.announcer import announce, group_name
from tests.example.running import within

PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


def server() -> Any:
    return redis.Redis.from_url(django_settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0])


async def listen(pk: uuid.UUID, say: Any, expected: int = 1) -> list[dict[str, Any]]:
    """What a member of the group hears while `say` runs."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(group_name(pk), channel)
    try:
        await say()
        return [await asyncio.wait_for(layer.receive(channel), 60) for _ in range(expected)]
    finally:
        await layer.group_discard(group_name(pk), channel)
        if hasattr(layer, "flush"):
            await layer.flush()


@pytest.mark.usefixtures("patient_nudges")
def test_a_nudge_reaches_the_group() -> None:
    """Over the real layer; it says that something changed, and not what."""
    pk = uuid.uuid4()

    assert async_to_sync(listen)(pk, lambda: sync_to_async(announce)(pk)) == [{"type": "transaction.nudge"}]


@pytest.mark.usefixtures("patient_nudges")
def test_nudges_share_one_connection() -> None:
    """A busy shop does not open one per change, whichever threads change things."""
    announce(uuid.uuid4())
    with server() as valkey:
        valkey.ping()
        before = valkey.info("stats")["total_connections_received"]
        threads = [threading.Thread(target=lambda: [announce(uuid.uuid4()) for _ in range(25)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        opened = valkey.info("stats")["total_connections_received"] - before

    assert opened == 0


@pytest.mark.parametrize("address", ["redis://127.0.0.1:9", "redis://127.0.0.1:1/0"])
def test_a_layer_that_is_away_costs_a_line_and_no_time(
    settings: Any, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    """False, quickly; the caller's payment goes on."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": PUBSUB, "CONFIG": {"hosts": [address]}}}
    pk = uuid.uuid4()

    def call() -> bool:
        caplog.clear()
        return announce(pk)

    assert within(2, call) is False
    [line] = [record.getMessage() for record in caplog.records if record.name == "gatewaypay.live"]
    assert line.startswith(f"nudge lost transaction={pk} error=")


class SlowLayer:
    """A layer whose server has stopped answering."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await asyncio.sleep(60)


def test_a_layer_that_hangs_is_given_a_second(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No thread of the shop waits for a page."""
    monkeypatch.setattr("django_gatewaypay.announcer.get_channel_layer", SlowLayer)
    began = time.monotonic()

    assert within(3, lambda: announce(uuid.uuid4())) is False
    assert time.monotonic() - began > 0.9
    assert "error=TimeoutError" in caplog.text


def test_without_a_layer_nobody_is_told(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    """False, and nothing to complain about at every change: the system check said it once."""
    settings.CHANNEL_LAYERS = {}
    caplog.set_level(logging.INFO)

    assert announce(uuid.uuid4()) is False
    assert caplog.records == []


def test_the_layer_in_memory_works_inside_a_running_application(settings: Any) -> None:
    """A development server: the view runs in a thread, the socket on the loop that started it."""
    settings.CHANNEL_LAYERS = MEMORY
    pk = uuid.uuid4()

    async def twice() -> None:
        for _ in range(2):
            await sync_to_async(announce)(pk)

    assert async_to_sync(listen)(pk, twice, 2) == [{"type": "transaction.nudge"}] * 2


@pytest.mark.usefixtures("patient_nudges")
def test_a_call_from_a_coroutine_is_no_error(settings: Any) -> None:
    """Not how it is meant, but a host's async view may do it: over Valkey it works, in memory it is lost quietly."""

    async def call() -> bool:
        return announce(uuid.uuid4())

    over_valkey = async_to_sync(call)()
    settings.CHANNEL_LAYERS = MEMORY

    assert (over_valkey, async_to_sync(call)()) == (True, False)


@pytest.mark.usefixtures("patient_nudges")
def test_a_forked_child_has_a_loop_of_its_own() -> None:
    """A server that loads the app before it forks its workers: parent and child both still reach the group."""
    pk = uuid.uuid4()
    assert announce(pk)

    async def from_both() -> None:
        await sync_to_async(fork_and_announce)(pk)
        await sync_to_async(announce)(pk)

    assert async_to_sync(listen)(pk, from_both, 2) == [{"type": "transaction.nudge"}] * 2


def fork_and_announce(pk: uuid.UUID) -> None:
    with warnings.catch_warnings():
        # Forking with threads is exactly what is tried here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0 if announce(pk) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
