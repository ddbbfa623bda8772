"""What is called again and again over books of different sizes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from ..plans import nodes, plan_of, plan_text, reads_most
from ..side import Side
from ..sql import shortened
from .gateway import Gateway
from .ours import Ours, Whole
from .staff import LIST, NOT_OURS, Staff

__all__ = ["Callback", "ChangeList", "PaymentPage", "Poll"]

Calls = Sequence[Callable[[], None]]
KINDS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


class Planned(Side):
    """A side that shows the plans of its statements as well."""

    def plans(self) -> list[dict[str, Any]]:
        """Each statement of a fresh call: what it is, what PostgreSQL does for it, and how many buffers that takes."""
        from django.db import connection

        found: list[dict[str, Any]] = []

        def note(execute: Any, sql: str, params: Any, *rest: Any) -> Any:
            if sql.startswith(KINDS) and not NOT_OURS.search(sql):
                found.append(planned(sql, params))
            return execute(sql, params, *rest)

        (call,) = self.calls(1)
        with connection.execute_wrapper(note):
            call()
        return found

    def indexes(self) -> dict[str, dict[str, float]]:
        """Every index of ours with its rows and its pages."""
        from django.db import connection

        asked = """
            SELECT relname, reltuples, relpages FROM pg_class
            WHERE relkind = 'i' AND relname LIKE 'gatewaypay%'
        """
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
            cursor.execute(asked)
            return {name: {"rows": rows, "pages": pages} for name, rows, pages in cursor.fetchall()}


def planned(sql: str, params: Any) -> dict[str, Any]:
    """One statement at the moment when it is asked."""
    plan = plan_of(sql, params)
    return {
        "sql": shortened(sql),
        "plan": plan_text(sql, params),
        "buffers": plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        "reads_most": reads_most(plan),
        "indexes": sorted({node["Index Name"] for node in nodes(plan) if "Index Name" in node}),
    }


class Callback(Planned, Whole):
    """A callback, whole path."""


class Poll(Planned, Ours):
    """One payment is asked about, and is still pending."""

    def gateway_url(self) -> str:
        """See `Shop`. It answers at once."""
        self.gateway = Gateway("tests.benchmarks.sides.slow_gateway", "0")
        return self.gateway.url

    def calls(self, count: int) -> Calls:
        """See `Side`."""
        from datetime import timedelta

        from django.utils import timezone

        from django_gatewaypay import services
        from django_gatewaypay.models import Transaction

        keys = [row.pk for row in self.pending(count)]
        Transaction.objects.filter(pk__in=keys).update(next_poll_at=timezone.now() - timedelta(minutes=1))
        return [partial(services.poll_one, key) for key in keys]

    def done(self) -> int:
        """See `Side`. Who was asked, and answered; and written down."""
        from django_gatewaypay.models import Transaction
        from tests.shop.models import Order

        ours = [str(pk) for pk in Order.objects.filter(email=self.prefix).values_list("pk", flat=True)]
        rows = Transaction.objects.filter(order_id__in=ours, poll_attempts=1, claimed_until=None)
        return min(rows.count(), self.gateway.count("asked"))


class ChangeList(Staff, Planned):
    """The first page of payments in the admin."""

    database: ClassVar[str] = "admin"

    def calls(self, count: int) -> Calls:
        """See `Side`."""
        return [partial(self._opened, LIST)] * count

    def _opened(self, url: str) -> None:
        answer = self.client.get(url)
        if answer.status_code != 200:
            raise RuntimeError(f"{url} answered {answer.status_code}")


class PaymentPage(ChangeList):
    """The page of one payment, another one each time."""

    def calls(self, count: int) -> Calls:
        """See `Side`."""
        from django_gatewaypay.models import Transaction

        keys = Transaction.objects.filter(state="success").values_list("pk", flat=True)[:count]
        return [partial(self._opened, f"{LIST}{key}/change/") for key in keys]
