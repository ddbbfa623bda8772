"""The one door. Nothing else changes what a transaction is.

`decide` is pure: facts and an update in, a decision out. It only ever climbs a fixed ladder of ranks
and only ever raises totals, so duplicates and disorder end where order would have ended.
`apply_update` reads, decides and writes with a compare-and-set, together with one ledger row and what
the host is then owed.
"""

import logging
import random
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from moneyed import Money

from . import dispatch, schedule
from .conf import settings
from .exceptions import InvalidTransition
from .models import Callback, Fulfilment, Transaction, TransactionEvent
from .money import InvalidAmount, to_minor
from .types import CLOSED_STATES, OPEN_STATES, PaymentSession, PaymentUpdate, Source, State

__all__ = ["TRANSITIONS", "Decision", "Facts", "Outcome", "apply_update", "decide"]

logger = logging.getLogger("gatewaypay.transition")

#: Every legal move: up the ladder. Money that arrives late climbs past the closed states.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    state: frozenset(other for other in State if other.rank > state.rank) for state in State
}
#: Moves that we may make on our own word. Anything else needs the gateway's.
LOCAL_MOVES: Mapping[State, frozenset[State]] = {
    State.CREATED: CLOSED_STATES,
    State.PENDING: frozenset({State.EXPIRED, State.CANCELED, State.HELD}),
}
TAKEN_STATES = frozenset({State.HELD, State.SUCCESS})
MAX_RACES = 60

Kind = TransactionEvent.Kind


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about a transaction before an update. Amounts are minor units.

    Args:
        order_paid: another transaction has already earned the order's fulfilment.
        replaced: a newer transaction of the same order exists.
    """

    state: State
    amount: int
    currency: str
    captured: int = 0
    authorized: int = 0
    refunded: int = 0
    reason: str = ""
    late: bool = False
    attention: frozenset[str] = frozenset()
    gateway_reference: str = ""
    payment_reference: str = ""
    order_paid: bool = False
    replaced: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What an update does to a transaction.

    Args:
        kind: None when there is nothing to write; NOTED when only the ledger is.
        owed: what the host is owed because of this move.
        release_authorization: funds are reserved for nothing and must be let go at the gateway.
    """

    facts: Facts
    kind: Kind | None
    owed: Fulfilment.Kind | None = None
    release_authorization: bool = False
    note: str = ""


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


def decide(
    facts: Facts,
    update: PaymentUpdate,
    *,
    local: bool = False,
    late_payment: str = "review",
    flags: Iterable[str] = (),
) -> Decision:
    """What `update` makes of `facts`. Pure, and in the end independent of order.

    Args:
        local: the update is our own conclusion (expiry, cancel), not the gateway's word.
        late_payment: "fulfil" lets a late success fulfil its order without staff.
        flags: attention codes to raise besides those that follow from the update.
    """
    if _is_foreign(facts, update):
        return _decide_foreign(facts, update)
    after, mismatch = _merge_money(facts, update)
    after = replace(
        after,
        gateway_reference=facts.gateway_reference or update.gateway_reference,
        payment_reference=facts.payment_reference or update.payment_reference,
        attention=facts.attention | frozenset(flags),
    )
    target = _target(after, update, mismatch)
    legal = LOCAL_MOVES.get(facts.state, frozenset()) if local else TRANSITIONS[facts.state]
    stray_authorization = update.state is State.AUTHORIZED and facts.state in CLOSED_STATES
    if mismatch:
        after = replace(after, attention=after.attention | {"mismatch"})
    if stray_authorization:
        after = replace(after, attention=after.attention | {"late"})
    if target in legal:
        return _decide_move(facts, after, target, mismatch or update.decline_code, late_payment)
    return Decision(
        facts=after,
        kind=_kind_without_move(facts, after, update),
        release_authorization=stray_authorization,
        note=f"ignored {update.state}" if update.state and update.state is not facts.state else "",
    )


def _is_foreign(facts: Facts, update: PaymentUpdate) -> bool:
    """It names this transaction, but another session than the one that we opened."""
    known, named = facts.gateway_reference, update.gateway_reference
    return bool(known and named and known != named)


def _decide_foreign(facts: Facts, update: PaymentUpdate) -> Decision:
    if not (update.captured or update.state in TAKEN_STATES or update.state is State.AUTHORIZED):
        return Decision(facts=facts, kind=Kind.NOTED, note=f"ignored {update.state} of another session")
    after = replace(facts, attention=facts.attention | {"mismatch"})
    if State.HELD in TRANSITIONS[facts.state]:
        return _decide_move(facts, after, State.HELD, "reference_mismatch", "review")
    kind = Kind.AMENDED if after != facts else Kind.NOTED
    return Decision(facts=after, kind=kind, note="money on another session")


def _merge_money(facts: Facts, update: PaymentUpdate) -> tuple[Facts, str]:
    """Totals only rise. Also why the update's money is not what we asked for, or nothing."""
    mismatch = ""
    totals = {"captured": facts.captured, "authorized": facts.authorized, "refunded": facts.refunded}
    for name, known in totals.items():
        money: Money | None = getattr(update, name)
        if money is None:
            continue
        minor = _minor_in(facts.currency, money)
        if minor is not None:
            totals[name] = max(known, minor)
        elif money.currency.code != facts.currency:
            mismatch = "currency_mismatch"
    paid_in_full = update.captured is not None and _minor_in(facts.currency, update.captured) == facts.amount
    wrong_total = totals["captured"] > facts.amount or (update.state is State.SUCCESS and not paid_in_full)
    merged = replace(facts, captured=totals["captured"], authorized=totals["authorized"], refunded=totals["refunded"])
    return merged, mismatch or ("amount_mismatch" if wrong_total else "")


def _minor_in(currency: str, money: Money) -> int | None:
    """The amount in minor units; None when it is another currency or no amount of this one."""
    if money.currency.code != currency:
        return None
    try:
        return to_minor(money)
    except InvalidAmount:
        return None


def _target(after: Facts, update: PaymentUpdate, mismatch: str) -> State:
    """The state that the update asks for, given everything that is known by now."""
    wanted = update.state or after.state
    in_full = update.captured is not None and _minor_in(after.currency, update.captured) == after.amount
    if wanted is State.SUCCESS:
        return State.SUCCESS if in_full else State.HELD
    foreign_money = mismatch == "currency_mismatch" and bool(update.captured)
    # Money that was taken is never told as a failure.
    told_as_failure = after.captured and max(wanted, after.state, key=lambda state: state.rank) in CLOSED_STATES
    return State.HELD if foreign_money or told_as_failure else wanted


def _decide_move(facts: Facts, after: Facts, target: State, reason: str, late_payment: str) -> Decision:
    late = facts.late or (facts.state in CLOSED_STATES and target in TAKEN_STATES)
    if target is State.SUCCESS:
        owed, flags = _owed_for_success(facts, late=late, late_payment=late_payment)
        reason = ""
    else:
        flags = frozenset({"mismatch"}) if target is State.HELD else frozenset()
        owed = Fulfilment.Kind.RELEASE if facts.state in OPEN_STATES and target in CLOSED_STATES else None
        reason = reason or ("unexpected_capture" if target is State.HELD else "")
    moved = replace(after, state=target, reason=reason, late=late, attention=after.attention | flags)
    return Decision(facts=moved, kind=Kind.MOVED, owed=owed)


def _owed_for_success(facts: Facts, *, late: bool, late_payment: str) -> tuple[Fulfilment.Kind | None, frozenset[str]]:
    if facts.order_paid or (late and facts.replaced):
        return None, frozenset({"duplicate_payment", "late"} if late else {"duplicate_payment"})
    if late and late_payment != "fulfil":
        return None, frozenset({"late"})
    return Fulfilment.Kind.FULFIL, frozenset()


def _kind_without_move(facts: Facts, after: Facts, update: PaymentUpdate) -> Kind | None:
    if after != facts:
        return Kind.AMENDED
    contradicts = update.state is not None and update.state is not facts.state
    return Kind.NOTED if contradicts else None


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
    note: str = "",
) -> Outcome:
    """The door: make of a transaction what `update` says, once, whoever else is trying.

    Args:
        source: which trigger brought the update.
        local: the update is our own conclusion, not the gateway's word.
        session: the session that the gateway opened; its way to the payment page is kept.
        callback: the inbox row behind the update; it is marked processed in the same commit.
        actor: the user who asked for it.
        flags: attention codes to raise.
        note: why, in words, for the ledger.

    Raises:
        Transaction.DoesNotExist: there is no such transaction.
        InvalidTransition: too many others changed the row at the same time.
    """
    entry = Entry(update, source, session, callback, actor, note)
    for race in range(MAX_RACES):
        row = _read(transaction_id, update)
        facts = _facts_of(row)
        decision = decide(
            facts, _name_the_end(row, update), local=local, late_payment=settings.LATE_PAYMENT, flags=flags
        )
        if session and not row.next_action and decision.kind is not Kind.MOVED:
            decision = replace(decision, kind=Kind.AMENDED)
        if decision.kind is Kind.NOTED and source is not Source.CALLBACK:
            decision = replace(decision, kind=None)
        if entry.write(row, decision):
            _log(row, facts, decision, source)
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
    note: str

    def write(self, row: Transaction, decision: Decision) -> bool:
        """One commit: row, ledger, outbox, inbox. False when somebody else changed the row first."""
        before = row.state
        try:
            with transaction.atomic():
                if decision.kind in {Kind.MOVED, Kind.AMENDED} and not self._write_row(row, decision):
                    return False
                if decision.kind:
                    self._write_event(row, decision.kind, before, self.note or decision.note)
                owed = self._write_owed(row, decision) if decision.owed else None
                if self.callback:
                    self._write_callback(row)
                if decision.kind in {Kind.MOVED, Kind.AMENDED}:
                    after = partial(dispatch.settle, row.pk, State(before), State(row.state), owed)
                    transaction.on_commit(after, robust=True)
        # Another transaction of this order earned the fulfilment first, or the same version was written.
        except IntegrityError:
            return False
        return True

    def _write_row(self, row: Transaction, decision: Decision) -> bool:
        changes = self._changes(row, decision)
        if not Transaction.objects.filter(pk=row.pk, version=row.version).update(**changes):
            return False
        for name, value in changes.items():
            setattr(row, name, value)
        return True

    def _changes(self, row: Transaction, decision: Decision) -> dict[str, Any]:
        facts, now = decision.facts, timezone.now()
        changes: dict[str, Any] = {
            "version": row.version + 1,
            "updated_at": now,
            "state": facts.state,
            "reason": facts.reason,
            "late": facts.late,
            "attention": " ".join(sorted(facts.attention)),
            "captured_minor": facts.captured,
            "authorized_minor": facts.authorized,
            "refunded_minor": facts.refunded,
            "gateway_reference": facts.gateway_reference,
            "payment_reference": facts.payment_reference,
        }
        if self.session and not row.next_action:
            changes["next_action"] = self.session.next_action.as_dict()
        if decision.kind is Kind.MOVED:
            changes |= {"claimed_until": None, "poll_attempts": 0, "next_poll_at": _due(row, facts.state)}
        return changes

    def _write_event(self, row: Transaction, kind: Kind, before: str, note: str) -> None:
        TransactionEvent.objects.create(
            transaction=row,
            kind=kind,
            version=row.version,
            from_state=before,
            to_state=row.state,
            reason=row.reason,
            late=row.late,
            attention=row.attention,
            captured_minor=row.captured_minor,
            authorized_minor=row.authorized_minor,
            refunded_minor=row.refunded_minor,
            source=self.source,
            evidence=evidence(self.update),
            note=note[:255],
            callback=self.callback,
            actor=self.actor,
            created_at=timezone.now(),
        )

    def _write_owed(self, row: Transaction, decision: Decision) -> int:
        kind = Fulfilment.Kind(decision.owed or Fulfilment.Kind.FULFIL)
        key = f"fulfil:{row.order_id}" if kind is Fulfilment.Kind.FULFIL else f"release:{row.pk}"
        now = timezone.now()
        owed = Fulfilment.objects.create(
            key=key, kind=kind, order_id=row.order_id, transaction=row, created_at=now, next_attempt_at=now
        )
        return owed.pk

    def _write_callback(self, row: Transaction) -> None:
        Callback.objects.filter(pk=self.callback.pk).update(  # type: ignore[union-attr]  # checked by the caller
            state=Callback.State.PROCESSED,
            transaction=row,
            processed_at=timezone.now(),
            next_attempt_at=None,
            last_error="",
        )


def _name_the_end(row: Transaction, update: PaymentUpdate) -> PaymentUpdate:
    """A session that is canceled after its time has expired: the gateway's word echoes our own request."""
    overdue = update.state is State.CANCELED and row.expires_at <= timezone.now()
    return replace(update, state=State.EXPIRED) if overdue else update


def _due(row: Transaction, state: State) -> Any:
    if state is State.PENDING:
        return schedule.first_poll_at(row.created_at)
    waiting = row.waiting_since is not None
    return schedule.next_poll_at(state, timezone.now(), attempts=0, expires_at=row.expires_at, waiting=waiting)


def _read(transaction_id: uuid.UUID, update: PaymentUpdate) -> Transaction:
    rows = Transaction.objects.all()
    if update.state is State.SUCCESS:
        paid = Fulfilment.objects.filter(order_id=OuterRef("order_id"), kind=Fulfilment.Kind.FULFIL)
        newer = Transaction.objects.filter(order_id=OuterRef("order_id"), created_at__gt=OuterRef("created_at"))
        rows = rows.annotate(order_paid=Exists(paid.filter(~Q(transaction=OuterRef("pk")))), replaced=Exists(newer))
    return rows.get(pk=transaction_id)


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
        replaced=getattr(row, "replaced", False),
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


def _log(row: Transaction, before: Facts, decision: Decision, source: Source) -> None:
    if decision.kind is Kind.MOVED:
        logger.info(
            "moved transaction=%s from=%s to=%s source=%s version=%s late=%s",
            row.pk, before.state, row.state, source, row.version, row.late,
        )  # fmt: skip
    raised = decision.facts.attention - before.attention
    if raised:
        logger.warning("attention transaction=%s codes=%s source=%s", row.pk, ",".join(sorted(raised)), source)
