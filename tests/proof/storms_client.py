"""A client that costs little: whole requests written to sockets that stay open."""

import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .storms_site import Address

__all__ = ["Answered", "Client", "encode"]


@dataclass(frozen=True)
class Answered:
    """What came back, and after how many seconds."""

    status: int
    body: bytes
    seconds: float


def encode(path: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """A POST as it is on the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Client:
    """So many connections, spread over the servers."""

    def __init__(self, addresses: Sequence[Address], connections: int) -> None:
        self.addresses = addresses
        self.connections = connections

    async def __aenter__(self) -> "Client":
        targets = [self.addresses[number % len(self.addresses)] for number in range(self.connections)]
        self.open = list(await asyncio.gather(*[asyncio.open_connection(*target) for target in targets]))
        return self

    async def __aexit__(self, *_: object) -> None:
        for _, writer in self.open:
            writer.close()

    async def copies(self, request: bytes, count: int) -> list[Answered]:
        """The same request so many times at once, one on each connection and again where there are fewer."""
        shares = [range(number, count, self.connections) for number in range(min(count, self.connections))]
        told = await asyncio.gather(*[self._repeat(number, request, len(share)) for number, share in enumerate(shares)])
        return [answer for share in told for answer in share]

    async def _repeat(self, number: int, request: bytes, count: int) -> list[Answered]:
        return [await self.send(number, request) for _ in range(count)]

    async def send(self, number: int, request: bytes) -> Answered:
        """One request on one connection."""
        reader, writer = self.open[number]
        began = time.monotonic()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        body = await reader.readexactly(length)
        return Answered(int(head[9:12]), body, time.monotonic() - began)

    async def pour(self, requests: Sequence[bytes], number: int, until: float, rate: float) -> list[Answered]:
        """Send from the pile on one connection until then, at most so many a second; one in any case."""
        chance, told, due = random.Random(number), [], time.monotonic()
        while not told or time.monotonic() < until:
            told.append(await self.send(number, chance.choice(requests)))
            due = max(due + 1 / rate, time.monotonic() - 1)
            await asyncio.sleep(max(0, due - time.monotonic()))
        return told
