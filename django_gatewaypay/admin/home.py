"""The overview: "is anything wrong?", answered in one look."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext

from ..models import Home
from .comparing import ComparingAdmin
from .overview import Overview

__all__ = ["HomeAdmin"]


@admin.register(Home)
class HomeAdmin(ComparingAdmin):
    """One page, in the place where other models have a list."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("gatewaypay.view_transaction")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        """There is nothing to add, change or delete."""
        page = path("", self.admin_site.admin_view(self.changelist_view), name="gatewaypay_home_changelist")
        return [page, *self.comparing_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The overview.

        Raises:
            PermissionDenied: to who may not see payments.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        overview = Overview(
            sees=lambda model: request.user.has_perm(f"gatewaypay.view_{model}"),
            list_of=lambda model, query: f"{self.reverse(f'{model}_changelist')}?{query}",
        )
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": gettext("Payments: overview"),
            **overview.context(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/gatewaypay/home/overview.html", context)
