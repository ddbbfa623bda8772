"""Whether the sandbox may run here, and the keys that it and its one customer share."""

import base64

from django.conf import settings as django_settings
from django.utils.crypto import salted_hmac
from django.views.decorators.debug import sensitive_variables

from ..conf import settings

__all__ = ["api_key", "is_allowed", "webhook_secret"]


def is_allowed() -> bool:
    """Whether play money may move here: with DEBUG, or where it was asked for in so many words."""
    return bool(django_settings.DEBUG) or settings.ALLOW_SANDBOX is True


def api_key() -> str:
    """The bearer token of the sandbox API, the same in every process of this site."""
    return "sk_sandbox_" + _derive("api").hex()


@sensitive_variables()
def webhook_secret() -> str:
    """The secret that signs the sandbox's callbacks, in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(_derive("webhook")).decode()


def _derive(purpose: str) -> bytes:
    return salted_hmac(f"gatewaypay.sandbox.{purpose}", "", algorithm="sha256").digest()
