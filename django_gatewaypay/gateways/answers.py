"""What a gateway's answer says, read without trust: bodies, error codes, how long to wait."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["Explain", "GatewayResponse", "Refusal", "clean_code", "explain_plainly", "read_object", "read_retry_after"]

MAX_RETRY_AFTER = 300


@dataclass(frozen=True)
class GatewayResponse:
    """A gateway's definite answer."""

    status: int
    # Not in its repr, which error pages and traceback mails show.
    data: dict[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Refusal:
    """What a definite 4xx means.

    Args:
        code: the vendor's own code.
        decline_code: in the standard words, when it is a no to the shopper rather than to us.
    """

    code: str = ""
    decline_code: str = ""


#: Reads a vendor's error body: status and JSON object in, what it means out.
Explain = Callable[[int, Mapping[str, Any]], Refusal]


def explain_plainly(status: int, data: Mapping[str, Any]) -> Refusal:
    """402 declines, every other 4xx rejects; the code is `code` or `error`, if it is text."""
    code = data.get("code") or data.get("error")
    return Refusal(code=code if isinstance(code, str) else "", decline_code="declined" if status == 402 else "")


def read_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in a response; {} for an empty one; None when it is something else."""
    if not body.strip():
        return {}
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def clean_code(code: str) -> str:
    """A gateway's own code or id, short and printable, or nothing."""
    return code[:64] if code.isprintable() else ""


def read_retry_after(value: str | None) -> int | None:
    """The seconds in a Retry-After header, number or date, capped at five minutes."""
    if not value:
        return None
    try:
        seconds = int(value) if value.isdigit() else int(parsedate_to_datetime(value).timestamp() - time.time()) + 1
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0), MAX_RETRY_AFTER)
