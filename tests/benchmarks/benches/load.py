"""A whole shop under load: real processes, a slow and flaky gateway, and shoppers who come one after the other."""

import os
from typing import Any

from ..frame import Bench, Line, Result, at_most
from ..sale import figures, telling
from ..sale.crowd import DEEDS, WAYS
from ..sale.run import run_sale, shape

__all__ = ["LoadBench"]

PAYMENTS, SECONDS, BAR = 20_000, 600, 33
#: Payments in an hour that machines are calculated for, and how much of a core's time they may use.
WANTED, USE = 1_000_000, 0.6
QUICK: dict[str, Any] = {"warm": 10, "rest": 1, "beat": 1, "poll_after": 3, "expire_after": 8, "latest": 3}
SPANS = {
    "start": "a payment is started, from the shopper's wish to the way to the gateway, with the gateway's time in it",
    "callback": "a callback, up to the 200",
    "status": "status",
    "return": "the page that a shopper comes back to, with a question to the gateway in it",
    "live": "from the gateway's word to the socket's",
    "queue": "from the 200 to a callback until a worker has done it",
}


class LoadBench(Bench):
    """`GATEWAYPAY_BENCH_SALE="1000 30"` asks for another size: payments, and the seconds that they come in."""

    name = "load"
    title = "A sale: two web processes, two workers, PostgreSQL and Valkey on one machine"

    def run(self, *, quick: bool) -> Result:
        """See `Bench`. Quick: forty payments in four seconds."""
        if quick:
            return run_sale(shape(40, 4, **QUICK))
        payments, seconds = map(int, os.environ.get("GATEWAYPAY_BENCH_SALE", f"{PAYMENTS} {SECONDS}").split())
        return run_sale(shape(payments, seconds))

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        wrong, sockets = result["wrong"], result["sockets"]
        heard = f"{sockets['heard']} of {sockets['heard'] + sockets['deaf']}"
        others = figures.amiss(result, "lost", "double")
        return [
            at_most("load", "lost: captured at the gateway, and neither success nor flagged here", wrong["lost"], 0),
            at_most("load", "double: orders that were fulfilled twice", wrong["double"], 0),
            at_most("load", "anything else amiss in the books of both sides", others, 0, "the 24 invariants"),
            self._rate(result),
            Line("load", "sockets that heard of the end", heard, "all", not sockets["deaf"]),
            *(Line("load", f"{words}: p50 / p99", figures.times(result, name)) for name, words in SPANS.items()),
            Line(
                "load", "from the last shopper's coming until all was settled", f"{result['seconds_to_settle']:.0f} s"
            ),
            *self._costs(result),
        ]

    def table(self, result: Result) -> str:
        """See `Bench`."""
        parts = [self._size(result), telling.where(result), telling.machines(result, WANTED, USE)]
        return "\n\n".join([*parts, telling.weather(result)])

    def _rate(self, result: Result) -> Line:
        reached = figures.rate(result)
        told = f"{result['in_time']:,} of {result['payments']:,} while shoppers came, {result['started']:,} in the end"
        met = reached >= BAR if result["payments"] >= PAYMENTS else None
        return Line("load", "payments that were started in a second", f"{reached:.1f}", f"≥ {BAR}", met, told)

    def _costs(self, result: Result) -> list[Line]:
        costs = figures.cost(result)
        cores = sum(need.cores for need in figures.needs(costs, WANTED / 3600, use=USE, cores=1).values())
        return [
            Line("load", "CPU of a payment, in all processes of the host", f"{sum(costs.values()):.0f} ms"),
            Line("load", f"cores for {WANTED:,} payments an hour", f"{cores:.0f}", note="arithmetic, see below"),
        ]

    def _size(self, result: Result) -> str:
        return (
            f"{result['payments']:,} payments in {result['seconds']} s, in an open loop: shoppers come, whether the "
            f"shop keeps up or not. {result['webs']} web processes, each with 32 threads for requests and a loop for "
            f"sockets; {result['workers']} Celery workers with two processes each; one beat; PostgreSQL with fsync; "
            f"{result['valkeys']} Valkey for announcements and the queue; gateway and shoppers share the cores. A "
            f"shopper starts a payment, pays on the gateway's page, and hears of it by socket ({WAYS['socket']} %), by "
            f"coming back ({WAYS['return']} %) or by asking for the status; {DEEDS['decline']} % decline, "
            f"{DEEDS['abandon']} % go away. {figures.times(result, 'crowd')} (p50 / p99) is how "
            "late the shoppers came themselves."
        )
