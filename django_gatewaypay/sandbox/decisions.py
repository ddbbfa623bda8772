"""What happens to a payment when a button is pressed, and when its time comes."""

import json
from datetime import datetime, timedelta

from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .models import Mode, SandboxDelivery, SandboxPayment, Word, make_event_id

__all__ = ["Action", "decide", "settle", "settle_due"]

LATE_BY = timedelta(seconds=5)
# Two senders may be at work; the older news must truly arrive after the result.
REORDER_GAP = timedelta(seconds=1)


class Action(models.TextChoices):
    """The buttons of the hosted page."""

    PAY = "pay", _("Pay")
    DECLINE = "decline", _("Decline")
    CANCEL = "cancel", _("Cancel")
    DELAY = "delay", _("Pay after a delay")


OUTCOMES = {
    Action.PAY: Word.SUCCESS,
    Action.DECLINE: Word.FAILED,
    Action.CANCEL: Word.CANCELED,
    Action.DELAY: Word.SUCCESS,
}


def decide(
    payment: SandboxPayment, action: Action, mode: Mode = Mode.ONCE, *, seconds: int = 10, now: datetime | None = None
) -> bool:
    """Do what the button says; False when the payment was decided before, and nothing changes.

    Args:
        seconds: how long `Action.DELAY` takes.
    """
    now = now or timezone.now()
    waits = action is Action.DELAY and mode is not Mode.LATE
    plan = {
        "status": Word.PROCESSING if waits else Word.PENDING,
        "outcome": OUTCOMES[action],
        "decline_code": "declined" if action is Action.DECLINE else "",
        "mode": mode,
        "reported_minor": payment.amount_minor - (mode is Mode.WRONG_AMOUNT),
        "settle_at": _settle_at(payment, mode, timedelta(seconds=seconds if waits else 0), now),
    }
    with transaction.atomic():
        if not SandboxPayment.objects.undecided().filter(pk=payment.pk).update(**plan):
            return False
        payment.refresh_from_db()
        if waits and mode is not Mode.REORDERED:
            _owe(payment, [_event(payment, Word.PROCESSING)], now)
        if payment.settle_at is not None and payment.settle_at <= now:
            settle(payment, now)
    return True


def _settle_at(payment: SandboxPayment, mode: Mode, delay: timedelta, now: datetime) -> datetime:
    return max(payment.expires_at, now) + LATE_BY if mode is Mode.LATE else now + delay


def settle_due(now: datetime | None = None) -> int:
    """Decide every payment whose time has come; how many there were."""
    now = now or timezone.now()
    return sum(settle(payment, now) for payment in list(SandboxPayment.objects.due(now)))


def settle(payment: SandboxPayment, now: datetime) -> bool:
    """Make the payment what it was going to be, and owe the shop its callbacks; False if another process did."""
    before = Word(payment.status)
    with transaction.atomic():
        moved = SandboxPayment.objects.filter(pk=payment.pk, settle_at=payment.settle_at, decided_at=None).update(
            status=payment.outcome, settle_at=None, decided_at=now
        )
        if not moved:
            return False
        payment.refresh_from_db()
        _owe(payment, _events(payment, before), now)
    return True


def _events(payment: SandboxPayment, before: Word) -> list[dict[str, str]]:
    """What the shop is told, in the order of sending."""
    result = _event(payment, payment.status)
    if payment.mode == Mode.TWICE:
        return [result, result]
    if payment.mode == Mode.REORDERED:
        return [result, _event(payment, before)]
    return [result]


def _event(payment: SandboxPayment, status: str) -> dict[str, str]:
    return payment.facts(status, event_id=make_event_id())


def _owe(payment: SandboxPayment, events: list[dict[str, str]], now: datetime) -> None:
    if payment.mode == Mode.NEVER:
        return
    gap = REORDER_GAP if payment.mode == Mode.REORDERED else timedelta(0)
    flavour = SandboxDelivery.Flavour.FORGED if payment.mode == Mode.FORGED else SandboxDelivery.Flavour.GOOD
    SandboxDelivery.objects.bulk_create(
        SandboxDelivery(
            payment=payment,
            event_id=event["event_id"],
            body=json.dumps(event),
            flavour=flavour,
            due_at=now + gap * place,
        )
        for place, event in enumerate(events)
    )
