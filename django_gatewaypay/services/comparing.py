"""One payment in two books: what ours say of it, what the gateway's say, and where they differ."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from django.db.models import Sum
from moneyed import Money

from ..models import Refund, Transaction
from ..money import format_minor, minor_in
from ..types import CLOSED_STATES, UNANSWERED_MOVEMENTS, MovementState, PaymentUpdate, State

__all__ = ["Finding", "Kind", "compare", "ended_unpaid", "has_money", "is_other_session"]

UNPAID = frozenset({State.CREATED, State.PENDING})
WITH_MONEY = frozenset({State.AUTHORIZED, State.HELD, State.SUCCESS})
IN_FLIGHT = [*(str(state) for state in UNANSWERED_MOVEMENTS), MovementState.SUBMITTED.value]


class Kind(StrEnum):
    """In what two books differ."""

    MISSING_HERE = "missing_here"
    """The gateway has a payment that names us, and we have no row of it."""
    MISSING_UNPAID = "missing_unpaid"
    """The same, but it ended there without money: nothing is lost by it."""
    MISSING_THERE = "missing_there"
    """We have a payment that the gateway does not know."""
    SESSION = "session"
    """Money on another session that names our payment."""
    AMOUNT = "amount"
    STATE = "state"
    REFUNDS = "refunds"


@dataclass(frozen=True)
class Finding:
    """One thing that two books do not agree on."""

    kind: Kind
    ours: str
    theirs: str


def compare(row: Transaction, update: PaymentUpdate, asked: Money | None = None) -> Iterator[Finding]:
    """Where a row of ours and the gateway's word about its session differ.

    Args:
        asked: the amount that the gateway was asked for, where it says so.
    """
    yield from _amounts(row, update, asked)
    yield from _states(row, update)
    yield from _refunds(row, update)


def is_other_session(row: Transaction, update: PaymentUpdate) -> bool:
    """It names our payment, but is not the session that we opened."""
    known, named = row.gateway_reference, update.gateway_reference
    return bool(known and named and known != named)


def has_money(update: PaymentUpdate) -> bool:
    """Something was taken or is reserved, and has not gone back."""
    kept = update.refunded is None or update.refunded != update.captured
    return bool(update.captured or update.state in WITH_MONEY) and kept


def ended_unpaid(update: PaymentUpdate) -> bool:
    """It is over at the gateway, and nothing was taken."""
    return update.state in CLOSED_STATES and not update.captured


def _amounts(row: Transaction, update: PaymentUpdate, asked: Money | None) -> Iterator[Finding]:
    if asked is not None and minor_in(row.currency, asked) != row.amount_minor:
        yield Finding(Kind.AMOUNT, f"asked {_text(row, row.amount_minor)}", f"asked {_told(asked)}")
        return
    totals = [("captured", row.captured_minor)]
    if row.state == update.state == State.AUTHORIZED:
        totals.append(("authorized", row.authorized_minor))
    for name, known in totals:
        told: Money | None = getattr(update, name)
        # Money that cannot be counted is what a payment is held for.
        held_for = row.state == State.HELD and told is not None and minor_in(row.currency, told) is None
        if told is not None and minor_in(row.currency, told) != known and not held_for:
            yield Finding(Kind.AMOUNT, f"{name} {_text(row, known)}", f"{name} {_told(told)}")
            return


def _states(row: Transaction, update: PaymentUpdate) -> Iterator[Finding]:
    ours, theirs = State(row.state), update.state
    if theirs is None or ours is theirs or {ours, theirs} <= CLOSED_STATES:
        return
    # A person decides, or has decided, about what is held or agreed; then only its money is compared.
    agreed = row.agreed_minor is not None and row.agreed_minor == row.captured_minor
    left_open = ours in CLOSED_STATES and theirs in UNPAID
    if not (ours is State.HELD or agreed or left_open):
        yield Finding(Kind.STATE, str(ours), str(theirs))


def _refunds(row: Transaction, update: PaymentUpdate) -> Iterator[Finding]:
    if update.refunded is None:
        return
    ours, theirs = row.given_back_minor, minor_in(row.currency, update.refunded)
    if theirs == ours or (theirs is not None and ours < theirs <= ours + _in_flight(row)):
        return
    yield Finding(Kind.REFUNDS, f"refunded {_text(row, ours)}", f"refunded {_told(update.refunded)}")


def _in_flight(row: Transaction) -> int:
    """What our own refunds may have given back by now; some gateways count it at once."""
    open_ones = Refund.objects.filter(transaction=row, foreign=False, state__in=IN_FLIGHT)
    return open_ones.aggregate(total=Sum("amount_minor"))["total"] or 0


def _text(row: Transaction, minor: int) -> str:
    return f"{format_minor(minor, row.currency)} {row.currency}"


def _told(money: Money) -> str:
    return f"{money.amount:f} {money.currency.code}"
