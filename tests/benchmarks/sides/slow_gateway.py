"""A gateway that says "still pending" after a while, to as many at once as ask: `... slow_gateway SECONDS`.

It understands what the adapter of the hosted protocol sends, and nothing else: it has to be quicker than who asks.
"""

import asyncio
import json
import sys
from threading import Thread

__all__ = ["SlowGateway"]

ANSWER = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"


class SlowGateway(asyncio.Protocol):
    """One kept connection: a request, a pause, an answer."""

    counts = {"asked": 0, "connections": 0}

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.counts["connections"] += 1
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`. A question has no body but "{}"."""
        self.received += data
        head, ended, _ = self.received.partition(b"\r\n\r\n")
        if not ended:
            return
        self.received = b""
        self.counts["asked"] += 1
        path = head.split(b" ", 2)[1].decode()
        asyncio.get_running_loop().call_later(self.pause, self.answer, path)

    def answer(self, path: str) -> None:
        """That nothing has happened yet; a session that is to be canceled is."""
        status = "canceled" if "/cancel/" in path else "pending"
        body = json.dumps({"reference": path.rpartition("/")[2], "status": status, "currency": "EUR"})
        if not self.transport.is_closing():
            self.transport.write(ANSWER.format(length=len(body), body=body).encode())


async def serve(pause: float) -> None:
    """Print the address, and answer for as long as somebody wants to know."""
    server = await asyncio.get_running_loop().create_server(lambda: SlowGateway(pause), "127.0.0.1", 0, backlog=512)
    async with server:
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
        await server.serve_forever()


def main() -> None:
    """Serve, and print a count for every line that names one."""
    Thread(target=lambda: asyncio.run(serve(float(sys.argv[1]))), daemon=True).start()
    for line in sys.stdin:
        print(SlowGateway.counts[line.strip()], flush=True)


if __name__ == "__main__":
    main()
