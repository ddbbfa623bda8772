"""What a person decides about a payment that waits for one: take it as it is, fulfil it, or call it dealt with.

Who may decide is the caller's business; that somebody has, and why, is in the ledger.
"""

import logging
import uuid
from collections.abc import Collection
from typing import Any

from ..exceptions import InvalidTransition, ReasonMissing
from ..lifecycle import Outcome, Verdict, apply_update, left_to_refund
from ..models import Transaction
from ..types import PaymentUpdate, Source, State

__all__ = ["accept", "checked_reason", "fulfil", "resolve", "source_of"]

logger = logging.getLogger("gatewaypay.review")

#: What a person settles by having the order fulfilled, and by taking a payment as it is.
FULFILLED = frozenset({"late", "duplicate_payment"})
ACCEPTED = FULFILLED | {"mismatch", "recovered"}
UNCOUNTED = "None of the money that came can be counted for this payment: give it back at the gateway."


def accept(transaction_id: uuid.UUID, *, reason: str, actor: Any) -> Transaction:
    """Take a payment as it is. What was held is paid, and its order is fulfilled; of a success the money is kept.

    Raises:
        Transaction.DoesNotExist: there is no such transaction.
        ReasonMissing: nobody says why, or who.
        InvalidTransition: there is nothing to decide, no money to take, or something has changed meanwhile.
    """
    said, row = checked_reason(reason), Transaction.objects.get(pk=transaction_id)
    waiting = row.attention_codes & ACCEPTED
    if row.state == State.HELD:
        _check_money(row)
        if actor is None:
            raise ReasonMissing("Say who takes it for the whole: the books keep the name.")
        verdict = Verdict(resolved=waiting, agreed=row.captured_minor, fulfil=True)
    elif row.state == State.SUCCESS and waiting:
        verdict = Verdict(resolved=waiting, agreed=_seen_total(row, waiting))
    else:
        raise InvalidTransition(f"A payment that is {row.state} and waits for nobody is not accepted.")
    accepted = _decide("accepted", row, verdict, said, actor).transaction
    if accepted.state != State.SUCCESS:
        raise InvalidTransition("Other money has come meanwhile; look again.")
    return accepted


def fulfil(transaction_id: uuid.UUID, *, reason: str, actor: Any) -> Transaction:
    """Fulfil the order of a success that was kept for review; once, whoever else says so.

    Raises:
        Transaction.DoesNotExist: there is no such transaction.
        ReasonMissing: nobody says why.
        InvalidTransition: it is not paid, its money was given back, or the order is fulfilled already.
    """
    said, row = checked_reason(reason), Transaction.objects.get(pk=transaction_id)
    if row.state != State.SUCCESS:
        raise InvalidTransition(f"The order of a payment that is {row.state} is not fulfilled.")
    _check_money(row)
    outcome = _decide("fulfilled", row, Verdict(resolved=row.attention_codes & FULFILLED, fulfil=True), said, actor)
    if outcome.decision.owed is None:
        raise InvalidTransition("The order is fulfilled already.")
    return outcome.transaction


def resolve(transaction_id: uuid.UUID, codes: Collection[str], *, reason: str, actor: Any) -> Transaction:
    """Attention codes are dealt with. Neither money nor order moves.

    Raises:
        Transaction.DoesNotExist: there is no such transaction.
        ReasonMissing: nobody says why.
        InvalidTransition: none of the codes is up any more.
    """
    said, row = checked_reason(reason), Transaction.objects.get(pk=transaction_id)
    waiting = row.attention_codes & frozenset(codes)
    if not waiting:
        raise InvalidTransition("None of this needs attention any more.")
    verdict = Verdict(resolved=waiting, agreed=_seen_total(row, waiting) if row.state == State.SUCCESS else None)
    return _decide("resolved", row, verdict, said, actor).transaction


def checked_reason(reason: str) -> str:
    """The reason without the space around it.

    Raises:
        ReasonMissing: nothing is left.
    """
    said = reason.strip()
    if not said:
        raise ReasonMissing
    return said


def source_of(actor: Any) -> Source:
    """Whose decision it is: a person's, or that of the host's own code."""
    return Source.SYSTEM if actor is None else Source.STAFF


def _check_money(row: Transaction) -> None:
    if not row.captured_minor:
        raise InvalidTransition(UNCOUNTED)
    if not left_to_refund(row):
        raise InvalidTransition("Its money was given back.")


def _seen_total(row: Transaction, waiting: frozenset[str]) -> int | None:
    """A person has seen that more was taken than was asked for: the same total is no news any more."""
    overpaid = "mismatch" in waiting and row.captured_minor > row.whole_minor
    return row.captured_minor if overpaid else None


def _decide(word: str, row: Transaction, verdict: Verdict, reason: str, actor: Any) -> Outcome:
    outcome = apply_update(row.pk, PaymentUpdate(), source=source_of(actor), actor=actor, verdict=verdict, note=reason)
    logger.info(
        "%s transaction=%s state=%s attention=%s actor=%s",
        word, row.pk, outcome.transaction.state, outcome.transaction.attention or "-", getattr(actor, "pk", None),
    )  # fmt: skip
    return outcome
