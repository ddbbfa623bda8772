"""The export: what the list shows, all of its pages, in cells that no spreadsheet runs."""

import csv
import io
import tracemalloc
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_gatewaypay.admin import export
from django_gatewaypay.models import Transaction
from django_gatewaypay.types import State
from tests.factories import make_transaction

from .conftest import LIST, Staff, page

pytestmark = pytest.mark.django_db(transaction=True)

URL = f"{LIST}export/"


def lines_of(client: Client, **query: str) -> list[dict[str, str]]:
    answer = client.get(URL, query)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_it_has_what_the_list_has(admin_client: Client) -> None:
    """The same filters, the same search; and the list leads there with its own."""
    held = make_transaction(State.HELD, amount_minor=2000)
    paid = make_transaction(State.SUCCESS, currency="KWD", amount_minor=12500)
    Transaction.objects.filter(pk=paid.pk).update(returned_minor=500, attention="late", late=True)
    shown = page(admin_client, LIST, state__exact="held")
    [line] = lines_of(admin_client, q=paid.order_id)

    assert [one["order"] for one in lines_of(admin_client, state__exact="held")] == [held.order_id]
    assert [one["order"] for one in lines_of(admin_client, attention="any", p="3")] == [paid.order_id, held.order_id]
    assert f'href="{URL}?state__exact=held"' in shown
    assert (line["amount"], line["currency"], line["given back"], line["refund status"], line["late"]) == (
        "12.500", "KWD", "0.500", "partial", "yes",
    )  # fmt: skip


def test_it_goes_on_over_all_pages(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row once, the newest first, also those of one moment; a page at a time."""
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 3)
    moment = timezone.now()
    made = [make_transaction(created_at=moment).order_id for _ in range(7)]
    newest = make_transaction()
    with CaptureQueriesContext(connection) as asked:
        orders = [line["order"] for line in lines_of(admin_client)]

    assert orders[0] == newest.order_id
    assert sorted(orders[1:]) == sorted(made)
    asked_for_rows = [query["sql"] for query in asked.captured_queries if "gatewaypay_transaction" in query["sql"]]
    assert len([sql for sql in asked_for_rows if "LIMIT 3" in sql]) == 4
    assert len(asked_for_rows) == 1 + 4, "a cell has asked for a column of its own"


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_looks_like_a_formula_is_text(admin_client: Client, begins: str) -> None:
    """An order's name may be chosen by a stranger."""
    make_transaction(order_id=f"{begins}HYPERLINK(1)", gateway_reference=f"{begins}2")
    [line] = lines_of(admin_client)

    assert (line["order"], line["gateway reference"]) == (f"'{begins}HYPERLINK(1)", f"'{begins}2")


def test_quotes_and_commas_stay_in_their_cell(admin_client: Client) -> None:
    """A line break in a name is no new line."""
    make_transaction(order_id='a,"b"\nc')
    [line] = lines_of(admin_client)

    assert line["order"] == 'a,"b"\nc'


def test_who_may_not_see_may_not_export(staff: Staff) -> None:
    """It is the list, in another form."""
    assert staff("view_refund").get(URL).status_code == 403


@pytest.mark.parametrize("query", [{"since": "nonsense"}, {"nonsense": "1"}, {"p": "0"}])
def test_a_filter_that_is_none_is_a_bad_request(admin_client: Client, query: dict[str, str]) -> None:
    """Not the whole table instead."""
    make_transaction()

    assert admin_client.get(URL, query).status_code == 400


def test_an_asynchronous_server_sends_it_in_pieces(admin_user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django would collect an ordinary iterator there before it sends any of it."""
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 2)
    for _ in range(5):
        make_transaction()

    async def pieces() -> tuple[bool, list[bytes]]:
        client = AsyncClient()
        await client.aforce_login(admin_user)
        answer: Any = await client.get(URL)
        return answer.is_async, [piece async for piece in answer.streaming_content]

    asynchronous, sent = async_to_sync(pieces)()

    assert asynchronous is True
    assert [piece.count(b"\n") for piece in sent] == [1, 2, 2, 1]


def test_memory_does_not_grow_with_the_file(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the rows take no more room at a time."""
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 20)
    model = make_transaction(State.SUCCESS)
    names = {field.attname for field in Transaction._meta.concrete_fields} - {"id", "version"}
    fields = {name: value for name, value in vars(model).items() if name in names}

    def peak(count: int) -> int:
        made = [Transaction(**{**fields, "order_id": f"o{count}-{number}"}) for number in range(count)]
        Transaction.objects.bulk_create(made)
        del made
        tracemalloc.start()
        answer: Any = admin_client.get(URL)
        sum(len(piece) for piece in answer.streaming_content)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(100), peak(1000)

    assert many < few * 1.5
