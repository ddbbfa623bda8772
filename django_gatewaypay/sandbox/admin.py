"""The sandbox's books in the admin, to be read."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from .models import SandboxCapture, SandboxDelivery, SandboxPayment, SandboxRefund

__all__ = ["SandboxDeliveryAdmin", "SandboxPaymentAdmin"]

# Django's admin classes are generic for the type checker only.
if TYPE_CHECKING:
    DeliveryTable = admin.TabularInline[SandboxDelivery, SandboxPayment]
    CaptureTable = admin.TabularInline[SandboxCapture, SandboxPayment]
    RefundTable = admin.TabularInline[SandboxRefund, SandboxPayment]
    PaymentPages = admin.ModelAdmin[SandboxPayment]
    DeliveryPages = admin.ModelAdmin[SandboxDelivery]
else:
    DeliveryTable = CaptureTable = RefundTable = admin.TabularInline
    PaymentPages = DeliveryPages = admin.ModelAdmin


class ReadOnly:
    """An admin that shows and never changes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class DeliveryInline(ReadOnly, DeliveryTable):
    """The callbacks of one payment."""

    model = SandboxDelivery
    fields = ("event_id", "flavour", "due_at", "attempts", "response_status", "delivered_at", "gave_up")
    extra = 0


class CaptureInline(ReadOnly, CaptureTable):
    """What was taken of one authorization."""

    model = SandboxCapture
    fields = ("amount_minor", "final", "created_at")
    extra = 0


class RefundInline(ReadOnly, RefundTable):
    """What of one payment goes back."""

    model = SandboxRefund
    fields = ("reference", "amount", "status", "outcome", "settle_at", "refund_id", "reason", "created_at")
    readonly_fields = ("amount",)
    extra = 0


@admin.register(SandboxPayment)
class SandboxPaymentAdmin(ReadOnly, PaymentPages):
    """What was paid with play money."""

    list_display = ("reference", "status", "amount", "currency", "mode", "transaction_id", "created_at", "expires_at")
    list_filter = ("status", "mode", "dispute_status", "currency")
    search_fields = ("reference", "transaction_id", "order_id", "description")
    date_hierarchy = "created_at"
    inlines = (CaptureInline, RefundInline, DeliveryInline)


@admin.register(SandboxDelivery)
class SandboxDeliveryAdmin(ReadOnly, DeliveryPages):
    """What the shop was told."""

    list_display = ("event_id", "payment", "flavour", "attempts", "response_status", "delivered_at", "gave_up")
    list_filter = ("flavour", "gave_up")
    search_fields = ("event_id", "payment__reference", "payment__transaction_id")
    list_select_related = ("payment",)
