"""The shop's app."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Products and orders."""

    name = "example_project.shop"
    label = "shop"
    default_auto_field = "django.db.models.BigAutoField"
