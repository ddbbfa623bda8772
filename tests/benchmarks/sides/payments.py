"""django-payments, over its Stripe provider and its own callback view."""

import json
import time
import uuid
from collections.abc import Callable, Sequence
from typing import ClassVar

from ..side import Side, configure
from .stripe_sessions import signed
from .wsgi import Site

__all__ = ["Payments"]

SECRET = "whsec_bench"
STRIPE = {"api_key": "sk_test_x", "use_token": True, "endpoint_secret": SECRET, "secure_endpoint": True}


class Payments(Side):
    """A paid callback, whole path."""

    repeated: ClassVar[bool] = True
    database: ClassVar[str] = "payments"
    packages: ClassVar[Sequence[str]] = ("Django", "psycopg", "django-payments", "stripe")

    def set_up(self) -> None:
        """See `Side`."""
        configure(
            ["payments", "tests.proof.rivals.payments_shop"],
            "tests.proof.rivals.payments_urls",
            PAYMENT_HOST="127.0.0.1",
            PAYMENT_USES_SSL=False,
            PAYMENT_MODEL="payments_shop.Payment",
            PAYMENT_VARIANTS={"stripe": ("payments.stripe.StripeProviderV3", STRIPE)},
        )
        self.site = Site()

    def calls(self, count: int) -> Sequence[Callable[[], None]]:
        """See `Side`."""
        from payments import get_payment_model

        model, tokens = get_payment_model(), [str(uuid.uuid4()) for _ in range(count)]
        known = {"variant": "stripe", "currency": "EUR", "total": "19.99"}
        model.objects.bulk_create(model(token=token, transaction_id=f"cs_{token}", **known) for token in tokens)
        return [self._told(token) for token in tokens]

    def done(self) -> int:
        """See `Side`."""
        from payments import get_payment_model

        return int(get_payment_model().objects.filter(status="confirmed", captured_amount__gt=0).count())

    def _told(self, token: str) -> Callable[[], None]:
        session = {"id": f"cs_{token}", "object": "checkout.session", "client_reference_id": token, "mode": "payment"}
        session |= {"amount_total": 1999, "currency": "eur", "status": "complete", "payment_status": "paid"}
        sent = int(time.time())
        event = {"id": f"evt_{token}", "object": "event", "api_version": "2024-06-20", "livemode": False}
        event |= {"created": sent, "type": "checkout.session.completed", "data": {"object": session}}
        body = json.dumps(event).encode()
        return self.site.post("/payments/process/stripe/", signed(SECRET, body, sent), body)
