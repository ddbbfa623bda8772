"""Check payment status from another device: one answer for everybody, and a link for whoever reads the mail."""

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import clear_script_prefix, set_script_prefix
from django.utils import timezone

from django_gatewaypay.models import Transaction
from django_gatewaypay.permissions import COOKIE, guest_ids
from tests.factories import make_order, make_transaction
from tests.shop.models import Order
from tests.views.test_pages import Page

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = "ann@shop.example"
CHECK = "/payments/check/"
SENT = "If there is a payment for this order and this address, we have sent a link to it. It is valid for one hour."
Ask = Callable[..., Any]


@pytest.fixture
def mails(settings: Any, mailoutbox: list[Any]) -> list[Any]:
    """What was mailed by a host that knows the addresses of its orders."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"ORDERS": "tests.shop.MailingShopOrders"}
    return mailoutbox


@pytest.fixture
def row(mails: list[Any]) -> Transaction:
    return make_transaction(order=make_order(email=ADDRESS), description="my order")


def finish() -> None:
    """Wait for the threads that mail."""
    for thread in threading.enumerate():
        if thread.name == "gatewaypay-lookup":
            thread.join(60)


def ask(order_id: str, email: str = ADDRESS, client: Client | None = None) -> Any:
    response = (client or Client()).post(CHECK, {"order_id": order_id, "email": email})
    finish()
    return response


def link(mails: list[Any]) -> str:
    """The path of the last link."""
    found = re.search(r"^https://shop\.example(/payments/check/.+/)$", mails[-1].body, re.MULTILINE)
    assert found
    return found[1]


# --- Asking.


def test_the_answer_is_the_same_for_everybody(row: Transaction, mails: list[Any]) -> None:
    """Known, unknown, the wrong address, no address, no payment, a host that fails: identical but for the mail."""
    broken = make_transaction(order=make_order(email=ADDRESS, mood="raise"))
    silent, unpaid = make_transaction(), make_order(email=ADDRESS)
    with time_machine.travel(timezone.now(), tick=False):  # a header tells the time
        answers = [ask(row.order_id)]
        first = len(mails)
        answers += [ask(row.order_id, "bob@shop.example"), ask(row.order_id), ask("no such order"), ask("0"), ask("☃")]
        answers += [ask(order_id) for order_id in (broken.order_id, silent.order_id, str(unpaid.pk))]

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert all(answer.headers == answers[0].headers for answer in answers)
    assert not any(answer.cookies for answer in answers)
    assert SENT in answers[0].text
    assert (first, len(mails)) == (1, 1)


def test_the_answer_does_not_wait_for_what_it_does_not_tell(
    row: Transaction, mails: list[Any], django_assert_num_queries: Any
) -> None:
    """No look at the books, the host or the mail server before it is given."""
    with django_assert_num_queries(0):
        answers = [Client().post(CHECK, {"order_id": each, "email": ADDRESS}) for each in (row.order_id, "0")]
    before = list(mails)
    finish()

    assert [answer.status_code for answer in answers] == [200, 200]
    assert (before, len(mails)) == ([], 1)


def test_the_mail_goes_to_the_hosts_address_and_never_to_the_typed_one(row: Transaction, mails: list[Any]) -> None:
    """They are compared without regard to case and blanks."""
    Order.objects.update(email="Ann@Shop.example")
    ask(f" {row.order_id} ", "  ANN@SHOP.EXAMPLE ")

    assert [mail.to for mail in mails] == [["Ann@Shop.example"]]


BAD: list[tuple[str, str, str, str]] = [
    ("no order", "order_id", "", ADDRESS),
    ("a blank order", "order_id", " ", ADDRESS),
    ("a long order", "order_id", "1" * 129, ADDRESS),
    ("NUL in the order", "order_id", "1\0", ADDRESS),
    ("two lines of order", "order_id", "1\r\nBcc: eve@example.com", ADDRESS),
    ("no address", "email", "1", ""),
    ("a blank address", "email", "1", " "),
    ("no @", "email", "1", "ann.shop.example"),
    ("no name", "email", "1", "@shop.example"),
    ("no host", "email", "1", "ann@"),
    ("a long address", "email", "1", "a" * 250 + "@b.example"),
    ("NUL in the address", "email", "1", "ann@shop.example\0"),
    ("a header", "email", "1", "ann@shop.example\nBcc: eve@example.com"),
    ("a header with CR", "email", "1", "ann@shop.example\r\nBcc:eve@example.com"),
    ("a line break at the end", "email", "1", "ann@shop.example\n"),
    ("a line break at the start", "email", "1", "\nann@shop.example"),
    ("a line separator", "email", "1", "ann@shop.example\u2028"),
    ("two addresses", "email", "1", "ann@shop.example, eve@example.com"),
]


@pytest.mark.parametrize(("field", "order_id", "email"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input_is_told_at_its_field(mails: list[Any], field: str, order_id: str, email: str) -> None:
    """422, the same form, the sentence tied to its input; and nothing is sent."""
    make_transaction(order=make_order(pk=1, email=ADDRESS))
    response = ask(order_id, email)
    page = Page(response.text)
    wrong = [each for each in page.find("input") if each.get("aria-invalid") == "true"]

    assert response.status_code == 422
    assert [each["name"] for each in wrong] == [field]
    [said] = [each for each in page.find("p") if each.get("class") == "gwp-error"]
    assert wrong[0]["aria-describedby"] == said["id"]
    assert mails == []


def test_what_was_typed_is_kept_and_is_text(mails: list[Any]) -> None:
    """Not more of it than could be right."""
    evil = '"><script>alert(1)</script>'
    response = ask(evil, "x" * 1000)
    page = Page(response.text)

    assert not page.find("script")
    assert [each["value"] for each in page.find("input") if each["name"] == "order_id"] == [evil]
    assert "x" * 255 not in response.text


def test_the_form_is_one_for_people(row: Transaction) -> None:
    """Every input has a label and says what it wants; it works without JavaScript and with the CSRF token."""
    browser = Client(enforce_csrf_checks=True)
    page = Page(browser.get(CHECK).text)
    inputs = {each["name"]: each for each in page.find("input")}
    without = browser.post(CHECK, {"order_id": row.order_id, "email": ADDRESS})
    token = inputs["csrfmiddlewaretoken"]["value"]
    response = browser.post(CHECK, {"order_id": row.order_id, "email": ADDRESS, "csrfmiddlewaretoken": token})
    finish()

    assert [form["action"] for form in page.find("form")] == [CHECK]
    assert {label["for"] for label in page.find("label")} == {inputs["order_id"]["id"], inputs["email"]["id"]}
    assert (inputs["email"]["type"], inputs["email"]["autocomplete"]) == ("email", "email")
    assert inputs["order_id"]["autocomplete"] == "off"
    assert not page.find("script")
    assert (without.status_code, response.status_code) == (403, 200)


def test_a_host_without_addresses_offers_nothing(mailoutbox: list[Any]) -> None:
    """No form on any page, and 404 for whoever posts it all the same."""
    row = make_transaction()
    pages = [Client().get(CHECK), Client().get(CHECK + "x/")]
    answers = [ask(row.order_id), ask("")]

    assert not any(Page(page.text).find("form") for page in pages)
    assert [answer.status_code for answer in answers] == [404, 404]
    assert mailoutbox == []


# --- Limits.


def test_whoever_asks_too_often_waits(row: Transaction, mails: list[Any], settings: Any) -> None:
    """429 as a page with Retry-After, by address, whatever was asked; a slip of the keyboard costs nothing."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"THROTTLES": {"lookup": "2/hour"}}
    slips = [ask("", "").status_code for _ in range(5)]
    answers = [ask("0"), ask("0"), ask(row.order_id)]
    other = Client().post(CHECK, {"order_id": row.order_id, "email": ADDRESS}, REMOTE_ADDR="10.1.1.1")
    finish()

    assert slips == [422] * 5
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "One moment, please" in answers[2].text
    assert "try again in 60 minutes" in answers[2].text
    assert 3590 < int(answers[2]["Retry-After"]) <= 3601
    assert (other.status_code, len(mails)) == (200, 1)


def test_the_limit_is_on_by_default(mails: list[Any]) -> None:
    """Ten an hour; reading the list is not counted with them."""
    answers = [ask("0").status_code for _ in range(11)]

    assert answers == [200] * 10 + [429]
    assert Client().get(CHECK).status_code == 200


def test_an_order_gets_one_mail_in_five_minutes(row: Transaction, mails: list[Any]) -> None:
    """Silently: the answer is the same."""
    answers = [ask(row.order_id) for _ in range(3)]

    assert {answer.content for answer in answers} == {answers[0].content}
    assert len(mails) == 1


# --- Opening.


def test_a_link_opens_its_order_on_another_device(row: Transaction, mails: list[Any]) -> None:
    """303 to the list, which now has its payment; nothing else is opened, and the link is told to nobody."""
    other = make_transaction(order=make_order(email=ADDRESS))
    ask(row.order_id)
    phone = Client()
    response = phone.get(link(mails))
    html = phone.get(response["Location"]).text

    assert (response.status_code, response["Location"]) == (303, CHECK)
    assert response["Referrer-Policy"] == "no-referrer"
    assert "no-store" in response["Cache-Control"]
    assert (response.cookies[COOKIE]["httponly"], response.cookies[COOKIE]["samesite"]) == (True, "Lax")
    assert re.findall(r"/payments/return/([^/]+)/", html) == [str(row.pk)]
    assert [phone.get(f"/payments/pay/{each.pk}/").status_code for each in (row, other)] == [200, 404]


def test_a_link_leads_to_where_the_request_came_in(row: Transaction, mails: list[Any]) -> None:
    """A thread and a worker do not know below which path the site is mounted; the request does."""
    set_script_prefix("/shop/")
    try:
        ask(row.order_id)
    finally:
        clear_script_prefix()

    assert "\nhttps://shop.example/shop/payments/check/" in mails[0].body


def test_a_link_may_be_opened_by_machines_first(row: Transaction, mails: list[Any]) -> None:
    """GET and HEAD change nothing in the books, and the shopper's visit after them works."""
    ask(row.order_id)
    before = list(Transaction.objects.values())
    answers = [Client().get(link(mails)), Client().head(link(mails)), Client().get(link(mails))]

    assert [answer.status_code for answer in answers] == [303] * 3
    assert list(Transaction.objects.values()) == before
    assert Client().post(link(mails)).status_code == 405


def test_a_link_keeps_what_the_browser_knew(row: Transaction, mails: list[Any]) -> None:
    """Its own payments stay in the list."""
    mine = make_transaction(order=make_order(email=ADDRESS))
    phone = Client()
    for each in (mine, row):
        ask(each.order_id)
        response = phone.get(link(mails))

    assert guest_ids({COOKIE: response.cookies[COOKIE].value}) == [row.pk.hex, mine.pk.hex]


def test_a_link_that_is_too_old_leads_to_the_form(row: Transaction, mails: list[Any]) -> None:
    """410, no cookie, and a way to ask again."""
    ask(row.order_id)
    with time_machine.travel(timezone.now() + timedelta(minutes=61), tick=True):
        response = Client().get(link(mails))

    assert response.status_code == 410
    assert not response.cookies.get(COOKIE)
    assert "This link is no longer valid" in response.text
    assert [form["action"] for form in Page(response.text).find("form")] == [CHECK]
    assert row.order_id not in re.findall(r'value="(\w+)"', response.text)


@pytest.mark.parametrize("text", ["x", "a:b:c", "%00", "☃", "a" * 5000, "x%0d%0aSet-Cookie:a=b"])
def test_a_link_that_is_none_is_told_like_an_old_one(mails: list[Any], text: str) -> None:
    """Broken, forged and expired look alike."""
    response = Client().get(f"{CHECK}{text}/")

    assert response.status_code == 410
    assert not response.cookies.get(COOKIE)


def test_a_link_dies_when_the_address_changes(row: Transaction, mails: list[Any]) -> None:
    """A mailbox that was given up opens nothing."""
    ask(row.order_id)
    Order.objects.update(email="new@shop.example")

    assert Client().get(link(mails)).status_code == 410


def test_a_users_payment_stays_with_its_user(mails: list[Any]) -> None:
    """No cookie for it; the page says to sign in, and only to whoever is not that user."""
    ann, bob = (get_user_model().objects.create(username=name) for name in ("ann", "bob"))
    order = make_order(email=ADDRESS)
    users = make_transaction(order=order, user=ann)
    ask(users.order_id)
    guest, stranger, owner = Client(), Client(), Client()
    stranger.force_login(bob)
    owner.force_login(ann)
    answers = [browser.get(link(mails)) for browser in (guest, stranger, owner)]

    assert [answer["Location"] for answer in answers] == [CHECK + "?sign-in", CHECK + "?sign-in", CHECK]
    assert not any(answer.cookies.get(COOKIE) for answer in answers)
    assert "Please sign in with that account to see them." in guest.get(answers[0]["Location"]).text
    assert "Please sign in" not in owner.get(CHECK).text
    assert [browser.get(f"/payments/pay/{users.pk}/").status_code for browser in (guest, stranger, owner)] == [
        404, 404, 200
    ]  # fmt: skip


def test_of_an_order_of_both_the_guests_part_is_opened(mails: list[Any]) -> None:
    """And the page says that there is more."""
    order = make_order(email=ADDRESS)
    users = make_transaction("failed", order=order, user=get_user_model().objects.create(username="ann"))
    guests = make_transaction(order=order)
    ask(str(order.pk))
    phone = Client()
    html = phone.get(link(mails), follow=True).text

    assert re.findall(r"/payments/return/([^/]+)/", html) == [str(guests.pk)]
    assert str(users.pk) not in html
    assert "Please sign in with that account to see them." in html


def test_no_page_of_the_lookup_lets_anything_in(row: Transaction, mails: list[Any]) -> None:
    """The policy, the referrer and the caches are as on every other page."""
    pages = [Client().get(CHECK), ask(row.order_id), ask("", ""), Client().get(CHECK + "x/")]

    for response in pages:
        page = Page(response.text)
        assert "default-src 'none'" in response["Content-Security-Policy"]
        assert "form-action 'self' ;" in response["Content-Security-Policy"]
        assert response["Referrer-Policy"] == "same-origin"
        assert "no-store" in response["Cache-Control"]
        assert not page.find("script")
        assert not page.find("style")
