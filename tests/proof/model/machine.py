"""Everything that can happen to payments, in any order, beside a plain model of what they come to."""

import json
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
    InvalidSignature,
    InvalidTransition,
    MovementInProgress,
    OrderNotPayable,
    PaymentInProgress,
)
from django_gatewaypay.models import Callback, Fulfilment, Transaction
from django_gatewaypay.testing.gateway_server import sign
from django_gatewaypay.types import CallbackRequest
from tests.invariants import check_settled
from tests.shop.models import Order

from .plain import OPEN, Fact
from .staff import AMOUNTS, HABITS, KEYS, TROUBLES, VERBS, Staff, Trouble
from .stage import ALIASES, MANUAL, Letter, Stage, Subject, fact_of, letters, stage, subjects

__all__ = ["Machine", "Stage", "play", "stage"]

#: What a shopper, a bank or the gateway's staff do: the session's status from now on, and its money.
ACTS = {
    "processing": ("processing", "19.99", "EUR"),
    "success": ("success", "19.99", "EUR"),
    "short": ("success", "5.00", "EUR"),
    "over": ("success", "20.99", "EUR"),
    "dollars": ("success", "19.99", "USD"),
    "failed": ("failed", "19.99", "EUR"),
    "canceled": ("canceled", "19.99", "EUR"),
    "expired": ("expired", "19.99", "EUR"),
}
LIES = ("truth", "truth", "truth", "expired", "failed", "short", "over", "dollars", "other session", "refund")
#: What staff move, under which key, and what goes wrong in the midst of it.
MOVE = {
    "verb": st.sampled_from(VERBS),
    "amount": st.sampled_from(AMOUNTS),
    "key": st.sampled_from(KEYS),
    "final": st.booleans(),
    "trouble": st.sampled_from(TROUBLES),
    "habit": st.sampled_from(HABITS),
}
HOPS = (1, 1, 4, 4, 20, 20, 61, 61, 310, 901, 1801, 3 * 3600, 40 * 3600)


def play(here: Stage, *, seed: int, runs: int, steps: int, shrink: bool = True) -> None:
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
    machine = hypothesis.seed(seed)(type("Play", (Machine,), {"stage": here}))
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
        subject.expected.may([self.truth(subject)])

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
            parts = payment.captured if payment.state == "authorized" else 0
            rest = [Fact(agreed=parts), self.truth(subject)] if parts else self.closing(subject, "canceled")
            self.tell(subject, rest, calm)

    # --- What the shopper, the bank and the gateway do at the gateway.

    @rule(subject=subjects, act=st.sampled_from([*ACTS, "success"]))
    def act(self, subject: Subject, act: str) -> None:
        """What is true at the gateway changes. Money that it has taken does not disappear."""
        session = self.session(subject)
        if session is None:
            return
        self.begins(f"gateway: {act}")
        money = session["status"] == "success"
        if act == "processing" and session["status"] != "pending":
            return
        if subject.alias == MANUAL:
            self.reserve(session, act)
        elif not money or (session["amount"] == "5.00" and act in {"success", "over"}):
            status, amount, currency = ACTS[act]
            session.update(status=status, amount=amount, currency=currency)

    def reserve(self, session: dict[str, Any], act: str) -> None:
        """The same, where money is only reserved: it may run out, be let go, or be taken at the gateway's console."""
        status, amount, currency = ACTS[act]
        if session["status"] != "authorized" and session["status"] != "success":
            word = "authorized" if status == "success" else status
            session.update(status=word, currency=currency, authorized=amount if word == "authorized" else "0.00")
        elif session["status"] == "authorized" and act == "over":
            session.update(status="success", amount=session["authorized"])
        elif session["status"] == "authorized" and act in {"canceled", "expired"}:
            self.server._cancel(session["reference"])
            session.update(status=act if session["status"] == "canceled" else session["status"])

    @rule(target=letters, subject=subjects, lie=st.sampled_from(LIES))
    def write(self, subject: Subject, lie: str) -> Any:
        """The gateway writes a message about a session as it is now, or a wrong one. It may arrive much later."""
        session = self.session(subject)
        if session is None or (lie == "other session" and not self.books.transactions[subject.pk].gateway_reference):
            return multiple()
        said: dict[str, Any] = {}
        if subject.alias == MANUAL and lie in {"short", "over", "dollars"}:
            lie = "truth"  # whether a capture came through, the totals say
        if lie in ACTS:
            said = dict(zip(("status", "amount", "currency"), ACTS[lie], strict=True))
        elif lie == "other session":
            said = {"reference": "ps_another", "status": "success"}
        elif lie == "refund":
            said = {"refunded": "1.00"}
        self.letter_count += 1
        event_id = f"evt_{self.letter_count}"
        told = {"event_id": event_id, **session, **said}
        return Letter(subject, event_id, json.dumps(told).encode(), fact_of(told, foreign=lie == "other session"))

    @rule(target=letters, subject=subjects, act=st.sampled_from(["success", *ACTS]))
    def act_and_write(self, subject: Subject, act: str) -> Any:
        """What usually happens: something happens, and the gateway tells."""
        self.act(subject, act)
        return self.write(subject, "truth")

    # --- What arrives.

    @rule(target=letters, subject=subjects, act=st.sampled_from(["success", *ACTS]))
    def happen(self, subject: Subject, act: str) -> Any:
        """Something happens at the gateway, and its message arrives at once."""
        self.act(subject, act)
        return self.say(subject, "truth")

    @rule(target=letters, subject=subjects, lie=st.sampled_from(LIES))
    def say(self, subject: Subject, lie: str) -> Any:
        """The gateway writes, and its message arrives at once; copies of it may arrive later."""
        letter = self.write(subject, lie)
        if isinstance(letter, Letter):
            self.deliver(letter)
        return letter

    @rule(letter=letters)
    def deliver(self, letter: Letter) -> None:
        """A message arrives: new, again, late, or before its transaction can be matched."""
        subject = letter.subject
        again = Callback.objects.filter(event_id=letter.event_id).exists()
        calm = self.begins("callback: again" if again else "callback")
        answer = self.run(lambda: self.post(subject.alias, letter))
        if not self.died:
            self.gateway.answered.append(letter.event_id)
            assert len(answer) == (not again)
        fact = self.in_time(subject, letter.fact)
        if not again:
            if Callback.objects.filter(event_id=letter.event_id).exists():  # else the process died before it had it
                subject.heard.append(letter.fact)
            unmatched = subject.payment.state == "created"
            nameless = letter.nameless and any(one.is_open for one in subject.refunds.values())
            self.tell(subject, [fact], calm and not (unmatched or nameless))

    def post(self, alias: str, letter: Letter) -> list[UUID]:
        """What the view does with a message."""
        stored = services.receive_callback(alias, self.signed(letter))
        for pk in stored:
            services.process_callback(pk)
        return stored

    def signed(self, letter: Letter) -> CallbackRequest:
        return CallbackRequest(sign(self.server.secret, letter.event_id, letter.body), letter.body)

    @rule(letter=letters, how=st.sampled_from(["body", "id", "secret", "old", "young", "unsigned"]))
    def forge(self, letter: Letter, how: str) -> None:
        """Somebody else writes: nothing is written here, and the sender learns nothing."""
        self.begins("callback: forged")
        request, now = self.signed(letter), int(timezone.now().timestamp())
        headers, body = dict(request.headers), request.body
        if how == "body":
            body = body.replace(b'"status": "', b'"status":  "')
        elif how == "id":
            headers["webhook-id"] = "evt_other"
        elif how == "secret":
            headers = sign("whsec_" + "A" * 44, letter.event_id, body)
        elif how in {"old", "young"}:
            headers = sign(self.server.secret, letter.event_id, body, timestamp=now + (301 if how == "young" else -301))
        else:
            del headers["webhook-signature"]
        writes, forged = self.crash.writes, CallbackRequest(headers, body)
        answer = self.run(lambda: services.receive_callback(letter.subject.alias, forged), InvalidSignature)
        assert isinstance(answer, InvalidSignature), how
        assert self.crash.writes == writes, "a forged message was written down"

    # --- What staff do with the money.

    @rule(subject=subjects, **MOVE, paid=st.booleans())
    def move(
        self, subject: Subject, verb: str, amount: int | None, key: str, final: bool, trouble: Trouble, habit: str,
        paid: bool,
    ) -> None:  # fmt: skip
        """Take what is reserved, or give back what was taken: all of it or a part; the shopper may just have paid."""
        if paid and not (self.fitting("capture") or self.fitting("refund")):
            self.happen(subject, "success")
            self.look()
        verb = verb or ("capture" if self.fitting("capture") else "refund")
        found = [one for one in self.fitting(verb) if one is subject] or self.fitting(verb) or [subject]
        self.server.next_refund = habit
        self.trouble(trouble)
        self.begins(verb)
        if verb == "capture":
            self.capture(found[0], amount, key, final)
        else:
            self.refund(found[0], amount, key)

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

    @rule()
    def tick(self) -> None:
        """Everything that is due now."""
        calm = self.begins("tick")
        before = {one.pk: self.everything(one) for one in self.known.values()}
        self.run(services.tick)
        for one in self.known.values():
            one.expected.may([*before[one.pk], *self.everything(one)])
        if calm:
            late = Transaction.objects.overdue(timezone.now())
            assert not late.exists(), f"still open after their time and a tick: {list(late)}"

    @rule()
    def drain(self) -> None:
        """Tick until whatever was claimed by a process that died is free again, and done."""
        for _ in range(2):
            self.stage.clock.shift(61)
            self.tick()
            self.look()
        self.stage.tally["drain"] += 1

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
            self.stage.clock.shift(seconds)
            self.tick()
            self.look()
        check_settled(self.gateway)
        self.check_ends()
        for one in self.known.values():
            # What of it we have given back ourselves, nobody has to tell us.
            for fact in [*one.heard, replace(self.truth(one), refunded=0)]:
                assert one.payment.told(self.in_time(one, fact)) == one.payment, f"{one.pk} has missed {fact}"
