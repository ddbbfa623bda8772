"""What the clock asks the database, as `services.sweeping` really sends it, and the claim that it makes."""

import re
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..plans import first_asked, nodes, plan_of, plan_text
from .many import DAY, HOUR, analyze, make
from .ours import Shop

__all__ = ["Claims", "Due"]

RUNS = 15
#: What was open in the books is over, so that all books have the same work left.
CLOSE = "UPDATE gatewaypay_transaction SET state = 'expired', next_poll_at = NULL WHERE next_poll_at IS NOT NULL"
CLAIM = """
UPDATE gatewaypay_transaction SET claimed_until = now() + interval '60 seconds' WHERE id IN (
    SELECT id FROM gatewaypay_transaction
    WHERE next_poll_at <= now() AND (claimed_until IS NULL OR claimed_until < now())
    ORDER BY next_poll_at LIMIT %s FOR UPDATE SKIP LOCKED
) RETURNING id
"""


class Due(Shop):
    """Looks at the statements over books that have the same work left, and more or less history."""

    def prepare(self, waiting: int, due: int) -> None:
        """Open payments: so many wait, so many are to be asked about, and so many are past their time."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(CLOSE)
            # What it leaves behind in the indexes goes before anything new comes; of so few rows it would stay.
            cursor.execute("VACUUM (INDEX_CLEANUP ON) gatewaypay_transaction")
        make(waiting, polled=HOUR, expires=DAY)
        make(due, polled=-HOUR, expires=DAY)
        make(due, polled=HOUR, expires=-HOUR)
        analyze()

    def look(self) -> dict[str, dict[str, Any]]:
        """Each statement with its plan, its buffers, its milliseconds, and the bytes of its indexes."""
        return {name: self._seen(sql, params) for name, sql, params in asked()}

    def _seen(self, sql: str, params: Any) -> dict[str, Any]:
        plan = plan_of(sql, params)
        indexes = {node["Index Name"] for node in nodes(plan) if "Index Name" in node}
        times = [milliseconds(sql, params) for _ in range(RUNS + 2)][2:]
        return {
            "sql": sql,
            "plan": plan_text(sql, params),
            "rows": plan["Actual Rows"],
            "buffers": plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
            "milliseconds": statistics.median(times),
            "index_bytes": sum(map(size_of, indexes)),
            "indexes": sorted(indexes),
        }


def asked() -> Iterator[tuple[str, str, Any]]:
    """The statements that find what is due, by what they find."""
    from django_gatewaypay.services import sweeping

    yield "polls", *first_asked(sweeping.poll_due)
    yield "expiry", *first_asked(sweeping.expire_overdue)
    for sql, params in all_asked(sweeping.sweep):
        yield table_of(sql), sql, params


def all_asked(work: Callable[[], object]) -> list[tuple[str, Any]]:
    """Every statement of some work, which finds nothing to do."""
    from django.db import connection

    found: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        found.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        work()
    return found


def table_of(sql: str) -> str:
    """The table that is asked, without its prefix."""
    found = re.search(r'FROM "gatewaypay_(\w+)"', sql)
    assert found, sql
    return f"{found[1]}s"


def milliseconds(sql: str, params: Any) -> float:
    """What one statement takes with its answer; its locks are let go."""
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        began = time.perf_counter()
        cursor.execute(sql, params)
        cursor.fetchall()
        taken = (time.perf_counter() - began) * 1000
        transaction.set_rollback(True)
    return taken


def size_of(relation: str) -> int:
    """Bytes of an index."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_relation_size(%s::regclass)", [relation])
        return int(cursor.fetchone()[0])


class Claims(Shop):
    """Takes what is due, batch by batch, until nothing is left."""

    def fill(self, count: int) -> None:
        """So many payments that are due."""
        make(count, polled=-DAY)

    def reset(self) -> None:
        """Nobody has any of them."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("UPDATE gatewaypay_transaction SET claimed_until = NULL")
        analyze()

    def left(self) -> int:
        """How many are due, and nobody's."""
        from django.utils import timezone

        from django_gatewaypay.models import Transaction

        return Transaction.objects.due(timezone.now()).count()

    def batch(self) -> int:
        """How many the sweep takes at once."""
        from django_gatewaypay.services import BATCH

        return BATCH

    def take(self, how: str) -> dict[str, Any]:
        """All that can be had: whose keys, in how many seconds, and when that was.

        Args:
            how: "ours" or "raw".
        """
        claim = {"ours": self._ours, "raw": self._raw}[how]
        keys: list[str] = []
        began, clock = time.time(), time.process_time()
        while taken := claim():
            keys += map(str, taken)
        ended = time.time()
        return {"keys": keys, "cpu": time.process_time() - clock, "began": began, "ended": ended}

    def _ours(self) -> list[Any]:
        from django.utils import timezone

        from django_gatewaypay.models import Transaction
        from django_gatewaypay.services import BATCH, sweeping

        return sweeping._claim_transactions(Transaction.objects.due(timezone.now()), BATCH)

    def _raw(self) -> list[Any]:
        from django.db import connection

        from django_gatewaypay.services import BATCH

        with connection.cursor() as cursor:
            cursor.execute(CLAIM, [BATCH])
            return [pk for (pk,) in cursor.fetchall()]
