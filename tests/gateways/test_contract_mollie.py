"""Mollie passes the contract battery; its classic callbacks are hints."""

from collections.abc import Sequence
from typing import Any

from moneyed import Money

from django_gatewaypay.gateways.mollie import MollieGateway
from django_gatewaypay.testing import GatewayContract
from django_gatewaypay.testing.gateway_server import Answer, RecordedRequest
from django_gatewaypay.types import CallbackRequest

from .test_mollie import MollieServer, hint


class TestMollie(GatewayContract):
    """Payments API v2."""

    server_class = MollieServer
    secrets = ()
    credentials = ("test_do_not_show",)
    states = MollieGateway.STATES
    amounts = (
        (Money("19.90", "EUR"), {"currency": "EUR", "value": "19.90"}),
        (Money(2000, "JPY"), {"currency": "JPY", "value": "2000"}),
        (Money("1.5", "KWD"), {"currency": "KWD", "value": "1.500"}),
        (Money(5, "ISK"), {"currency": "ISK", "value": "5"}),
    )
    declined = None
    rejected = Answer.json({"status": 422, "title": "Unprocessable Entity", "field": "amount"}, 422)

    def make_gateway(self, api_base: str, secrets: Sequence[str], **options: Any) -> MollieGateway:
        return MollieGateway("ideal", api_base=api_base, api_key=self.credentials[0], **options)

    def set_state(self, server: MollieServer, reference: str, word: str, amount: object, currency: str) -> None:
        server.set_status(reference, word, amount=amount, isCancelable=word == "open")

    def callback(self, server: MollieServer, reference: str, *, secret: str, at: int) -> CallbackRequest:
        return hint(reference)

    def asked_amount(self, call: RecordedRequest) -> object:
        return call.json["amount"]
