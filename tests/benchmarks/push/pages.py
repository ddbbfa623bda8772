"""Many open pages in one process, as lean as can be: `python -m tests.benchmarks.push.pages`."""

import asyncio
import base64
import os
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from ..side import answer
from ..web import many_files

__all__ = ["Pages"]

ORIGIN = "https://shop.example"
AT_ONCE = 50
PATIENCE = 60.0
TEXT, PING, PONG = 0x1, 0x9, 0xA


class Page(asyncio.Protocol):
    """One socket of one payment; it notes when it has heard of it."""

    def __init__(self, payment: str, path: str, words: str) -> None:
        self.payment, self.path, self.words = payment, path, words
        self.buffer = b""
        self.shakes_hands = True
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard: list[float] = []

    def connection_made(self, transport: Any) -> None:
        """Ask for the socket as a browser would."""
        self.transport = transport
        host, port = transport.get_extra_info("peername")[:2]
        lines = {
            "Host": f"{host}:{port}",
            "Origin": ORIGIN,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": self.words,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        transport.write(f"GET {self.path} HTTP/1.1\r\n{head}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """The answer to the handshake, then frames."""
        now = time.time()
        self.buffer += data
        if self.shakes_hands:
            self.shake_hands()
        while not self.shakes_hands and (frame := self.next_frame()):
            self.take(*frame, now)

    def shake_hands(self) -> None:
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 101 "):
            self.fail(head.partition(b"\r\n")[0].decode())
            return
        self.shakes_hands, self.buffer = False, rest

    def next_frame(self) -> tuple[int, bytes] | None:
        """The kind and the content of the next whole frame: of 4 bytes to 64 KiB, and never in parts."""
        if len(self.buffer) < 4:
            return None
        length, start = self.buffer[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(self.buffer[2:4], "big"), 4
        if len(self.buffer) < start + length:
            return None
        kind, content = self.buffer[0] & 0x0F, self.buffer[start : start + length]
        self.buffer = self.buffer[start + length :]
        return kind, content

    def take(self, kind: int, content: bytes, now: float) -> None:
        if kind == PING:
            self.transport.write(bytes([0x80 | PONG, 0x80 | len(content), 0, 0, 0, 0]) + content)
        elif kind == TEXT and self.payment.encode() in content:
            if not self.first.done():
                self.first.set_result(None)
            else:
                self.heard.append(now)

    def connection_lost(self, error: Exception | None) -> None:
        """Before its first word it has failed."""
        self.fail(f"hung up: {error}")

    def fail(self, why: str) -> None:
        if not self.first.done():
            self.first.set_exception(ConnectionError(why))


class Pages:
    """All pages of one server, and what they hear."""

    def __init__(self) -> None:
        many_files()
        self.pages: list[Page] = []
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def open(self, port: int, pages: Sequence[Sequence[str]]) -> dict[str, Any]:
        """Open them, and wait until each has had its first word.

        Args:
            pages: the payment, the path and the sub-protocols of each.
        """
        began = time.monotonic()
        self._run(self._open_all(port, pages))
        return {"seconds": time.monotonic() - began}

    def hear(self, count: int, patience: float) -> dict[str, list[float]]:
        """When each payment was heard of since the last time, once there are so many words or patience ends."""
        return self._run(self._hear(count, time.monotonic() + patience))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    async def _open_all(self, port: int, pages: Sequence[Sequence[str]]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(page: Sequence[str]) -> None:
            async with gate:
                _, opened = await self.loop.create_connection(lambda: Page(*page), "127.0.0.1", port)
                await asyncio.wait_for(opened.first, PATIENCE)
                self.pages.append(opened)

        await asyncio.gather(*map(one, pages))

    async def _hear(self, count: int, end: float) -> dict[str, list[float]]:
        while sum(len(page.heard) for page in self.pages) < count and time.monotonic() < end:
            await asyncio.sleep(0.05)
        # One word too many would come now.
        await asyncio.sleep(0.1)
        heard = {page.payment: page.heard for page in self.pages if page.heard}
        for page in self.pages:
            page.heard = []
        return heard


if __name__ == "__main__":
    answer(Pages())
