"""The pretend gateway's own books: payments, and the callbacks that it owes."""

from datetime import datetime
from typing import Self

from django.db import models
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.translation import gettext_lazy as _

from ..money import format_minor
from ..types import State

__all__ = ["Mode", "SandboxDelivery", "SandboxPayment", "Word"]


class Word(models.TextChoices):
    """The gateway's words on the wire. `expired` is never stored: it is told of what is unpaid and past its time."""

    PENDING = State.PENDING.value, _("Waiting for the shopper")
    PROCESSING = State.PROCESSING.value, _("Being processed")
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


def make_reference() -> str:
    return "sbx_" + get_random_string(24)


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
    def told_status(self) -> Word:
        """What the gateway says when it is asked."""
        return Word.EXPIRED if self.status == Word.PENDING and self.is_past else Word(self.status)

    @property
    def amount(self) -> str:
        return format_minor(self.amount_minor, self.currency)

    def facts(self, status: str, **more: str) -> dict[str, str]:
        """The payment as the wire knows it."""
        facts = {
            **more,
            "transaction_id": self.transaction_id,
            "reference": self.reference,
            "status": str(status),
            "amount": format_minor(self.reported_minor, self.currency),
            "currency": self.currency,
        }
        return facts | {"decline_code": self.decline_code} if status == Word.FAILED else facts


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
