"""Who may see a transaction: its owner's session, its token, or the guest's own browser.

The token is derived from the transaction's random id under the host's SECRET_KEY, so that a retried
initiation can be answered in full, while the database holds only its hash (docs/adr/0002).
"""

import hashlib
import hmac
import uuid
from base64 import urlsafe_b64encode
from typing import Any

from django.conf import settings as django_settings
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.debug import sensitive_variables

from ..models import Transaction

__all__ = ["TOKEN_PREFIX", "hash_token", "mint_token", "owner_key", "owner_user", "parse_id", "token_matches"]

TOKEN_PREFIX = "gwp_"  # noqa: S105 - a prefix that scanners recognise, not a secret
GUEST = "guest"


@sensitive_variables()
def mint_token(transaction_id: uuid.UUID, secret: str | bytes | None = None) -> str:
    """The 256-bit capability token of a transaction."""
    digest = salted_hmac("gatewaypay.token", str(transaction_id), secret=secret, algorithm="sha256").digest()
    return TOKEN_PREFIX + urlsafe_b64encode(digest).rstrip(b"=").decode()


@sensitive_variables()
def mint_known_token(transaction: Transaction) -> str:
    """The token that was given out for a row, whichever SECRET_KEY was in force then; "" if none fits."""
    for secret in (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS):
        token = mint_token(transaction.pk, secret)
        if token_matches(transaction.token_hash, token):
            return token
    return ""


@sensitive_variables()
def hash_token(token: str) -> str:
    """What the database keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@sensitive_variables()
def token_matches(token_hash: str, token: str) -> bool:
    """Whether `token` is the one whose hash was kept; constant time."""
    return bool(token_hash and token) and hmac.compare_digest(token_hash, hash_token(token))


def owner_user(request: Any) -> Any:
    """The signed-in user behind a request, or None."""
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None


def owner_key(request: Any) -> str:
    """Whose idempotency keys these are."""
    user = owner_user(request)
    return f"user:{user.pk}" if user is not None else GUEST


def owns(transaction: Transaction, request: Any) -> bool:
    """Whether the signed-in user started this transaction."""
    user = owner_user(request)
    return user is not None and constant_time_compare(str(user.pk), str(transaction.user_id))


def parse_id(text: str) -> uuid.UUID | None:
    """A transaction id from a URL, or None when it is not one."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
