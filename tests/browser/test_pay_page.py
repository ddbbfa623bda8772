"""The pay page in a real browser: it shows the truth by itself."""

import re
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import open_payment
from tests.factories import make_order
from tests.journeys.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def heading(page: Any, text: str, seconds: float = 20) -> None:
    expect(page.get_by_role("heading", name=text)).to_be_visible(timeout=seconds * 1000)


def test_a_shopper_pays_and_both_tabs_know(site: Site, shopper: BrowserContext) -> None:
    """The tab that came back and the tab that only watched show the same answer, without a reload."""
    page, started = open_payment(shopper, site, str(make_order().pk))
    watching = shopper.new_page()
    watching.goto(page.url)
    page.get_by_role("link", name="Continue to payment").click()
    page.get_by_role("button", name=re.compile("^Pay [0-9]")).click()

    heading(page, "Payment received")
    heading(watching, "Payment received")
    assert page.url == f"{site.url}/payments/return/{started['id']}/"


@pytest.mark.parametrize(
    ("button", "text"), [("Decline", "The payment was not accepted"), ("Cancel", "The payment was canceled")]
)
def test_a_payment_that_did_not_work_can_be_tried_again(
    site: Site, shopper: BrowserContext, button: str, text: str
) -> None:
    """The reason is shown, and "Try again" leads to a new payment of the same order."""
    page, _ = open_payment(shopper, site, str(make_order().pk))
    page.get_by_role("link", name="Continue to payment").click()
    page.get_by_role("button", name=button).click()
    heading(page, text)
    first = page.url
    page.get_by_role("button", name="Try again").click()

    heading(page, "Pay securely")
    assert page.url != first


def test_a_delayed_payment_is_confirmed_while_the_shopper_looks(site: Site, shopper: BrowserContext) -> None:
    """First "confirming", then the answer."""
    page, _ = open_payment(shopper, site, str(make_order().pk))
    page.get_by_role("link", name="Continue to payment").click()
    page.get_by_role("spinbutton", name="Seconds").fill("8")
    page.get_by_role("button", name="Pay after a delay").click()

    heading(page, "We are confirming your payment")
    heading(page, "Payment received")


def test_without_websockets_the_page_polls(site: Site, shopper: BrowserContext) -> None:
    """A proxy that knows no WebSockets costs seconds, not the answer."""
    shopper.expected_complaints = ["WebSocket"]  # type: ignore[attr-defined]
    shopper.route_web_socket(re.compile("."), lambda socket: socket.close())
    page, started = open_payment(shopper, site, str(make_order().pk))
    site.press(started, "pay")

    heading(page, "Payment received")


def test_a_lost_callback_is_found_while_the_shopper_waits(site: Site, shopper: BrowserContext) -> None:
    """Nobody called back: coming back asks the gateway."""
    page, _ = open_payment(shopper, site, str(make_order().pk))
    page.get_by_role("link", name="Continue to payment").click()
    page.get_by_label("Nothing at all").check()
    page.get_by_role("button", name=re.compile("^Pay [0-9]")).click()

    heading(page, "Payment received")


def test_the_page_obeys_its_own_policy_on_a_phone_in_the_dark(site: Site, shopper: BrowserContext) -> None:
    """No console error, no overflow, and a background that is dark when the shopper wants it dark."""
    page, _ = open_payment(shopper, site, str(make_order().pk))
    page.set_viewport_size({"width": 320, "height": 640})
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")

    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 19, 27)"
