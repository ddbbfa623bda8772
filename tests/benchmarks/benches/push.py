"""P7: a burst of changes to many open pages."""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..frame import Bench, Line, Result, at_least, at_most
from ..rounds import Runner, started, surroundings
from ..servers import databases
from ..web import serving

__all__ = ["PushBench", "Size"]

WORDS = {
    "raw": "a bare ASGI application: one subscription for each page, nobody is asked who they are, nothing is read",
    "ours": "`TransactionConsumer` over `RedisPubSubChannelLayer`: each nudge reads its row",
}
MAKERS = {"raw": "tests.benchmarks.push.applications:Raw", "ours": "tests.benchmarks.push.applications:ours"}
#: Opened first, so that what a process needs once counts for no page.
FIRST = 20
PATIENCE = 60.0
#: KiB of a page of memory.
PAGE = resource.getpagesize() / 1024


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Args:
        sockets: open pages at each server.
        bursts: how often all are told at once.
        paced: how often `told` of them are, one after the other.
        pace: of those, how many in a second.
    """

    sockets: int = 2000
    bursts: int = 7
    paced: int = 3
    told: int = 1000
    pace: float = 200


QUICK = Size(sockets=70, bursts=2, paced=1, told=50, pace=50)


class PushBench(Bench):
    """The speaker, each server and its pages are processes of their own, over real sockets."""

    name = "push"
    title = "A burst of changes to thousands of open pages"

    def run(self, *, quick: bool) -> Result:
        """See `Bench`."""
        return measure(QUICK if quick else Size())

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        raw, ours, sockets = result["servers"]["raw"], result["servers"]["ours"], result["sockets"]
        sent, lost = (sum(one[name] for one in heard(ours)) for name in ("sent", "lost"))
        slower = between(ours["paced"], raw["paced"], lambda one: one["p50"])
        p50 = [f"{statistics.median(one['p50'] for one in side['paced']):.1f}" for side in (ours, raw)]
        return [
            at_most("P7", f"lost of {sent} words to {sockets} sockets", lost, 0),
            at_least("P7", "delivered in a second of a burst, raw = 1", ratio(result), 0.6, speeds(result)),
            at_most("P7", "KiB of a connection", round(ours["kib"], 1), 40, f"raw: {raw['kib']:.1f}"),
            at_most("P7", "p50 at a steady pace, raw = 1", slower, 1.6, f"{p50[0]} ms, raw {p50[1]} ms"),
        ]

    def table(self, result: Result) -> str:
        """See `Bench`."""
        head = "| who | opened in a second | KiB each | said in a second | delivered in a second | lost | p50 | p99 |\n"
        return head + "\n".join(["|---|---|---|---|---|---|---|---|", *(row(result, name) for name in WORDS)])

    def bars(self, result: Result) -> Mapping[str, float]:
        """See `Bench`."""
        return {"raw": 1.0, "ours": 1 / ratio(result)}


# --- What the figures mean.


def heard(side: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*side["bursts"], *side["paced"]]


def speed(burst: Mapping[str, Any]) -> float:
    """What was delivered in a second, from the first word that was said to the last that was heard."""
    return float((burst["sent"] - burst["lost"]) / burst["seconds"])


def between(ours: Sequence[Any], theirs: Sequence[Any], figure: Any) -> float:
    """The median over the rounds of one figure over the other."""
    return statistics.median(figure(one) / figure(other) for one, other in zip(ours, theirs, strict=True))


def ratio(result: Result) -> float:
    servers = result["servers"]
    return between(servers["ours"]["bursts"], servers["raw"]["bursts"], speed)


def speeds(result: Result) -> str:
    ours, raw = (statistics.median(map(speed, result["servers"][name]["bursts"])) for name in ("ours", "raw"))
    return f"{ours:.0f}, raw {raw:.0f}"


def row(result: Result, name: str) -> str:
    side = result["servers"][name]
    said = statistics.median(one["sent"] / one["saying"] for one in side["bursts"])
    p50, p99 = (statistics.median(one[which] for one in side["paced"]) for which in ("p50", "p99"))
    delivered, lost = statistics.median(map(speed, side["bursts"])), sum(one["lost"] for one in heard(side))
    figures = f"{side['opened']:.0f} | {side['kib']:.1f} | {said:.0f} | {delivered:.0f} | {lost}"
    return f"| {name}: {WORDS[name]} | {figures} | {p50:.1f} ms | {p99:.1f} ms |"


# --- Measuring.


@dataclass
class Server:
    """One server, its pages, and what was measured of it."""

    name: str
    pid: int
    port: int
    pages: Runner
    speaker: Runner
    told: dict[str, Any] = field(default_factory=lambda: {"bursts": [], "paced": []})

    def open(self, payments: Sequence[tuple[str, str]]) -> None:
        """Open a page for each payment; what that takes, in time and memory."""
        path = {"raw": "/raw/{}/", "ours": "/ws/payments/{}/"}[self.name]
        wanted = [(payment, path.format(payment), f"gatewaypay.v1, {token}") for payment, token in payments]
        self.pages.ask("open", port=self.port, pages=wanted[:FIRST])
        before = kib(self.pid)
        seconds = self.pages.ask("open", port=self.port, pages=wanted[FIRST:])["seconds"]
        self.told["opened"] = len(wanted[FIRST:]) / seconds
        self.told["kib"] = (kib(self.pid) - before) / len(wanted[FIRST:])

    def tell(self, kind: str, payments: Sequence[str], pace: float = 0) -> None:
        """Change everything, say it of these payments, and listen."""
        self.speaker.ask("change")
        said = self.speaker.ask("say", way=self.name, payments=payments, pace=pace)
        told = self.pages.ask("hear", count=len(payments), patience=PATIENCE)
        self.told[kind].append(compare(said, told))


def compare(said: Mapping[str, float], told: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """What was said, and when each page has heard of its own payment.

    Raises:
        RuntimeError: a page was told twice of one change, or nobody was told.
    """
    if any(len(times) > 1 for times in told.values()) or not told:
        raise RuntimeError(f"{len(told)} of {len(said)} pages were told, and some of them twice.")
    late = sorted((times[0] - said[payment]) * 1000 for payment, times in told.items())
    began, last = min(said.values()), max(times[0] for times in told.values())
    return {
        "sent": len(said),
        "lost": len(set(said) - set(told)),
        "saying": max(said.values()) - began,
        "seconds": last - began,
        "p50": late[len(late) // 2],
        "p99": late[len(late) * 99 // 100],
    }


def measure(size: Size) -> dict[str, Any]:
    """Both servers full of open pages, told in turn, round after round."""
    with ExitStack() as stack:
        url = stack.enter_context(databases(["push"]))["push"]
        speaker = stack.enter_context(running("speaker", url))
        speaker.ask("ready")
        payments = speaker.ask("payments", count=size.sockets)
        servers = [stack.enter_context(server(name, speaker, url)) for name in WORDS]
        for one in servers:
            one.open(payments)
        everybody = [payment for payment, _ in payments]
        for number in range(size.bursts):
            for one in servers:
                one.tell("bursts", everybody)
            print(f"push: burst {number + 1} of {size.bursts}", file=sys.stderr, flush=True)
        for _ in range(size.paced):
            for one in servers:
                one.tell("paced", everybody[: size.told], size.pace)
    return {"sockets": size.sockets, "servers": {one.name: one.told for one in servers}}


def running(module: str, url: str) -> Any:
    return started(module, [sys.executable, "-m", f"tests.benchmarks.push.{module}"], url)


@contextmanager
def server(name: str, speaker: Runner, url: str) -> Iterator[Server]:
    """A server, and an empty process for its pages; ended afterwards."""
    with serving(MAKERS[name], surroundings(url)) as (pid, port), running("pages", url) as pages:
        yield Server(name, pid, port, pages, speaker)


def kib(pid: int) -> float:
    """The memory that a process has for itself and shares, once it has come to rest."""
    time.sleep(0.3)
    status = Path(f"/proc/{pid}/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * PAGE
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return float(told.stdout)
