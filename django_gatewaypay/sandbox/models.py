"""The pretend gateway's own books: payments, what is moved after them, and the callbacks that it owes."""

from datetime import datetime
from typing import Self

from django.db import models
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.translation import gettext_lazy as _

from ..money import format_minor
from ..types import DisputeState, RefundState, State

__all__ = [
    "DisputeWord",
    "Mode",
    "RefundPlan",
    "RefundWord",
    "SandboxCapture",
    "SandboxDelivery",
    "SandboxPayment",
    "SandboxRefund",
    "Word",
]


class Word(models.TextChoices):
    """The gateway's words on the wire. `expired` is never stored: it is told of what is unpaid and past its time."""

    PENDING = State.PENDING.value, _("Waiting for the shopper")
    PROCESSING = State.PROCESSING.value, _("Being processed")
    AUTHORIZED = State.AUTHORIZED.value, _("Reserved")
    SUCCESS = State.SUCCESS.value, _("Paid")
    FAILED = State.FAILED.value, _("Declined")
    CANCELED = State.CANCELED.value, _("Canceled")
    EXPIRED = State.EXPIRED.value, _("Expired")


class Mode(models.TextChoices):
    """What the gateway tells the shop, and how badly."""

    ONCE = "once", _("The truth, once")
    TWICE = "twice", _("The same callback twice")
    REORDERED = "reordered", _("Older news after the result")
    NEVER = "never", _("Nothing at all")
    FORGED = "forged", _("A forged callback only")
    WRONG_AMOUNT = "wrong_amount", _("A slightly smaller amount")
    LATE = "late", _("The result after the session ends")


class RefundPlan(models.TextChoices):
    """What becomes of the refunds of a payment."""

    AT_ONCE = "at_once", _("Given back at once")
    LATER = "later", _("Given back later")
    REFUSED = "refused", _("Refused later")
    RETURNED = "returned", _("Given back, then returned by the bank")


class RefundWord(models.TextChoices):
    """What became of a refund, on the wire."""

    SUBMITTED = RefundState.SUBMITTED.value, _("Submitted")
    SUCCEEDED = RefundState.SUCCEEDED.value, _("Given back")
    FAILED = RefundState.FAILED.value, _("Failed")


class DisputeWord(models.TextChoices):
    """Where a dispute stands, on the wire."""

    OPEN = DisputeState.OPEN.value, _("An answer is due")
    UNDER_REVIEW = DisputeState.UNDER_REVIEW.value, _("Under review")
    WON = DisputeState.WON.value, _("Won by the shop")
    LOST = DisputeState.LOST.value, _("Lost by the shop")


def make_reference() -> str:
    return "sbx_" + get_random_string(24)


def make_refund_reference() -> str:
    return "sbr_" + get_random_string(24)


def make_event_id() -> str:
    return "evt_" + get_random_string(24)


class PaymentQuerySet(models.QuerySet["SandboxPayment"]):
    """What the pages and the clock look for."""

    def undecided(self) -> Self:
        """Nobody has pressed a button yet."""
        return self.filter(status=Word.PENDING, outcome="")

    def due(self, now: datetime) -> Self:
        """Decided, and the time of the decision has come."""
        return self.filter(settle_at__lte=now).order_by("settle_at", "pk")


class SandboxPayment(models.Model):
    """A payment session at the pretend gateway. `outcome` is what it becomes at `settle_at`."""

    reference = models.CharField(_("reference"), max_length=40, unique=True, default=make_reference)
    idempotency_key = models.CharField(max_length=255, unique=True)
    fingerprint = models.CharField(max_length=64)
    transaction_id = models.CharField(_("transaction"), max_length=255)
    amount_minor = models.BigIntegerField(_("amount in minor units"))
    reported_minor = models.BigIntegerField(_("amount that the shop is told"))
    currency = models.CharField(_("currency"), max_length=3)
    order_id = models.CharField(_("order"), max_length=255, blank=True)
    manual = models.BooleanField(_("reserve only"), default=False)
    description = models.CharField(_("description"), max_length=255, blank=True)
    callback_url = models.CharField(_("callback URL"), max_length=2000)
    return_url = models.CharField(_("return URL"), max_length=2000)

    status = models.CharField(_("status"), max_length=16, choices=Word.choices, default=Word.PENDING)
    decline_code = models.CharField(_("decline code"), max_length=64, blank=True)
    outcome = models.CharField(_("outcome"), max_length=16, choices=Word.choices, blank=True)
    mode = models.CharField(_("callback"), max_length=16, choices=Mode.choices, default=Mode.ONCE)
    settle_at = models.DateTimeField(_("decided from"), null=True, blank=True, db_index=True)
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, db_index=True)
    expires_at = models.DateTimeField(_("expires"))

    authorized_minor = models.BigIntegerField(_("reserved, in minor units"), default=0)
    captured_minor = models.BigIntegerField(_("taken, in minor units"), default=0)
    #: What has gone back, or may still.
    refunding_minor = models.BigIntegerField(_("refunds that have not failed, in minor units"), default=0)
    refunded_minor = models.BigIntegerField(_("given back, in minor units"), default=0)
    refund_plan = models.CharField(_("refunds"), max_length=16, choices=RefundPlan.choices, default=RefundPlan.AT_ONCE)
    dispute_status = models.CharField(_("dispute"), max_length=16, choices=DisputeWord.choices, blank=True)
    dispute_due_at = models.DateTimeField(_("answer due"), null=True, blank=True)

    objects = PaymentQuerySet.as_manager()

    class Meta:
        verbose_name = _("sandbox payment")
        verbose_name_plural = _("sandbox payments")
        ordering = ("-created_at", "-pk")

    def __str__(self) -> str:
        return self.reference

    @property
    def is_undecided(self) -> bool:
        return self.status == Word.PENDING and not self.outcome

    @property
    def is_past(self) -> bool:
        return self.expires_at <= timezone.now()

    @property
    def has_money(self) -> bool:
        """Something was reserved or taken."""
        return bool(self.authorized_minor or self.captured_minor)

    @property
    def told_status(self) -> Word:
        """What the gateway says when it is asked."""
        return Word.EXPIRED if self.status == Word.PENDING and self.is_past else Word(self.status)

    @property
    def amount(self) -> str:
        return format_minor(self.amount_minor, self.currency)

    @property
    def captured(self) -> str:
        return self.write(self.captured_minor)

    @property
    def refunded(self) -> str:
        return self.write(self.refunded_minor)

    def write(self, minor: int) -> str:
        """An amount in the payment's currency, as the wire writes it."""
        return format_minor(minor, self.currency)

    def facts(self, status: str, **more: str) -> dict[str, str]:
        """The payment as the wire knows it; of older news, only the word."""
        facts = {
            **more,
            "transaction_id": self.transaction_id,
            "reference": self.reference,
            "status": str(status),
            "amount": self.write(self.captured_minor if status == Word.SUCCESS else self.reported_minor),
            "currency": self.currency,
        }
        facts |= {"decline_code": self.decline_code} if status == Word.FAILED else {}
        return facts | (self._totals() | self._dispute() if status == self.status else {})

    def _totals(self) -> dict[str, str]:
        """What there is beside the amount."""
        part = 0 if self.status == Word.SUCCESS else self.captured_minor
        totals = {"authorized": self.authorized_minor, "captured": part, "refunded": self.refunded_minor}
        return {name: self.write(minor) for name, minor in totals.items() if minor}

    def _dispute(self) -> dict[str, str]:
        if not self.dispute_status:
            return {}
        told = {
            "dispute_reference": self.reference.replace("sbx_", "sbd_"),
            "dispute_status": self.dispute_status,
            "dispute_amount": self.write(self.captured_minor),
            "dispute_reason": "fraudulent",
        }
        return told | ({"dispute_due_at": self.dispute_due_at.isoformat()} if self.dispute_due_at else {})


class SandboxCapture(models.Model):
    """A part of an authorization that was taken."""

    payment = models.ForeignKey(SandboxPayment, on_delete=models.CASCADE, related_name="captures")
    idempotency_key = models.CharField(max_length=255, unique=True)
    amount_minor = models.BigIntegerField(_("amount in minor units"))
    final = models.BooleanField(_("the rest is let go"), default=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("sandbox capture")
        verbose_name_plural = _("sandbox captures")
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.payment.write(self.amount_minor)


class SandboxRefund(models.Model):
    """Money that goes back. `outcome` is what it becomes at `settle_at`."""

    payment = models.ForeignKey(SandboxPayment, on_delete=models.CASCADE, related_name="refunds")
    reference = models.CharField(_("reference"), max_length=40, unique=True, default=make_refund_reference)
    idempotency_key = models.CharField(max_length=255, unique=True)
    refund_id = models.CharField(_("reference of the shop"), max_length=255, blank=True)
    amount_minor = models.BigIntegerField(_("amount in minor units"))
    reason = models.CharField(_("reason"), max_length=255, blank=True)
    status = models.CharField(_("status"), max_length=16, choices=RefundWord.choices)
    outcome = models.CharField(_("outcome"), max_length=16, choices=RefundWord.choices, blank=True)
    settle_at = models.DateTimeField(_("decided from"), null=True, blank=True, db_index=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("sandbox refund")
        verbose_name_plural = _("sandbox refunds")
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.reference

    @property
    def amount(self) -> str:
        return self.payment.write(self.amount_minor)

    def facts(self) -> dict[str, str]:
        """The refund as the wire knows it."""
        return {
            "refund_reference": self.reference,
            "refund_id": self.refund_id,
            "status": str(self.status),
            "amount": self.amount,
            "currency": self.payment.currency,
            "reason": "account_closed" if self.status == RefundWord.FAILED else "",
        }

    def told_beside(self) -> dict[str, str]:
        """The same beside the facts of its payment, whose names these are too."""
        facts = self.facts()
        prefixed = {f"refund_{name}": facts[name] for name in ("status", "amount", "reason")}
        return {name: facts[name] for name in ("refund_reference", "refund_id")} | prefixed


class DeliveryQuerySet(models.QuerySet["SandboxDelivery"]):
    """What the sender looks for."""

    def owed(self) -> Self:
        """Not taken by the shop yet, and not given up."""
        return self.filter(delivered_at=None, gave_up=False)

    def due(self, now: datetime) -> Self:
        return self.owed().filter(due_at__lte=now).order_by("due_at", "pk")


class SandboxDelivery(models.Model):
    """A callback that the pretend gateway owes the shop; `body` is the text that is signed."""

    class Flavour(models.TextChoices):
        """Whose signature it carries."""

        GOOD = "good", _("Signed by the gateway")
        FORGED = "forged", _("Signed by somebody else")

    payment = models.ForeignKey(SandboxPayment, on_delete=models.CASCADE, related_name="deliveries")
    event_id = models.CharField(_("event"), max_length=64, db_index=True)
    body = models.TextField(_("body"))
    flavour = models.CharField(_("signature"), max_length=8, choices=Flavour.choices, default=Flavour.GOOD)
    due_at = models.DateTimeField(_("due"), db_index=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    response_status = models.PositiveSmallIntegerField(_("answer"), null=True, blank=True)
    delivered_at = models.DateTimeField(_("delivered"), null=True, blank=True)
    gave_up = models.BooleanField(_("given up"), default=False)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("sandbox callback")
        verbose_name_plural = _("sandbox callbacks")
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.event_id
