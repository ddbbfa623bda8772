"""Disputes: the shopper's bank takes money back, or says that it may."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from moneyed import Money

from ..money import format_minor, from_minor
from ..types import DisputeState
from .transactions import Transaction
from .words import CODE, REFERENCE, choices

__all__ = ["Dispute"]


class Dispute(models.Model):
    """One dispute (chargeback), as the gateway tells of it. It never moves the transaction's state."""

    transaction = models.ForeignKey(
        Transaction, on_delete=models.PROTECT, related_name="disputes", verbose_name=_("transaction")
    )
    gateway_reference = models.CharField(_("gateway reference"), max_length=REFERENCE)
    state = models.CharField(_("state"), max_length=16, choices=choices(DisputeState))
    #: None: the gateway names no amount, or one that cannot be read.
    amount_minor = models.BigIntegerField(_("amount in minor units"), null=True, blank=True)
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    reason = models.CharField(_("reason"), max_length=CODE, blank=True)
    due_at = models.DateTimeField(_("answer due"), null=True, blank=True)
    opened_at = models.DateTimeField(_("opened"), db_index=True)
    updated_at = models.DateTimeField(_("updated"))

    class Meta:
        verbose_name = _("dispute")
        verbose_name_plural = _("disputes")
        ordering = ("-opened_at",)
        default_permissions = ("view",)
        constraints = (
            models.UniqueConstraint(fields=("transaction", "gateway_reference"), name="gatewaypay_dispute_once"),
        )
        indexes = (
            models.Index(fields=("due_at",), condition=Q(state=DisputeState.OPEN.value), name="gatewaypay_dispute_due"),
        )

    def __str__(self) -> str:
        return f"{self.gateway_reference} · {self.state}"

    @property
    def amount(self) -> Money | None:
        return from_minor(self.amount_minor, self.currency) if self.amount_minor is not None else None

    @property
    def amount_text(self) -> str:
        return format_minor(self.amount_minor, self.currency) if self.amount_minor is not None else ""
