"""The admin over a million payments: `python -m tests.benchmarks.admin_million [PAYMENTS] [PAGE.md]`.

A PostgreSQL of its own is filled, every list, filter, search and page is asked for through Django's test client, and
the time that its SQL took is written down, with the plan of its slowest statement. `DATABASE_URL` replaces the server.
"""

import os
import re
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["GATEWAYPAY_TEST_DB"] = "postgres"
# The settings start their servers for a test run only.
os.environ.setdefault("PYTEST_VERSION", "benchmark")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
from django.conf import settings

django.setup()

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_gatewaypay.models import Callback, Fulfilment, Transaction
from tests.proof.database import empty_database
from tests.proof.frame import machine

RUNS = 5
BUDGET_MS = 200
LIST = "/admin/gatewaypay/transaction/"
#: Whose session, user and permissions are looked up is Django's business.
NOT_OURS = re.compile(r'FROM "(django_session|auth_\w+|django_content_type)"|"auth_user"\."id" = ')


@dataclass
class Figure:
    """What one page cost."""

    name: str
    url: str
    statements: int
    milliseconds: float
    slowest: str

    @property
    def plan(self) -> str:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " + self.slowest.replace("%", "%%"), [])
            return "\n".join(line for (line,) in cursor.fetchall())


def pages() -> Iterator[tuple[str, str]]:
    """What is asked for: a name and an address each."""
    one = Transaction.objects.exclude(payment_reference="").filter(state="success", late=False)[1234]
    callback = Callback.objects.filter(transaction=one)[0]
    yield "overview", "/admin/gatewaypay/home/"
    yield "transactions", LIST
    yield "transactions, page 2", f"{LIST}?p=2"
    yield "transactions, page 200", f"{LIST}?p=200"
    yield "oldest first", f"{LIST}?o=6"
    yield "by order", f"{LIST}?o=1"
    for state in ("created", "pending", "processing", "authorized", "held", "failed", "success"):
        yield f"state {state}", f"{LIST}?state__exact={state}"
    for code in ("any", "mismatch", "late", "duplicate_payment", "hook_dead", "refund_failed"):
        yield f"attention {code}", f"{LIST}?attention={code}"
    yield "late", f"{LIST}?late__exact=1"
    yield "not late", f"{LIST}?late__exact=0"
    for alias in ("hosted", "other", "rare", "unused"):
        yield f"gateway {alias}", f"{LIST}?gateway={alias}"
    yield "one day", f"{LIST}?since=2026-06-01&until=2026-06-01"
    yield "one month", f"{LIST}?since=2026-05-01&until=2026-05-31"
    yield "held at a rare gateway", f"{LIST}?state__exact=held&gateway=rare"
    yield "failed and late", f"{LIST}?state__exact=failed&late__exact=1"
    yield "late in one month", f"{LIST}?late__exact=1&since=2026-05-01&until=2026-05-31"
    yield "search: order", f"{LIST}?q={one.order_id}"
    yield "search: gateway reference", f"{LIST}?q={one.gateway_reference}"
    yield "search: payment reference", f"{LIST}?q={one.payment_reference}"
    yield "search: transaction id", f"{LIST}?q={one.pk}"
    yield "search: e-mail", f"{LIST}?q=shopper@shop.example"
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


def fill(count: int) -> None:
    """The rows, and what the planner knows about them."""
    with connection.cursor() as cursor:
        for statement in (Path(__file__).parent / "million.sql").read_text().split(";\n"):
            # Without parameters a "%" is a "%".
            cursor.execute(statement, {"n": count} if "%(n)s" in statement else None)
        cursor.execute("VACUUM ANALYZE")


def measure(client: Client, name: str, url: str) -> Figure:
    """The median of some runs, after one that warms up."""
    client.get(url)
    runs = [run(client, url) for _ in range(RUNS)]
    statements, slowest = runs[-1][1], runs[-1][2]
    return Figure(name, url, statements, statistics.median(milliseconds for milliseconds, _, _ in runs), slowest)


def run(client: Client, url: str) -> tuple[float, int, str]:
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(url)
    assert answer.status_code == 200, (url, answer.status_code)
    ours = [query for query in captured.captured_queries if not NOT_OURS.search(query["sql"])]
    slowest = max(ours, key=lambda query: float(query["time"]))["sql"]
    return sum(float(query["time"]) for query in ours) * 1000, len(ours), slowest


def instead() -> Iterator[tuple[str, float]]:
    """What is not asked, timed."""
    with connection.cursor() as cursor:
        for name, statement in INSTEAD.items():
            times = []
            for _ in range(RUNS):
                began = time.perf_counter()
                cursor.execute(statement, [])
                cursor.fetchall()
                times.append((time.perf_counter() - began) * 1000)
            yield name, statistics.median(times)


def main() -> None:
    """Fill, measure, print, and write the page if one is named."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    gateways: dict[str, Any] = settings.GATEWAYPAY["GATEWAYS"]
    gateways |= dict.fromkeys(("other", "rare", "unused"), gateways["hosted"])
    with empty_database():
        fill(count)
        client = Client()
        client.force_login(get_user_model().objects.create_superuser("night"))
        figures = [measure(client, name, url) for name, url in pages()]
        for figure in figures:
            sys.stdout.write(f"{figure.milliseconds:8.1f} ms {figure.statements:3} {figure.name}\n")
        others = dict(instead())
        for name, milliseconds in others.items():
            sys.stdout.write(f"{milliseconds:8.1f} ms     instead: {name}\n")
        sizes = {model.__name__: model.objects.count() for model in (Transaction, Callback, Fulfilment)}
        if len(sys.argv) > 2:
            Path(sys.argv[2]).write_text(page(figures, others, sizes))


HEAD = """# How fast the admin is

Written by `python -m tests.benchmarks.admin_million 1000000 docs/reference/admin-speed.md`, on {cores} cores,
{system}, Python {python}, PostgreSQL with {sizes}. The time is that of the SQL of one page,
without the session and the permissions of whoever looks at it; {budget} ms is the most that it may take.

| page | SQL, ms | statements | |
|---|---|---|---|
{rows}

## What is not asked

| instead of it | SQL, ms |
|---|---|
{others}

## Plans

The slowest statement of the slowest pages.

{plans}
"""
SHOWN_PLANS = 8


def verdict(figure: Figure) -> str:
    return "met" if figure.milliseconds <= BUDGET_MS else "**NOT MET**"


def page(figures: list[Figure], others: dict[str, float], sizes: dict[str, int]) -> str:
    """The page of the documentation."""
    rows = [f"| {one.name} | {one.milliseconds:.0f} | {one.statements} | {verdict(one)} |" for one in figures]
    slowest = sorted(figures, key=lambda one: -one.milliseconds)[:SHOWN_PLANS]
    return HEAD.format(
        **machine(),
        budget=BUDGET_MS,
        sizes=", ".join(f"{count:,} {name.lower()}s" for name, count in sizes.items()),
        rows="\n".join(rows),
        others="\n".join(f"| {name} | {spent:.0f} |" for name, spent in others.items()),
        plans="\n\n".join(f"### {one.name}\n\n```text\n{one.plan}\n```" for one in slowest),
    )


if __name__ == "__main__":
    main()
