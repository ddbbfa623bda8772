"""Payments past their time are closed, with a line in the ledger for each: by us, and by statements that do no more."""

import time
from collections.abc import Callable
from typing import Any

from .gateway import Gateway
from .many import DAY, analyze, empty, make
from .ours import Shop

__all__ = ["Expiry"]

OVERDUE = """
    SELECT id, state FROM gatewaypay_transaction WHERE state IN ('created', 'pending') AND expires_at <= now()
"""
#: Closes what is chosen, and writes down that it was.
CLOSE = """
WITH chosen AS ({chosen}), closed AS (
    UPDATE gatewaypay_transaction AS row SET
        state = 'expired', version = row.version + 1, updated_at = now(), poll_attempts = 0,
        next_poll_at = now() + interval '5 minutes'
    FROM chosen WHERE row.id = chosen.id RETURNING row.id, row.version, chosen.state
)
INSERT INTO gatewaypay_transactionevent (
    transaction_id, kind, version, from_state, to_state, reason, late, attention, captured_minor, authorized_minor,
    refunded_minor, source, evidence, note, created_at
)
SELECT id, 'moved', version, state, 'expired', '', false, '', 0, 0, 0, 'expiry', '{{}}', '', now() FROM closed
RETURNING id
"""
ALL = CLOSE.format(chosen=OVERDUE)
SOME = CLOSE.format(chosen=f"{OVERDUE} ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED")


class Expiry(Shop):
    """Each way takes rows of the same sort; what is told is how many it closed in a second."""

    def gateway_url(self) -> str:
        """See `Shop`. It answers at once."""
        self.gateway = Gateway("tests.benchmarks.sides.slow_gateway", "0")
        return self.gateway.url

    def fill(self, count: int, *, opened: bool) -> None:
        """So many payments past their time, and nothing else.

        Args:
            opened: their sessions are, so that a gateway is to be asked.
        """
        empty()
        closed = {} if opened else {"state": "created", "gateway_reference": "", "next_action": None}
        make(count, polled=DAY, expires=-DAY, **closed)
        analyze()

    def statement(self) -> float:
        """All of them in one."""
        return self._paced(lambda: closed_by(ALL, []))

    def chunks(self, size: int) -> float:
        """All of them, some at a time, each a commit."""

        def work() -> int:
            total = 0
            while count := closed_by(SOME, [size]):
                total += count
            return total

        return self._paced(work)

    def rows(self, count: int) -> float:
        """So many, one at a time, as a loop with a lock would do it."""
        return self._paced(lambda: sum(closed_by(SOME, [1]) for _ in range(count)))

    def ours(self, count: int) -> float:
        """So many at least, in batches, as the task of the clock does it."""
        from django_gatewaypay.services import expire_overdue

        def work() -> int:
            total = 0
            while total < count:
                total += expire_overdue()
            return total

        return self._paced(work)

    def asking(self, count: int) -> float:
        """The same of payments with a session, which the gateway is asked about and told to close.

        Raises:
            RuntimeError: it heard of fewer.
        """
        before = self.gateway.count("asked")
        pace = self.ours(count)
        if self.gateway.count("asked") - before < 2 * count:
            raise RuntimeError(f"The gateway was to hear of {count} payments.")
        return pace

    def _paced(self, work: Callable[[], int]) -> float:
        """Rows in a second.

        Raises:
            RuntimeError: they are not closed, or the ledger does not say so.
        """
        before, began = expired(), time.perf_counter()
        count = work()
        taken = time.perf_counter() - began
        after = expired()
        if {name: after[name] - before[name] for name in after} != {"rows": count, "lines": count}:
            raise RuntimeError(f"{count} payments were to be closed, before {before}, after {after}.")
        return count / taken


def closed_by(sql: str, params: list[Any]) -> int:
    """How many rows a statement has closed."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)


def expired() -> dict[str, int]:
    """How many are closed, and how many lines say so."""
    from django_gatewaypay.models import Transaction, TransactionEvent

    return {
        "rows": Transaction.objects.filter(state="expired").count(),
        "lines": TransactionEvent.objects.filter(to_state="expired").count(),
    }
