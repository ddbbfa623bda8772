"""Who tells the open pages of a payment that it has changed, from synchronous code."""

import os
import uuid
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..side import Side, configure

__all__ = ["Announcer", "Bridge", "Pipeline", "Publish"]

Calls = Sequence[Callable[[], None]]
NUDGE = {"type": "transaction.nudge"}


class Listened(Side):
    """Every announcement has somebody who listens, and every connection that the server is asked for is counted."""

    database: ClassVar[str] = "announce"
    packages: ClassVar[Sequence[str]] = ("Django", "channels", "channels-redis", "redis")
    layer: ClassVar[str] = "channels_redis.pubsub.RedisPubSubChannelLayer"

    def set_up(self) -> None:
        """See `Side`."""
        import redis

        url = os.environ["GATEWAYPAY_BENCH_REDIS"]
        layer = {"BACKEND": self.layer, "CONFIG": {"hosts": [url], "capacity": 10_000}}
        configure(["channels"], "tests.benchmarks.sides.urls", CHANNEL_LAYERS={"default": layer})
        self.server: Any = redis.Redis.from_url(url)
        self.ear = self.server.pubsub(ignore_subscribe_messages=True)
        self.heard = self.opened = self.before = 0
        self.make_ready()

    def make_ready(self) -> None:
        """What is done once, before anything is measured."""

    @abstractmethod
    def tell(self, payments: Sequence[uuid.UUID]) -> Calls:
        """The calls that announce a change of each."""

    def calls(self, count: int) -> Calls:
        """See `Side`."""
        payments = [uuid.uuid4() for _ in range(count)]
        self.listen(payments)
        work = self.tell(payments)
        self.before = self.connections()
        return work

    def done(self) -> int:
        """See `Side`."""
        self.opened += self.connections() - self.before
        self.before = self.connections()
        self.heard += self.hear()
        return self.heard

    def counts(self) -> dict[str, int]:
        """New connections at the server while announcements were made."""
        return {"opened": self.opened}

    def connections(self) -> int:
        return int(self.server.info("stats")["total_connections_received"])

    def listen(self, payments: Sequence[uuid.UUID]) -> None:
        """Subscribe as a web process does; what arrives waits at the socket until it is read."""
        self.ear.subscribe(*map(channel_of, payments))
        while self.ear.get_message(timeout=0.1):
            pass

    def hear(self) -> int:
        """How many announcements have arrived since the last time."""
        self.ear.ping()
        kinds = []
        while "pong" not in kinds:
            message = self.ear.get_message(timeout=1)
            kinds += [message["type"]] if message else []
        self.ear.unsubscribe()
        return kinds.count("message")


def channel_of(payment: uuid.UUID) -> str:
    """Where the layer publishes it."""
    from django_gatewaypay.announcer import group_name

    return f"asgi__group__{group_name(payment)}"


class Publish(Listened):
    """The floor: one plain PUBLISH each."""

    def make_ready(self) -> None:
        """The same bytes as ours."""
        from channels.layers import get_channel_layer

        self.message = get_channel_layer().serialize(NUDGE)

    def tell(self, payments: Sequence[uuid.UUID]) -> Calls:
        """See `Listened`."""
        return [self._told(channel_of(one)) for one in payments]

    def _told(self, channel: str) -> Callable[[], None]:
        return lambda: self.server.publish(channel, self.message)


class Pipeline(Publish):
    """All of them in one pipeline: what many at once would have to cost."""

    def tell(self, payments: Sequence[uuid.UUID]) -> Calls:
        """One call for all."""
        channels = [channel_of(one) for one in payments]

        def call() -> None:
            with self.server.pipeline(transaction=False) as pipeline:
                for channel in channels:
                    pipeline.publish(channel, self.message)
                pipeline.execute()

        return [call]


class Announcer(Listened):
    """Ours: one event loop in one thread of its own, for the life of the process."""

    def make_ready(self) -> None:
        """The thread, and its connection."""
        from django_gatewaypay.announcer import announce

        self.announce = announce
        announce(uuid.uuid4())

    def tell(self, payments: Sequence[uuid.UUID]) -> Calls:
        """See `Listened`."""
        return [self._told(one) for one in payments]

    def _told(self, payment: uuid.UUID) -> Callable[[], object]:
        return lambda: self.announce(payment)


class Bridge(Listened):
    """What Channels' documentation shows: `async_to_sync(group_send)`, over the layer that keeps groups in Redis."""

    layer: ClassVar[str] = "channels_redis.core.RedisChannelLayer"

    def make_ready(self) -> None:
        """One channel that is a member of every group."""
        from asgiref.sync import async_to_sync
        from channels.layers import get_channel_layer

        self.layer_of_channels: Any = get_channel_layer()
        self.channel = async_to_sync(self.layer_of_channels.new_channel)()
        self.send = async_to_sync(self.layer_of_channels.group_send)

    def listen(self, payments: Sequence[uuid.UUID]) -> None:
        """Its messages wait in the server."""
        from asgiref.sync import async_to_sync

        from django_gatewaypay.announcer import group_name

        async def join() -> None:
            for one in payments:
                await self.layer_of_channels.group_add(group_name(one), self.channel)

        async_to_sync(join)()

    def hear(self) -> int:
        """See `Listened`."""
        key = f"asgi{self.layer_of_channels.non_local_name(self.channel)}"
        waiting = self.server.zcard(key)
        self.server.delete(key)
        return int(waiting)

    def tell(self, payments: Sequence[uuid.UUID]) -> Calls:
        """See `Listened`."""
        from django_gatewaypay.announcer import group_name

        return [self._told(group_name(one)) for one in payments]

    def _told(self, group: str) -> Callable[[], None]:
        return lambda: self.send(group, NUDGE)
