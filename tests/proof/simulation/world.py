"""The world: its clock, its queue of things to come, and the processes of the shop that live in it."""

import hashlib
import heapq
import itertools
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TypeVar
from unittest.mock import patch

from django.db import connections

from django_gatewaypay.gateways.base import Gateway
from django_gatewaypay.registry import gateways

from .clock import Clock
from .crash import Boundaries, Crash
from .faults import Weather

__all__ = ["Activity", "Event", "Process", "World"]

#: So many things may go on at the same time, each begun while the one before it waits.
AT_ONCE = 4
#: More than this is not what people and clocks do: something makes more of itself.
ENDLESS = 20_000
#: A crash point that nobody had reached in so many seconds is off the beaten track.
RARE_AFTER = 900
Result = TypeVar("Result")


@dataclass(order=True)
class Event:
    """Something that will happen.

    Args:
        order: the order that it is about, if it is about one.
        early: it may as well happen sooner than planned.
    """

    time: float
    number: int
    action: Callable[[], object] = field(compare=False)
    order: str = field(compare=False, default="")
    early: bool = field(compare=False, default=False)
    done: bool = field(compare=False, default=False)


class Adapters(SimpleNamespace):
    """The adapters of a process, each made when it is first asked for, with our wire below it."""

    def __init__(self, world: "World") -> None:
        super().__init__(_world=world)

    def __getattr__(self, alias: str) -> Gateway:
        if alias not in gateways:
            raise AttributeError(alias)
        adapter = gateways.create_connection(alias)
        self._world.lay_wire(adapter)
        setattr(self, alias, adapter)
        return adapter


class Life:
    """One incarnation of a process: its adapters with their circuits, until it dies."""

    def __init__(self, world: "World") -> None:
        self.dead = False
        self.adapters = Adapters(world)


class Process:
    """A web server, a worker or a clock of the shop. After a crash it starts afresh."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.life = Life(world)

    def die(self) -> None:
        self.life.dead = True
        self.life = Life(self.world)


@dataclass
class Activity:
    """A request or a task that is under way in a process."""

    process: Process
    life: Life
    name: str
    order: str


class World:
    """Everything that happens, one thing after the other, decided by one seed.

    Args:
        lasts: how many seconds there are faults.
        tell: what is done with each line of the event log.
    """

    def __init__(self, seed: int, *, lasts: float = 4500, tell: Callable[[str], object] | None = None) -> None:
        self.chance = random.Random(seed)
        self.seed = seed
        self.clock = Clock(self.wait)
        self.stack: list[Activity | None] = []
        self.queue: list[Event] = []
        self.visits: Counter[str] = Counter()
        self.crashes: Counter[str] = Counter()
        self.overtakings = 0
        self.happened = 0
        self.violations: list[str] = []
        self.weather = Weather(self.chance, ("card", "stripe", "mollie"), lasts)
        self._numbers = itertools.count()
        self._digest = hashlib.sha256()
        self._tell = tell

    def lay_wire(self, adapter: Gateway) -> None:
        """Connect a new adapter with its gateway."""
        raise NotImplementedError

    # --- What is written down.

    def log(self, text: str) -> None:
        line = f"{self.clock.now:10.3f} {'  ' * (len(self.stack) - 1)}{text}"
        self._digest.update(line.encode())
        if self._tell:
            self._tell(line)

    @property
    def digest(self) -> str:
        """Two runs of one seed have the same."""
        return self._digest.hexdigest()

    def violate(self, what: str) -> None:
        self.log(f"VIOLATED {what}")
        self.violations.append(what)

    # --- What will happen.

    def later(self, seconds: float, action: Callable[[], object], *, order: str = "", early: bool = False) -> Event:
        event = Event(self.clock.now + seconds, next(self._numbers), action, order, early)
        if self.happened < ENDLESS:
            heapq.heappush(self.queue, event)
        return event

    def run_until(self, moment: float) -> None:
        """Everything that happens until then, in its order."""
        while self.queue and self.queue[0].time <= moment:
            event = heapq.heappop(self.queue)
            self.clock.to(event.time)
            self._happen(event)
        self.clock.to(moment)

    def _happen(self, event: Event) -> None:
        """It happens now. What it does outside of our processes is nobody's work."""
        if event.done:
            return
        event.done = True
        self.happened += 1
        if self.happened == ENDLESS:
            self.violate(f"endless: {ENDLESS} things have happened, and {len(self.queue)} are still to come")
            self.queue.clear()
        self.stack.append(None)
        try:
            event.action()
        finally:
            self.stack.pop()

    @property
    def at_hand(self) -> Activity | None:
        """Who is at work, if it is one of our processes."""
        return self.stack[-1] if self.stack else None

    def _is_crowded(self) -> bool:
        return sum(one is not None for one in self.stack) >= AT_ONCE

    def wait(self, seconds: float) -> None:
        """The activity at hand waits, and others go on. A database transaction keeps everybody out."""
        until = self.clock.now + seconds
        if not self._is_crowded() and not connections["default"].in_atomic_block:
            self.run_until(until)
        self.clock.to(until)
        self._check_alive()

    def breathe(self) -> None:
        """Between two statements: another process may overtake, or this one is paused for a while."""
        self._check_alive()
        if self._is_crowded():
            return
        if self.weather.strikes("process paused"):
            self.wait(self.chance.choice((0.2, 2, 10, 75)))
        elif not self.weather.over and self.chance.random() < 0.03:
            self._let_overtake()
            self._check_alive()

    def _let_overtake(self) -> None:
        """Something that may come early does, rather about the same order than about another."""
        order = self.at_hand.order if self.at_hand else ""
        near = [event for event in self.queue[:60] if event.early and not event.done]
        chosen = [event for event in near if order and event.order == order] or near
        if chosen:
            self.overtakings += 1
            self._happen(self.chance.choice(chosen))

    # --- Processes, and how they end.

    def perform(self, process: Process, name: str, work: Callable[[], Result], order: str = "") -> Result | None:
        """Let a process do something; None when it died of it."""
        activity = Activity(process, process.life, name, order)
        kept, gateways._connections = gateways._connections, activity.life.adapters
        self.stack.append(activity)
        try:
            return work()
        except Crash:
            connections["default"].run_commit_hooks_on_set_autocommit_on = False
            return None
        finally:
            self.stack.pop()
            gateways._connections = kept

    def reach(self, point: str) -> None:
        """A crash point: the process at hand may die here. The first times are the likeliest."""
        self._check_alive()
        self.visits[point] += 1
        activity = self.at_hand
        assert activity
        # Where hardly anybody comes, somebody has to die as well, in any weather; and somebody has to get past it.
        rare = self.visits[point] == 1 and self.clock.now > RARE_AFTER
        likely = 0.6 if rare else self.weather.crashes * (0.6 / self.visits[point] + 0.006)
        if self.weather.over or self.chance.random() >= likely:
            return
        self.crashes[point] += 1
        self.weather.counts["crash"] += 1
        self.log(f"crash of {activity.process.name} at {point}")
        activity.process.die()
        raise Crash

    def _check_alive(self) -> None:
        if self.at_hand and self.at_hand.life.dead:
            raise Crash

    @contextmanager
    def begun(self) -> Iterator["World"]:
        """The world is in force: its clock, its chance and its boundaries."""
        kept = random.getstate()
        # Only the ids of this world; nothing else may lose its secrets to a seed.
        ids = SimpleNamespace(urandom=self.chance.randbytes)
        with ExitStack() as stack:
            stack.callback(random.setstate, kept)
            random.seed(self.seed)
            stack.enter_context(patch.object(uuid, "os", ids))
            stack.enter_context(self.clock)
            stack.enter_context(Boundaries(self))
            yield self
