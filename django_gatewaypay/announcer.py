"""Nudges live sockets from synchronous code: best effort, bounded in time, and it never raises.

`async_to_sync(group_send)` makes an event loop, and with Redis a connection, for every call. One
event loop in one thread of its own, kept for the life of the process, does neither.
"""

import asyncio
import logging
import os
import threading
import uuid

from asgiref.sync import async_to_sync
from channels.layers import BaseChannelLayer, InMemoryChannelLayer, get_channel_layer

__all__ = ["announce", "group_name"]

logger = logging.getLogger("gatewaypay.live")

PATIENCE_SECONDS = 1.0


def group_name(transaction_id: uuid.UUID) -> str:
    """The channel group of a transaction, built from its id alone."""
    return f"gatewaypay.transaction.{transaction_id.hex}"


class LoopThread:
    """An event loop in a daemon thread, started on first use."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start afresh: a forked child inherits neither the thread nor its connections."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="gatewaypay-announcer", daemon=True).start()
            return self._loop


thread = LoopThread()
os.register_at_fork(after_in_child=thread.reset)


def announce(transaction_id: uuid.UUID) -> bool:
    """Tell every open page of a transaction to read its row again; whether the layer took it."""
    layer = get_channel_layer()
    if layer is None:
        return False
    try:
        _send(layer, transaction_id)
    # A lost nudge costs a page some seconds, an error here would cost a payment its fulfilment.
    except Exception as error:  # noqa: BLE001
        logger.warning("nudge lost transaction=%s error=%s", transaction_id, type(error).__name__)
        return False
    return True


def _send(layer: BaseChannelLayer, transaction_id: uuid.UUID) -> None:
    group, message = group_name(transaction_id), {"type": "transaction.nudge"}
    if isinstance(layer, InMemoryChannelLayer):
        # Its queues belong to the server's own loop, which async_to_sync finds again.
        async_to_sync(layer.group_send)(group, message)
        return
    sent = asyncio.run_coroutine_threadsafe(layer.group_send(group, message), thread.loop())
    try:
        sent.result(PATIENCE_SECONDS)
    except TimeoutError:
        sent.cancel()
        raise
