"""What happens to the money of a payment afterwards: captures, refunds, a dispute."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from .models import (
    DisputeWord,
    RefundPlan,
    RefundWord,
    SandboxCapture,
    SandboxPayment,
    SandboxRefund,
    Word,
)
from .telling import tell
from .wire import Refused

__all__ = ["capture", "dispute", "let_go", "plan_refunds", "refund", "settle_refund", "settle_refunds_due"]

SETTLES_AFTER = timedelta(seconds=5)
ANSWER_WITHIN = timedelta(days=7)
#: What a refund is first, and what it becomes.
PLANS: Mapping[RefundPlan, tuple[RefundWord, RefundWord | None]] = {
    RefundPlan.AT_ONCE: (RefundWord.SUCCEEDED, None),
    RefundPlan.LATER: (RefundWord.SUBMITTED, RefundWord.SUCCEEDED),
    RefundPlan.REFUSED: (RefundWord.SUBMITTED, RefundWord.FAILED),
    RefundPlan.RETURNED: (RefundWord.SUCCEEDED, RefundWord.FAILED),
}


def capture(payment: SandboxPayment, key: str, *, amount_minor: int, final: bool) -> bool:
    """Take a part of what is reserved; False when this key has taken it before.

    Raises:
        Refused: there is not so much left, nothing is reserved, or the key was used for something else.
    """
    wanted = {"payment": payment, "amount_minor": amount_minor, "final": final}
    with transaction.atomic():
        taken, created = SandboxCapture.objects.get_or_create(idempotency_key=key, defaults=wanted)
        _check_same(taken, wanted)
        if created:
            _take(payment, amount_minor, final=final)
            tell(payment, timezone.now())
    return created


def _take(payment: SandboxPayment, amount_minor: int, *, final: bool) -> None:
    reserved = SandboxPayment.objects.filter(pk=payment.pk, status=Word.AUTHORIZED)
    free = reserved.filter(captured_minor__lte=F("authorized_minor") - amount_minor)
    if not free.update(captured_minor=F("captured_minor") + amount_minor):
        raise Refused("too_much" if reserved.exists() else "not_authorized")
    done = reserved if final else reserved.filter(captured_minor=F("authorized_minor"))
    done.update(status=Word.SUCCESS)


def let_go(payment: SandboxPayment) -> bool:
    """Release what is reserved and was not captured; False when nothing is."""
    with transaction.atomic():
        reserved = SandboxPayment.objects.filter(pk=payment.pk, status=Word.AUTHORIZED)
        moved = reserved.filter(captured_minor=0).update(status=Word.CANCELED)
        moved = moved or reserved.update(status=Word.SUCCESS)
        if moved:
            tell(payment, timezone.now())
    return bool(moved)


def refund(payment: SandboxPayment, key: str, fields: Mapping[str, Any]) -> tuple[SandboxRefund, bool]:
    """Give money back, as the payment's plan says; the refund, and whether it is new.

    Raises:
        Refused: that would be more than was captured, or the key was used for something else.
    """
    now = timezone.now()
    first, then = PLANS[RefundPlan(payment.refund_plan)]
    wanted = {"payment": payment, **fields}
    planned = {"status": first, "outcome": then or "", "settle_at": now + SETTLES_AFTER if then else None}
    with transaction.atomic():
        row, created = SandboxRefund.objects.get_or_create(idempotency_key=key, defaults={**wanted, **planned})
        _check_same(row, wanted)
        if created:
            _set_aside(row)
            tell(payment, now, **row.told_beside())
    return row, created


def _set_aside(row: SandboxRefund) -> None:
    gone = row.amount_minor if row.status == RefundWord.SUCCEEDED else 0
    free = SandboxPayment.objects.filter(pk=row.payment_id, refunding_minor__lte=F("captured_minor") - row.amount_minor)
    if not free.update(
        refunding_minor=F("refunding_minor") + row.amount_minor, refunded_minor=F("refunded_minor") + gone
    ):
        raise Refused("too_much")


def settle_refunds_due(now: datetime) -> int:
    """Decide every refund whose time has come; how many there were."""
    due = SandboxRefund.objects.filter(settle_at__lte=now).select_related("payment").order_by("settle_at", "pk")
    return sum(settle_refund(row, now) for row in list(due))


def settle_refund(row: SandboxRefund, now: datetime) -> bool:
    """Make the refund what it was going to be, and owe the shop its callback; False if another process did."""
    undone = row.amount_minor if row.status == RefundWord.SUCCEEDED else 0
    failed = row.outcome == RefundWord.FAILED
    totals = {
        "refunding_minor": F("refunding_minor") - (row.amount_minor if failed else 0),
        "refunded_minor": F("refunded_minor") + (-undone if failed else row.amount_minor),
    }
    with transaction.atomic():
        mine = SandboxRefund.objects.filter(pk=row.pk, settle_at=row.settle_at)
        if not mine.update(status=row.outcome, settle_at=None):
            return False
        row.refresh_from_db(fields=["status", "settle_at"])
        SandboxPayment.objects.filter(pk=row.payment_id).update(**totals)
        tell(row.payment, now, **row.told_beside())
    return True


def plan_refunds(payment: SandboxPayment, plan: RefundPlan) -> None:
    """What the next refunds of a payment become."""
    SandboxPayment.objects.filter(pk=payment.pk).update(refund_plan=plan)


def dispute(payment: SandboxPayment, word: DisputeWord) -> bool:
    """The shopper's bank disputes the payment, or decides; False when nothing was taken."""
    now = timezone.now()
    due_at = payment.dispute_due_at or now + ANSWER_WITHIN
    with transaction.atomic():
        taken = SandboxPayment.objects.filter(pk=payment.pk, captured_minor__gt=0)
        moved = taken.update(dispute_status=word, dispute_due_at=due_at)
        if moved:
            tell(payment, now)
    return bool(moved)


def _check_same(row: SandboxCapture | SandboxRefund, wanted: Mapping[str, Any]) -> None:
    if any(getattr(row, name) != value for name, value in wanted.items()):
        raise Refused("idempotency_conflict")
