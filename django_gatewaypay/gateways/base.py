"""What a gateway adapter is.

An adapter is plain Python: it takes and returns the frozen dataclasses of `types`, and never
touches Django, a row, a lock or a clock of ours. Several threads share one instance.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ..exceptions import GatewayUnavailable, MalformedCallback, UnsupportedOperation
from ..types import (
    CallbackRequest,
    ListedPayment,
    PaymentRef,
    PaymentRequest,
    PaymentSession,
    PaymentUpdate,
    RefundRequest,
    RefundUpdate,
)
from .answers import Refusal, explain_plainly
from .http import GatewayClient, is_loopback

__all__ = ["Gateway"]


class Gateway(ABC):
    """One account at one gateway.

    Args:
        alias: the account's key in `GATEWAYS`.
        api_base: where the gateway's API is; https, or http on loopback.
        timeout: seconds to connect and to wait for bytes.
        payment_hosts: hosts that the shopper may be sent to, besides those of the adapter.
    """

    name: ClassVar[str]
    """The vendor's own capitalisation."""
    default_api_base: ClassVar[str] = ""
    default_payment_hosts: ClassVar[Sequence[str]] = ()

    # --- What the gateway can do. A flag that is True needs its method below.
    signs_callbacks: ClassVar[bool] = True
    """False: every callback is a hint, and the core asks the gateway."""
    supports_fetch: ClassVar[bool] = False
    supports_find: ClassVar[bool] = False
    supports_cancel: ClassVar[bool] = False
    supports_capture: ClassVar[bool] = False
    supports_refund: ClassVar[bool] = False
    supports_partial_refund: ClassVar[bool] = False
    supports_several_captures: bool = False
    """An authorization may be captured in parts; without it, the first capture is the last. Some accounts may."""
    supports_find_refund: ClassVar[bool] = False
    supports_list: ClassVar[bool] = False
    currencies: ClassVar[frozenset[str] | None] = None
    """ISO codes that can be paid; None: whatever the account allows."""
    key_ttl: ClassVar[timedelta] = timedelta(hours=24)
    """How long the gateway remembers an idempotency key; after that, a repeated call is a new one."""
    key_header: ClassVar[str] = "Idempotency-Key"
    """Where the gateway wants the idempotency key."""
    request_id_header: ClassVar[str] = ""
    """Where the gateway names its id of a call, for its support desk."""
    exponents: ClassVar[Mapping[str, int]] = {}
    """Decimal places by currency, where the gateway differs from ISO 4217."""
    callback_content_types: ClassVar[Sequence[str]] = ("application/json",)

    test_mode = False
    """Whether this account moves play money."""

    def __init__(
        self,
        alias: str,
        *,
        api_base: str = "",
        timeout: tuple[float, float] = (2, 10),
        payment_hosts: Sequence[str] = (),
    ) -> None:
        self.alias = alias
        base = api_base or self.default_api_base
        self.client = GatewayClient(
            self.name,
            base,
            timeout=timeout,
            explain=self.explain_error,
            key_header=self.key_header,
            request_id_header=self.request_id_header,
        )
        self.payment_hosts = {urlsplit(base).hostname, *self.default_payment_hosts, *payment_hosts}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.alias!r}>"

    # --- Write these three.

    @abstractmethod
    def create_session(self, request: PaymentRequest) -> PaymentSession:
        """Open a payment session; the same idempotency key returns the same session.

        Raises:
            GatewayDeclined: a definite no.
            GatewayRejected: we asked wrongly.
            GatewayUnavailable: the outcome is unknown.
        """

    @abstractmethod
    def verify_callback(self, request: CallbackRequest) -> None:
        """Prove that the gateway sent these bytes, recently.

        Raises:
            InvalidSignature: it did not, or not recently.
        """

    @abstractmethod
    def parse_callback(self, request: CallbackRequest) -> list[PaymentUpdate]:
        """Read a verified callback. An unknown word is data: state None, with the raw kept.

        Raises:
            MalformedCallback: the body cannot be read at all.
        """

    # --- Write these where the gateway offers them, with their flag.

    def fetch_payment(self, payment: PaymentRef) -> PaymentUpdate:
        """Ask the gateway what is true now."""
        raise UnsupportedOperation(f"{self.name} cannot be asked for a payment.")

    def find_session(self, request: PaymentRequest) -> PaymentSession | None:
        """The payable session that an earlier `create_session` opened, looked up by our id; None if there is none.

        Asked when a key cannot be repeated any more and nobody knows what became of the call.
        """
        raise UnsupportedOperation(f"{self.name} cannot look a session up.")

    def cancel_payment(self, payment: PaymentRef, *, idempotency_key: str) -> PaymentUpdate:
        """Close an unpaid session or release an authorization; answers what is true afterwards."""
        raise UnsupportedOperation(f"{self.name} cannot cancel a payment.")

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        """Take `payment.amount` of an authorization; answers the totals as they are then.

        Args:
            final: the rest is let go. False only where `supports_several_captures`.
        """
        raise UnsupportedOperation(f"{self.name} cannot capture a payment.")

    def is_capturing(self, payment: PaymentRef) -> bool:
        """Whether there is a capture that `fetch_payment` may not count yet: one that is on its way, or just done.

        Asked after it, when nobody knows what became of a `capture` and a key cannot be repeated any more. Where every
        capture counts as soon as it is taken, there is nothing to write.
        """
        return False

    def refund(self, request: RefundRequest) -> RefundUpdate:
        """Give money back; many gateways only say "submitted" here, and the outcome in a callback."""
        raise UnsupportedOperation(f"{self.name} cannot refund a payment.")

    def fetch_refund(self, payment: PaymentRef, refund_reference: str) -> RefundUpdate:
        """Ask what became of a refund."""
        raise UnsupportedOperation(f"{self.name} cannot be asked for a refund.")

    def find_refund(self, request: RefundRequest) -> RefundUpdate | None:
        """The refund that an earlier `refund` made, looked up by `refund_id`; None if there is none.

        Asked when a key cannot be repeated any more and nobody knows what became of the call.
        """
        raise UnsupportedOperation(f"{self.name} cannot look a refund up.")

    def list_payments(self, since: datetime, until: datetime) -> Iterator[ListedPayment]:
        """Every payment that the gateway opened in this time (aware UTC), in any order, page after page.

        Raises:
            GatewayUnavailable: the list cannot be read to its end; what was yielded is true and not all.
        """
        raise UnsupportedOperation(f"{self.name} cannot list payments.")

    def explain_error(self, status: int, data: Mapping[str, Any]) -> Refusal:
        """What a 4xx of the gateway means: its own code, and a decline in the standard words."""
        return explain_plainly(status, data)

    def callback_response(self) -> tuple[str, str]:
        """The body and content type that the gateway wants to read for a callback that was kept."""
        return "", "text/plain"

    # --- Leave these alone.

    def check_payment_url(self, url: str) -> str:
        """Return `url` when a shopper may be sent there.

        Raises:
            GatewayUnavailable: not https, or not a host of this gateway.
        """
        try:
            parts = urlsplit(url)
            _ = parts.port  # raises where the port is something else
        except ValueError:
            parts = urlsplit("")
        secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
        known = parts.hostname in self.payment_hosts and parts.username is None
        if not (secure and known and url.isprintable()):
            raise GatewayUnavailable(
                "The gateway answered a payment address that is not its own.", gateway=self.name, code="payment_url"
            )
        return url

    @staticmethod
    def read_json(body: bytes) -> Mapping[str, Any]:
        """The JSON object in a body.

        Raises:
            MalformedCallback: it is not one.
        """
        try:
            data = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise MalformedCallback("The callback is not JSON.") from error
        if not isinstance(data, dict):
            raise MalformedCallback("The callback is not a JSON object.")
        return data
