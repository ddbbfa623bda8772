"""Reads what a customer of the pretend gateway sends, and refuses what is wrong by name."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone

from ..conf import settings
from ..money import InvalidAmount, parse_amount, to_minor

__all__ = [
    "Refused",
    "origin_of",
    "read_capture",
    "read_key",
    "read_refund",
    "read_session",
    "read_window",
    "write_time",
]

VISIBLE_ASCII = re.compile(r"[!-~]{1,255}", re.ASCII)
# No space, quote, backslash or control character: such a URL may also stand in a header.
SAFE_URL = re.compile(r"https?://[!#-&(-\[\]-~]{1,1900}", re.ASCII)
SAFE_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", re.ASCII)
PLACE = re.compile(r"[0-9]{0,18}", re.ASCII)
MAX_MINOR = 10**15
FAR = timedelta(days=366)


class Refused(Exception):
    """The request is wrong; `code` says where."""

    def __init__(self, code: str, status: int = 422) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


def read_key(value: str | None) -> str:
    """The Idempotency-Key header.

    Raises:
        Refused: it is missing or unusable.
    """
    if not value or not VISIBLE_ASCII.fullmatch(value):
        raise Refused("idempotency_key")
    return value


def read_session(body: bytes) -> dict[str, Any]:
    """The fields of a new payment, from the JSON body of `create-session`.

    Raises:
        Refused: something is missing or wrong.
    """
    data = _read_object(body)
    amount, currency = _read_amount(data)
    fields = {
        "amount_minor": amount,
        "reported_minor": amount,
        "currency": currency,
        "callback_url": _read_callback_url(data.get("callback_url")),
        "return_url": _read_url("return_url", data.get("return_url")),
        "transaction_id": _read_text("transaction_id", data.get("transaction_id")),
        "expires_at": _read_time(data.get("expires_at")),
        "order_id": _clean(data.get("order_id")),
        "manual": _read_manual(data.get("capture")),
        "description": _clean(data.get("description")),
    }
    return {**fields, "fingerprint": _fingerprint(fields)}


def read_capture(body: bytes, currency: str) -> dict[str, Any]:
    """The fields of a capture, in the payment's currency.

    Raises:
        Refused: something is missing or wrong.
    """
    data = _read_object(body)
    final = data.get("final", True)
    if not isinstance(final, bool):
        raise Refused("final")
    return {"amount_minor": _read_amount_in(currency, data), "final": final}


def read_refund(body: bytes, currency: str) -> dict[str, Any]:
    """The fields of a refund, in the payment's currency.

    Raises:
        Refused: something is missing or wrong.
    """
    data = _read_object(body)
    return {
        "amount_minor": _read_amount_in(currency, data),
        "refund_id": _clean(data.get("refund_id")),
        "reason": _clean(data.get("reason")),
    }


def read_window(query: Mapping[str, str]) -> tuple[datetime, datetime, int]:
    """From when, until when and after which place the list is wanted.

    Raises:
        Refused: something is missing or wrong.
    """
    after = query.get("after", "")
    if not PLACE.fullmatch(after):
        raise Refused("after")
    return _read_any_time("since", query.get("since")), _read_any_time("until", query.get("until")), int(after or 0)


def write_time(moment: datetime) -> str:
    """A time as the wire writes it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def origin_of(url: str) -> str:
    """The origin of a URL in one spelling, "" when it has none: "https://shop.example", "http://localhost:8000"."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    host = f"[{host}]" if ":" in host else host
    if parts.scheme not in {"http", "https"} or "@" in parts.netloc or not SAFE_HOST.fullmatch(host):
        return ""
    usual = port is None or port == {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" if usual else f"{parts.scheme}://{host}:{port}"


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Refused("malformed")
    return data


def _read_amount(data: dict[str, Any]) -> tuple[int, str]:
    try:
        money = parse_amount(data.get("amount"), data.get("currency"))
        minor = to_minor(money)
    except InvalidAmount as error:
        raise Refused("amount") from error
    if not 0 < minor <= MAX_MINOR:
        raise Refused("amount")
    return minor, money.currency.code


def _read_amount_in(currency: str, data: dict[str, Any]) -> int:
    minor, given = _read_amount(data)
    if given != currency:
        raise Refused("currency")
    return minor


def _read_manual(value: object) -> bool:
    if value is not None and value != "manual":
        raise Refused("capture")
    return value is not None


def _read_url(name: str, value: object) -> str:
    if not isinstance(value, str) or not SAFE_URL.fullmatch(value) or not origin_of(value):
        raise Refused(name)
    return value


def _read_callback_url(value: object) -> str:
    """Only this site is called: a pretend gateway must not become a way into somebody's network."""
    url = _read_url("callback_url", value)
    if origin_of(url) != origin_of(settings.BASE_URL):
        raise Refused("callback_url")
    return url


def _read_text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 255:
        raise Refused(name)
    return value


def _read_time(value: object) -> datetime:
    moment = _read_any_time("expires_at", value)
    if abs(moment - timezone.now()) >= FAR:
        raise Refused("expires_at")
    return moment


def _read_any_time(name: str, value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Refused(name)


def _clean(value: object) -> str:
    """A description is for reading only: what cannot be shown is left out."""
    return "".join(char for char in value if char.isprintable())[:255] if isinstance(value, str) else ""


def _fingerprint(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()
