"""What a gateway says about a refund, whoever made it: it lets ours climb, or is written down as foreign."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from ..exceptions import MovementInProgress
from ..models import Callback, Refund, Transaction
from ..money import minor_in
from ..types import UNANSWERED_MOVEMENTS, MovementState, RefundUpdate, Source
from .intents import write_event
from .steps import Step, count, hold_transaction, tell

__all__ = ["hear_refund", "misses_amount"]

UNANSWERED = [state.value for state in UNANSWERED_MOVEMENTS]
Flags = frozenset[str]
NOTHING: Flags = frozenset()


def hear_refund(
    transaction_id: UUID, told: RefundUpdate, *, source: Source, due: datetime, callback: Callback | None = None
) -> Flags:
    """Let it be so, in the caller's commit; the attention codes that it raises.

    Args:
        due: when to ask about it again, unless this is its end.
        callback: the inbox row that told.

    Raises:
        MovementInProgress: it may be the one of which nobody knows yet what it is called there.
    """
    with transaction.atomic():
        row = hold_transaction(transaction_id)
        refund = _find(row, told)
        step = Step(MovementState(told.state.value), source, told.refund_reference, due=due, callback=callback)
        if refund is None:
            return _write_foreign(row, told, step)
        if _is_contradicted(refund, step):
            # The money counts as gone, and a person has to see it.
            return _write_foreign(row, told, step) | frozenset({"refund_unknown"})
        return _climb(refund, told, step)


def _find(row: Transaction, told: RefundUpdate) -> Refund | None:
    """Ours, by the gateway's id of it, by our own, or because it can be no other."""
    known = Refund.objects.filter(transaction=row)
    found = known.filter(gateway_reference=told.refund_reference).first() if told.refund_reference else None
    ours = _parse(told.refund_id)
    found = found or (known.filter(pk=ours).first() if ours else None)
    found = found or (None if told.refund_id else _find_nameless(row, told))
    if found:
        found.transaction = row
    return found


def _find_nameless(row: Transaction, told: RefundUpdate) -> Refund | None:
    """Told before our own answer has landed: that one is waited for, as long as somebody is after it.

    Raises:
        MovementInProgress: it may be this one.
    """
    asked = (
        Refund.objects.select_related("transaction")
        .filter(transaction=row, state__in=UNANSWERED)
        .exclude(submitted_at=None)
        .first()
    )
    if asked is None or misses_amount(asked, told):
        return None
    if asked.next_attempt_at:
        raise MovementInProgress
    return asked if told.amount is not None else None


def _parse(refund_id: str) -> UUID | None:
    try:
        return UUID(refund_id)
    except ValueError:
        return None


def _is_contradicted(refund: Refund, step: Step) -> bool:
    """We took it for failed, as the gateway had not got it; and now it has."""
    forgotten = refund.state == MovementState.FAILED and not refund.gateway_reference
    return forgotten and bool(step.reference) and step.state is not MovementState.FAILED


def _climb(refund: Refund, told: RefundUpdate, step: Step) -> Flags:
    if step.state.rank <= MovementState(refund.state).rank:
        return NOTHING
    failed = step.state is MovementState.FAILED
    Step(**{**vars(step), "error": told.reason if failed else ""}).write(refund)
    flags = frozenset({"refund_failed"}) if refund.state == MovementState.FAILED else NOTHING
    return flags | (frozenset({"mismatch"}) if misses_amount(refund, told) else NOTHING)


def misses_amount(refund: Refund, told: RefundUpdate) -> bool:
    """The gateway speaks of another amount than ours."""
    return told.amount is not None and told.amount != refund.amount


def _write_foreign(row: Transaction, told: RefundUpdate, step: Step) -> Flags:
    """One that we have never asked for. Without an amount there is nothing to write: the payment's totals tell."""
    if told.amount is None or not told.refund_reference:
        return NOTHING
    minor, now = minor_in(row.currency, told.amount), timezone.now()
    if minor is None or minor <= 0:
        return frozenset({"mismatch"})
    refund = Refund(
        transaction=row,
        foreign=True,
        amount_minor=minor,
        state=step.state.value,
        gateway_reference=told.refund_reference,
        last_error=told.reason[:255] if step.state is MovementState.FAILED else "",
        next_attempt_at=step.due if step.state is MovementState.SUBMITTED else None,
        created_at=now,
        updated_at=now,
    )
    refund.save(force_insert=True)
    count(refund, MovementState.REQUESTED)
    write_event(refund, step.source, None, refund.last_error, step.callback)
    transaction.on_commit(lambda: tell(refund, ""), robust=True)
    return NOTHING
