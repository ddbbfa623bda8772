"""Whose transaction is it? An unknown id and somebody else's id are answered alike. And who is staff."""

from collections.abc import Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from django.core import signing
from django.core.cache import cache
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from rest_framework.permissions import BasePermission
from rest_framework.settings import api_settings
from rest_framework.throttling import SimpleRateThrottle

from .conf import settings
from .models import Transaction, find
from .services import access

__all__ = [
    "COOKIE",
    "RateLimit",
    "StaffPermission",
    "bearer_token",
    "find_owned",
    "guest_ids",
    "remember_guest",
    "seconds_to_wait",
]

# Named so that Django hides it in error reports: it is a proof, like a password.
COOKIE = "gatewaypay_guest_key"
COOKIE_SALT = "gatewaypay.guest"
#: How long a token and a guest's cookie open a payment; after that, signing in does.
PROOF_LIVES = timedelta(days=30)
REMEMBERED = 10


def find_owned(request: Any, text_id: str) -> Transaction | None:
    """The transaction behind an id from a URL, if this visitor may see it."""
    pk = access.parse_id(text_id)
    row = find(Transaction, id=pk) if pk else None
    token = bearer_token(request.headers.get("Authorization", ""))
    if row is None or not may_see(row, user=getattr(request, "user", None), token=token, cookies=request.COOKIES):
        return None
    return row


def may_see(row: Transaction, *, user: Any, token: str, cookies: Mapping[str, str]) -> bool:
    """Whether one of the three proofs holds: the owner's session, the token, the guest's own browser."""
    if access.token_matches(row.token_hash, token) and row.created_at > timezone.now() - PROOF_LIVES:
        return True
    if user is not None and user.is_authenticated and row.user_id is not None and row.user_id == user.pk:
        return True
    return row.user_id is None and row.pk.hex in guest_ids(cookies)


def bearer_token(header: str) -> str:
    """Our token in an Authorization header; "" for anybody else's."""
    scheme, _, token = header.partition(" ")
    return token if scheme.lower() == "bearer" and token.startswith(access.TOKEN_PREFIX) else ""


def guest_ids(cookies: Mapping[str, str]) -> list[str]:
    """The transactions that this browser started as a guest, newest first."""
    try:
        found = signing.loads(cookies.get(COOKIE, ""), salt=COOKIE_SALT, max_age=PROOF_LIVES)
    except signing.BadSignature:
        return []
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def remember_guest(request: HttpRequest, response: HttpResponseBase, *rows: Transaction) -> None:
    """Let this browser see its payments again; scripts cannot read the cookie."""
    found = [row.pk.hex for row in rows]
    known = [text for text in guest_ids(request.COOKIES) if text not in found]
    response.set_cookie(
        COOKIE,
        signing.dumps([*found, *known][:REMEMBERED], salt=COOKIE_SALT),
        max_age=PROOF_LIVES,
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )


class StaffPermission(BasePermission):
    """Whoever has all that the view's `needs` name: permissions of ours, as in the admin. `is_staff` is the admin's."""

    def has_permission(self, request: Any, view: Any) -> bool:
        user = request.user
        signed_in = user is not None and user.is_authenticated
        return signed_in and all(user.has_perm(f"gatewaypay.{name}") for name in view.needs)


class RateLimit(SimpleRateThrottle):
    """Requests per client address, by the view's `throttle_scope` in `GATEWAYPAY["THROTTLES"]`."""

    cache = cache

    def __init__(self) -> None:
        # The rate depends on the view, and is read live.
        self.rate = None

    def allow_request(self, request: Any, view: Any) -> bool:
        self.scope = view.throttle_scope
        self.rate = settings.THROTTLES.get(self.scope)
        if self.rate is None:
            return True
        self.num_requests, self.duration = self.parse_rate(self.rate)
        return super().allow_request(request, view)

    def get_cache_key(self, request: Any, view: Any) -> str:
        return f"gatewaypay:throttle:{self.scope}:{self.get_ident(request)}"

    def get_ident(self, request: Any) -> str:
        # X-Forwarded-For is what the client says, unless the host has counted its proxies.
        if api_settings.NUM_PROXIES is None:
            return str(request.META.get("REMOTE_ADDR", ""))
        return str(super().get_ident(request))


def seconds_to_wait(request: HttpRequest, scope: str) -> int:
    """How long a visitor has to wait by the limit of a scope; 0 for whoever may go on. It counts this request."""
    limit = RateLimit()
    if limit.allow_request(request, SimpleNamespace(throttle_scope=scope)):
        return 0
    return int(limit.wait() or 0) + 1
