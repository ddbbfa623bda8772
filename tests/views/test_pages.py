"""The shopper's pages: the truth, for the right person, without anything that a browser could be made to run."""

import re
import uuid
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth import get_user_model
from django.core import signing
from django.test import Client
from django.utils import timezone

from django_gatewaypay.lifecycle import apply_update
from django_gatewaypay.models import Transaction, TransactionEvent
from django_gatewaypay.permissions import COOKIE, COOKIE_SALT
from django_gatewaypay.screens import ADVICE
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import DECLINE_CODES, PaymentUpdate, Source, State
from tests.factories import make_order, make_transaction
from tests.views.conftest import Post, bearer

pytestmark = pytest.mark.django_db(transaction=True)

FORM = "application/x-www-form-urlencoded"


class Page(HTMLParser):
    """The elements of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def status(self) -> dict[str, str | None]:
        return self.find("gatewaypay-status")[0]


@pytest.fixture
def started(hosted: GatewayServer, initiate: Post) -> Transaction:
    """A payment that the test's client has started as a guest."""
    return Transaction.objects.get(pk=initiate({"order_id": str(make_order().pk)}).json()["id"])


def show(row: Transaction, page: str = "pay") -> Any:
    """A page of a transaction, for whoever has its token."""
    return Client().get(f"/payments/{page}/{row.pk}/", headers=bearer(row))


def late_success() -> Transaction:
    row = make_transaction("expired")
    return apply_update(row.pk, PaymentUpdate(state=State.SUCCESS, captured=row.amount), source=Source.POLL).transaction


def returned() -> Transaction:
    row = late_success()
    Transaction.objects.filter(pk=row.pk).update(refunding_minor=row.captured_minor)
    return row


def waiting(seconds: int, state: str = "pending") -> Transaction:
    return make_transaction(state, waiting_since=timezone.now() - timedelta(seconds=seconds))


CONFIRMING, GUARDED, LEFT_OPEN = "We are confirming your payment", {"in-flight", "guard"}, {"in-flight"}
SCREENS: list[tuple[str, Any, str, str, str, set[str]]] = [
    ("ready", lambda: make_transaction("pending"), "ready", "", "Pay securely", set()),
    ("preparing", lambda: make_transaction("created"), "preparing", "", "Preparing your payment", GUARDED),
    ("back", lambda: waiting(0), "confirming", "soon", CONFIRMING, GUARDED),
    ("a while", lambda: waiting(20), "confirming", "longer", "longer than usual", GUARDED),
    ("long", lambda: waiting(100), "confirming", "patience", "you may close this window now", LEFT_OPEN),
    ("bank", lambda: waiting(3, "processing"), "confirming", "soon", CONFIRMING, GUARDED),
    ("reserved", lambda: make_transaction("authorized"), "confirming", "reserved", "The amount is reserved", set()),
    ("held", lambda: make_transaction("held"), "review", "", "We are checking your payment", set()),
    ("paid", lambda: make_transaction("success"), "success", "", "Thank you. We have received €19.99", set()),
    ("late", late_success, "success", "late", "Your payment arrived after its time had passed. It is safe", set()),
    ("returned", returned, "success", "returned", "so we are giving €19.99 back to you", set()),
    ("failed", lambda: make_transaction("failed"), "failure", "failed", "The payment was not accepted", set()),
    ("canceled", lambda: make_transaction("canceled"), "failure", "canceled", "The payment was canceled", set()),
    ("expired", lambda: make_transaction("expired"), "failure", "expired", "The time to pay has passed", set()),
]


@pytest.mark.parametrize(
    ("name", "make", "screen", "phase", "text", "switches"), SCREENS, ids=[case[0] for case in SCREENS]
)
def test_each_state_has_its_screen(
    name: str, make: Any, screen: str, phase: str, text: str, switches: set[str]
) -> None:
    """The words, and the attributes by which the page keeps itself true."""
    row = make()
    response = show(row)
    page = Page(response.text)

    assert response.status_code == 200
    assert text in response.text
    assert (
        page.status.items()
        >= {
            "transaction-id": str(row.pk),
            "status": str(row.status),
            "state": str(row.state),
            "version": str(row.version),
            "screen": screen,
            "phase": phase,
            "status-url": f"/payments/status/{row.pk}/",
            "page-url": f"/payments/pay/{row.pk}/",
            "return-url": f"/payments/return/{row.pk}/",
            "websocket-url": f"/ws/payments/{row.pk}/",
        }.items()
    )
    assert {"in-flight", "guard"} & page.status.keys() == switches
    assert "token" not in page.status
    assert "€19.99" in response.text
    assert str(row.pk) in response.text


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("insufficient_funds", "There is not enough money in the account"),
        ("expired_card", "The card has expired."),
        ("authentication_failed", "The payment was not confirmed with your bank"),
        ("fraud_suspected", "Your bank can tell you why."),
        ("lost_or_stolen", "Your bank can tell you why."),
        ("declined", "Your bank can tell you why."),
    ],
)
def test_a_decline_is_told_with_what_to_do_about_it(reason: str, text: str) -> None:
    """In plain words; a suspicion is the bank's to tell."""
    row = make_transaction("pending")
    apply_update(row.pk, PaymentUpdate(state=State.FAILED, decline_code=reason), source=Source.POLL)
    html = show(row).text

    assert text in html
    assert "fraud" not in html
    assert "stolen" not in html


def test_every_piece_of_advice_is_about_a_known_decline() -> None:
    """A code that no adapter uses would never be shown."""
    assert ADVICE.keys() < DECLINE_CODES


@pytest.mark.parametrize("state", ["held", "success", "processing"])
def test_money_that_is_under_way_is_never_told_as_failed(state: str) -> None:
    """Nor is the shopper offered to pay again."""
    html = show(make_transaction(state)).text

    assert "not accepted" not in html
    assert "Try again" not in html
    assert "Continue to payment" not in html


def test_a_payment_that_failed_can_be_tried_again(hosted: GatewayServer) -> None:
    """The button starts a new payment of the same order, with the CSRF token that the page gave out."""
    browser = Client(enforce_csrf_checks=True)
    row = make_transaction("failed", return_url="/orders/1")
    page = Page(browser.get(f"/payments/pay/{row.pk}/", headers=bearer(row)).text)
    [form] = page.find("form")
    fields = {field["name"]: field["value"] for field in page.find("input")}
    response = browser.post(form["action"], urlencode(fields), FORM, headers={"Origin": "http://testserver"})

    assert fields.keys() == {"csrfmiddlewaretoken", "order_id", "gateway", "return_url"}
    assert response.status_code == 303
    assert Transaction.objects.get(state="pending").return_url == "/orders/1"


def test_the_way_to_the_gateway_may_be_a_form(started: Transaction) -> None:
    """A gateway that wants a POST gets its fields, escaped, and the policy lets the form go there only."""
    action = {
        "type": "redirect",
        "method": "POST",
        "url": "https://bank.example/pay",
        "fields": {"PaReq": '"><script>alert(1)</script>', "TermUrl": "https://shop.example/?a=1&b=2"},
    }
    Transaction.objects.update(next_action=action)
    response = show(started)
    page = Page(response.text)

    assert page.find("form") == [{"method": "post", "action": "https://bank.example/pay", "data-gatewaypay-go": None}]
    assert {field["name"]: field["value"] for field in page.find("input")} == action["fields"]
    assert not any("alert" in str(attributes) for attributes in page.find("script"))
    assert "form-action 'self' https://bank.example;" in response["Content-Security-Policy"]


def test_the_page_names_where_the_shopper_is_taken(started: Transaction) -> None:
    """A link to the gateway that tells it nothing about our page."""
    page = Page(show(started).text)

    [link] = [link for link in page.find("a") if link.get("class") == "gwp-button"]
    assert (link["href"], link["rel"]) == (started.next_action["url"], "noreferrer")


def test_the_way_back_to_the_shop_is_shown_when_it_is_over() -> None:
    """Where the host wanted the shopper afterwards."""
    link = '<a href="/orders/1?a=1&amp;b=2" rel="noreferrer">'
    found = [
        link in show(make_transaction(state, return_url="/orders/1?a=1&b=2")).text for state in ("success", "failed")
    ]

    assert found == [True, True]


# --- Coming back.


def test_coming_back_asks_the_gateway(hosted: GatewayServer, client: Client, started: Transaction) -> None:
    """The visit proves nothing; the gateway's answer does, and the page shows it."""
    hosted.pay(started.gateway_reference)
    html = client.get(f"/payments/return/{started.pk}/").text

    assert "Payment received" in html
    assert TransactionEvent.objects.last().source == "return"


@pytest.mark.parametrize("query", ["?status=success", "?paid=1&amount=19.99", "?state=success&captured=1999"])
def test_saying_that_it_is_paid_pays_nothing(
    hosted: GatewayServer, client: Client, started: Transaction, query: str
) -> None:
    """A shopper who walks straight to the success page, again and again, sees that it is still open."""
    pages = [client.get(f"/payments/return/{started.pk}/{query}").text for _ in range(5)]

    started.refresh_from_db()
    assert all("We are confirming your payment" in html for html in pages)
    assert (started.state, started.version) == ("pending", 1)
    assert [request.method for request in hosted.requests] == ["POST", "GET"]


def test_coming_back_by_post_is_redirected_and_writes_nothing(
    hosted: GatewayServer, started: Transaction, django_assert_num_queries: Any
) -> None:
    """303 to the same page by GET, for anybody, without a look at the database or the gateway."""
    strict = Client(enforce_csrf_checks=True)
    with django_assert_num_queries(0):
        answers = [
            strict.post(f"/payments/return/{pk}/", {"status": "success"})
            for pk in (started.pk, uuid.uuid4(), started.pk.hex)
        ]

    assert [answer.status_code for answer in answers] == [303] * 3
    assert answers[2]["Location"] == answers[0]["Location"] == f"/payments/return/{started.pk}/"
    assert len(hosted.requests) == 1


@pytest.mark.parametrize("text", ["x", "%00", "..", "a" * 2000, "javascript:alert(1)"])
def test_an_id_that_is_none_leads_nowhere(text: str) -> None:
    """404 for GET and POST alike, on every page."""
    client = Client()
    answers = [
        client.get(f"/payments/pay/{text}/"),
        client.get(f"/payments/return/{text}/"),
        client.post(f"/payments/return/{text}/"),
    ]

    assert [answer.status_code for answer in answers] == [404] * 3


def test_a_stranger_learns_nothing_and_makes_us_ask_nothing(hosted: GatewayServer, started: Transaction) -> None:
    """404, the same page as for an id that does not exist, and no call to the gateway."""
    stranger = Client()
    stranger.force_login(get_user_model().objects.create(username="bob"))
    pages = [stranger.get(f"/payments/{page}/{pk}/") for page in ("pay", "return") for pk in (started.pk, uuid.uuid4())]

    assert {(page.status_code, page.content) for page in pages} == {(404, pages[0].content)}
    assert "We cannot show this payment here" in pages[0].text
    assert len(hosted.requests) == 1


def test_a_gateway_that_does_not_answer_is_no_error_to_the_shopper(
    hosted: GatewayServer, client: Client, started: Transaction
) -> None:
    """The page says that it is confirming."""
    hosted.script(*[Answer.error(500)] * 3)
    response = client.get(f"/payments/return/{started.pk}/")

    assert (response.status_code, "We are confirming your payment" in response.text) == (200, True)


def test_reading_pages_writes_nothing(hosted: GatewayServer, client: Client, started: Transaction) -> None:
    """GET and HEAD of the pay page and the list leave the books alone."""
    before = list(Transaction.objects.values()), TransactionEvent.objects.count()
    for url in (f"/payments/pay/{started.pk}/", "/payments/check/"):
        client.get(url)
        client.head(url)

    assert (list(Transaction.objects.values()), TransactionEvent.objects.count()) == before


PAGES = [(page, method) for page in ("pay/1", "check", "check/x") for method in ("post", "put", "delete", "patch")]


@pytest.mark.parametrize(("page", "method"), [one for one in PAGES if one != ("check", "post")])
def test_pages_are_read(page: str, method: str) -> None:
    """405 for everything but the form of the list."""
    assert getattr(Client(), method)(f"/payments/{page}/").status_code == 405


# --- Nothing to run, nothing to leak.


EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7|add:7 }}'


def test_what_the_host_and_the_gateway_say_is_text() -> None:
    """Order ids, descriptions, addresses and references are escaped on every screen and in the list."""
    client = Client()
    client.force_login(ann := get_user_model().objects.create(username="ann"))
    fields = {"user": ann, "description": EVIL, "return_url": "/" + EVIL}
    rows = [make_transaction(state, **fields) for state in ("pending", "failed", "success")]
    Transaction.objects.update(description=EVIL, order_id=EVIL)
    pages = [client.get(f"/payments/pay/{row.pk}/").text for row in rows]
    Transaction.objects.filter(pk=rows[0].pk).update(description="")
    pages += [client.get(f"/payments/pay/{rows[0].pk}/").text, client.get("/payments/check/").text]

    for html in pages:
        page = Page(html)
        assert "&lt;script&gt;alert(1)" in html
        assert not page.find("img")
        assert all("src" in script for script in page.find("script"))
        assert "{{ 7|add:7 }}" in html


def every_page(client: Client, hosted: GatewayServer) -> list[Any]:
    rows = [case[1]() for case in SCREENS]
    pages = [show(row) for row in rows]
    refused = client.post("/payments/initiate/", "order_id=99999", FORM)
    return [*pages, client.get("/payments/check/"), client.get("/payments/pay/x/"), refused]


def test_no_page_lets_anything_in(client: Client, hosted: GatewayServer) -> None:
    """No inline script or style, no handler, no frame; a policy that would stop them; nothing to caches and others."""
    for response in every_page(client, hosted):
        page = Page(response.text)
        policy = response["Content-Security-Policy"]
        words = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
        assert words["default-src"] == "'none'"
        assert words["frame-ancestors"] == words["base-uri"] == "'none'"
        assert words["script-src"].split() == ["'self'"]
        assert words["connect-src"].split() == ["'self'", "ws://testserver"]
        assert "unsafe" not in policy
        assert response["Referrer-Policy"] == "same-origin"
        assert "no-store" in response["Cache-Control"]
        assert all(script["src"].startswith("/static/gatewaypay/") for script in page.find("script"))
        assert not page.find("style")
        assert not page.find("iframe")
        handlers = [
            name for _, attributes in page.elements for name in attributes if name.startswith("on") or name == "style"
        ]
        assert not handlers
        assert "gwp_" not in response.text


def test_the_policy_knows_where_static_files_are(settings: Any) -> None:
    """A host that serves them elsewhere is not locked out, and over TLS the socket is wss."""
    settings.STATIC_URL = "https://cdn.example/static/"
    row = make_transaction()
    response = Client().get(f"/payments/pay/{row.pk}/", headers=bearer(row), secure=True)

    assert "script-src 'self' https://cdn.example;" in response["Content-Security-Policy"]
    assert "connect-src 'self' wss://testserver;" in response["Content-Security-Policy"]


def test_the_guest_cookie_is_for_the_server_alone(hosted: GatewayServer, initiate: Post) -> None:
    """Over TLS it never leaves it; scripts cannot read it; error reports hide it by its name."""
    from django.views.debug import SafeExceptionReporterFilter

    browser = Client()
    response = browser.post("/payments/initiate/", {"order_id": str(make_order().pk)}, "application/json", secure=True)

    cookie = response.cookies[COOKIE]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
    assert SafeExceptionReporterFilter().hidden_settings.search(COOKIE)


# --- The list.


def test_the_list_shows_a_visitors_own_payments() -> None:
    """A user's by session, a guest's by cookie, the newest first; nobody else's."""
    ann, bob = (get_user_model().objects.create(username=name) for name in ("ann", "bob"))
    now = timezone.now()
    older = make_transaction(user=ann, description="older", created_at=now - timedelta(hours=1))
    newer = make_transaction("success", user=ann, description="newer")
    guests = make_transaction("failed", description="as a guest", created_at=now - timedelta(hours=2))
    make_transaction(user=bob, description="of bob")
    make_transaction(description="of another guest")
    client = Client()
    client.force_login(ann)
    client.cookies[COOKIE] = signing.dumps([guests.pk.hex], salt=COOKIE_SALT)
    html = client.get("/payments/check/").text

    assert re.findall(r"<span>([a-z ]+)<small>", html) == ["newer", "older", "as a guest"]
    assert re.findall(r"/payments/return/([^/]+)/", html) == [str(row.pk) for row in (newer, older, guests)]
    assert [word in html for word in ("being confirmed", "paid", "not paid")] == [True] * 3


def test_a_cookie_cannot_open_a_users_payment() -> None:
    """Even a cookie that we signed shows only what guests have started."""
    row = make_transaction(user=get_user_model().objects.create(username="ann"))
    client = Client()
    client.cookies[COOKIE] = signing.dumps([row.pk.hex], salt=COOKIE_SALT)

    assert client.get(f"/payments/pay/{row.pk}/").status_code == 404
    assert str(row.pk) not in client.get("/payments/check/").text


def forged_cookies(row: Transaction) -> list[str]:
    good = signing.dumps([row.pk.hex], salt=COOKIE_SALT)
    return [
        "",
        "x",
        "a:b:c",
        good[:-1],
        good + "x",
        "x" + good,
        good.swapcase(),
        signing.dumps([row.pk.hex], salt="another"),
        signing.dumps([row.pk.hex], key="another key", salt=COOKIE_SALT),
        signing.dumps({"a": row.pk.hex}, salt=COOKIE_SALT),
        signing.dumps([5, None, [row.pk.hex]], salt=COOKIE_SALT),
        signing.dumps("text", salt=COOKIE_SALT),
        "x" * 4000,
        "é:ü:ö",
    ]


def test_a_cookie_that_was_tampered_with_shows_nothing() -> None:
    """An empty list and a 404, never a crash."""
    row = make_transaction()
    for cookie in forged_cookies(row):
        client = Client()
        client.cookies[COOKIE] = cookie
        listed, page = client.get("/payments/check/"), client.get(f"/payments/pay/{row.pk}/")
        assert (listed.status_code, page.status_code) == (200, 404), cookie
        assert "There are no payments that were started in this browser." in listed.text


def test_a_browser_remembers_its_last_payments(hosted: GatewayServer, initiate: Post, client: Client) -> None:
    """Ten of them; the oldest is forgotten, the newest come first."""
    ids = [initiate({"order_id": str(make_order().pk)}).json()["id"] for _ in range(11)]
    html = client.get("/payments/check/").text

    assert re.findall(r"/payments/return/([^/]+)/", html) == ids[:0:-1]


def test_whoever_loads_pages_too_often_waits(settings: Any, client: Client) -> None:
    """429 as a page, with Retry-After; each address has its own allowance."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"THROTTLES": {"page": "2/min"}}
    urls = ["/payments/check/", "/payments/pay/x/", "/payments/return/x/"]
    answers = [client.get(url) for url in urls]
    other = client.get(urls[0], REMOTE_ADDR="10.1.1.1")

    assert [answer.status_code for answer in answers] == [200, 404, 429]
    assert "One moment, please" in answers[2].text
    assert 1 <= int(answers[2]["Retry-After"]) <= 61
    assert other.status_code == 200
