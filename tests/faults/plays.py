"""How each vendor is played on loopback: by the bench of its contract battery, in our standard words.

A word is one of ours ("success", "expired") or "declined": one attempt that failed, while the session stays open.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from django_gatewaypay.gateways.stripe_wire import EXPONENTS
from django_gatewaypay.money import format_minor
from django_gatewaypay.testing.gateway_server import GatewayServer, sign
from django_gatewaypay.types import CallbackRequest
from tests.gateways.test_contract import TestSandbox as SandboxBench
from tests.gateways.test_contract_mollie import TestMollie as MollieBench
from tests.gateways.test_contract_stripe import TestStripe as StripeBench
from tests.gateways.test_mollie import hint
from tests.gateways.test_stripe import event, signed

__all__ = ["PLAYS", "Play"]


class Play:
    """The plain hosted protocol, which the sandbox speaks: signed, and says the state itself.

    Args of its methods:
        amount: an int is minor units of `currency`; anything else goes onto the wire as it is.
        said: fields that the callback states instead of the truth.
    """

    bench: Any = SandboxBench()
    backend = "django_gatewaypay.sandbox.gateway.SandboxGateway"
    credentials: Mapping[str, str] = {}

    def options(self, server: GatewayServer) -> dict[str, Any]:
        """The OPTIONS of the account in GATEWAYPAY."""
        secrets = {"webhook_secrets": list(self.bench.secrets)} if self.bench.secrets else {}
        return {"api_base": server.url, **self.credentials, **secrets}

    def happen(self, server: Any, reference: str, word: str, amount: object, currency: str) -> None:
        """Something becomes true at the vendor."""
        if word == "declined":
            server.set_status(reference, "pending", decline_code="insufficient_funds")
        else:
            self.bench.set_state(server, reference, word, self.wire(amount, currency), currency)

    def wire(self, amount: object, currency: str) -> object:
        return format_minor(amount, currency) if type(amount) is int else amount

    def tell(
        self, server: Any, reference: str, *, secret: str, at: int, event_id: str, kind: str, said: Mapping[str, Any]
    ) -> CallbackRequest:
        """The callback about what is true now."""
        body = json.dumps({"event_id": event_id, **server.sessions[reference], **said}).encode()
        return CallbackRequest(sign(secret, event_id, body, timestamp=at), body)

    def again(self, callback: CallbackRequest, body: bytes, *, secret: str, at: int) -> CallbackRequest:
        """Another body, signed as the vendor would."""
        return CallbackRequest(sign(secret, callback.headers["webhook-id"], body, timestamp=at), body)


class StripePlay(Play):
    """Checkout Sessions: signed, says the state itself, of a PaymentIntent or of a session."""

    bench = StripeBench()
    backend = "django_gatewaypay.gateways.stripe.StripeGateway"
    credentials = {"api_key": StripeBench.credentials[0]}
    intents = {
        "declined": "requires_payment_method",
        "failed": "requires_payment_method",
        "processing": "processing",
        "authorized": "requires_capture",
        "success": "succeeded",
        "canceled": "canceled",
    }
    sessions = {"failed": "complete", "processing": "complete", "canceled": "expired", "expired": "expired"}
    kinds = {
        "requires_payment_method": "payment_intent.payment_failed",
        "processing": "payment_intent.processing",
        "requires_capture": "payment_intent.amount_capturable_updated",
        "succeeded": "payment_intent.succeeded",
        "canceled": "payment_intent.canceled",
        "expired": "checkout.session.expired",
    }

    def happen(self, server: Any, reference: str, word: str, amount: object, currency: str) -> None:
        session = server.sessions[reference]
        if word in self.intents:
            error = {"last_payment_error": {"code": "card_declined"}} if word in {"declined", "failed"} else {}
            intent = server.act(reference, self.intents[word], **error)
            # The bench knows one payment; which metadata is whose matters where there are two.
            intent["metadata"] = session["metadata"]
        if word in self.sessions:
            server.set_status(reference, self.sessions[word])
        if word == "success":
            self.pay(server, session, self.wire(amount, currency), currency.lower())

    def pay(self, server: Any, session: dict[str, Any], amount: object, currency: str) -> None:
        intent = server.intents[session["payment_intent"]]
        intent.update(amount_received=amount, currency=currency)
        intent["latest_charge"].update(amount_captured=amount, currency=currency, metadata=session["metadata"])
        session.update(amount_total=amount, currency=currency)

    def wire(self, amount: object, currency: str) -> object:
        # Ours is ISO 4217's; Stripe's is the same but for a few currencies that no test here pays in.
        assert currency not in EXPONENTS or EXPONENTS[currency] != 2
        return amount

    def tell(
        self, server: Any, reference: str, *, secret: str, at: int, event_id: str, kind: str, said: Mapping[str, Any]
    ) -> CallbackRequest:
        session = server.sessions[reference]
        intent = server.intents.get(session["payment_intent"])
        if session["status"] == "complete" and intent and intent["status"] == "requires_payment_method":
            kind = kind or "checkout.session.async_payment_failed"
        found = session if intent is None or kind.startswith("checkout.session") else intent
        kind = kind or self.kinds.get(found["status"], "checkout.session.completed")
        return signed_at(event(kind, {**found, **said}, event_id), secret, at)

    def again(self, callback: CallbackRequest, body: bytes, *, secret: str, at: int) -> CallbackRequest:
        return signed_at(body, secret, at)


class MolliePlay(Play):
    """Payments: an unsigned id, and the gateway is asked."""

    bench = MollieBench()
    backend = "django_gatewaypay.gateways.mollie.MollieGateway"
    credentials = {"api_key": MollieBench.credentials[0]}
    words = {**{str(state): word for word, state in MollieBench.states.items()}, "declined": "open"}

    def happen(self, server: Any, reference: str, word: str, amount: object, currency: str) -> None:
        known = self.words.get(word, word)
        self.bench.set_state(server, reference, known, self.wire(amount, currency), currency)

    def wire(self, amount: object, currency: str) -> object:
        value = format_minor(amount, currency) if type(amount) is int else amount
        return {"currency": currency, "value": value}

    def tell(
        self, server: Any, reference: str, *, secret: str, at: int, event_id: str, kind: str, said: Mapping[str, Any]
    ) -> CallbackRequest:
        return hint(str(said.get("id", reference)))

    def again(self, callback: CallbackRequest, body: bytes, *, secret: str, at: int) -> CallbackRequest:
        return CallbackRequest(callback.headers, body)


def signed_at(body: bytes, secret: str, at: int) -> CallbackRequest:
    """Signed by Stripe's own SDK at a moment, whatever our clock says."""
    return signed(body, secret, age=int(time.time()) - at)


PLAYS: Mapping[str, Play] = {"sandbox": Play(), "stripe": StripePlay(), "mollie": MolliePlay()}
