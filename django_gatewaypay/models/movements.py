"""Money that is moved after the payment: captures of an authorization, and refunds."""

import uuid
from datetime import datetime
from typing import Self, TypeVar

from django.conf import settings as django_settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from moneyed import Money

from ..money import format_minor, from_minor
from ..types import UNANSWERED_MOVEMENTS, MovementState
from .transactions import Transaction
from .words import REFERENCE, choices

__all__ = ["Capture", "Movement", "MovementQuerySet", "Refund"]

UNANSWERED = sorted(str(state) for state in UNANSWERED_MOVEMENTS)


Row = TypeVar("Row", bound="Movement")


class MovementQuerySet(models.QuerySet[Row]):
    """What the sweep and the admin look for."""

    def due(self, now: datetime) -> Self:
        """Time to tell the gateway again, or to ask it what became of it."""
        return self.filter(next_attempt_at__lte=now).order_by("next_attempt_at")


class Movement(models.Model):
    """Money that somebody asked the gateway to move: one intent, one row, one idempotency key.

    Only `lifecycle.apply_movement` changes its state. `amount_minor` is in the transaction's currency.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    transaction = models.ForeignKey(
        Transaction, on_delete=models.PROTECT, related_name="%(class)ss", verbose_name=_("transaction")
    )
    amount_minor = models.BigIntegerField(_("amount in minor units"))
    state = models.CharField(
        _("state"), max_length=16, choices=choices(MovementState), default=MovementState.REQUESTED.value
    )
    #: Why, in the words of whoever asked for it.
    reason = models.CharField(_("reason"), max_length=255, blank=True)
    actor = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        verbose_name=_("asked for by"),
    )
    #: The caller's key: a form that is sent twice, a request that is repeated, is one intent.
    idempotency_key = models.CharField(max_length=255, blank=True)
    gateway_reference = models.CharField(_("gateway reference"), max_length=REFERENCE, blank=True)
    version = models.PositiveIntegerField(default=0)
    #: Since when the gateway may know our key; None: it was never told.
    submitted_at = models.DateTimeField(_("told the gateway"), null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    last_error = models.CharField(_("last error"), max_length=255, blank=True)
    created_at = models.DateTimeField(_("created"), db_index=True)
    updated_at = models.DateTimeField(_("updated"))

    objects = MovementQuerySet.as_manager()

    class Meta:
        abstract = True
        ordering = ("-created_at",)
        default_permissions = ("view",)
        constraints = (
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="gatewaypay_%(class)s_positive"),
            models.CheckConstraint(
                condition=Q(state__in=[str(state) for state in MovementState]), name="gatewaypay_%(class)s_known"
            ),
            models.UniqueConstraint(
                fields=("transaction", "idempotency_key"),
                condition=~Q(idempotency_key=""),
                name="gatewaypay_%(class)s_key",
            ),
            models.UniqueConstraint(
                fields=("transaction", "gateway_reference"),
                condition=~Q(gateway_reference=""),
                name="gatewaypay_%(class)s_once",
            ),
            # Until it is known what became of the last one, nobody starts another.
            models.UniqueConstraint(
                fields=("transaction",), condition=Q(state__in=UNANSWERED), name="gatewaypay_%(class)s_unanswered"
            ),
        )
        indexes = (
            models.Index(
                fields=("next_attempt_at",),
                condition=Q(next_attempt_at__isnull=False),
                name="gatewaypay_%(class)s_due",
            ),
        )

    def __str__(self) -> str:
        return f"{self._meta.model_name} {self.amount_text} · {self.state}"

    @property
    def amount(self) -> Money:
        return from_minor(self.amount_minor, self.transaction.currency)

    @property
    def amount_text(self) -> str:
        return format_minor(self.amount_minor, self.transaction.currency)

    @property
    def waits_for_approval(self) -> bool:
        """A second person has to agree before the gateway hears of it."""
        return False

    @property
    def gateway_key(self) -> str:
        """The idempotency key at the gateway, the same for every try."""
        return f"gatewaypay-{self._meta.model_name}-{self.pk}"


class Refund(Movement):
    """Money given back.

    `foreign` is one that was made at the gateway's own console: heard of, never asked for.
    """

    foreign = models.BooleanField(_("made at the gateway"), default=False)
    #: Above the host's limit a second person decides.
    needs_approval = models.BooleanField(_("needs a second person"), default=False)
    approver = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        verbose_name=_("approved by"),
    )

    class Meta(Movement.Meta):
        verbose_name = _("refund")
        verbose_name_plural = _("refunds")

    @property
    def waits_for_approval(self) -> bool:
        return self.needs_approval and self.approver_id is None and self.state == MovementState.REQUESTED


class Capture(Movement):
    """Money taken from an authorization. After a `final` one the rest is let go."""

    final = models.BooleanField(_("the rest is let go"), default=True)
    #: What the payment had been captured for before: more than that says that this one came through.
    before_minor = models.BigIntegerField(default=0)

    class Meta(Movement.Meta):
        verbose_name = _("capture")
        verbose_name_plural = _("captures")
