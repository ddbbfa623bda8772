"""How the plain hosted protocol speaks."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from django_gatewaypay.testing.gateway_server import sign

from .books import Session, Wanted
from .clock import START
from .dialects import Answer, Dialect, decimal, event_name, minor_of
from .till import GivenBack

__all__ = ["HostedDialect"]


class HostedDialect(Dialect):
    """The plain hosted protocol."""

    alias = "card"
    SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes for this world!").decode()
    BACKEND = "django_gatewaypay.gateways.hosted.HostedGateway"
    OPTIONS = {"api_base": "https://card.example", "webhook_secrets": [SECRET]}
    WORDS: ClassVar[Mapping[str, str]] = {"open": "pending", "paid": "success"}

    def serve(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """See `Dialect`."""
        if path == "/create-session":
            return self._open(headers["Idempotency-Key"], json.loads(body))
        verb, _, reference = path.strip("/").partition("/")
        given, session = self.till.refunds.get(reference), self.books.sessions.get(reference)
        if verb == "refund" and method == "GET" and given:
            return 200, self._given(given)
        if verb == "find":
            session = next(
                (one for one in self.books.sessions.values() if one.wanted.transaction_id == reference), None
            )
        if session is None:
            return 404, {"code": "not_found"}
        if verb == "find":
            return 200, self._opened(session)
        if verb == "refunds":
            return 200, {"refunds": [self._given(one) for one in self.till.of(session)]}
        if verb in {"capture", "refund"}:
            return getattr(self, f"_{verb}")(headers["Idempotency-Key"], session, json.loads(body))
        if verb == "cancel":
            return self._cancel(session)
        return 200, self._told(session)

    def _cancel(self, session: Session) -> Answer:
        done = self.till.release(session) or self.books.cancel(session)
        if not done and session.status in {"open", "authorized"}:
            return 422, {"code": "not_cancelable"}
        return 200, self._told(session)

    def _capture(self, key: str, session: Session, asked: Mapping[str, Any]) -> Answer:
        word = self.till.capture(key, session, minor_of(asked["amount"]), final=asked["final"])
        return self.refuse(word) if word else (200, self._told(session))

    def _refund(self, key: str, session: Session, asked: Mapping[str, Any]) -> Answer:
        given = self.till.refund(key, session, minor_of(asked["amount"]), asked["refund_id"])
        return self.refuse(given) if isinstance(given, str) else (200, self._given(given))

    def _open(self, key: str, asked: Mapping[str, Any]) -> Answer:
        ends_at = datetime.fromisoformat(asked["expires_at"]).timestamp() - START
        manual = asked.get("capture") == "manual"
        wanted = Wanted(asked["transaction_id"], minor_of(asked["amount"]), asked["currency"], ends_at, manual)
        session = self.books.open(key, wanted)
        if isinstance(session, str):
            return self.refuse(session)
        return 201, self._opened(session)

    def _opened(self, session: Session) -> dict[str, Any]:
        return {**self._told(session), "payment_url": f"https://card.example/pay/{session.reference}"}

    def _told(self, session: Session, status: str = "") -> dict[str, Any]:
        taken, sure = session.status == "paid", sum(one.minor for one in self.till.of(session) if one.sure)
        totals = {"authorized": session.authorized, "captured": 0 if taken else session.captured, "refunded": sure}
        return {
            "reference": session.reference,
            "transaction_id": session.wanted.transaction_id,
            "status": status or self.WORDS.get(session.status, session.status),
            "amount": decimal(session.captured if taken else session.wanted.minor),
            "currency": session.captured_currency or session.wanted.currency,
            **{name: decimal(minor) for name, minor in totals.items() if minor},
        }

    def _given(self, given: GivenBack) -> dict[str, Any]:
        return {
            "refund_reference": given.reference,
            "refund_id": given.refund_id,
            "status": "submitted" if given.status == "pending" else given.status,
            "amount": decimal(given.minor),
            "currency": given.session.captured_currency,
            "reason": "account_closed" if given.status == "failed" else "",
        }

    def messages(self, session: Session, what: str, given: GivenBack | None = None) -> list[tuple[str, bytes]]:
        """See `Dialect`. Some gateways tell a declined attempt as if it were the end."""
        event_id = event_name(session, what, given)
        told = self._told(session, "failed" if what == "attempt failed" else "")
        if given:
            found = self._given(given)
            names = {name: name if name.startswith("refund_") else f"refund_{name}" for name in found}
            told |= {names[name]: value for name, value in found.items() if name != "currency"}
        return [(event_id, json.dumps({"event_id": event_id, **told}).encode())]

    def sign(self, event_id: str, body: bytes, unix: int) -> dict[str, str]:
        return sign(self.SECRET, event_id, body, timestamp=unix)
