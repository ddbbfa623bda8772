"""PayPal passes the contract battery; what its signature is bound to is the id of the callback address."""

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from moneyed import Money

from django_gatewaypay.gateways.paypal import PayPalGateway
from django_gatewaypay.testing import GatewayContract
from django_gatewaypay.testing.gateway_server import Answer, RecordedRequest
from django_gatewaypay.types import CallbackRequest, State

from .test_paypal import CLIENT_ID, LEAF, LEAF_KEY, MIDDLE, NOW, ROOT, SECRET, PayPalServer, issue, pem

CAPTURES = {"COMPLETED": State.SUCCESS, "PENDING": State.PROCESSING, "DECLINED": State.FAILED, "FAILED": State.FAILED}


class Server(PayPalServer):
    """With the certificates that sign."""

    def __init__(self) -> None:
        super().__init__()
        self.pem = pem(LEAF, MIDDLE)


class TestPayPal(GatewayContract):
    """Orders v2. A word is the status of the capture, or of the order where there is none."""

    server_class = Server
    secrets = ("4JH86294D6297924G",)
    stranger = "9XX00000X0000000X"
    credentials = (SECRET,)
    states = {"PAYER_ACTION_REQUIRED": State.PENDING, "VOIDED": State.CANCELED, **CAPTURES}
    callback_states = CAPTURES
    amounts = (
        (Money("19.90", "EUR"), "19.90"),
        (Money(2000, "JPY"), "2000"),
        (Money(100, "HUF"), "100"),
        (Money(100, "TWD"), "100"),
        *((Money("1.50", code), "1.50") for code in ("KWD", "BHD", "IQD", "JOD", "LYD", "OMR", "TND")),
    )
    too_old = timedelta(days=5)
    declined = Answer.json(issue("INSTRUMENT_DECLINED")[1], 422)
    rejected = Answer.json(issue("INVALID_PARAMETER_VALUE")[1], 422)

    @pytest.fixture(autouse=True)
    def today(self, tmp_path: Path) -> Iterator[None]:
        """The certificates of the tests are valid on one day only."""
        self.roots = tmp_path / "roots.pem"
        self.roots.write_bytes(pem(ROOT))
        with time_machine.travel(NOW):
            yield

    def make_gateway(self, api_base: str, secrets: Sequence[str], **options: Any) -> PayPalGateway:
        return PayPalGateway(
            "paypal",
            api_base=api_base,
            client_id=CLIENT_ID,
            client_secret=SECRET,
            webhook_id=secrets[0],
            trust_store=str(self.roots),
            **options,
        )

    def asked_amount(self, call: RecordedRequest) -> object:
        return call.json["purchase_units"][0]["amount"]["value"]

    def opened(self, server: Server) -> int:
        return sum("purchase_units" in order for order in server.sessions.values())

    def set_state(self, server: Server, reference: str, word: str, amount: object, currency: str) -> None:
        if word in {*CAPTURES, self.unknown_word}:
            server._pay(server.sessions[reference], "captures", word)
        else:
            server.set_status(reference, word)

    def reserve(self, server: Server, reference: str, amount: object, currency: str) -> None:
        server._pay(server.sessions[reference], "authorizations", "CREATED")

    def given_back(self, server: Server) -> int:
        return sum(one.get("invoice_id") is not None for name, one in server.sessions.items() if name.startswith("R"))

    def callback(self, server: Server, reference: str, *, secret: str, at: int) -> CallbackRequest:
        *_, capture = server.sessions[reference]["purchase_units"][0]["payments"]["captures"]
        kind = f"PAYMENT.CAPTURE.{capture['status']}"
        body = json.dumps({"id": f"WH-{capture['id']}", "event_type": kind, "resource": capture}).encode()
        sent = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f"t-1|{sent}|{secret}|{zlib.crc32(body)}".encode()
        headers = {
            "PAYPAL-TRANSMISSION-ID": "t-1",
            "PAYPAL-TRANSMISSION-TIME": sent,
            "PAYPAL-TRANSMISSION-SIG": base64.b64encode(
                LEAF_KEY.sign(text, padding.PKCS1v15(), hashes.SHA256())
            ).decode(),
            "PAYPAL-CERT-URL": f"{server.url}v1/notifications/certs/CERT-1",
            "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        }
        return CallbackRequest(headers, body)
