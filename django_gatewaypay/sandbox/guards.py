"""What every view of the sandbox has in common."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt

from .access import api_key, is_allowed
from .decisions import settle
from .delivery import wake
from .models import SandboxPayment, SandboxRefund
from .movements import settle_refund
from .wire import Refused

__all__ = ["api_view", "find_payment", "find_refund", "sandbox_view", "wake_after_commit"]

View = Callable[..., HttpResponse]
MAX_BODY = 64 * 1024
LENGTH = re.compile(r"[0-9]{1,8}", re.ASCII)


def sandbox_view(view: View) -> View:
    """A view that is not there unless the sandbox may run, and that reads no more than 64 KB."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not is_allowed():
            raise Http404
        if too_large(request):
            return JsonResponse({"code": "too_large"}, status=413)
        return view(request, *args, **kwargs)

    # Another company's server: it knows no session of the shop that a forged form could misuse, its API takes a
    # key, and scripts must be able to post the page's form.
    return csrf_exempt(login_not_required(transaction.non_atomic_requests(guarded)))


def api_view(view: View) -> View:
    """A `sandbox_view` that wants the API key and answers refusals as JSON."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            require_key(request)
            return view(request, *args, **kwargs)
        except Refused as refusal:
            return JsonResponse({"code": refusal.code}, status=refusal.status)

    return sandbox_view(answered)


def too_large(request: HttpRequest) -> bool:
    """Whether the body is longer than allowed, or does not say how long it is."""
    length = request.headers.get("Content-Length") or "0"
    return "Transfer-Encoding" in request.headers or not LENGTH.fullmatch(length) or int(length) > MAX_BODY


def require_key(request: HttpRequest) -> None:
    """Let in whoever holds the API key.

    Raises:
        Refused: 401.
    """
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {api_key()}"):
        raise Refused("unauthorized", 401)


def find_payment(reference: str) -> SandboxPayment | None:
    """The payment as it is now: what is due of it and of its refunds is decided on the way."""
    payment = SandboxPayment.objects.filter(reference=reference).first()
    if payment is None:
        return None
    now = timezone.now()
    due = payment.settle_at is not None and payment.settle_at <= now
    refunds = list(payment.refunds.filter(settle_at__lte=now))
    if due:
        settle(payment, now)
    for row in refunds:
        settle_refund(row, now)
    if due or refunds:
        payment.refresh_from_db()
        wake_after_commit()
    return payment


def find_refund(reference: str) -> SandboxRefund | None:
    """The refund as it is now."""
    row = SandboxRefund.objects.filter(reference=reference).select_related("payment").first()
    if row:
        find_payment(row.payment.reference)
        row.refresh_from_db(fields=["status"])
    return row


def wake_after_commit() -> None:
    """Let the sender look once the rows are there to be seen."""
    transaction.on_commit(wake)
