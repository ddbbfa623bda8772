"""The books: transactions, their ledger, the callback inbox and the fulfilment outbox."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self

from django.conf import settings as django_settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from moneyed import Money

from .money import format_minor, from_minor
from .types import CLOSED_STATES, OPEN_STATES, Source, State, Status

__all__ = ["Callback", "Fulfilment", "Transaction", "TransactionEvent"]

OPEN = sorted(str(state) for state in OPEN_STATES)
EXPIRING = [State.CREATED.value, State.PENDING.value]
CODE = 64
REFERENCE = 255


def choices(words: Iterable[str]) -> list[tuple[str, str]]:
    return [(str(word), str(word)) for word in words]


class TransactionQuerySet(models.QuerySet["Transaction"]):
    """What the sweeps and the admin look for."""

    def open(self) -> Self:
        """Still able to collect money in the ordinary way."""
        return self.filter(state__in=OPEN)

    def due(self, now: datetime) -> Self:
        """Time to ask the gateway, and nobody is doing so."""
        return self.filter(next_poll_at__lte=now).unclaimed(now).order_by("next_poll_at")

    def overdue(self, now: datetime) -> Self:
        """Past their time, and not yet with the bank."""
        return self.filter(state__in=EXPIRING, expires_at__lte=now).unclaimed(now).order_by("expires_at")

    def unclaimed(self, now: datetime) -> Self:
        return self.filter(Q(claimed_until=None) | Q(claimed_until__lt=now))


class Transaction(models.Model):
    """One attempt to collect one amount for one order at one gateway account.

    Only `lifecycle.apply_update` changes its state. Amounts are integer minor units.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    order_id = models.CharField(_("order"), max_length=128, db_index=True)
    gateway = models.CharField(_("gateway"), max_length=64)
    description = models.CharField(_("description"), max_length=255, blank=True)
    amount_minor = models.BigIntegerField(_("amount in minor units"))
    currency = models.CharField(_("currency"), max_length=3)

    state = models.CharField(_("state"), max_length=16, choices=choices(State), default=State.CREATED.value)
    reason = models.CharField(_("reason"), max_length=CODE, blank=True)
    late = models.BooleanField(_("late"), default=False)
    attention = models.CharField(_("attention"), max_length=200, blank=True)
    version = models.PositiveIntegerField(default=0)
    captured_minor = models.BigIntegerField(_("captured"), default=0)
    authorized_minor = models.BigIntegerField(_("authorized"), default=0)
    refunded_minor = models.BigIntegerField(_("refunded"), default=0)

    gateway_reference = models.CharField(_("gateway reference"), max_length=REFERENCE, blank=True)
    payment_reference = models.CharField(_("payment reference"), max_length=REFERENCE, blank=True)
    #: Which idempotency key opens the session, and since when; None: the first, since the row was made.
    key_number = models.PositiveSmallIntegerField(default=0)
    key_since = models.DateTimeField(null=True, blank=True)
    next_action = models.JSONField(null=True, blank=True)
    return_url = models.CharField(_("return URL"), max_length=2000, blank=True)

    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    token_hash = models.CharField(max_length=64)
    owner_key = models.CharField(max_length=80)
    idempotency_key = models.CharField(max_length=255, blank=True)
    fingerprint = models.CharField(max_length=64)

    created_at = models.DateTimeField(_("created"), db_index=True)
    updated_at = models.DateTimeField(_("updated"))
    expires_at = models.DateTimeField(_("expires"))
    next_poll_at = models.DateTimeField(_("asked again at"), null=True, blank=True)
    poll_attempts = models.PositiveSmallIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True, blank=True)
    refreshed_at = models.DateTimeField(null=True, blank=True)
    waiting_since = models.DateTimeField(_("shopper waits since"), null=True, blank=True)

    objects = TransactionQuerySet.as_manager()

    class Meta:
        verbose_name = _("transaction")
        verbose_name_plural = _("transactions")
        ordering = ("-created_at",)
        default_permissions = ("view",)
        permissions = (
            ("refresh_transaction", _("Can ask the gateway about a transaction")),
            ("expire_transaction", _("Can expire a transaction")),
        )
        constraints = (
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="gatewaypay_amount_positive"),
            models.CheckConstraint(
                condition=Q(state__in=[str(state) for state in State]), name="gatewaypay_state_known"
            ),
            models.UniqueConstraint(
                fields=("gateway", "order_id"),
                condition=Q(state__in=OPEN),
                name="gatewaypay_one_open_per_order",
            ),
            models.UniqueConstraint(
                fields=("owner_key", "idempotency_key"),
                condition=~Q(idempotency_key=""),
                name="gatewaypay_idempotency_key",
            ),
        )
        indexes = (
            models.Index(fields=("next_poll_at",), condition=Q(next_poll_at__isnull=False), name="gatewaypay_due"),
            models.Index(fields=("expires_at",), condition=Q(state__in=EXPIRING), name="gatewaypay_overdue"),
            models.Index(fields=("created_at",), condition=~Q(attention=""), name="gatewaypay_attention"),
            models.Index(fields=("gateway", "gateway_reference"), name="gatewaypay_reference"),
            models.Index(
                fields=("gateway", "payment_reference"), condition=~Q(payment_reference=""), name="gatewaypay_payment"
            ),
            models.Index(fields=("state", "created_at"), name="gatewaypay_state"),
        )

    def __str__(self) -> str:
        return f"{self.order_id} · {self.amount} · {self.state}"

    @property
    def amount(self) -> Money:
        return from_minor(self.amount_minor, self.currency)

    @property
    def amount_text(self) -> str:
        return format_minor(self.amount_minor, self.currency)

    @property
    def status(self) -> Status:
        return State(self.state).status

    @property
    def attention_codes(self) -> frozenset[str]:
        return frozenset(self.attention.split())

    @property
    def shopper_reason(self) -> str:
        """Why, in a word that a shopper may be shown."""
        return shopper_reason(self.state, self.reason)


def shopper_reason(state: str, reason: str) -> str:
    """The public reason: staff's detail of a held payment is not for the shopper."""
    if state == State.HELD:
        return "under_review"
    if state in CLOSED_STATES:
        return reason or str(state)
    return "authorized" if state == State.AUTHORIZED else ""


class AppendOnly(models.Model):
    """A row that is written once."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError(f"{type(self).__name__} is append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError(f"{type(self).__name__} is append-only.")


class TransactionEvent(AppendOnly):
    """The ledger: what happened to a transaction, who said so, and what the row was afterwards."""

    class Kind(models.TextChoices):
        MOVED = "moved", _("moved")
        AMENDED = "amended", _("amended")
        NOTED = "noted", _("noted")

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

    def __str__(self) -> str:
        return f"{self.kind}: {self.from_state} → {self.to_state}"


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
        )

    def __str__(self) -> str:
        return self.key
