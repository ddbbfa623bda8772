"""The story of a transaction for a program: ledger, inbox and outbox in the order in which things happened."""

from collections.abc import Iterator
from datetime import datetime
from operator import itemgetter
from typing import Any

from ..models import Transaction
from .strict import timestamp

__all__ = ["timeline_of"]

#: Of each kind the newest, where there are too many to read.
MOST = 200
Entry = tuple[datetime, dict[str, Any]]


def timeline_of(row: Transaction) -> list[dict[str, Any]]:
    """What happened, the oldest first."""
    entries = sorted([*_ledger(row), *_inbox(row), *_outbox(row)], key=itemgetter(0))
    return [{"at": timestamp(moment), **said} for moment, said in entries]


def _ledger(row: Transaction) -> Iterator[Entry]:
    events = row.events.select_related("actor").order_by("-pk")[:MOST]
    for event in reversed(events):
        said = {
            "kind": event.kind,
            "from": event.from_state,
            "to": event.to_state,
            "reason": event.reason,
            "attention": sorted(event.attention.split()),
            "source": event.source,
            "actor": event.actor and event.actor.get_username(),
            "note": event.note,
        }
        yield event.created_at, said


def _inbox(row: Transaction) -> Iterator[Entry]:
    """What changed nothing: the rest is in the ledger."""
    for callback in row.callbacks.filter(events=None).order_by("-received_at")[:MOST]:
        said = {"event_id": callback.event_id, "state": callback.state, "error": callback.last_error}
        yield callback.received_at, {"kind": "callback", **said}


def _outbox(row: Transaction) -> Iterator[Entry]:
    for owed in row.fulfilments.all()[:MOST]:
        said = {"owed": owed.kind, "state": owed.state, "attempts": owed.attempts, "error": owed.last_error}
        yield owed.done_at or owed.created_at, {"kind": "fulfilment", **said}
