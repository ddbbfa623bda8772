"""The story of a payment: ledger, inbox and outbox in the order in which things happened, in words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import Callback, Fulfilment, Transaction, TransactionEvent
from .situation import MOST
from .words import who_said

__all__ = ["OPEN_CALLBACKS", "Entry", "timeline"]

OPEN_CALLBACKS = [Callback.State.RECEIVED, Callback.State.UNMATCHED, Callback.State.DEAD]

Kind = TransactionEvent.Kind
TITLES: Mapping[str, Any] = {
    Kind.AMENDED: _("Details changed"),
    Kind.NOTED: _("Noted, nothing changed"),
    Kind.CAPTURE: _("Capture"),
    Kind.REFUND: _("Refund"),
    Kind.DISPUTE: _("Dispute"),
}


@dataclass(frozen=True)
class Entry:
    """One thing that happened.

    Args:
        kind: "event", "callback" or "fulfilment"; of an event also its own kind.
        badges: the states that it went through, from the first to the last, each as it is and as it is called.
        who: who said or did it, and where it came from.
        said: what was said, each with its name; redacted where it was taken in.
    """

    when: datetime
    kind: str
    title: str
    who: list[str]
    badges: list[tuple[str, Any]] = field(default_factory=list)
    detail: str = ""
    late: bool = False
    said: list[tuple[str, str]] = field(default_factory=list)
    letter: Callback | Fulfilment | None = None

    @property
    def name(self) -> str:
        """What the letter is called where it is listed."""
        return getattr(self.letter, "event_id", "") or getattr(self.letter, "key", "")


def timeline(row: Transaction) -> list[Entry]:
    """What happened to a payment; of each kind the newest, where there are too many to read."""
    entries = [*of_ledger(row), *of_inbox(row), *of_outbox(row)]
    return sorted(entries, key=attrgetter("when"))


def of_ledger(row: Transaction) -> Iterator[Entry]:
    newest = row.events.select_related("callback", "actor").order_by("-pk")[:MOST]
    for event in reversed(newest):
        said = dict(event.evidence)
        raw = said.pop("raw", {})
        yield Entry(
            when=event.created_at,
            kind=f"event gwp-event-{event.kind}",
            title=str(TITLES.get(event.kind, "")),
            badges=badges_of(event),
            detail=str(said.get("amount", "")) if event.kind in MOVEMENTS else event.reason,
            late=event.late,
            who=[text for text in (who_said(event), str(event.actor or ""), event.note) if text],
            said=[*pairs(said), *pairs(raw, "raw ")],
            letter=event.callback,
        )


MOVEMENTS = frozenset({Kind.CAPTURE, Kind.REFUND, Kind.DISPUTE})


def badges_of(event: TransactionEvent) -> list[tuple[str, Any]]:
    """Where a payment moved, or where its refund, capture or dispute stands."""
    states: tuple[str, ...] = (event.from_state, event.to_state) if event.kind == Kind.MOVED else ()
    if event.kind in MOVEMENTS:
        states = (event.reason,)
    return [(state, state) for state in states if state]


def of_inbox(row: Transaction) -> Iterator[Entry]:
    """What came in and left no line in the ledger; also what names this payment and was not worked on."""
    newest = row.callbacks.filter(events=None).order_by("-received_at")[:MOST]
    for callback in [*newest, *waiting_for(row)]:
        said, is_done = dict(callback.update), callback.state == Callback.State.PROCESSED
        raw = said.pop("raw", {})
        yield Entry(
            when=callback.received_at,
            kind="callback",
            title=gettext("A callback that changed nothing") if is_done else gettext("A callback"),
            badges=[(callback.state, callback.get_state_display())],
            who=[text for text in (gettext("The gateway told us"), callback.last_error) if text],
            said=[*pairs(said), *pairs(raw, "raw ")],
            letter=callback,
        )


def waiting_for(row: Transaction) -> QuerySet[Callback]:
    """Callbacks that name a payment without being its own: nobody has worked on them yet."""
    names_it = Q(transaction_ref__in=[str(row.pk), row.pk.hex])
    if row.gateway_reference:
        names_it |= Q(gateway_reference=row.gateway_reference)
    unworked = Callback.objects.filter(state__in=OPEN_CALLBACKS, transaction=None, gateway=row.gateway)
    return unworked.filter(names_it).order_by("-received_at")[:MOST]


def of_outbox(row: Transaction) -> Iterator[Entry]:
    titles = {
        Fulfilment.Kind.FULFIL: gettext("Fulfilment of the order"),
        Fulfilment.Kind.RELEASE: gettext("Giving the stock back"),
    }
    for owed in row.fulfilments.all()[:MOST]:
        attempts = gettext("attempts: %d") % owed.attempts
        yield Entry(
            when=owed.done_at or owed.created_at,
            kind="fulfilment",
            title=titles[Fulfilment.Kind(owed.kind)],
            badges=[(owed.state, owed.get_state_display())],
            who=[text for text in (gettext("Your shop's own code"), attempts, owed.last_error) if text],
            letter=owed,
        )


def pairs(said: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """What was said, each with its name; nothing of what is empty."""
    return [(f"{prefix}{name}", str(value)) for name, value in said.items() if value not in ("", None, [], {})]
