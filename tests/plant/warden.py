"""Kills what is left and removes the folder when its owner is gone, however that went: `python warden.py FOLDER`.

Reads lines: `+PID SIGNAL` to watch over the group of a process, `-PID` when it has ended. The end of the input is
the end of the owner.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

__all__ = ["main"]

PATIENCE = 5.0


def main() -> None:
    """Wait for the end, then leave nobody behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wards: dict[int, int] = {}
    for line in sys.stdin:
        word, *rest = line.split()
        if word.startswith("+"):
            wards[int(word)] = int(rest[0])
        else:
            wards.pop(-int(word), None)
    for pid, number in wards.items():
        send(pid, number)
    wait_for_polite(pid for pid, number in wards.items() if number != signal.SIGKILL)
    for pid in wards:
        send(pid, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


def send(pid: int, number: int) -> None:
    """To the whole group, which has the number of its leader."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def wait_for_polite(pids: Iterable[int]) -> None:
    """PostgreSQL ends its own children, which have groups of their own; the owner may have left zombies."""
    end = time.monotonic() + PATIENCE
    for pid in pids:
        while is_alive(pid) and time.monotonic() < end:
            time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


if __name__ == "__main__":
    main()
