"""The books of a shop, of the size that a bench wants: `million.sql`, filled once for all benches of a run.

`python -m tests.benchmarks.books PAYMENTS` fills the empty database at GATEWAYPAY_BENCH_DATABASE.
"""

import atexit
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ..proof.frame import REPOSITORY
from .servers import databases
from .side import make_tables
from .sides.many import analyze
from .suite import set_up

__all__ = ["EMAIL", "copied", "sizes"]

#: Whose payments a search by e-mail finds.
EMAIL = "ann@shop.example"
#: How to take away what makes each row slow to write, and how to put it back.
SLOW = """
SELECT
    format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
    format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text LIKE 'gatewaypay%'
UNION ALL
SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
FROM pg_index WHERE indrelid::regclass::text LIKE 'gatewaypay%'
AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


def sizes(*, quick: bool) -> list[int]:
    """How many payments are in the books that growth is looked at in, smallest first."""
    return [1_000, 5_000] if quick else [1_000, 100_000, 1_000_000]


@contextmanager
def copied(counts: Iterable[int]) -> Iterator[dict[int, str]]:
    """The addresses of filled books by their size, for who asks alone; gone afterwards."""
    with ExitStack() as stack:
        yield {count: stack.enter_context(_copy(count)) for count in counts}


@contextmanager
def _copy(count: int) -> Iterator[str]:
    name = f"copy_{count}"
    with databases([name], template=_filled(count)) as known:
        yield known[name]


@cache
def _filled(count: int) -> str:
    """The name of a database with so many payments; it lives as long as this process."""
    name = f"books_{count}"
    kept = ExitStack()
    known = kept.enter_context(databases([name]))
    atexit.register(kept.close)
    print(f"books: {count:,} payments are filled in", file=sys.stderr, flush=True)
    subprocess.run(
        [sys.executable, "-m", __name__, str(count)],
        cwd=REPOSITORY,
        env={**os.environ, "GATEWAYPAY_BENCH_DATABASE": known[name]},
        check=True,
    )
    return name


def fill(count: int) -> None:
    """So many payments, with everything that belongs to them."""
    from django.db import connection

    with connection.cursor() as cursor, _written_fast(cursor):
        for statement in (Path(__file__).parent / "million.sql").read_text().split(";\n"):
            # Without parameters a "%" is a "%".
            cursor.execute(statement, {"n": count} if "%(n)s" in statement else None)
    _name_a_shopper()


@contextmanager
def _written_fast(cursor: Any) -> Iterator[None]:
    """Without foreign keys and indexes, which are made again at the end: twice as fast."""
    cursor.execute(SLOW)
    known = cursor.fetchall()
    for away, _ in known:
        cursor.execute(away)
    yield
    for _, again in known:
        cursor.execute(again)


def _name_a_shopper() -> None:
    from django_gatewaypay.models import Transaction
    from django_gatewaypay.services import email_digest

    hers = Transaction.objects.filter(order_id__in=[f"A-{100000000 + number}" for number in (7, 77, 777)])
    hers.update(email_digest=email_digest(EMAIL))


def main() -> None:
    """Make the tables, fill them, and let the planner know."""
    set_up()
    make_tables()
    fill(int(sys.argv[1]))
    analyze()


if __name__ == "__main__":
    main()
