"""A shopper pays, or does not: over real HTTP and real WebSockets, at the sandbox gateway."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Callback, Fulfilment, Transaction
from django_gatewaypay.sandbox import delivery
from django_gatewaypay.sandbox.models import SandboxDelivery, SandboxPayment
from tests.example.running import until
from tests.factories import make_order
from tests.journeys.conftest import Site

pytestmark = pytest.mark.django_db(transaction=True)


def test_paid(site: Site) -> None:
    """The socket says success by itself, the order is fulfilled once, the page says so."""
    order = make_order()
    started = site.initiate(order)
    with site.socket(started) as live:
        first = live.next()
        back = site.press(started, "pay")
        rest = live.rest()

    order.refresh_from_db()
    assert (first["type"], first["status"], first["state"]) == ("transaction.status", "pending", "pending")
    assert (rest[-1]["status"], rest[-1]["state"], rest[-1]["id"]) == ("success", "success", started["id"])
    assert rest[-1]["version"] > first["version"]
    assert "Payment received" in site.page(back)
    assert site.status(started)["status"] == "success"
    assert order.fulfilments == 1


@pytest.mark.parametrize(
    ("action", "state", "reason", "text"),
    [
        ("decline", "failed", "declined", "The payment was not accepted"),
        ("cancel", "canceled", "canceled", "The payment was canceled"),
    ],
)
def test_not_paid(site: Site, action: str, state: str, reason: str, text: str) -> None:
    """Decline and cancel are told live, with their reason; the stock goes back and nothing is fulfilled."""
    order = make_order()
    started = site.initiate(order)
    with site.socket(started) as live:
        live.next()
        back = site.press(started, action)
        rest = live.rest()

    order.refresh_from_db()
    assert (rest[-1]["status"], rest[-1]["state"], rest[-1]["reason"]) == ("failure", state, reason)
    assert text in site.page(back)
    assert (order.fulfilments, order.releases) == (0, 1)


def test_a_failed_payment_can_be_tried_again(site: Site) -> None:
    """The next attempt is a transaction of its own, and it can succeed."""
    order = make_order()
    site.press(first := site.initiate(order), "decline")
    site.wait_for(first, "failed")
    second = site.initiate(order)
    site.press(second, "pay")
    site.wait_for(second, "success")

    order.refresh_from_db()
    assert second["id"] != first["id"]
    assert order.fulfilments == 1


def test_paid_after_a_delay(site: Site) -> None:
    """While the bank decides, the page waits; then it is told."""
    started = site.initiate()
    with site.socket(started) as live:
        live.next()
        site.press(started, "delay", seconds=3600)
        processing = live.next()
        # Not before the page has heard the first word: of two changes it may be told as of one.
        SandboxPayment.objects.update(settle_at=timezone.now())
        delivery.wake()
        rest = live.rest()

    assert [said["state"] for said in [processing, *rest]] == ["processing", "success"]


def test_never_called_back_and_found_by_polling(site: Site) -> None:
    """A lost callback costs time, not money."""
    order = make_order()
    started = site.initiate(order)
    with site.socket(started) as live:
        live.next()
        site.press(started, "pay", "never")
        Transaction.objects.update(next_poll_at=timezone.now())
        services.tick()
        rest = live.rest()

    order.refresh_from_db()
    assert rest[-1]["status"] == "success"
    assert not Callback.objects.exists()
    assert order.fulfilments == 1


def test_never_called_back_and_found_on_return(site: Site) -> None:
    """The shopper who comes back makes us ask, and sees the truth."""
    started = site.initiate()
    back = site.press(started, "pay", "never")

    assert "Payment received" in site.page(back)


def test_expired(site: Site) -> None:
    """The time passes: the page is told, the session is closed at the gateway."""
    started = site.initiate()
    with site.socket(started) as live:
        live.next()
        Transaction.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        services.tick()
        rest = live.rest()

    assert (rest[-1]["status"], rest[-1]["reason"]) == ("failure", "expired")
    assert "The time to pay has passed" in site.page(f"{site.url}/payments/pay/{started['id']}/")


def test_paid_late(site: Site) -> None:
    """Money after the end is a late success: visible, and the order waits for staff."""
    order = make_order()
    started = site.initiate(order)
    Transaction.objects.update(state="expired", version=2)
    site.press(started, "pay")
    row = site.wait_for(started, "success")

    order.refresh_from_db()
    assert (row.late, row.attention, order.fulfilments) == (True, "late", 0)
    assert "after its time had passed" in site.page(f"{site.url}/payments/pay/{started['id']}/")


@pytest.mark.parametrize("callback", ["twice", "reordered"])
def test_told_twice_or_out_of_order(site: Site, callback: str) -> None:
    """The end is the same, and so is the one fulfilment."""
    order = make_order()
    started = site.initiate(order)
    site.press(started, "pay", callback)
    site.wait_for(started, "success")
    until(lambda: not SandboxDelivery.objects.owed().exists())  # the older news is sent a second later

    order.refresh_from_db()
    assert Transaction.objects.get().state == "success"
    assert order.fulfilments == 1
    assert Callback.objects.count() == (1 if callback == "twice" else 2)


def test_a_wrong_amount_is_held(site: Site) -> None:
    """A cent is missing: the shopper reads that it is being checked, nothing is fulfilled."""
    order = make_order()
    started = site.initiate(order)
    back = site.press(started, "pay", "wrong_amount")
    site.wait_for(started, "held")

    order.refresh_from_db()
    assert "We are checking your payment" in site.page(back)
    assert site.status(started)["reason"] == "under_review"
    assert order.fulfilments == 0


def test_a_forged_callback_changes_nothing_and_the_truth_is_found(site: Site) -> None:
    """The forgery leaves no row; asking the gateway does."""
    started = site.initiate()
    back = site.press(started, "pay", "forged")
    time.sleep(0.5)
    stored = Callback.objects.count()

    assert stored == 0
    assert "Payment received" in site.page(back)


def test_paid_in_a_currency_without_cents(site: Site) -> None:
    """2000 yen are 2000 yen, from the quote to the ledger."""
    order = make_order(price_minor=2000, currency="JPY")
    started = site.initiate(order)
    site.press(started, "pay")
    row = site.wait_for(started, "success")

    assert (started["amount"], row.captured_minor) == ("2000", 2000)


def test_without_javascript(site: Site) -> None:
    """A plain form leads to the pay page, its link to the gateway, and the gateway back to the answer."""
    order = make_order()
    form = site.browser.get(f"{site.url}/payments/check/")
    assert form.status_code == 200
    answer = site.browser.post(
        f"{site.url}/payments/initiate/",
        data={"order_id": str(order.pk), "csrfmiddlewaretoken": csrf(site)},
        allow_redirects=False,
    )
    page = site.page(site.url + answer.headers["Location"])
    started = {"payment_url": page.split('class="gwp-button" href="')[1].split('"')[0]}
    back = site.press(started, "pay")

    assert answer.status_code == 303
    assert "Payment received" in site.page(back)
    assert Fulfilment.objects.get().state == "done"


def csrf(site: Site) -> str:
    """The token that a form of the host's would carry."""
    from django.middleware.csrf import _get_new_csrf_string

    token = _get_new_csrf_string()
    site.browser.cookies.set("csrftoken", token)
    return token
