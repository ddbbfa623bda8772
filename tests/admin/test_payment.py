"""The page of one payment: what it is, what it needs, what moved, and what happened, in words."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.utils import timezone, translation

from django_gatewaypay import services
from django_gatewaypay.models import Callback, Fulfilment, Refund, Transaction
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import CallbackRequest, State
from tests.factories import make_order, make_transaction

from .conftest import LIST, Staff, confirm, make_dispute, make_held, make_refund, messages_of, page

pytestmark = pytest.mark.django_db(transaction=True)


def page_of(client: Client, row: Transaction) -> str:
    return page(client, f"{LIST}{row.pk}/change/")


def test_it_tells_who_what_when_and_on_what_evidence(admin_client: Client, hosted: GatewayServer) -> None:
    """Ledger, inbox and outbox in the order in which things happened."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    for event_id in ("evt_first", "evt_second"):
        headers, body = hosted.callback(row.gateway_reference, event_id=event_id)
        for pk in services.receive_callback("hosted", CallbackRequest(headers, body)):
            services.process_callback(pk)
    shown = page_of(admin_client, row)

    said = ["The shopper started the payment", "The gateway told us", "evt_first", "19.99 EUR", "evt_second"]
    assert all(text in shown for text in said)
    assert "A callback that changed nothing" in shown
    assert "Fulfilment of the order" in shown
    assert shown.index("The shopper started the payment") < shown.index("The gateway told us")


def test_money_after_the_payment_is_part_of_the_story(admin_client: Client, paid: Transaction) -> None:
    """A table of what moved, and lines with who asked, why, and how much."""
    confirm(admin_client, f"{LIST}{paid.pk}/refund/", amount="5.00", reason="arrived in pieces")
    make_dispute(paid, amount_minor=1999, currency="EUR", due_at=timezone.now() + timedelta(days=6))
    shown = page_of(admin_client, paid)
    table, _, story = shown.partition("What happened")

    assert all(text in table for text in ("Refunds and captures", "5.00 EUR", "arrived in pieces", "succeeded"))
    assert all(text in table for text in ("Disputes", "dp_1", "19.99 EUR"))
    assert "<strong>5.00 EUR</strong>" in story
    assert "Staff decided · admin · arrived in pieces" in story


def test_sums_are_told_where_there_is_something_to_tell(admin_client: Client, paid: Transaction) -> None:
    """What was asked for, taken, given back, and what is left; no line of noughts."""
    confirm(admin_client, f"{LIST}{paid.pk}/refund/", amount="5.00", reason="x")
    shown = page_of(admin_client, paid)

    for name, amount in {
        "Asked for": "19.99",
        "Taken": "19.99",
        "Went back": "5.00",
        "Can still go back": "14.99",
    }.items():
        assert f"<dt>{name}</dt><dd>{amount} EUR</dd>" in shown
    assert "Reserved" not in shown


@pytest.mark.parametrize("code", ["mismatch", "unmatched", "disputed", "something_new"])
def test_it_says_what_needs_a_person_and_what_to_do(admin_client: Client, code: str) -> None:
    """In words; a code that nobody has words for is shown as it is."""
    row = make_transaction(State.SUCCESS)
    Transaction.objects.update(attention=code)
    shown = page_of(admin_client, row)

    assert "This payment needs a person" in shown
    assert (code in shown.split("gwp-needs")[1].split("</section>")[0]) == (code in {"something_new", "disputed"})


def test_buttons_are_those_that_are_legal_and_permitted(staff: Staff, hosted: GatewayServer) -> None:
    """A held payment is accepted, not captured; and who may only refund is offered only that."""
    row = make_held()
    everything = page_of(
        staff("view_transaction", "resolve_transaction", "refund_transaction", "capture_transaction"), row
    )
    little = page_of(staff("view_transaction", "refund_transaction"), row)
    nothing = page_of(staff("view_transaction"), row)

    def offered(shown: str) -> set[str]:
        verbs = ("refresh", "capture", "refund", "accept", "fulfil", "resolve", "release", "cancel", "expire")
        return {verb for verb in verbs if f'href="{LIST}{row.pk}/{verb}/"' in shown}

    assert offered(everything) == {"refund", "accept", "resolve"}
    assert offered(little) == {"refund"}
    assert offered(nothing) == set()


def test_what_was_given_up_is_tried_again_from_here(
    staff: Staff, hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """A callback and a fulfilment, each with its own permission; who lacks it is not even led to their pages."""
    settings.GATEWAYPAY["MAX_ATTEMPTS"] = 1
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    with monkeypatch.context() as broken:
        broken.setattr("django_gatewaypay.services.callbacks.load_update", lambda _: 1 / 0)
        [pk] = services.receive_callback("hosted", CallbackRequest(*hosted.callback(row.gateway_reference)))
        services.process_callback(pk)
    url = f"/admin/gatewaypay/callback/{pk}/"
    watcher = page_of(staff("view_transaction"), row)
    mender = staff("view_transaction", "view_callback", "retry_callback")
    offered = page_of(mender, row)
    answer = confirm(mender, f"{url}retry/")

    row.refresh_from_db()
    assert "given up" in watcher
    assert url not in watcher
    assert f'href="{url}retry/"' in offered
    assert "ZeroDivisionError: division by zero" in offered
    assert messages_of(answer) == ["The callback is processed."]
    assert answer.redirect_chain[-1][0] == f"{LIST}{row.pk}/change/"
    assert row.state == "success"


def test_what_strangers_write_is_escaped(admin_client: Client) -> None:
    """An order's name, a gateway's words and a colleague's reason are text, never markup."""
    row = make_transaction(State.SUCCESS, description="<script>alert(1)</script>")
    now = timezone.now()
    callback = Callback.objects.create(
        gateway="hosted",
        event_id="<img src=x>",
        transaction=row,
        update={"raw": {"status": "<b>bold"}},
        body_sha256="",
        received_at=now,
    )
    refund = make_refund(row, reason="<i>reason", last_error="<u>error")
    make_dispute(row, reason="<s>dispute")
    shown = page_of(admin_client, row) + "".join(
        page(admin_client, f"/admin/gatewaypay/{where}")
        for where in ("callback/", f"callback/{callback.pk}/change/", "refund/", f"refund/{refund.pk}/change/",
                      f"refund/{refund.pk}/retry/", "dispute/", f"callback/{callback.pk}/retry/")
    )  # fmt: skip

    for markup in ("<script>alert(1)", "<img src=x>", "<b>bold", "<i>reason", "<u>error", "<s>dispute"):
        assert markup not in shown
    assert "&lt;img src=x&gt;" in shown


def test_a_flood_of_callbacks_does_not_fill_the_page(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are shown; the list has the rest."""
    monkeypatch.setattr("django_gatewaypay.admin.timeline.MOST", 3)
    row = make_transaction()
    now = timezone.now()
    for number in range(9):
        Callback.objects.create(
            gateway="hosted", event_id=f"evt_{number}", transaction=row, update={}, received_at=now + timedelta(number)
        )
    shown = page_of(admin_client, row)

    assert [number for number in range(9) if f"evt_{number}" in shown] == [6, 7, 8]


def test_a_page_costs_the_same_however_much_has_happened(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    """No query per line."""
    row = make_transaction(State.SUCCESS)
    now = timezone.now()
    for number in range(10):
        Callback.objects.create(gateway="hosted", event_id=str(number), transaction=row, update={}, received_at=now)
        make_refund(row, state="succeeded")
        make_dispute(row, gateway_reference=str(number))

    with django_assert_max_num_queries(20):
        page_of(admin_client, row)


def test_a_payment_that_is_not_there_leads_to_the_index(admin_client: Client) -> None:
    """As everywhere in Django's admin."""
    for text_id in ("nonsense", "00000000-0000-4000-8000-000000000000"):
        assert admin_client.get(f"{LIST}{text_id}/change/").status_code == 302


def test_a_host_may_take_a_list_away(admin_client: Client) -> None:
    """Who unregisters the refunds' list has a page without their buttons."""
    row = make_transaction(State.SUCCESS)
    refund = make_refund(row)
    theirs = admin.site._registry.pop(Refund)
    try:
        shown = page_of(admin_client, row)
    finally:
        admin.site._registry[Refund] = theirs

    assert "sent back" in shown
    assert f"{refund.pk}/retry/" not in shown


def test_the_page_speaks_the_readers_language(admin_client: Client, hosted: GatewayServer) -> None:
    """What a gateway says stays as it is; what we say of it does not."""
    row = make_transaction(State.SUCCESS)
    with translation.override("de"):
        expected = translation.gettext("Fulfilment of the order")
    shown = admin_client.get(f"{LIST}{row.pk}/change/", headers={"Accept-Language": "de"}).content.decode()

    assert expected in shown


def test_the_outbox_is_part_of_the_story(admin_client: Client) -> None:
    """What the shop has been told, and what it answered."""
    row = make_transaction(State.FAILED)
    Fulfilment.objects.update(state="dead", attempts=10, last_error="HookFailed: no stock in the cellar")
    shown = page_of(admin_client, row)

    assert "Giving the stock back" in shown
    assert "attempts: 10 · HookFailed: no stock in the cellar" in shown
