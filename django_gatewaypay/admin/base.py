"""What every list of the admin has: it is read-only, and says so when the clock stands."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from .. import services
from ..conf import settings

__all__ = ["GatewayFilter", "ReadOnlyAdmin", "badge"]

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin  # not subscriptable at run time


class ReadOnlyAdmin(ModelAdmin):
    """Books are read, not edited."""

    show_full_result_count = False
    list_per_page = 50

    class Media:
        css = {"all": ("gatewaypay/admin.css",)}

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
        return super().changelist_view(request, extra_context)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def permits(self, request: HttpRequest, codename: str) -> bool:
        """Whether staff may use an action of their own permission."""
        return request.user.has_perm(f"gatewaypay.{codename}")


def badge(kind: str, text: object) -> SafeString:
    return format_html('<span class="gwp-badge gwp-badge-{}">{}</span>', kind, text)


class GatewayFilter(admin.SimpleListFilter):
    """The aliases of the settings, without a DISTINCT over the whole table."""

    title = _("gateway")
    parameter_name = "gateway"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(alias, alias) for alias in settings.GATEWAYS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(gateway=self.value()) if self.value() else queryset
