"""What shoppers and front ends send and read."""

from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from ..conf import settings
from ..models import Transaction
from ..services.sessions import public_url
from .strict import StrictSerializer, timestamp

__all__ = [
    "InitiateSerializer",
    "allowed_origins",
    "initiated",
    "is_allowed_return",
    "public_status",
    "websocket_path",
]

WEBSOCKET_PATH = "/ws/payments/{id}/"


class InitiateSerializer(StrictSerializer):
    """`POST initiate/`. The price is the host's to say: any other field is refused by name."""

    order_id = serializers.CharField(max_length=128)
    gateway = serializers.CharField(max_length=64, required=False, allow_blank=True, default="")
    return_url = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")

    def validate_return_url(self, value: str) -> str:
        if value and not is_allowed_return(value):
            raise serializers.ValidationError(_("This address is not one that a payment may return to."))
        return value


def is_allowed_return(url: str) -> bool:
    """Whether a shopper may be led to `url`: a path of ours, or an origin that the host has named."""
    if not url.isascii() or not url.isprintable() or any(char in url for char in "\\ @"):
        return False
    try:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        return False
    if not parts.scheme and not parts.netloc:
        return url.startswith("/") and not url.startswith("//")
    return origin in allowed_origins()


def allowed_origins() -> set[str]:
    """The origins that belong to the host: its own, and those it has named."""
    return {origin_of(url) for url in (settings.BASE_URL, *settings.RETURN_ORIGINS)}


def origin_of(url: str) -> str:
    """scheme://host:port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def websocket_path(row: Transaction) -> str:
    """Where the live socket of a transaction is, on any origin of the host."""
    return WEBSOCKET_PATH.format(id=row.pk)


def public_status(row: Transaction) -> dict[str, Any]:
    """What the owner of a transaction may read at any time."""
    return {
        "id": str(row.pk),
        "order_id": row.order_id,
        "gateway": row.gateway,
        "amount": row.amount_text,
        "currency": row.currency,
        "status": str(row.status),
        "state": str(row.state),
        "reason": row.shopper_reason,
        "late": row.late,
        "version": row.version,
        "expires_at": timestamp(row.expires_at),
        "status_url": public_url("status", row.pk),
        "websocket_url": settings.BASE_URL.rstrip("/").replace("http", "ws", 1) + websocket_path(row),
    }


def initiated(row: Transaction, token: str) -> dict[str, Any]:
    """The answer to an initiation: the status, and the secrets that go with it."""
    action = row.next_action or {}
    return {
        **public_status(row),
        "payment_url": action.get("url") if action.get("method") == "GET" else None,
        "next_action": row.next_action,
        "token": token,
    }
