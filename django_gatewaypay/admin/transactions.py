"""The transactions: who paid, who is stuck, and why."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from .. import services
from ..exceptions import GatewayPayError
from ..models import Transaction
from ..types import Source
from .base import badge, money
from .confirming import ActingAdmin
from .export import export
from .filters import AttentionFilter, GatewayFilter, time_filter
from .searching import of_payment
from .situation import Situation
from .timeline import timeline
from .verbs import TRANSACTION_VERBS
from .words import ATTENTION, explain, given_back

__all__ = ["TransactionAdmin"]


@admin.register(Transaction)
class TransactionAdmin(ActingAdmin):
    """Who paid, who is stuck, and why."""

    list_display = ("order", "amount", "state_badge", "gateway", "attention_badges", "created_at", "expires_at")
    list_display_links = ("order",)
    list_filter = ("state", AttentionFilter, "late", GatewayFilter, time_filter("created_at"))
    search_fields = ("order_id",)
    search_help_text = _("Order, shopper's e-mail, gateway reference, payment reference, or transaction id")
    sortable_by = ("order", "created_at")
    actions = ("refresh_selected", "expire_selected")
    change_form_template = "admin/gatewaypay/transaction/change_form.html"
    verbs = TRANSACTION_VERBS
    fieldsets = (
        (
            _("Gateway"),
            {"fields": (("gateway", "gateway_reference", "payment_reference"), ("next_poll_at", "poll_attempts"))},
        ),
        (_("Shopper"), {"fields": (("user", "waiting_since"), "return_url")}),
        (
            _("Details"),
            {
                "fields": (
                    "description",
                    ("created_at", "expires_at", "updated_at"),
                    ("manual_capture", "version"),
                    "id",
                )
            },
        ),
    )
    readonly_fields = ("id",)

    # --- The list.

    @admin.display(description=_("order"), ordering="order_id")
    def order(self, row: Transaction) -> str:
        return row.order_id

    @admin.display(description=_("amount"))
    def amount(self, row: Transaction) -> str:
        return money(row.amount_minor, row.currency)

    @admin.display(description=_("state"))
    def state_badge(self, row: Transaction) -> SafeString:
        late = badge("attention", gettext("late")) if row.late else ""
        back = given_back(row)
        return format_html("{} {} {}", badge(row.state, row.state), late, badge("refunded", back) if back else "")

    @admin.display(description=_("attention"))
    def attention_badges(self, row: Transaction) -> SafeString:
        marks = [badge("attention", label(code)) for code in sorted(row.attention_codes)]
        return SafeString(" ".join(marks)) if marks else SafeString("—")

    def find(self, term: str) -> Q:
        return of_payment(term)

    def get_urls(self) -> list[URLPattern]:
        own = path("export/", self.admin_site.admin_view(self.export_view), name="gatewaypay_transaction_export")
        return [own, *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """The filtered list as CSV."""
        return export(self, request)

    def has_refresh_permission(self, request: HttpRequest) -> bool:
        return self.permits(request, "refresh_transaction")

    def has_expire_permission(self, request: HttpRequest) -> bool:
        return self.permits(request, "expire_transaction")

    @admin.action(description=_("Refresh from gateway"), permissions=["refresh"])
    def refresh_selected(self, request: HttpRequest, queryset: QuerySet[Transaction]) -> None:
        self.run(request, queryset, partial(services.refresh, source=Source.STAFF, actor=request.user))

    @admin.action(description=_("Expire now"), permissions=["expire"])
    def expire_selected(self, request: HttpRequest, queryset: QuerySet[Transaction]) -> HttpResponse | None:
        """Show them first; then expire them."""
        if "confirmed" not in request.POST:
            return self.confirm_expiry(request, queryset)
        self.run(request, queryset, partial(services.expire, actor=request.user))
        return None

    def confirm_expiry(self, request: HttpRequest, rows: QuerySet[Transaction]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": gettext("Expire now"),
            "rows": rows,
            "way_back": self.reverse("transaction_changelist"),
        }
        return TemplateResponse(request, "admin/gatewaypay/transaction/expire_selected.html", context)

    def run(self, request: HttpRequest, rows: QuerySet[Transaction], verb: Callable[[UUID], Transaction]) -> None:
        """Do it to each, and say what became of it."""
        changed = 0
        for row in rows:
            try:
                changed += verb(row.pk).version != row.version
            except GatewayPayError as error:
                messages.error(request, f"{row.order_id}: {explain(error)}")
        text = ngettext("%d transaction changed.", "%d transactions changed.", changed) % changed
        messages.success(request, text)

    # --- The page.

    def load(self, text_id: str) -> Situation | None:
        row = super().load(text_id)
        return Situation(row) if row else None

    def transaction_of(self, subject: Situation) -> Transaction:
        return subject.row

    def facts(self, subject: Situation) -> list[tuple[str, str]]:
        row = subject.row
        codes = ", ".join(label(code) for code in sorted(row.attention_codes))
        known = [
            (gettext("Order"), row.order_id),
            (gettext("State"), f"{row.state} {row.reason}".strip()),
            *subject.sums(),
            (gettext("Attention"), codes),
        ]
        return [(name, text) for name, text in known if text]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Everything about one payment, on one page."""
        subject = self.load(object_id)
        extra = self.story(request, subject) if subject and self.has_view_permission(request) else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **extra})

    def story(self, request: HttpRequest, subject: Situation) -> dict[str, Any]:
        """What its page shows besides its own columns."""
        return {
            "situation": subject,
            "state": self.state_badge(subject.row),
            "needs": [(code, ATTENTION.get(code)) for code in sorted(subject.row.attention_codes)],
            "offered": list(self.offered(request, subject)),
            "movements": [*self.acting(request, subject.refunds), *self.acting(request, subject.captures)],
            "disputes": subject.disputes,
            "timeline": timeline(subject.row),
        }

    def acting(self, request: HttpRequest, rows: list[Any]) -> list[tuple[Any, Any, list[Any]]]:
        """Rows with what they are called, and with the buttons of their own lists."""
        found = []
        for row in rows:
            theirs = self.admin_site._registry.get(type(row))
            offered = list(theirs.offered(request, row)) if isinstance(theirs, ActingAdmin) else []
            found.append((row, row._meta.verbose_name, offered))
        return found


def label(code: str) -> str:
    """An attention code in words."""
    return str(ATTENTION[code].label) if code in ATTENTION else code
