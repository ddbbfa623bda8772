"""A sale in Markdown."""

import math
from collections.abc import Iterator, Mapping

from ..frame import Result
from . import figures

__all__ = ["machines", "weather", "where"]

#: A machine of a host's, and the largest that its database may have.
CORES, LARGE = 8, 32


def where(result: Result) -> str:
    """Where the CPU goes."""
    return "\n".join(_where(result))


def _where(result: Result) -> Iterator[str]:
    costs = figures.cost(result) | figures.beside(result)
    whole = sum(costs.values())
    yield "**Where the CPU goes**\n"
    yield "| group of processes | ms of a payment | share | ms in a second without shoppers |"
    yield "|---|---|---|---|"
    for name, spent in costs.items():
        idle = f"{result['idle'][name] * 1000:.0f}" if name in result["idle"] else "–"
        yield f"| {name} | {spent:.1f} | {spent / whole:.0%} | {idle} |"


def machines(result: Result, wanted: int, use: float) -> str:
    """How many of them a large sale needs, with the arithmetic.

    Args:
        wanted: payments an hour.
        use: the share of a core's time that is to be used.
    """
    return "\n".join([*_machines(result, wanted, use), "", _bottleneck(result, use)])


def _machines(result: Result, wanted: int, use: float) -> Iterator[str]:
    costs, a_second = figures.cost(result), wanted / 3600
    yield f"**What {wanted:,} payments an hour need**: arithmetic, not a measurement\n"
    yield (
        f"{wanted:,} / 3,600 s = {a_second:.0f} payments a second; cores = ms of a payment × {a_second:.0f} / 1,000 / "
        f"{use:g}, because whoever is busy for more than {use:.0%} of the time lets people wait. Assumed: cores as "
        "fast as these, a payment costs there what it costs here, and nothing but the CPU is short: disks, network "
        "and gateway keep up.\n"
    )
    yield f"| who | ms of a payment | cores that are busy | cores at {use:.0%} | machines |"
    yield "|---|---|---|---|---|"
    for name, need in figures.needs(costs, a_second, use=use, cores=CORES).items():
        yield f"| {name} | {costs[name]:.1f} | {need.busy:.2f} | {need.cores:.1f} | {_shown(name, need)} |"


def _shown(name: str, need: figures.Need) -> str:
    if name not in figures.SINGLE:
        return f"{need.machines} of {CORES} cores"
    cores = math.ceil(need.cores)
    return f"one, {cores} core{'' if cores == 1 else 's'} of it"


def _bottleneck(result: Result, use: float) -> str:
    costs, cores = figures.cost(result), result["cores"]
    whole, most = sum(costs.values()) + sum(figures.beside(result).values()), max(costs, key=lambda name: costs[name])
    database, layer = (figures.carried(costs[name], use=use) for name in ("PostgreSQL", "Valkey"))
    return (
        f"**Where the next bottleneck is.** Here: {cores} cores, which are full at {cores} × 1,000 / {whole:.1f} ms = "
        f"{cores * 1000 / whole:.0f} payments a second with gateway and shoppers on them; {most} takes most "
        f"({costs[most] / whole:.0%}). Web processes and workers can be multiplied; the database cannot, and is the "
        f"next: {LARGE} cores at {use:.0%} carry {LARGE} × {use:g} × 1,000 / {costs['PostgreSQL']:.1f} ms = "
        f"{LARGE * database:,.0f} payments a second, {LARGE * database * 3600:,.0f} an hour. Each of them is "
        f"{result['transactions'] / result['payments']:.0f} transactions, those that only read among them, and "
        f"{result['wal'] / result['payments'] / 1024:.0f} KiB of WAL. Valkey has one thread: {use:.0%} of it is "
        f"{layer:,.0f} payments a second; announcements can be shared out among several."
    )


def weather(result: Result) -> str:
    """How the gateway behaved, and what everybody was answered."""
    return (
        f"The gateway takes 20 to 300 ms for a call ({_listed(result['gateway'])}; what is lost or silent was done). "
        f"Answers: {_listed(result['answers'])}. With the warming up, payments ended as {_listed(result['states'])}; "
        f"{result['captured']:,} were captured at the gateway."
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items())
