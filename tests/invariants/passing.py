"""What only a sequence or a process shows: two readings of the books compared, and calls watched as they go out."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self
from unittest.mock import patch

import requests
from django.db import connections

from django_gatewaypay import announcer

from .books import Books, columns, hold

__all__ = ["Watch", "check_since", "in_transaction", "nothing_written"]

FIXED = (
    "order_id", "gateway", "amount_minor", "currency", "created_at", "token_hash", "owner_key", "idempotency_key",
    "fingerprint", "return_url",
)  # fmt: skip
ONCE = ("gateway_reference", "payment_reference")
CALLBACK_FIXED = ("gateway", "event_id", "update", "body_sha256", "received_at")


def check_since(before: Books, now: Books) -> None:
    """3, 4, 5, 8, 9 and 10: what was final, written or taken in at an earlier reading is so still."""
    for pk, old in before.transactions.items():
        row = now.transactions.get(pk)
        hold(4, row and row.version >= old.version, f"{pk} is gone or went back")
        hold(3, old.state != "success" or row.state == "success", f"{pk} left success")
        for name in FIXED:
            hold(5, getattr(old, name) == getattr(row, name), f"{pk}: {name} changed")
        for name in ONCE:
            hold(5, getattr(old, name) in {"", getattr(row, name)}, f"{pk}: {name} changed")
        kept = [columns(event) for event in now.ledger[pk][: len(before.ledger[pk])]]
        hold(4, kept == [columns(event) for event in before.ledger[pk]], f"{pk}: the ledger was rewritten")
    for pk, old in before.callbacks.items():
        row = now.callbacks.get(pk)
        same = row and all(getattr(old, name) == getattr(row, name) for name in CALLBACK_FIXED)
        hold(10, same, f"callback {old} was lost or rewritten")
        hold(10, old.state != "processed" or row.state == "processed", f"callback {old} was undone")
    for pk, old in before.fulfilments.items():
        row = now.fulfilments.get(pk)
        hold(9, row and row.key == old.key, f"{old} was lost or rewritten")
        hold(8, old.state != "done" or row.state == "done", f"{old} is owed again")


@contextmanager
def nothing_written() -> Iterator[None]:
    """2: what happens inside writes no row of transactions, ledger, inbox and outbox."""
    before = Books.read().values()
    yield
    after = Books.read().values()
    for name, rows in before.items():
        hold(2, rows == after[name], f"{name} changed")


def in_transaction() -> bool:
    """Whether this thread is inside a database transaction that is not only a test's wrapping."""
    blocks = [block for connection in connections.all(initialized_only=True) for block in connection.atomic_blocks]
    return any(not block._from_testcase for block in blocks)


class Watch:
    """15: while it is installed, no HTTP call and no nudge leaves this process inside a database transaction.

    The host's hook runs in a transaction of its own by decision (docs/adr/0001), and is not watched.

    Args:
        calls: how many calls of each kind were seen, so that a test can tell that it saw any.
    """

    def __init__(self) -> None:
        self.calls = {"http": 0, "nudge": 0}
        self.caught: list[str] = []
        self._patches = ExitStack()

    def __enter__(self) -> Self:
        self._watch(requests.Session, "send", "http")
        self._watch(announcer, "_send", "nudge")
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()
        hold(15, not self.caught, f"inside a database transaction: {self.caught}")

    def _watch(self, place: Any, name: str, kind: str) -> None:
        real = getattr(place, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            self.see(kind, str(args[1]))
            return real(*args, **kwargs)

        self._patches.enter_context(patch.object(place, name, watched))

    def see(self, kind: str, what: str) -> None:
        """Count a call; remember one that is made inside a transaction."""
        self.calls[kind] += 1
        if in_transaction():
            self.caught.append(f"{kind} {what}")
