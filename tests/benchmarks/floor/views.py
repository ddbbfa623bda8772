"""Views without a word too many."""

import hashlib
import hmac
import json
import os
from typing import Any

import requests
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from .models import Event, Payment

__all__ = ["SECRET", "callback_orm", "callback_raw", "initiate", "sign", "status"]

session = requests.Session()
session.trust_env = False
SECRET = b"thirty-two bytes for the benches"
IN_ONE_STATEMENT = """
WITH moved AS (
    UPDATE floor_payment SET state = %s, updated_at = now() WHERE id = %s AND state = 'pending' RETURNING id
)
INSERT INTO floor_event (payment_id, event_id, from_state, to_state, payload, created_at)
SELECT id, %s, 'pending', %s, %s, now() FROM moved
"""


def sign(body: bytes) -> str:
    """The HMAC of a body."""
    return hmac.new(SECRET, body, hashlib.sha256).hexdigest()


def verified(request: HttpRequest) -> dict[str, Any] | None:
    """What the body says, if it is signed."""
    given = request.META.get("HTTP_X_SIGNATURE", "")
    return dict(json.loads(request.body)) if hmac.compare_digest(sign(request.body), given) else None


@csrf_exempt
def callback_orm(request: HttpRequest) -> HttpResponse:
    """Lock the row, write the line, save the row."""
    said = verified(request)
    if said is None:
        return HttpResponse(status=401)
    try:
        with transaction.atomic():
            row = Payment.objects.select_for_update().get(pk=said["id"])
            if row.state == "pending":
                row.state = said["state"]
                moved = {"from_state": "pending", "to_state": row.state, "payload": said}
                Event.objects.create(payment=row, event_id=said["event"], **moved)
                row.save(update_fields=["state", "updated_at"])
    except IntegrityError:
        return HttpResponse("known")
    return HttpResponse("ok")


@csrf_exempt
def callback_raw(request: HttpRequest) -> HttpResponse:
    """The same in one raw statement."""
    said = verified(request)
    if said is None:
        return HttpResponse(status=401)
    with connection.cursor() as cursor:
        state = said["state"]
        cursor.execute(IN_ONE_STATEMENT, [state, said["id"], said["event"], state, json.dumps(said)])
    return HttpResponse("ok")


@csrf_exempt
def initiate(request: HttpRequest, call: str) -> HttpResponse:
    """A row, the gateway's session where `call` is "session", and the way to it."""
    said = json.loads(request.body)
    money = {"amount": said["amount"], "currency": said["currency"]}
    row = Payment.objects.create(reference=said["reference"], gateway="hosted", state="created", **money)
    answer = {"reference": f"ps_{row.pk.hex}", "payment_url": "http://127.0.0.1/"}
    if call == "session":
        answer = ask_gateway(row, money)
    row.gateway_reference, row.payment_url, row.state = answer["reference"], answer["payment_url"], "pending"
    row.save(update_fields=["gateway_reference", "payment_url", "state", "updated_at"])
    return JsonResponse({"id": str(row.pk), "payment_url": row.payment_url}, status=201)


def ask_gateway(row: Payment, money: dict[str, str]) -> dict[str, str]:
    """One call over a kept connection."""
    url = f"{os.environ['GATEWAYPAY_BENCH_GATEWAY']}create-session"
    wanted = {**money, "transaction_id": str(row.pk), "order_id": row.reference}
    return dict(session.post(url, json=wanted, headers={"Idempotency-Key": str(row.pk)}, timeout=10).json())


def status(request: HttpRequest, pk: Any) -> HttpResponse:
    """Six columns of one row."""
    columns = ("id", "reference", "state", "amount", "currency", "updated_at")
    return JsonResponse(dict(zip(columns, Payment.objects.values_list(*columns).get(pk=pk), strict=True)))
