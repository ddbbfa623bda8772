"""What came in and what goes out: the inbox and the outbox, with what was given up and how to try it again."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import services
from ..models import Callback, Fulfilment
from .base import GatewayFilter, ReadOnlyAdmin, badge

__all__ = ["CallbackAdmin", "FulfilmentAdmin"]


@admin.register(Callback)
class CallbackAdmin(ReadOnlyAdmin):
    """The inbox: what gateways have told us, and what became of it."""

    list_display = ("event_id", "gateway", "state_badge", "transaction", "received_at", "attempts", "last_error")
    list_filter = ("state", GatewayFilter, "received_at")
    search_fields = ("event_id", "gateway_reference", "transaction_ref")
    list_select_related = ("transaction",)
    date_hierarchy = "received_at"
    actions = ("retry_selected",)

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, row: Callback) -> SafeString:
        return badge(row.state, row.get_state_display())

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return self.permits(request, "retry_callback")

    @admin.action(description=_("Try again now"), permissions=["retry"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Callback]) -> None:
        became = [services.retry_callback(row.pk) for row in queryset]
        done = sum(state == Callback.State.PROCESSED for state in became)
        messages.info(request, gettext("%(done)d of %(all)d processed.") % {"done": done, "all": len(became)})


@admin.register(Fulfilment)
class FulfilmentAdmin(ReadOnlyAdmin):
    """The outbox: what the host is owed, and whether it has it."""

    list_display = ("key", "state_badge", "attempts", "next_attempt_at", "done_at", "last_error")
    list_filter = ("state", "kind")
    search_fields = ("order_id",)
    actions = ("retry_selected",)

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, row: Fulfilment) -> SafeString:
        return badge(row.state, row.get_state_display())

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return self.permits(request, "retry_fulfilment")

    @admin.action(description=_("Try again now"), permissions=["retry"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Fulfilment]) -> None:
        done = sum(services.retry_fulfilment(row.pk) for row in queryset)
        messages.info(request, gettext("%d delivered.") % done)
