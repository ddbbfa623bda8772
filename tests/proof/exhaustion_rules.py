"""What one update may do, and what a set of updates has to come to: said again, in other words than `decide`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moneyed import Money

from django_gatewaypay.lifecycle import Decision, Facts, Verdict
from django_gatewaypay.types import CLOSED_STATES, OPEN_STATES, PaymentUpdate, State

if TYPE_CHECKING:
    from .exhaustion import One

__all__ = [
    "AMOUNT",
    "CURRENCY",
    "LETTERS",
    "OURS",
    "VERDICTS",
    "Step",
    "end_trouble",
    "order_trouble",
    "step_trouble",
]

AMOUNT, CURRENCY = 2000, "EUR"
FULL, SHORT, OVER, FOREIGN = (Money("20.00", "EUR"), Money("5.00", "EUR"), Money("21.00", "EUR"), Money("20.00", "USD"))
OURS, OTHER = "ps_ours", "ps_other"
BY_TIME = frozenset({"late", "duplicate_payment"})


def says(state: State | None, captured: Money | None = None, **more: object) -> tuple[PaymentUpdate, bool]:
    """What a gateway says."""
    return PaymentUpdate(**{"state": state, "captured": captured, **more}), False


#: Every update worth saying, and whether it is our own word.
LETTERS: Mapping[str, tuple[PaymentUpdate, bool]] = {
    "opened": says(State.PENDING, gateway_reference=OURS),
    "pending": says(State.PENDING),
    "processing": says(State.PROCESSING),
    "authorized": says(State.AUTHORIZED, authorized=FULL),
    "expired": says(State.EXPIRED),
    "canceled": says(State.CANCELED),
    "failed": says(State.FAILED, decline_code="declined"),
    "held": says(State.HELD),
    "paid": says(State.SUCCESS, FULL),
    "paid short": says(State.SUCCESS, SHORT),
    "paid over": says(State.SUCCESS, OVER),
    "paid foreign": says(State.SUCCESS, FOREIGN),
    "paid unsaid": says(State.SUCCESS),
    "pending short": says(State.PENDING, SHORT),
    "pending full": says(State.PENDING, FULL),
    "pending foreign": says(State.PENDING, FOREIGN),
    "failed short": says(State.FAILED, SHORT),
    "refunded": says(State.SUCCESS, FULL, refunded=FULL),
    "refund": says(None, refunded=SHORT),
    "disputed": says(None, flags=frozenset({"disputed"})),
    "other paid": says(State.SUCCESS, FULL, gateway_reference=OTHER),
    "other authorized": says(State.AUTHORIZED, gateway_reference=OTHER),
    "other expired": says(State.EXPIRED, gateway_reference=OTHER),
    "our expiry": (PaymentUpdate(state=State.EXPIRED), True),
    "our cancel": (PaymentUpdate(state=State.CANCELED), True),
    "taken short": says(State.AUTHORIZED, SHORT, authorized=FULL),
    "agreed short": says(None),
}
#: What a person says beside it.
VERDICTS: Mapping[str, Verdict] = {"agreed short": Verdict(agreed=500)}


@dataclass(frozen=True)
class Step:
    """One decision, and the decision about the same update once more."""

    before: Facts
    update: PaymentUpdate
    local: bool
    decision: Decision
    again: Decision


def step_trouble(step: Step) -> str:
    """What a single step has done that it never may; "" when nothing."""
    before, after, owed = step.before, step.decision.facts, step.decision.owed
    moved = after.state is not before.state
    ended_unpaid = before.state in OPEN_STATES and after.state in CLOSED_STATES
    paid_now = moved and after.state is State.SUCCESS
    goes_back = step.decision.give_back
    told_by_time = after.attention & BY_TIME or goes_back
    never = {
        "success was left": before.state is State.SUCCESS and moved,
        "a move does not climb": moved and after.state.rank <= before.state.rank,
        "our own word made money": step.local and after.state is State.SUCCESS and moved,
        "our own word touched what is with the bank": step.local and moved and before.state.rank > State.PENDING.rank,
        "a total fell": any(new < old for old, new in zip(_totals(before), _totals(after), strict=True)),
        "what was asked for changed": (after.amount, after.currency) != (before.amount, before.currency),
        "the session changed": before.gateway_reference not in {"", after.gateway_reference},
        "a flag was lowered": not before.attention <= after.attention or before.late > after.late,
        "money is told as a failure": after.captured > 0 and after.state in CLOSED_STATES,
        "success without our money": paid_now and not (_pays(step.update) or _is_agreed(after)),
        "a fulfilment without success": owed == "fulfil" and not paid_now,
        "a success that nobody hears of": paid_now and owed is None and not told_by_time,
        "money goes back that was not just paid late, in full": goes_back and not _may_go_back(step),
        "a release that is not due, or none that is": (owed == "release") is not ended_unpaid,
        "late without an end before": after.late > before.late and before.state not in CLOSED_STATES,
        "a move is not called one": (step.decision.kind == "moved") is not moved,
        "a change is not written": after != before and step.decision.kind not in {"moved", "amended"},
        "saying it again changes something": step.again.facts != after or step.again.owed is not None,
        "a reserved amount is not let go": _is_stray(step) is not step.decision.release_authorization,
    }
    return next((trouble for trouble, is_so in never.items() if is_so), "")


def _may_go_back(step: Step) -> bool:
    after = step.decision.facts
    late = step.before.state in CLOSED_STATES and after.late and step.decision.owed is None
    return late and _pays(step.update) and not after.refunded and after.attention <= {"late"}


def _is_agreed(facts: Facts) -> bool:
    return facts.agreed == facts.captured > 0


def _totals(facts: Facts) -> tuple[int, int, int]:
    return facts.captured, facts.authorized, facts.refunded


def _is_stray(step: Step) -> bool:
    ours = not _is_other(step.update) and not step.decision.facts.captured
    return ours and step.update.state is State.AUTHORIZED and step.before.state in CLOSED_STATES


def _is_other(update: PaymentUpdate) -> bool:
    return update.gateway_reference == OTHER


def _pays(update: PaymentUpdate) -> bool:
    return update.state is State.SUCCESS and update.captured == FULL and not _is_other(update)


def end_trouble(one: "One", said: frozenset[str], *, is_open: bool) -> str:
    """Where the end differs from what was said; "" when it does not."""
    updates = [LETTERS[letter] for letter in said]
    ours = [update for update, local in updates if not local and not _is_other(update)]
    others = [update for update, local in updates if not local and _is_other(update)]
    facts, captured = one.facts, _highest(ours, "captured")
    agreed = any(letter in VERDICTS for letter in said)
    wrong = _is_wrong_money(ours, others, captured, agreed=agreed)
    expected = _expected_state(ours, one.closed_by_us, captured, is_open=is_open)
    if any(update.captured or update.state is State.AUTHORIZED for update in others):
        expected = max(expected, State.HELD, key=lambda state: state.rank)
    if agreed and captured == 500 and expected not in OPEN_STATES:
        expected = State.SUCCESS
    state = State.EXPIRED if facts.state in CLOSED_STATES else facts.state
    flags = frozenset(flag for update in ours for flag in update.flags) | ({"mismatch"} if wrong or one.held else set())
    wanted = {
        "state": (state, expected),
        "captured": (facts.captured, captured),
        "authorized": (facts.authorized, _highest(ours, "authorized")),
        "refunded": (facts.refunded, _highest(ours, "refunded")),
        "attention": (facts.attention - BY_TIME, flags),
        "session": (facts.gateway_reference, OURS if is_open or "opened" in said else ""),
        "releases": (one.released, min(one.released, 1)),
    }
    return next((f"{name} is {is_so}, not {due}" for name, (is_so, due) in wanted.items() if is_so != due), "")


def _highest(updates: Sequence[PaymentUpdate], total: str) -> int:
    amounts = [getattr(update, total) for update in updates]
    return max([0, *(int(money.amount * 100) for money in amounts if money and money.currency.code == CURRENCY)])


def _is_wrong_money(
    ours: Sequence[PaymentUpdate], others: Sequence[PaymentUpdate], captured: int, *, agreed: bool
) -> bool:
    other_money = any(update.captured or update.state is State.AUTHORIZED for update in others)
    # Less than was asked for is wrong until somebody agrees to it: `held` remembers that it was.
    right = {FULL, SHORT} if agreed else {FULL}
    claims = any(update.state is State.SUCCESS and update.captured not in right for update in ours)
    return other_money or claims or captured > AMOUNT or any(update.captured == FOREIGN for update in ours)


def _expected_state(ours: Sequence[PaymentUpdate], closed_by_us: bool, captured: int, *, is_open: bool) -> State:
    if any(map(_pays, ours)):
        return State.SUCCESS
    words = {update.state for update in ours if update.state}
    ended = closed_by_us or bool(words & CLOSED_STATES)
    strange = any(update.captured == FOREIGN for update in ours)
    if words & {State.SUCCESS, State.HELD} or strange or (ended and captured):
        return State.HELD
    if ended:
        return State.EXPIRED
    return max(words | {State.PENDING if is_open else State.CREATED}, key=lambda state: state.rank)


def order_trouble(ones: Sequence["One"], owner: int | None) -> str:
    """What must not be true of an order, however it came to it; "" when nothing is."""
    paid = [one for one in ones if one.pays]
    if owner is not None and ones[owner].facts.state is not State.SUCCESS:
        return "the order is fulfilled without a payment"
    if (owner is not None) is not any(one.entitled for one in paid):
        return "the fulfilment is not owed exactly when a payment may have it"
    if len(paid) > 1 and not any("duplicate_payment" in one.facts.attention for one in paid):
        return "paid twice, and no duplicate_payment says so"
    return ""
