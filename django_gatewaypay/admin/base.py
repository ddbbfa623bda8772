"""What every list of the admin has: it is read-only, it does not count, and it says so when the clock stands."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from .. import services
from ..models import Transaction
from ..money import format_minor

__all__ = ["OpenEndedList", "ReadOnlyAdmin", "badge", "moment", "money"]

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin  # not subscriptable at run time

#: Pages after this one are not turned to: whoever looks that far has a better question.
LAST_PAGE = 200


class OpenEndedList(ChangeList):
    """A list with "more" instead of a total: nobody counts a million rows to show fifty of them."""

    has_more = False

    def get_results(self, request: HttpRequest) -> None:
        """One row more than is shown tells whether there are more."""
        if not 1 <= self.page_num <= LAST_PAGE:
            raise IncorrectLookupParameters
        first = (self.page_num - 1) * self.list_per_page
        rows = list(self.queryset[first : first + self.list_per_page + 1])
        self.has_more = len(rows) > self.list_per_page
        self.result_list: Any = rows[: self.list_per_page]
        self.result_count = len(self.result_list)
        self.full_result_count, self.show_full_result_count, self.show_admin_actions = None, False, True
        self.can_show_all, self.multi_page = False, False

    @property
    def newer(self) -> str:
        """The query string of the page before, if there is one."""
        return self.get_query_string({"p": self.page_num - 1}) if self.page_num > 1 else ""

    @property
    def older(self) -> str:
        """The query string of the page after, if there is one and it may be turned to."""
        turns = self.has_more and self.page_num < LAST_PAGE
        return self.get_query_string({"p": self.page_num + 1}) if turns else ""


class ReadOnlyAdmin(ModelAdmin):
    """Books are read, not edited."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count
    list_per_page = 50

    class Media:
        css = {"all": ("gatewaypay/admin.css",)}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return OpenEndedList

    # Actions ask gateways and call hooks: never inside a transaction, also where the host has ATOMIC_REQUESTS.
    @method_decorator(transaction.non_atomic_requests)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, under a warning when nobody does what is due."""
        found = services.health()
        if found.late and request.method == "GET":
            text = _(
                "Nothing has been asked, expired or tried again for %d minutes: neither beat nor gatewaypay_tick runs."
            )
            messages.error(request, text % (found.waiting.total_seconds() // 60))
        context = {
            "title": capfirst(self.opts.verbose_name_plural),
            "may_see_home": request.user.has_perm("gatewaypay.view_transaction"),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """What is exactly the term: an index answers that, and nobody knows only the middle of a reference."""
        term = search_term.strip()
        return (queryset.filter(self.find(term)) if term else queryset), False

    def find(self, term: str) -> Q:
        """Where a search term may stand."""
        return Q(*((name, term) for name in self.search_fields), _connector=Q.OR)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """An action is done to rows that were ticked, never to a whole table: each may ask a gateway."""
        if request.POST.get("select_across") == "1":
            messages.error(request, _("Tick the rows one by one: this is not done to all of them at once."))
            return None
        return super().response_action(request, queryset, *args, **kwargs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def reverse(self, name: str, *args: Any) -> str:
        """One of our pages, on the admin site that this is."""
        return reverse(f"admin:gatewaypay_{name}", args=args, current_app=self.admin_site.name)

    def link_to_payment(self, row: Transaction | None) -> SafeString:
        """The order of a payment, and the way to its page."""
        if row is None:
            return SafeString("—")
        return format_html('<a href="{}">{}</a>', self.reverse("transaction_change", row.pk), row.order_id)

    def permits(self, request: HttpRequest, codename: str) -> bool:
        """Whether staff may use an action of their own permission on what they may see."""
        return self.has_view_permission(request) and request.user.has_perm(f"gatewaypay.{codename}")


def badge(kind: str, text: object) -> SafeString:
    return format_html('<span class="gwp-badge gwp-badge-{}">{}</span>', kind, text)


def moment(when: datetime) -> str:
    """A time as our lists write it: short, and the same in every language."""
    return date_format(when, "Y-m-d H:i")


def money(minor: int, currency: str) -> str:
    """An amount with its currency, as everything here writes it."""
    return f"{format_minor(minor, currency)} {currency}"
