"""Adyen passes the contract battery: it signs fields, no time, and cannot be asked."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from moneyed import Money

from django_gatewaypay.gateways.adyen import AdyenGateway
from django_gatewaypay.testing import GatewayContract
from django_gatewaypay.testing.gateway_server import Answer, RecordedRequest
from django_gatewaypay.types import CallbackRequest, State

from .test_adyen import ACCOUNT, API_KEY, KEY, OLD_KEY, AdyenServer, item, signed


class Server(AdyenServer):
    """It also remembers what was asked for, and what became of it."""

    def work(self, request: RecordedRequest) -> tuple[int, dict[str, Any]]:
        status, session = super().work(request)
        if request.path.strip("/") == "sessions" and status == 201:
            session["reference"] = request.json["reference"]
        return status, session


def change(callback: CallbackRequest, **fields: Any) -> CallbackRequest:
    """The same callback with other fields in its item."""
    data = json.loads(callback.body)
    data["notificationItems"][0]["NotificationRequestItem"].update(fields)
    return replace(callback, body=json.dumps(data).encode())


class TestAdyen(GatewayContract):
    """Hosted sessions. A word is an event and whether it went well."""

    server_class = Server
    secrets = (KEY, OLD_KEY)
    stranger = "00" * 32
    credentials = (API_KEY,)
    states = {
        "AUTHORISATION true": State.SUCCESS,
        "AUTHORISATION false": State.PENDING,
        "CAPTURE true": State.SUCCESS,
        "CAPTURE_FAILED true": State.FAILED,
        "CANCELLATION true": State.CANCELED,
        "EXPIRE true": State.EXPIRED,
        "OFFER_CLOSED true": State.EXPIRED,
    }
    amounts = (
        (Money("19.90", "EUR"), 1990),
        (Money(2000, "JPY"), 2000),
        (Money("1.5", "KWD"), 1500),
        (Money(5, "CLP"), 500),
        (Money(5, "CVE"), 5),
        (Money(5000, "IDR"), 5000),
        (Money(5, "ISK"), 500),
    )
    signs_time = False
    signs_bytes = False
    declined = None
    refuses_too_much = False
    rejected = Answer.json({"status": 422, "errorCode": "702", "errorType": "validation"}, 422)

    def make_gateway(self, api_base: str, secrets: Sequence[str], **options: Any) -> AdyenGateway:
        return AdyenGateway(
            "adyen", api_base=api_base, api_key=API_KEY, merchant_account=ACCOUNT, hmac_keys=secrets, **options
        )

    def asked_amount(self, call: RecordedRequest) -> object:
        return call.json["amount"]["value"]

    def set_state(self, server: Server, reference: str, word: str, amount: object, currency: str) -> None:
        event, _, success = word.partition(" ")
        server.sessions[reference]["told"] = item(
            event,
            success or "true",
            amount={"currency": currency, "value": amount},
            merchantReference=server.sessions[reference]["reference"],
        )

    def reserve(self, server: Server, reference: str, amount: object, currency: str) -> None:
        self.set_state(server, reference, "AUTHORISATION true", amount, currency)

    def given_back(self, server: Server) -> int:
        return sum("/refunds" in call.path for call in {call.key: call for call in server.requests}.values())

    def callback(self, server: Server, reference: str, *, secret: str, at: int) -> CallbackRequest:
        return signed(server.sessions[reference]["told"], key=secret)

    def unsigned(self, callback: CallbackRequest) -> CallbackRequest:
        return change(callback, additionalData={})

    def spoiled(self, callback: CallbackRequest) -> Iterator[CallbackRequest]:
        yield change(callback, amount={"currency": "EUR", "value": 1})
        yield change(callback, amount={"currency": "USD", "value": 1990})
        for name in ("pspReference", "originalReference", "merchantReference", "merchantAccountCode", "eventCode"):
            yield change(callback, **{name: "other"})
        yield change(callback, success="false")
        yield change(callback, additionalData={"hmacSignature": "AAAA"})
