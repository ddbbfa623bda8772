"""The adapter of the sandbox."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

from ..conf import settings
from ..gateways.hosted import HostedGateway
from ..gateways.signing import Secrets
from .access import api_key, is_allowed, webhook_secret

__all__ = ["SandboxGateway"]


class SandboxGateway(HostedGateway):
    """A pretend gateway with a real hosted page, for development and tests.

    It is spoken to over HTTP like any other. Nothing needs to be configured:
    `{"BACKEND": "django_gatewaypay.sandbox.gateway.SandboxGateway"}`.

    Args:
        api_base: where the sandbox is mounted; found from `BASE_URL` and the URLs.
        webhook_secrets: derived from `SECRET_KEY`.

    Raises:
        ImproperlyConfigured: DEBUG is off and `ALLOW_SANDBOX` is not True, or the sandbox is not mounted.
    """

    name = "Sandbox"
    test_mode = True

    def __init__(
        self, alias: str, *, api_base: str = "", webhook_secrets: Secrets | None = None, **options: Any
    ) -> None:
        if not is_allowed():
            raise ImproperlyConfigured(
                f"The gateway {alias!r} is the sandbox, and DEBUG is off: no play money here. "
                "On a site that is for tests only, set GATEWAYPAY['ALLOW_SANDBOX'] = True."
            )
        super().__init__(
            alias,
            api_base=api_base or find_base(),
            webhook_secrets=[webhook_secret()] if webhook_secrets is None else webhook_secrets,
            **{"api_key": api_key(), **options},
        )


def find_base() -> str:
    """Where the sandbox's API is on this site.

    Raises:
        ImproperlyConfigured: it is not mounted, or `BASE_URL` is not set.
    """
    if not settings.BASE_URL:
        raise ImproperlyConfigured("The sandbox needs GATEWAYPAY['BASE_URL'].")
    try:
        return settings.BASE_URL.rstrip("/") + reverse("gatewaypay_sandbox:root")
    except NoReverseMatch as error:
        raise ImproperlyConfigured(
            "The sandbox is not mounted: add path('sandbox/', include('django_gatewaypay.sandbox.urls'))."
        ) from error
