"""B7, what has no number: whose payment, which socket, which page, which button, and a hook that calls back."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import get_resolver
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from django_gatewaypay import services, urls
from django_gatewaypay.exceptions import InvalidTransition
from django_gatewaypay.models import Callback, Fulfilment, Transaction
from tests.journeys.conftest import server_url as server_url
from tests.shop.handler import ShopOrders

from .live import PATIENCE, Page, protocols, socket_url
from .world import World, only, snapshot

# --- Without a number: whose payment is it?

#: Every address that names a transaction, and how it is asked.
OWNED = {"status": "get", "cancel": "post", "pay": "get", "return": "get"}
OPEN_TO_ALL = {"initiate", "gateways", "callback", "health", "check", "link"}
#: Behind permissions, see tests/views/test_staff_api.py.
STAFF = {
    "transactions", "transaction", "transaction-cancel", "transaction-capture", "transaction-refresh",
    "transaction-refunds",
}  # fmt: skip


def test_every_address_is_known_to_the_sweep() -> None:
    """A new one has to be put into one of the three lists."""
    assert {pattern.name for pattern in urls.urlpatterns if pattern.name} == set(OWNED) | OPEN_TO_ALL | STAFF
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
    with connect(socket_url(server_url, row), additional_headers=mine, proxy=None, open_timeout=PATIENCE) as page:
        assert "pending" in page.recv(timeout=PATIENCE)


def knock(url: str, row: Transaction, headers: dict[str, str]) -> None:
    with connect(
        socket_url(url, row), additional_headers=headers, subprotocols=protocols(row), proxy=None, open_timeout=PATIENCE
    ):
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
        page.next()


# --- Without a number: pages.


def test_visiting_the_return_page_without_paying(world: World) -> None:
    """The visit is no evidence, however it is dressed up."""
    row = world.start()
    pages = [world.page(row, "return")]
    dressed_up = "status=success&redirect_status=succeeded&payment_intent=pi_1&paid=1"
    pages.append(world.client.get(f"/payments/return/{row.pk}/?{dressed_up}").content.decode())

    assert world.fate(row) == ("pending", 0)
    assert world.status(row)["status"] == "pending"
    assert not [page for page in pages if 'screen="success"' in page]


def test_repeat_visits_change_nothing_and_ask_little(world: World) -> None:
    """Thirty visits of a paid payment's pages: the same effect, and the gateway is asked once."""
    row = world.start()
    world.happen(row, "success")
    world.server.requests.clear()
    pages = [world.page(row, name) for _ in range(15) for name in ("return", "pay")]

    assert world.fate(row) == ("success", 1)
    assert 'screen="success"' in pages[-1]
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
