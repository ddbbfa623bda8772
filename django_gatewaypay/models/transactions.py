"""A transaction: one attempt to collect one amount."""

import uuid
from datetime import datetime
from typing import Self

from django.conf import settings as django_settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from moneyed import Money

from ..money import format_minor, from_minor
from ..types import CLOSED_STATES, OPEN_STATES, RefundStatus, State, Status
from .words import CODE, REFERENCE, choices

__all__ = ["Transaction", "shopper_reason"]

OPEN = sorted(str(state) for state in OPEN_STATES)
EXPIRING = [State.CREATED.value, State.PENDING.value]


class TransactionQuerySet(models.QuerySet["Transaction"]):
    """What the sweeps and the admin look for."""

    def open(self) -> Self:
        """Still able to collect money in the ordinary way."""
        return self.filter(state__in=OPEN)

    def paid(self) -> Self:
        """Money came, and not all of it goes back."""
        return self.filter(state=State.SUCCESS, refunding_minor__lt=F("captured_minor"))

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
    #: What of it staff have been mailed.
    attention_told = models.CharField(max_length=200, blank=True)
    version = models.PositiveIntegerField(default=0)
    captured_minor = models.BigIntegerField(_("captured"), default=0)
    authorized_minor = models.BigIntegerField(_("authorized"), default=0)
    #: What the gateway's own totals said was given back, at most.
    refunded_minor = models.BigIntegerField(_("refunded"), default=0)
    #: Only reserve, and capture when the host says so.
    manual_capture = models.BooleanField(_("manual capture"), default=False)
    #: What a person takes for the whole, where that is not the amount.
    agreed_minor = models.BigIntegerField(_("agreed"), null=True, blank=True)
    #: What our own captures and refunds take or give, unless they fail: the cap that the database keeps.
    capturing_minor = models.BigIntegerField(default=0)
    refunding_minor = models.BigIntegerField(default=0)
    #: What refunds have surely given back, and what of it came back again.
    returned_minor = models.BigIntegerField(default=0)
    undone_minor = models.BigIntegerField(default=0)

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
    #: A keyed digest of the shopper's address, so that staff can search by it.
    email_digest = models.CharField(max_length=64, blank=True)
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
            ("cancel_transaction", _("Can cancel a transaction")),
            ("capture_transaction", _("Can capture an authorized transaction")),
            ("refund_transaction", _("Can refund a transaction")),
            ("resolve_transaction", _("Can decide what waits for a person")),
        )
        constraints = (
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="gatewaypay_amount_positive"),
            # No more is given back than was taken, and no more taken than was reserved, whoever asks at once.
            models.CheckConstraint(
                condition=Q(refunding_minor__gte=0, refunding_minor__lte=F("captured_minor")),
                name="gatewaypay_refund_cap",
            ),
            models.CheckConstraint(
                condition=Q(capturing_minor__gte=0, capturing_minor__lte=F("authorized_minor")),
                name="gatewaypay_capture_cap",
            ),
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
            models.Index(fields=("updated_at",), condition=~Q(attention=F("attention_told")), name="gatewaypay_untold"),
            # The reference first: staff search for one without knowing which account it is of.
            models.Index(fields=("gateway_reference", "gateway"), name="gatewaypay_reference"),
            models.Index(
                fields=("payment_reference", "gateway"), condition=~Q(payment_reference=""), name="gatewaypay_payment"
            ),
            models.Index(fields=("state", "created_at"), name="gatewaypay_state"),
            models.Index(fields=("gateway", "created_at"), name="gatewaypay_gateway"),
            models.Index(fields=("created_at",), condition=Q(late=True), name="gatewaypay_late"),
            models.Index(
                fields=("created_at",),
                condition=Q(returned_minor__gt=0) | Q(refunded_minor__gt=0),
                name="gatewaypay_refunded",
            ),
            models.Index(fields=("email_digest",), condition=~Q(email_digest=""), name="gatewaypay_email"),
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
    def whole_minor(self) -> int:
        """What counts as paid in full: the amount, or what a person has agreed to instead."""
        return self.amount_minor if self.agreed_minor is None else self.agreed_minor

    @property
    def given_back_minor(self) -> int:
        """What has gone back to the shopper: our refunds that came through, or the gateway's total if that is more."""
        return max(self.returned_minor, self.refunded_minor - self.undone_minor)

    @property
    def refund_status(self) -> RefundStatus:
        if not self.given_back_minor:
            return RefundStatus.NONE
        return RefundStatus.FULL if self.given_back_minor >= self.captured_minor else RefundStatus.PARTIAL

    @property
    def goes_back(self) -> bool:
        """All that came is on its way back to the shopper, or there."""
        return 0 < self.captured_minor <= self.refunding_minor

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
