"""P1 over HTTP: how many callbacks one web process answers in a second."""

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import ClassVar

from ...proof.frame import REPOSITORY
from ..frame import Bench, Entrant, Line, Result, absent, at_least
from ..rounds import Runner, entering, find_pythons, homes, surroundings
from . import callback

__all__ = ["HttpBench"]

#: So many are on their way at a time; the server works on one of them.
TOGETHER = 8
#: How many times as many as each of them.
BARS = {"floor_orm": 2.0, "django-payments": 3.0, "django-getpaid": 3.0, "dj-stripe": 7.0}
NOTES = {"dj-stripe": "its question to Stripe, answered on loopback, is in its time"}


class HttpBench(Bench):
    """The entrants of `callback` behind a server, each in turn, round after round."""

    name = "http"
    title = "Callbacks over HTTP: one gunicorn process, eight at a time"
    entrants: ClassVar[Mapping[str, Entrant]] = callback.CallbackBench.entrants

    def run(self, *, quick: bool) -> Result:
        """See `Bench`. Quick: a handful of requests, without the rivals, which have to be fetched."""
        calls, rounds = (20, 2) if quick else (300, 9)
        pythons, missing = find_pythons(self.entrants, rivals=not quick)
        with homes(self.entrants, pythons) as urls, ExitStack() as stack:
            sides = {
                name: stack.enter_context(Served(name, self.entrants[name], python, urls[name]))
                for name, python in pythons.items()
            }
            found: dict[str, list[float]] = {name: [] for name in sides}
            for number in range(rounds):
                for name, side in sides.items():
                    found[name].append(side.answer(calls))
                print(f"{self.name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        return {"calls": calls, "rounds": rounds, "rps": found, "missing": missing}

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        return [
            at_least(
                "P1",
                f"requests per second of an intake, {who} = 1",
                compared(result, "intake", who),
                bar,
                NOTES.get(who, ""),
            )
            if who in result["rps"]
            else absent(result, "P1", f"requests per second of an intake, {who} = 1", f"≥ {bar:g}", who)
            for who, bar in BARS.items()
        ]

    def table(self, result: Result) -> str:
        """See `Bench`."""
        size = f"{result['rounds']} rounds of {result['calls']} distinct, signed requests each, a connection for each."
        head = "| who | requests per second | floor_orm = 1 |\n|---|---|---|\n"
        return f"{size}\n\n{head}" + "\n".join(
            f"| {name}: {self.entrants[name].words} | {statistics.median(found):.0f} "
            f"| {compared(result, name, 'floor_orm'):.2f} |"
            for name, found in result["rps"].items()
        )

    def bars(self, result: Result) -> Mapping[str, float]:
        """See `Bench`."""
        return {name: compared(result, name, "floor_orm") for name in result["rps"]}


def compared(result: Result, name: str, base: str) -> float:
    """The median of the rounds' ratios."""
    pairs = zip(result["rps"][name], result["rps"][base], strict=True)
    return statistics.median(one / other for one, other in pairs)


class Served:
    """One entrant: a process that knows the requests and their effects, and a server that answers them."""

    def __init__(self, name: str, entrant: Entrant, python: str, url: str) -> None:
        self.given = name, entrant, python, url
        self.stack = ExitStack()

    def __enter__(self) -> "Served":
        name, entrant, python, url = self.given
        with self.stack:
            self.runner: Runner = self.stack.enter_context(entering(name, entrant, python, url))
            self.runner.ask("ready")
            self.port = self.stack.enter_context(serving(python, entrant.side, url))
            answered(self.port, self.runner.ask("wires", calls=TOGETHER))  # it is warm from here on
            self.runner.ask("check", calls=TOGETHER)
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def answer(self, calls: int) -> float:
        """How many requests it answered in a second; every one had its effect."""
        seconds = answered(self.port, self.runner.ask("wires", calls=calls))
        self.runner.ask("check", calls=calls)
        return calls / seconds


@contextmanager
def serving(python: str, side: str, url: str) -> Iterator[int]:
    """The port of a gunicorn with one synchronous worker; whoever connects waits until it answers. Ended afterwards."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        bound = f"fd://{listener.fileno()}"
        words = ["--bind", bound, "--workers", "1", "--log-level", "warning", "tests.benchmarks.sides.wsgi:served()"]
        process = subprocess.Popen(
            [python, "-m", "gunicorn", *words],
            cwd=REPOSITORY,
            env=surroundings(url) | {"GATEWAYPAY_BENCH_SIDE": side},
            pass_fds=[listener.fileno()],
        )
        with process:
            try:
                yield listener.getsockname()[1]
            finally:
                process.terminate()


def answered(port: int, requests: Sequence[str]) -> float:
    """Seconds until all were answered with 200."""
    with ThreadPoolExecutor(TOGETHER) as pool:
        began = time.perf_counter()
        list(pool.map(lambda one: ask(port, one.encode()), requests))
        return time.perf_counter() - began


def ask(port: int, request: bytes) -> None:
    """Send one.

    Raises:
        RuntimeError: it was answered otherwise.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        wire.sendall(request)
        answer = wire.makefile("rb").read()
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"answered {answer[:300]!r}")
