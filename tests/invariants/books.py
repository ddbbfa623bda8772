"""The books as they are at one moment, and the word for what must not be."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from django.apps import apps
from django.db.models import Model

from django_gatewaypay.models import Callback, Capture, Fulfilment, Refund, Transaction, TransactionEvent

__all__ = ["Books", "Violation", "hold"]


class Violation(AssertionError):
    """An invariant of reliability.md, list A, does not hold.

    Args:
        number: which one.
        what: who broke it, and how.
    """

    def __init__(self, number: int, what: str) -> None:
        super().__init__(f"invariant {number}: {what}")
        self.number = number


def hold(number: int, holds: object, what: str) -> None:
    """Raise a Violation unless `holds`."""
    if not holds:
        raise Violation(number, what)


@dataclass(frozen=True)
class Books:
    """Every row of ours, and the host's orders, read in seven queries or less."""

    transactions: dict[UUID, Transaction]
    ledger: dict[UUID, list[TransactionEvent]]
    callbacks: dict[UUID, Callback]
    fulfilments: dict[int, Fulfilment]
    refunds: dict[UUID, Refund]
    captures: dict[UUID, Capture]
    orders: dict[str, Any]

    @classmethod
    def read(cls, known: "Books | None" = None, written: Collection[str] = ()) -> Self:
        """The books as they are now. The host's orders are those of the installed app with the label "shop".

        Args:
            known: an earlier reading, which still holds but for the tables that are named in `written`.
        """
        order = apps.get_model("shop", "Order")

        def take(name: str, read: Callable[[], dict[Any, Any]], *models: type[Model]) -> dict[Any, Any]:
            kept = known and not any(model._meta.db_table in written for model in models)
            return getattr(known, name) if kept else read()

        return cls(
            take("transactions", lambda: by_key(Transaction), Transaction),
            take("ledger", read_ledger, Transaction, TransactionEvent),
            take("callbacks", lambda: by_key(Callback), Callback),
            take("fulfilments", lambda: by_key(Fulfilment), Fulfilment),
            take("refunds", lambda: by_key(Refund), Refund),
            take("captures", lambda: by_key(Capture), Capture),
            take("orders", lambda: {str(pk): row for pk, row in by_key(order).items()}, order),
        )

    def find(self, transaction_id: str) -> Transaction | None:
        """The transaction that a text names, if it is one of ours."""
        try:
            return self.transactions.get(UUID(transaction_id))
        except ValueError:
            return None

    def rows(self) -> Iterator[tuple[Transaction, list[TransactionEvent]]]:
        """Every transaction with its ledger."""
        for pk, row in self.transactions.items():
            yield row, self.ledger[pk]

    def movements(self) -> Iterator[Refund | Capture]:
        """Every refund and every capture."""
        yield from self.refunds.values()
        yield from self.captures.values()

    def values(self) -> dict[str, list[dict[str, Any]]]:
        """Every column of every row of the package."""
        events = [event for ledger in self.ledger.values() for event in ledger]
        tables = {
            "transactions": list(self.transactions.values()),
            "ledger": events,
            "inbox": list(self.callbacks.values()),
            "outbox": list(self.fulfilments.values()),
            "refunds": list(self.refunds.values()),
            "captures": list(self.captures.values()),
        }
        return {name: [columns(row) for row in rows] for name, rows in tables.items()}


def by_key(model: Any) -> dict[Any, Any]:
    """Every row of a table."""
    return {row.pk: row for row in model._default_manager.all()}


def read_ledger() -> dict[UUID, list[TransactionEvent]]:
    """The lines of each transaction, oldest first."""
    ledger: dict[UUID, list[TransactionEvent]] = {pk: [] for pk in Transaction.objects.values_list("pk", flat=True)}
    for event in TransactionEvent.objects.order_by("pk"):
        ledger.setdefault(event.transaction_id, []).append(event)
    return ledger


def columns(row: Any) -> dict[str, Any]:
    """A row's values by column."""
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
