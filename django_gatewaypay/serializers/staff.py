"""What staff send and read. Amounts are decimal strings beside their currency."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from ..lifecycle import left_to_capture, left_to_refund
from ..models import Capture, Dispute, Movement, Refund, Transaction
from ..money import InvalidAmount, format_minor, parse_amount
from ..services.browsing import Place
from ..services.moments import as_ours, as_theirs
from ..types import RefundStatus, State
from .strict import StrictSerializer, TextField, timestamp
from .timeline import timeline_of

__all__ = [
    "BrowseSerializer",
    "CaptureSerializer",
    "NothingSerializer",
    "ReasonSerializer",
    "RefundSerializer",
    "capture_fields",
    "refund_fields",
    "transaction_details",
    "transaction_fields",
    "write_cursor",
]

CURSOR = re.compile(r"([0-9]{1,17})-([0-9a-f]{32})", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Times that every database and every time zone can tell.
YEARS = range(1971, 2999)
MOST = 200


class NothingSerializer(StrictSerializer):
    """A call without a body."""


class ReasonSerializer(StrictSerializer):
    """`POST transactions/<id>/refresh/` and `cancel/`: why, for who says so."""

    reason = TextField(max_length=255, required=False, allow_blank=True, default="")


class AmountSerializer(StrictSerializer):
    """An amount of the payment's own currency; all that is left when it is left out."""

    amount = TextField(max_length=24, required=False)
    currency = TextField(max_length=3, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        amount, currency = attrs.pop("amount", None), attrs.pop("currency", None)
        if (amount is None) is not (currency is None):
            missing = "currency" if currency is None else "amount"
            raise serializers.ValidationError({missing: [_("An amount and its currency go together.")]})
        return attrs | {"amount": None if amount is None else self._read(amount, currency)}

    def _read(self, amount: str, currency: Any) -> Any:
        try:
            money = parse_amount(amount, currency)
        except InvalidAmount as error:
            raise serializers.ValidationError({"amount": [_("This is no amount of this currency.")]}) from error
        if money.amount <= 0:
            raise serializers.ValidationError({"amount": [_("The amount must be more than nothing.")]})
        return money


class RefundSerializer(AmountSerializer):
    """`POST transactions/<id>/refunds/`."""

    reason = TextField(max_length=255)


class CaptureSerializer(AmountSerializer):
    """`POST transactions/<id>/capture/`."""

    final = serializers.BooleanField(default=True)
    reason = TextField(max_length=255, required=False, allow_blank=True, default="")


class BrowseSerializer(StrictSerializer):
    """The query of `GET transactions/`."""

    order_id = serializers.CharField(max_length=128, required=False)
    gateway = serializers.CharField(max_length=64, required=False)
    state = serializers.ChoiceField([str(state) for state in State], required=False)
    attention = serializers.RegexField(r"\A[a-z_]{1,64}\Z", required=False)
    refund_status = serializers.ChoiceField([str(status) for status in RefundStatus], required=False)
    created_from = serializers.DateTimeField(required=False)
    created_to = serializers.DateTimeField(required=False)
    limit = serializers.IntegerField(min_value=1, max_value=MOST, default=50)
    cursor = serializers.CharField(max_length=64, required=False)

    def validate_created_from(self, value: datetime) -> datetime:
        return self._checked(value)

    def validate_created_to(self, value: datetime) -> datetime:
        return self._checked(value)

    def validate_cursor(self, value: str) -> Place:
        found = CURSOR.fullmatch(value)
        moment = EPOCH + timedelta(microseconds=int(found[1])) if found else None
        if found is None or moment is None or moment.year not in YEARS:
            raise serializers.ValidationError(_("This is no cursor of this list."))
        return as_ours(moment), UUID(found[2])

    def _checked(self, value: datetime) -> datetime:
        if value.year not in YEARS:
            raise serializers.ValidationError(_("This is too far away."))
        return value


def write_cursor(place: Place | None) -> str | None:
    """Where a list goes on, for a client to hand back."""
    if place is None:
        return None
    created_at, pk = place
    return f"{(as_theirs(created_at) - EPOCH) // timedelta(microseconds=1)}-{pk.hex}"


def transaction_fields(row: Transaction) -> dict[str, Any]:
    """A transaction in a list."""
    return {
        "id": str(row.pk),
        "order_id": row.order_id,
        "gateway": row.gateway,
        "description": row.description,
        "amount": row.amount_text,
        "currency": row.currency,
        "status": str(row.status),
        "state": str(row.state),
        "reason": row.reason,
        "late": row.late,
        "attention": sorted(row.attention_codes),
        "version": row.version,
        "authorized": _text(row, row.authorized_minor),
        "captured": _text(row, row.captured_minor),
        "refunded": _text(row, row.given_back_minor),
        "refund_status": str(row.refund_status),
        "manual_capture": row.manual_capture,
        "gateway_reference": row.gateway_reference,
        "payment_reference": row.payment_reference,
        "created_at": timestamp(row.created_at),
        "updated_at": timestamp(row.updated_at),
        "expires_at": timestamp(row.expires_at),
    }


def transaction_details(row: Transaction) -> dict[str, Any]:
    """A transaction by itself, with all that happened to it."""
    return {
        **transaction_fields(row),
        "left_to_capture": _text(row, left_to_capture(row) if row.state == State.AUTHORIZED else 0),
        "left_to_refund": _text(row, left_to_refund(row)),
        "agreed": None if row.agreed_minor is None else _text(row, row.agreed_minor),
        "user": None if row.user_id is None else str(row.user_id),
        "next_poll_at": row.next_poll_at and timestamp(row.next_poll_at),
        "captures": [capture_fields(one) for one in row.captures.select_related("transaction", "actor")],
        "refunds": [refund_fields(one) for one in row.refunds.select_related("transaction", "actor", "approver")],
        "disputes": [_dispute_fields(one) for one in row.disputes.all()],
        "timeline": timeline_of(row),
    }


def capture_fields(row: Capture) -> dict[str, Any]:
    """A capture."""
    return {**_movement_fields(row), "final": row.final}


def refund_fields(row: Refund) -> dict[str, Any]:
    """A refund."""
    return {
        **_movement_fields(row),
        "foreign": row.foreign,
        "waits_for_approval": row.waits_for_approval,
        "approver": row.approver and row.approver.get_username(),
    }


def _movement_fields(row: Movement) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "transaction_id": str(row.transaction_id),
        "amount": row.amount_text,
        "currency": row.transaction.currency,
        "state": str(row.state),
        "reason": row.reason,
        "error": row.last_error,
        "gateway_reference": row.gateway_reference,
        "actor": row.actor and row.actor.get_username(),
        "version": row.version,
        "created_at": timestamp(row.created_at),
        "updated_at": timestamp(row.updated_at),
    }


def _dispute_fields(row: Dispute) -> dict[str, Any]:
    return {
        "gateway_reference": row.gateway_reference,
        "state": str(row.state),
        "amount": row.amount_text or None,
        "currency": row.currency or None,
        "reason": row.reason,
        "due_at": row.due_at and timestamp(row.due_at),
        "opened_at": timestamp(row.opened_at),
        "updated_at": timestamp(row.updated_at),
    }


def _text(row: Transaction, minor: int) -> str:
    return format_minor(minor, row.currency)
