"""The transactions: who paid, who is stuck, and why."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .. import services
from ..exceptions import GatewayPayError
from ..models import Transaction
from ..money import format_minor
from ..services.access import parse_id
from ..types import Source
from .base import GatewayFilter, ReadOnlyAdmin, badge

__all__ = ["TransactionAdmin"]

Verb = Callable[[HttpRequest, Transaction], Transaction]


def refresh(request: HttpRequest, row: Transaction) -> Transaction:
    """Ask the gateway, on behalf of a member of staff."""
    return services.refresh(row.pk, source=Source.STAFF, actor=request.user)


def expire(request: HttpRequest, row: Transaction) -> Transaction:
    """Ask the gateway once more, then expire, on behalf of a member of staff."""
    return services.expire(row.pk, actor=request.user)


class AttentionFilter(admin.SimpleListFilter):
    """What waits for a person."""

    title = _("attention")
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("any", _("any")),
            ("mismatch", _("wrong amount, currency or reference")),
            ("duplicate_payment", _("paid twice")),
            ("late", _("paid late")),
            ("disputed", _("disputed")),
            ("hook_dead", _("fulfilment given up")),
            ("unmatched", _("callback given up")),
            ("unknown_state", _("unknown answer of the gateway")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Transaction]) -> QuerySet[Transaction]:
        code = self.value()
        if not code:
            return queryset
        flagged = queryset.exclude(attention="")
        return flagged if code == "any" else flagged.filter(attention__contains=code)


@admin.register(Transaction)
class TransactionAdmin(ReadOnlyAdmin):
    """Who paid, who is stuck, and why."""

    list_display = ("order", "money", "state_badge", "gateway", "attention_badges", "created_at", "expires_at")
    list_display_links = ("order",)
    list_filter = ("state", AttentionFilter, "late", GatewayFilter, "created_at")
    search_fields = ("order_id", "gateway_reference", "payment_reference")
    search_help_text = _("Order, gateway reference, or transaction id")
    date_hierarchy = "created_at"
    actions = ("refresh_selected", "expire_selected")
    change_form_template = "admin/gatewaypay/transaction/change_form.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("order_id", "description"),
                    ("money", "captured", "refunded"),
                    ("state_badge", "reason"),
                )
            },
        ),
        (_("What happened"), {"fields": ("attention_badges", "timeline")}),
        (
            _("Gateway"),
            {"fields": (("gateway", "gateway_reference", "payment_reference"), ("next_poll_at", "poll_attempts"))},
        ),
        (_("Shopper"), {"fields": (("user", "waiting_since"), "return_url")}),
        (_("Details"), {"fields": (("created_at", "expires_at", "updated_at"), ("authorized", "version"), "id")}),
    )
    readonly_fields = (
        "money",
        "state_badge",
        "attention_badges",
        "captured",
        "authorized",
        "refunded",
        "timeline",
        "id",
    )

    # --- What is shown.

    @admin.display(description=_("order"), ordering="order_id")
    def order(self, row: Transaction) -> str:
        return row.order_id

    @admin.display(description=_("amount"), ordering="amount_minor")
    def money(self, row: Transaction) -> str:
        return f"{row.amount_text} {row.currency}"

    @admin.display(description=_("captured"))
    def captured(self, row: Transaction) -> str:
        return minor(row, row.captured_minor)

    @admin.display(description=_("authorized"))
    def authorized(self, row: Transaction) -> str:
        return minor(row, row.authorized_minor)

    @admin.display(description=_("refunded"))
    def refunded(self, row: Transaction) -> str:
        return minor(row, row.refunded_minor)

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, row: Transaction) -> SafeString:
        late = badge("attention", _("late")) if row.late else ""
        return format_html("{} {}", badge(str(row.state), row.state), late)

    @admin.display(description=_("attention"))
    def attention_badges(self, row: Transaction) -> SafeString:
        marks = [badge("attention", code) for code in sorted(row.attention_codes)]
        return SafeString(" ".join(marks)) if marks else SafeString("—")

    @admin.display(description=_("timeline"))
    def timeline(self, row: Transaction) -> str:
        """Ledger, inbox and outbox of the transaction, in the order in which things happened."""
        entries = [
            *((event.created_at, event, "event") for event in row.events.select_related("callback", "actor")),
            *((said.received_at, said, "callback") for said in row.callbacks.filter(events=None)),
            *((owed.done_at or owed.created_at, owed, "fulfilment") for owed in row.fulfilments.all()),
        ]
        entries.sort(key=itemgetter(0))
        return render_to_string("admin/gatewaypay/transaction/timeline.html", {"entries": entries})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        pk = parse_id(search_term.strip())
        if pk:
            return queryset.filter(Q(pk=pk) | Q(order_id=search_term.strip())), False
        return super().get_search_results(request, queryset, search_term)

    # --- What may be done.

    def has_refresh_permission(self, request: HttpRequest) -> bool:
        return self.permits(request, "refresh_transaction")

    def has_expire_permission(self, request: HttpRequest) -> bool:
        return self.permits(request, "expire_transaction")

    @admin.action(description=_("Refresh from gateway"), permissions=["refresh"])
    def refresh_selected(self, request: HttpRequest, queryset: QuerySet[Transaction]) -> None:
        self.run(request, queryset, refresh)

    @admin.action(description=_("Expire now"), permissions=["expire"])
    def expire_selected(self, request: HttpRequest, queryset: QuerySet[Transaction]) -> None:
        self.run(request, queryset, expire)

    def run(self, request: HttpRequest, rows: QuerySet[Transaction], verb: Verb) -> None:
        """Do it to each, and say what became of it."""
        changed = 0
        for row in rows:
            try:
                changed += verb(request, row).version != row.version
            except GatewayPayError as error:
                messages.error(request, f"{row.order_id}: {error}")
        text = ngettext("%d transaction changed.", "%d transactions changed.", changed) % changed
        messages.success(request, text)

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("<str:pk>/refresh/", self.admin_site.admin_view(self.refresh_view), name="gatewaypay_refresh"),
            path("<str:pk>/expire/", self.admin_site.admin_view(self.expire_view), name="gatewaypay_expire"),
        ]
        return [*own, *super().get_urls()]

    # A gateway is asked here: never inside a database transaction, also where the host has ATOMIC_REQUESTS.
    @method_decorator(transaction.non_atomic_requests)
    def refresh_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        return self.button(request, pk, refresh, allowed=self.has_refresh_permission(request))

    @method_decorator(transaction.non_atomic_requests)
    def expire_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        return self.button(request, pk, expire, allowed=self.has_expire_permission(request))

    def button(self, request: HttpRequest, pk: str, verb: Verb, *, allowed: bool) -> HttpResponse:
        """One button of the transaction's page: POST only, with its own permission."""
        if not allowed or request.method != "POST":
            raise PermissionDenied
        known = parse_id(pk)
        if known:
            self.run(request, Transaction.objects.filter(pk=known), verb)
        return HttpResponseRedirect(reverse("admin:gatewaypay_transaction_change", args=[pk]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        allowed = {
            "may_refresh": self.has_refresh_permission(request),
            "may_expire": self.has_expire_permission(request),
        }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **allowed})


def minor(row: Transaction, amount: int) -> str:
    return f"{format_minor(amount, row.currency)} {row.currency}"
