"""What runs in the processes of `processes`: a mother that forks, the lives, and how they are wounded."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.shop.handler import ShopOrders

__all__ = ["WAITS", "MortalOrders", "Wound"]

HANG = 60
#: What a hook writes into the log when it begins to hang or to doze.
WAITS = "the hook waits"
#: Where the lives answer; standard output is Celery's for its banner.
VOICE = 9


def run_mother() -> None:
    """Read jobs, fork lives; whoever started us is gone when the jobs end."""
    import django

    os.dup2(1, VOICE)
    os.dup2(2, 1)
    django.setup()
    # Loaded once, for every life.
    import tests.asgi
    import tests.urls  # noqa: F401

    # Nobody waits for the children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        job = json.loads(line)
        if os.fork() == 0:
            sys.stdin = Path(os.devnull).open()  # noqa: SIM115 - for the rest of this life
            live(job)
    os.killpg(0, signal.SIGKILL)


def live(job: dict[str, Any]) -> None:
    """A life, from birth to its natural end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        prepare(job)
        ROLES[job["role"]](job)
    except BaseException:  # noqa: BLE001 - it goes into the log; a child must not run on as a second mother
        import traceback

        traceback.print_exc()
        say(job, error=traceback.format_exc(limit=-1))
    finally:
        sys.stderr.flush()
        os._exit(0)


def prepare(job: dict[str, Any]) -> None:
    from django.conf import settings
    from django.db import connections

    settings.GATEWAYPAY = job["GATEWAYPAY"]
    settings.CHANNEL_LAYERS = job["CHANNEL_LAYERS"]
    connections.databases["default"].update(job["DATABASE"])
    if job["wound"]:
        Wound(**job["wound"]).inflict()


def say(job: dict[str, Any], **words: Any) -> None:
    line = json.dumps({"number": job["number"], "pid": os.getpid(), **words})
    os.write(VOICE, line.encode() + b"\n")


def serve(job: dict[str, Any]) -> None:
    """The whole host under uvicorn."""
    import uvicorn

    from tests.asgi import application

    listener = socket.create_server(("127.0.0.1", job.get("port", 0)), backlog=2048)
    say(job, port=listener.getsockname()[1])
    config = uvicorn.Config(application, lifespan="off", log_level="warning", ws="websockets-sansio")
    uvicorn.Server(config).run(sockets=[listener])


def tick(job: dict[str, Any]) -> None:
    """What the clock does, `rounds` times, all lives that were born with one `start` at that instant."""
    from django_gatewaypay import services

    say(job)
    time.sleep(max(job.get("start", 0) - time.time(), 0))
    done = [str(services.tick()) for _ in range(job.get("rounds", 1))]
    say(job, done=done)


def work(job: dict[str, Any]) -> None:
    """A real Celery worker."""
    from celery import Celery
    from celery.signals import task_prerun

    import django_gatewaypay.tasks  # noqa: F401 - as a host's autodiscover_tasks() does

    app = Celery("host", broker=job["broker"], set_as_current=True)
    app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True, **job.get("options", {}))
    app.set_default()
    # Not when it is ready: its first task may be the death of it.
    say(job)
    task_prerun.connect(lambda task_id, **_: say(job, task=task_id), weak=False)
    alone = ["--without-mingle", "--without-gossip", "--without-heartbeat", "--hostname", f"life{job['number']}@host"]
    app.worker_main(["worker", "--pool", "solo", "--loglevel", "INFO", *alone])


ROLES: Mapping[str, Callable[[dict[str, Any]], None]] = {"web": serve, "tick": tick, "worker": work}


class Wound:
    """Something bad at one place: at a commit, or where a function would be called.

    Args:
        at: the number of the commit, counted from birth; a statement outside of a transaction is one too.
        when: "before" or "after" it.
        how: "kill": SIGKILL. "cut": the database server ends our connection. "deaf": it commits, and we
            learn only that the connection is gone.
        instead_of: the dotted path of a function of a module; the life is killed when it is called.
        file: touched when the wound opens.
    """

    def __init__(
        self, *, at: int = 0, when: str = "before", how: str = "kill", instead_of: str = "", file: str = ""
    ) -> None:
        self.at, self.when, self.how, self.instead_of, self.file = at, when, how, instead_of, file
        self.count = 0

    def inflict(self) -> None:
        from django.db.backends.base.base import BaseDatabaseWrapper
        from django.db.backends.signals import connection_created

        if self.instead_of:
            self._replace()
            return
        commit = BaseDatabaseWrapper._commit

        def crossing(connection: Any) -> Any:
            return self.cross(connection, lambda: commit(connection))

        BaseDatabaseWrapper._commit = crossing
        connection_created.connect(lambda connection, **_: self.watch(connection), weak=False)

    def _replace(self) -> None:
        import importlib

        module, _, name = self.instead_of.rpartition(".")
        setattr(importlib.import_module(module), name, lambda *_, **__: self.strike(None))

    def watch(self, connection: Any) -> None:
        """A write outside of a transaction commits itself."""

        def execute(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            writes = sql.lstrip()[:6].upper() in {"INSERT", "UPDATE", "DELETE"}
            if connection.in_atomic_block or not writes:
                return run(sql, params, many, context)
            return self.cross(connection, lambda: run(sql, params, many, context))

        connection.execute_wrappers.append(execute)

    def cross(self, connection: Any, go: Callable[[], Any]) -> Any:
        self.count += 1
        here = self.count == self.at
        if here and self.when == "before":
            self.strike(connection)
        result = go()
        if here and self.when == "after":
            self.strike(connection)
        return result

    def strike(self, connection: Any) -> None:
        if self.file:
            Path(self.file).touch()
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        cut(connection)
        if self.how == "deaf":
            from django.db import OperationalError

            raise OperationalError("server closed the connection unexpectedly")


def cut(connection: Any) -> None:
    """The server ends this connection, as a restart or a failover does."""
    import psycopg

    theirs = connection.connection.info
    with psycopg.connect(theirs.dsn, password=theirs.password, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [theirs.backend_pid])


class MortalOrders(ShopOrders):
    """A host whose hook can kill its process or hang in it; by the order's mood, as `ShopOrders`.

    "doze": it says so, and writes nothing before the mood is "wake".
    """

    def fulfil(self, transaction: Any) -> None:
        from tests.shop.models import Order

        moods = Order.objects.values_list("mood", flat=True)
        mood = moods.get(pk=transaction.order_id)
        if mood == "doze":
            sys.stderr.write(f"{WAITS}\n")
            end = time.monotonic() + HANG
            while moods.get(pk=transaction.order_id) != "wake" and time.monotonic() < end:
                time.sleep(0.02)
        super().fulfil(transaction)
        if mood == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if mood == "hang":
            sys.stderr.write(f"{WAITS}\n")
            time.sleep(HANG)


if __name__ == "__main__":
    run_mother()
