"""Ends a call that outlasts its total time. A socket's own timeout only bounds the pause between two bytes."""

import heapq
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import requests
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

__all__ = ["BoundedAdapter", "Guard", "guarded"]


class Guard:
    """One call that is under way: its socket is cut when its time is up."""

    def __init__(self) -> None:
        self.rang = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def watch(self, connection: socket.socket | None) -> None:
        with self._lock:
            self._socket = connection
            if self.rang:  # while it was still connecting
                self._cut()

    def ring(self) -> None:
        """The time is up."""
        with self._lock:
            self.rang = True
            self._cut()

    def _cut(self) -> None:
        if self._socket is None:
            return
        with suppress(OSError):  # it is closed already
            # Not the method of a TLS socket, which would take its state away under the reader.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Watchdog:
    """One thread for all calls of this process, asleep until the next one's time is up."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start afresh: a forked child inherits no thread."""
        self._bell = threading.Condition()
        self._ends: list[tuple[float, int, Guard]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def add(self, end: float, guard: Guard) -> None:
        with self._bell:
            heapq.heappush(self._ends, (end, next(self._numbers), guard))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="gatewaypay-deadline", daemon=True)
                self._thread.start()
            elif self._ends[0][2] is guard:
                self._bell.notify()

    def _run(self) -> None:
        while True:
            with self._bell:
                while not self._ends or (left := self._ends[0][0] - time.monotonic()) > 0:
                    self._bell.wait(left if self._ends else None)
                guard = heapq.heappop(self._ends)[2]
            guard.ring()


watchdog = Watchdog()
os.register_at_fork(after_in_child=watchdog.reset)
calling = threading.local()


@contextmanager
def guarded(end: float) -> Iterator[Guard]:
    """The call of this thread is cut at `end` (monotonic time), wherever it then is."""
    guard = calling.guard = Guard()
    watchdog.add(end, guard)
    try:
        yield guard
    finally:
        guard.watch(None)
        calling.guard = None


def _watch(connection: Any) -> None:
    guard = getattr(calling, "guard", None)
    if guard is not None:
        guard.watch(connection.sock)


class _Bounded:
    """Shows its socket to the guard of the call, new or taken from the pool. Mixed into urllib3's connections."""

    def connect(self) -> None:
        super().connect()  # type: ignore[misc] # the connection that it is mixed into has it
        _watch(self)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _watch(self)
        super().request(*args, **kwargs)  # type: ignore[misc] # the same


class _Connection(_Bounded, HTTPConnection):
    pass


class _TLSConnection(_Bounded, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class BoundedAdapter(requests.adapters.HTTPAdapter):
    """The transport whose calls a guard can cut."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
