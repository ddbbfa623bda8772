"""The host's app."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """No migrations: the test runner makes its table."""

    name = "tests.shop"
    label = "shop"
    default_auto_field = "django.db.models.BigAutoField"
