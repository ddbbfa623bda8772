"""What came in and what goes out: the callback inbox and the fulfilment outbox."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .transactions import Transaction
from .words import REFERENCE

__all__ = ["Callback", "Fulfilment"]


class Callback(models.Model):
    """The inbox: one verified message of a gateway, kept before it is acknowledged."""

    class State(models.TextChoices):
        RECEIVED = "received", _("received")
        UNMATCHED = "unmatched", _("unmatched")
        PROCESSED = "processed", _("processed")
        DEAD = "dead", _("given up")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    gateway = models.CharField(_("gateway"), max_length=64)
    event_id = models.CharField(_("event"), max_length=REFERENCE)
    state = models.CharField(_("state"), max_length=16, choices=State.choices, default=State.RECEIVED)
    transaction = models.ForeignKey(Transaction, null=True, on_delete=models.PROTECT, related_name="callbacks")
    transaction_ref = models.CharField(_("names transaction"), max_length=REFERENCE, blank=True)
    gateway_reference = models.CharField(_("gateway reference"), max_length=REFERENCE, blank=True)
    update = models.JSONField(_("content"))
    body_sha256 = models.CharField(max_length=64)
    received_at = models.DateTimeField(_("received"), db_index=True)
    processed_at = models.DateTimeField(_("processed"), null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    last_error = models.CharField(_("last error"), max_length=255, blank=True)

    class Meta:
        verbose_name = _("callback")
        verbose_name_plural = _("callbacks")
        ordering = ("-received_at",)
        default_permissions = ("view",)
        permissions = (("retry_callback", _("Can retry a callback")),)
        constraints = (models.UniqueConstraint(fields=("gateway", "event_id"), name="gatewaypay_event_once"),)
        indexes = (
            models.Index(
                fields=("next_attempt_at",), condition=Q(next_attempt_at__isnull=False), name="gatewaypay_inbox_due"
            ),
            models.Index(
                fields=("gateway", "gateway_reference"), condition=Q(state="unmatched"), name="gatewaypay_unmatched"
            ),
            models.Index(
                fields=("state", "received_at"),
                condition=Q(state__in=["dead", "received", "unmatched"]),
                name="gatewaypay_inbox_open",
            ),
        )

    def __str__(self) -> str:
        return f"{self.gateway} {self.event_id}"


class Fulfilment(models.Model):
    """The outbox: what the host is owed, written in the same commit as the state that owes it."""

    class Kind(models.TextChoices):
        FULFIL = "fulfil", _("fulfil")
        RELEASE = "release", _("release")

    class State(models.TextChoices):
        OWED = "owed", _("owed")
        DONE = "done", _("done")
        DEAD = "dead", _("given up")

    key = models.CharField(_("key"), max_length=160, unique=True)
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices)
    order_id = models.CharField(_("order"), max_length=128, db_index=True)
    transaction = models.ForeignKey(Transaction, on_delete=models.PROTECT, related_name="fulfilments")
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.OWED)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    last_error = models.CharField(_("last error"), max_length=255, blank=True)
    created_at = models.DateTimeField(_("created"))
    done_at = models.DateTimeField(_("done"), null=True, blank=True)

    class Meta:
        verbose_name = _("fulfilment")
        verbose_name_plural = _("fulfilments")
        ordering = ("-id",)
        default_permissions = ("view",)
        permissions = (("retry_fulfilment", _("Can retry a fulfilment")),)
        indexes = (
            models.Index(
                fields=("next_attempt_at",), condition=Q(next_attempt_at__isnull=False), name="gatewaypay_outbox_due"
            ),
            models.Index(fields=("state",), condition=Q(state__in=["dead", "owed"]), name="gatewaypay_outbox_open"),
        )

    def __str__(self) -> str:
        return self.key
