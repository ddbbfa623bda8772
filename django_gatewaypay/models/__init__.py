"""The books: transactions, their ledger, the callback inbox, the fulfilment outbox, and money that moves afterwards."""

from .comparisons import Comparison
from .disputes import Dispute
from .ledger import TransactionEvent
from .letters import Callback, Fulfilment
from .movements import Capture, Movement, Refund
from .overview import Home
from .statements import find, insert, update_where
from .transactions import Transaction, TransactionQuerySet, shopper_reason

__all__ = [
    "Callback",
    "Capture",
    "Comparison",
    "Dispute",
    "Fulfilment",
    "Home",
    "Movement",
    "Refund",
    "Transaction",
    "TransactionEvent",
    "TransactionQuerySet",
    "find",
    "insert",
    "shopper_reason",
    "update_where",
]
