"""HTTP in as little of the machine's time as Python allows: what it takes is missing to the shop beside it."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

__all__ = ["Caller"]

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Place = tuple[str, int]
PATIENCE = 40.0
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
CLOSES = re.compile(rb"connection: *close", re.IGNORECASE)


class Caller:
    """Keeps its connections, as the proxy in front of a shop does."""

    def __init__(self) -> None:
        self._idle: defaultdict[Place, list[Connection]] = defaultdict(list)

    async def ask(
        self, method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """The status and the body.

        Raises:
            OSError: there was no answer; a TimeoutError is one.
            EOFError: it ended in the middle.
        """
        parts = urlsplit(url)
        place = parts.hostname or "", parts.port or 80
        lines = {"Host": parts.netloc, "Content-Length": str(len(body)), **(headers or {})}
        head = f"{method} {parts.path} HTTP/1.1\r\n" + "".join(f"{name}: {text}\r\n" for name, text in lines.items())
        async with asyncio.timeout(PATIENCE):
            while self._idle[place]:
                # Who kept it may have closed it meanwhile; then nothing of the request was read.
                with suppress(ConnectionError, EOFError):
                    return await self._exchange(place, self._idle[place].pop(), head.encode() + b"\r\n" + body)
            return await self._exchange(place, await asyncio.open_connection(*place), head.encode() + b"\r\n" + body)

    async def _exchange(self, place: Place, connection: Connection, request: bytes) -> tuple[int, bytes]:
        reader, writer = connection
        kept = False
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            content = await reader.readexactly(int(length[1])) if length else b""
            kept = not CLOSES.search(head)
            return int(head[9:12]), content
        finally:
            if kept:
                self._idle[place].append(connection)
            else:
                writer.close()

    def close(self) -> None:
        """Hang up everywhere."""
        for connections in self._idle.values():
            for _, writer in connections:
                writer.close()
