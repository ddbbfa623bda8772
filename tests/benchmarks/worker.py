"""Work in a process of its own: `python -m tests.benchmarks.worker MODULE:CLASS`; each line names a method."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .rounds import Runner, started
from .side import answer

__all__ = ["at_work"]


@contextmanager
def at_work(worker: str, url: str) -> Iterator[Runner]:
    """A worker on a database, set up; it ends afterwards.

    Args:
        worker: "module:Class"; what it is asked to do are its methods, in JSON values.
    """
    with started(worker.rpartition(":")[2], [sys.executable, "-m", __name__, worker], url) as runner:
        runner.ask("set_up")
        yield runner


def main() -> None:
    """Do what the lines of standard input say, with the worker that the command line names."""
    module, _, name = sys.argv[1].partition(":")
    answer(getattr(importlib.import_module(module), name)())


if __name__ == "__main__":
    main()
