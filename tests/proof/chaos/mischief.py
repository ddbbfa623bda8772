"""What is done to the plant. The seed decides what and in which order; the progress of the payments decides when."""

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ...plant.processes import Plant, children_of
from ...plant.stores import Valkey
from .gateway import ChaosGateway
from .shoppers import Crowd

__all__ = ["KILLS", "Mischief", "Network", "schedule"]

#: What ends a process, by how often; it has to be started again, by the supervisor or by its own parent.
KILLS = {"web": 26, "clock": 22, "beat": 10, "pool": 6, "valkey": 8, "postgres": 6, "backend": 5}
#: What hurts without ending anybody.
PAINS = {
    "flush": 5, "cut_database": 5, "cut_broker": 4, "cut_gateway": 4, "stall_database": 2, "stall_broker": 2,
    "stall_gateway": 2, "slow_database": 2, "lost_answers": 4, "outage_503": 1, "outage_silent": 1,
}  # fmt: skip
#: They belong to Celery.
CELERY_ONLY = frozenset({"beat", "pool"})
LONGEST_PAUSE = 8.0
SHORTEST_PAUSE = 0.3


def schedule(seed: int, count: int, *, clock: str) -> list[str]:
    """The kinds in their order: three kills of four, and each kind once where there is room."""
    chance = random.Random(f"mischief/{seed}")
    kills = round(count * 0.75)
    chosen = _draw(chance, KILLS, kills, clock) + _draw(chance, PAINS, count - kills, clock)
    chance.shuffle(chosen)
    return chosen


def _draw(chance: random.Random, weights: Mapping[str, int], count: int, clock: str) -> list[str]:
    known = {kind: weight for kind, weight in weights.items() if clock == "celery" or kind not in CELERY_ONLY}
    once = list(known)
    chance.shuffle(once)
    return once[:count] + chance.choices(list(known), list(known.values()), k=max(count - len(once), 0))


@dataclass
class Network:
    """The breakable lines."""

    lines: Mapping[str, "subprocess.Popen[bytes]"]

    def tell(self, line: str, order: str) -> None:
        pipe = self.lines[line].stdin
        assert pipe
        pipe.write(f"{order}\n".encode())
        pipe.flush()


class Mischief:
    """Does what the schedule says while the crowd shops; a context manager.

    Args:
        ended_at: when the last of it was over, by the monotonic clock.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        *,
        seed: int,
        plant: Plant,
        valkey: Valkey,
        network: Network,
        gateway: ChaosGateway,
        crowd: Crowd,
    ) -> None:
        self.kinds, self.plant, self.valkey, self.network = kinds, plant, valkey, network
        self.gateway, self.crowd = gateway, crowd
        self.chance = random.Random(f"victims/{seed}")
        self.done: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.ended_at = 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Mischief":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    @property
    def busy(self) -> bool:
        return self._thread.is_alive()

    @property
    def kills(self) -> int:
        return sum(self.done[kind] for kind in KILLS)

    def _run(self) -> None:
        for number, kind in enumerate(self.kinds, start=1):
            self._await_turn(number)
            if self._closed.is_set():
                return
            self._do(kind)

    def _await_turn(self, number: int) -> None:
        share = len(self.crowd.orders) * number / (len(self.kinds) + 1)
        end = time.monotonic() + LONGEST_PAUSE
        self._closed.wait(SHORTEST_PAUSE)
        while self.crowd.finished < share and time.monotonic() < end and not self._closed.wait(0.05):
            pass

    def _do(self, kind: str) -> None:
        length = self.DEEDS[kind](self)
        end = time.monotonic() + LONGEST_PAUSE
        while length is None and time.monotonic() < end and not self._closed.wait(0.2):
            length = self.DEEDS[kind](self)  # who was killed a moment ago is not back yet
        self.ended_at = max(self.ended_at, time.monotonic() + (length or 0))
        counted = self.missed if length is None else self.done
        counted[kind] += 1
        self.plant.note(f"{kind}{' found nobody' if length is None else ''}")

    # --- Each returns how many seconds it goes on; None when there was nobody to do it to.

    def _kill(self, prefix: str, number: int = signal.SIGKILL, longest: float = 0.5) -> float | None:
        services = [service for service in self.plant.named(prefix) if service.process]
        pause = self.chance.uniform(0.1, longest)
        if services and self.plant.kill(self.chance.choice(services), number, pause=pause):
            return pause
        return None

    def _kill_child(self, prefix: str, word: str) -> float | None:
        for service in self.plant.named(prefix):
            for pid in children_of(service.pid, word, chance=self.chance) if service.process else []:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return 0
        return None

    def _break(self, line: str, order: str, seconds: float = 0) -> float:
        self.network.tell(line, order)
        return seconds

    def _flush(self) -> float | None:
        import redis

        try:
            self.valkey.forget()
        except redis.RedisError:
            return None
        return 0

    def _outage(self) -> float:
        self.gateway.go_down(10)
        return 10

    def _lose(self) -> float:
        self.gateway.lose_answers(self.chance.randint(1, 4))
        return 0

    DEEDS: Mapping[str, Callable[["Mischief"], float | None]] = {
        "web": lambda self: self._kill("web"),
        "clock": lambda self: self._kill("clock"),
        "beat": lambda self: self._kill("beat"),
        "pool": lambda self: self._kill_child("clock", "celery"),
        "valkey": lambda self: self._kill("valkey", longest=1.5),
        "postgres": lambda self: self._kill("postgres", signal.SIGQUIT, longest=1.5),
        "backend": lambda self: self._kill_child("postgres", "postgres: postgres"),
        "flush": _flush,
        "cut_database": lambda self: self._break("database", "cut"),
        "cut_broker": lambda self: self._break("broker", "cut"),
        "cut_gateway": lambda self: self._break("gateway", "cut"),
        "stall_database": lambda self: self._break("database", "stall 3", 3),
        "stall_broker": lambda self: self._break("broker", "stall 3", 3),
        "stall_gateway": lambda self: self._break("gateway", "stall 3", 3),
        "slow_database": lambda self: self._break("database", "delay 0.01 3", 3),
        "lost_answers": _lose,
        "outage_503": _outage,
        "outage_silent": lambda self: self._break("gateway", "refuse 10", 10),
    }
