"""Many nodes: the same sale on one web process and one worker, on more of both, with two Valkeys, and over RabbitMQ."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from ...plant.stores import RabbitMq
from ..frame import Bench, Line, Result, at_most
from ..sale import figures
from ..sale.run import run_sale, shape

__all__ = ["NodesBench"]

BAR = 1.25
#: Payments, and the seconds that they come in.
SIZE = (300, 20)
SMALL = {"webs": 1, "workers": 1, "valkeys": 1}
LARGE = {"webs": 2, "workers": 3, "valkeys": 2}
SHAPES: dict[str, dict[str, Any]] = {"one": SMALL, "many": LARGE, "rabbit": {**LARGE, "broker": "RabbitMQ"}}
WORDS = {
    "one": "one web process, one worker, one Valkey",
    "many": "two web processes, three workers, two Valkeys",
    "rabbit": "the same, with RabbitMQ for the queue",
}
FULL = {"warm": 60, "rest": 4, "beat": 5, "poll_after": 5, "latest": 5, "abandons": False}
QUICK = {"warm": 10, "rest": 1, "beat": 1, "poll_after": 3, "latest": 3, "abandons": False}
NO_RABBIT = "RabbitMQ is not installed here"


class NodesBench(Bench):
    """Sales of the shapes in turn, at the same pace."""

    name = "nodes"
    title = "Many nodes: what a payment costs on one and on several, and who hears of it"

    def run(self, *, quick: bool) -> Result:
        """See `Bench`. Quick: one small sale of each, without RabbitMQ, which takes its time to start."""
        rounds = ["one", "many"] if quick else ["one", "many", "one", "many", "rabbit"]
        size, more = ((20, 2), QUICK) if quick else (SIZE, FULL)
        missing = {} if quick or RabbitMq.program() else {"rabbit": NO_RABBIT}
        sales: dict[str, list[Any]] = {}
        for name in rounds:
            if name not in missing:
                sales.setdefault(name, []).append(run_sale(shape(*size, **more, **SHAPES[name])))
        return {"sales": sales, "missing": missing}

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        one, many = (result["sales"][name] for name in ("one", "many"))
        return [
            *self._costs(one, many),
            at_most("nodes", "lost, double or otherwise amiss in the books of both sides", amiss([*one, *many]), 0),
            self._across(many),
            *self._rabbit(result),
        ]

    def table(self, result: Result) -> str:
        """See `Bench`."""
        return "\n".join([*_told(result), *(f"\n- **Not run**: {why}" for why in result["missing"].values())])

    def _costs(self, one: Sequence[Result], many: Sequence[Result]) -> list[Line]:
        whole, alone = ratio(many, one), ratio(many, one, idle=False)
        what = f"CPU of a payment on {WORDS['many']}; {WORDS['one']} = 1"
        # Of a handful of payments, most is what processes spend when nobody comes.
        met = whole <= BAR if one[0]["payments"] >= SIZE[0] else None
        return [
            Line("nodes", what, f"{whole:.2f}", f"≤ {BAR}", met),
            Line("nodes", "the same, without what processes spend when nobody comes", f"{alone:.2f}"),
        ]

    def _across(self, sales: Sequence[Result]) -> Line:
        across, deaf = (sum(sale["sockets"][name] for sale in sales) for name in ("across", "deaf"))
        what = "sockets that heard of a callback that came in at the other node"
        note = "two Valkeys took {} and {} announcements".format(*_shared_out(sales))
        return Line("nodes", what, f"{across}, and {deaf} deaf", "all", across > 0 and not deaf, note)

    def _rabbit(self, result: Result) -> list[Line]:
        what = "the same sale over RabbitMQ: lost, double or otherwise amiss"
        if "rabbit" not in result["sales"]:
            return [Line("nodes", what, "–", "≤ 0", None, result["missing"].get("rabbit", "left out when quick"))]
        rabbit, many = (result["sales"][name] for name in ("rabbit", "many"))
        told = f"{ratio(rabbit, many):.2f}"
        return [
            at_most("nodes", what, amiss(rabbit), 0),
            Line("nodes", "CPU of a payment over RabbitMQ, its own in it; over Valkey = 1", told),
        ]


def ratio(sales: Sequence[Result], base: Sequence[Result], *, idle: bool = True) -> float:
    """What a payment costs, over what it costs in other sales; the middle of each."""
    ours, theirs = (statistics.median(sum(figures.cost(one, idle=idle).values()) for one in of) for of in (sales, base))
    return ours / theirs


def amiss(sales: Sequence[Result]) -> int:
    """How much is wrong in all of them."""
    return sum(figures.amiss(sale) for sale in sales)


def _shared_out(sales: Sequence[Result]) -> list[int]:
    return [sum(counts) for counts in zip(*(sale["published"] for sale in sales), strict=True)]


def _told(result: Result) -> Iterator[str]:
    yield (
        "**What two cores can show, and what not.** Everything runs on them: shop, servers, gateway, shoppers. More "
        "processes do not make them faster, so that no clock on the wall can show here that two nodes carry twice the "
        "sale. What can be shown is what that depends on: a payment costs no more CPU time when it is shared out, no "
        "process needs to know what another one has in memory, and whoever waits at one node hears of what came in at "
        "another. Then more nodes carry more, up to the database, which is one; see the arithmetic of `load`.\n"
    )
    yield "| sale | payments | ms of a payment | web | workers | PostgreSQL | the rest | start, p50 / p99 | amiss |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, sales in result["sales"].items():
        yield from (_row(name, sale) for sale in sales)


def _row(name: str, sale: Result) -> str:
    costs = figures.cost(sale)
    shown = [f"{costs.pop(who):.1f}" for who in ("web", "workers", "PostgreSQL")]
    whole = f"{sum(figures.cost(sale).values()):.1f}"
    cells = [WORDS[name], str(sale["started"]), whole, *shown, f"{sum(costs.values()):.1f}"]
    return f"| {' | '.join([*cells, figures.times(sale, 'start'), str(figures.amiss(sale))])} |"
