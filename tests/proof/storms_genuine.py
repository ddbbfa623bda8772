"""Callbacks as each gateway sends them, and a second opinion on which messages are still genuine.

The second opinion is written from the vendors' specifications and shares no code with the adapters.
"""

import base64
import hashlib
import hmac
import json
import re
import time
import uuid
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from django.conf import settings

from django_gatewaypay.testing.gateway_server import sign

from ..gateways.test_paypal import LEAF, LEAF_KEY, MIDDLE, ROOT, PayPalServer, pem

__all__ = ["GENUINE", "Genuine", "Message", "gateway_settings"]

Headers = tuple[tuple[str, str], ...]
FRESH = 300


@dataclass(frozen=True)
class Message:
    """A request on its way to a callback address.

    Args:
        path: what follows the address of all callbacks, percent-encoded.
        length: what it says about its length; None says the truth.
    """

    headers: Headers
    body: bytes
    path: str
    method: str = "POST"
    length: str | None = None

    def arriving(self) -> dict[str, str]:
        """The headers as a server hands them on: lower case, without blanks around, those of the same name joined."""
        joined: dict[str, str] = {}
        for name, value in self.headers:
            known, value = joined.get(name.lower()), value.strip(" \t")
            joined[name.lower()] = value if known is None else f"{known},{value}"
        return joined


class Genuine(ABC):
    """One signing gateway."""

    alias: ClassVar[str]
    content_type: ClassVar[str] = "application/json"
    content_types: ClassVar[frozenset[str]] = frozenset({"application/json"})
    stamps: ClassVar[bool] = True
    """Whether it signs the time."""

    @property
    def transaction_id(self) -> str:
        """Of the payment that its messages are about."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.alias))

    @property
    def reference(self) -> str:
        """Of its session at the gateway."""
        return f"ps_{self.alias}"

    @abstractmethod
    def signed(self, body: bytes, *, good: bool = True, at: int | None = None) -> Headers:
        """The headers that prove a body, or, where not good, those of somebody else."""

    @abstractmethod
    def body(self, number: int) -> bytes:
        """What it says about a payment."""

    @abstractmethod
    def is_genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the specification has this message accepted."""

    def message(self, number: int) -> Message:
        body = self.body(number)
        return Message((("Content-Type", self.content_type), *self.signed(body)), body, f"{self.alias}/")


def digest(key: bytes, content: bytes) -> bytes:
    return hmac.new(key, content, hashlib.sha256).digest()


def is_fresh(text: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,20}", text, re.ASCII)) and abs(time.time() - int(text)) <= FRESH


def decode(text: str) -> bytes:
    """Base64 as the most forgiving reader has it: junk in the text changes no byte of the proof."""
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""


class Hosted(Genuine):
    """Standard Webhooks 1.0.0."""

    alias = "hosted"
    secret = settings.HOSTED_SECRET
    stranger = "whsec_" + "QUJD" * 8

    def body(self, number: int) -> bytes:
        said = {"event_id": f"evt_{number}", "transaction_id": self.transaction_id, "reference": self.reference}
        return json.dumps(said | {"status": "success", "amount": "19.99", "currency": "EUR"}).encode()

    def signed(self, body: bytes, *, good: bool = True, at: int | None = None) -> Headers:
        headers = sign(self.secret if good else self.stranger, "msg_1", body, timestamp=at)
        return tuple((name, value) for name, value in headers.items() if name != "content-type")

    def is_genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        sent = headers.get("webhook-timestamp", "")
        content = f"{headers.get('webhook-id', '')}.{sent}.".encode() + body
        right = digest(base64.b64decode(self.secret.removeprefix("whsec_")), content)
        offered = [one.partition(",") for one in headers.get("webhook-signature", "").split(" ")]
        return is_fresh(sent) and any(scheme == "v1" and decode(text) == right for scheme, _, text in offered)


class Sandbox(Hosted):
    """The same protocol with another secret."""

    alias = "sandbox"
    secret = "whsec_" + base64.b64encode(b"the sandbox has one of its own!!").decode()


class Stripe(Genuine):
    """https://docs.stripe.com/webhooks#verify-manually."""

    alias = "stripe"
    secret, stranger = "whsec_storm", "whsec_stranger"

    def body(self, number: int) -> bytes:
        found: dict[str, Any] = {
            "id": "pi_1",
            "status": "succeeded",
            "amount": 1999,
            "amount_received": 1999,
            "currency": "eur",
        }
        found |= {"metadata": {"transaction_id": self.transaction_id}}
        kind = "payment_intent.succeeded"
        return json.dumps({"id": f"evt_{number}", "type": kind, "data": {"object": found}}).encode()

    def signed(self, body: bytes, *, good: bool = True, at: int | None = None) -> Headers:
        sent = int(time.time()) if at is None else at
        proof = digest((self.secret if good else self.stranger).encode(), f"{sent}.".encode() + body).hex()
        return (("Stripe-Signature", f"t={sent},v1={proof}"),)

    def is_genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        parts = [one.partition("=") for one in headers.get("stripe-signature", "").split(",")]
        times = [value for name, _, value in parts if name == "t"]
        if len(times) != 1 or not is_fresh(times[0]):
            return False
        right = digest(self.secret.encode(), f"{times[0]}.".encode() + body).hex()
        return any(name == "v1" and value == right for name, _, value in parts)


class Adyen(Genuine):
    """https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures: by item, without a time."""

    alias = "adyen"
    stamps = False
    key, stranger = "44" * 32, "55" * 32
    plain = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")

    def body(self, number: int) -> bytes:
        return self._body(number, self.key)

    def _body(self, number: int, key: str) -> bytes:
        item: dict[str, Any] = {
            "amount": {"currency": "EUR", "value": 1999},
            "eventCode": "AUTHORISATION",
            "merchantAccountCode": "StormShop",
            "merchantReference": self.transaction_id,
            "pspReference": f"PSP{number}",
            "success": "true",
        }
        item["additionalData"] = {"hmacSignature": base64.b64encode(self._proof(item, key)).decode()}
        return json.dumps({"live": "false", "notificationItems": [{"NotificationRequestItem": item}]}).encode()

    def signed(self, body: bytes, *, good: bool = True, at: int | None = None) -> Headers:
        return ()

    def _proof(self, item: Mapping[str, Any], key: str) -> bytes:
        words = [item.get(name) for name in self.plain]
        words += [
            item["amount"].get("value"),
            item["amount"].get("currency"),
            item.get("eventCode"),
            item.get("success"),
        ]
        text = ":".join("" if word is None else str(word) for word in words)
        return digest(bytes.fromhex(key), text.encode(errors="surrogatepass"))

    def is_genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        try:
            items = [one["NotificationRequestItem"] for one in json.loads(body)["notificationItems"]]
            offered = [decode(item["additionalData"]["hmacSignature"]) for item in items]
            return bool(items) and all(
                proof == self._proof(item, self.key) for proof, item in zip(offered, items, strict=True)
            )
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return False


class Mollie(Genuine):
    """https://docs.mollie.com/reference/webhooks-new; unsigned it is a hint, which proves nothing by design."""

    alias = "mollie"
    stamps = False
    content_types = frozenset({"application/json", "application/x-www-form-urlencoded"})
    secret, stranger = "mollie-storm", "mollie-stranger"

    def body(self, number: int) -> bytes:
        return json.dumps({"id": f"event_{number}", "type": "payment.paid", "entityId": "tr_none"}).encode()

    def signed(self, body: bytes, *, good: bool = True, at: int | None = None) -> Headers:
        proof = digest((self.secret if good else self.stranger).encode(), body).hex()
        return (("X-Mollie-Signature", f"sha256={proof}"),)

    def is_genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        given = headers.get("x-mollie-signature")
        right = digest(self.secret.encode(), body).hex()
        return given is None or right in [one.strip().removeprefix("sha256=") for one in given.split(",")]


class PayPal(Genuine):
    """https://developer.paypal.com/api/rest/webhooks/rest/: RSA over id, time, address and the body's CRC."""

    alias = "paypal"
    webhook_id = "4JH86294D6297924G"
    folder = ""

    def body(self, number: int) -> bytes:
        resource: dict[str, Any] = {
            "id": "CAP-1",
            "status": "COMPLETED",
            "amount": {"value": "19.99", "currency_code": "EUR"},
        }
        resource |= {"custom_id": self.transaction_id}
        return json.dumps(
            {"id": f"WH-{number}", "event_type": "PAYMENT.CAPTURE.COMPLETED", "resource": resource}
        ).encode()

    def signed(self, body: bytes, *, good: bool = True, at: int | None = None) -> Headers:
        sent = datetime.fromtimestamp(time.time() if at is None else at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f"t-1|{sent}|{self.webhook_id if good else 'OTHER'}|{zlib.crc32(body)}".encode()
        proof = base64.b64encode(LEAF_KEY.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
        return (
            ("PayPal-Transmission-Id", "t-1"),
            ("PayPal-Transmission-Time", sent),
            ("PayPal-Transmission-Sig", proof),
            ("PayPal-Cert-Url", f"{self.folder}CERT-1"),
            ("PayPal-Auth-Algo", "SHA256withRSA"),
        )

    def is_genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        sent, url = headers.get("paypal-transmission-time", ""), headers.get("paypal-cert-url", "")
        text = f"{headers.get('paypal-transmission-id', '')}|{sent}|{self.webhook_id}|{zlib.crc32(body)}"
        try:
            age = time.time() - datetime.fromisoformat(sent).replace(tzinfo=UTC).timestamp()
            proof = decode(headers.get("paypal-transmission-sig", ""))
            LEAF_KEY.public_key().verify(proof, text.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, InvalidSignature):
            return False
        named = re.fullmatch(re.escape(self.folder) + "[A-Za-z0-9_-]+", url, re.ASCII)
        return bool(named) and headers.get("paypal-auth-algo") == "SHA256withRSA" and -FRESH <= age <= 4 * 86400


GENUINE: Mapping[str, Genuine] = {
    one.alias: one for one in (Hosted(), Sandbox(), Stripe(), Adyen(), Mollie(), PayPal())
}


@contextmanager
def gateway_settings(folder: Path) -> Iterator[dict[str, Any]]:
    """`GATEWAYS` with each of them, and PayPal's certificates on loopback."""
    roots = folder / "storm-roots.pem"
    roots.write_bytes(pem(ROOT))
    with PayPalServer() as server:
        server.pem = pem(LEAF, MIDDLE)
        PayPal.folder = f"{server.url}v1/notifications/certs/"
        nowhere = "http://127.0.0.1:9/"
        options: dict[str, tuple[str, dict[str, Any]]] = {
            "hosted": ("gateways.hosted.HostedGateway", {"webhook_secrets": [Hosted.secret]}),
            "sandbox": ("sandbox.gateway.SandboxGateway", {"webhook_secrets": [Sandbox.secret]}),
            "stripe": ("gateways.stripe.StripeGateway", {"api_key": "sk_test_1", "webhook_secrets": [Stripe.secret]}),
            "adyen": (
                "gateways.adyen.AdyenGateway",
                {"api_key": "k", "merchant_account": "StormShop", "hmac_keys": [Adyen.key]},
            ),
            "mollie": ("gateways.mollie.MollieGateway", {"api_key": "test_1", "webhook_secrets": [Mollie.secret]}),
            "paypal": (
                "gateways.paypal.PayPalGateway",
                {"client_id": "c", "client_secret": "s", "webhook_id": PayPal.webhook_id, "trust_store": str(roots)},
            ),
        }
        yield {
            alias: {
                "BACKEND": f"django_gatewaypay.{path}",
                "OPTIONS": {"api_base": server.url if alias == "paypal" else nowhere, **given},
            }
            for alias, (path, given) in options.items()
        }
