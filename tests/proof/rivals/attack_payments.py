"""The attacks on django-payments, over its Stripe provider and its own callback view."""

import hashlib
import hmac
import json
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import django
from django.conf import settings
from wire import Vendor, together

SECRET = "whsec_head_to_head"
STRIPE = {"api_key": "sk_test_x", "use_token": True, "endpoint_secret": SECRET, "secure_endpoint": True}
settings.configure(
    SECRET_KEY="x",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "payments", "payments_shop"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(Path(tempfile.mkdtemp()) / "shop.sqlite3"),
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        }
    },
    ROOT_URLCONF="payments_urls",
    PAYMENT_HOST="127.0.0.1",
    PAYMENT_USES_SSL=False,
    PAYMENT_MODEL="payments_shop.Payment",
    PAYMENT_VARIANTS={"stripe": ("payments.stripe.StripeProviderV3", STRIPE)},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    LOGGING_CONFIG=None,
)
django.setup()

import stripe
from django.core.management import call_command
from django.test import Client
from payments import RedirectNeeded, get_payment_model
from payments.core import provider_factory

Payment = get_payment_model()
CALLBACKS = "/payments/process/stripe/"


def work(method: str, path: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    if path == "/v1/checkout/sessions":
        reference = f"cs_{uuid.uuid4().hex}"
        return 200, {"id": reference, "object": "checkout.session", "url": f"https://checkout.stripe.com/{reference}"}
    if method == "GET":
        return 200, {"id": "cs_1", "object": "checkout.session", "status": "open", "payment_status": "unpaid"}
    return 200, {"id": f"re_{uuid.uuid4().hex}", "object": "refund", "amount": int(fields.get("amount", 0))}


vendor = Vendor(work)
stripe.api_base = vendor.url


def pending() -> Any:
    return Payment.objects.create(variant="stripe", currency="USD", total=Decimal("20.00"), transaction_id="cs_1")


def tell(payment: Any, *, secret: str = SECRET, **session: Any) -> int:
    """Post an event about the payment's session; the status of the answer."""
    told = {"id": "cs_1", "object": "checkout.session", "client_reference_id": payment.token, "mode": "payment"}
    told |= {"amount_total": 2000, "currency": "usd", "status": "complete", "payment_status": "paid", **session}
    kind = "expired" if told["status"] == "expired" else "completed"
    event = {"id": f"evt_{uuid.uuid4().hex}", "object": "event", "api_version": "2024-06-20", "livemode": False}
    event |= {"created": int(time.time()), "type": f"checkout.session.{kind}", "data": {"object": told}}
    body = json.dumps(event).encode()
    sent = str(int(time.time()))
    digest = hmac.new(secret.encode(), sent.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"Stripe-Signature": f"t={sent},v1={digest}"}
    client = Client(raise_request_exception=False)
    return int(client.post(CALLBACKS, body, content_type="application/json", headers=headers).status_code)


def status(payment: Any) -> str:
    return str(Payment.objects.get(pk=payment.pk).status)


def late_expired() -> tuple[bool, str]:
    payment = pending()
    paid = tell(payment)
    if status(payment) != "confirmed":
        return False, f"the paid callback was answered {paid}, the row is {status(payment)}"
    tell(payment, id="cs_old", status="expired", payment_status="unpaid")
    return status(payment) == "confirmed", f"the paid row is {status(payment)}"


def wrong_currency() -> tuple[bool, str]:
    payment = pending()
    tell(payment, amount_total=100, currency="jpy")
    return status(payment) != "confirmed", f"100 JPY for 20.00 USD: {status(payment)}"


def bad_signature() -> tuple[bool, str]:
    payment = pending()
    answer = tell(payment, secret="whsec_stranger")
    return 400 <= answer < 500 and status(payment) == "waiting", f"answered {answer}, the row is {status(payment)}"


def two_starts() -> tuple[bool, str]:
    payment = Payment.objects.create(variant="stripe", currency="USD", total=Decimal("20.00"))
    before = vendor.count("POST", "/v1/checkout/sessions")

    def start() -> None:
        with suppress(RedirectNeeded):
            Payment.objects.get(pk=payment.pk).get_form()

    together(start, start)
    opened = vendor.count("POST", "/v1/checkout/sessions") - before
    return opened == 1, f"{opened} sessions at the gateway"


def double_refund() -> tuple[bool, str]:
    payment = pending()
    tell(payment, payment_intent="pi_1")
    vendor.calls.clear()
    together(*[lambda: Payment.objects.get(pk=payment.pk).refund(Decimal("15.00"))] * 2)
    sent = sum(int(fields["amount"]) for _, path, fields in vendor.calls if path == "/v1/refunds")
    return sent <= 2000, f"{sent / 100:.2f} of 20.00 sent back"


def stale_poll() -> tuple[bool, str]:
    payment = pending()
    poller = Payment.objects.get(pk=payment.pk)
    tell(payment)
    provider_factory("stripe", poller).status(poller)
    return status(payment) == "confirmed", f"the paid row is {status(payment)}"


if __name__ == "__main__":
    call_command("migrate", run_syncdb=True, verbosity=0)
    attacks = [late_expired, wrong_currency, bad_signature, two_starts, double_refund, stale_poll]
    print(json.dumps({attack.__name__: attack() for attack in attacks}))
