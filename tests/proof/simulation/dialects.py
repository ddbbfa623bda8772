"""How each gateway speaks: what its calls mean in its books, how a session reads, what its callbacks look like.

Written from the vendors' documentation, as the servers of the contract batteries are; the adapters
are not asked.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from .books import Books, Session
from .till import GivenBack, Till

__all__ = ["Answer", "Dialect", "decimal", "event_name", "minor_of"]

Answer = tuple[int, dict[str, Any]]


def decimal(minor: int) -> str:
    """Cents as a decimal text; every currency of this world has two places."""
    return f"{minor // 100}.{minor % 100:02}"


def minor_of(text: str) -> int:
    """The reverse of `decimal`."""
    whole, _, part = text.partition(".")
    return int(whole) * 100 + int(part or "0")


class Dialect(ABC):
    """One gateway's wire.

    Args:
        books: its payment sessions.
        till: what it does after the payment.
    """

    alias: ClassVar[str]
    BACKEND: ClassVar[str]
    OPTIONS: ClassVar[dict[str, Any]]
    content_type = "application/json"
    KEY_TTL: ClassVar[float] = 86400
    #: A refund may come back after it has succeeded, and this is told.
    RETURNS: ClassVar[bool] = True

    def __init__(self, books: Books, till: Till) -> None:
        self.books = books
        self.till = till

    @abstractmethod
    def serve(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Do what a call asks for; the path comes with its query."""

    @abstractmethod
    def messages(self, session: Session, what: str, given: GivenBack | None = None) -> list[tuple[str, bytes]]:
        """The callbacks about something that happened: an id and a body each."""

    @abstractmethod
    def sign(self, event_id: str, body: bytes, unix: int) -> dict[str, str]:
        """The headers that prove a body."""

    def refuse(self, word: str) -> Answer:
        """A definite no."""
        return (402 if word == "declined" else 422), self.no(word)

    def no(self, code: str) -> dict[str, Any]:
        return {"code": code}


def event_name(session: Session, what: str, given: GivenBack | None) -> str:
    """The id of what has happened: the same thing has the same one."""
    about = f"{given.reference}_" if given else ""
    return f"evt_{session.reference}_{about}{what.replace(' ', '_')}_{session.declined + len(session.takings)}"
