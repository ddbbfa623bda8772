"""Any gateway that speaks the plain hosted protocol (docs/reference/hosted-protocol)."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, ClassVar, TypeGuard
from urllib.parse import quote

from ..exceptions import GatewayRejected, GatewayUnavailable, MalformedCallback
from ..money import InvalidAmount, Money, format_minor, parse_amount, to_minor
from ..types import (
    DECLINE_CODES,
    CallbackRequest,
    NextAction,
    PaymentRef,
    PaymentRequest,
    PaymentSession,
    PaymentUpdate,
    State,
)
from . import signing
from .base import Gateway

__all__ = ["HostedGateway"]


class HostedGateway(Gateway):
    """The plain hosted protocol: JSON over https, signed by Standard Webhooks.

    Amounts travel as decimal strings ("19.99"), states in our own words. A gateway may lack
    `POST cancel/{reference}`; its sessions then end by themselves at `expires_at`.

    Args:
        webhook_secrets: `whsec_…` secrets, or a callable that returns them; all verify.
        api_key: sent as a bearer token, when the gateway wants one.
    """

    name = "Hosted"
    supports_fetch = True
    supports_find = True
    supports_cancel = True

    STATES: ClassVar[Mapping[str, State]] = {
        "pending": State.PENDING,
        "processing": State.PROCESSING,
        "success": State.SUCCESS,
        "failed": State.FAILED,
        "canceled": State.CANCELED,
        "expired": State.EXPIRED,
    }
    RAW_FIELDS: ClassVar[Sequence[str]] = (
        "event_id",
        "transaction_id",
        "reference",
        "status",
        "amount",
        "currency",
        "decline_code",
    )

    def __init__(self, alias: str, *, webhook_secrets: signing.Secrets, api_key: str = "", **options: Any) -> None:
        super().__init__(alias, **options)
        for secret in signing.read_secrets(webhook_secrets):
            signing.check_secret(secret)
        self.webhook_secrets = webhook_secrets
        if api_key:
            self.client.session.headers["Authorization"] = f"Bearer {api_key}"

    def create_session(self, request: PaymentRequest) -> PaymentSession:
        """See `Gateway`."""
        answer = self.client.post(
            "create-session", json=self._session_body(request), idempotency_key=request.idempotency_key
        ).data
        return self._session(answer)

    def find_session(self, request: PaymentRequest) -> PaymentSession | None:
        """See `Gateway`. A gateway without the call knows no session."""
        try:
            answer = self.client.get(f"find/{quote(request.transaction_id, safe='')}").data
        except GatewayRejected as error:
            if error.status == 404:
                return None
            raise
        return self._session(answer) if answer.get("status") == "pending" else None

    def verify_callback(self, request: CallbackRequest) -> None:
        """See `Gateway`."""
        signing.verify_standard_webhook(self.webhook_secrets, request.headers, request.body)

    def parse_callback(self, request: CallbackRequest) -> list[PaymentUpdate]:
        """See `Gateway`."""
        data = self.read_json(request.body)
        if not _is_reference(data.get("event_id")):
            raise MalformedCallback("The callback has no event_id.")
        return [self._update(data)]

    def fetch_payment(self, payment: PaymentRef) -> PaymentUpdate:
        """See `Gateway`."""
        path = f"status/{quote(payment.gateway_reference, safe='')}"
        return self._update(self.client.get(path).data)

    def cancel_payment(self, payment: PaymentRef, *, idempotency_key: str) -> PaymentUpdate:
        """See `Gateway`. A gateway without the call is asked what is true instead."""
        path = f"cancel/{quote(payment.gateway_reference, safe='')}"
        try:
            return self._update(self.client.post(path, json={}, idempotency_key=idempotency_key).data)
        except GatewayRejected:
            return self.fetch_payment(payment)

    # --- How the wire reads.

    def _session(self, answer: Mapping[str, Any]) -> PaymentSession:
        reference, url = answer.get("reference"), answer.get("payment_url")
        if not _is_reference(reference) or not isinstance(url, str):
            raise GatewayUnavailable("The gateway opened no session.", gateway=self.name, code="no_session")
        return PaymentSession(gateway_reference=reference, next_action=NextAction(url=self.check_payment_url(url)))

    def _session_body(self, request: PaymentRequest) -> dict[str, Any]:
        currency = request.amount.currency.code
        return {
            "amount": format_minor(to_minor(request.amount), currency),
            "currency": currency,
            "callback_url": request.callback_url,
            "return_url": request.return_url,
            "transaction_id": request.transaction_id,
            "expires_at": request.expires_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "description": request.description,
        }

    def _update(self, data: Mapping[str, Any]) -> PaymentUpdate:
        state = self.STATES.get(data["status"]) if isinstance(data.get("status"), str) else None
        return PaymentUpdate(
            transaction_id=_text(data.get("transaction_id")),
            gateway_reference=_text(data.get("reference")),
            state=state,
            captured=_captured(data) if state is State.SUCCESS else None,
            event_id=_text(data.get("event_id")),
            decline_code=_decline_code(data.get("decline_code")) if state is State.FAILED else "",
            raw={name: _text(data[name]) for name in self.RAW_FIELDS if name in data},
        )


def _captured(data: Mapping[str, Any]) -> Money | None:
    """What the gateway took; None when it cannot be read, which the core holds for review."""
    try:
        return parse_amount(data.get("amount"), data.get("currency"))
    except InvalidAmount:
        return None


def _decline_code(value: object) -> str:
    """The reason in the standard words; a gateway's own one is in the raw fields."""
    return value if isinstance(value, str) and value in DECLINE_CODES else "declined"


def _is_reference(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable()


def _text(value: object) -> str:
    """A wire value as short printable text, for matching and for staff."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return "".join(char for char in text[:255] if char.isprintable())
