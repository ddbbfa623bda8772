"""Work in a process of its own: `python -m tests.benchmarks.worker MODULE:CLASS`; each line names a method."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .rounds import Runner, started
from .side import serve

__all__ = ["at_work"]


@contextmanager
def at_work(worker: str, url: str) -> Iterator[Runner]:
    """A worker on a database, set up; it ends afterwards.

    Args:
        worker: "module:Class"; what it is asked to do are its methods, in JSON values.
    """
    with started(worker.rpartition(":")[2], worker, sys.executable, url, module=__name__) as runner:
        runner.ask("set_up")
        yield runner


if __name__ == "__main__":
    serve(lambda worker: worker)
