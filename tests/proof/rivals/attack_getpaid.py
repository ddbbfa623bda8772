"""The same attacks on django-getpaid, over its PayU package and its own views."""

import hashlib
import json
import sys
import tempfile
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import django
from django.conf import settings
from wire import Vendor, together

SECRET = "head_to_head"
settings.configure(
    SECRET_KEY="x",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        "django.contrib.sites",
        "getpaid_shop",
        "getpaid",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.locmem.Loader", {"getpaid/payment_form.html": "{{ form.errors }}"})
                ]
            },
        }
    ],
    SITE_ID=1,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(Path(tempfile.mkdtemp()) / "shop.sqlite3"),
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        }
    },
    ROOT_URLCONF="getpaid_urls",
    GETPAID_ORDER_MODEL="getpaid_shop.Order",
    GETPAID_BACKEND_SETTINGS={"payu": {"pos_id": 1, "second_key": SECRET, "oauth_id": 1, "oauth_secret": "x"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    LOGGING_CONFIG=None,
)
django.setup()

import swapper
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from getpaid.registry import registry
from getpaid_payu.processor import PayUProcessor

Order, Payment = swapper.load_model("getpaid", "Order"), swapper.load_model("getpaid", "Payment")
ORDERS = "/api/v2_1/orders"
at_the_gateway: dict[str, str] = {}


def work(method: str, path: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    done = {"status": {"statusCode": "SUCCESS"}}
    if path.endswith("/oauth/authorize"):
        return 200, {"access_token": "t", "token_type": "bearer", "expires_in": 40000}
    if method == "POST" and path == ORDERS:
        reference = uuid.uuid4().hex
        return 200, {**done, "orderId": reference, "redirectUri": f"https://payu.example/{reference}"}
    if path.endswith("/refunds"):
        amount = fields["refund"].get("amount", "2000")
        return 200, {**done, "refund": {"refundId": uuid.uuid4().hex, "amount": amount, "status": "PENDING"}}
    reference = path.rpartition("/")[2]
    order = {"orderId": reference, "totalAmount": "2000", "currencyCode": "USD", "status": at_the_gateway[reference]}
    return 200, {**done, "orders": [order]}


vendor = Vendor(work)
PayUProcessor.sandbox_url = vendor.url


def pending() -> Any:
    order = Order.objects.create()
    fields = {"amount_required": Decimal("20.00"), "currency": "USD", "backend": "payu"}
    return Payment.objects.create(order=order, status="prepared", external_id=uuid.uuid4().hex, **fields)


def tell(payment: Any, *, secret: str = SECRET, **order: Any) -> int:
    """Post a notification about the payment; the status of the answer."""
    told = {"orderId": payment.external_id, "extOrderId": str(payment.pk), "currencyCode": "USD"}
    told |= {"totalAmount": "2000", "status": "COMPLETED", **order}
    body = json.dumps({"order": told}).encode()
    signature = hashlib.sha256(body + secret.encode()).hexdigest()
    headers = {"OpenPayu-Signature": f"sender=x;signature={signature};algorithm=SHA-256;content=DOCUMENT"}
    client, url = Client(raise_request_exception=False), f"/payments/callback/{payment.pk}/"
    return int(client.post(url, body, content_type="application/json", headers=headers).status_code)


def fate(payment: Any) -> tuple[str, Decimal]:
    payment = Payment.objects.get(pk=payment.pk)
    return str(payment.status), payment.amount_paid


def late_expired() -> tuple[bool, str]:
    payment = pending()
    paid = tell(payment)
    if fate(payment)[0] != "paid":
        return False, f"the paid callback was answered {paid}, the row is {fate(payment)[0]}"
    answer = tell(payment, status="CANCELED")
    return fate(payment)[0] == "paid", f"the paid row is {fate(payment)[0]}, the late one was answered {answer}"


def wrong_currency() -> tuple[bool, str]:
    payment = pending()
    answer = tell(payment, totalAmount="100", currencyCode="JPY")
    return fate(payment)[0] != "paid", f"100 JPY for 20.00 USD: {fate(payment)[0]}, answered {answer}"


def bad_signature() -> tuple[bool, str]:
    payment = pending()
    answer = tell(payment, secret="stranger")
    return 400 <= answer < 500 and fate(payment)[0] == "prepared", f"answered {answer}, the row is {fate(payment)[0]}"


def two_starts() -> tuple[bool, str]:
    order = Order.objects.create()
    user = get_user_model().objects.create(username="shopper")
    asked = {
        "order": order.pk,
        "amount_required": "20.00",
        "currency": "USD",
        "description": "order",
        "backend": "payu",
    }

    def start() -> int:
        browser = Client(raise_request_exception=False)
        browser.force_login(user)
        return int(browser.post("/payments/new/", asked).status_code)

    before = vendor.count("POST", ORDERS)
    answers = together(start, start)
    opened = vendor.count("POST", ORDERS) - before
    return opened == 1, f"{opened} sessions at the gateway, answered {sorted(map(str, answers))}"


def double_refund() -> tuple[bool, str]:
    payment = pending()
    tell(payment)
    vendor.calls.clear()
    together(*[lambda: Payment.objects.get(pk=payment.pk).start_refund(Decimal("15.00"))] * 2)
    refunds = [fields for _, path, fields in vendor.calls if path.endswith("/refunds")]
    sent = sum(int(fields["refund"].get("amount", 2000)) for fields in refunds)
    return sent <= 2000, f"{sent / 100:.2f} of 20.00 sent back"


def stale_poll() -> tuple[bool, str]:
    payment = pending()
    at_the_gateway[payment.external_id] = "WAITING_FOR_CONFIRMATION"
    poller = Payment.objects.get(pk=payment.pk)
    tell(payment)
    error = ""
    try:
        poller.fetch_and_update_status()
    except Exception as raised:  # noqa: BLE001 - told
        error = f", {type(raised).__name__}"
    state, paid = fate(payment)
    return (state, paid) == ("paid", Decimal("20.00")), f"the paid row is {state} with {paid} paid{error}"


if __name__ == "__main__":
    call_command("migrate", run_syncdb=True, verbosity=0)
    if "payu" not in registry:
        registry.register(PayUProcessor)
    attacks = [late_expired, wrong_currency, bad_signature, two_starts, double_refund, stale_poll]
    print(json.dumps({attack.__name__: attack() for attack in attacks}))
