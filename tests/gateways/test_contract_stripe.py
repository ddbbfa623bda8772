"""Stripe passes the contract battery."""

import time
from collections.abc import Sequence
from typing import Any

from moneyed import Money

from django_gatewaypay.gateways.stripe import StripeGateway
from django_gatewaypay.gateways.stripe_wire import EXPONENTS
from django_gatewaypay.testing import GatewayContract
from django_gatewaypay.testing.gateway_server import Answer, RecordedRequest
from django_gatewaypay.types import CallbackRequest, State

from . import specs
from .test_stripe import StripeServer, event, signed

EVENTS = {
    "succeeded": "payment_intent.succeeded",
    "requires_capture": "payment_intent.amount_capturable_updated",
    "expired": "checkout.session.expired",
}


def error(status: int, **fields: str) -> Answer:
    return Answer.json({"error": fields}, status)


class TestStripe(GatewayContract):
    """Checkout Sessions. A word is the status of the PaymentIntent, or of the session where there is none."""

    server_class = StripeServer
    secrets = ("whsec_current_do_not_show", "whsec_old_do_not_show")
    stranger = "whsec_stranger"
    credentials = ("sk_test_do_not_show",)
    states = {
        "open": State.PENDING,
        "expired": State.EXPIRED,
        "succeeded": State.SUCCESS,
        "requires_capture": State.AUTHORIZED,
    }
    callback_states = {word: state for word, state in states.items() if word != "open"}
    amounts = (
        (Money("19.90", "EUR"), "1990"),
        # Whole units fit each of Stripe's exceptions, cents or not.
        *((Money(5, code), {0: "5", 2: "500", 3: "5000"}[places]) for code, places in EXPONENTS.items()),
    )
    declined = error(402, type="card_error", code="card_declined", decline_code="insufficient_funds")
    rejected = error(400, type="invalid_request_error", code="parameter_missing")

    def make_gateway(self, api_base: str, secrets: Sequence[str], **options: Any) -> StripeGateway:
        return StripeGateway("card", api_base=api_base, api_key=self.credentials[0], webhook_secrets=secrets, **options)

    def asked_amount(self, call: RecordedRequest) -> object:
        return specs.decode_form(call.body)["line_items"]["0"]["price_data"]["unit_amount"]

    def set_state(self, server: StripeServer, reference: str, word: str, amount: object, currency: str) -> None:
        if word in {"succeeded", "requires_capture"}:
            server.act(reference, word)
        else:
            server.set_status(reference, word)

    def callback(self, server: StripeServer, reference: str, *, secret: str, at: int) -> CallbackRequest:
        session = server.sessions[reference]
        intent = server.intents.get(session["payment_intent"])
        found = {**(intent or session)}
        kind = EVENTS.get(found["status"], "checkout.session.completed")
        return signed(event(kind, found), secret, int(time.time()) - at)
