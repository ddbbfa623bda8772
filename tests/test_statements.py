"""Statements that are compiled once: they write what Django's own would, to the rows that are as they have to be."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, router, transaction
from django.db.models import Exists, OuterRef
from django.db.utils import ConnectionDoesNotExist
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_gatewaypay.models import Callback, Transaction, TransactionEvent, find, insert, statements, update_where
from django_gatewaypay.models.statements import Select
from tests.factories import make_transaction

pytestmark = pytest.mark.django_db

NOW = timezone.now()
LATER = NOW + timedelta(hours=1)


class Sharded:
    """A host's router that keeps the callbacks elsewhere, and the lines of one kind."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "elsewhere" if model is Callback or getattr(hints.get("instance"), "kind", "") == "far" else None

    db_for_read = db_for_write


def letter(event_id: str, **fields: Any) -> Callback:
    """A callback that waits for its turn."""
    given = {"gateway": "hosted", "update": {}, "body_sha256": "", "received_at": NOW, "next_attempt_at": NOW}
    return Callback.objects.create(event_id=event_id, **{**given, "attempts": 1, **fields})


def fields_of(row: Callback) -> dict[str, Any]:
    return Callback.objects.filter(pk=row.pk).values().get()


def test_the_row_that_is_so_is_written_and_no_other() -> None:
    """Every new value, and nothing besides; the answer is how many rows there were."""
    mine, other = letter("evt_1"), letter("evt_2")
    before, untouched = fields_of(mine), fields_of(other)
    changes = {"state": "dead", "attempts": 7, "next_attempt_at": LATER, "update": {"state": "success"}}
    written = update_where(Callback, {"id": mine.pk, "state": "received", "attempts": 1}, changes)

    assert written == 1
    assert fields_of(mine) == {**before, **changes}
    assert fields_of(other) == untouched


@pytest.mark.parametrize(
    "wrong", [{"event_id": "evt_2"}, {"state": "dead"}, {"attempts": 2}, {"next_attempt_at": LATER}]
)
def test_one_condition_that_differs_is_enough_to_write_nothing(wrong: dict[str, Any]) -> None:
    """Each of them has to be so: this is what a compare-and-set compares."""
    row = letter("evt_1")
    before = fields_of(row)
    so = {"event_id": "evt_1", "state": "received", "attempts": 1, "next_attempt_at": NOW}
    written = update_where(Callback, {**so, **wrong}, {"last_error": "overwritten"})

    assert (written, fields_of(row)) == (0, before)
    assert update_where(Callback, so, {"last_error": "overwritten"}) == 1


def test_all_rows_that_are_so_are_written() -> None:
    """And counted."""
    for event_id, state in (("evt_1", "dead"), ("evt_2", "dead"), ("evt_3", "received")):
        letter(event_id, state=state)
    written = update_where(Callback, {"state": "dead"}, {"state": "received"})

    assert (written, set(Callback.objects.values_list("state", flat=True))) == (2, {"received"})


def test_a_new_value_may_be_none() -> None:
    """The column is empty then."""
    row = letter("evt_1")
    update_where(Callback, {"id": row.pk}, {"next_attempt_at": None})

    assert fields_of(row)["next_attempt_at"] is None


def test_a_foreign_key_goes_by_its_own_column() -> None:
    """As a new value, as none, and as a condition."""
    row, payment = letter("evt_1"), make_transaction()
    named = update_where(Callback, {"id": row.pk}, {"transaction_id": payment.pk})
    kept = fields_of(row)["transaction_id"]
    freed = update_where(Callback, {"transaction_id": payment.pk}, {"transaction_id": None})

    assert (named, kept, freed, fields_of(row)["transaction_id"]) == (1, payment.pk, 1, None)


def test_two_models_and_two_sets_of_fields_do_not_share_a_statement() -> None:
    """What is compiled once is compiled for these fields, in this order, of this model."""
    payment, row = make_transaction(), letter("evt_1")
    update_where(Transaction, {"id": payment.pk}, {"attention": "a", "reason": "b"})
    update_where(Transaction, {"id": payment.pk}, {"reason": "c", "attention": "d"})
    update_where(Callback, {"id": row.pk}, {"last_error": "e"})
    update_where(Callback, {"event_id": "evt_1"}, {"last_error": "f"})

    payment.refresh_from_db()
    assert (payment.attention, payment.reason, fields_of(row)["last_error"]) == ("d", "c", "f")


def test_it_is_one_statement_with_quoted_names() -> None:
    """A host may have named a table or a column of ours whatever the database allows."""
    seen: list[tuple[str, Any]] = []

    def look(execute: Any, sql: str, params: Any, *rest: Any) -> Any:
        seen.append((sql, list(params)))
        return execute(sql, params, *rest)

    with connection.execute_wrapper(look):
        update_where(Callback, {"gateway": "hosted", "state": "dead"}, {"attempts": 1, "last_error": "x"})

    [(sql, params)] = seen
    written, required = '"attempts" = %s, "last_error" = %s', '"gateway" = %s AND "state" = %s'
    assert sql == " ".join(['UPDATE "gatewaypay_callback" SET', written, "WHERE", required])
    assert params == [1, "x", "hosted", "dead"]


def test_the_hosts_router_says_where_it_is_written(settings: Any) -> None:
    """Asked for the model at hand, as Django asks it."""
    payment = make_transaction()
    settings.DATABASE_ROUTERS = [Sharded()]
    written = update_where(Transaction, {"id": payment.pk}, {"reason": "here"})

    assert (written, router.db_for_write(Callback)) == (1, "elsewhere")
    with pytest.raises(ConnectionDoesNotExist):
        update_where(Callback, {"state": "dead"}, {"last_error": "there"})


# --- New rows.


def line(payment: Transaction, kind: str = "noted", **fields: Any) -> TransactionEvent:
    """A line of the ledger, not written yet."""
    return TransactionEvent(transaction=payment, kind=kind, version=1, source="poll", created_at=NOW, **fields)


def test_a_row_that_chooses_its_key_is_written_as_django_writes_it() -> None:
    """Every column, JSON, times and empty ones; the key is its own."""
    given = {"gateway": "hosted", "update": {"a": [1]}, "body_sha256": "x", "received_at": NOW, "next_attempt_at": None}
    ours, djangos = Callback(event_id="evt_1", **given), Callback(event_id="evt_2", **given)
    key = ours.pk
    insert(ours)
    djangos.save(force_insert=True)

    assert {**fields_of(djangos), "id": key, "event_id": "evt_1"} == fields_of(ours)
    assert (ours.pk, ours._state.adding, ours._state.db) == (key, False, "default")


def test_a_row_whose_key_the_database_chooses_learns_it() -> None:
    """And is found under it; the next one has another."""
    payment = make_transaction()
    first, second = line(payment, evidence={"state": "success"}), line(payment)
    insert(first)
    insert(second)

    read = TransactionEvent.objects.get(pk=first.pk)
    assert (read.evidence, read.transaction_id, read.source) == ({"state": "success"}, payment.pk, "poll")
    assert (first.pk, second.pk) == tuple(payment.events.order_by("pk").values_list("pk", flat=True))[-2:]
    assert first.pk < second.pk


def test_the_same_row_twice_is_an_error() -> None:
    """The database says so, as it does to Django."""
    row = letter("evt_1")
    twin = Callback(pk=row.pk, event_id="evt_2", gateway="hosted", update={}, body_sha256="", received_at=NOW)

    with pytest.raises(IntegrityError), transaction.atomic():
        insert(twin)
    assert twin._state.adding


def test_a_new_row_is_one_statement_with_quoted_names() -> None:
    """A key that the database chooses comes back with it."""
    row, keyed = line(make_transaction()), Callback(event_id="e", gateway="hosted", update={}, received_at=NOW)
    with CaptureQueriesContext(connection) as seen:
        insert(row)
        insert(keyed)

    sql, other = (one["sql"] for one in seen)
    assert "RETURNING" not in other
    assert sql.startswith('INSERT INTO "gatewaypay_transactionevent" ("transaction_id", ')
    assert sql.endswith(') RETURNING "id"')


@pytest.fixture
def returning_nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A database that cannot say what it has written."""
    statements._insert_sql.cache_clear()
    monkeypatch.setattr(connection.features, "can_return_columns_from_insert", False)
    yield
    statements._insert_sql.cache_clear()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL always says it")
@pytest.mark.usefixtures("returning_nothing")
def test_a_database_that_returns_nothing_is_asked_for_the_last_key() -> None:
    """The cursor knows it."""
    row = line(make_transaction())
    insert(row)

    assert row.pk == TransactionEvent.objects.latest("pk").pk


def test_a_row_may_be_left_to_the_one_that_is_there() -> None:
    """Its unique values are taken: nothing is written, nothing raised, and a transaction around it goes on."""
    row = letter("evt_1")
    twin = Callback(event_id="evt_1", gateway="hosted", update={"a": 1}, body_sha256="", received_at=NOW)
    other = Callback(event_id="evt_2", gateway="hosted", update={"a": 2}, body_sha256="", received_at=NOW)
    before = fields_of(row)
    with transaction.atomic():
        written = [insert(twin, or_leave=True), insert(other, or_leave=True), insert(line(make_transaction()))]

    assert written == [False, True, True]
    assert (twin._state.adding, other._state.adding) == (True, False)
    assert (Callback.objects.count(), fields_of(row), fields_of(other)["update"]) == (2, before, {"a": 2})


def test_only_a_conflict_is_left() -> None:
    """What the row itself lacks is an error all the same; and without leave the conflict is one too."""
    letter("evt_1")
    given = {"gateway": "hosted", "update": {}, "body_sha256": "", "received_at": NOW}

    for wrong, leave in ((Callback(event_id=None, **given), True), (Callback(event_id="evt_1", **given), False)):
        with pytest.raises(IntegrityError), transaction.atomic():
            insert(wrong, or_leave=leave)
    assert Callback.objects.count() == 1


# --- What is found.


def test_a_row_is_found_as_django_finds_it() -> None:
    """Every field, by one value or by several; None where one of them differs."""
    row = letter("evt_1", update={"a": 1})
    letter("evt_2")
    found = find(Callback, id=row.pk)

    assert {name: getattr(found, name) for name in fields_of(row)} == fields_of(row)
    assert find(Callback, gateway="hosted", event_id="evt_1") == row
    assert find(Callback, gateway="other", event_id="evt_1") is None
    assert find(Callback, gateway="hosted", event_id="evt_3") is None


def test_finding_is_one_statement_with_quoted_names() -> None:
    """Compiled for these fields, in this order, of this model."""
    row, payment = letter("evt_1"), make_transaction()
    with CaptureQueriesContext(connection) as seen:
        found = [
            find(Callback, id=row.pk),
            find(Transaction, id=payment.pk),
            find(Callback, gateway="hosted", state="received"),
        ]

    assert found == [row, payment, row]
    terms = [re.findall(r'[A-Z]+ "\w+" =', one["sql"]) for one in seen]
    assert terms == [['WHERE "id" ='], ['WHERE "id" ='], ['WHERE "gateway" =', 'AND "state" =']]


def test_a_query_brings_its_own_conditions_and_what_stands_beside() -> None:
    """Before those that are filled in, by name in whatever order; of several rows all, and of another nothing."""
    rows = [letter("evt_1"), letter("evt_2", update={"a": [1]}), letter("evt_3", attempts=2)]
    one = Exists(Callback.objects.filter(pk=OuterRef("pk"), event_id="evt_2"))
    asked = Select.of(Callback.objects.filter(attempts=1).annotate(second=one), ("gateway", "state"))
    found: list[Any] = asked.fetch(state="received", gateway="hosted")

    assert {row.event_id: row.second for row in found} == {"evt_1": False, "evt_2": True}
    assert [type(row.second) for row in found] == [bool, bool]
    assert [fields_of(row) for row in sorted(found, key=lambda row: row.event_id)] == [*map(fields_of, rows[:2])]
    assert asked.fetch(state="dead", gateway="hosted") == []
    assert [(row._state.adding, row._state.db) for row in found] == [(False, "default")] * 2


def test_the_hosts_router_says_where_rows_are(settings: Any) -> None:
    """To write and to read, each asked for."""
    settings.DATABASE_ROUTERS = [Sharded()]
    row = Callback(event_id="evt_1", gateway="hosted", update={}, body_sha256="", received_at=NOW)

    with pytest.raises(ConnectionDoesNotExist):
        insert(row)
    with pytest.raises(ConnectionDoesNotExist):
        insert(line(make_transaction(), kind="far"))
    with pytest.raises(ConnectionDoesNotExist):
        find(Callback, id=row.pk)
    assert find(Transaction, id=make_transaction().pk)
