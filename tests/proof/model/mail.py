"""What happens at the gateway, and the messages that tell of it: true, wrong, late, twice, or from somebody else."""

import json
from typing import Any
from uuid import UUID

from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import multiple, rule

from django_gatewaypay import services
from django_gatewaypay.exceptions import InvalidSignature
from django_gatewaypay.models import Callback
from django_gatewaypay.testing.gateway_server import sign
from django_gatewaypay.types import CallbackRequest

from .stage import MANUAL, Letter, Observed, Subject, fact_of, letters, subjects

__all__ = ["Mail"]

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


class Mail(Observed):
    """A gateway that writes, and whoever writes in its name."""

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
        currency = session["currency"] if "authorized" in session else currency  # reserved once, it is that money
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
