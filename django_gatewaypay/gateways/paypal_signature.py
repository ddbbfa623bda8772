"""PayPal's signature, checked on this machine: certificate, chain, freshness, RSA. Needs `cryptography`."""

import base64
import re
import warnings
import zlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import certifi
from cryptography import exceptions, x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from ..exceptions import GatewayUnavailable, InvalidSignature
from .http import GatewayClient

__all__ = ["CertificateChecker"]

CERT_HOSTS = frozenset({f"{host}.paypal.com" for host in ("api", "api.sandbox", "api-m", "api-m.sandbox")})
CERT_PATH = re.compile(r"/v1/notifications/certs/[A-Za-z0-9_-]{1,128}", re.ASCII)
# PayPal tries for three days, and may send the first time again with each try.
FRESH = timedelta(days=4)
SKEW = timedelta(minutes=5)
MAX_CERTIFICATES = 8
PEM_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class CertificateChecker:
    """Checks callbacks against the certificates that PayPal publishes.

    Args:
        client: downloads them.
        webhook_id: PayPal's id of our callback address; it is part of what is signed.
        trust_store: a PEM file of roots; empty: the ones that https calls trust.
    """

    def __init__(self, client: GatewayClient, webhook_id: str, trust_store: str = "") -> None:
        self.client = client
        self.webhook_id = webhook_id
        self.trust_store = trust_store
        self._store: Store | None = None
        self._known: dict[str, list[x509.Certificate]] = {}

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Prove that PayPal signed these bytes for this callback address.

        Raises:
            InvalidSignature: it did not, or too long ago, or its certificate cannot be had.
        """
        given = {name.lower(): value for name, value in headers.items()}
        sent, url = given.get("paypal-transmission-time", ""), given.get("paypal-cert-url", "")
        if given.get("paypal-auth-algo") != "SHA256withRSA" or not is_fresh(sent) or not self._is_paypals(url):
            raise InvalidSignature
        text = f"{given.get('paypal-transmission-id', '')}|{sent}|{self.webhook_id}|{zlib.crc32(body)}"
        try:
            signature = base64.b64decode(given.get("paypal-transmission-sig", ""), validate=True)
            self._key(url).verify(signature, text.encode(), PKCS1v15(), SHA256())
        except (ValueError, VerificationError, exceptions.InvalidSignature, GatewayUnavailable) as error:
            raise InvalidSignature from error

    def _is_paypals(self, url: str) -> bool:
        """The address comes with the message, from whoever sent it: only PayPal's own folder is ever asked."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        base = urlsplit(self.client.base)
        origins = {("https", host) for host in CERT_HOSTS} | {(base.scheme, base.netloc)}
        return (
            (parts.scheme, parts.netloc) in origins
            and bool(CERT_PATH.fullmatch(parts.path))
            and url.endswith(parts.path)
            # It leaves out line breaks and tabs, wherever they are.
            and parts.geturl() == url
        )

    def _key(self, url: str) -> RSAPublicKey:
        """The key of a certificate that is PayPal's, today.

        Raises:
            ValueError, VerificationError: it is not.
            GatewayUnavailable: it cannot be had.
        """
        chain = self._known.get(url) or x509.load_pem_x509_certificates(self.client.download(url))
        name = common_name(chain[0])
        policy = PolicyBuilder().store(self._roots()).time(datetime.now(UTC).replace(tzinfo=None))
        policy.build_server_verifier(x509.DNSName(name)).verify(chain[0], chain[1:])
        key = chain[0].public_key()
        if not isinstance(key, RSAPublicKey):
            raise ValueError("The certificate has no RSA key.")
        if len(self._known) >= MAX_CERTIFICATES:
            self._known = {}
        self._known[url] = chain
        return key

    def _roots(self) -> Store:
        if self._store is None:
            with open(self.trust_store or certifi.where(), "rb") as file:
                self._store = Store(read_roots(file.read()))
        return self._store


def read_roots(pem: bytes) -> list[x509.Certificate]:
    """The roots of a PEM file. One that is too odd for the library does not take the others with it."""
    roots = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in PEM_BLOCK.findall(pem):
            with suppress(ValueError):
                roots.append(x509.load_pem_x509_certificate(block))
    return roots


def is_fresh(sent: str) -> bool:
    """Whether a signed time is one of PayPal's tries."""
    try:
        age = datetime.now(UTC) - datetime.fromisoformat(sent)
    except (ValueError, TypeError):
        return False
    return -SKEW <= age <= FRESH


def common_name(certificate: x509.Certificate) -> str:
    """The host that a certificate is for.

    Raises:
        ValueError: none of PayPal's.
    """
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    name = str(names[0].value) if names else ""
    if not name.endswith(".paypal.com"):
        raise ValueError("The certificate is not PayPal's.")
    return name
