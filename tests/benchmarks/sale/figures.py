"""What a sale came to: what a payment costs and where, and what follows from it for a larger one. Arithmetic only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..frame import Result

__all__ = ["SINGLE", "Need", "amiss", "beside", "carried", "cost", "needs", "rate", "times"]

#: The groups of processes that a host has to run, and those of which one is all that there can be.
OURS = ("web", "workers", "beat", "PostgreSQL", "Valkey", "RabbitMQ")
SINGLE = frozenset({"PostgreSQL", "Valkey", "RabbitMQ"})
BESIDE = ("gateway", "shoppers")


@dataclass(frozen=True)
class Need:
    """What a group of processes needs for a rate of payments.

    Args:
        busy: cores that compute all the time.
        cores: cores that have to be there, so that they are not busy all the time.
        machines: whole ones.
    """

    busy: float
    cores: float
    machines: int


def cost(result: Result, *, idle: bool = True) -> dict[str, float]:
    """CPU milliseconds of a payment by group of the host's processes.

    Args:
        idle: with what they spend when nobody comes.
    """
    passed = 0.0 if idle else result["seconds_measured"]
    known = [name for name in OURS if name in result["cpu"]]
    return {name: _of_one(result, result["cpu"][name] - result["idle"][name] * passed) for name in known}


def beside(result: Result) -> dict[str, float]:
    """The same of those who are only here because this is a bench."""
    return {name: _of_one(result, result["cpu"][name]) for name in BESIDE}


def _of_one(result: Result, seconds: float) -> float:
    return max(seconds, 0.0) * 1000 / float(result["payments"])


def rate(result: Result) -> float:
    """Payments that were started in a second, while shoppers came."""
    return float(result["in_time"]) / float(result["seconds"])


def amiss(result: Result, *but: str) -> int:
    """How much is wrong in the books of both sides, and in what shoppers were told.

    Args:
        but: kinds that are counted elsewhere.
    """
    return sum(count for kind, count in result["wrong"].items() if kind not in but)


def times(result: Result, name: str) -> str:
    """The middle, and the worst of a hundred."""
    known = result["spans"][name]
    return f"{known['p50']:.0f} / {known['p99']:.0f} ms"


def needs(costs: Mapping[str, float], a_second: float, *, use: float, cores: int) -> dict[str, Need]:
    """What each group needs; but for the beat, which a larger sale does not keep any busier.

    Args:
        costs: CPU milliseconds of a payment.
        a_second: payments.
        use: the share of a core's time that is to be used.
        cores: of one machine.
    """
    busy = {name: spent / 1000 * a_second for name, spent in costs.items() if name != "beat"}
    return {name: Need(one, one / use, math.ceil(one / use / cores)) for name, one in busy.items()}


def carried(spent: float, *, use: float) -> float:
    """Payments in a second that one core carries, of which each takes so many CPU milliseconds; few are not counted."""
    return use * 1000 / max(spent, 0.01)
