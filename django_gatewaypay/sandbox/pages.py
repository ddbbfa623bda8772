"""The pages of the pretend gateway: the hosted page, and a list of what was paid."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ..conf import settings
from .decisions import Action, decide
from .guards import find_payment, sandbox_view, wake_after_commit
from .models import DisputeWord, Mode, RefundPlan, SandboxPayment
from .movements import dispute, plan_refunds
from .wire import origin_of

__all__ = ["after", "index", "pay"]

LATEST = 50
MODES = {
    Mode.ONCE: _("As it should be."),
    Mode.TWICE: _("A network that repeats itself."),
    Mode.REORDERED: _("Callbacks overtake each other."),
    Mode.NEVER: _("The callback is lost; the shop has to ask."),
    Mode.FORGED: _("Somebody else pretends to be the gateway."),
    Mode.WRONG_AMOUNT: _("The smallest unit is missing, in every answer."),
    Mode.LATE: _("Five seconds later, when nobody waits."),
}

PLANS = {
    RefundPlan.AT_ONCE: _("As it should be."),
    RefundPlan.LATER: _("Five seconds later, and until then it is submitted."),
    RefundPlan.REFUSED: _("Submitted first; five seconds later the bank says no."),
    RefundPlan.RETURNED: _("Given back, and five seconds later the account turns out to be closed."),
}


class PayForm(forms.Form):
    """What the buttons of the hosted page send."""

    action = forms.ChoiceField(choices=Action.choices)
    callback = forms.ChoiceField(choices=Mode.choices, required=False)
    seconds = forms.IntegerField(min_value=0, max_value=3600, required=False)

    def choice(self) -> tuple[Action, Mode, int]:
        data = self.cleaned_data
        seconds = 10 if data["seconds"] is None else data["seconds"]
        return Action(data["action"]), Mode(data["callback"] or Mode.ONCE), seconds


class AfterForm(forms.Form):
    """What the page of a paid session sends."""

    refunds = forms.ChoiceField(choices=RefundPlan.choices, required=False)
    dispute = forms.ChoiceField(choices=DisputeWord.choices, required=False)


class SeeOther(HttpResponseRedirect):
    """Go there with a GET, whatever brought you here."""

    status_code = 303


@sandbox_view
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The latest payments."""
    return page(request, "index", payments=SandboxPayment.objects.all()[:LATEST])


@sandbox_view
@require_http_methods(["GET", "HEAD", "POST"])
def pay(request: HttpRequest, reference: str) -> HttpResponse:
    """The hosted page, and what its buttons do."""
    payment = find_payment(reference)
    if payment is None:
        return no_payment(request)
    if request.method == "POST":
        return submit(request, payment)
    if payment.is_undecided:
        return page(request, "pay", payment, modes=choices(MODES))
    return page(request, "decided", payment, plans=choices(PLANS), disputes=DisputeWord.choices)


@sandbox_view
@require_POST
def after(request: HttpRequest, reference: str) -> HttpResponse:
    """What is chosen for the time after the payment: how its refunds end, and what the shopper's bank says."""
    payment = find_payment(reference)
    if payment is None:
        return no_payment(request)
    form = AfterForm(request.POST)
    if not form.is_valid() or not payment.has_money:
        return no_choice(request, payment)
    plan, word = form.cleaned_data["refunds"], form.cleaned_data["dispute"]
    if plan:
        plan_refunds(payment, RefundPlan(plan))
    if word and dispute(payment, DisputeWord(word)):
        wake_after_commit()
    return SeeOther(reverse("gatewaypay_sandbox:pay", args=[payment.reference]))


def submit(request: HttpRequest, payment: SandboxPayment) -> HttpResponse:
    """Do what the button says and send the shopper back to the shop."""
    form = PayForm(request.POST)
    if not form.is_valid():
        return no_choice(request, payment)
    action, mode, seconds = form.choice()
    if decide(payment, action, mode, seconds=seconds):
        wake_after_commit()
    return SeeOther(payment.return_url)


def choices(hints: Mapping[Any, Any]) -> list[tuple[str, Any, Any]]:
    """Value, label and hint of each radio button."""
    return [(word.value, word.label, hint) for word, hint in hints.items()]


def no_payment(request: HttpRequest) -> HttpResponse:
    return page(request, "error", status=404, title=_("There is no such payment"))


def no_choice(request: HttpRequest, payment: SandboxPayment) -> HttpResponse:
    return page(request, "error", payment, status=400, title=_("This is not a choice on this page"))


def page(
    request: HttpRequest, name: str, payment: SandboxPayment | None = None, *, status: int = 200, **context: Any
) -> HttpResponse:
    """A page of the sandbox that runs no script and sends its form to nobody but the shop."""
    shop = urlsplit(payment.return_url).netloc if payment else ""
    response = render(
        request,
        f"gatewaypay_sandbox/{name}.html",
        {"payment": payment, "shop": shop, **context},
        status=status,
    )
    response["Content-Security-Policy"] = policy(payment)
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex"
    response["Cache-Control"] = "no-store"
    return response


def policy(payment: SandboxPayment | None) -> str:
    """The page's Content-Security-Policy."""
    # A browser checks every hop of the redirect that answers the form, so the shop's other origins are in it.
    urls = [payment.return_url, settings.BASE_URL, *settings.RETURN_ORIGINS] if payment else []
    targets = " ".join(["'self'", *sorted({origin_of(url) for url in urls} - {""})])
    return (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; "
        f"form-action {targets}; frame-ancestors 'none'; base-uri 'none'"
    )
