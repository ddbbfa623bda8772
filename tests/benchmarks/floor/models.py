"""A payment, and what happened to it."""

import uuid

from django.db import models

__all__ = ["Event", "Payment"]


class Payment(models.Model):
    """About as wide as a payment has to be."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    reference = models.CharField(max_length=64, unique=True)
    gateway = models.CharField(max_length=32)
    gateway_reference = models.CharField(max_length=64, blank=True)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=16, default="pending")
    metadata = models.JSONField(default=dict)
    payment_url = models.CharField(max_length=200, blank=True)
    poll_attempts = models.PositiveIntegerField(default=0)
    next_poll_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "floor"

    def __str__(self) -> str:
        return self.reference


class Event(models.Model):
    """One line of its history; the same message is written once."""

    payment = models.ForeignKey(Payment, on_delete=models.CASCADE)
    event_id = models.CharField(max_length=64, unique=True)
    from_state = models.CharField(max_length=16)
    to_state = models.CharField(max_length=16)
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "floor"

    def __str__(self) -> str:
        return self.event_id
