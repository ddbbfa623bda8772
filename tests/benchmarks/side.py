"""One entrant in a process of its own: `python -m tests.benchmarks.side MODULE:CLASS`, told what to do in JSON lines.

It runs in the environments of the rivals as well, so that nothing here needs more than Django.
"""

import gc
import importlib
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, ClassVar

__all__ = ["Side", "answer", "asked_by", "configure", "main", "make_tables"]

Call = Callable[[], None]


class Side(ABC):
    """What is called, again and again."""

    database: ClassVar[str]
    """Who names the same one shares its tables."""
    packages: ClassVar[Sequence[str]] = ("Django",)
    """Whose versions the page tells."""
    repeated: ClassVar[bool] = False
    """Whether the very same call may come again, as a callback does."""

    @abstractmethod
    def set_up(self) -> None:
        """Settings and tables."""

    @abstractmethod
    def calls(self, count: int) -> Sequence[Call]:
        """So many fresh calls, with what they need in the database; what this takes is not measured."""

    def done(self) -> int | None:
        """How many calls have had their effect so far; None for calls that have none."""
        return None

    def counts(self) -> dict[str, int]:
        """What else was counted, since the start."""
        return {}


def configure(installed: Sequence[str], urls: str, **more: Any) -> None:
    """Django as every entrant has it: no middleware, a kept connection to PostgreSQL, and its tables."""
    from django.conf import settings

    settings.configure(
        SECRET_KEY="a constant for benchmarks, known to everybody",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", *installed],
        MIDDLEWARE=[],
        DATABASES={"default": database()},
        ROOT_URLCONF=urls,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        LOGGING_CONFIG=None,
        **more,
    )
    import django

    django.setup()
    make_tables()


def make_tables() -> None:
    """The tables as the models have them: their history takes longer than most measurements."""
    from django.apps import apps
    from django.conf import settings
    from django.core.management import call_command

    settings.MIGRATION_MODULES = {config.label: None for config in apps.get_app_configs()}
    call_command("migrate", run_syncdb=True, verbosity=0)


def database() -> dict[str, Any]:
    """The database that the run has made for this entrant; a commit is one here."""
    from ..embedded import database_from_url

    known = database_from_url(os.environ["GATEWAYPAY_BENCH_DATABASE"])
    return known | {"CONN_MAX_AGE": None, "OPTIONS": {**known["OPTIONS"], "options": "-c synchronous_commit=on"}}


def yardstick() -> float:
    """CPU seconds of a fixed piece of plain Python: how fast the machine is just now."""
    began, total = time.process_time(), 0
    for number in range(200_000):
        total += number & 7
    kept = {str(number): number for number in range(30_000)}
    del kept
    return time.process_time() - began


class Process:
    """Does what it is told, and checks that every call had its effect."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.called = 0

    def ready(self) -> dict[str, Any]:
        self.side.set_up()
        return {"versions": {name: version(name) for name in self.side.packages}}

    def measure(self, calls: int) -> dict[str, Any]:
        """CPU seconds of one call, and of the yardstick before and after."""
        work = self.side.calls(calls)
        gc.collect()
        before, began = yardstick(), time.process_time()
        for call in work:
            call()
        spent = time.process_time() - began
        after = yardstick()
        self.check(calls)
        return {"cpu": spent / calls, "yardstick": (before + after) / 2}

    def statements(self) -> dict[str, list[str]]:
        """What a warm call asks the database; and once more, where the same call may come again."""
        (call,) = self.side.calls(1)
        told = {"fresh": asked_by(call)} | ({"again": asked_by(call)} if self.side.repeated else {})
        self.check(1)
        return told

    def counts(self) -> dict[str, int]:
        return {"calls": self.called, **self.side.counts()}

    def tell(self, what: str) -> Any:
        """What else a side has to say."""
        return getattr(self.side, what)()

    def profile(self, calls: int) -> dict[str, dict[str, float]]:
        """Milliseconds of a call by group of packages, under Python's profiler: on the wall, and of CPU time."""
        from .profiling import profiled

        clocks = {"wall": time.perf_counter, "CPU": time.process_time}
        told = {name: profiled(self.side.calls(calls), clock) for name, clock in clocks.items()}
        self.check(calls * len(clocks))
        return told

    def wires(self, calls: int) -> list[str]:
        """Fresh calls as they go over a wire; who has sent them asks for `check`."""
        return [call.wire() for call in self.side.calls(calls)]  # type: ignore[attr-defined]  # every HTTP side has it

    def check(self, calls: int) -> None:
        """So many calls were made since the last check, and every one had its effect.

        Raises:
            RuntimeError: one had none.
        """
        self.called += calls
        done = self.side.done()
        if done not in {None, self.called}:
            raise RuntimeError(f"{type(self.side).__name__}: {self.called} calls, and {done} of them had their effect.")


def asked_by(call: Call) -> list[str]:
    """The statements of a call; opening and ending a transaction are none."""
    from django.db import connection

    asked: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        asked.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        call()
    return asked


def answer(process: Any) -> None:
    """Answer each line of standard input with one; what others print goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        told = json.loads(line)
        said = getattr(process, told.pop("do"))(**told)
        print(json.dumps(said), file=answers, flush=True)


def main() -> None:
    """Do what the lines of standard input say, with the side that the command line names."""
    module, _, name = sys.argv[1].partition(":")
    answer(Process(getattr(importlib.import_module(module), name)()))


if __name__ == "__main__":
    main()
