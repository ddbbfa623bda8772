"""One run: the shop with its processes, the gateways, the shoppers, the faults; then quiet, and the books."""

import gc
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.core.handlers.base import BaseHandler
from django.http import HttpResponseBase
from django.test import RequestFactory, override_settings

from django_gatewaypay import announcer, services, tasks
from django_gatewaypay.gateways.base import Gateway
from django_gatewaypay.gateways.circuit import Circuit
from django_gatewaypay.models import Capture, Refund

from ..database import empty_tables
from . import audit
from .books import Session
from .gateway import DIALECTS, Wire, make_gateways
from .shop import MoodyOrders
from .shoppers import PLANS, Shopper
from .staff import CAPTURED, REFUNDED, Clerk, hire
from .world import Process, World

__all__ = ["Outcome", "Reply", "Simulation", "simulate"]

#: Shoppers come for half an hour, faults go on until the last of them is past expiry, then it is quiet.
ARRIVALS, FAULTS, END = 1800, 4500, 8 * 3600
CELERY_BEATS = [(tasks.poll_pending, 60.0), (tasks.expire_overdue, 60.0), (tasks.sweep, 30.0)]


@dataclass(frozen=True)
class Reply:
    """What a shopper's browser got."""

    status: int
    data: dict[str, Any]
    retry_after: str


@dataclass(frozen=True)
class Outcome:
    """What came of one seed."""

    seed: int
    payments: int
    digest: str
    violations: list[str]
    faults: Counter[str]
    visits: Counter[str]
    crashes: Counter[str]
    states: Counter[str] = field(default_factory=Counter)
    overtakings: int = 0
    refunds: int = 0
    captures: int = 0


class Simulation(World):
    """A world with a shop in it.

    Args:
        payments: how many shoppers come.
    """

    def __init__(self, seed: int, *, payments: int, tell: Callable[[str], object] | None = None) -> None:
        super().__init__(seed, lasts=FAULTS, tell=tell)
        self.payments = payments
        self.celery = self.chance.random() < 0.5
        self.acks_late = self.chance.random() < 0.5
        self.beats = self.chance.choice((1, 2))
        self.gateways = make_gateways(self, self._post_callback)
        self.handler = BaseHandler()
        self.requests = RequestFactory()

    def lay_wire(self, adapter: Gateway) -> None:
        """See `World`."""
        client = adapter.client
        client.session.mount(client.base, Wire(self, self.gateways[adapter.alias]))
        client.circuit = Circuit(clock=lambda: self.clock.now)

    def draw_settings(self) -> dict[str, Any]:
        """The host's settings, which differ from seed to seed where hosts differ."""
        return {
            "BASE_URL": "https://shop.example",
            "ORDERS": f"{MoodyOrders.__module__}.{MoodyOrders.__qualname__}",
            "GATEWAYS": {
                one.alias: {"BACKEND": one.BACKEND, "OPTIONS": one.OPTIONS, "CAPTURE": word}
                for one, word in zip(DIALECTS, self.chance.choices(("auto", "manual"), (85, 15), k=3), strict=True)
            },
            "LATE_PAYMENT": self.chance.choice(("review", "fulfil", "refund")),
            "USE_CELERY": self.celery,
            "POLL_AFTER": timedelta(minutes=self.chance.choice((5, 15))),
            "THROTTLES": {"initiate": None, "status": None, "page": None, "staff": None},
            "AUTHENTICATION": ["rest_framework.authentication.BasicAuthentication"],
        }

    def sessions(self) -> Iterator[Session]:
        """Every session at every gateway."""
        for gateway in self.gateways.values():
            yield from gateway.books.sessions.values()

    def session(self, reference: str) -> Session:
        return self.gateways[reference.partition("_")[0]].books.sessions[reference]

    def run(self) -> Outcome:
        """Live through it all; the books are checked on the way and at the end."""
        with self.begun(), ExitStack() as stack:
            # What a host's middleware does for people is of no interest to money, and costs a tenth of the time.
            stack.enter_context(override_settings(GATEWAYPAY=self.draw_settings(), MIDDLEWARE=[]))
            stack.enter_context(no_collector())
            # What happens at once is the world's to say: it passes from one process to another, never to a thread.
            stack.enter_context(patch.object(services.sweeping, "TOGETHER", 1))
            stack.enter_context(patch.object(tasks, "enqueue", self._enqueue))
            stack.enter_context(patch.object(announcer, "_send", self._nudge))
            stack.enter_context(audit.listening(self))
            MoodyOrders.weather, MoodyOrders.wait = self.weather, self.wait
            self._populate()
            for moment in (FAULTS / 2, FAULTS):
                self.run_until(moment)
                audit.check_so_far(self)
            self._calm_down()
            self.run_until(END)
            states = audit.check_at_the_end(self)
        return Outcome(
            self.seed, self.payments, self.digest, self.violations, self.weather.counts, self.visits, self.crashes,
            states, self.overtakings, Refund.objects.filter(foreign=False).count(), Capture.objects.count(),
        )  # fmt: skip

    def _populate(self) -> None:
        self.handler.load_middleware()
        hire()
        self.web = [Process(self, f"web {number}") for number in (1, 2)]
        self.workers = [Process(self, f"worker {number}") for number in (1, 2)]
        for number in range(self.beats):
            self._start_beat(Process(self, f"beat {number + 1}"))
        plans = self.chance.choices(list(PLANS), weights=list(PLANS.values()), k=self.payments)
        for number, plan in enumerate(plans):
            self.later(self.chance.uniform(0, ARRIVALS), lambda one=(number, plan): self._arrive(*one))

    def _calm_down(self) -> None:
        self.weather.over = True
        self.log("the faults are over")

    # --- Shoppers.

    def _arrive(self, number: int, plan: str) -> None:
        shopper = Shopper(self, number, plan)
        self.log(f"{shopper.name} {plan} order {shopper.tag} by {shopper.alias}")
        self.go_on(shopper.live(), shopper.tag)

    def go_on(self, steps: Iterator[float], order: str) -> None:
        """The next step of a person, and the one after it when it is time."""
        seconds = next(steps, None)
        if seconds is not None:
            self.later(seconds, lambda: self.go_on(steps, order), order=order, early=seconds < 100)

    def hand_over(self, transaction_id: str, session: Session) -> None:
        """What was paid or reserved comes to somebody's desk, or not."""
        clerk, drawn = Clerk(self, self.chance.choice(("ada", "bob")), transaction_id, session), self.chance.random()
        if session.status == "authorized" and drawn * 100 < CAPTURED:
            self.go_on(clerk.take(), session.order)
        elif session.captured and drawn * 100 < REFUNDED:
            self.go_on(clerk.give_back(), session.order)

    def visit(self, method: str, path: str, body: bytes, headers: dict[str, str], order: str) -> Reply | None:
        """A shopper's request; None when no answer came."""
        answer = self._request(method, path, body, {"content-type": "application/json", **headers}, order)
        if answer is None or self.weather.strikes("shopper's answer lost"):
            self.log(f"{method} {path}: no answer")
            return None
        data = json.loads(answer.content) if "json" in answer.headers.get("content-type", "") else {}
        self.log(f"{method} {path}: {answer.status_code} {data.get('state') or data.get('code', '')}")
        return Reply(answer.status_code, data, answer.headers.get("Retry-After", ""))

    def _post_callback(self, path: str, body: bytes, headers: dict[str, str], order: str) -> int | None:
        answer = self._request("POST", path, body, headers, order)
        return answer.status_code if answer is not None else None

    def _request(self, method: str, path: str, body: bytes, headers: dict[str, str], order: str) -> Any:
        content_type = headers["content-type"]
        request = self.requests.generic(method, path, body, content_type, secure=True, headers=headers)
        process = self.chance.choice(self.web)

        def work() -> HttpResponseBase:
            return self.handler.get_response(request)

        answer = self.perform(process, f"{method} {path}", work, order)
        if answer is not None and answer.status_code >= 500 and answer.status_code != 503:
            self.violate(f"{method} {path} answered {answer.status_code}")
        return answer

    # --- Clocks, broker and workers.

    def _start_beat(self, beat: Process) -> None:
        for task, every in CELERY_BEATS if self.celery else [(services.tick, 60.0)]:
            self.later(self.chance.uniform(0, every), lambda one=(beat, task, every): self._beat(*one), early=True)

    def _beat(self, beat: Process, task: Any, every: float) -> None:
        # In the quiet hours one slow clock is enough, and all the sooner done.
        pace = 5 if self.weather.over else 1
        self.later(every * pace, lambda: self._beat(beat, task, every), early=True)
        if not audit.something_is_due(task, within=2) or self.weather.strikes("beat missed"):
            return
        if self.celery:
            self._send_task(task, ())
        else:
            self.perform(beat, "tick", task)

    def _enqueue(self, task: Any, *args: str, countdown: float = 0) -> bool:
        """In the place of `tasks.enqueue`: the broker is a wire, and only ids travel on it."""
        self.reach(f"{task.name} before it is handed over")
        if self.weather.strikes("broker away"):
            return False
        self._send_task(task, args, countdown)
        self.reach(f"{task.name} after it is handed over")
        return True

    def _send_task(self, task: Any, args: tuple[str, ...], countdown: float = 0) -> None:
        if self.weather.strikes("task lost"):
            return
        for _ in range(2 if self.weather.strikes("task run twice") else 1):
            delay = countdown + self.chance.expovariate(2)
            self.later(delay, lambda: self._work(task, args), order=self._order_at_hand(), early=True)

    def _order_at_hand(self) -> str:
        return self.at_hand.order if self.at_hand else ""

    def _work(self, task: Any, args: tuple[str, ...]) -> None:
        worker = self.chance.choice(self.workers)
        life = worker.life
        self.perform(worker, f"{task.name} {args}", lambda: task(*args))
        if life.dead and self.acks_late:
            self.later(5, lambda: self._work(task, args), early=True)

    def _nudge(self, layer: Any, transaction_id: Any) -> None:
        """In the place of the channel layer, which forgets whom it likes."""
        self.reach("announcer.announce before the nudge")
        if self.weather.strikes("nudge lost"):
            raise ConnectionError("the layer is away")
        self.reach("announcer.announce after the nudge")


@contextmanager
def no_collector() -> Iterator[None]:
    """A seed has little garbage that goes round in circles; looking for it costs more than keeping it meanwhile."""
    gc.disable()
    gc.freeze()  # what was there before is not looked through afterwards
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


def simulate(seed: int, *, payments: int = 50, tell: Callable[[str], object] | None = None) -> Outcome:
    """Run one seed in the database that is configured; it is emptied before."""
    empty_tables()
    return Simulation(seed, payments=payments, tell=tell).run()
