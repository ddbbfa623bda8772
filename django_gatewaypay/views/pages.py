"""The shopper's pages. What they show is read from the row, and only from the row."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe
from rest_framework.response import Response

from .. import services
from ..conf import settings
from ..models import Transaction
from ..permissions import find_owned, seconds_to_wait
from ..screens import screen_context
from ..services.access import parse_id
from ..types import State

__all__ = [
    "not_found_page",
    "pay_page",
    "problem_page",
    "rate_limited",
    "redirect_to_pay_page",
    "render_page",
    "return_page",
    "see_other",
    "slow_down_page",
]


def rate_limited(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer 429 to whoever loads pages faster than `THROTTLES["page"]`."""

    @wraps(view)
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        wait = seconds_to_wait(request, "page")
        if not wait:
            return view(request, *args, **kwargs)
        return slow_down_page(request, wait)

    return limited


@login_not_required
@transaction.non_atomic_requests
@never_cache
@require_safe
@rate_limited
def pay_page(request: HttpRequest, text_id: str) -> HttpResponse:
    """Instructions, the way to the gateway, and the live answer."""
    row = find_owned(request, text_id)
    return _payment_page(request, row) if row else not_found_page(request)


# A gateway may send the shopper back by POST: it is answered with a redirect and changes nothing.
@csrf_exempt
@login_not_required
@transaction.non_atomic_requests
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@rate_limited
def return_page(request: HttpRequest, text_id: str) -> HttpResponse:
    """The shopper is back: ask the gateway, then show what is true. The visit itself proves nothing."""
    if request.method == "POST":
        known = parse_id(text_id)
        return see_other(reverse("gatewaypay:return", args=[known])) if known else not_found_page(request)
    row = find_owned(request, text_id)
    if row is None:
        return not_found_page(request)
    row = services.refresh_for_shopper(row)
    if settings.USE_CELERY and row.state in {State.PENDING, State.PROCESSING}:
        from .. import tasks  # noqa: PLC0415 - all of Celery, which a host may have no use for

        tasks.ask_again_soon(str(row.pk))
    return _payment_page(request, row)


def redirect_to_pay_page(row: Transaction) -> HttpResponseBase:
    """To the pay page, so that a reload does not send the form again."""
    return see_other(reverse("gatewaypay:pay", args=[row.pk]))


def problem_page(request: HttpRequest, answer: Response) -> HttpResponse:
    """An API problem, for a person."""
    problem: Any = answer.data
    response = render_page(request, "gatewaypay/problem.html", {"problem": problem}, status=answer.status_code)
    if answer.has_header("Retry-After"):
        response["Retry-After"] = answer["Retry-After"]
    return response


def _payment_page(request: HttpRequest, row: Transaction) -> HttpResponse:
    context = screen_context(row)
    return render_page(request, "gatewaypay/pay.html", context, form_target=context["action"].get("url", ""))


def slow_down_page(request: HttpRequest, seconds: int) -> HttpResponse:
    """429, and when to come again."""
    context = {"minutes": -(-seconds // 60)}
    response = render_page(request, "gatewaypay/slow_down.html", context, status=HTTPStatus.TOO_MANY_REQUESTS)
    response["Retry-After"] = str(seconds)
    return response


def render_page(
    request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200, form_target: str = ""
) -> HttpResponse:
    """A page for a person, with the headers of all our pages. `form_target` is where else its form may lead."""
    response = render(request, template, context, status=status)
    response["Content-Security-Policy"] = _policy(request, form_target)
    # Nothing to other sites. With "no-referrer" our own forms would carry `Origin: null`, which CSRF checks refuse.
    response["Referrer-Policy"] = "same-origin"
    return response


def _policy(request: HttpRequest, form_target: str) -> str:
    assets = _origin(static("gatewaypay/gatewaypay.css"))
    socket = f"{'wss' if request.is_secure() else 'ws'}://{request.get_host()}"
    return (
        f"default-src 'none'; script-src 'self' {assets}; style-src 'self' {assets}; img-src 'self' data: {assets}; "
        f"connect-src 'self' {socket}; form-action 'self' {_origin(form_target)}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc and parts.scheme else ""


def see_other(url: str) -> HttpResponse:
    """303."""
    response = redirect(url)
    response.status_code = HTTPStatus.SEE_OTHER
    return response


def not_found_page(request: HttpRequest) -> HttpResponse:
    """The one page for what is not there and for what is not yours."""
    return render_page(request, "gatewaypay/not_found.html", {}, status=404)
