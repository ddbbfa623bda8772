"""The admin over a million payments: `python -m tests.benchmarks.admin_million [PAYMENTS] [PAGE.md]`.

Books are filled on a PostgreSQL, every list, filter, search and page is asked for through Django's test client, and the
time that its SQL took is written down, with the plan of its slowest statement. `DATABASE_URL` replaces the server.
"""

import re
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..proof.frame import machine
from .books import copied
from .servers import versions
from .worker import at_work

__all__ = ["measured"]

RUNS = 5
BUDGET_MS = 200
STAFF = "tests.benchmarks.sides.staff:Staff"
Figure = Mapping[str, Any]


def measured(count: int, runs: int = RUNS) -> list[Figure]:
    """Every page of the admin over so many payments."""
    with copied([count]) as known, at_work(STAFF, known[count]) as staff:
        return list(staff.ask("look", runs=runs))


def main() -> None:
    """Fill, measure, print, and write the page if one is named."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with copied([count]) as known, at_work(STAFF, known[count]) as staff:
        figures = staff.ask("look", runs=RUNS)
        text = page(figures, staff.ask("instead", runs=RUNS), staff.ask("sizes"), staff.ask("export"))
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
    return "met" if figure["milliseconds"] <= BUDGET_MS else "**NOT MET**"


def page(
    figures: list[Figure], others: Mapping[str, float], sizes: Mapping[str, int], exported: Mapping[str, float]
) -> str:
    """The page of the documentation."""
    return HEAD.format(
        **machine(),
        django=version("Django"),
        server=versions()["PostgreSQL"],
        budget=BUDGET_MS,
        sizes=", ".join(f"{count:,} {name.lower()}s" for name, count in sizes.items()),
        count=sizes["Transaction"],
        seconds=exported["seconds"],
        grown=exported["MiB"],
        rows="\n".join(map(row, figures)),
        others="\n".join(f"| {name} | {spent:.0f} |" for name, spent in others.items()),
        plans="\n\n".join(f"### {', '.join(names)}\n\n```text\n{plan}\n```" for plan, names in alike(figures)),
    )


def row(figure: Figure) -> str:
    return f"| {figure['name']} | {figure['milliseconds']:.1f} | {figure['statements']} | {verdict(figure)} |"


def alike(figures: list[Figure]) -> list[tuple[str, list[str]]]:
    """Each shape of a plan once, with the pages that have it."""
    found: dict[str, tuple[str, list[str]]] = {}
    for figure in figures:
        shape = re.sub(r"\(actual[^)]*\)|'[^']*'|\d+", "", figure["plan"])
        found.setdefault(shape, (figure["plan"], []))[1].append(figure["name"])
    return list(found.values())


if __name__ == "__main__":
    main()
