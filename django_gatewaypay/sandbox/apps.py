"""The sandbox as an app of its own, so that production simply does not install it."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

__all__ = ["SandboxConfig"]


class SandboxConfig(AppConfig):
    """A pretend payment gateway."""

    name = "django_gatewaypay.sandbox"
    label = "gatewaypay_sandbox"
    verbose_name = _("Payment sandbox")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401, PLC0415 - registers the system check
