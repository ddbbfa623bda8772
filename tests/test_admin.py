"""The admin: everything can be read, nothing can be edited, and each action has its own permission."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.models import Callback, Fulfilment, Transaction
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import CallbackRequest, PaymentRef, PaymentUpdate, State
from tests.factories import make_order, make_transaction

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/gatewaypay/transaction/"
Staff = Callable[..., Client]


@pytest.fixture
def staff() -> Staff:
    """A browser of a member of staff who has the named permissions, and no others."""

    def log_in(*codenames: str) -> Client:
        user = get_user_model().objects.create_user(f"staff{'-'.join(codenames)}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(user)
        return client

    return log_in


def page(client: Client, url: str, **query: str) -> str:
    answer = client.get(url, query)
    assert answer.status_code == 200
    return str(answer.content.decode())


@pytest.mark.parametrize("model", ["transaction", "callback", "fulfilment"])
def test_nobody_adds_edits_or_deletes(admin_client: Client, model: str) -> None:
    """Not even a superuser: the books are written by the package."""
    row = make_transaction(State.SUCCESS)
    pk = row.pk if model == "transaction" else row.fulfilments.get().pk
    base = f"/admin/gatewaypay/{model}/"

    assert admin_client.get(f"{base}add/").status_code == 403
    assert admin_client.post(f"{base}add/", {}).status_code == 403
    if model != "callback":
        assert admin_client.post(f"{base}{pk}/change/", {"state": "success", "amount_minor": 1}).status_code == 403
        assert admin_client.post(f"{base}{pk}/delete/", {"post": "yes"}).status_code == 403
        assert b"<input" not in admin_client.get(f"{base}{pk}/change/").content.split(b'id="content"')[1].split(
            b'class="submit-row"'
        )[0].replace(b'<input type="hidden"', b"")


def test_somebody_without_permissions_sees_nothing(staff: Staff) -> None:
    """Being staff is not enough."""
    row = make_transaction()
    client = staff()

    for url in (LIST, f"{LIST}{row.pk}/change/", "/admin/gatewaypay/callback/", "/admin/gatewaypay/fulfilment/"):
        assert client.get(url).status_code == 403


@pytest.mark.parametrize("action", ["refresh", "expire"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_looking_is_not_acting(staff: Staff, hosted: GatewayServer, action: str, method: str) -> None:
    """With the view permission alone every action URL answers 403, and the gateway hears nothing."""
    row = make_transaction()
    answer = getattr(staff("view_transaction"), method)(f"{LIST}{row.pk}/{action}/")

    assert answer.status_code == 403
    assert not hosted.requests
    assert Transaction.objects.get().version == row.version


def test_looking_offers_no_buttons_and_no_actions(staff: Staff) -> None:
    """What one may not do is not shown, and not done when it is posted all the same."""
    row = make_transaction()
    client = staff("view_transaction")
    shown = page(client, f"{LIST}{row.pk}/change/") + page(client, LIST)
    client.post(LIST, {"action": "expire_selected", "_selected_action": [str(row.pk)]})

    assert "Refresh from gateway" not in shown
    assert "Expire now" not in shown
    assert Transaction.objects.get().state == "pending"


def test_a_button_is_pressed_by_post_only(admin_client: Client) -> None:
    """A link in a mail expires nothing."""
    row = make_transaction()

    assert admin_client.get(f"{LIST}{row.pk}/expire/").status_code == 403
    assert Transaction.objects.get().state == "pending"


def test_refresh_asks_the_gateway_and_names_who_asked(staff: Staff, hosted: GatewayServer) -> None:
    """The ledger says which member of staff it was."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    client = staff("view_transaction", "refresh_transaction")
    answer = client.post(f"{LIST}{row.pk}/refresh/", follow=True)

    event = row.events.last()
    assert "1 transaction changed." in answer.content.decode()
    assert (event.to_state, event.source, event.actor.username.startswith("staff")) == ("success", "staff", True)


def test_expire_closes_at_the_gateway_and_names_who_did(staff: Staff, hosted: GatewayServer) -> None:
    """From the list as from the page."""
    row = services.initiate(str(make_order().pk)).transaction
    client = staff("view_transaction", "expire_transaction")
    client.post(LIST, {"action": "expire_selected", "_selected_action": [str(row.pk)]})

    row.refresh_from_db()
    assert row.state == "expired"
    assert row.events.last().actor is not None
    assert hosted.sessions[row.gateway_reference]["status"] == "canceled"


def test_a_gateway_that_gives_no_answer_is_said_in_words(
    staff: Staff, hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stack trace, no secret: the order and what happened."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)
    row = services.initiate(str(make_order().pk)).transaction
    hosted.script(*[Answer.error(503)] * 3)
    client = staff("view_transaction", "refresh_transaction")
    answer = client.post(f"{LIST}{row.pk}/refresh/", follow=True)

    assert f"{row.order_id}: The gateway gave no usable answer" in answer.content.decode()
    assert Transaction.objects.get().state == "pending"


@pytest.mark.parametrize("text_id", ["nonsense", "00000000-0000-4000-8000-000000000000"])
def test_a_button_of_no_transaction_leads_back(admin_client: Client, text_id: str) -> None:
    """Neither an error page nor a write."""
    answer = admin_client.post(f"{LIST}{text_id}/refresh/", follow=True)

    assert answer.status_code == 200
    assert not Transaction.objects.exists()


def test_staff_find_a_transaction_by_order_reference_and_id(admin_client: Client) -> None:
    """Whatever the shopper reads out on the telephone."""
    wanted, other = make_transaction(), make_transaction()
    for term in (wanted.order_id, wanted.gateway_reference, str(wanted.pk), f" {wanted.pk.hex} "):
        found = page(admin_client, LIST, q=term)
        assert f"/{wanted.pk}/change/" in found
    assert f"/{other.pk}/change/" not in page(admin_client, LIST, q=str(wanted.pk))


@pytest.mark.parametrize("term", ["'; DROP TABLE", "%", "\x00", "x" * 5000, "{", "\u202e", "--"])
def test_garbage_in_the_search_box_finds_nothing_and_breaks_nothing(admin_client: Client, term: str) -> None:
    """A tired person may type anything."""
    make_transaction()
    shown = page(admin_client, LIST, q=term)

    assert "0 transactions" in shown or "Null characters are not allowed" in shown


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"state__exact": "success"}, 1),
        ({"attention": "any"}, 1),
        ({"attention": "mismatch"}, 1),
        ({"attention": "late"}, 0),
        ({"gateway": "hosted"}, 3),
        ({"late__exact": "0"}, 3),
    ],
)
def test_filters_narrow_the_list(admin_client: Client, query: dict[str, str], count: int) -> None:
    """By state, by what needs a person, by gateway."""
    for state in (State.PENDING, State.HELD, State.SUCCESS):
        make_transaction(state)

    assert f"{count} transaction" in page(admin_client, LIST, **query)


def test_the_timeline_tells_who_what_when_and_on_what_evidence(admin_client: Client, hosted: GatewayServer) -> None:
    """Ledger, inbox and outbox in the order in which things happened."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    for event_id in ("evt_first", "evt_second"):
        headers, body = hosted.callback(row.gateway_reference, event_id=event_id)
        for pk in services.receive_callback("hosted", CallbackRequest(headers, body)):
            services.process_callback(pk)
    shown = page(admin_client, f"{LIST}{row.pk}/change/")

    said = ["The shopper started the payment", "The gateway told us", "evt_first", "19.99 EUR", "evt_second"]
    assert all(text in shown for text in said)
    assert "A callback that changed nothing" in shown
    assert "Fulfilment of the order" in shown
    assert shown.index("The shopper started the payment") < shown.index("The gateway told us")


def test_what_strangers_write_is_escaped(admin_client: Client) -> None:
    """An order's name and a gateway's words are text, never markup."""
    row = make_transaction(State.PENDING, description="<script>alert(1)</script>")
    Callback.objects.create(
        gateway="hosted",
        event_id="<img src=x>",
        transaction=row,
        update={"raw": {"status": "<b>"}},
        body_sha256="",
        received_at=timezone.now(),
    )
    shown = page(admin_client, f"{LIST}{row.pk}/change/") + page(admin_client, "/admin/gatewaypay/callback/")

    assert "<script>alert(1)" not in shown
    assert "<img src=x>" not in shown
    assert "&lt;img src=x&gt;" in shown


def test_a_fulfilment_that_was_given_up_is_delivered_by_hand(staff: Staff) -> None:
    """With its own permission; the reason of the failure is in the list."""
    order = make_order(mood="raise")
    make_transaction(State.SUCCESS, order=order)
    Fulfilment.objects.update(state="dead", next_attempt_at=None)
    type(order).objects.update(mood="")
    dead = Fulfilment.objects.get()
    post = {"action": "retry_selected", "_selected_action": [str(dead.pk)]}
    watcher, mender = staff("view_fulfilment"), staff("view_fulfilment", "retry_fulfilment")
    shown = page(watcher, "/admin/gatewaypay/fulfilment/")
    watcher.post("/admin/gatewaypay/fulfilment/", post)
    before = Fulfilment.objects.get().state
    mender.post("/admin/gatewaypay/fulfilment/", post)

    order.refresh_from_db()
    assert "HookFailed: no stock in the cellar" in shown
    assert (before, Fulfilment.objects.get().state, order.fulfilments) == ("dead", "done", 1)


def test_a_callback_that_was_given_up_is_worked_on_by_hand(
    staff: Staff, hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """With its own permission; the list says why it was given up, the payment's page that it was."""
    settings.GATEWAYPAY["MAX_ATTEMPTS"] = 1
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    with monkeypatch.context() as broken:
        broken.setattr("django_gatewaypay.services.callbacks.load_update", lambda _: 1 / 0)
        [pk] = services.receive_callback("hosted", CallbackRequest(*hosted.callback(row.gateway_reference)))
        services.process_callback(pk)
    post = {"action": "retry_selected", "_selected_action": [str(pk)]}
    watcher = staff("view_callback", "view_transaction")
    mender = staff("view_callback", "retry_callback")
    inbox, payment = page(watcher, "/admin/gatewaypay/callback/"), page(watcher, f"{LIST}{row.pk}/change/")
    watcher.post("/admin/gatewaypay/callback/", post)
    before = Callback.objects.get().state
    answer = mender.post("/admin/gatewaypay/callback/", post, follow=True)

    row.refresh_from_db()
    assert "ZeroDivisionError: division by zero" in inbox
    assert "was given up" in payment
    assert (before, row.state) == ("dead", "success")
    assert "1 of 1 processed." in answer.content.decode()


@pytest.mark.parametrize("model", ["transaction", "callback", "fulfilment"])
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


def test_the_lists_cost_the_same_however_long_they_are(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    """No query per row."""
    for _ in range(12):
        make_transaction(State.SUCCESS)
    Transaction.objects.update(created_at=timezone.now() - timedelta(days=1))

    with django_assert_max_num_queries(12):
        page(admin_client, LIST)
    with django_assert_max_num_queries(12):
        page(admin_client, "/admin/gatewaypay/fulfilment/")


def test_the_gateway_is_asked_outside_of_the_hosts_atomic_requests(
    admin_client: Client, hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ATOMIC_REQUESTS does not hold a lock across the wire, in the list as on the page."""
    row = services.initiate(str(make_order().pk)).transaction
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    inside: list[bool] = []
    fetch = HostedGateway.fetch_payment

    def watch(self: HostedGateway, payment: PaymentRef) -> PaymentUpdate:
        inside.append(connection.in_atomic_block)
        return fetch(self, payment)

    monkeypatch.setattr(HostedGateway, "fetch_payment", watch)
    admin_client.post(f"{LIST}{row.pk}/refresh/")
    admin_client.post(LIST, {"action": "refresh_selected", "_selected_action": [str(row.pk)]})

    assert inside == [False, False]
