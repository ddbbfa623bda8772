"""What happens to a payment when a button is pressed, and when its time comes."""

from datetime import datetime, timedelta

from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .models import Mode, SandboxPayment, Word
from .telling import event, owe

__all__ = ["Action", "decide", "settle", "settle_due"]

LATE_BY = timedelta(seconds=5)


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
        "outcome": _outcome(payment, action),
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
            owe(payment, [event(payment, Word.PROCESSING)], now)
        if payment.settle_at is not None and payment.settle_at <= now:
            settle(payment, now)
    return True


def _outcome(payment: SandboxPayment, action: Action) -> Word:
    """Money of a manual session is only reserved."""
    taken = OUTCOMES[action] is Word.SUCCESS
    return Word.AUTHORIZED if taken and payment.manual else OUTCOMES[action]


def _settle_at(payment: SandboxPayment, mode: Mode, delay: timedelta, now: datetime) -> datetime:
    return max(payment.expires_at, now) + LATE_BY if mode is Mode.LATE else now + delay


def settle_due(now: datetime) -> int:
    """Decide every payment whose time has come; how many there were."""
    return sum(settle(payment, now) for payment in list(SandboxPayment.objects.due(now)))


def settle(payment: SandboxPayment, now: datetime) -> bool:
    """Make the payment what it was going to be, and owe the shop its callbacks; False if another process did."""
    before = Word(payment.status)
    money = {Word.AUTHORIZED.value: "authorized_minor", Word.SUCCESS.value: "captured_minor"}.get(payment.outcome)
    moves = {money: payment.reported_minor} if money else {}
    with transaction.atomic():
        moved = SandboxPayment.objects.filter(pk=payment.pk, settle_at=payment.settle_at, decided_at=None).update(
            status=payment.outcome, settle_at=None, decided_at=now, **moves
        )
        if not moved:
            return False
        payment.refresh_from_db()
        owe(payment, _events(payment, before), now)
    return True


def _events(payment: SandboxPayment, before: Word) -> list[dict[str, str]]:
    """What the shop is told, in the order of sending."""
    result = event(payment, payment.status)
    if payment.mode == Mode.TWICE:
        return [result, result]
    if payment.mode == Mode.REORDERED:
        return [result, event(payment, before)]
    return [result]
