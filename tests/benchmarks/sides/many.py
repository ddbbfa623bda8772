"""Many payments of the shop at once, as initiation leaves them."""

import json
from typing import Any

__all__ = ["DAY", "HOUR", "analyze", "empty", "make"]

#: Each has its order; number by number they are due a millisecond later.
MAKE = """
WITH orders AS (
    INSERT INTO shop_order (price_minor, currency, email, paid, fulfilments, releases, mood)
    SELECT 1999, 'EUR', '', false, 0, 0, '' FROM generate_series(1, %(count)s) RETURNING id
), numbered AS (
    SELECT id AS order_id, row_number() OVER () AS number, gen_random_uuid() AS id FROM orders
)
INSERT INTO gatewaypay_transaction
SELECT made.* FROM numbered
CROSS JOIN gatewaypay_transaction AS pattern
CROSS JOIN LATERAL jsonb_populate_record(pattern, jsonb_build_object(
    'id', numbered.id,
    'order_id', numbered.order_id::text,
    'gateway_reference', 'ps_' || replace(numbered.id::text, '-', ''),
    'next_poll_at', now() + %(polled)s * interval '1 second' + number * interval '1 millisecond',
    'expires_at', now() + %(expires)s * interval '1 second' + number * interval '1 millisecond'
) || %(changes)s) AS made
WHERE pattern.id = %(pattern)s
"""
HOUR = 3600
DAY = 24 * HOUR


def make(count: int, *, polled: float = HOUR, expires: float = HOUR, **changes: Any) -> None:
    """So many payments that wait at the gateway.

    Args:
        polled: seconds from now until the first of them is asked about.
        expires: seconds from now until the first of them is past its time.
        changes: other values of their columns.
    """
    from django.db import connection

    from django_gatewaypay.models import Transaction
    from tests.shop.models import Order

    from .ours import pending_row

    pattern = pending_row(Order.objects.create())
    pattern.save()
    told = {"count": count, "polled": polled, "expires": expires, "pattern": pattern.pk}
    with connection.cursor() as cursor:
        cursor.execute(MAKE, told | {"changes": json.dumps(changes)})
    Transaction.objects.filter(pk=pattern.pk).delete()


def empty() -> None:
    """No payment, and nothing about one."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE shop_order, gatewaypay_transaction CASCADE")


def analyze() -> None:
    """What the planner and the visibility map know after a while."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
