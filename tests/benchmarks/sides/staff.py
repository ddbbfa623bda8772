"""The admin over filled books, through Django's test client."""

import re
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..books import EMAIL
from ..plans import plan_of, plan_text, reads_most
from ..suite import set_up

__all__ = ["LIST", "NOT_OURS", "Staff"]

LIST = "/admin/gatewaypay/transaction/"
#: Whose session, user and permissions are looked up is Django's business.
NOT_OURS = re.compile(r'FROM "(django_session|auth_\w+|django_content_type)"|"auth_user"\."id" = ')
#: What Django's own admin would ask for instead.
INSTEAD = {
    "COUNT(*) for the paginator": "SELECT COUNT(*) FROM gatewaypay_transaction",
    "days of a date_hierarchy": (
        "SELECT DISTINCT DATE_TRUNC('year', created_at) FROM gatewaypay_transaction WHERE created_at IS NOT NULL"
    ),
    "search_fields with icontains": (
        "SELECT id FROM gatewaypay_transaction WHERE UPPER(order_id) LIKE UPPER('%%A-1001234%%') OR "
        "UPPER(gateway_reference) LIKE UPPER('%%A-1001234%%') ORDER BY created_at DESC LIMIT 50"
    ),
    "DISTINCT gateway for a filter": "SELECT DISTINCT gateway FROM gatewaypay_transaction ORDER BY gateway",
}


@dataclass
class Statement:
    """One statement of ours, and how long it took."""

    sql: str
    parameters: Any
    milliseconds: float

    def counts_all(self) -> bool:
        """Whether it counts, and looks at half of the rows of a large table for it, or at more."""
        return "COUNT(" in self.sql and reads_most(plan_of(self.sql, self.parameters))


class Recorder:
    """Notes what is executed."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            taken = (time.perf_counter() - began) * 1000
            if not NOT_OURS.search(sql):
                self.statements.append(Statement(sql, params, taken))

    @property
    def milliseconds(self) -> float:
        return sum(statement.milliseconds for statement in self.statements)

    @property
    def slowest(self) -> Statement:
        return max(self.statements, key=lambda statement: statement.milliseconds)


class Staff:
    """Somebody who may see everything."""

    def set_up(self) -> None:
        """The settings of our suite, with accounts that the books name."""
        set_up()
        from django.conf import settings
        from django.contrib.auth import get_user_model
        from django.test import Client
        from django.test.utils import setup_test_environment

        setup_test_environment()
        gateways: dict[str, Any] = settings.GATEWAYPAY["GATEWAYS"]
        gateways |= dict.fromkeys(("other", "rare", "unused"), gateways["hosted"])
        self.client = Client()
        users = get_user_model().objects
        self.client.force_login(users.filter(username="night").first() or users.create_superuser("night"))

    def look(self, runs: int) -> list[dict[str, Any]]:
        """Every page with what its SQL costs: the median of some runs, after one that warms up."""
        return [self._measured(name, url, runs) for name, url in pages()]

    def _measured(self, name: str, url: str, runs: int) -> dict[str, Any]:
        done = [self._run(url) for _ in range(runs + 1)][1:]
        last = done[-1]
        return {
            "name": name,
            "kind": kind(url),
            "statements": len(last.statements),
            "milliseconds": statistics.median(recorder.milliseconds for recorder in done),
            "counts": sum(statement.counts_all() for statement in last.statements),
            "plan": plan_text(last.slowest.sql, last.slowest.parameters),
        }

    def _run(self, url: str) -> Recorder:
        from django.db import connection

        with connection.execute_wrapper(recorder := Recorder()):
            answer = self.client.get(url)
        assert answer.status_code == 200, (url, answer.status_code)
        return recorder

    def export(self) -> dict[str, int | float]:
        """Everything as CSV: in how many seconds, and by how many MiB the process has grown."""
        from django_gatewaypay.models import Transaction

        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        answer: Any = self.client.get(f"{LIST}export/")
        lines = sum(piece.count(b"\n") for piece in answer.streaming_content)
        assert lines == Transaction.objects.count() + 1
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return {"seconds": time.perf_counter() - began, "MiB": grown // 1024}

    def instead(self, runs: int) -> dict[str, float]:
        """What is not asked, timed."""
        return {name: statistics.median(timed(sql) for _ in range(runs)) for name, sql in INSTEAD.items()}

    def sizes(self) -> dict[str, int]:
        """How many rows there are."""
        from django_gatewaypay.models import Callback, Fulfilment, Transaction

        return {model.__name__: model.objects.count() for model in (Transaction, Callback, Fulfilment)}


def timed(sql: str) -> float:
    """Milliseconds of one statement."""
    from django.db import connection

    with connection.cursor() as cursor:
        began = time.perf_counter()
        cursor.execute(sql, [])
        cursor.fetchall()
        return (time.perf_counter() - began) * 1000


def kind(url: str) -> str:
    """What sort of page an address is of."""
    path, _, asked = url.partition("?")
    if path.endswith(("/home/", "/change/")):
        return "page"
    if "q=" in asked:
        return "search"
    return "filter" if asked and not asked.startswith(("p=", "o=")) else "change list"


def pages() -> Iterator[tuple[str, str]]:
    """What is asked for: a name and an address each."""
    from django.utils import timezone

    from django_gatewaypay.models import Callback, Transaction

    one = Transaction.objects.exclude(payment_reference="").filter(state="success", late=False)[123]
    callback = Callback.objects.filter(transaction=one)[0]
    yield "overview", "/admin/gatewaypay/home/"
    yield "transactions", LIST
    yield "transactions, page 2", f"{LIST}?p=2"
    yield "transactions, page 200", f"{LIST}?p=200"
    yield "oldest first", f"{LIST}?o=5"
    yield "by order", f"{LIST}?o=1"
    for state in ("created", "pending", "processing", "authorized", "held", "failed", "success"):
        yield f"state {state}", f"{LIST}?state__exact={state}"
    for code in ("any", "mismatch", "late", "duplicate_payment", "hook_dead", "refund_failed"):
        yield f"attention {code}", f"{LIST}?attention={code}"
    yield "late", f"{LIST}?late__exact=1"
    yield "not late", f"{LIST}?late__exact=0"
    for alias in ("hosted", "other", "rare", "unused"):
        yield f"gateway {alias}", f"{LIST}?gateway={alias}"
    first, last = (timezone.localdate() - timedelta(days=days) for days in (230, 200))
    month = f"since={first}&until={last}"
    yield "one day", f"{LIST}?since={first}&until={first}"
    yield "one month", f"{LIST}?{month}"
    yield "held at a rare gateway", f"{LIST}?state__exact=held&gateway=rare"
    yield "failed and late", f"{LIST}?state__exact=failed&late__exact=1"
    yield "late in one month", f"{LIST}?late__exact=1&{month}"
    yield "search: order", f"{LIST}?q={one.order_id}"
    yield "search: gateway reference", f"{LIST}?q={one.gateway_reference}"
    yield "search: payment reference", f"{LIST}?q={one.payment_reference}"
    yield "search: transaction id", f"{LIST}?q={one.pk}"
    yield "search: e-mail", f"{LIST}?q={EMAIL}"
    yield "search: nothing found", f"{LIST}?q=nonsense"
    yield "search within a filter", f"{LIST}?q={one.order_id}&state__exact=success&gateway={one.gateway}"
    yield "one payment", f"{LIST}{one.pk}/change/"
    base = "/admin/gatewaypay/callback/"
    yield "callbacks", base
    for state in ("received", "unmatched", "processed", "dead"):
        yield f"callbacks {state}", f"{base}?state__exact={state}"
    yield "callbacks of a rare gateway", f"{base}?gateway=rare"
    yield "callbacks, search: event", f"{base}?q={callback.event_id}"
    yield "callbacks, search: order", f"{base}?q={one.order_id}"
    yield "callbacks, search: nothing found", f"{base}?q=nonsense"
    base = "/admin/gatewaypay/fulfilment/"
    yield "fulfilments", base
    for state in ("owed", "done", "dead"):
        yield f"fulfilments {state}", f"{base}?state__exact={state}"
    yield "fulfilments, search: order", f"{base}?q={one.order_id}"
    base = "/admin/gatewaypay/refund/"
    yield "refunds", base
    for state in ("requested", "unknown", "submitted", "succeeded", "failed"):
        yield f"refunds {state}", f"{base}?state__exact={state}"
    yield "refunds waiting for approval", f"{base}?approval=waiting"
    yield "refunds, search: order", f"{base}?q={one.order_id}"
    yield "refunds, search: nothing found", f"{base}?q=nonsense"
    yield "captures", "/admin/gatewaypay/capture/"
    yield "disputes", "/admin/gatewaypay/dispute/"
    yield "disputes due", "/admin/gatewaypay/dispute/?answer=due"
