"""How Stripe speaks."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from .books import Session, Wanted
from .clock import START
from .dialects import Answer, Dialect, event_name
from .till import GivenBack

__all__ = ["StripeDialect"]


class StripeDialect(Dialect):
    """Checkout Sessions with their PaymentIntents; two events for most of what happens."""

    alias = "stripe"
    SECRET = "whsec_of_this_world"
    BACKEND = "django_gatewaypay.gateways.stripe.StripeGateway"
    OPTIONS = {"api_base": "https://stripe.example", "api_key": "sk_test_of_this_world", "webhook_secrets": [SECRET]}
    INTENTS: ClassVar[Mapping[str, str]] = {
        "paid": "succeeded",
        "processing": "processing",
        "authorized": "requires_capture",
        "canceled": "canceled",
        "expired": "canceled",
    }
    EVENTS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "paid": ("checkout.session.completed", "payment_intent.succeeded"),
        "authorized": ("payment_intent.amount_capturable_updated", "checkout.session.completed"),
        "processing": ("payment_intent.processing", "checkout.session.completed"),
        "failed": ("payment_intent.payment_failed", "checkout.session.async_payment_failed"),
        "attempt failed": ("payment_intent.payment_failed",),
        "expired": ("checkout.session.expired",),
        "canceled": ("checkout.session.expired",),
        "refunded": ("refund.created", "charge.refunded"),
        "refund succeeded": ("refund.updated",),
        "refund failed": ("refund.failed",),
    }
    #: The same, of what was reserved first.
    LATER_EVENTS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "paid": ("payment_intent.succeeded", "charge.captured"),
        "expired": ("payment_intent.canceled",),
        "canceled": ("payment_intent.canceled",),
    }

    def serve(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """See `Dialect`."""
        path, _, query = path.removeprefix("/v1/").partition("?")
        key, form = headers.get("Idempotency-Key", ""), dict(parse_qsl(body.decode()))
        kind, _, rest = path.partition("/")
        if (method, path) == ("POST", "checkout/sessions"):
            return self._open(key, form)
        if (method, path) == ("GET", "checkout/sessions"):
            newest = list(self.books.sessions.values())[::-1]
            return 200, {"data": [self._with_page(one) for one in newest], "has_more": False}
        if kind == "refunds":
            return self._serve_refunds(method, rest, key, form or dict(parse_qsl(query)))
        if kind == "payment_intents":
            return self._serve_intent(rest, key, form)
        reference, _, action = path.removeprefix("checkout/sessions/").partition("/")
        session = self.books.sessions.get(reference)
        if session is None:
            return 404, self.no("resource_missing")
        if action == "expire" and not self.books.cancel(session):
            return 400, self.no("unexpected_state")
        return 200, {**self._session(session), "payment_intent": self._intent(session)}

    def _serve_intent(self, rest: str, key: str, form: Mapping[str, str]) -> Answer:
        reference, _, action = rest.partition("/")
        session = self.books.sessions[reference.removeprefix("pi_")]
        if action == "cancel" and not self.till.release(session):
            return 400, self.no("payment_intent_unexpected_state")
        if action == "capture":
            word = self.till.capture(key, session, int(form["amount_to_capture"]), final=True)
            if word:
                return self.refuse(word)
        return 200, self._intent(session) or {}

    def _serve_refunds(self, method: str, reference: str, key: str, asked: Mapping[str, str]) -> Answer:
        if reference:
            found = self.till.refunds.get(reference)
            return (200, self._given(found)) if found else (404, self.no("resource_missing"))
        session = self.books.sessions[asked["payment_intent"].removeprefix("pi_")]
        if method == "GET":
            return 200, {"data": [self._given(one) for one in self.till.of(session)], "has_more": False}
        given = self.till.refund(key, session, int(asked["amount"]), asked["metadata[refund_id]"])
        return self.refuse(given) if isinstance(given, str) else (200, self._given(given))

    def refuse(self, word: str) -> Answer:
        """See `Dialect`."""
        return (402 if word == "declined" else 400), self.no(word)

    def _open(self, key: str, form: Mapping[str, str]) -> Answer:
        price = "line_items[0][price_data]"
        wanted = Wanted(
            form["metadata[transaction_id]"],
            int(form[f"{price}[unit_amount]"]),
            form[f"{price}[currency]"].upper(),
            float(form["expires_at"]) - START,
            form.get("payment_intent_data[capture_method]") == "manual",
        )
        session = self.books.open(key, wanted)
        if isinstance(session, str):
            return self.refuse(session)
        return 200, self._with_page(session)

    def _with_page(self, session: Session) -> dict[str, Any]:
        return {**self._session(session), "url": f"https://stripe.example/c/pay/{session.reference}"}

    def no(self, code: str) -> dict[str, Any]:
        """See `Dialect`."""
        return {"error": {"type": "card_error" if code == "declined" else "invalid_request_error", "code": code}}

    def _session(self, session: Session) -> dict[str, Any]:
        done = bool(session.authorized) or session.status in {"paid", "processing", "failed"}
        status = "complete" if done else "open" if session.status == "open" else "expired"
        return {
            "id": session.reference,
            "object": "checkout.session",
            "status": status,
            "payment_status": "paid" if session.status == "paid" else "unpaid",
            "payment_intent": f"pi_{session.reference}" if done or session.declined else None,
            "amount_total": session.authorized or session.captured or session.wanted.minor,
            "currency": (session.captured_currency or session.wanted.currency).lower(),
            "client_reference_id": session.wanted.transaction_id,
            "metadata": {"transaction_id": session.wanted.transaction_id},
        }

    def _intent(self, session: Session) -> dict[str, Any] | None:
        if self._session(session)["payment_intent"] is None:
            return None
        unpaid = session.status in {"canceled", "expired"} and not session.authorized
        return {
            "id": f"pi_{session.reference}",
            "object": "payment_intent",
            "status": "requires_payment_method" if unpaid else self._word(session),
            "amount_received": session.captured,
            "amount_capturable": session.authorized if session.status == "authorized" else 0,
            "currency": (session.captured_currency or session.wanted.currency).lower(),
            "metadata": {"transaction_id": session.wanted.transaction_id},
            "last_payment_error": {"code": "card_declined"} if session.declined else None,
            "latest_charge": self._charge(session) if session.captured else None,
        }

    def _word(self, session: Session) -> str:
        return self.INTENTS.get(session.status, "requires_payment_method")

    def _charge(self, session: Session) -> dict[str, Any]:
        """What a capture in part has let go reads as refunded."""
        whole, out = session.authorized or session.captured, self.till.of(session)
        return {
            "id": f"ch_{session.reference}",
            "object": "charge",
            "payment_intent": f"pi_{session.reference}",
            "status": "succeeded",
            "captured": True,
            "amount": whole,
            "amount_captured": session.captured,
            "amount_refunded": whole - session.captured + sum(one.minor for one in out if one.status != "failed"),
            "currency": session.captured_currency.lower(),
            "metadata": {"transaction_id": session.wanted.transaction_id},
        }

    def _given(self, given: GivenBack) -> dict[str, Any]:
        ours = {"transaction_id": given.session.wanted.transaction_id, "refund_id": given.refund_id}
        return {
            "id": given.reference,
            "object": "refund",
            "payment_intent": f"pi_{given.session.reference}",
            "status": given.status,
            "amount": given.minor,
            "currency": given.session.captured_currency.lower(),
            "failure_reason": "lost_or_stolen_card" if given.status == "failed" else None,
            "metadata": ours,
        }

    def messages(self, session: Session, what: str, given: GivenBack | None = None) -> list[tuple[str, bytes]]:
        """See `Dialect`."""
        later = self.LATER_EVENTS.get(what) if session.authorized else None
        return [self._event(session, kind, what, given) for kind in later or self.EVENTS[what]]

    def _event(self, session: Session, kind: str, what: str, given: GivenBack | None) -> tuple[str, bytes]:
        event_id = f"{event_name(session, what, given)}_{kind}"
        found = self._object(session, kind.partition(".")[0], given)
        return event_id, json.dumps({"id": event_id, "type": kind, "data": {"object": found}}).encode()

    def _object(self, session: Session, family: str, given: GivenBack | None) -> dict[str, Any] | None:
        if family == "refund" and given:
            return self._given(given)
        if family == "charge":
            return self._charge(session)
        return self._intent(session) if family == "payment_intent" else self._session(session)

    def sign(self, event_id: str, body: bytes, unix: int) -> dict[str, str]:
        digest = hmac.new(self.SECRET.encode(), f"{unix}.".encode() + body, hashlib.sha256).hexdigest()
        return {"stripe-signature": f"t={unix},v1={digest}"}
