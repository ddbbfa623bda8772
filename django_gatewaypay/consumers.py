"""The live socket of one transaction: it sends what it has just read, and nothing else."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings as django_settings
from django.http import parse_cookie
from django.http.request import split_domain_port, validate_host

from .announcer import group_name
from .conf import settings
from .gateways.http import is_loopback
from .models import Transaction
from .permissions import may_see
from .serializers import allowed_origins
from .services.access import TOKEN_PREFIX, parse_id
from .types import FINAL_STATES

__all__ = ["TransactionConsumer"]

logger = logging.getLogger("gatewaypay.live")

PROTOCOL = "gatewaypay.v1"
MAX_FRAME = 1024
FRAMES_PER_MINUTE = 20
MAX_AGE_SECONDS = 35 * 60
NORMAL, REFUSED = 1000, 1008
#: How often a process looks whether its channel layer is there.
WATCH_EVERY_SECONDS = 2
WATCH_GROUP = "gatewaypay.watch"
#: How many rows one statement reads.
MOST_ROWS = 200


class LayerWatch:
    """One for each event loop with open sockets: what was said while the layer was away, every socket reads itself."""

    loops: WeakKeyDictionary[asyncio.AbstractEventLoop, "LayerWatch"] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.sockets: set[TransactionConsumer] = set()
        self.task: asyncio.Task[None] | None = None

    @classmethod
    def here(cls) -> "LayerWatch":
        """The watch of the running loop."""
        return cls.loops.setdefault(asyncio.get_running_loop(), cls())

    def add(self, socket: "TransactionConsumer") -> None:
        self.sockets.add(socket)
        if self.task is None:
            self.task = asyncio.create_task(self.run(socket.channel_layer))

    def remove(self, socket: "TransactionConsumer") -> None:
        self.sockets.discard(socket)
        if self.task and not self.sockets:
            self.task.cancel()
            self.task = None

    async def run(self, layer: Any) -> None:
        """Look again and again; one socket after the other, so that the database is not asked for all at once."""
        there = True
        while True:
            await asyncio.sleep(WATCH_EVERY_SECONDS)
            before, there = there, await is_there(layer)
            for socket in list(self.sockets) if there and not before else ():
                await socket.read_again()


async def is_there(layer: Any) -> bool:
    """Whether a message would reach the layer's server."""
    try:
        await asyncio.wait_for(layer.group_send(WATCH_GROUP, {"type": "transaction.nudge"}), WATCH_EVERY_SECONDS)
    except Exception as error:  # noqa: BLE001 - every layer has errors of its own for a server that is away
        logger.warning("channel layer away error=%s", type(error).__name__)
        return False
    return True


class Reader:
    """One for each event loop with open sockets: who asks while a statement runs shares the next one."""

    loops: WeakKeyDictionary[asyncio.AbstractEventLoop, "Reader"] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.asking: list[tuple[TransactionConsumer, asyncio.Future[Transaction | None]]] = []
        self.task: asyncio.Task[None] | None = None

    @classmethod
    def here(cls) -> "Reader":
        """The reader of the running loop."""
        return cls.loops.setdefault(asyncio.get_running_loop(), cls())

    async def read(self, socket: "TransactionConsumer") -> Transaction | None:
        """The socket's row as it is from now on, if it may see it."""
        answer: asyncio.Future[Transaction | None] = asyncio.get_running_loop().create_future()
        self.asking.append((socket, answer))
        if self.task is None:
            self.task = asyncio.create_task(self.run())
        return await answer

    async def run(self) -> None:
        """Until nobody asks: at rest one row is read at once, in a storm many are read together."""
        try:
            while self.asking:
                asked, self.asking = self.asking[:MOST_ROWS], self.asking[MOST_ROWS:]
                await self.answer(asked)
        finally:
            self.task = None

    async def answer(self, asked: "list[tuple[TransactionConsumer, asyncio.Future[Transaction | None]]]") -> None:
        try:
            rows = await database_sync_to_async(read_rows)([socket for socket, _ in asked])
        except Exception as error:  # noqa: BLE001 - it is theirs who asked
            rows = [error] * len(asked)
        for (_, answer), row in zip(asked, rows, strict=True):
            tell(answer, row)


def read_rows(sockets: "list[TransactionConsumer]") -> list[Transaction | Exception | None]:
    """For each socket its row, if it may see it."""
    found = Transaction.objects.order_by().in_bulk({socket.pk for socket in sockets if socket.pk})
    return [visible(socket, found) for socket in sockets]


def visible(socket: "TransactionConsumer", found: Mapping[uuid.UUID, Transaction]) -> Transaction | Exception | None:
    try:
        row = found.get(socket.pk) if socket.pk else None
        return row if row is not None and socket.may_see(row) else None
    except Exception as error:  # noqa: BLE001 - one socket's trouble is not the others'
        return error


def tell(answer: "asyncio.Future[Transaction | None]", row: Transaction | Exception | None) -> None:
    """Nobody waits any more when the socket has closed meanwhile."""
    if answer.done():
        return
    if isinstance(row, Exception):
        answer.set_exception(row)
    else:
        answer.set_result(row)


class TransactionConsumer(AsyncWebsocketConsumer):
    """Joins the group first, then reads: a change between the two is seen either way."""

    async def connect(self) -> None:
        self.sent_version = -1
        self.frames: list[float] = []
        self.closer: asyncio.Task[None] | None = None
        self.group = ""
        self.pk = parse_id(self.scope["url_route"]["kwargs"]["text_id"])
        row = await self.read() if origin_is_ours(self.headers()) else None
        if row is None:
            # Before the handshake: a plain 403, the same for what is not there and what is not yours.
            await self.close()
            return
        if not await self.join(row.pk):
            await self.close()
            return
        offered = self.scope.get("subprotocols", [])
        await self.accept(PROTOCOL if PROTOCOL in offered else None)
        self.closer = asyncio.create_task(self.close_when_old())
        await self.send_snapshot()

    async def join(self, pk: uuid.UUID) -> bool:
        """Join the group; a page whose socket is refused polls, one whose socket is deaf would wait."""
        try:
            await self.channel_layer.group_add(group_name(pk), self.channel_name)
        except Exception as error:  # noqa: BLE001 - every layer has errors of its own for a server that is away
            logger.warning("not joined transaction=%s error=%s", pk, type(error).__name__)
            return False
        self.group = group_name(pk)
        LayerWatch.here().add(self)
        return True

    async def disconnect(self, code: int) -> None:
        if self.closer:
            self.closer.cancel()
        if self.group:
            LayerWatch.here().remove(self)
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        now = time.monotonic()
        self.frames = [at for at in self.frames if at > now - 60] + [now]
        word = read_word(text_data) if len(self.frames) <= FRAMES_PER_MINUTE else ""
        if word == "ping":
            await self.send(json.dumps({"type": "pong"}))
        elif word == "resync":
            self.sent_version = -1
            await self.send_snapshot()
        else:
            await self.close(REFUSED)

    async def transaction_nudge(self, event: dict[str, Any]) -> None:
        """Something changed: read it."""
        await self.send_snapshot()

    async def read_again(self) -> None:
        """After a time without nudges; a socket that cannot be served does not keep the others waiting."""
        try:
            await self.send_snapshot()
        except Exception:
            logger.exception("not read again transaction=%s", self.pk)

    async def send_snapshot(self) -> None:
        """Send the row as it is now, if that is news; close when there will be none."""
        row = await self.read()
        if row is None:
            await self.close(REFUSED)
            return
        if row.version > self.sent_version:
            self.sent_version = row.version
            await self.send(json.dumps(snapshot(row)))
        if row.state in FINAL_STATES:
            await self.close(NORMAL)

    async def close_when_old(self) -> None:
        await asyncio.sleep(MAX_AGE_SECONDS)
        await self.close(NORMAL)

    async def read(self) -> Transaction | None:
        """The row, if this socket may still see it."""
        return await Reader.here().read(self)

    def may_see(self, row: Transaction) -> bool:
        cookies = parse_cookie(self.headers().get("cookie", ""))
        token = next((word for word in self.scope.get("subprotocols", []) if word.startswith(TOKEN_PREFIX)), "")
        return may_see(row, user=self.scope.get("user"), token=token, cookies=cookies)

    def headers(self) -> dict[str, str]:
        return {name.decode("latin1").lower(): value.decode("latin1") for name, value in self.scope["headers"]}


def snapshot(row: Transaction) -> dict[str, Any]:
    """What the page is told."""
    return {
        "type": "transaction.status",
        "id": str(row.pk),
        "status": str(row.status),
        "state": str(row.state),
        "reason": row.shopper_reason,
        "late": row.late,
        "version": row.version,
    }


def read_word(text: str | None) -> str:
    """The word of a client frame: `ping`, `resync`, or one of them as {"type": …}."""
    if not text or len(text) > MAX_FRAME:
        return ""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()
    word = data.get("type", "") if isinstance(data, dict) else data
    return word if isinstance(word, str) else ""


def origin_is_ours(headers: dict[str, str]) -> bool:
    """Whether a page of the host opened this socket: same origin as the server, or one it has named."""
    origin = headers.get("origin", "")
    if origin in allowed_origins():
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    host = headers.get("host", "")
    if parts.scheme not in page_schemes(parts.hostname) or not host or parts.netloc != host:
        return False
    domain, _ = split_domain_port(host)
    allowed = django_settings.ALLOWED_HOSTS
    if django_settings.DEBUG and not allowed:
        allowed = [".localhost", "127.0.0.1", "[::1]"]
    return bool(domain) and validate_host(domain, allowed)


def page_schemes(hostname: str | None) -> set[str]:
    """What our own pages are served by: a site on https has none on plain http, except on a developer's machine."""
    plain = settings.BASE_URL.startswith("http://") or is_loopback(hostname)
    return {"http", "https"} if plain else {"https"}
