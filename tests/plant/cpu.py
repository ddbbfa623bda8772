"""CPU time of processes and all that they have started, as Linux counts it in /proc."""

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["cpu_seconds"]

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, of those that it has buried, and of those below it that live; 0 when gone."""
    spent, below = 0.0, []
    with suppress(OSError):
        # After the name, which may contain anything: the state is the third column, the times are 14 to 17.
        columns = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent = sum(map(int, columns[11:15])) / TICK
        for thread in Path(f"/proc/{pid}/task").iterdir():
            below += (thread / "children").read_text().split()
    return spent + sum(cpu_seconds(int(child)) for child in below)
