"""An adapter that needs a package which is not there says what to install, and the check repeats it."""

import subprocess
import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_gatewaypay.checks import check_gateways
from django_gatewaypay.gateways.hosted import HostedGateway

COMMAND = 'pip install "acme-sdk[pay]>=2"'
BASE = {"api_base": "https://pay.example/", "webhook_secrets": ["whsec_QUJDRA=="]}


class NeedsAPackage(HostedGateway):
    """As the guide says it: the import is tried when the adapter is made."""

    def __init__(self, alias: str, **options: Any) -> None:
        super().__init__(alias, **options)
        try:
            import acme_sdk_that_nobody_has  # noqa: F401
        except ImportError as error:
            raise ImportError(f"Acme needs its SDK: {COMMAND}") from error


class SaysItInDjangosWords(HostedGateway):
    """An adapter may raise ImproperlyConfigured itself."""

    def __init__(self, alias: str, **options: Any) -> None:
        raise ImproperlyConfigured(f"Acme needs its SDK: {COMMAND}")


@pytest.mark.parametrize("adapter", [NeedsAPackage, SaysItInDjangosWords])
def test_a_missing_package_is_a_check_error_with_the_command(settings: Any, adapter: type[HostedGateway]) -> None:
    """E009, one message, to copy from."""
    backend = f"{__name__}.{adapter.__name__}"
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"GATEWAYS": {"acme": {"BACKEND": backend, "OPTIONS": BASE}}}
    (error,) = check_gateways()

    assert error.id == "gatewaypay.E009"
    assert COMMAND in error.msg


def test_paypal_names_its_extra() -> None:
    """The adapter can be imported without cryptography, and says which extra brings it."""
    pytest.importorskip("django_gatewaypay.gateways.paypal")
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from django_gatewaypay.gateways.paypal import PayPalGateway\n"
        "try: PayPalGateway('p', client_id='a', client_secret='b', webhook_id='c', sandbox=True)\n"
        "except ImportError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert 'pip install "django-gatewaypay[paypal]"' in ran.stdout
