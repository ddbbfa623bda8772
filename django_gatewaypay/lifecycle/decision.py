"""What an update makes of a transaction. Pure: facts and an update in, a decision out.

It only ever climbs a fixed ladder of ranks and only ever raises totals, so duplicates and disorder end
where order would have ended.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from moneyed import Money

from ..models import Fulfilment, TransactionEvent
from ..money import minor_in
from ..types import CLOSED_STATES, OPEN_STATES, PaymentUpdate, State

__all__ = ["LOCAL_MOVES", "TRANSITIONS", "Decision", "Facts", "Kind", "Verdict", "decide"]

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

Kind = TransactionEvent.Kind


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about a transaction before an update. Amounts are minor units.

    Args:
        order_paid: another transaction has already earned the order's fulfilment.
        paid_too: another transaction of the order is a success, fulfilled or not.
        replaced: a newer transaction of the same order exists.
        agreed: what a person takes for the whole, where that is not the amount.
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
    paid_too: bool = False
    replaced: bool = False
    agreed: int | None = None

    @property
    def whole(self) -> int:
        """What counts as paid in full."""
        return self.amount if self.agreed is None else self.agreed


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a person decides about a transaction, beside what a gateway says of it.

    Args:
        resolved: attention codes that are dealt with.
        agreed: what counts as the whole from now on, in minor units.
        revoked: what was agreed to, and counts no more; nothing happens where another total counts by now.
        fulfil: the order may be fulfilled, although the payment was kept for review.
    """

    resolved: frozenset[str] = frozenset()
    agreed: int | None = None
    revoked: int | None = None
    fulfil: bool = False


NO_VERDICT = Verdict()


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What an update does to a transaction.

    Args:
        kind: None when there is nothing to write; NOTED when only the ledger is.
        owed: what the host is owed because of this move.
        release_authorization: funds are reserved for nothing and must be let go at the gateway.
        give_back: all that came goes back to the shopper.
    """

    facts: Facts
    kind: Kind | None
    owed: Fulfilment.Kind | None = None
    release_authorization: bool = False
    give_back: bool = False
    note: str = ""


def decide(
    facts: Facts,
    update: PaymentUpdate,
    *,
    local: bool = False,
    late_payment: str = "review",
    flags: Iterable[str] = (),
    verdict: Verdict = NO_VERDICT,
) -> Decision:
    """What `update` makes of `facts`. Pure, and in the end independent of order.

    Args:
        local: the update is our own conclusion (expiry, cancel), not the gateway's word.
        late_payment: "fulfil" lets a late success fulfil its order without staff, "refund" gives its money back.
        flags: attention codes to raise besides those that follow from the update.
        verdict: what a person has decided about it.
    """
    if _is_foreign(facts, update):
        return _decide_foreign(facts, update)
    verdict = _standing(facts, verdict)
    after, mismatch = _merge_money(_agree(facts, verdict), update)
    after = replace(
        after,
        gateway_reference=facts.gateway_reference or update.gateway_reference,
        payment_reference=facts.payment_reference or update.payment_reference,
        attention=(facts.attention | update.flags | frozenset(flags)) - verdict.resolved,
    )
    target = _target(after, update)
    legal = LOCAL_MOVES.get(facts.state, frozenset()) if local else TRANSITIONS[facts.state]
    stray_authorization = update.state is State.AUTHORIZED and facts.state in CLOSED_STATES
    if mismatch:
        after = replace(after, attention=after.attention | {"mismatch"})
    if stray_authorization:
        after = replace(after, attention=after.attention | {"late"})
    if target in legal:
        reason = mismatch or ("" if target is State.HELD else update.decline_code)
        return _decide_move(facts, after, target, reason, "by_person" if verdict.fulfil else late_payment)
    owed = _owed_by_verdict(facts, verdict)
    return Decision(
        facts=after,
        kind=Kind.AMENDED if owed else _kind_without_move(facts, after, update),
        owed=owed,
        release_authorization=stray_authorization,
        note=f"ignored {update.state}" if update.state and update.state is not facts.state else "",
    )


def _standing(facts: Facts, verdict: Verdict) -> Verdict:
    """What of a verdict holds.

    Who says "fulfil" second has decided nothing, nor has who saw other money than there is by now; and an order
    that was paid twice stays in sight.
    """
    if not verdict.fulfil:
        return verdict
    if facts.state is State.SUCCESS and facts.order_paid:
        return NO_VERDICT
    if facts.state is State.HELD and verdict.agreed != facts.captured:
        return NO_VERDICT
    return replace(verdict, resolved=verdict.resolved - {"duplicate_payment"}) if facts.paid_too else verdict


def _agree(facts: Facts, verdict: Verdict) -> Facts:
    """The whole, as a person has it now; of what is paid already, only what was taken can be agreed to."""
    agreed = facts.agreed if verdict.agreed is None else verdict.agreed
    if verdict.revoked is not None and verdict.revoked == agreed:
        agreed = None
    settled = facts.state is State.SUCCESS and agreed != facts.captured
    return facts if settled else replace(facts, agreed=agreed)


def _owed_by_verdict(facts: Facts, verdict: Verdict) -> Fulfilment.Kind | None:
    """A person says "fulfil"; not for what is unpaid."""
    return Fulfilment.Kind.FULFIL if verdict.fulfil and facts.state is State.SUCCESS else None


def _is_foreign(facts: Facts, update: PaymentUpdate) -> bool:
    """It names this transaction, but another session than the one that we opened."""
    known, named = facts.gateway_reference, update.gateway_reference
    return bool(known and named and known != named)


def _decide_foreign(facts: Facts, update: PaymentUpdate) -> Decision:
    if not (update.captured or update.state in TAKEN_STATES or update.state is State.AUTHORIZED):
        return Decision(facts=facts, kind=Kind.NOTED, note=f"ignored {update.state} of another session")
    after = replace(facts, attention=facts.attention | {"mismatch"})
    target = State.SUCCESS if _is_complete(facts) else State.HELD
    if target in TRANSITIONS[facts.state]:
        return _decide_move(facts, after, target, "reference_mismatch", "review")
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
        minor = minor_in(facts.currency, money)
        if minor is not None:
            totals[name] = max(known, minor)
        else:
            mismatch = "currency_mismatch" if money.currency.code != facts.currency else "amount_mismatch"
    told = update.captured
    paid_in_full = told is not None and minor_in(facts.currency, told) == facts.whole
    # Not when others speak of something else: a person may have dealt with it since.
    too_much = told is not None and totals["captured"] > facts.whole
    wrong_total = too_much or (update.state is State.SUCCESS and not paid_in_full)
    merged = replace(facts, captured=totals["captured"], authorized=totals["authorized"], refunded=totals["refunded"])
    return merged, mismatch or ("amount_mismatch" if wrong_total else "")


def _target(after: Facts, update: PaymentUpdate) -> State:
    """The state that the update asks for, given everything that is known by now."""
    wanted, taken = update.state or after.state, update.captured
    minor = None if taken is None else minor_in(after.currency, taken)
    uncounted = bool(taken) and minor is None
    heard = max(wanted, after.state, key=lambda state: state.rank)
    ended = uncounted or heard.rank >= State.EXPIRED.rank
    if ended and _is_complete(after):
        return State.SUCCESS
    if wanted is State.SUCCESS:
        return State.SUCCESS if minor == after.whole and not _is_recovered(after) else State.HELD
    # Money that was taken is never told as a failure.
    told_as_failure = after.captured and heard in CLOSED_STATES
    return State.HELD if uncounted or told_as_failure else wanted


def _is_complete(facts: Facts) -> bool:
    """A person takes for the whole what was taken (docs/adr/0009). It is paid as soon as no more can come."""
    return facts.captured > 0 and facts.agreed == facts.captured


def _is_recovered(facts: Facts) -> bool:
    """Its row was written again from the gateway's list; that it was our price, a person has to say (docs/adr/0010)."""
    return facts.agreed is None and (facts.reason == "recovered" or "recovered" in facts.attention)


def _decide_move(facts: Facts, after: Facts, target: State, reason: str, late_payment: str) -> Decision:
    late = facts.late or (facts.state in CLOSED_STATES and target in TAKEN_STATES)
    give_back = False
    if target is State.SUCCESS:
        owed, flags = _owed_for_success(facts, late=late, late_payment=late_payment)
        reason = ""
        give_back = late_payment == "refund" and _may_go_back(facts, after, flags)
        flags = frozenset() if give_back else flags
    else:
        if target is State.HELD:
            reason = reason or ("recovered" if _is_recovered(after) else "unexpected_capture")
        flags = frozenset({"recovered" if reason == "recovered" else "mismatch"} if target is State.HELD else ())
        owed = Fulfilment.Kind.RELEASE if facts.state in OPEN_STATES and target in CLOSED_STATES else None
    moved = replace(after, state=target, reason=reason, late=late, attention=after.attention | flags)
    return Decision(facts=moved, kind=Kind.MOVED, owed=owed, give_back=give_back)


def _may_go_back(facts: Facts, after: Facts, flags: frozenset[str]) -> bool:
    """Exactly what was asked for, of which nothing went back, and nothing but that it is late is for a person."""
    plain = facts.state in CLOSED_STATES and after.agreed is None and not after.refunded
    return plain and (after.attention | flags) == {"late"}


def _owed_for_success(facts: Facts, *, late: bool, late_payment: str) -> tuple[Fulfilment.Kind | None, frozenset[str]]:
    if facts.order_paid or (late and facts.replaced and late_payment != "by_person"):
        return None, frozenset({"duplicate_payment", "late"} if late else {"duplicate_payment"})
    twice = frozenset({"duplicate_payment"} if facts.paid_too else ())
    if late and late_payment not in {"fulfil", "by_person"}:
        return None, twice | {"late"}
    return Fulfilment.Kind.FULFIL, twice


def _kind_without_move(facts: Facts, after: Facts, update: PaymentUpdate) -> Kind | None:
    if after != facts:
        return Kind.AMENDED
    contradicts = update.state is not None and update.state is not facts.state
    return Kind.NOTED if contradicts else None
