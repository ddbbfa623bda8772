"""The benches of the sweeps and of growth: what they say of a result, and what they count; no time is judged."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Fulfilment, Transaction, TransactionEvent
from django_gatewaypay.services import sweeping
from tests.benchmarks import books, plans
from tests.benchmarks.benches import BENCHES
from tests.benchmarks.benches.growth import levels
from tests.benchmarks.frame import Line
from tests.benchmarks.report import Place, keep
from tests.benchmarks.sides.expiring import Expiry
from tests.benchmarks.sides.many import DAY, analyze, make
from tests.benchmarks.sides.polling import Polls
from tests.benchmarks.sides.staff import Statement, kind
from tests.benchmarks.sides.sweeping import CLAIM, Claims, Due, all_asked, asked

MACHINE = {"cores": 2, "system": "Linux", "python": "3.13.0"}
COUNT = "SELECT COUNT(*) FROM gatewaypay_transaction"
FEW = "SELECT COUNT(*) FROM (SELECT 1 FROM gatewaypay_transaction LIMIT 20) few"

postgres = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


def verdicts(name: str, result: Mapping[str, Any]) -> dict[str, bool | None]:
    return {line.what: line.met for line in BENCHES[name].lines(result) if line.bar}


# --- Made-up results.


def due(*, milliseconds: float = 1.5, buffers: int = 210, index_bytes: int = 262_144) -> dict[str, Any]:
    """Polls at two sizes: the smaller one has 200 buffers and an index of 256 KiB."""
    first = {"sql": "SELECT 1", "plan": "Limit", "rows": 200.0, "indexes": ["gatewaypay_due"]}
    last = {**first, "milliseconds": milliseconds, "buffers": buffers, "index_bytes": index_bytes}
    first |= {"milliseconds": 0.5, "buffers": 200, "index_bytes": 262_144}
    return {"sizes": {"1000": {"polls": first}, "1000000": {"polls": last}}}


def claim(*, ours: float = 5.0, twice: int = 0, left: int = 0, shares: tuple[int, int] = (4, 6)) -> dict[str, Any]:
    """One round; a raw claim takes ten rows a second."""
    pair = {"shares": shares, "twice": twice, "left": left, "pace": 9.0}
    return {"rows": 10, "batch": 2, "rounds": [{"raw": 10.0, "ours": ours, "pair": pair}]}


def polls(ours: float) -> dict[str, Any]:
    """The threads take ten seconds."""
    return {"polls": 100, "threads": [{"seconds": 10.0, "cpu": 1.0}], "ours": [{"seconds": ours, "cpu": 1.0}]}


def expiry(ours: float) -> dict[str, Any]:
    """One statement closes a hundred rows a second."""
    told = {"statement": 100.0, "chunks": 90.0, "rows": 1.0, "ours": ours, "asking": 0.5}
    return {"rows": 10, "some": 2, "rounds": [told]}


def admin(*, search: float = 50.0, counts: int = 0) -> dict[str, Any]:
    """A page of each kind."""
    spent = {"change list": 2.0, "filter": 3.0, "search": search, "page": 500.0}
    pages = [
        {"name": f"a {name}", "kind": name, "statements": 7, "milliseconds": took, "counts": counts}
        for name, took in spent.items()
    ]
    return {"payments": 1_000, "pages": pages}


def growth(*, asked: int = 1, reads_most: bool = False) -> dict[str, Any]:
    """One path at two sizes."""
    plan = {"sql": "SELECT 1", "plan": "Result", "buffers": 4, "indexes": ["i"], "reads_most": reads_most}
    told = {
        "samples": [{"cpu": 0.001, "yardstick": 1.0}] * 2,
        "asked": 1,
        "buffers": 4,
        "plans": [plan],
        "indexes": {"i": {"rows": 1_000_000, "pages": 4_001}, "unused": {"rows": 9, "pages": 99}},
    }
    return {"paths": {"poll": {"1000": told, "1000000": {**told, "asked": asked}}}}


@pytest.mark.parametrize(
    ("name", "result", "missed"),
    [
        ("due", due(), []),
        ("due", due(milliseconds=1.51), ["ms of the slowest among 1,000,000 payments"]),
        ("due", due(buffers=300), ["buffers, smallest history = 1"]),
        ("due", due(index_bytes=20_000_000), ["size of the index, smallest history = 1"]),
        ("claim", claim(), []),
        ("claim", claim(ours=4.9), ["rows per second, raw = 1"]),
        ("claim", claim(twice=1), ["taken twice by two workers"]),
        ("claim", claim(left=1), ["left by two workers"]),
        ("polls", polls(13.0), []),
        ("polls", polls(13.1), ["seconds for 100 polls, 32 threads = 1"]),
        ("expiry", expiry(70.0), []),
        ("expiry", expiry(69.0), ["rows per second, ours, one statement for 10 = 1"]),
        ("admin", admin(), []),
        ("admin", admin(search=50.1), ["SQL, ms, the slowest of 1 searches"]),
        ("admin", admin(counts=1), ["statements that count most of a table"]),
        ("growth", growth(), []),
        ("growth", growth(asked=2), ["SQL, one poll, still pending"]),
        ("growth", growth(reads_most=True), ["statements that read most of a table"]),
    ],
)
def test_a_bench_says_what_is_missed(name: str, result: Mapping[str, Any], missed: list[str]) -> None:
    """At the bar it is met, and past it not; nothing else changes."""
    found = verdicts(name, result)

    assert [what for what, met in found.items() if not met] == missed
    assert all(met is not None for met in found.values())


def test_few_pages_are_no_growth() -> None:
    """Three buffers where there was one, in an index of one page: nothing grows with the history."""
    result = due(buffers=3, index_bytes=16_384)
    result["sizes"]["1000"]["polls"] |= {"buffers": 1, "index_bytes": 8_192}

    assert all(verdicts("due", result).values())


def test_one_worker_alone_shows_nothing() -> None:
    """That nothing was taken twice is no news where one worker had everything."""
    assert verdicts("claim", claim(shares=(10, 0)))["taken twice by two workers"] is None


@pytest.mark.parametrize(
    ("name", "result", "shown"),
    [
        ("due", due(), "| polls, 200 rows | 200 · 0.50 ms · 256 KiB | 210 · 1.50 ms · 256 KiB | gatewaypay_due |"),
        ("claim", claim(), "their shares: 4/6 | 9 |"),
        ("polls", polls(20.0), "| 20.0 | 10.00 |"),
        ("expiry", expiry(1.0), "| 1 | 0.010 |"),
        ("admin", admin(), "| SQL of the page, ms: a page | 500.0 | – | told only |"),
        ("growth", growth(), "| one poll, still pending | 1.0 ms · 1 SQL · 4 buffers | 1.0 ms · 1 SQL · 4 buffers |"),
        ("growth", growth(), "| i | 1,000,000 | 4,001 | 250 | 3 | 3 |\n\n<details>"),
    ],
)
def test_the_page_shows_a_bench(tmp_path: Path, name: str, result: dict[str, Any], shown: str) -> None:
    """Its section has the command and the figures."""
    place = Place(tmp_path / "reference", tmp_path / "charts")
    kept = {"commit": "aaaa", "machine": MACHINE, "servers": {}, "seconds": 1, "result": result}
    keep(place, "benches", {name: kept})
    page = place.page.read_text()

    assert f"`make bench PART={name}` · commit aaaa" in page
    assert shown in page


@pytest.mark.parametrize(
    ("rows", "deep"), [(1, 1), (250, 1), (251, 2), (62_500, 2), (62_501, 3), (10_000_000, 3), (15_625_001, 4)]
)
def test_a_tree_of_250_entries_a_page_has_so_many_levels(rows: int, deep: int) -> None:
    """One more whenever the pages of a level do not fit into one above."""
    assert levels(rows, 250) == deep


@pytest.mark.parametrize(
    ("url", "sort"),
    [
        ("/admin/gatewaypay/transaction/", "change list"),
        ("/admin/gatewaypay/transaction/?p=2", "change list"),
        ("/admin/gatewaypay/transaction/?state__exact=held&gateway=rare", "filter"),
        ("/admin/gatewaypay/transaction/?q=A-1&state__exact=success", "search"),
        ("/admin/gatewaypay/transaction/1/change/", "page"),
        ("/admin/gatewaypay/home/", "page"),
    ],
)
def test_an_address_of_the_admin_is_of_a_kind(url: str, sort: str) -> None:
    """Lists, filters and searches have a budget."""
    assert kind(url) == sort


# --- What is counted, on PostgreSQL.


@pytest.fixture
def with_gateway(settings: Any, transactional_db: None) -> Iterator[Callable[[Any], None]]:
    """Starts the gateway of a worker, and makes it ours."""
    started = []

    def start(worker: Any) -> None:
        hosted = settings.GATEWAYPAY["GATEWAYS"]["hosted"]
        options = {**hosted["OPTIONS"], "api_base": worker.gateway_url()}
        started.append(worker.gateway)
        settings.GATEWAYPAY = settings.GATEWAYPAY | {"GATEWAYS": {"hosted": {**hosted, "OPTIONS": options}}}

    yield start
    for gateway in started:
        gateway.process.communicate()


@pytest.mark.postgres
@pytest.mark.django_db
def test_books_are_filled_and_whole() -> None:
    """Every payment has its callback, its ledger and what it owes; indexes and foreign keys are as they were."""
    before = made()
    books.fill(600)

    assert made() == before
    assert Transaction.objects.count() == 600
    assert TransactionEvent.objects.filter(callback__transaction__isnull=False).count() == 600
    assert Fulfilment.objects.count() == Transaction.objects.exclude(state__in=["pending", "held", *OPEN]).count()


OPEN = ("created", "processing", "authorized")


def made() -> set[tuple[Any, ...]]:
    """Indexes and constraints; how they are written changes when PostgreSQL reads its own words."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexrelid::regclass::text, indisunique, indisvalid, indpred IS NULL, indkey::text FROM pg_index "
            "WHERE indexrelid::regclass::text NOT LIKE 'pg_toast%' UNION ALL "
            "SELECT conname, condeferrable, convalidated, condeferred, confrelid::text FROM pg_constraint"
        )
        return set(cursor.fetchall())


@pytest.mark.postgres
@pytest.mark.django_db
def test_nothing_asked_is_no_statement() -> None:
    """Work that asks nothing is no bench."""
    with pytest.raises(LookupError):
        plans.first_asked(lambda: None)


class TestOnPostgreSQL:
    """With commits, as the benches have them."""

    pytestmark = postgres

    def test_the_statements_are_those_of_the_sweep(self) -> None:
        """Noted while the sweep asks, which gets no further: nothing is claimed."""
        make(3, polled=-DAY)
        found = {name: sql for name, sql, _ in asked()}

        assert list(found) == ["polls", "expiry", "callbacks", "fulfilments", "refunds", "captures"]
        assert '"next_poll_at" <= ' in found["polls"]
        assert '"expires_at" <= ' in found["expiry"]
        assert all("LIMIT" in sql for sql in found.values())
        assert Transaction.objects.filter(claimed_until=None).count() == 3

    def test_due_rows_are_found_whatever_has_been(self) -> None:
        """What was open before counts for nothing; each statement has a plan."""
        make(5, polled=-DAY)
        worker = Due()
        worker.prepare(waiting=20, due=4)
        found = worker.look()

        assert {name: seen["rows"] for name, seen in found.items() if seen["rows"]} == {"polls": 4, "expiry": 4}
        assert all(seen["plan"].startswith("Limit") for seen in found.values())

    def test_both_ways_claim_the_same_rows(self) -> None:
        """Every due row once, and nothing is left."""
        worker = Claims()
        worker.fill(450)
        raw = worker.take("raw")["keys"]
        worker.reset()
        ours = worker.take("ours")["keys"]

        assert len(raw) == len(ours) == 450
        assert set(raw) == set(ours)
        assert worker.left() == 0

    def test_the_raw_claim_takes_what_ours_would(self) -> None:
        """Not what somebody has, and not what is not due."""
        make(4, polled=-DAY)
        make(4, polled=DAY)
        had = sweeping._claim_transactions(Transaction.objects.due(timezone.now()), 3)
        with connection.cursor() as cursor:
            cursor.execute(CLAIM, [200])
            raw = [pk for (pk,) in cursor.fetchall()]

        assert len(raw) == 1
        assert not set(raw) & set(had)

    def test_polls_are_counted_at_the_gateway(self, with_gateway: Callable[[Any], None]) -> None:
        """Both ways ask as often as there are payments."""
        polled = Polls()
        with_gateway(polled)
        polled.fill(6)

        assert polled.floor(threads=3)["seconds"] > 0
        assert polled.ours()["seconds"] > 0
        with pytest.raises(RuntimeError, match="7 questions were to be asked"):
            polled._timed(lambda: polled.floor(threads=3), 7)

    def test_every_way_closes_and_writes_it_down(self) -> None:
        """The state and the ledger, by one statement, by chunks, one by one and by us."""
        worker = Expiry()
        worker.fill(12, opened=False)

        assert worker.rows(count=2) > 0
        assert worker.ours(count=1) > 0
        assert closed() == {"expiry": 12}
        worker.fill(7, opened=False)
        assert worker.chunks(size=3) > 0
        assert closed() == {"expiry": 7}
        worker.fill(5, opened=False)
        assert worker.statement() > 0
        assert closed() == {"expiry": 5}

    def test_the_gateway_hears_of_what_expires(self, with_gateway: Callable[[Any], None]) -> None:
        """It is asked and told; payments that nobody asks about are no figure."""
        worker = Expiry()
        with_gateway(worker)
        worker.fill(2, opened=True)

        assert worker.asking(count=2) > 0
        assert closed() == {"expiry": 2}
        worker.fill(2, opened=False)
        with pytest.raises(RuntimeError, match="was to hear of 2 payments"):
            worker.asking(count=2)

    def test_a_row_without_its_line_is_no_figure(self) -> None:
        """Whoever forgets the ledger is found out."""
        worker = Expiry()
        worker.fill(3, opened=False)

        with pytest.raises(RuntimeError, match="3 payments were to be closed"):
            worker._paced(lambda: Transaction.objects.update(state="expired"))

    def test_counting_a_table_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Counting all of a large one is; counting a few of it is not, nor is all of a small one."""
        make(60)
        analyze()

        assert not Statement(COUNT, [], 0).counts_all()
        monkeypatch.setattr(plans, "LARGE", 60)
        assert Statement(COUNT, [], 0).counts_all()
        assert not Statement(FEW, [], 0).counts_all()

    def test_a_plan_has_no_effect(self) -> None:
        """What is explained is taken back."""
        make(2)
        plan = plans.plan_of("DELETE FROM gatewaypay_transaction", [])

        assert plan["Plans"][0]["Actual Rows"] == 2
        assert Transaction.objects.count() == 2

    def test_all_that_is_asked_is_noted(self) -> None:
        """In its order."""
        found = all_asked(lambda: (services.sweep(), Transaction.objects.count()))

        assert "COUNT(*)" in found[-1][0]
        assert len(found) == 5


def closed() -> dict[str, int]:
    """How many are closed, by what the ledger gives as the reason; it has no other lines."""
    sources = list(TransactionEvent.objects.filter(to_state="expired").values_list("source", flat=True))
    assert len(sources) == Transaction.objects.filter(state="expired").count()
    return {source: sources.count(source) for source in set(sources)}


@pytest.mark.slow
def test_two_workers_at_the_same_rows() -> None:
    """The quick form: two processes, and what they took is compared."""
    lines: list[Line] = BENCHES["claim"].lines(BENCHES["claim"].run(quick=True))

    assert [line.figure for line in lines[1:]] == ["0", "0"]
