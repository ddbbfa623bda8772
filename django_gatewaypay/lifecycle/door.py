"""The door itself: read, decide, and write with a compare-and-set in one commit."""

import logging
import random
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from .. import dispatch, schedule
from ..exceptions import InvalidTransition
from ..models import Callback, Fulfilment, Transaction, TransactionEvent, insert, update_where
from ..types import PaymentSession, PaymentUpdate, Source, State
from .decision import NO_VERDICT, Decision, Facts, Kind, Verdict, decide
from .late import Overtaken, give_back, late_policy
from .reading import read_row, suffices

__all__ = ["Outcome", "apply_update"]

logger = logging.getLogger("gatewaypay.transition")

MAX_RACES = 60
#: What is written only over the version that it was decided upon.
COMPARED = frozenset({Kind.MOVED, Kind.AMENDED})


@dataclass(frozen=True)
class Outcome:
    """What the door did.

    Args:
        transaction: the row as it is now.
        moved: its state changed.
    """

    transaction: Transaction
    decision: Decision
    moved: bool


def apply_update(
    transaction_id: uuid.UUID,
    update: PaymentUpdate,
    *,
    source: Source,
    local: bool = False,
    session: PaymentSession | None = None,
    callback: Callback | None = None,
    actor: Any = None,
    flags: Iterable[str] = (),
    verdict: Verdict = NO_VERDICT,
    note: str = "",
    known: Transaction | None = None,
) -> Outcome:
    """The door: make of a transaction what `update` says, once, whoever else is trying.

    Args:
        source: which trigger brought the update.
        local: the update is our own conclusion, not the gateway's word.
        session: the session that the gateway opened; its way to the payment page is kept.
        callback: the inbox row behind the update; it is marked processed in the same commit.
        actor: the user who asked for it.
        flags: attention codes to raise.
        verdict: what `actor` has decided about it.
        note: why, in words, for the ledger.
        known: the row as somebody has read it; it saves a look where it says enough, and is still so.

    Raises:
        Transaction.DoesNotExist: there is no such transaction.
        InvalidTransition: too many others changed the row at the same time.
    """
    entry = Entry(update, source, session, callback, actor, verdict, note)
    if known is not None and not suffices(known, update, verdict):
        known = None
    for race in range(MAX_RACES):
        row = known or _read(transaction_id, update, verdict)
        late_payment, why_not = late_policy(row)
        told = _name_the_end(row, update)
        decision = decide(_facts_of(row), told, local=local, late_payment=late_payment, flags=flags, verdict=verdict)
        said = entry
        if why_not and decision.facts.state is State.SUCCESS:
            said = replace(entry, note=" · ".join(filter(None, (note, why_not))))
        if session and not row.next_action and decision.kind is not Kind.MOVED:
            decision = replace(decision, kind=Kind.AMENDED)
        if decision.kind is Kind.NOTED and source is not Source.CALLBACK:
            decision = replace(decision, kind=None)
        if decision.kind is None and note and actor is not None and verdict == NO_VERDICT:
            decision = replace(decision, kind=Kind.NOTED)  # that somebody asked, and why, is kept
        stale, known = known is not None and decision.kind not in COMPARED, None
        if stale:
            continue  # nothing would be compared at the write: it is decided upon what is so now
        if said.write(row, decision):
            return Outcome(row, decision, moved=decision.kind is Kind.MOVED)
        time.sleep(random.uniform(0, 0.002 * (race + 1)))  # noqa: S311 - spreads rivals, guards nothing
    raise InvalidTransition("Too many changes at once; try again.")


@dataclass(frozen=True)
class Entry:
    """What goes into the books for one update."""

    update: PaymentUpdate
    source: Source
    session: PaymentSession | None
    callback: Callback | None
    actor: Any
    verdict: Verdict
    note: str

    def write(self, row: Transaction, decision: Decision) -> bool:
        """One commit: row, ledger, outbox, inbox. False when somebody else changed the row first."""
        before, flags = row.state, row.attention_codes
        try:
            with transaction.atomic():
                if decision.kind in COMPARED and not self._write_row(row, decision):
                    return False
                if decision.kind:
                    self._write_event(row, decision.kind, before, flags, decision.note)
                owed = self._write_owed(row, decision) if decision.owed else None
                if decision.give_back:
                    give_back(row, before)
                if self.callback:
                    _mark_processed(self.callback, row)
                if decision.kind in COMPARED:
                    # No partials: Django 5.2 asks a callback that failed for its __qualname__, and falls over.
                    transaction.on_commit(lambda: _log(row, before, flags, self.source), robust=True)
                    transaction.on_commit(lambda: _settle(row, before, owed), robust=True)
        # Another transaction of this order earned the fulfilment first, or the same version was written.
        except (IntegrityError, Overtaken):
            return False
        return True

    def _write_row(self, row: Transaction, decision: Decision) -> bool:
        changes = self._changes(row, decision)
        if not update_where(Transaction, {"id": row.pk, "version": row.version}, changes):
            return False
        for name, value in changes.items():
            setattr(row, name, value)
        return True

    def _changes(self, row: Transaction, decision: Decision) -> dict[str, Any]:
        facts = decision.facts
        told: dict[str, Any] = {
            "state": facts.state,
            "reason": facts.reason,
            "late": facts.late,
            "attention": " ".join(sorted(facts.attention)),
            "captured_minor": facts.captured,
            "authorized_minor": facts.authorized,
            "refunded_minor": facts.refunded,
            "gateway_reference": facts.gateway_reference,
            "payment_reference": facts.payment_reference,
            "agreed_minor": facts.agreed,
        }
        changes = {name: new for name, new in told.items() if new != getattr(row, name)}
        changes |= {"version": row.version + 1, "updated_at": timezone.now()}
        if self.session and not row.next_action:
            changes["next_action"] = self.session.next_action.as_dict()
        if decision.kind is Kind.MOVED:
            # Claims and polls count no version, so that these may be other than they were read.
            changes |= {"claimed_until": None, "poll_attempts": 0, "next_poll_at": _due(row, facts.state)}
        return changes

    def _write_event(self, row: Transaction, kind: Kind, before: str, flags: frozenset[str], note: str) -> None:
        event = TransactionEvent.of(
            row, kind, source=self.source, actor=self.actor, callback=self.callback, note=self.note or note
        )
        event.from_state, event.evidence = before, evidence(self.update) | self._agreement(row, flags)
        insert(event)

    def _agreement(self, row: Transaction, flags: frozenset[str]) -> dict[str, Any]:
        """What a person has said: the total that counts as the whole, and the flags that are dealt with."""
        resolved = sorted((flags & self.verdict.resolved) - row.attention_codes)
        said = {"agreed_minor": row.agreed_minor, "resolved": resolved}
        return {name: value for name, value in said.items() if value}

    def _write_owed(self, row: Transaction, decision: Decision) -> Fulfilment:
        kind = Fulfilment.Kind(decision.owed or Fulfilment.Kind.FULFIL)
        key = f"fulfil:{row.order_id}" if kind is Fulfilment.Kind.FULFIL else f"release:{row.pk}"
        now = timezone.now()
        owed = Fulfilment(
            key=key, kind=kind, order_id=row.order_id, transaction=row, created_at=now, next_attempt_at=now
        )
        insert(owed)
        return owed


def _settle(row: Transaction, before: str, owed: Fulfilment | None) -> None:
    dispatch.settle(row.pk, State(before), State(row.state), owed)


def _mark_processed(callback: Callback, row: Transaction) -> None:
    done = {
        "state": Callback.State.PROCESSED,
        "transaction_id": row.pk,
        "processed_at": timezone.now(),
        "next_attempt_at": None,
        "last_error": "",
    }
    update_where(Callback, {"id": callback.pk}, done)


def _name_the_end(row: Transaction, update: PaymentUpdate) -> PaymentUpdate:
    """A session that is canceled after its time has expired: the gateway's word echoes our own request.

    The time of an authorization is the gateway's: one that is canceled was let go.
    """
    overdue = update.state is State.CANCELED and row.expires_at <= timezone.now()
    return replace(update, state=State.EXPIRED) if overdue and row.state != State.AUTHORIZED else update


def _due(row: Transaction, state: State) -> Any:
    if state is State.PENDING:
        return schedule.first_poll_at(row.created_at)
    waiting = row.waiting_since is not None
    return schedule.next_poll_at(state, timezone.now(), attempts=0, expires_at=row.expires_at, waiting=waiting)


def _read(transaction_id: uuid.UUID, update: PaymentUpdate, verdict: Verdict) -> Transaction:
    row = read_row(update, verdict, id=transaction_id)
    if row is None:
        raise Transaction.DoesNotExist
    return row


def _facts_of(row: Transaction) -> Facts:
    return Facts(
        state=State(row.state),
        amount=row.amount_minor,
        currency=row.currency,
        captured=row.captured_minor,
        authorized=row.authorized_minor,
        refunded=row.refunded_minor,
        reason=row.reason,
        late=row.late,
        attention=row.attention_codes,
        gateway_reference=row.gateway_reference,
        payment_reference=row.payment_reference,
        order_paid=getattr(row, "order_paid", False),
        paid_too=getattr(row, "paid_too", False),
        replaced=getattr(row, "replaced", False),
        agreed=row.agreed_minor,
    )


def evidence(update: PaymentUpdate) -> dict[str, Any]:
    """What the gateway said, as the ledger keeps it."""
    money = {name: getattr(update, name) for name in ("captured", "authorized", "refunded")}
    said: dict[str, Any] = {
        "state": update.state,
        "gateway_reference": update.gateway_reference,
        "payment_reference": update.payment_reference,
        "event_id": update.event_id,
        "decline_code": update.decline_code,
        **{name: f"{value.amount:f} {value.currency.code}" for name, value in money.items() if value is not None},
        "raw": dict(update.raw),
    }
    return {name: value for name, value in said.items() if value}


def _log(row: Transaction, before: str, flags: frozenset[str], source: Source) -> None:
    if row.state != before:
        logger.info(
            "moved transaction=%s from=%s to=%s source=%s version=%s late=%s",
            row.pk, before, row.state, source, row.version, row.late,
        )  # fmt: skip
    raised = row.attention_codes - flags
    if raised:
        logger.warning("attention transaction=%s codes=%s source=%s", row.pk, ",".join(sorted(raised)), source)
