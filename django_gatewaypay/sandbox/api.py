"""The pretend gateway's API: the plain hosted protocol, from the other side."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ..conf import settings
from . import movements
from .decisions import Action, decide
from .guards import api_view, find_payment, find_refund, wake_after_commit
from .models import SandboxPayment, Word
from .wire import Refused, read_capture, read_key, read_refund, read_session, read_window, write_time

__all__ = ["cancel", "capture", "create_session", "find", "list_payments", "refund", "refunds", "status"]

PAGE = 100


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
    """Close an unpaid session, or let go what is reserved; anything else stays as it is. Says what is true then."""
    payment = require_payment(reference)
    waits = payment.told_status == Word.PENDING
    if decide(payment, Action.CANCEL) if waits else movements.let_go(payment):
        wake_after_commit()
    payment.refresh_from_db()
    return JsonResponse(status_facts(payment))


@api_view
@require_POST
def capture(request: HttpRequest, reference: str) -> HttpResponse:
    """Take a part of what is reserved; says what is true afterwards."""
    payment, key = require_payment(reference), read_key(request.headers.get("Idempotency-Key"))
    if movements.capture(payment, key, **read_capture(request.body, payment.currency)):
        wake_after_commit()
    payment.refresh_from_db()
    return JsonResponse(status_facts(payment))


@api_view
@require_http_methods(["GET", "POST"])
def refund(request: HttpRequest, reference: str) -> HttpResponse:
    """Give money of a payment back, or say what became of a refund: one address, two kinds of reference."""
    if request.method == "GET":
        found = find_refund(reference)
        if found is None:
            raise Refused("not_found", 404)
        return JsonResponse(found.facts())
    payment, key = require_payment(reference), read_key(request.headers.get("Idempotency-Key"))
    row, created = movements.refund(payment, key, read_refund(request.body, payment.currency))
    if created:
        wake_after_commit()
    return JsonResponse(row.facts(), status=201 if created else 200)


@api_view
@require_GET
def refunds(request: HttpRequest, reference: str) -> HttpResponse:
    """Every refund of a payment."""
    rows = require_payment(reference).refunds.select_related("payment")
    return JsonResponse({"refunds": [row.facts() for row in rows]})


@api_view
@require_GET
def list_payments(request: HttpRequest) -> HttpResponse:
    """Every session that was opened in a time, some at once."""
    since, until, after = read_window(request.GET.dict())
    window = SandboxPayment.objects.filter(created_at__gte=since, created_at__lt=until, pk__gt=after)
    rows = list(window.order_by("pk")[: PAGE + 1])
    more = str(rows[PAGE - 1].pk) if len(rows) > PAGE else ""
    return JsonResponse({"payments": [listed_facts(row) for row in rows[:PAGE]], "next": more})


def require_payment(reference: str) -> SandboxPayment:
    """The payment of a reference.

    Raises:
        Refused: 404.
    """
    payment = find_payment(reference)
    if payment is None:
        raise Refused("not_found", 404)
    return payment


def listed_facts(payment: SandboxPayment) -> dict[str, str]:
    more = {"order_id": payment.order_id, "asked_amount": payment.amount}
    return {**status_facts(payment), **more, "created_at": payment.created_at.isoformat()}


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
