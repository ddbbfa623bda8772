"""What came in and what goes out: the inbox and the outbox, with what was given up and how to try it again."""

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import services
from ..conf import settings
from ..models import Callback, Fulfilment
from .base import badge
from .confirming import ActingAdmin
from .filters import GatewayFilter, time_filter
from .searching import payment_ids
from .timeline import OPEN_CALLBACKS
from .verbs import Cleaned, Verb
from .words import Said

__all__ = ["CallbackAdmin", "FulfilmentAdmin"]

PROCESSED = {
    Callback.State.RECEIVED: (messages.WARNING, _("Not yet: %(error)s. It is tried again by itself.")),
    Callback.State.UNMATCHED: (messages.WARNING, _("It still matches no payment; it is tried again by itself.")),
    Callback.State.PROCESSED: (messages.SUCCESS, _("The callback is processed.")),
    Callback.State.DEAD: (messages.ERROR, _("It was given up again: %(error)s")),
}


def retry_callback(request: HttpRequest, callback: Callback, cleaned: Cleaned) -> Said:
    state = services.retry_callback(callback.pk)
    callback.refresh_from_db()
    level, text = PROCESSED[state]
    return Said(level, text % {"error": callback.last_error})


def retry_fulfilment(request: HttpRequest, owed: Fulfilment, cleaned: Cleaned) -> Said:
    if services.retry_fulfilment(owed.pk):
        return Said(messages.SUCCESS, gettext("Your shop has it: the fulfilment is done."))
    owed.refresh_from_db()
    return Said(messages.ERROR, gettext("Your shop's code failed again: %(error)s") % {"error": owed.last_error})


def can_retry(letter: Callback | Fulfilment, user: Any) -> bool:
    return letter.state not in {Callback.State.PROCESSED, Fulfilment.State.DONE}


class LetterAdmin(ActingAdmin):
    """What inbox and outbox have in common."""

    change_form_template = "admin/gatewaypay/movement_form.html"

    @admin.display(description=_("state"))
    def state_badge(self, row: Callback | Fulfilment) -> SafeString:
        return badge(row.state, row.get_state_display())

    @admin.display(description=_("order"))
    def order(self, row: Callback | Fulfilment) -> SafeString:
        return self.link_to_payment(row.transaction)

    def get_queryset_for_one(self) -> QuerySet[Any]:
        return super().get_queryset_for_one().select_related("transaction")


@admin.register(Callback)
class CallbackAdmin(LetterAdmin):
    """The inbox: what gateways have told us, and what became of it."""

    list_display = ("event_id", "gateway", "state_badge", "order", "received_at", "attempts", "last_error")
    list_filter = ("state", GatewayFilter, time_filter("received_at"))
    search_fields = ("event_id",)
    search_help_text = _("Event, order, shopper's e-mail, or reference of the payment")
    list_select_related = ("transaction",)
    sortable_by = ("received_at",)
    actions = ("retry_selected",)
    fields = (
        ("event_id", "gateway", "order"),
        ("state_badge", "attempts", "last_error"),
        ("received_at", "processed_at", "next_attempt_at"),
        ("transaction_ref", "gateway_reference"),
        "content",
        "id",
    )
    readonly_fields = ("state_badge", "order", "content", "id")
    verbs = (
        Verb(
            name="retry",
            permission="retry_callback",
            label=_("Try again"),
            explains=_(
                "The callback is worked on now, as if it had just come. What was done already is not done twice."
            ),
            legal=can_retry,
            act=retry_callback,
        ),
    )

    def find(self, term: str) -> Q:
        """By its payment, by its own name, or by what it names where nothing matches it."""
        payments = payment_ids(term)
        if payments:
            return Q(transaction_id__in=payments)
        named = Q(gateway_reference=term) | Q(transaction_ref=term)
        # The aliases, because the index begins with them.
        return Q(gateway__in=list(settings.GATEWAYS), event_id=term) | (Q(state__in=OPEN_CALLBACKS) & named)

    @admin.display(description=_("content"))
    def content(self, row: Callback) -> SafeString:
        """What the adapter has let through of it: neither secrets nor personal data."""
        return format_html('<pre class="gwp-content">{}</pre>', json.dumps(row.update, indent=1, ensure_ascii=False))

    def facts(self, subject: Callback) -> list[tuple[str, str]]:
        return [
            (gettext("Event"), subject.event_id),
            (gettext("Gateway"), subject.gateway),
            (gettext("State"), str(subject.get_state_display())),
            (gettext("Order"), subject.transaction.order_id if subject.transaction else ""),
            (gettext("Attempts"), str(subject.attempts)),
            (gettext("Last error"), subject.last_error),
        ]

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return self.permits(request, "retry_callback")

    @admin.action(description=_("Try again now"), permissions=["retry"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Callback]) -> None:
        became = [services.retry_callback(row.pk) for row in queryset]
        done = sum(state == Callback.State.PROCESSED for state in became)
        messages.info(request, gettext("%(done)d of %(all)d processed.") % {"done": done, "all": len(became)})


@admin.register(Fulfilment)
class FulfilmentAdmin(LetterAdmin):
    """The outbox: what the host is owed, and whether it has it."""

    list_display = ("key", "order", "state_badge", "attempts", "next_attempt_at", "done_at", "last_error")
    list_filter = ("state",)
    search_fields = ("order_id",)
    search_help_text = _("Order, shopper's e-mail, or reference of the payment")
    list_select_related = ("transaction",)
    sortable_by = ()
    actions = ("retry_selected",)
    fields = (
        ("key", "kind", "order"),
        ("state_badge", "attempts", "last_error"),
        ("created_at", "next_attempt_at", "done_at"),
    )
    readonly_fields = ("state_badge", "order")
    verbs = (
        Verb(
            name="retry",
            permission="retry_fulfilment",
            label=_("Try again"),
            explains=_("Your shop's own code is called once more. It has its effect once, however often it is called."),
            legal=can_retry,
            act=retry_fulfilment,
        ),
    )

    def load(self, text_id: str) -> Fulfilment | None:
        """Its ids are numbers."""
        known = text_id.isascii() and text_id.isdecimal() and len(text_id) < 19
        return self.get_queryset_for_one().filter(pk=int(text_id)).first() if known else None

    def find(self, term: str) -> Q:
        return Q(transaction_id__in=payment_ids(term)) | Q(order_id=term)

    def facts(self, subject: Fulfilment) -> list[tuple[str, str]]:
        return [
            (gettext("Order"), subject.order_id),
            (gettext("What is owed"), str(subject.get_kind_display())),
            (gettext("State"), str(subject.get_state_display())),
            (gettext("Attempts"), str(subject.attempts)),
            (gettext("Last error"), subject.last_error),
        ]

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return self.permits(request, "retry_fulfilment")

    @admin.action(description=_("Try again now"), permissions=["retry"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Fulfilment]) -> None:
        done = sum(services.retry_fulfilment(row.pk) for row in queryset)
        messages.info(request, gettext("%d delivered.") % done)
