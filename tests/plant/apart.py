"""A run in a process of its own, which ends with its owner: one line of JSON in, `share` lines and a `result` out."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..proof.frame import REPOSITORY, Progress

__all__ = ["obey", "run_apart"]

Work = Mapping[str, Any]


def run_apart(module: str, work: Work, logs: Path, progress: Progress) -> dict[str, Any] | None:
    """What came out; None when it came to no end. `play.log` has what it complained about.

    Args:
        module: calls `obey`.
        logs: an empty folder.
    """
    command = [sys.executable, "-m", module, str(logs)]
    with (
        (logs / "play.log").open("w") as errors,
        subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        # Its input stays open for as long as we live: it ends with us.
        process.stdin.write(json.dumps(dict(work)) + "\n")
        process.stdin.flush()
        return _listen(process.stdout, progress)


def _listen(lines: Iterable[str], progress: Progress) -> dict[str, Any] | None:
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "share":
            progress(float(rest))
        elif word == "result":
            return dict(json.loads(rest))
    return None


def obey(play: Callable[[Work, Path], dict[str, Any]]) -> None:
    """The other side of `run_apart`: read the work, do it, print what came out."""
    work = json.loads(sys.stdin.readline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os._exit(1))  # at once: the warden ends everybody and removes the folder
    threading.Thread(target=_end_with_input, daemon=True).start()
    print("result " + json.dumps(play(work, Path(sys.argv[1]))), flush=True)


def _end_with_input() -> None:
    """Whoever started us is gone."""
    while os.read(0, 1024):  # not by sys.stdin, whose lock this thread would hold at our own end
        pass
    os._exit(1)
