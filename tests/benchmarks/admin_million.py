"""The admin over a million payments: `python -m tests.benchmarks.admin_million [PAYMENTS] [PAGE.md]`.

A PostgreSQL of its own is filled, every list, filter, search and page is asked for through Django's test client, and
the time that its SQL took is written down, with the plan of its slowest statement. `DATABASE_URL` replaces the server.
"""

import os
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
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
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Callback, Fulfilment, Transaction
from tests.proof.database import empty_database
from tests.proof.frame import machine

RUNS = 5
BUDGET_MS = 200
LIST = "/admin/gatewaypay/transaction/"
EMAIL = "ann@shop.example"
#: Whose session, user and permissions are looked up is Django's business.
NOT_OURS = re.compile(r'FROM "(django_session|auth_\w+|django_content_type)"|"auth_user"\."id" = ')


@dataclass
class Statement:
    """One statement of ours, and how long it took."""

    sql: str
    parameters: Any
    milliseconds: float

    def plan(self) -> str:
        """What PostgreSQL does for it, without what is another each time."""
        options = "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF"
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN ({options}) {self.sql}", self.parameters)
            return "\n".join(line for (line,) in cursor.fetchall())


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


@dataclass
class Figure:
    """What one page cost: the median of some runs, and the plan of the slowest statement of the last one."""

    name: str
    statements: int
    milliseconds: float
    plan: str


def pages() -> Iterator[tuple[str, str]]:
    """What is asked for: a name and an address each."""
    one = Transaction.objects.exclude(payment_reference="").filter(state="success", late=False)[1234]
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
        hers = Transaction.objects.filter(order_id__in=[f"A-{100000000 + number}" for number in (7, 77, 777)])
        hers.update(email_digest=services.email_digest(EMAIL))
        cursor.execute("VACUUM ANALYZE")


def measure(client: Client, name: str, url: str) -> Figure:
    """The median of some runs, after one that warms up."""
    client.get(url)
    runs = [run(client, url) for _ in range(RUNS)]
    milliseconds = statistics.median(recorder.milliseconds for recorder in runs)
    return Figure(name, len(runs[-1].statements), milliseconds, runs[-1].slowest.plan())


def run(client: Client, url: str) -> Recorder:
    with connection.execute_wrapper(recorder := Recorder()):
        answer = client.get(url)
    assert answer.status_code == 200, (url, answer.status_code)
    return recorder


def export(client: Client) -> tuple[float, int]:
    """Everything as CSV: in how many seconds, and by how many MiB the process has grown."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    answer: Any = client.get(f"{LIST}export/")
    lines = sum(piece.count(b"\n") for piece in answer.streaming_content)
    assert lines == Transaction.objects.count() + 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return time.perf_counter() - began, grown // 1024


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
        sizes = {model.__name__: model.objects.count() for model in (Transaction, Callback, Fulfilment)}
        text = page(figures, dict(instead()), sizes, export(client))
    sys.stdout.write(text)
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(text)


HEAD = """# How fast the admin is

Written by

```sh
python -m tests.benchmarks.admin_million 1000000 docs/reference/admin-speed.md
```

on {cores} cores, {system}, Python {python}, Django {django}, PostgreSQL {server} as it comes, on the same
machine and with something else running beside it. In it are {sizes}: 400 days
of a shop, a thirtieth of it in the last one; two ledger lines each, 48,000 refunds, and one payment in three hundred
that needs a person.

Each page is opened through Django's test client, and what its statements took is added up: the median of five times,
after one that warms up. Session and permissions of whoever looks are left out. {budget} ms is the most that a page may
take. Times are those of one machine; what holds elsewhere is [the plans](#the-plans): none reads the table of
payments, callbacks or fulfilments. A search that finds no refund, and a state that no refund is in, read all refunds.

| page | SQL, ms | statements | |
|---|---|---|---|
{rows}

The export of all {count:,} rows took {seconds:.0f} s, and the process grew by {grown} MiB meanwhile.

## What is not asked

Django's admin would ask this by itself:

| instead of it | SQL, ms |
|---|---|
{others}

- **No total.** A list has *More* instead of a number of pages: it reads one row more than it shows. Page 200 is the
  last; whoever looks that far is better served by a search, or by a time.
- **No `date_hierarchy`.** It looks at every row to name the days. *By time* compares with two moments.
- **No `icontains`.** A search is exact, and each kind of word has an index that begins with it: order, gateway
  reference, payment reference, id, digest of the shopper's address. The other lists look up the payment first.
- **No counts beside filters, no sorting by a column without an index, no action over "all".**
- **The overview stops** at 50,000 payments of a day, at 10,000 that need a person, and at 1,000 of anything else.

## The plans

Of each page the slowest statement, as `EXPLAIN ANALYZE` tells it. Pages whose plans have the same shape stand together,
with the plan of the first.

{plans}
"""


def verdict(figure: Figure) -> str:
    return "met" if figure.milliseconds <= BUDGET_MS else "**NOT MET**"


def page(figures: list[Figure], others: dict[str, float], sizes: dict[str, int], exported: tuple[float, int]) -> str:
    """The page of the documentation."""
    rows = [f"| {one.name} | {one.milliseconds:.1f} | {one.statements} | {verdict(one)} |" for one in figures]
    return HEAD.format(
        **machine(),
        django=django.get_version(),
        server=server(),
        budget=BUDGET_MS,
        sizes=", ".join(f"{count:,} {name.lower()}s" for name, count in sizes.items()),
        count=sizes["Transaction"],
        seconds=exported[0],
        grown=exported[1],
        rows="\n".join(rows),
        others="\n".join(f"| {name} | {spent:.0f} |" for name, spent in others.items()),
        plans="\n\n".join(f"### {', '.join(names)}\n\n```text\n{plan}\n```" for plan, names in alike(figures)),
    )


def alike(figures: list[Figure]) -> list[tuple[str, list[str]]]:
    """Each shape of a plan once, with the pages that have it."""
    found: dict[str, tuple[str, list[str]]] = {}
    for figure in figures:
        shape = re.sub(r"\(actual[^)]*\)|'[^']*'|\d+", "", figure.plan)
        found.setdefault(shape, (figure.plan, []))[1].append(figure.name)
    return list(found.values())


def server() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        return str(cursor.fetchone()[0])


if __name__ == "__main__":
    main()
