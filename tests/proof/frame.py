"""What a part of the proof is, and what it has to say."""

import os
import platform
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["Chunk", "Figure", "Part", "Progress", "commit", "machine"]

REPOSITORY = Path(__file__).resolve().parent.parent.parent

#: What one process works on: JSON values only. "db" ("sqlite" or "postgres") chooses its database.
Chunk = Mapping[str, Any]
#: Called with the share that is done, from 0 to 1.
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    Args:
        name: what was counted.
        value: what it came to.
        bar: what it has to be, in words; "" when it only informs.
        met: whether it is.
        note: seeds, reasons, names.
    """

    name: str
    value: int | float | str
    bar: str = ""
    met: bool = True
    note: str = ""


class Part(ABC):
    """One claim and its proof. Its chunks run in processes of their own, two at a time."""

    name: ClassVar[str]
    """The word on the command line."""
    title: ClassVar[str]
    """The claim, in a sentence."""
    alone: ClassVar[bool] = False
    """Whether a chunk needs the whole machine for itself."""

    @abstractmethod
    def chunks(self, *, quick: bool) -> Sequence[Chunk]:
        """What is to be done, in pieces of some minutes at most; fewer and smaller ones when quick."""

    @abstractmethod
    def run(self, chunk: Chunk, progress: Progress) -> dict[str, Any]:
        """Do one piece; what came out, as JSON. Django is set up already.

        What was violated goes into "violations": a list of {"what": ..., "replay": a command}.
        """

    @abstractmethod
    def figures(self, results: Sequence[Mapping[str, Any]], *, quick: bool) -> list[Figure]:
        """The lines of the report, from what every piece brought."""


def commit() -> str:
    """The commit that is checked out; a "+" says that files were changed since."""
    head = _git("rev-parse", "--short=12", "HEAD")
    ours = (":!docs/reference/proof*", ":!docs/reference/performance*", ":!docs/_static/performance")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *ours)
    return (head or "unknown") + ("+" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """What this ran on, without its name."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
