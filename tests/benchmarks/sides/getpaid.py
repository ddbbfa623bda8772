"""django-getpaid, over its PayU package and its own callback view."""

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..side import Side, configure
from .wsgi import Site

__all__ = ["Getpaid"]

SECRET = "bench"


class Getpaid(Side):
    """A paid callback, whole path."""

    repeated: ClassVar[bool] = True
    database: ClassVar[str] = "getpaid"
    packages: ClassVar[Sequence[str]] = ("Django", "psycopg", "django-getpaid", "python-getpaid-payu")

    def set_up(self) -> None:
        """See `Side`."""
        configure(
            ["django.contrib.sites", "tests.proof.rivals.getpaid_shop", "getpaid"],
            "tests.proof.rivals.getpaid_urls",
            SITE_ID=1,
            GETPAID_ORDER_MODEL="getpaid_shop.Order",
            GETPAID_BACKEND_SETTINGS={
                "payu": {"pos_id": 1, "second_key": SECRET, "oauth_id": 1, "oauth_secret": "x"},
            },
        )
        from getpaid.registry import registry
        from getpaid_payu.processor import PayUProcessor

        if "payu" not in registry:
            registry.register(PayUProcessor)
        self.site = Site()

    def calls(self, count: int) -> Sequence[Callable[[], None]]:
        """See `Side`."""
        import swapper

        order, payment = swapper.load_model("getpaid", "Order"), swapper.load_model("getpaid", "Payment")
        orders = order.objects.bulk_create(order() for _ in range(count))
        known = {"amount_required": "19.99", "currency": "EUR", "backend": "payu", "status": "prepared"}
        rows = payment.objects.bulk_create(payment(order=one, external_id=uuid.uuid4().hex, **known) for one in orders)
        return [self._told(row) for row in rows]

    def done(self) -> int:
        """See `Side`."""
        import swapper

        return int(swapper.load_model("getpaid", "Payment").objects.filter(status="paid", amount_paid__gt=0).count())

    def _told(self, row: Any) -> Callable[[], None]:
        told = {"orderId": row.external_id, "extOrderId": str(row.pk), "currencyCode": "EUR", "totalAmount": "1999"}
        body = json.dumps({"order": told | {"status": "COMPLETED"}}).encode()
        signature = hashlib.sha256(body + SECRET.encode()).hexdigest()
        header = f"sender=x;signature={signature};algorithm=SHA-256;content=DOCUMENT"
        return self.site.post(f"/payments/callback/{row.pk}/", {"OpenPayu-Signature": header}, body)
