"""How each gateway speaks: what its calls mean in its books, how a session reads, what its callbacks look like.

Written from the vendors' documentation, as the servers of the contract batteries are; the adapters
are not asked.
"""

import base64
import hashlib
import hmac
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote

from django_gatewaypay.testing.gateway_server import sign

from .books import Books, Session, Wanted
from .clock import START

__all__ = ["Dialect", "HostedDialect", "MollieDialect", "StripeDialect", "decimal"]

Answer = tuple[int, dict[str, Any]]


def decimal(minor: int) -> str:
    """Cents as a decimal text; every currency of this world has two places."""
    return f"{minor // 100}.{minor % 100:02}"


def _minor(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * 100 + int(part or "0")


class Dialect(ABC):
    """One gateway's wire.

    Args:
        books: what its calls act upon.
    """

    alias: ClassVar[str]
    BACKEND: ClassVar[str]
    OPTIONS: ClassVar[dict[str, Any]]
    content_type = "application/json"

    def __init__(self, books: Books) -> None:
        self.books = books

    @abstractmethod
    def serve(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Do what a call asks for."""

    @abstractmethod
    def messages(self, session: Session, what: str) -> list[tuple[str, bytes]]:
        """The callbacks about something that happened: an id and a body each."""

    @abstractmethod
    def sign(self, event_id: str, body: bytes, unix: int) -> dict[str, str]:
        """The headers that prove a body."""

    def _opened(self, session: Session | str, answer: Answer) -> Answer:
        if isinstance(session, Session):
            return answer
        return {"declined": (402, self.no("declined"))}.get(session, (422, self.no(session)))

    def no(self, code: str) -> dict[str, Any]:
        return {"code": code}


class HostedDialect(Dialect):
    """The plain hosted protocol."""

    alias = "card"
    SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes for this world!").decode()
    BACKEND = "django_gatewaypay.gateways.hosted.HostedGateway"
    OPTIONS = {"api_base": "https://card.example", "webhook_secrets": [SECRET]}
    WORDS: ClassVar[Mapping[str, str]] = {"open": "pending", "paid": "success"}

    def serve(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if path == "/create-session":
            return self._open(headers["Idempotency-Key"], json.loads(body))
        verb, _, reference = path.strip("/").partition("/")
        session = self.books.sessions.get(reference)
        if session is None:
            return 404, {"code": "not_found"}
        if verb == "cancel" and not self.books.cancel(session) and session.status == "open":
            return 422, {"code": "not_cancelable"}
        return 200, self._told(session)

    def _open(self, key: str, asked: Mapping[str, Any]) -> Answer:
        ends_at = datetime.fromisoformat(asked["expires_at"]).timestamp() - START
        wanted = Wanted(asked["transaction_id"], _minor(asked["amount"]), asked["currency"], ends_at)
        session = self.books.open(key, wanted)
        if isinstance(session, str):
            return self._opened(session, (0, {}))
        return 201, {**self._told(session), "payment_url": f"https://card.example/pay/{session.reference}"}

    def _told(self, session: Session, status: str = "") -> dict[str, Any]:
        return {
            "reference": session.reference,
            "transaction_id": session.wanted.transaction_id,
            "status": status or self.WORDS.get(session.status, session.status),
            "amount": decimal(session.captured or session.wanted.minor),
            "currency": session.captured_currency or session.wanted.currency,
        }

    def messages(self, session: Session, what: str) -> list[tuple[str, bytes]]:
        event_id = f"evt_{session.reference}_{what.replace(' ', '_')}_{session.declined}"
        # Some gateways tell a declined attempt as if it were the end.
        told = self._told(session, "failed" if what == "attempt failed" else "")
        return [(event_id, json.dumps({"event_id": event_id, **told}).encode())]

    def sign(self, event_id: str, body: bytes, unix: int) -> dict[str, str]:
        return sign(self.SECRET, event_id, body, timestamp=unix)


class StripeDialect(Dialect):
    """Checkout Sessions with their PaymentIntents; two events for most of what happens."""

    alias = "stripe"
    SECRET = "whsec_of_this_world"
    BACKEND = "django_gatewaypay.gateways.stripe.StripeGateway"
    OPTIONS = {"api_base": "https://stripe.example", "api_key": "sk_test_of_this_world", "webhook_secrets": [SECRET]}
    INTENTS: ClassVar[Mapping[str, str]] = {"paid": "succeeded", "processing": "processing"}
    EVENTS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "paid": ("checkout.session.completed", "payment_intent.succeeded"),
        "processing": ("payment_intent.processing", "checkout.session.completed"),
        "failed": ("payment_intent.payment_failed", "checkout.session.async_payment_failed"),
        "attempt failed": ("payment_intent.payment_failed",),
        "expired": ("checkout.session.expired",),
        "canceled": ("checkout.session.expired",),
    }

    def serve(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if (method, path) == ("POST", "/v1/checkout/sessions"):
            return self._open(headers["Idempotency-Key"], dict(parse_qsl(body.decode())))
        reference, _, action = path.removeprefix("/v1/checkout/sessions/").partition("/")
        session = self.books.sessions.get(reference)
        if session is None:
            return 404, self.no("resource_missing")
        if action == "expire" and not self.books.cancel(session):
            return 400, self.no("unexpected_state")
        return 200, {**self._session(session), "payment_intent": self._intent(session)}

    def _open(self, key: str, form: Mapping[str, str]) -> Answer:
        price = "line_items[0][price_data]"
        wanted = Wanted(
            form["metadata[transaction_id]"],
            int(form[f"{price}[unit_amount]"]),
            form[f"{price}[currency]"].upper(),
            float(form["expires_at"]) - START,
        )
        session = self.books.open(key, wanted)
        if isinstance(session, str):
            return self._opened(session, (0, {}))
        return 200, {**self._session(session), "url": f"https://stripe.example/c/pay/{session.reference}"}

    def no(self, code: str) -> dict[str, Any]:
        return {"error": {"type": "card_error" if code == "declined" else "invalid_request_error", "code": code}}

    def _session(self, session: Session) -> dict[str, Any]:
        done = session.status in {"paid", "processing", "failed"}
        status = "complete" if done else "open" if session.status == "open" else "expired"
        return {
            "id": session.reference,
            "object": "checkout.session",
            "status": status,
            "payment_status": "paid" if session.status == "paid" else "unpaid",
            "payment_intent": f"pi_{session.reference}" if done or session.declined else None,
            "amount_total": session.captured or session.wanted.minor,
            "currency": (session.captured_currency or session.wanted.currency).lower(),
            "metadata": {"transaction_id": session.wanted.transaction_id},
        }

    def _intent(self, session: Session) -> dict[str, Any] | None:
        if self._session(session)["payment_intent"] is None:
            return None
        return {
            "id": f"pi_{session.reference}",
            "object": "payment_intent",
            "status": self.INTENTS.get(session.status, "requires_payment_method"),
            "amount_received": session.captured,
            "currency": (session.captured_currency or session.wanted.currency).lower(),
            "metadata": {"transaction_id": session.wanted.transaction_id},
            "last_payment_error": {"code": "card_declined"} if session.declined else None,
        }

    def messages(self, session: Session, what: str) -> list[tuple[str, bytes]]:
        return [self._event(session, kind, what) for kind in self.EVENTS[what]]

    def _event(self, session: Session, kind: str, what: str) -> tuple[str, bytes]:
        event_id = f"evt_{session.reference}_{kind}_{what.replace(' ', '_')}_{session.declined}"
        found = self._intent(session) if kind.startswith("payment_intent") else self._session(session)
        return event_id, json.dumps({"id": event_id, "type": kind, "data": {"object": found}}).encode()

    def sign(self, event_id: str, body: bytes, unix: int) -> dict[str, str]:
        digest = hmac.new(self.SECRET.encode(), f"{unix}.".encode() + body, hashlib.sha256).hexdigest()
        return {"stripe-signature": f"t={unix},v1={digest}"}


class MollieDialect(Dialect):
    """Payments; a callback is an unsigned hint. Mollie decides itself how long one can be paid."""

    alias = "mollie"
    BACKEND = "django_gatewaypay.gateways.mollie.MollieGateway"
    OPTIONS = {"api_base": "https://mollie.example", "api_key": "test_of_this_world"}
    content_type = "application/x-www-form-urlencoded"
    WORDS: ClassVar[Mapping[str, str]] = {"processing": "pending"}

    def serve(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if method == "POST":
            return self._open(headers["Idempotency-Key"], json.loads(body))
        reference = path.removeprefix("/v2/payments/")
        session = self.books.sessions.get(reference.replace("tr_", "mollie_"))
        if session is None:
            return 404, {"status": 404, "title": "Not Found"}
        if method == "DELETE" and not self.books.cancel(session):
            return 422, {"status": 422, "title": "Unprocessable Entity"}
        return 200, self._payment(session)

    def _open(self, key: str, asked: Mapping[str, Any]) -> Answer:
        amount = asked["amount"]
        wanted = Wanted(asked["metadata"]["transaction_id"], _minor(amount["value"]), amount["currency"])
        session = self.books.open(key, wanted)
        if isinstance(session, str):
            return self._opened(session, (0, {}))
        return 201, self._payment(session)

    def no(self, code: str) -> dict[str, Any]:
        return {"status": 422, "title": code, "field": "amount"}

    def _payment(self, session: Session) -> dict[str, Any]:
        reference = session.reference.replace("mollie_", "tr_")
        minor, currency = session.captured or session.wanted.minor, session.captured_currency
        return {
            "id": reference,
            "status": self.WORDS.get(session.status, session.status),
            "isCancelable": session.status == "open" and session.cancelable,
            "amount": {"value": decimal(minor), "currency": currency or session.wanted.currency},
            "metadata": {"transaction_id": session.wanted.transaction_id},
            "_links": {"checkout": {"href": f"https://mollie.example/checkout/{reference}"}},
        }

    def messages(self, session: Session, what: str) -> list[tuple[str, bytes]]:
        if what == "attempt failed":
            return []  # it happens on Mollie's page, and nobody is told
        reference = session.reference.replace("mollie_", "tr_")
        return [("", f"id={quote(reference)}".encode())]

    def sign(self, event_id: str, body: bytes, unix: int) -> dict[str, str]:
        return {}
