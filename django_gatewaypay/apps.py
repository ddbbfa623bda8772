"""The app's configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from .conf import settings

__all__ = ["GatewayPayConfig"]


class GatewayPayConfig(AppConfig):
    """Payments."""

    name = "django_gatewaypay"
    label = "gatewaypay"
    verbose_name = _("Payments")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401, PLC0415 - registers the system checks

        if settings.USE_CELERY:
            from . import tasks  # noqa: F401, PLC0415 - so that no shopper has to wait for the import
