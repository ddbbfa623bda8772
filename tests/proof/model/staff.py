"""Money that staff move: refunds, alone or with a second person, captures in parts, and what banks make of them."""

import json
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from hypothesis import strategies as st
from hypothesis.stateful import multiple, rule
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.exceptions import AmountNotLeft, IdempotencyConflict, InvalidTransition, MovementInProgress
from django_gatewaypay.models import Capture, Refund
from django_gatewaypay.money import from_minor
from django_gatewaypay.testing.books import Refused

from .mail import Mail
from .plain import Fact, Intent, Payment, refuse_capture, refuse_refund, total
from .stage import Letter, Subject, fact_of, letters, subjects

__all__ = ["AMOUNTS", "MOVE", "Staff"]

Trouble = str | int

NO = (AmountNotLeft, IdempotencyConflict, InvalidTransition, MovementInProgress)
AMOUNTS = (None, 500, 1200)
#: What the gateway makes of a refund at first.
HABITS = ("succeeded", "succeeded", "submitted", "failed")
#: Without one, they do what there is to do.
VERBS = ("", "", "", "refund", "capture")
KEYS = ("", "", "a", "b")
#: What goes wrong in the midst of it: at the gateway, or at a commit of ours.
TROUBLES = ("", "", "", "", "", "away", "lost", "lost", "declined", 1, 2, 3, 4)
#: What one person may give back alone, as the stage's settings have it.
ALONE = 1500
#: What staff move, under which key, and what goes wrong in the midst of it.
MOVE = {
    "verb": st.sampled_from(VERBS),
    "amount": st.sampled_from(AMOUNTS),
    "key": st.sampled_from(KEYS),
    "final": st.booleans(),
    "trouble": st.sampled_from(TROUBLES),
    "habit": st.sampled_from(HABITS),
}


class Staff(Mail):
    """Who moves money at the shop, and at the gateway's console."""

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

    @rule(subject=subjects, **MOVE, paid=st.booleans())
    def give_back(self, subject: Subject, verb: str, paid: bool, **details: Any) -> None:
        """Of all that is done here, this is what is wanted most: Hypothesis draws each rule as often as another."""
        self.move(subject, verb="refund", paid=paid, **details)

    @rule(subject=subjects, **MOVE, paid=st.booleans())
    def take(self, subject: Subject, verb: str, paid: bool, **details: Any) -> None:
        """The same, where money is reserved."""
        self.move(subject, verb=verb and "capture", paid=paid, **details)

    # --- Captures and refunds.

    def fitting(self, verb: str) -> list[Subject]:
        """The payments of which something is reserved, or something was taken."""
        reserved = [one for one in self.known.values() if one.payment.state == "authorized"]
        return reserved if verb == "capture" else [one for one in self.known.values() if one.payment.captured]

    def refund(self, subject: Subject, amount: int | None, key: str) -> None:
        """Give back all that is left, or a part."""
        refunds = [*subject.refunds.values()]
        wanted = self.wanted(subject.refunds, key, amount) or refuse_refund(subject.payment, refunds, amount)
        answer = self.ask(
            subject, lambda: services.refund(subject.pk, money(amount), reason="Asked.", idempotency_key=key)
        )
        for pk, row in self.land(Refund, subject, subject.refunds, answer, wanted).items():
            alone = total(one for one in refunds if one.alone and not one.foreign)
            subject.refunds[pk] = intent = Intent(row.amount_minor, key, waits=alone + row.amount_minor > ALONE)
            self.check_told(row, intent)

    def capture(self, subject: Subject, amount: int | None, key: str, final: bool) -> None:
        """Take all that is reserved, or a part, and perhaps let the rest go."""
        payment, captures = subject.payment, [*subject.captures.values()]
        wanted = self.wanted(subject.captures, key, amount) or refuse_capture(payment, captures, amount)
        final = final or wanted == refuse_capture(payment, captures, None)
        answer = self.ask(
            subject, lambda: services.capture(subject.pk, money(amount), final=final, idempotency_key=key)
        )
        for pk, row in self.land(Capture, subject, subject.captures, answer, wanted).items():
            subject.captures[pk] = intent = Intent(row.amount_minor, key, final=final, before=payment.captured)
            self.tell(subject, self.agreeing(subject, payment, intent, row), self.calm and not self.waiting)
            self.check_told(row, intent)

    def trouble(self, trouble: Trouble) -> None:
        """Let this call go wrong, unless something else was going to."""
        if isinstance(trouble, int) and not self.crash.armed:
            self.crash.arm(trouble, after=True)
        elif isinstance(trouble, str) and not self.wire.fault:
            self.wire.fault = trouble

    def wanted(self, mine: dict[UUID, Intent], key: str, amount: int | None) -> UUID | str | None:
        """What was asked for under this key before, or that it was something else."""
        for pk, one in mine.items():
            if key and one.key == key and not one.foreign:
                return pk if amount in {None, one.amount} else "IdempotencyConflict"
        return None

    def ask(self, subject: Subject, work: Any) -> Any:
        """Do it; whatever was told of the payment and waits for the answer may be worked on with it."""
        self.noes = self.wire.noes
        self.waiting = any(row.state == "unmatched" for row in self.books.callbacks.values())
        before = self.everything(subject)
        answer = self.run(work, *NO)
        if self.waiting or not self.calm:
            subject.expected.may([*before, *self.everything(subject)])
        return answer

    def land(self, kind: Any, subject: Subject, mine: dict[UUID, Intent], answer: Any, wanted: Any) -> dict[UUID, Any]:
        """The row that has come of it; unless the process died, there is one, or the reason why not."""
        rows = kind.objects.filter(transaction=subject.pk).exclude(pk__in=mine)
        new = {row.pk: row for row in rows if not getattr(row, "foreign", False)}
        got = [row.amount_minor for row in new.values()]
        if isinstance(wanted, int):
            assert got == [wanted] or (self.died and not got), f"{answer!r} instead of {wanted}, {got} written"
        else:
            name = answer.pk if isinstance(answer, kind) else type(answer).__name__
            assert self.died or name == wanted, f"{answer!r} instead of {wanted}"
            assert not got, f"{got} written in spite of {wanted}"
        for row in new.values():
            self.stage.tally[f"{row._meta.model_name}: {row.state}"] += 1
        return new

    def check_told(self, row: Any, intent: Intent) -> None:
        """Without trouble the gateway has it, or has refused it, or a second person has to agree first."""
        if self.calm and not self.died:
            assert row.state not in {"requested", "unknown"} or intent.waits, f"{row} was not told"
        assert row.state == "requested" or not intent.waits, f"{row} needs a second person"
        refused = self.wire.noes > self.noes or self.server.next_refund == "failed"
        assert row.state != "failed" or refused, f"{row} was refused by nobody"

    def agreeing(self, subject: Subject, payment: Payment, intent: Intent, row: Any) -> list[Fact]:
        """What a capture says of the whole, then what the gateway says of the payment."""
        whole, agreed = intent.before + intent.amount, payment.agreed
        now = whole if intent.final and whole != payment.amount else 0
        first = [] if now == agreed else [Fact(agreed=now) if now else Fact(revoked=agreed)]
        return [*first, Fact(revoked=whole) if row.state == "failed" else self.truth(subject)]

    @rule(subject=subjects, yes=st.booleans())
    def decide(self, subject: Subject, yes: bool) -> None:
        """A second person looks at what waits for one."""
        for pk, one in [*subject.refunds.items()]:
            if one.waits and one.state == "requested":
                self.begins("refund: approved" if yes else "refund: withdrawn")
                self.ask(subject, partial(answer, pk, yes))
                approved = Refund.objects.get(pk=pk).approver_id is not None
                self.stage.tally["approvals"] += approved
                subject.refunds[pk] = replace(one, waits=not approved, alone=not approved)

    # --- What the bank and the gateway's staff do.

    @rule(target=letters, subject=subjects, word=st.sampled_from(["succeeded", "failed", "console", "tell"]))
    def bank(self, subject: Subject, word: str) -> Any:
        """The bank has decided about the newest refund, or staff of the gateway made one; it may be told of."""
        session = self.session(subject)
        if session is None:
            return multiple()
        self.begins(f"bank: {word}")
        if word == "console":
            with suppress(Refused):
                self.server.refund_at_the_console(session["reference"], "5.00")
        number = self.newest(session["reference"])
        if number and (word == "failed" or self.server.refunds[number]["status"] == "submitted") and word != "tell":
            self.server.set_refund(number, "failed" if word == "failed" else "succeeded")
        return self.write_refund(subject, number) if number else multiple()

    def newest(self, session: str) -> str:
        """The newest refund of a session, or nothing."""
        return next((number for number, of in reversed(self.server._refunded.items()) if of == session), "")

    def write_refund(self, subject: Subject, number: str) -> Letter:
        """The gateway's message about a refund, as it is now."""
        self.letter_count += 1
        event_id = f"evt_{self.letter_count}"
        _, body = self.server.refund_callback(number, event_id=event_id)
        told = json.loads(body)
        return Letter(subject, event_id, body, fact_of(told), nameless=not told["refund_id"])

    def settle_refunds(self) -> list[Letter]:
        """Second persons and banks decide at last, and the gateway tells."""
        for one in self.known.values():
            self.decide(one, True)
            self.look()
        for number, refund in self.server.refunds.items():
            if refund["status"] == "submitted":
                self.server.set_refund(number, "succeeded")
        of = {self.session(one)["reference"]: one for one in self.known.values() if self.session(one)}
        return [self.write_refund(of[self.server._refunded[number]], number) for number in self.server.refunds]

    # --- What must hold after each step.

    def look_at_movements(self) -> None:
        """Every refund and capture is what the gateway has of it, and the gateway has each once."""
        self.remember()
        for row in self.books.movements():
            subject = self.known[row.transaction_id]
            mine = subject.refunds if isinstance(row, Refund) else subject.captures
            if row.pk not in mine:
                mine[row.pk] = self.foreign(row)
            one, said = mine[row.pk], self.said_of(row, subject)
            assert one.may_become(row.state, said, self.calm), f"{row} was {one}; the gateway has it as {said}"
            mine[row.pk] = replace(one, state=row.state, there=bool(row.gateway_reference))
        assert max(self.wire.effects.values(), default=0) <= 1, f"moved twice under one key: {self.wire.effects}"
        for one in self.known.values():
            if one.captures:
                self.look_at_captures(one)

    def look_at_captures(self, subject: Subject) -> None:
        """The gateway has taken what has not failed, and what has come through."""
        captures, there = subject.captures.values(), self.truth(subject).captured
        taken = self.taken(subject)
        through = total(one for one in captures if one.state == "succeeded")
        assert taken <= total(captures), f"{taken} was taken for {captures}"
        assert through <= there, f"{there} was taken, and {captures} came through"

    def remember(self) -> None:
        """What the gateway has ever had of a refund, by its name for it and by ours."""
        for number, refund in self.server.refunds.items():
            for name in (number, refund["refund_id"]):
                self.said.setdefault(name, set()).add(refund["status"])

    def said_of(self, row: Refund | Capture, subject: Subject) -> set[str]:
        if isinstance(row, Refund):
            return self.said.get(row.gateway_reference if row.foreign else str(row.pk), set())
        covered = self.truth(subject).captured >= row.before_minor + row.amount_minor
        # Where others have captured too, the totals say nothing about who did.
        mine = self.taken(subject) == self.truth(subject).captured
        told = {"succeeded"} if covered else {"failed"}
        return told if mine else {*told, "failed"}

    def foreign(self, row: Any) -> Intent:
        """A refund that we have heard of: somebody else made it."""
        there = self.server.refunds.get(row.gateway_reference)
        assert getattr(row, "foreign", False), f"nobody has asked for {row}"
        assert there, f"nobody has made {row}"
        assert not there["refund_id"], f"{row} is ours"
        assert money(row.amount_minor) == Money(there["amount"], "EUR")
        return Intent(row.amount_minor, foreign=True, there=True)

    def check_ends(self) -> None:
        """Nothing is on its way any more, unless staff were told of it; both sides have moved the same money."""
        ends = {one["refund_id"] or number: one["status"] for number, one in self.server.refunds.items()}
        for row in self.books.movements():
            told = row.state == "unknown" and row.next_attempt_at is None
            assert row.state in {"succeeded", "failed"} or told, f"{row} is on its way for ever"
            if isinstance(row, Refund) and not told:
                there = ends.get(row.gateway_reference if row.foreign else str(row.pk), "failed")
                assert row.state == there, f"{row} has {there} at the gateway"
        for one in self.known.values():
            through = total(capture for capture in one.captures.values() if capture.state == "succeeded")
            taken, there = self.taken(one), self.truth(one).captured
            assert taken <= through <= there, f"{through} captured here, {taken} of {there} there"

    def taken(self, subject: Subject) -> int:
        """What our captures took there."""
        return self.wire.captured[self.books.transactions[subject.pk].gateway_reference]


def answer(pk: UUID, yes: bool) -> None:
    """What the second person says."""
    actor = get_user_model().objects.get(username="second")
    if yes:
        services.approve_refund(pk, actor=actor)
    else:
        services.withdraw_refund(pk, actor=actor, reason="No.")


def money(amount: int | None) -> Money | None:
    return None if amount is None else from_minor(amount, "EUR")
