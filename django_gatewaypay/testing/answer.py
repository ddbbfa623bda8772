"""What a scripted gateway answers: right, wrong, late, half, or nothing at all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["Answer"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One scripted answer.

    Args:
        status: HTTP status.
        body: what is sent.
        headers: besides Content-Length.
        delay: seconds before anything is sent.
        pace: seconds between the single bytes of the body.
        head_pace: seconds between the single bytes of a head that never ends.
        works: do what was asked first; without a body, the true answer is then sent.
        drop: close the connection instead of answering.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0
    pace: float = 0
    head_pace: float = 0
    works: bool = False
    drop: bool = False

    @classmethod
    def json(cls, data: Any, status: int = 200, **details: Any) -> Self:
        """Any JSON value."""
        details.setdefault("headers", {"Content-Type": "application/json"})
        return cls(status=status, body=json.dumps(data).encode(), **details)

    @classmethod
    def html(cls, status: int = 200) -> Self:
        """A page of somebody's proxy."""
        return cls(status=status, body=b"<html><h1>It works</h1></html>", headers={"Content-Type": "text/html"})

    @classmethod
    def error(cls, status: int = 500, code: str = "") -> Self:
        """A failure, by its status; 402 declines, 422 rejects, 5xx say nothing."""
        return cls.json({"code": code or f"e{status}"}, status)

    @classmethod
    def busy(cls, retry_after: str, status: int = 503) -> Self:
        """Come back later."""
        return cls(status=status, headers={"Retry-After": retry_after})

    @classmethod
    def redirect(cls, url: str, status: int = 302) -> Self:
        """Elsewhere."""
        return cls(status=status, headers={"Location": url})

    @classmethod
    def hang(cls, seconds: float) -> Self:
        """Nothing for a while, then the true answer to a call whose work was done at once."""
        return cls(delay=seconds, works=True)

    @classmethod
    def closed(cls) -> Self:
        """The connection ends without an answer, and nothing was done."""
        return cls(drop=True)

    @classmethod
    def lost(cls) -> Self:
        """The work is done, and the answer is lost: a timeout after the effect."""
        return cls(works=True, drop=True)

    @classmethod
    def huge(cls, size: int = 3 * 1024 * 1024) -> Self:
        """A JSON object of about `size` bytes."""
        return cls.json({"filler": "x" * size})

    @classmethod
    def drip_head(cls, pace: float) -> Self:
        """A head without end, one byte every `pace` seconds."""
        return cls(head_pace=pace)

    @classmethod
    def drip(cls, pace: float, data: Any = None) -> Self:
        """A good answer, one byte every `pace` seconds."""
        return cls.json(data or {"filler": "x" * 1000}, pace=pace)
