"""Where programs are played: settings, a clock that stands, a gateway, and what each step is compared with."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar
from unittest.mock import patch
from uuid import UUID

import time_machine
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import connection
from django.test.utils import override_settings
from django.utils import timezone
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from django_gatewaypay import services
from django_gatewaypay.registry import gateways
from django_gatewaypay.testing.gateway_server import GatewayServer
from tests.invariants import Books, ServerBooks, check_books
from tests.shop.models import Order

from ..database import empty_tables
from .crash import Crash, Killed
from .plain import Expectation, Fact, Intent, Payment
from .scales import weigh
from .wire import ModelGateway, Wire, minor

__all__ = ["ALIASES", "MANUAL", "Letter", "Observed", "Stage", "Subject", "fact_of", "letters", "stage", "subjects"]

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: The money of the last one is only reserved, until staff capture it.
ALIASES = ("hosted", "wallet", "card")
MANUAL = "card"
#: What one person may give back alone.
LIMIT = {"EUR": "15.00"}

subjects, letters = Bundle("subjects"), Bundle("letters")


@dataclass
class Stage:
    """What outlives a run: the gateway's server, the clock that stands, and the crash points."""

    server: GatewayServer
    wire: Wire
    crash: Crash
    clock: Any
    progress: Callable[[int], object]
    tally: Counter[str] = field(default_factory=Counter)


@contextmanager
def stage(progress: Callable[[int], object] = bool) -> Iterator[Stage]:
    """Settings, gateway and clock of the model. The database is there already, and is emptied by every run."""
    backend = {"BACKEND": "django_gatewaypay.gateways.hosted.HostedGateway"}
    accounts = {alias: backend | ({"CAPTURE": "manual"} if alias == MANUAL else {}) for alias in ALIASES}
    ours = {**settings.GATEWAYPAY, "GATEWAYS": accounts, "REFUND_APPROVAL_ABOVE": LIMIT}
    with ExitStack() as stack:
        server = stack.enter_context(GatewayServer(secret=settings.HOSTED_SECRET))
        # A nudge is a hint: nothing here depends on it, so nobody is nudged.
        stack.enter_context(override_settings(GATEWAYPAY=ours, CHANNEL_LAYERS={}))
        # Who dies in the middle of a sweep has begun one thing, and not eight.
        stack.enter_context(patch.object(services.sweeping, "TOGETHER", 1))
        clock = stack.enter_context(time_machine.travel(START, tick=False))
        # Trouble is what is played here, and the log would tell nothing else.
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, logging.NOTSET)
        get_user_model().objects.get_or_create(username="second")
        yield Stage(server, Wire(server), stack.enter_context(Crash()), clock, progress)
    gateways.reset()


@dataclass
class Subject:
    """One transaction: who it is, what it should be, and which messages about it were taken in."""

    pk: UUID
    order: int
    alias: str
    expected: Expectation = field(default_factory=Expectation)
    heard: list[Fact] = field(default_factory=list)
    refunds: dict[UUID, Intent] = field(default_factory=dict)
    captures: dict[UUID, Intent] = field(default_factory=dict)

    @property
    def payment(self) -> Payment:
        return self.expected.payment


@dataclass(frozen=True)
class Letter:
    """A message that the gateway has written; it may be delivered any number of times."""

    subject: Subject = field(hash=False, compare=False)
    event_id: str
    body: bytes
    fact: Fact
    nameless: bool = False  # about a refund that may be any of ours


class Observed(RuleBasedStateMachine):
    """One shop with two orders and two accounts, looked at after each step."""

    stage: ClassVar[Stage]

    def __init__(self) -> None:
        super().__init__()
        self.server, self.wire, self.crash = self.stage.server, self.stage.wire, self.stage.crash
        self.stage.clock.move_to(START)
        self.crash.disarm()
        self.wire.forget()
        self.gateway = ServerBooks(self.server)
        self.known: dict[UUID, Subject] = {}
        self.letter_count = 0
        self.said: dict[str, set[str]] = {}  # what the gateway has ever had of a refund
        self.died = self.calm = False
        self.paid: set[int] = set()  # orders whose fulfilment was seen to be earned
        self.owed: set[int] = set()  # of these, the ones that a crash or a hook's bad day put off
        empty_tables()
        self.orders = [Order.objects.create(), Order.objects.create()]
        self.start_process()
        self.books = check_books(self.gateway)
        self.see()
        self.stage.tally["runs"] += 1
        self.stage.progress(self.stage.tally["runs"])

    @rule()
    def start_process(self) -> None:
        """A new process: it knows what the database knows."""
        self.crash.disarm()
        connection.close()
        cache.clear()
        gateways.reset()
        for alias in ALIASES:
            gateways[alias] = ModelGateway(alias, self.wire, self.server.secret)
        self.stage.tally["restart"] += 1

    # --- What must hold after each step.

    @invariant()
    def look(self) -> None:
        """The 24 invariants, and what the model expects of each payment and each order."""
        self.stage.tally["steps"] += 1
        # Where nothing was written, the books are those of the last step.
        if self.crash.writes != self.seen_writes:
            books = Books.read(self.books, self.crash.written)
            self.stage.tally.update(weigh(self.wire, books))
            self.books = check_books(self.gateway, since=self.books, books=books)
            self.see()
        for one in self.known.values():
            row = self.books.transactions[one.pk]
            totals = row.captured_minor, row.refunded_minor, row.late, row.authorized_minor, row.agreed_minor or 0
            seen, expected = Payment(row.state, *totals), one.expected.payments
            assert one.expected.saw(seen), f"{one.pk} is {seen}, expected {expected}"
        assert set(self.books.transactions) == set(self.known)
        for number, order in enumerate(self.orders):
            self.look_at_order(number, self.books.orders[str(order.pk)])
        self.look_at_movements()
        self.died = False
        # Rows that are due at the same instant have no order; no two steps share one.
        self.stage.clock.shift(0.001)

    def see(self) -> None:
        """The books are read: what is written from now on is new."""
        self.seen_writes = self.crash.writes
        self.crash.written.clear()

    def look_at_movements(self) -> None:
        """Refunds and captures, too."""

    def look_at_order(self, number: int, order: Order) -> None:
        """The first payment in time earns the fulfilment; its effect is there at once, or a crash explains why not."""
        mine = [one for one in self.known.values() if one.order == number]
        earning = {one.pk for one in mine if one.payment.state == "success" and not one.payment.late}
        earned = {row.transaction_id for row in self.books.fulfilments.values() if row.key == f"fulfil:{order.pk}"}
        assert len(earned) == bool(earning), f"order {order.pk}: paid by {earning}, owed for {earned}"
        assert earned <= earning
        if earned and number not in self.paid:
            self.paid.add(number)
            self.owed |= {number} if self.died or order.mood else set()
        assert order.fulfilments == bool(earned) or (number in self.owed and order.fulfilments == 0)
        if order.fulfilments:
            self.owed.discard(number)

    # --- The tools.

    def begins(self, name: str) -> bool:
        """Count a step; whether nothing is going to go wrong in it."""
        self.stage.tally[name] += 1
        self.calm = not (self.crash.armed or self.wire.fault)
        return self.calm

    def run(self, work: Callable[[], Any], *expected: type[Exception]) -> Any:
        """Do it; what it returned, or the expected error that it raised. A process that dies in it starts again."""
        try:
            return work()
        except Killed:
            self.died = True
            self.stage.tally["crash"] += 1
            self.start_process()
        except expected as error:
            return error
        finally:
            self.crash.disarm()

    def tell(self, subject: Subject, facts: Iterable[Fact], surely: bool) -> None:
        """The facts were told; or some of them, if something went wrong."""
        if surely:
            subject.expected.must(facts)
        else:
            subject.expected.may([*facts, *self.everything(subject)])

    def everything(self, subject: Subject) -> list[Fact]:
        """All that a subject may be told now, by whoever works on it."""
        ends = [Fact("expired", local=True), Fact("canceled", local=True)]
        facts = [self.truth(subject), Fact("pending"), Fact("failed"), *subject.heard]
        agreed = [word for one in subject.captures.values() for word in agreeing(one)] if subject.captures else []
        return [*facts, *(self.in_time(subject, fact) for fact in facts), *ends, *agreed]

    def closing(self, subject: Subject, word: str) -> list[Fact]:
        """What is told when we close a session and the gateway has done it, or has something else to say."""
        told = self.truth(subject)
        if not self.books.transactions[subject.pk].gateway_reference:
            told = Fact("created")
        elif told.word in {"canceled", "expired"}:
            told = replace(told, word=word)
        return [self.in_time(subject, fact) for fact in (told, Fact(word, local=True))]

    def in_time(self, subject: Subject, fact: Fact) -> Fact:
        """After its time, a session that is canceled has expired."""
        overdue = self.books.transactions[subject.pk].expires_at <= timezone.now()
        return replace(fact, overdue=True) if overdue and fact.word == "canceled" else fact

    def truth(self, subject: Subject) -> Fact:
        session = self.session(subject)
        return fact_of(session) if session else Fact("created")

    def session(self, subject: Subject) -> dict[str, Any] | None:
        """The gateway's session of a subject; None when none was opened."""
        named = str(subject.pk)
        return next((one for one in self.server.sessions.values() if one["transaction_id"] == named), None)


def fact_of(session: dict[str, Any], *, foreign: bool = False) -> Fact:
    """A session as the gateway tells it."""
    return Fact(
        session["status"],
        captured=minor(session["amount"] if session["status"] == "success" else session.get("captured")),
        currency=session["currency"],
        refunded=minor(session.get("refunded")),
        authorized=minor(session.get("authorized")),
        foreign=foreign,
    )


def agreeing(capture: Intent) -> list[Fact]:
    """What may be said of the whole because of a capture: it is that, or it is not, or no more."""
    whole = capture.before + capture.amount
    return [Fact(agreed=whole), Fact(revoked=whole)]
