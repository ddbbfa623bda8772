"""The ledger: what happened to a transaction, written once."""

from typing import Any, Self

from django.conf import settings as django_settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..types import Source
from .letters import Callback
from .transactions import Transaction
from .words import CODE, AppendOnly, choices

__all__ = ["TransactionEvent"]

#: What a line keeps of the row as it was then.
COPIED = ("version", "reason", "late", "attention", "captured_minor", "authorized_minor", "refunded_minor")


class TransactionEvent(AppendOnly):
    """The ledger: what happened to a transaction, who said so, and what the row was afterwards."""

    class Kind(models.TextChoices):
        MOVED = "moved", _("moved")
        AMENDED = "amended", _("amended")
        NOTED = "noted", _("noted")
        CAPTURE = "capture", _("capture")
        REFUND = "refund", _("refund")
        DISPUTE = "dispute", _("dispute")

    transaction = models.ForeignKey(Transaction, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    version = models.PositiveIntegerField()
    from_state = models.CharField(max_length=16, blank=True)
    to_state = models.CharField(max_length=16)
    reason = models.CharField(max_length=CODE, blank=True)
    late = models.BooleanField(default=False)
    attention = models.CharField(max_length=200, blank=True)
    captured_minor = models.BigIntegerField(default=0)
    authorized_minor = models.BigIntegerField(default=0)
    refunded_minor = models.BigIntegerField(default=0)
    source = models.CharField(max_length=16, choices=choices(Source))
    evidence = models.JSONField(default=dict)
    note = models.CharField(max_length=255, blank=True)
    callback = models.ForeignKey("Callback", null=True, on_delete=models.PROTECT, related_name="events")
    actor = models.ForeignKey(django_settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = _("transaction event")
        verbose_name_plural = _("transaction events")
        ordering = ("id",)
        default_permissions = ("view",)
        constraints = (
            models.UniqueConstraint(
                fields=("transaction", "version"),
                condition=Q(kind__in=["moved", "amended"]),
                name="gatewaypay_one_event_per_version",
            ),
        )

    @classmethod
    def of(
        cls,
        row: Transaction,
        kind: Kind,
        *,
        source: Source,
        actor: Any = None,
        callback: Callback | None = None,
        note: str = "",
    ) -> Self:
        """A line about a transaction as it is now, unsaved; what it came from and on whose word, the caller adds."""
        copied = {name: getattr(row, name) for name in COPIED}
        now = timezone.now()
        return cls(
            transaction=row,
            kind=kind,
            to_state=row.state,
            source=source,
            actor=actor,
            callback=callback,
            note=note[:255],
            created_at=now,
            **copied,
        )

    def __str__(self) -> str:
        return f"{self.kind}: {self.from_state} → {self.to_state}"
