"""The link to the payments of an order: for the address that the host knows, for an hour, and never in a log."""

import base64
import logging
import re
import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import signing
from django.db.backends.signals import connection_created
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Transaction
from django_gatewaypay.services import lookup
from tests.factories import make_order, make_transaction
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = "Ann.Other@shop.example"
PATH = "/payments/check/"
LINK = re.compile(r"https://shop\.example/payments/check/([\w:-]+)/")


@pytest.fixture(autouse=True)
def mails(settings: Any, mailoutbox: list[Any]) -> list[Any]:
    """What was mailed by a host that knows the addresses of its orders."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"ORDERS": "tests.shop.MailingShopOrders"}
    return mailoutbox


@pytest.fixture
def row() -> Transaction:
    return make_transaction(order=make_order(email=ADDRESS))


def send(order_id: str, email: str = ADDRESS) -> bool:
    return services.send_link(order_id, services.address_digest(order_id, email), PATH, "en")


def signed(mails: list[Any]) -> str:
    """The signed part of the last link."""
    [found] = LINK.findall(mails[-1].body)
    return str(found)


@pytest.mark.parametrize("typed", [ADDRESS, ADDRESS.upper(), f"  {ADDRESS.lower()} "])
def test_the_mail_goes_to_the_hosts_address(row: Transaction, mails: list[Any], settings: Any, typed: str) -> None:
    """As the host writes it, from DEFAULT_FROM_EMAIL, in plain text, to nobody else."""
    settings.DEFAULT_FROM_EMAIL = "till@shop.example"
    sent = send(row.order_id, typed)

    [mail] = mails
    assert sent is True
    assert (mail.to, mail.cc, mail.bcc, mail.from_email) == ([ADDRESS], [], [], "till@shop.example")
    assert mail.subject == f"Your payment for order {row.order_id}"
    assert not mail.alternatives


def test_the_mail_says_what_it_is(row: Transaction, mails: list[Any]) -> None:
    """The shop, the order, the link, how long it works, and what to do about a mail that nobody asked for."""
    send(row.order_id)
    text = mails[0].body

    assert f"has asked at shop.example for the payment of order {row.order_id}." in text
    assert LINK.search(text)
    assert "valid for one hour" in text
    assert "If you did not ask for this, do nothing." in text
    assert "&" not in text


def test_the_mail_names_the_order_as_it_is(mails: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Text is not HTML, and a subject has one line."""
    monkeypatch.setattr("tests.shop.MailingShopOrders.email", lambda *_: ADDRESS)
    order_id = "A & B\n<1>"
    Transaction.objects.filter(pk=make_transaction().pk).update(order_id=order_id)
    send(order_id)

    assert mails[0].subject == "Your payment for order A & B <1>"
    assert f"of order {order_id}." in mails[0].body


def test_the_link_tells_no_address_and_no_token(row: Transaction, mails: list[Any]) -> None:
    """What it carries is the order and a digest that only this site can make."""
    send(row.order_id)
    payload = signed(mails).partition(":")[0]
    carried = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()

    assert carried == f'["{row.order_id}","{services.address_digest(row.order_id, ADDRESS)}"]'
    assert "ann" not in carried.lower()


def test_the_mail_speaks_the_visitors_language(row: Transaction, mails: list[Any], settings: Any) -> None:
    """And hosts may write their own."""
    own = {"gatewaypay/email/lookup_subject.txt": "{% load i18n %}{% get_current_language as word %}In {{ word }}"}
    loaders = [("django.template.loaders.locmem.Loader", own), "django.template.loaders.app_directories.Loader"]
    backend = settings.TEMPLATES[0]["BACKEND"]
    settings.TEMPLATES = [{"BACKEND": backend, "OPTIONS": {"loaders": loaders}}]
    services.send_link(row.order_id, services.address_digest(row.order_id, ADDRESS), PATH, "de")

    assert mails[0].subject == "In de"


@pytest.mark.parametrize("typed", ["", "bob@shop.example", ADDRESS + "x", "ann.other@shop.example\n,eve@example.com"])
def test_another_address_gets_nothing(row: Transaction, mails: list[Any], typed: str) -> None:
    """Nor does the shopper whose order it is."""
    assert send(row.order_id, typed) is False
    assert mails == []


def test_an_order_without_payment_or_address_gets_nothing(mails: list[Any]) -> None:
    """However the empty address is written."""
    unpaid = make_order(email=ADDRESS)
    silent = make_transaction()

    assert [send(str(unpaid.pk)), send(silent.order_id, ""), send(silent.order_id, " "), send("nothing")] == [False] * 4
    assert mails == []


def test_the_digest_of_one_order_fits_no_other(row: Transaction, mails: list[Any]) -> None:
    """Two orders of one shopper cannot be told to be of one shopper."""
    other = make_transaction(order=make_order(email=ADDRESS))
    digest = services.address_digest(row.order_id, ADDRESS)

    assert digest != services.address_digest(other.order_id, ADDRESS)
    assert services.send_link(other.order_id, digest, PATH, "en") is False


def test_an_order_gets_one_mail_in_five_minutes(row: Transaction, mails: list[Any]) -> None:
    """However often somebody asks; other orders are not held up, and a wrong address spends nothing."""
    other = make_transaction(order=make_order(email=ADDRESS))
    now = timezone.now()
    with time_machine.travel(now):
        first = [send(row.order_id, "bob@shop.example"), send(row.order_id), send(row.order_id), send(other.order_id)]
    with time_machine.travel(now + timedelta(minutes=4, seconds=59)):
        again = send(row.order_id)
    with time_machine.travel(now + timedelta(minutes=5, seconds=1)):
        later = send(row.order_id)

    assert (first, again, later) == ([False, True, False, True], False, True)
    assert len(mails) == 3


# --- What goes wrong.


def test_a_hook_that_fails_is_logged_without_what_it_said(row: Transaction, caplog: pytest.LogCaptureFixture) -> None:
    """Where it failed and as what; its words may name the address."""
    Order.objects.update(mood="raise")
    sent = send(row.order_id)

    assert sent is False
    assert [record.levelname for record in caplog.records if record.name == "gatewaypay.lookup"] == ["ERROR"]
    assert f"link not sent order='{row.order_id}' error=HookFailed" in caplog.text
    assert "handler.py" in caplog.text
    assert "ann.other" not in caplog.text.lower()


def test_a_mail_that_cannot_be_sent_is_logged_and_may_be_asked_for_again(
    row: Transaction, mails: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A host's address with a line break is refused by Django, whose exception names it."""
    Order.objects.update(email=f"{ADDRESS}\nBcc: eve@example.com")
    refused = send(row.order_id, f"{ADDRESS}\nBcc: eve@example.com")
    Order.objects.update(email=ADDRESS)

    assert refused is False
    assert "error=" in caplog.text
    assert "ann.other" not in caplog.text.lower()
    assert "eve@" not in caplog.text
    assert send(row.order_id) is True
    assert len(mails) == 1


def test_what_is_logged_is_the_order_and_its_payments(
    row: Transaction, mails: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the address nor the link, on any level, from the question to the open page."""
    caplog.set_level(logging.DEBUG)
    send(row.order_id)
    services.open_link(signed(mails))
    send(row.order_id)
    send(row.order_id, "bob@shop.example")
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("gatewaypay"))

    assert f"link sent order='{row.order_id}' transactions=['{row.pk}']" in ours
    for secret in ("@", signed(mails), services.address_digest(row.order_id, ADDRESS)):
        assert secret not in ours


# --- Opening.


def test_a_link_opens_the_payments_of_its_order(row: Transaction, mails: list[Any]) -> None:
    """All of them, the newest first, and those of no other order."""
    hour_ago = timezone.now() - timedelta(hours=1)
    older = make_transaction("failed", order=Order.objects.get(pk=row.order_id), gateway="card", created_at=hour_ago)
    make_transaction(order=make_order(email=ADDRESS))
    send(row.order_id)

    assert [found.pk for found in services.open_link(signed(mails))] == [row.pk, older.pk]


@pytest.mark.parametrize(("minutes", "found"), [(0, 1), (59, 1), (61, 0), (60 * 24, 0)])
def test_a_link_lives_for_an_hour(row: Transaction, mails: list[Any], minutes: int, found: int) -> None:
    """Within it, as often as one likes: mail scanners open it first."""
    now = timezone.now()
    with time_machine.travel(now, tick=False):
        send(row.order_id)
    with time_machine.travel(now + timedelta(minutes=minutes), tick=False):
        opened = [len(services.open_link(signed(mails))) for _ in range(2)]

    assert opened == [found] * 2


def test_a_link_dies_with_its_address(row: Transaction, mails: list[Any]) -> None:
    """Changed, taken away, or gone with the order; the letters' case is no change."""
    send(row.order_id)
    opened = []
    for email in (ADDRESS.upper(), "bob@shop.example", ""):
        Order.objects.update(email=email)
        opened.append(len(services.open_link(signed(mails))))
    Order.objects.all().delete()

    assert opened == [1, 0, 0]
    assert services.open_link(signed(mails)) == []


def test_a_link_that_was_tampered_with_opens_nothing(row: Transaction, mails: list[Any]) -> None:
    """Nor does one that is signed for another purpose, or by another key."""
    send(row.order_id)
    good = signed(mails)
    claim = [row.order_id, services.address_digest(row.order_id, ADDRESS)]
    forged = [
        "x",
        "a:b:c",
        good[:-1],
        good + "x",
        "x" + good,
        good.swapcase(),
        good.rpartition(":")[0],
        signing.dumps(claim),
        signing.dumps(claim, salt="gatewaypay.guest"),
        signing.dumps(claim, key="another key", salt=lookup.SALT),
        "é:ü:ö",
    ]

    assert len(services.open_link(good)) == 1
    assert [one for one in forged if services.open_link(one)] == []


# --- The thread.


def finish() -> None:
    for thread in threading.enumerate():
        if thread.name == "gatewaypay-lookup":
            thread.join(60)
            assert not thread.is_alive()


def ask_aside(order_id: str) -> None:
    services.send_link_aside(order_id, services.address_digest(order_id, ADDRESS), PATH, "en")


def test_a_thread_mails_the_link_and_leaves_nothing_open(
    row: Transaction, mails: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller does not wait for it, and its database connection is closed."""
    opened: list[Any] = []
    gone_on, real = threading.Event(), lookup.send_link

    def send_afterwards(*args: Any) -> bool:
        return gone_on.wait(20) and real(*args)

    monkeypatch.setattr(lookup, "send_link", send_afterwards)

    def note(connection: Any, **_: Any) -> None:
        opened.append(connection)

    connection_created.connect(note)
    ask_aside(row.order_id)
    before = list(mails)
    gone_on.set()
    finish()
    connection_created.disconnect(note)

    assert (before, len(mails)) == ([], 1)
    assert [connection.connection for connection in opened] == [None]


def test_threads_are_few(row: Transaction, mails: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    """While a mail server hangs, further questions are dropped with a line in the log, not piled up."""
    free = 0
    while lookup.slots.acquire(blocking=False):
        free += 1
    ask_aside(row.order_id)
    finish()
    dropped = list(mails)
    lookup.slots.release(free)
    ask_aside(row.order_id)
    finish()

    assert free == 8
    assert (dropped, len(mails)) == ([], 1)
    assert f"busy: link not sent order='{row.order_id}'" in caplog.text


def test_a_thread_that_fails_gives_its_place_back(row: Transaction, mails: list[Any]) -> None:
    """Ten times, with eight places."""
    Order.objects.update(mood="raise")
    for _ in range(2):
        for _ in range(5):
            ask_aside(row.order_id)
        finish()
    Order.objects.update(mood="")
    ask_aside(row.order_id)
    finish()

    assert len(mails) == 1
