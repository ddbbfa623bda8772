"""Everything that can happen to payments, in any order, beside a plain model of what they come to."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import hypothesis
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import initialize, multiple, precondition, rule, run_state_machine_as_test

from django_gatewaypay import services
from django_gatewaypay.exceptions import (
    GatewayDeclined,
    GatewayUnavailable,
    InvalidTransition,
    MovementInProgress,
    OrderNotPayable,
    PaymentInProgress,
)
from django_gatewaypay.models import Callback, Fulfilment, Transaction
from tests.invariants import check_settled
from tests.shop.models import Order

from .plain import OPEN, Fact
from .staff import AMOUNTS, MOVE, Staff
from .stage import ALIASES, Stage, Subject, stage, subjects

__all__ = ["Machine", "Silence", "Stage", "play", "stage"]

HOPS = (1, 1, 4, 4, 20, 20, 61, 61, 310, 901, 1801, 3 * 3600, 40 * 3600)
#: After the second one, whatever was claimed by a process that died is free again.
TICKS = (0, 61, 61, 310)


def play(
    here: Stage, *, seed: int, runs: int, steps: int, shrink: bool = True, world: type["Machine"] | None = None
) -> None:
    """Play so many programs of so many steps; one that fails is raised, in its shortest form, with its notes."""
    phases = [hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if shrink else [])]
    profile = hypothesis.settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    machine = hypothesis.seed(seed)(type("Play", (world or Machine,), {"stage": here}))
    run_state_machine_as_test(machine, settings=profile)


class Machine(Staff):
    """A world of trouble."""

    # --- What the shopper does at the shop.

    @initialize(
        target=subjects,
        alias=st.sampled_from(ALIASES),
        paid=st.sampled_from([True, True, False]),
        moves=st.lists(st.tuples(*MOVE.values()), max_size=3),
    )
    def begin(self, alias: str, paid: bool, moves: list[Any]) -> Any:
        """There is a payment to begin with; it may be paid or reserved, and staff may have moved its money."""
        begun = self.initiate(0, alias)
        [subject] = self.known.values()
        self.look()
        if paid:
            self.happen(subject, "success")
        for details in moves if paid else []:
            self.look()
            self.move(subject, *details, paid=False)
        return begun

    @rule(target=subjects, order=st.integers(0, 1), alias=st.sampled_from(ALIASES))
    def initiate(self, order: int, alias: str) -> Any:
        """Start to pay, or join the payment that is open."""
        calm, pk = self.begins("initiate"), self.orders[order].pk
        mine = [one for one in self.known.values() if (one.order, one.alias) == (order, alias)]
        before = {one.pk: self.everything(one) for one in mine}
        answer = self.run(
            lambda: services.initiate(str(pk), gateway=alias),
            OrderNotPayable, PaymentInProgress, GatewayUnavailable, GatewayDeclined,
        )  # fmt: skip
        for one in mine:
            one.expected.may([*before[one.pk], *self.everything(one)])
        new = [row.pk for row in Transaction.objects.filter(order_id=pk, gateway=alias) if row.pk not in self.known]
        assert len(new) <= 1, f"one initiation made {len(new)} transactions"
        if calm:
            self.check_initiation(answer, mine, new)
        for one in new:
            self.known[one] = Subject(one, order, alias)
            self.known[one].expected.may([Fact("pending"), Fact("failed"), self.truth(self.known[one])])
        return multiple(*[self.known[one] for one in new])

    def check_initiation(self, answer: Any, mine: list[Subject], new: list[UUID]) -> None:
        """Without trouble, there is exactly one open payment to go on with, or the order is paid."""
        is_open = [one for one in mine if self.books.transactions[one.pk].state in OPEN - {"created"}]
        in_time = [one for one in is_open if self.books.transactions[one.pk].expires_at > timezone.now()]
        if in_time and not isinstance(answer, OrderNotPayable):
            assert answer.transaction.pk == in_time[0].pk
            assert not new
        if not mine and not isinstance(answer, OrderNotPayable):
            assert [answer.transaction.pk] == new
            assert answer.transaction.state == "pending"
        fulfilled = Order.objects.filter(fulfilments__gt=0, pk__in=[order.pk for order in self.orders])
        if isinstance(answer, OrderNotPayable):
            assert fulfilled.exists()

    @rule(subject=subjects)
    def come_back(self, subject: Subject) -> None:
        """The shopper returns, and the gateway is asked unless it was just now."""
        self.begins("return")
        row = Transaction.objects.get(pk=subject.pk)
        self.run(lambda: services.refresh_for_shopper(row))
        subject.expected.may([self.in_time(subject, self.truth(subject))])

    @rule(subject=subjects)
    def cancel(self, subject: Subject) -> None:
        """Close it at the gateway, then here."""
        calm, payment = self.begins("cancel"), subject.payment
        possible = payment.state in {"created", "pending", "authorized"}
        under_way = any(one.state not in {"succeeded", "failed"} for one in subject.captures.values())
        busy = payment.state == "authorized" and under_way
        answer = self.run(
            lambda: services.cancel(subject.pk, reason="Sold out."),
            InvalidTransition, MovementInProgress, GatewayUnavailable,
        )  # fmt: skip
        assert self.died or possible or isinstance(answer, InvalidTransition)
        assert self.died or busy == isinstance(answer, MovementInProgress)
        if possible and not busy:
            self.stage.tally["voids"] += payment.state == "authorized" and calm
            parts = payment.captured if payment.state == "authorized" else 0
            rest = [Fact(agreed=parts), self.truth(subject)] if parts else self.closing(subject, "canceled")
            self.tell(subject, rest, calm)

    # --- What the clock and staff do.

    @rule(subject=subjects)
    def poll(self, subject: Subject) -> None:
        """Ask the gateway."""
        calm, fact = self.begins("poll"), self.in_time(subject, self.truth(subject))
        asked = self.books.transactions[subject.pk].gateway_reference
        self.run(lambda: services.refresh(subject.pk), GatewayUnavailable)
        if asked:
            self.tell(subject, [fact], calm)

    @rule(subject=subjects)
    def expire(self, subject: Subject) -> None:
        """Ask once more, close it at the gateway, then here."""
        calm, first = self.begins("expire"), self.in_time(subject, self.truth(subject))
        asked = self.books.transactions[subject.pk].gateway_reference
        self.run(lambda: services.expire(subject.pk))
        told = subject.payment.told(first) if asked else subject.payment
        closing = self.closing(subject, "expired") if told.state in {"created", "pending"} else []
        self.tell(subject, [first, *closing] if asked else closing, calm)

    @rule(seconds=st.sampled_from(TICKS))
    def tick(self, seconds: int) -> None:
        """Everything that is due by then."""
        self.stage.clock.shift(seconds)
        calm = self.begins("tick")
        before = {one.pk: self.everything(one) for one in self.known.values()}
        self.run(services.tick)
        for one in self.known.values():
            one.expected.may([*before[one.pk], *self.everything(one)])
        if calm:
            late = Transaction.objects.overdue(timezone.now())
            assert not late.exists(), f"still open after their time and a tick: {list(late)}"

    @rule(seconds=st.sampled_from(HOPS))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.begins("clock")
        self.stage.clock.shift(seconds)

    @rule(order=st.integers(0, 1), mood=st.sampled_from(["", "raise", "raise_after"]))
    def feel(self, order: int, mood: str) -> None:
        """The host's hook has a bad day, or a good one again."""
        self.begins("hook")
        self.run(lambda: Order.objects.filter(pk=self.orders[order].pk).update(mood=mood))

    @rule()
    def retry_hooks(self) -> None:
        """Staff deliver by hand what is owed, also what was given up."""
        self.begins("retry by staff")
        for pk in list(Fulfilment.objects.exclude(state="done").values_list("pk", flat=True)):
            if not self.died:
                self.run(lambda pk=pk: services.retry_fulfilment(pk))  # type: ignore[misc]

    # --- What goes wrong.

    @precondition(lambda self: not self.crash.armed)
    @rule(commit=st.integers(1, 6), after=st.booleans())
    def doom(self, commit: int, after: bool) -> None:
        """The next call dies at one of its commits."""
        self.crash.arm(commit, after=after)
        self.stage.tally["crash: armed"] += 1

    @precondition(lambda self: not self.wire.fault)
    @rule(fault=st.sampled_from(["away", "lost", "declined"]))
    def disturb(self, fault: str) -> None:
        """The next call to the gateway gets no answer, or a no."""
        self.wire.fault = fault
        self.stage.tally[f"wire: {fault}"] += 1

    def teardown(self) -> None:
        """The faults stop, the gateway tells what it still has to tell, the clocks run: everything converges."""
        self.look()  # a step that was broken off has said why, and the rest makes no sense
        self.start_process()
        self.wire.fault, self.server.next_refund = "", "succeeded"
        Order.objects.update(mood="")
        # A wrong message that was stored by a process that died may end the polling before it has asked.
        misled = Callback.objects.filter(state="received").exists()
        for one in self.known.values():
            row, session = Transaction.objects.get(pk=one.pk), self.session(one)
            unasked = row.next_poll_at is None or not row.gateway_reference
            if session is not None and (unasked or misled):
                self.deliver(self.write(one, "truth"))
        self.look()
        for letter in self.settle_refunds():
            self.deliver(letter)
            self.look()
        for seconds in (61, 1201, 2101, 61, 24_000, 61):
            self.tick(seconds)
            self.look()
        check_settled(self.gateway)
        self.check_ends()
        for one in self.known.values():
            # What of it we have given back ourselves, nobody has to tell us.
            for fact in [*one.heard, replace(self.truth(one), refunded=0)]:
                assert one.payment.told(self.in_time(one, fact)) == one.payment, f"{one.pk} has missed {fact}"


class Silence(Machine):
    """The same world, where each program begins with money that was moved, an answer that was lost, and a minute."""

    @initialize(target=subjects, alias=st.sampled_from(ALIASES), amount=st.sampled_from(AMOUNTS))
    def begin(self, alias: str, amount: int | None) -> Any:
        """Where money is only reserved, it is taken; elsewhere it is given back."""
        begun = super().begin(alias, True, [["", amount, "", False, "lost", "succeeded"]])
        self.look()
        self.tick(61)
        return begun
