"""The invariants of a payment (reliability.md, list A) as code: read from the books, or watched as it happens.

    check_books()                             our books alone, at any moment
    books = check_books(gateway, since=books) the gateway's own books too, and what an earlier reading saw
    check_settled(gateway)                    after the faults have stopped and the clocks have run
    with Watch(): ...                         no call leaves inside a database transaction
    with nothing_written(): ...               a forged request writes nothing

`INVARIANTS` says which function or test holds each of the 24.
"""

from django_gatewaypay.testing.gateway_server import GatewayServer

from . import ours
from .books import Books, Violation
from .ours import OURS
from .passing import Watch, check_since, in_transaction, nothing_written
from .table import INVARIANTS
from .theirs import (
    THEIRS,
    GatewayBooks,
    GatewayPayment,
    GivenBack,
    Opening,
    SandboxBooks,
    ServerBooks,
    check_convergence,
)

__all__ = [
    "INVARIANTS",
    "Books",
    "GatewayBooks",
    "GatewayPayment",
    "GivenBack",
    "Opening",
    "SandboxBooks",
    "ServerBooks",
    "Violation",
    "Watch",
    "check_books",
    "check_inbox",
    "check_settled",
    "in_transaction",
    "nothing_written",
]


def check_books(
    gateway: GatewayBooks | GatewayServer | None = None,
    *,
    since: Books | None = None,
    books: Books | None = None,
) -> Books:
    """Hold every invariant that the books show at any moment, also in the middle of a crash.

    Args:
        gateway: its own books are read too.
        since: an earlier reading, which must not have been rewritten.
        books: a reading of now, if there is one.

    Raises:
        Violation: one of them does not hold.
    """
    books = books or Books.read()
    for check in OURS:
        check(books)
    if gateway is not None:
        for told in THEIRS:
            told(books, as_books(gateway))
    if since is not None:
        check_since(since, books)
    return books


def check_settled(gateway: GatewayBooks | GatewayServer | None = None) -> Books:
    """`check_books`, and that all has converged: nothing is stuck, lost or owed.

    Raises:
        Violation: it has not.
    """
    books = check_books(gateway)
    check_convergence(books, None if gateway is None else as_books(gateway))
    return books


def check_inbox() -> None:
    """Nothing that was acknowledged is forgotten."""
    ours.check_inbox(Books.read())


def as_books(gateway: GatewayBooks | GatewayServer) -> GatewayBooks:
    """The books of a gateway, which a `GatewayServer` keeps in its sessions."""
    return ServerBooks(gateway) if isinstance(gateway, GatewayServer) else gateway
