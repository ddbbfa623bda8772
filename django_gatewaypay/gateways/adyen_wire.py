"""Adyen's callbacks: what its words mean, and how its items are signed."""

import base64
import binascii
import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ..exceptions import MalformedCallback
from ..types import DisputeState, RefundState, State

__all__ = [
    "DECLINES",
    "DISPUTES",
    "FLAGS",
    "REFUNDS",
    "STATES",
    "defense_ends_at",
    "dispute_reason",
    "is_basic",
    "is_signed",
    "items",
    "read_event",
    "read_key",
    "text",
]

SIGNED_FIELDS = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")
# By event and success. A declined attempt is not the end: the shopper may try again on the same page.
STATES: Mapping[tuple[str, bool], State] = {
    ("AUTHORISATION", True): State.SUCCESS,
    ("AUTHORISATION", False): State.PENDING,
    ("CAPTURE", True): State.SUCCESS,
    ("CAPTURE_FAILED", True): State.FAILED,
    ("CANCELLATION", True): State.CANCELED,
    ("TECHNICAL_CANCEL", True): State.CANCELED,
    ("EXPIRE", True): State.EXPIRED,
    ("OFFER_CLOSED", True): State.EXPIRED,
}
REFUNDS: Mapping[tuple[str, bool], RefundState] = {
    ("REFUND", True): RefundState.SUCCEEDED,
    ("REFUND", False): RefundState.FAILED,
    ("REFUND_FAILED", True): RefundState.FAILED,
    ("REFUNDED_REVERSED", True): RefundState.FAILED,
}
# https://docs.adyen.com/risk-management/disputes-api/dispute-notifications. A reversed chargeback may come back.
DISPUTES: Mapping[tuple[str, bool], DisputeState] = {
    ("REQUEST_FOR_INFORMATION", True): DisputeState.OPEN,
    ("NOTIFICATION_OF_CHARGEBACK", True): DisputeState.OPEN,
    ("CHARGEBACK", True): DisputeState.OPEN,
    ("INFORMATION_SUPPLIED", True): DisputeState.UNDER_REVIEW,
    ("DISPUTE_DEFENSE_PERIOD_ENDED", True): DisputeState.UNDER_REVIEW,
    ("CHARGEBACK_REVERSED", True): DisputeState.WON,
    ("ISSUER_RESPONSE_TIMEFRAME_EXPIRED", True): DisputeState.WON,
    ("PREARBITRATION_WON", True): DisputeState.WON,
    ("SECOND_CHARGEBACK", True): DisputeState.LOST,
    ("PREARBITRATION_LOST", True): DisputeState.LOST,
}
FLAGS: Mapping[tuple[str, bool], str] = {
    ("CAPTURE", False): "capture_failed",
    ("CAPTURE_FAILED", True): "capture_failed",
    ("CANCELLATION", False): "cancel_failed",
    ("NOTIFICATION_OF_CHARGEBACK", True): "disputed",
    ("CHARGEBACK", True): "disputed",
    ("SECOND_CHARGEBACK", True): "disputed",
    ("CHARGEBACK_REVERSED", True): "dispute_reversed",
}
# https://docs.adyen.com/development-resources/refusal-reasons
DECLINES: Mapping[str, str] = {
    "3d not authenticated": "authentication_failed",
    "acquirer error": "processing_error",
    "acquirer fraud": "fraud_suspected",
    "authentication required": "authentication_required",
    "avs declined": "incorrect_address",
    "blocked card": "lost_or_stolen",
    "cancelled": "canceled_by_shopper",
    "cvc declined": "incorrect_cvc",
    "expired card": "expired_card",
    "fraud": "fraud_suspected",
    "fraud-cancelled": "fraud_suspected",
    "invalid card number": "incorrect_number",
    "issuer suspected fraud": "fraud_suspected",
    "issuer unavailable": "issuer_unavailable",
    "not enough balance": "insufficient_funds",
    "not supported": "card_not_supported",
    "referral": "call_issuer",
    "restricted card": "card_not_supported",
    "shopper cancelled": "canceled_by_shopper",
    "transaction not permitted": "card_not_supported",
    "withdrawal amount exceeded": "limit_exceeded",
    "withdrawal count exceeded": "limit_exceeded",
}


def read_event(item: Mapping[str, Any]) -> tuple[str, bool]:
    """What happened, and whether it went well. CANCEL_OR_REFUND says elsewhere which of the two it was."""
    code, success = text(item.get("eventCode")), text(item.get("success")) == "true"
    if code == "CANCEL_OR_REFUND":
        more = item.get("additionalData")
        action = more.get("modification.action") if isinstance(more, dict) else ""
        code = {"cancel": "CANCELLATION", "refund": "REFUND"}.get(text(action), code)
    return code, success


def defense_ends_at(item: Mapping[str, Any]) -> datetime | None:
    """Until when a dispute can be answered; not among what is signed, so that nothing may follow from it but haste."""
    more = item.get("additionalData")
    try:
        moment = datetime.fromisoformat(text(more.get("defensePeriodEndsAt")) if isinstance(more, dict) else "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def dispute_reason(item: Mapping[str, Any]) -> str:
    """The card scheme's code, or Adyen's own words."""
    more = item.get("additionalData")
    code = text(more.get("chargebackReasonCode")).strip() if isinstance(more, dict) else ""
    return code or text(item.get("reason"))


def items(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The items of a callback.

    Raises:
        MalformedCallback: there is none, or one is no item.
    """
    wrapped = data.get("notificationItems")
    if not isinstance(wrapped, list) or not wrapped:
        raise MalformedCallback("The callback has no items.")
    for one in wrapped:
        item = one.get("NotificationRequestItem") if isinstance(one, dict) else None
        if not isinstance(item, dict):
            raise MalformedCallback("An item of the callback cannot be read.")
        yield item


def is_signed(item: Mapping[str, Any], keys: Sequence[bytes]) -> bool:
    more, amount = item.get("additionalData"), item.get("amount")
    given = more.get("hmacSignature") if isinstance(more, dict) else None
    if not isinstance(given, str) or not isinstance(amount, dict):
        return False
    parts = [*(item.get(name) for name in SIGNED_FIELDS), amount.get("value"), amount.get("currency")]
    parts += [item.get("eventCode"), item.get("success")]
    # Nothing is escaped; https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures
    signed = ":".join("" if part is None else str(part) for part in parts).encode(errors="surrogatepass")
    digests = [base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys]
    return any(hmac.compare_digest(digest, given.encode(errors="replace")) for digest in digests)


def is_basic(headers: Mapping[str, str], user: str, password: str) -> bool:
    given = {name.lower(): value for name, value in headers.items()}.get("authorization", "")
    wanted = b"Basic " + base64.b64encode(f"{user}:{password}".encode())
    return hmac.compare_digest(wanted, given.encode(errors="replace"))


def read_key(key: str) -> bytes:
    try:
        return binascii.unhexlify(key)
    except ValueError:
        raise ValueError("An HMAC key is not hexadecimal.") from None


def text(value: object) -> str:
    """A wire value as short printable text, for matching and for staff."""
    said = value if isinstance(value, str) else "" if value is None else str(value)
    return "".join(char for char in said[:255] if char.isprintable())
