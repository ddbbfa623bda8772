"""Signature checks. Digests are compared in constant time, on the raw bytes, before any parsing."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from django.core.exceptions import ImproperlyConfigured
from django.views.decorators.debug import sensitive_variables
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

from ..exceptions import InvalidSignature

__all__ = ["NoSecret", "Secrets", "read_secrets", "sign_standard_webhook", "verify_standard_webhook"]

#: A list of secrets, or a callable that returns one (a vault). The first signs, all verify.
Secrets = Sequence[str] | Callable[[], Sequence[str]]

# The library reads "12.5" and " 12" as numbers; the specification knows whole seconds only.
WHOLE_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


class NoSecret(ImproperlyConfigured, ValueError):
    """The host has configured no callback secret."""


@sensitive_variables()
def read_secrets(secrets: Secrets) -> Sequence[str]:
    """The secrets in force now.

    Raises:
        NoSecret: there is none, or one is empty.
    """
    found = secrets() if callable(secrets) else secrets
    if isinstance(found, str) or not found or not all(found):
        raise NoSecret("At least one callback secret is needed, as a list of non-empty strings.")
    return found


@sensitive_variables()
def verify_standard_webhook(secrets: Secrets, headers: Mapping[str, str], body: bytes) -> None:
    """Check a Standard Webhooks signature (specification 1.0.0), five minutes to both sides.

    Raises:
        InvalidSignature: no secret signed these bytes under this id and time.
        NoSecret: the host has none, so that nothing can be proved.
    """
    given = {name.lower(): value for name, value in headers.items()}
    if not WHOLE_SECONDS.fullmatch(given.get("webhook-timestamp", "")):
        raise InvalidSignature
    if not any(_matches(secret, given, body) for secret in read_secrets(secrets)):
        raise InvalidSignature


@sensitive_variables()
def _matches(secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    # The library lets malformed base64, bytes and lists out as ValueError.
    except (WebhookVerificationError, ValueError):
        return False
    return True


@sensitive_variables()
def sign_standard_webhook(secret: str, message_id: str, body: bytes) -> dict[str, str]:
    """The three headers that prove `body`, signed now."""
    now = datetime.now(UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body.decode()),
    }


@sensitive_variables()
def check_secret(secret: str) -> None:
    """Refuse a secret that could never verify.

    Raises:
        ValueError: it is empty, or not base64.
    """
    # The library skips characters that are not base64, and would then check with another key.
    text = secret.removeprefix("whsec_").rstrip("=")
    try:
        base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise ValueError("A callback secret is not base64.") from error
    try:
        Webhook(secret)
    except EmptyWebhookSecretError as error:
        raise ValueError("A callback secret is empty.") from error
