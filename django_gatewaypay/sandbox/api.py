"""The pretend gateway's API: the plain hosted protocol, from the other side."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from ..conf import settings
from .decisions import Action, decide
from .guards import api_view, find_payment, wake_after_commit
from .models import SandboxPayment, Word
from .wire import Refused, read_key, read_session, write_time

__all__ = ["cancel", "create_session", "find", "status"]


@api_view
@require_POST
def create_session(request: HttpRequest) -> HttpResponse:
    """Open a payment session, or find the one that this key has opened."""
    key = read_key(request.headers.get("Idempotency-Key"))
    fields = read_session(request.body)
    payment, created = SandboxPayment.objects.get_or_create(idempotency_key=key, defaults=fields)
    if payment.fingerprint != fields["fingerprint"]:
        raise Refused("idempotency_conflict")
    return JsonResponse(session_facts(payment), status=201 if created else 200)


@api_view
@require_GET
def status(request: HttpRequest, reference: str) -> HttpResponse:
    """Say what is true now."""
    return JsonResponse(status_facts(require_payment(reference)))


@api_view
@require_GET
def find(request: HttpRequest, transaction_id: str) -> HttpResponse:
    """Say which session the customer's own id has; the newest, if it opened several."""
    payment = SandboxPayment.objects.filter(transaction_id=transaction_id).order_by("-pk").first()
    if payment is None:
        raise Refused("not_found", 404)
    return JsonResponse(session_facts(payment))


@api_view
@require_POST
def cancel(request: HttpRequest, reference: str) -> HttpResponse:
    """Close an unpaid session; anything else stays as it is. Says what is true afterwards."""
    payment = require_payment(reference)
    if payment.told_status == Word.PENDING and decide(payment, Action.CANCEL):
        wake_after_commit()
    payment.refresh_from_db()
    return JsonResponse(status_facts(payment))


def require_payment(reference: str) -> SandboxPayment:
    """The payment of a reference.

    Raises:
        Refused: 404.
    """
    payment = find_payment(reference)
    if payment is None:
        raise Refused("not_found", 404)
    return payment


def session_facts(payment: SandboxPayment) -> dict[str, str]:
    path = reverse("gatewaypay_sandbox:pay", args=[payment.reference])
    return {
        "reference": payment.reference,
        "payment_url": settings.BASE_URL.rstrip("/") + path,
        "status": payment.told_status,
        "expires_at": write_time(payment.expires_at),
    }


def status_facts(payment: SandboxPayment) -> dict[str, str]:
    return payment.facts(payment.told_status)
