"""The lists: everything can be read, found and narrowed down; nothing is edited, and nothing is counted."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.admin.words import ATTENTION
from django_gatewaypay.models import Callback, Transaction
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import State
from tests.conftest import REPOSITORY
from tests.docs.test_docs import first_cells
from tests.factories import make_order, make_transaction

from .conftest import LIST, Staff, make_dispute, make_refund, messages_of, page, rows_of

pytestmark = pytest.mark.django_db(transaction=True)

MODELS = ["transaction", "callback", "fulfilment", "refund", "capture", "dispute"]


@pytest.mark.parametrize("model", MODELS)
def test_nobody_adds_edits_or_deletes(admin_client: Client, model: str) -> None:
    """Not even a superuser: the books are written by the package."""
    row = make_transaction(State.SUCCESS)
    found = {
        "transaction": lambda: row,
        "fulfilment": row.fulfilments.get,
        "refund": lambda: make_refund(row),
        "dispute": lambda: make_dispute(row),
    }
    base = f"/admin/gatewaypay/{model}/"

    assert admin_client.get(f"{base}add/").status_code == 403
    assert admin_client.post(f"{base}add/", {}).status_code == 403
    if model in found:
        pk = found[model]().pk
        assert admin_client.post(f"{base}{pk}/change/", {"state": "success", "amount_minor": 1}).status_code == 403
        assert admin_client.post(f"{base}{pk}/delete/", {"post": "yes"}).status_code == 403
        content = admin_client.get(f"{base}{pk}/change/").content.split(b'id="content"')[1]
        assert b"<input" not in content.replace(b'<input type="hidden"', b"")


def test_somebody_without_permissions_sees_nothing(staff: Staff) -> None:
    """Being staff is not enough."""
    row = make_transaction()
    client = staff()

    for url in (f"{LIST}{row.pk}/change/", *(f"/admin/gatewaypay/{model}/" for model in MODELS)):
        assert client.get(url).status_code == 403


def test_looking_offers_no_actions(staff: Staff) -> None:
    """What one may not do is not shown, and not done when it is posted all the same."""
    row = make_transaction()
    client = staff("view_transaction")
    shown = page(client, LIST)
    client.post(LIST, {"action": "expire_selected", "confirmed": "yes", "_selected_action": [str(row.pk)]})

    assert "Refresh from gateway" not in shown
    assert "Expire now" not in shown
    assert Transaction.objects.get().state == "pending"


def test_staff_find_a_payment_by_whatever_they_are_told(admin_client: Client) -> None:
    """Order, references of the gateway, id, or address: whatever the shopper reads out on the telephone."""
    wanted = make_transaction(payment_reference="pi_1", email_digest=services.email_digest("Ann@shop.example"))
    other = make_transaction()
    terms = [
        wanted.order_id,
        wanted.gateway_reference,
        "pi_1",
        str(wanted.pk),
        f" {wanted.pk.hex} ",
        "ann@shop.example ",
    ]
    for term in terms:
        found = page(admin_client, LIST, q=term)
        assert f"/{wanted.pk}/change/" in found
        assert f"/{other.pk}/change/" not in found


def test_the_other_lists_are_searched_by_the_payment_too(admin_client: Client) -> None:
    """Nobody knows the gateway's name of a refund by heart."""
    wanted, other = make_transaction(State.SUCCESS), make_transaction(State.SUCCESS)
    for row in (wanted, other):
        make_refund(row, gateway_reference=f"re_{row.order_id}")
        make_dispute(row, gateway_reference=f"dp_{row.order_id}")
        Callback.objects.create(
            gateway="hosted", event_id=f"evt_{row.order_id}", transaction=row, update={}, received_at=timezone.now()
        )
    terms = {"refund": "re_", "dispute": "dp_", "callback": "evt_", "fulfilment": ""}

    for model, prefix in terms.items():
        for term in (wanted.order_id, wanted.gateway_reference, f"{prefix}{wanted.order_id}"):
            shown = page(admin_client, f"/admin/gatewaypay/{model}/", q=term)
            assert (rows_of(shown), wanted.order_id in shown) == (1, True), (model, term)


def test_a_callback_that_matches_nothing_is_found_by_what_it_names(admin_client: Client) -> None:
    """There is no payment to search by."""
    Callback.objects.create(
        gateway="hosted",
        event_id="e",
        state="unmatched",
        gateway_reference="ps_lost",
        update={},
        received_at=timezone.now(),
    )

    assert rows_of(page(admin_client, "/admin/gatewaypay/callback/", q="ps_lost")) == 1
    assert rows_of(page(admin_client, "/admin/gatewaypay/callback/", q="ps_other")) == 0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("term", ["'; DROP TABLE", "%", "\x00", "x" * 5000, "{", "\u202e", "--", "@"])
def test_garbage_in_the_search_box_finds_nothing_and_breaks_nothing(
    admin_client: Client, model: str, term: str
) -> None:
    """A tired person may type anything."""
    make_transaction()
    shown = page(admin_client, f"/admin/gatewaypay/{model}/", q=term)

    assert "Null characters are not allowed" in shown or rows_of(shown) == 0


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"state__exact": "success"}, 1),
        ({"attention": "any"}, 1),
        ({"attention": "mismatch"}, 1),
        ({"attention": "late"}, 0),
        ({"gateway": "hosted"}, 3),
        ({"late__exact": "0"}, 3),
        ({"since": "2020-01-01"}, 3),
        ({"since": "2020-01-01", "until": "2020-12-31"}, 0),
        ({"until": "2020-01-01"}, 0),
        ({"since": "", "until": ""}, 3),
    ],
)
def test_filters_narrow_the_list(admin_client: Client, query: dict[str, str], count: int) -> None:
    """By state, by what needs a person, by gateway, by time."""
    for state in (State.PENDING, State.HELD, State.SUCCESS):
        make_transaction(state)

    assert rows_of(page(admin_client, LIST, **query)) == count


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "0001-01-01", "9999-12-31"])
def test_a_day_that_is_none_leads_back_to_the_list(admin_client: Client, text: str) -> None:
    """As Django answers a filter that it cannot read."""
    answer = admin_client.get(LIST, {"since": text})

    assert (answer.status_code, answer["Location"]) == (302, f"{LIST}?e=1")


def test_a_day_has_both_of_its_ends(admin_client: Client) -> None:
    """From the first moment of the first day to the last one of the last."""
    day = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    edges = [day - timedelta(seconds=1), day, day + timedelta(hours=23, minutes=59), day + timedelta(days=1)]
    for moment in edges:
        make_transaction(created_at=moment)
    text = day.date().isoformat()

    assert rows_of(page(admin_client, LIST, since=text, until=text)) == 2
    assert f'name="since" value="{text}"' in page(admin_client, LIST, since=text, q="x")


def test_the_filter_of_attention_knows_every_code() -> None:
    """Those of the how-to, and no code is a part of another, because that is how they are looked for."""
    documented = set(first_cells((REPOSITORY / "docs/how-to/attention.md").read_text()))

    assert set(ATTENTION) >= documented
    assert [(one, other) for one in ATTENTION for other in ATTENTION if one != other and one in other] == []


def test_refunds_and_disputes_have_their_own_filters(admin_client: Client) -> None:
    """Waiting for a second person; an answer that is due, the next one first."""
    now = timezone.now()
    rows = [make_transaction(State.SUCCESS) for _ in range(3)]
    make_refund(rows[0], needs_approval=True)
    make_refund(rows[1], state="succeeded", needs_approval=True)
    make_dispute(rows[0], gateway_reference="dp_later", due_at=now + timedelta(days=9))
    make_dispute(rows[1], gateway_reference="dp_sooner", due_at=now + timedelta(days=2))
    make_dispute(rows[2], gateway_reference="dp_won", due_at=now, state="won")
    refunds = page(admin_client, "/admin/gatewaypay/refund/", approval="waiting")
    due = page(admin_client, "/admin/gatewaypay/dispute/", answer="due")

    assert rows_of(refunds) == 1
    assert "waits for a second person" in refunds
    assert "dp_won" not in due
    assert due.index("dp_sooner") < due.index("dp_later")


def test_a_list_has_more_instead_of_a_total(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It turns the pages, and never counts."""
    monkeypatch.setattr("django_gatewaypay.admin.base.ReadOnlyAdmin.list_per_page", 2)
    for _ in range(5):
        make_transaction()
    with CaptureQueriesContext(connection) as asked:
        first, second, third = (page(admin_client, LIST, p=str(number), state__exact="pending") for number in (1, 2, 3))

    assert [rows_of(shown) for shown in (first, second, third)] == [2, 2, 1]
    assert "?p=2&amp;state__exact=pending" in first
    assert "?p=1&amp;state__exact=pending" in second
    assert ("Back" in first, "More" in third) == (False, False)
    assert [query["sql"] for query in asked.captured_queries if "COUNT(" in query["sql"]] == []


@pytest.mark.parametrize("number", ["0", "-1", "201", "999999999"])
def test_a_page_that_is_too_far_is_not_turned_to(admin_client: Client, number: str) -> None:
    """The database would have to read all that comes before."""
    assert admin_client.get(LIST, {"p": number}).status_code == 302


def test_the_last_page_says_how_to_go_on(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Search, or choose a time."""
    monkeypatch.setattr("django_gatewaypay.admin.base.ReadOnlyAdmin.list_per_page", 2)
    monkeypatch.setattr("django_gatewaypay.admin.base.LAST_PAGE", 2)
    for _ in range(5):
        make_transaction()

    assert "There is more: search, or choose a time." in page(admin_client, LIST, p="2")


def test_counts_beside_filters_are_not_offered(admin_client: Client) -> None:
    """Facets count the table once for each choice."""
    make_transaction()
    with CaptureQueriesContext(connection) as asked:
        shown = page(admin_client, LIST, _facets="True")

    assert "Show counts" not in shown
    assert [query["sql"] for query in asked.captured_queries if "COUNT(" in query["sql"]] == []


def test_a_list_shows_what_went_back(admin_client: Client) -> None:
    """All of it, or a part."""
    whole, part, none = (make_transaction(State.SUCCESS) for _ in range(3))
    Transaction.objects.filter(pk=whole.pk).update(returned_minor=1999)
    Transaction.objects.filter(pk=part.pk).update(refunded_minor=500)
    shown = {row: page(admin_client, LIST, q=row.order_id) for row in (whole, part, none)}

    assert 'gwp-badge-refunded">refunded in full<' in shown[whole]
    assert 'gwp-badge-refunded">partly refunded<' in shown[part]
    assert "gwp-badge-refunded" not in shown[none]


def test_an_amount_is_shown_in_its_currency(admin_client: Client) -> None:
    """Yen have no cents, and a Kuwaiti dinar has a thousand fils."""
    for currency, minor in (("JPY", 2000), ("KWD", 12500)):
        make_transaction(currency=currency, amount_minor=minor)
    shown = page(admin_client, LIST)

    assert "2000 JPY" in shown
    assert "12.500 KWD" in shown


@pytest.mark.parametrize("model", MODELS)
def test_every_list_says_when_nobody_does_the_work(admin_client: Client, model: str) -> None:
    """In red, with how long; and nothing while the clock runs."""
    row = make_transaction(State.PENDING)
    url = f"/admin/gatewaypay/{model}/"
    quiet = page(admin_client, url)
    Transaction.objects.filter(pk=row.pk).update(next_poll_at=timezone.now() - timedelta(minutes=7))
    warned = page(admin_client, url)

    assert "gatewaypay_tick" not in quiet
    assert 'class="error"' in warned
    assert "for 7 minutes: neither beat nor gatewaypay_tick runs" in warned


@pytest.mark.parametrize("model", MODELS)
def test_every_list_leads_to_the_overview(staff: Staff, admin_client: Client, model: str) -> None:
    """For who may see it."""
    limited = staff(f"view_{model}")

    assert "/admin/gatewaypay/home/" in page(admin_client, f"/admin/gatewaypay/{model}/")
    if model != "transaction":
        assert "/admin/gatewaypay/home/" not in page(limited, f"/admin/gatewaypay/{model}/")


def test_the_lists_cost_the_same_however_long_they_are(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    """No query per row."""
    for number in range(12):
        row = make_transaction(State.SUCCESS)
        make_refund(row, state="succeeded")
        make_dispute(row, gateway_reference=f"dp_{number}")
    Transaction.objects.update(created_at=timezone.now() - timedelta(days=1))

    for model in MODELS:
        with django_assert_max_num_queries(12):
            page(admin_client, f"/admin/gatewaypay/{model}/")


# --- What is done to several rows at once.


def ticked(action: str, *rows: Transaction, **more: str) -> dict[str, Any]:
    return {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}


def test_several_are_refreshed_at_once(staff: Staff, hosted: GatewayServer) -> None:
    """Each is asked about, and one that gives no answer does not keep the others from it."""
    rows = [services.initiate(str(make_order().pk)).transaction for _ in range(2)]
    for row in rows:
        hosted.pay(row.gateway_reference)
    hosted.script(*[Answer.error(503)] * 3)
    client = staff("view_transaction", "refresh_transaction")
    answer = client.post(LIST, ticked("refresh_selected", *rows), follow=True)

    assert sorted(Transaction.objects.values_list("state", flat=True)) == ["pending", "success"]
    assert "1 transaction changed." in messages_of(answer)
    assert any("The gateway gave no usable answer" in text for text in messages_of(answer))


def test_several_are_expired_after_a_second_look(staff: Staff, hosted: GatewayServer) -> None:
    """The first click only shows them."""
    row = services.initiate(str(make_order().pk)).transaction
    client = staff("view_transaction", "expire_transaction")
    shown = client.post(LIST, ticked("expire_selected", row)).content.decode()
    before = Transaction.objects.get().state
    client.post(LIST, ticked("expire_selected", row, confirmed="yes", reason="sold out"))

    row.refresh_from_db()
    assert row.order_id in shown
    assert row.events.last().note == "sold out"
    assert (before, row.state, row.events.last().actor is not None) == ("pending", "expired", True)
    assert hosted.sessions[row.gateway_reference]["status"] == "canceled"


def test_nothing_is_done_to_a_whole_table(staff: Staff, hosted: GatewayServer) -> None:
    """Whoever sends "all" by hand is told to tick the rows."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.requests.clear()
    client = staff("view_transaction", "refresh_transaction")
    answer = client.post(LIST, ticked("refresh_selected", row, select_across="1"), follow=True)

    assert hosted.requests == []
    assert messages_of(answer) == ["Tick the rows one by one: this is not done to all of them at once."]
