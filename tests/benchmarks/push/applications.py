"""What serves the pages: the least that can, and this package."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["Raw", "ours"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Raw:
    """The floor: a subscription for each page over one connection to Valkey; what arrives is sent as it is."""

    def __init__(self) -> None:
        import redis.asyncio

        self.ear = redis.asyncio.Redis.from_url(os.environ["GATEWAYPAY_BENCH_REDIS"]).pubsub()
        self.lock = asyncio.Lock()
        self.pages: dict[str, Send] = {}
        self.pump: asyncio.Task[None] | None = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One page, from its handshake to its end."""
        await receive()
        await self.join(scope["path"], send)
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": f"welcome to {scope['path']}"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        del self.pages[scope["path"]]

    async def join(self, channel: str, send: Send) -> None:
        self.pages[channel] = send
        async with self.lock:
            await self.ear.subscribe(channel)
            self.pump = self.pump or asyncio.create_task(self.pass_on())

    async def pass_on(self) -> None:
        async for message in self.ear.listen():
            page = self.pages.get(message["channel"].decode())
            if page and message["type"] == "message":
                await page({"type": "websocket.send", "text": message["data"].decode()})


def ours() -> Any:
    """The consumer of this package, as its documentation has it mounted."""
    from ..sides.ours import Status

    Status().set_up()
    from channels.auth import AuthMiddlewareStack
    from channels.routing import ProtocolTypeRouter, URLRouter

    from django_gatewaypay.routing import websocket_urlpatterns

    return ProtocolTypeRouter({"websocket": AuthMiddlewareStack(URLRouter(websocket_urlpatterns))})
