"""B7, shopper, staff and abuse, through the API and the pages. Faults 51 to 54, and what has no number."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.urls import get_resolver
from moneyed import Money
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from django_gatewaypay import services, urls
from django_gatewaypay.exceptions import GatewayRejected, GatewayUnavailable, InvalidTransition
from django_gatewaypay.models import Callback, Fulfilment, Transaction
from django_gatewaypay.orders import Quote
from django_gatewaypay.registry import gateways
from django_gatewaypay.services.refreshing import payment_ref
from django_gatewaypay.testing.gateway_server import Answer
from django_gatewaypay.types import RefundRequest, RefundState
from tests.factories import make_order
from tests.journeys.conftest import server_url as server_url
from tests.shop.handler import ShopOrders

from .live import Page, protocols, socket_url
from .world import ALIAS, World, only, snapshot


def problem(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("code", "")


def post(world: World, body: dict[str, Any]) -> Any:
    return world.client.post("/payments/initiate/", body, content_type="application/json")


def together(*jobs: Callable[[], Any]) -> list[Any]:
    def run(job: Callable[[], Any]) -> Any:
        try:
            return job()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [done.result() for done in [pool.submit(run, job) for job in jobs]]


# --- 51


def test_fault_51_the_same_key_with_the_same_body_is_replayed(world: World) -> None:
    """201 and the same words, however often."""
    order = make_order()
    first, *others = (world.initiate(order, key="k-1") for _ in range(4))

    assert first.status_code == 201
    assert {(answer.status_code, answer.content) for answer in others} == {(201, first.content)}
    assert (len(world.server.sessions), Transaction.objects.count()) == (1, 1)


def test_fault_51_the_same_key_with_another_body_is_refused(world: World) -> None:
    """422, and the first payment is as it was."""
    world.initiate(make_order(), key="k-1")
    before = snapshot()["Transaction"]
    refused = world.initiate(make_order(), key="k-1")

    assert problem(refused) == (422, "idempotency_conflict")
    assert snapshot()["Transaction"] == before


def test_fault_51_a_key_in_flight_is_told_when_to_come_back(world: World) -> None:
    """409 with Retry-After while the gateway is being asked; afterwards the same 201."""
    order = make_order()
    world.server.script(Answer.hang(3))

    def second() -> Any:
        while not world.server.requests:
            time.sleep(0.01)
        return world.initiate(order, key="k-1")

    first, early = together(lambda: world.initiate(order, key="k-1"), second)
    late = world.initiate(order, key="k-1")

    assert problem(early) == (409, "payment_in_progress")
    assert int(early["Retry-After"]) > 0
    assert (first.status_code, late.status_code, late.json()) == (201, 201, first.json())
    assert len(world.server.sessions) == 1


def test_fault_51_no_key_joins_the_open_payment(world: World) -> None:
    """Allowed: one open payment per order and account, so a second click is the same one."""
    order = make_order()
    first, second = world.initiate(order), world.initiate(order)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert len(world.server.sessions) == 1


def test_fault_51_a_double_click_in_the_same_instant(world: World) -> None:
    """Eight at once without a key: one session; whoever is early is told to come back."""
    order = make_order()
    answers = together(*[lambda: world.initiate(order)] * 8)

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert 201 in {answer.status_code for answer in answers}
    assert (len(world.server.sessions), Transaction.objects.count()) == (1, 1)


# --- 52

PRICES = [0, -1, "-19.99", "0", 10**30, "1e5", "NaN", "Infinity", "19.999", 0.01, None, [], {"amount": "1"}]


@only("sandbox")
@pytest.mark.parametrize("name", ["amount", "price", "amount_minor", "currency"])
@pytest.mark.parametrize("price", PRICES, ids=str)
def test_fault_52_a_price_from_the_browser_is_refused(world: World, name: str, price: Any) -> None:
    """422 by name, whatever it says: nothing is written and nobody is asked."""
    order = make_order()
    refused = post(world, {"order_id": str(order.pk), name: price})

    assert problem(refused) == (422, "invalid")
    assert list(refused.json()["errors"]) == [name]
    assert not Transaction.objects.exists()
    assert not world.server.requests


class OddOrders(ShopOrders):
    """A host whose own price is none."""

    price = Money(1, "USD")

    def quote(self, order_id: str, *, request: Any) -> Quote:
        return Quote(self.price)


ODD = {
    "negative": Money("-1", "USD"),
    "zero": Money(0, "USD"),
    "10^30": Money(Decimal(10) ** 30, "USD"),
    "NaN": Money(Decimal("NaN"), "USD"),
    "infinite": Money(Decimal("Infinity"), "USD"),
    "three decimals in USD": Money("19.999", "USD"),
    "half a yen": Money("0.5", "JPY"),
}
BROKEN = {"NaN", "infinite", "three decimals in USD", "half a yen"}


INEXACT = pytest.mark.xfail(strict=True, reason="InvalidAmount of a host's quote is not caught: 500")


@only("sandbox")
@pytest.mark.parametrize(
    "price", [pytest.param(name, marks=INEXACT if name in BROKEN else ()) for name in ODD], ids=str
)
def test_fault_52_an_impossible_price_from_the_host_is_not_payable(
    world: World, price: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """422 too: a bug in the shop is no 500, and no payment."""
    monkeypatch.setattr(OddOrders, "price", ODD[price])
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "ORDERS": f"{__name__}.OddOrders"}
    refused = world.initiate(make_order())

    assert problem(refused) == (422, "order_not_payable")
    assert not Transaction.objects.exists()
    assert not world.server.requests


def test_fault_52_the_amount_is_the_hosts(world: World) -> None:
    """What the gateway is asked for is the order's price, to the cent."""
    row = world.start(price_minor=12345)
    world.happen(row, "success", 12345)
    world.tell_all(world.tell(row))

    assert (row.amount_minor, world.fate(row)) == (12345, ("success", 1))


# --- 53

ELSEWHERE = [
    "//evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "https://shop.example@evil.example/",
    "https://user:pw@shop.example/",
    "/ok\r\nSet-Cookie: a=b",
    "https://ѕhop.example/",
    "/" + "x" * 10_240,
    "https://shop.example:444/",
    "http://shop.example/",
    "\\\\evil.example",
]


@only("sandbox")
@pytest.mark.parametrize("url", ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_fault_53_a_shopper_is_led_nowhere_else(world: World, url: str) -> None:
    """422, by JSON and by form alike."""
    order = make_order()
    by_json = post(world, {"order_id": str(order.pk), "return_url": url})
    form = urlencode({"order_id": order.pk, "return_url": url})
    by_form = world.client.post("/payments/initiate/", form, content_type="application/x-www-form-urlencoded")

    assert problem(by_json) == (422, "invalid")
    assert list(by_json.json()["errors"]) == ["return_url"]
    assert by_form.status_code == 422
    assert not Transaction.objects.exists()


@only("sandbox")
def test_fault_53_only_exact_origins_are_ours(world: World) -> None:
    """The site itself by default, and the origins that the host has named, to the port."""
    named = {**world.settings.GATEWAYPAY, "RETURN_ORIGINS": ["https://app.example:8443"]}

    def status(url: str) -> int:
        return int(post(world, {"order_id": str(make_order().pk), "return_url": url}).status_code)

    urls = ["/thanks", "https://shop.example/thanks", "https://app.example:8443/x", "https://app.example/x"]
    by_default = [status(url) for url in urls]
    world.settings.GATEWAYPAY = named

    assert by_default == [201, 201, 422, 422]
    assert [status(url) for url in urls] == [201, 201, 201, 422]


# --- 54: there are no refund rows yet, so what holds is what the adapter holds.


def captured(world: World) -> Any:
    """A payment that was captured, as the adapter names it."""
    row = world.start()
    world.happen(row, "success")
    world.tell_all(world.tell(row))
    return payment_ref(world.row(row))


@only("stripe")
def test_fault_54_at_the_adapter_one_key_is_one_refund(world: World) -> None:
    """Two staff, or one who clicks twice, with the same intent: the gateway gives back once."""
    payment = captured(world)
    request = RefundRequest(payment=payment, amount=payment.amount, idempotency_key="intent-1")
    answers = together(*[lambda: gateways[ALIAS].refund(request)] * 2)

    assert len(world.server.refunds) == 1
    assert {answer.refund_reference for answer in answers} == set(world.server.refunds)
    assert sum(refund["amount"] for refund in world.server.refunds.values()) == 1999


@only("stripe")
def test_fault_54_at_the_adapter_another_body_under_the_key_is_refused(world: World) -> None:
    """A second intent cannot hide behind the first one's key."""
    payment = captured(world)
    request = RefundRequest(payment=payment, amount=Money("15", "EUR"), idempotency_key="intent-1")
    gateways[ALIAS].refund(request)
    with pytest.raises(GatewayRejected):
        gateways[ALIAS].refund(replace(request, amount=Money("19.99", "EUR")))

    assert [refund["amount"] for refund in world.server.refunds.values()] == [1500]


@only("stripe")
def test_fault_54_at_the_adapter_a_timeout_after_the_effect_is_unknown(world: World) -> None:
    """No answer is neither done nor undone; the same key finds the refund, and a look-up tells what became of it."""
    payment = captured(world)
    request = RefundRequest(payment=payment, amount=payment.amount, idempotency_key="intent-1")
    world.server.script(*[Answer.lost()] * gateways[ALIAS].client.tries)
    with pytest.raises(GatewayUnavailable):
        gateways[ALIAS].refund(request)
    unknown = list(world.server.refunds)
    again = gateways[ALIAS].refund(request)
    [reference] = world.server.refunds
    world.server.refunds[reference]["status"] = "succeeded"
    told = gateways[ALIAS].fetch_refund(payment, again.refund_reference)

    assert unknown == [reference] == [again.refund_reference]
    assert (told.state, told.amount) == (RefundState.SUCCEEDED, payment.amount)
    assert gateways[ALIAS].fetch_payment(payment).refunded == payment.amount


# --- Without a number: whose payment is it?

#: Every address that names a transaction, and how it is asked.
OWNED = {"status": "get", "cancel": "post", "pay": "get", "return": "get"}
OPEN_TO_ALL = {"initiate", "gateways", "callback", "health", "check"}


def test_every_address_is_known_to_the_sweep() -> None:
    """A new one has to be put into one of the two lists."""
    assert {pattern.name for pattern in urls.urlpatterns if pattern.name} == set(OWNED) | OPEN_TO_ALL
    assert get_resolver().namespace_dict["gatewaypay"]


@only("sandbox")
@pytest.mark.parametrize("name", OWNED)
def test_nobody_elses_payment_is_there(world: World, name: str) -> None:
    """Another user, a guest, and staff without a permission read what an unknown id says, byte for byte."""
    users = get_user_model().objects
    owner, other = users.create_user("ann"), users.create_user("bob")
    staff = users.create_user("eve", is_staff=True)
    world.client.force_login(owner)
    row = world.start()
    world.server.requests.clear()
    before = snapshot()

    def ask(user: Any, pk: object) -> tuple[int, bytes]:
        browser = Client()
        if user:
            browser.force_login(user)
        answer = getattr(browser, OWNED[name])(f"/payments/{name}/{pk}/")
        return answer.status_code, answer.content

    for user in (other, None, staff):
        assert ask(user, row.pk) == ask(user, "0b6bfa7c-3ea1-4b0f-9a4a-0d7f2d9d9b1f")
        assert ask(user, row.pk)[0] == 404
    assert (snapshot(), world.server.requests) == (before, [])
    assert ask(owner, row.pk)[0] in {200, 303}


@only("sandbox")
def test_the_list_of_payments_is_ones_own(world: World) -> None:
    """`check/` of somebody else does not know the order."""
    row = world.start()
    stranger = Client().get("/payments/check/")

    assert str(row.pk) in world.client.get("/payments/check/").content.decode()
    assert str(row.pk) not in stranger.content.decode()


@only("sandbox")
def test_staff_without_a_permission_cannot_act(world: World) -> None:
    """Every page and action of the admin says no, to whoever may not; the books stay as they are."""
    row = world.start(mood="raise")
    world.happen(row, "success")
    world.tell_all(world.tell(row))
    staff = Client()
    staff.force_login(get_user_model().objects.create_user("eve", is_staff=True))
    before = snapshot()
    owed, callback = Fulfilment.objects.get(), Callback.objects.get()
    pages = [("transaction", row.pk), ("fulfilment", owed.pk), ("callback", callback.pk)]
    answers = [staff.get(f"/admin/gatewaypay/{name}/").status_code for name, _ in pages]
    answers += [staff.get(f"/admin/gatewaypay/{name}/{pk}/change/").status_code for name, pk in pages]
    answers += [staff.post(f"/admin/gatewaypay/transaction/{row.pk}/{verb}/").status_code for verb in WORDS]
    for name, pk in pages:
        body = {"action": "retry_selected", "_selected_action": [pk]}
        answers.append(staff.post(f"/admin/gatewaypay/{name}/", body).status_code)

    assert set(answers) == {403}
    assert snapshot() == before


WORDS = ("refresh", "expire")


@only("sandbox")
def test_an_admin_cannot_mass_edit_the_state(world: World) -> None:
    """Neither the list's form, nor the row's, nor the delete action: a superuser reads."""
    rows = [world.start() for _ in range(3)]
    boss = Client()
    boss.force_login(get_user_model().objects.create_superuser("boss"))
    before = snapshot()
    url = "/admin/gatewaypay/transaction/"
    forms = {f"form-{number}-{name}": value for number, row in enumerate(rows) for name, value in edit(row).items()}
    management = {"form-TOTAL_FORMS": 3, "form-INITIAL_FORMS": 3, "_save": "Save"}
    boss.post(url, {**management, **forms})
    boss.post(url, {"action": "delete_selected", "_selected_action": [row.pk for row in rows], "post": "yes"})
    answers = [boss.post(f"{url}{row.pk}/change/", edit(row)).status_code for row in rows]

    assert answers == [403] * 3
    assert snapshot() == before


def edit(row: Transaction) -> dict[str, Any]:
    return {"id": row.pk, "state": "success", "captured_minor": row.amount_minor, "amount_minor": 1}


# --- Without a number: sockets.


@only("sandbox")
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://shop.example.evil.example", None])
def test_another_sites_page_cannot_open_the_socket(world: World, server_url: str, origin: str | None) -> None:
    """Even with the victim's own cookies: refused before the handshake is over (CSWSH)."""
    row = world.start()
    cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in world.client.cookies.items())
    headers = {"Cookie": cookie, **({"Origin": origin} if origin else {})}
    with pytest.raises(InvalidStatus) as refused:
        knock(server_url, row, headers)

    assert refused.value.response.status_code == 403
    mine = {"Cookie": cookie, "Origin": server_url}
    with connect(socket_url(server_url, row), additional_headers=mine, proxy=None) as page:
        assert "pending" in page.recv(timeout=10)


def knock(url: str, row: Transaction, headers: dict[str, str]) -> None:
    with connect(socket_url(url, row), additional_headers=headers, subprotocols=protocols(row), proxy=None):
        pass


@only("sandbox")
@pytest.mark.parametrize("frame", ["ping", "resync", "x" * 100_000, b"\x00" * 5000])
def test_a_flood_of_frames_ends_its_own_socket_only(world: World, server_url: str, frame: str | bytes) -> None:
    """The flooder is put off; a page beside it still hears that it was paid."""
    row = world.start()
    with Page(server_url, row) as quiet:
        with Page(server_url, row) as loud, pytest.raises(ConnectionClosed):
            flood(loud, frame)
        world.happen(row, "success")
        world.tell_all(world.tell(row))

        assert quiet.next()["state"] == "success"


def flood(page: Page, frame: str | bytes) -> None:
    for _ in range(500):
        page.connection.send(frame)
    while True:
        page.next(60)


# --- Without a number: pages.


def test_visiting_the_return_page_without_paying(world: World) -> None:
    """The visit is no evidence, however it is dressed up."""
    row = world.start()
    pages = [world.page(row, "return")]
    dressed_up = "status=success&redirect_status=succeeded&payment_intent=pi_1&paid=1"
    pages.append(world.client.get(f"/payments/return/{row.pk}/?{dressed_up}").content.decode())

    assert world.fate(row) == ("pending", 0)
    assert world.status(row)["status"] == "pending"
    assert not [page for page in pages if 'data-screen="success"' in page]


def test_repeat_visits_change_nothing_and_ask_little(world: World) -> None:
    """Thirty visits of a paid payment's pages: the same effect, and the gateway is asked once."""
    row = world.start()
    world.happen(row, "success")
    world.server.requests.clear()
    pages = [world.page(row, name) for _ in range(15) for name in ("return", "pay")]

    assert world.fate(row) == ("success", 1)
    assert 'data-screen="success"' in pages[-1]
    assert len(world.server.requests) == 1


# --- Without a number: the host calls us back.


class NosyOrders(ShopOrders):
    """A host whose hook calls the services about the payment that it is told of."""

    def fulfil(self, transaction: Transaction) -> None:
        super().fulfil(transaction)
        assert services.refresh(transaction.pk).state == "success"
        services.tick()
        with pytest.raises(InvalidTransition):
            services.cancel(transaction.pk)


def test_a_hook_that_calls_the_services_has_one_effect(world: World) -> None:
    """It asks, it ticks, it tries to cancel: the payment stays paid and is fulfilled once."""
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "ORDERS": f"{__name__}.NosyOrders"}
    row = world.start()
    world.happen(row, "success")
    answered = world.tell_all(world.tell(row))

    assert (answered, world.fate(row)) == ([200], ("success", 1))
    assert Fulfilment.objects.get().attempts == 1
