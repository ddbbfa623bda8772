"""Signature checks. Digests are compared in constant time, on the raw bytes, before any parsing."""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from django.core.exceptions import ImproperlyConfigured
from django.views.decorators.debug import sensitive_variables
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from ..exceptions import InvalidSignature, StaleSignature

__all__ = [
    "NoSecret",
    "Secrets",
    "check_age",
    "check_hex_hmac",
    "read_secrets",
    "sign_standard_webhook",
    "verify_standard_webhook",
]

#: A list of secrets, or a callable that returns one (a vault). The first signs, all verify.
Secrets = Sequence[str] | Callable[[], Sequence[str]]

# "12.5", " 12" and "012" are numbers too; the specification knows whole seconds, and one time has one spelling.
WHOLE_SECONDS = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
MAX_AGE_SECONDS = 300


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
        StaleSignature: one did, but not now.
        NoSecret: the host has none, so that nothing can be proved.
    """
    given = {name.lower(): value for name, value in headers.items()}
    sent = given.get("webhook-timestamp", "")
    if not WHOLE_SECONDS.fullmatch(sent) or not given.get("webhook-id"):
        raise InvalidSignature
    if not any(_matches(secret, given, body) for secret in read_secrets(secrets)):
        raise InvalidSignature
    check_age(sent)


@sensitive_variables()
def _matches(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the signatures is, letter for letter, what the library makes of these bytes."""
    # Not its `verify`: that compares decoded bytes, for which base64 has several spellings.
    try:
        then = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        made = Webhook(secret).sign(headers["webhook-id"], then, body.decode())
    except (ValueError, OverflowError, OSError):
        return False
    offered = headers.get("webhook-signature", "").encode(errors="replace").split(b" ")
    return any(hmac.compare_digest(made.encode(), one) for one in offered)


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


def check_age(timestamp: str) -> None:
    """Check that a signed time is now, give or take five minutes to both sides.

    To be asked after the signature: only then is a wrong time the gateway's, and worth an alarm.

    Raises:
        StaleSignature: it is not, or no whole number of Unix seconds.
    """
    if not WHOLE_SECONDS.fullmatch(timestamp) or abs(time.time() - int(timestamp)) > MAX_AGE_SECONDS:
        raise StaleSignature


@sensitive_variables()
def check_hex_hmac(secrets: Secrets, content: bytes, given: Iterable[str]) -> None:
    """Check that one of the given texts is the hex HMAC-SHA256 of `content`; a secret's whole text is the key.

    Raises:
        InvalidSignature: no secret made any of them.
        NoSecret: the host has none, so that nothing can be proved.
    """
    offered = [text.encode(errors="replace") for text in given]
    for secret in read_secrets(secrets):
        made = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest().encode()
        if any(hmac.compare_digest(made, one) for one in offered):
            return
    raise InvalidSignature
