"""How Stripe's objects read: https://docs.stripe.com/api. Plain functions, for `stripe`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from moneyed import CurrencyDoesNotExist

from ..exceptions import GatewayRejected
from ..money import InvalidAmount, Money, from_minor, to_minor
from ..types import DisputeState, DisputeUpdate, PaymentUpdate, RefundState, RefundUpdate, State

__all__ = [
    "EXPONENTS",
    "REFUND_REASONS",
    "find_decline",
    "is_older",
    "is_test",
    "object_in",
    "objects_in",
    "read_charge",
    "read_dispute",
    "read_facts",
    "read_intent",
    "read_money",
    "read_refund",
    "read_session",
    "read_time",
    "text",
    "write_amount",
]

# https://docs.stripe.com/currencies (November 2026): two places, but for these.
EXPONENTS: Mapping[str, int] = {
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "JPY": 0, "KMF": 0, "KRW": 0, "MGA": 0, "PYG": 0, "RWF": 0,
    "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0, "BHD": 3, "JOD": 3, "KWD": 3, "OMR": 3, "TND": 3,
    "ISK": 2, "UGX": 2,
}  # fmt: skip

INTENT_STATES: Mapping[str, State] = {
    # After a decline too: the shopper may try again while the session is open.
    "requires_payment_method": State.PENDING,
    "requires_confirmation": State.PENDING,
    "requires_action": State.PENDING,
    "processing": State.PROCESSING,
    "requires_capture": State.AUTHORIZED,
    "succeeded": State.SUCCESS,
    "canceled": State.CANCELED,
}
REFUND_STATES: Mapping[str, RefundState] = {
    "pending": RefundState.SUBMITTED,
    "requires_action": RefundState.SUBMITTED,
    "succeeded": RefundState.SUCCEEDED,
    "failed": RefundState.FAILED,
    "canceled": RefundState.FAILED,
}
# A warning is an inquiry that may become a dispute; closed, it did not. Every other word is open.
DISPUTE_STATES: Mapping[str, DisputeState] = {
    "needs_response": DisputeState.OPEN,
    "warning_needs_response": DisputeState.OPEN,
    "appeal_needs_response": DisputeState.OPEN,
    "under_review": DisputeState.UNDER_REVIEW,
    "warning_under_review": DisputeState.UNDER_REVIEW,
    "appeal_under_review": DisputeState.UNDER_REVIEW,
    "warning_closed": DisputeState.WON,
    "won": DisputeState.WON,
    "lost": DisputeState.LOST,
}
REFUND_REASONS: Sequence[str] = ("duplicate", "fraudulent", "requested_by_customer")
# https://docs.stripe.com/declines/codes (November 2026); every other code is "declined".
DECLINES: Mapping[str, str] = {
    "approve_with_id": "issuer_unavailable", "authentication_required": "authentication_required",
    "call_issuer": "call_issuer", "card_decline_rate_limit_exceeded": "limit_exceeded",
    "card_not_supported": "card_not_supported", "card_velocity_exceeded": "limit_exceeded",
    "currency_not_supported": "currency_not_supported", "expired_card": "expired_card",
    "fraudulent": "fraud_suspected", "incorrect_address": "incorrect_address", "incorrect_cvc": "incorrect_cvc",
    "incorrect_number": "incorrect_number", "incorrect_zip": "incorrect_address",
    "insufficient_funds": "insufficient_funds", "invalid_account": "invalid_account",
    "invalid_cvc": "incorrect_cvc", "invalid_number": "incorrect_number",
    "issuer_not_available": "issuer_unavailable", "lost_card": "lost_or_stolen",
    "merchant_blacklist": "fraud_suspected", "new_account_information_available": "invalid_account",
    "payment_intent_authentication_failure": "authentication_failed", "pickup_card": "lost_or_stolen",
    "pin_try_exceeded": "limit_exceeded", "processing_error": "processing_error",
    "reenter_transaction": "issuer_unavailable", "stolen_card": "lost_or_stolen",
    "try_again_later": "issuer_unavailable", "withdrawal_count_limit_exceeded": "limit_exceeded",
}  # fmt: skip
RAW_FIELDS: Sequence[str] = (
    "object", "id", "status", "payment_status", "payment_intent", "amount", "amount_total", "amount_received",
    "amount_capturable", "amount_captured", "amount_refunded", "currency", "captured", "reason",
    "failure_reason", "cancellation_reason",
)  # fmt: skip


def write_amount(money: Money) -> str:
    """The amount as Stripe writes it.

    Raises:
        GatewayRejected: Stripe cannot take it exactly; it was not called.
    """
    places = EXPONENTS.get(money.currency.code, 2)
    try:
        minor = to_minor(money, {money.currency.code: places})
        # https://docs.stripe.com/currencies: three places end in 0; ISK and UGX have places, but no cents.
        unit = 10 if places == 3 else 100 if money.currency.code in {"ISK", "UGX"} else 1
        if minor <= 0 or minor % unit:
            raise InvalidAmount
    except InvalidAmount as error:
        raise GatewayRejected("Stripe cannot take this amount.", gateway="Stripe", code="amount") from error
    return str(minor)


def read_money(minor: object, currency: object) -> Money | None:
    """What Stripe wrote; None when it cannot be read, which the core holds for review."""
    if type(minor) is not int or abs(minor) >= 10**15 or not isinstance(currency, str):
        return None
    code = currency.upper()
    try:
        return from_minor(minor, code, {code: EXPONENTS.get(code, 2)})
    except CurrencyDoesNotExist:
        return None


def read_facts(found: Mapping[str, Any]) -> PaymentUpdate:
    """What every object of Stripe's tells in the same way."""
    return PaymentUpdate(
        transaction_id=text(object_in(found.get("metadata")).get("transaction_id")),
        payment_reference=_id(found.get("payment_intent")),
        raw={name: _id(found[name]) for name in RAW_FIELDS if found.get(name) is not None},
    )


def read_session(found: Mapping[str, Any]) -> PaymentUpdate:
    """What is true about a session; its PaymentIntent may be expanded."""
    facts = replace(read_facts(found), gateway_reference=text(found.get("id")))
    intent = object_in(found.get("payment_intent"))
    told = read_intent(intent) if intent else PaymentUpdate(payment_reference=facts.payment_reference)
    state = _session_state(found, told.state)
    total = read_money(found.get("amount_total"), found.get("currency")) if state is State.SUCCESS else None
    # The PaymentIntent knows what the money did; the session, whether it can still be paid.
    return replace(
        told,
        transaction_id=facts.transaction_id,
        gateway_reference=facts.gateway_reference,
        state=state,
        captured=told.captured or total,
        raw={**told.raw, **facts.raw},
    )


def read_intent(found: Mapping[str, Any]) -> PaymentUpdate:
    """What is true about a PaymentIntent; it names no session."""
    state = INTENT_STATES.get(text(found.get("status")))
    charge = read_charge(object_in(found.get("latest_charge")))
    error = object_in(found.get("last_payment_error"))
    received = read_money(found.get("amount_received"), found.get("currency"))
    return replace(
        read_facts(found),
        payment_reference=_id(found),
        state=state,
        # Of an authorization that is captured in parts, some has been received already.
        captured=received if state is State.SUCCESS else received or None,
        authorized=_reserved(found) if state is State.AUTHORIZED else None,
        refunded=charge.refunded,
        flags=charge.flags,
        decline_code=find_decline(error) if error and state is not State.SUCCESS else "",
    )


def _reserved(found: Mapping[str, Any]) -> Money | None:
    """What was reserved in all: what can be captured yet, and what has been."""
    left, taken = found.get("amount_capturable"), found.get("amount_received") or 0
    return read_money(left + taken, found.get("currency")) if type(left) is int and type(taken) is int else None


def read_charge(found: Mapping[str, Any]) -> PaymentUpdate:
    """What is true about a charge; it names no session."""
    disputed = frozenset({"disputed"}) if found.get("disputed") is True else frozenset[str]()
    facts = replace(read_facts(found), flags=disputed)
    # Letting an authorization go reads as "refunded" too, though no money ever moved.
    if found.get("captured") is not True or found.get("status") != "succeeded":
        return facts
    taken, whole = found.get("amount_captured"), found.get("amount")
    # What a capture in part lets go may read as "refunded" as well: then only the single refunds tell.
    known = found.get("amount_refunded") if taken == whole or whole is None else None
    return replace(
        facts,
        state=State.SUCCESS,
        captured=read_money(taken, found.get("currency")),
        refunded=read_money(known, found.get("currency")) or None,
    )


def read_refund(found: Mapping[str, Any]) -> RefundUpdate:
    """What became of a refund."""
    return RefundUpdate(
        refund_reference=text(found.get("id")),
        state=REFUND_STATES.get(text(found.get("status")), RefundState.SUBMITTED),
        amount=read_money(found.get("amount"), found.get("currency")),
        refund_id=text(object_in(found.get("metadata")).get("refund_id")),
        reason=text(found.get("failure_reason")),
    )


def read_dispute(found: Mapping[str, Any]) -> DisputeUpdate | None:
    """Where a dispute stands; None where it has no id."""
    reference = text(found.get("id"))
    if not reference:
        return None
    return DisputeUpdate(
        dispute_reference=reference,
        state=DISPUTE_STATES.get(text(found.get("status")), DisputeState.OPEN),
        amount=read_money(found.get("amount"), found.get("currency")),
        # 0, where the bank takes no answer.
        due_at=read_time(object_in(found.get("evidence_details")).get("due_by") or None),
        reason=text(found.get("reason")),
    )


def find_decline(error: Mapping[str, Any]) -> str:
    """Why not, in the standard words."""
    told = DECLINES.get(text(error.get("decline_code"))) or DECLINES.get(text(error.get("code")))
    return told or "declined"


def _session_state(session: Mapping[str, Any], intent: State | None) -> State | None:
    status, paid = text(session.get("status")), text(session.get("payment_status"))
    if status not in {"open", "complete", "expired"} or paid not in {"paid", "unpaid"}:
        return None
    if intent in {State.SUCCESS, State.AUTHORIZED}:
        return intent
    if paid == "paid":
        return State.SUCCESS
    if status != "complete":
        return State.PENDING if status == "open" else State.EXPIRED
    # Done, but not paid: a delayed method is on its way, or it has failed and cannot be tried again.
    return State.FAILED if intent is State.PENDING else intent or State.PROCESSING


def _id(value: object) -> str:
    """The id of an object, which may be expanded."""
    return text(value.get("id") if isinstance(value, Mapping) else value)


def object_in(value: object) -> Mapping[str, Any]:
    """An object, or an empty one where there is something else."""
    return value if isinstance(value, Mapping) else {}


def objects_in(value: object) -> list[Mapping[str, Any]] | None:
    """The objects of a list; None where there is something else."""
    return [object_in(one) for one in value] if isinstance(value, list) else None


def is_test(found: Mapping[str, Any]) -> bool | None:
    """Whether an object or event is about play money; None where it does not say."""
    live = found.get("livemode")
    return not live if isinstance(live, bool) else None


def read_time(value: object) -> datetime | None:
    """The time behind Unix seconds; None where there is something else."""
    return datetime.fromtimestamp(value, UTC) if type(value) is int and 0 <= value < 10**11 else None


def is_older(found: Mapping[str, Any], moment: datetime) -> bool:
    """Whether an object was made before `moment`."""
    created = found.get("created")
    return isinstance(created, int) and created < int(moment.timestamp())


def text(value: object) -> str:
    """A wire value as short printable text, for matching and for staff."""
    found = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    return "".join(char for char in found[:255] if char.isprintable())
