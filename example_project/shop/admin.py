"""The shop's side of the admin; payments bring their own."""

from typing import Any

from django.contrib import admin

from .models import Order, Product

admin.site.site_header = "Harbour Goods"
admin.site.site_title = "Harbour Goods"


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """What is for sale."""

    list_display = ("name", "origin", "amount", "currency")
    prepopulated_fields = {"slug": ("name",)}


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """What was ordered; only payments change it."""

    list_display = ("id", "product", "amount", "currency", "user", "paid_at", "fulfilments", "created_at")
    list_filter = ("product", "currency")
    search_fields = ("id",)
    readonly_fields = (
        "id", "product", "amount", "currency", "user", "email", "paid_at", "fulfilments", "created_at",
    )  # fmt: skip
    fields = readonly_fields

    def has_add_permission(self, request: Any) -> bool:
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return False
