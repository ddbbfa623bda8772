"""The payments that a visitor can see, and the way to those that were started on another device."""

from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from .. import services
from ..conf import settings
from ..models import Transaction
from ..permissions import guest_ids, remember_guest, seconds_to_wait
from ..services.access import owner_user
from .pages import not_found_page, rate_limited, render_page, see_other, slow_down_page

__all__ = ["check_page", "open_link"]

LISTED = 20


class LookupForm(forms.Form):
    """What a shopper knows of a payment. Nothing is mailed to the address that is typed here."""

    order_id = forms.CharField(
        max_length=128,
        error_messages={
            "required": _("Please enter the order number."),
            "max_length": _("This is too long for an order number."),
        },
    )
    email = forms.CharField(
        max_length=254,
        strip=False,
        error_messages={
            "required": _("Please enter the e-mail address that you gave for the order."),
            "max_length": _("This is too long for an e-mail address."),
        },
    )

    def clean_order_id(self) -> str:
        order_id: str = self.cleaned_data["order_id"]
        if not order_id.isprintable():
            raise forms.ValidationError(_("This is not an order number."))
        return order_id

    def clean_email(self) -> str:
        name, _at, host = self.cleaned_data["email"].strip(" ").rpartition("@")
        email = f"{name}@{host}"
        if not (name and host and email.isprintable()) or " " in email:
            raise forms.ValidationError(_("Please enter an e-mail address such as ann@example.com."))
        return email


@sensitive_post_parameters("email")
@login_not_required
@transaction.non_atomic_requests
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@rate_limited
def check_page(request: HttpRequest) -> HttpResponse:
    """The payments that this visitor started, for whoever closed the page; by POST, a link to those of an order."""
    if request.method != "POST":
        return _list_page(request, LookupForm())
    if not services.lookup_is_offered():
        return not_found_page(request)
    form = LookupForm(request.POST)
    if not form.is_valid():
        return _list_page(request, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    wait = seconds_to_wait(request, "lookup")
    if wait:
        return slow_down_page(request, wait)
    _send_soon(**form.cleaned_data)
    return render_page(request, "gatewaypay/lookup_sent.html", {})


# Mail scanners open links too: this writes nothing but a cookie.
@login_not_required
@transaction.non_atomic_requests
@never_cache
@require_safe
@rate_limited
@sensitive_variables("signed")
def open_link(request: HttpRequest, signed: str) -> HttpResponse:
    """The link out of a mail: this browser may see its order's payments by guests. A user's stay with the user."""
    rows = services.open_link(signed)
    if not rows:
        context = {"form": LookupForm(), "offered": services.lookup_is_offered()}
        return render_page(request, "gatewaypay/link_expired.html", context, status=HTTPStatus.GONE)
    user = owner_user(request)
    hidden = any(row.user_id is not None and (user is None or row.user_id != user.pk) for row in rows)
    response = see_other(reverse("gatewaypay:check") + ("?sign-in" if hidden else ""))
    response["Referrer-Policy"] = "no-referrer"
    guests = [row for row in rows if row.user_id is None]
    if guests:
        remember_guest(request, response, *guests)
    return response


def _list_page(request: HttpRequest, form: LookupForm, status: int = HTTPStatus.OK) -> HttpResponse:
    context: dict[str, Any] = {
        "transactions": _visible(request),
        "form": form,
        "offered": services.lookup_is_offered(),
        "sign_in": "sign-in" in request.GET,
    }
    return render_page(request, "gatewaypay/check.html", context, status=status)


def _visible(request: HttpRequest) -> list[Transaction]:
    user = owner_user(request)
    mine = Transaction.objects.filter(user=user) if user else Transaction.objects.none()
    guest = Transaction.objects.filter(pk__in=guest_ids(request.COOKIES), user=None)
    return sorted([*mine[:LISTED], *guest], key=lambda row: row.created_at, reverse=True)


@sensitive_variables()
def _send_soon(order_id: str, email: str) -> None:
    """What is handed on is no address; a thread and a worker know neither the mount point nor the language."""
    digest = services.address_digest(order_id, email)
    wish = (order_id, digest, reverse("gatewaypay:check"), get_language() or "")
    if not (settings.USE_CELERY and _hand_on(*wish)):
        services.send_link_aside(*wish)


def _hand_on(*wish: str) -> bool:
    from .. import tasks  # noqa: PLC0415 - all of Celery, which a host may have no use for

    return tasks.enqueue(tasks.send_link, *wish)
