"""The system check of the sandbox."""

from typing import Any

from django.core.checks import CheckMessage, Error, register

from .access import is_allowed

__all__ = ["check_allowed"]


@register("gatewaypay")
def check_allowed(**_: Any) -> list[CheckMessage]:
    """E020: play money where real money may be expected."""
    if is_allowed():
        return []
    return [
        Error(
            "The payment sandbox is installed although DEBUG is off.",
            hint=(
                "Take django_gatewaypay.sandbox out of INSTALLED_APPS, of GATEWAYPAY['GATEWAYS'] and of the URLs. "
                "On a site that is for tests only, set GATEWAYPAY['ALLOW_SANDBOX'] = True."
            ),
            id="gatewaypay.E020",
        )
    ]
