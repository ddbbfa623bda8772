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
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from .. import services
from ..exceptions import GatewayPayError
from ..models import Transaction
from ..types import Source
from .base import badge, moment, money
from .confirming import ActingAdmin
from .export import export
from .filters import AttentionFilter, GatewayFilter, time_filter
from .searching import of_payment
from .situation import Situation
from .timeline import Entry, timeline
from .verbs import TRANSACTION_VERBS
from .words import ATTENTION, explain, given_back

__all__ = ["TransactionAdmin"]


@admin.register(Transaction)
class TransactionAdmin(ActingAdmin):
    """Who paid, who is stuck, and why."""

    list_display = ("order", "amount", "state_badge", "gateway", "created")
    list_display_links = ("order",)
    list_filter = ("state", AttentionFilter, "late", GatewayFilter, time_filter("created_at"))
    search_fields = ("order_id",)
    search_help_text = _("Order, shopper's e-mail, gateway reference, payment reference, or transaction id")
    sortable_by = ("order", "created")
    actions = ("refresh_selected", "expire_selected")
    change_form_template = "admin/gatewaypay/transaction/change_form.html"
    verbs = TRANSACTION_VERBS
    fieldsets = (
        (
            _("Details"),
            {
                "classes": ("collapse",),
                "fields": (
                    "id",
                    "description",
                    ("created_at", "expires_at", "updated_at"),
                    ("next_poll_at", "poll_attempts", "waiting_since"),
                    ("manual_capture", "version"),
                    "return_url",
                ),
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

    @admin.display(description=_("created"), ordering="created_at")
    def created(self, row: Transaction) -> str:
        return moment(row.created_at)

    @admin.display(description=_("state"))
    def state_badge(self, row: Transaction) -> SafeString:
        """Where it stands, what went back, and what waits for a person."""
        codes, back = row.attention_codes, given_back(row)
        marks = [badge(row.state, row.state)]
        marks += [badge("attention", gettext("late"))] if row.late and "late" not in codes else []
        marks += [badge("refunded", back)] if back else []
        return format_html_join(" ", "{}", [[mark] for mark in (*marks, *map(attention_badge, sorted(codes)))])

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
        self.run(request, queryset, partial(services.expire, actor=request.user, reason=request.POST.get("reason", "")))
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
            "timeline": self.timeline(request, subject.row),
            "title": gettext("Payment of order %s") % subject.row.order_id,
            "subtitle": None,
        }

    def timeline(self, request: HttpRequest, row: Transaction) -> list[tuple[Entry, str, list[Any]]]:
        """What happened; with the address of what came in or goes out, and what may be done to it."""
        found = []
        for entry in timeline(row):
            name = str(entry.letter._meta.model_name) if entry.letter else ""
            shown = bool(name) and request.user.has_perm(f"gatewaypay.view_{name}")
            url = self.reverse(f"{name}_change", entry.letter.pk) if entry.letter and shown else ""
            found.append((entry, url, self.offered_by_its_list(request, entry.letter)))
        return found

    def acting(self, request: HttpRequest, rows: list[Any]) -> list[tuple[Any, Any, list[Any]]]:
        """Rows with what they are called, and with the buttons of their own lists."""
        found = []
        for row in rows:
            found.append((row, row._meta.verbose_name, self.offered_by_its_list(request, row)))
        return found

    def offered_by_its_list(self, request: HttpRequest, row: Any) -> list[Any]:
        """The buttons of a row, as its own list would show them; none where the host has taken the list away."""
        theirs = self.admin_site._registry.get(type(row))
        return list(theirs.offered(request, row)) if isinstance(theirs, ActingAdmin) else []


def attention_badge(code: str) -> SafeString:
    return badge("attention", label(code))


def label(code: str) -> str:
    """An attention code in words."""
    return str(ATTENTION[code].label) if code in ATTENTION else code
