"""The example shop in a real browser, with its own Valkey, worker and database: what a shopper lives through."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.example.conftest import demo as demo
from tests.example.running import MARKS, Demo, Shopper

pytestmark = [pytest.mark.browser, *MARKS]

PAID, CONFIRMING = "Payment received", "We are confirming your payment"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A shop whose shoppers have twenty seconds."""
    with Demo(tmp_path_factory.mktemp("hasty") / "data", GATEWAYPAY_EXPIRE_AFTER="20") as started:
        started.wait_until_ready()
        yield started


@pytest.fixture
def person(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser that has never been here; an error of our scripts fails the test."""
    context = chromium.new_context()
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context
    context.close()
    assert errors == []


def check_out(context: BrowserContext, demo: Demo, product: str = "wool-scarf") -> Page:
    """From the shelf to the pay page, with the mouse."""
    page = context.new_page()
    page.goto(f"{demo.url}/products/{product}/")
    page.locator("main form button").click()
    page.get_by_role("button", name=re.compile("^Pay ")).click()
    heading(page, "Pay securely")
    return page


def heading(page: Page, text: str | re.Pattern[str], seconds: float = 20) -> None:
    expect(page.get_by_role("heading", name=text)).to_be_visible(timeout=seconds * 1000)


def scripted(page: Page) -> Page:
    """The page once its script hears clicks, which may be later than the words are there."""
    page.locator("gatewaypay-status:defined").wait_for(state="attached")
    return page


def at_the_gateway(page: Page, button: str | re.Pattern[str], **choice: str) -> None:
    """Go there, and choose how it ends."""
    page.get_by_role("link", name="Continue to payment").click()
    if "callback" in choice:
        page.get_by_label(choice["callback"]).check()
    if "seconds" in choice:
        page.get_by_role("spinbutton", name="Seconds").fill(choice["seconds"])
    page.get_by_role("button", name=button).click()


PAY = re.compile(r"^Pay .*\d")


@pytest.mark.parametrize(
    ("button", "text"),
    [(PAY, PAID), ("Decline", "The payment was not accepted"), ("Cancel", "The payment was canceled")],
    ids=["paid", "declined", "canceled"],
)
def test_an_end_is_shown_here_and_on_the_page_of_the_host(
    demo: Demo, person: BrowserContext, button: Any, text: str
) -> None:
    """The shop's own order page, opened before, says the same by itself, in its own colours."""
    page = check_out(person, demo)
    order = person.new_page()
    order.goto(f"{demo.url}/orders/")
    order.get_by_role("link", name=re.compile("Wool scarf", re.IGNORECASE)).first.click()
    heading(order, "Pay securely")
    at_the_gateway(page, button)

    heading(page, text)
    heading(order, text)


def test_a_delayed_payment_is_confirmed_while_the_shopper_looks(demo: Demo, person: BrowserContext) -> None:
    """First the honest "we are confirming", then the answer, and the host's page is told by an event."""
    page = check_out(person, demo)
    at_the_gateway(page, "Pay after a delay", seconds="8")
    heading(page, CONFIRMING)
    page.evaluate(
        "window.told = []; for (const name of ['change', 'success', 'failure'])"
        " document.addEventListener('gatewaypay:' + name, (event) => told.push([name, event.detail.state]))"
    )
    heading(page, PAID)

    assert page.evaluate("told")[-2:] == [["change", "success"], ["success", "success"]]


def test_it_expires_while_the_shopper_watches(hasty: Demo, person: BrowserContext) -> None:
    """The countdown runs down, and the page says that the time has passed, without a reload."""
    page = check_out(person, hasty)
    first = page.get_by_role("timer").text_content()
    page.evaluate("window.same = true")
    heading(page, "The time to pay has passed", 60)

    assert re.fullmatch(r"00:(0\d|1\d|20)", first or "")
    assert page.evaluate("window.same") is True
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_money_that_comes_too_late_is_shown_as_what_it_is(hasty: Demo, person: BrowserContext) -> None:
    """Expired, then paid all the same: the next look at the page tells the truth."""
    page = check_out(person, hasty)
    watching = page.url
    at_the_gateway(page, PAY, callback="The result after the session ends")
    expired = person.new_page()
    expired.goto(watching)
    heading(expired, re.compile("time to pay has passed|Payment received"), 60)
    deadline = time.monotonic() + 60
    while "after its time had passed" not in expired.content() and time.monotonic() < deadline:
        time.sleep(1)
        expired.reload()

    expect(expired.get_by_text("Your payment arrived after its time had passed.")).to_be_visible()


def test_the_server_restarts_while_the_shopper_watches(
    tmp_path_factory: pytest.TempPathFactory, person: BrowserContext
) -> None:
    """The page keeps what it knows, comes back by itself, and shows what happened meanwhile."""
    folder = tmp_path_factory.mktemp("restarted") / "data"
    with Demo(folder) as first:
        first.wait_until_ready()
        page = check_out(person, first)
        started = page.locator("gatewaypay-status").get_attribute("transaction-id")
        link = page.get_by_role("link", name="Continue to payment").get_attribute("href") or ""
    heading(page, "Pay securely")
    with Demo(folder, first.port) as second, Shopper(second.url) as shopper:
        second.wait_until_ready()
        shopper.decide({"payment_url": link}, "pay")

        heading(page, PAID, 90)
        assert page.locator("gatewaypay-status").get_attribute("transaction-id") == started


def test_without_websockets(demo: Demo, person: BrowserContext) -> None:
    """A proxy that knows no WebSockets costs seconds, not the answer."""
    person.route_web_socket(re.compile("."), lambda socket: socket.close())
    page = check_out(person, demo)
    decide_elsewhere(page, demo)

    heading(page, PAID)


def test_offline_then_online(demo: Demo, person: BrowserContext) -> None:
    """While the network is away the page keeps still; when it is back, so is the truth."""
    page = check_out(person, demo)
    person.set_offline(True)
    decide_elsewhere(page, demo)
    page.wait_for_timeout(1000)
    heading(page, "Pay securely")
    person.set_offline(False)

    heading(page, PAID)


def decide_elsewhere(page: Page, demo: Demo) -> None:
    """Pay, without this browser."""
    link = page.get_by_role("link", name="Continue to payment").get_attribute("href")
    with Shopper(demo.url) as elsewhere:
        elsewhere.decide({"payment_url": link}, "pay")


def test_two_tabs_join_one_payment(demo: Demo, person: BrowserContext) -> None:
    """The same order, paid from two tabs, is one payment, and both tabs know its end."""
    page = check_out(person, demo)
    payment = page.url
    second = person.new_page()
    second.goto(f"{demo.url}/orders/")
    second.get_by_role("link", name=re.compile("Wool scarf", re.IGNORECASE)).first.click()
    order_id = second.url.rstrip("/").rpartition("/")[2]
    second.goto(f"{demo.url}/orders/{order_id}/checkout/")
    second.get_by_role("button", name=re.compile("^Pay ")).click()
    heading(second, "Pay securely")
    assert second.url == payment
    at_the_gateway(second, PAY)

    heading(second, PAID)
    heading(page, PAID)


def test_back_does_not_lead_to_paying_twice(demo: Demo, person: BrowserContext) -> None:
    """From the answer back to the pay page, and to the checkout: each says that it is paid."""
    page = check_out(person, demo)
    payment = page.url
    at_the_gateway(page, PAY)
    heading(page, PAID)
    for _ in range(4):
        page.go_back()
        if page.url == payment:
            break
    heading(page, PAID)
    page.go_back()
    page.goto(page.url)

    expect(page.get_by_role("button", name=re.compile("^Pay "))).to_have_count(0)


def test_back_from_the_gateway_explains_itself(demo: Demo, person: BrowserContext) -> None:
    """Whoever turns round at the gateway reads, in the page, what to do if they have paid."""
    page = scripted(check_out(person, demo))
    assert not page.get_by_text("You have been to").is_visible()
    page.get_by_role("link", name="Continue to payment").click()
    page.wait_for_url("**/sandbox/**")
    page.go_back()

    expect(page.get_by_text("You have been to")).to_be_visible()


def test_leaving_asks_first_only_while_the_answer_is_open(demo: Demo, person: BrowserContext) -> None:
    """Closing the tab while the bank decides asks; following our own link does not; after the end nothing asks."""
    page = check_out(person, demo)
    at_the_gateway(page, "Pay after a delay", seconds="15")
    heading(scripted(page), CONFIRMING)
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.get_by_role("heading", name=CONFIRMING).click()
    with page.expect_event("dialog"):
        page.close(run_before_unload=True)
    page.get_by_role("link", name="Check again").click()
    heading(page, PAID, 40)
    page.goto(f"{demo.url}/")

    assert asked == ["beforeunload"]


def test_closed_and_checked_again(demo: Demo, person: BrowserContext) -> None:
    """The tab was closed at the gateway: "Check payment status" finds the payment in the same browser."""
    page = check_out(person, demo)
    link = page.get_by_role("link", name="Continue to payment").get_attribute("href")
    page.close()
    with Shopper(demo.url) as elsewhere:
        elsewhere.decide({"payment_url": link}, "pay", callback="never")
    page = person.new_page()
    page.goto(f"{demo.url}/")
    page.get_by_role("link", name="Check payment status").click()
    page.locator(".gwp-list a").first.click()

    heading(page, PAID)


def test_without_javascript(chromium: Browser, demo: Demo) -> None:
    """Plain links and forms lead from the checkout to the answer; the page reloads itself while it is open."""
    context = chromium.new_context(java_script_enabled=False)
    page = check_out(context, demo)
    expect(page.get_by_text("You can pay until")).to_be_visible()
    at_the_gateway(page, "Pay after a delay", seconds="8")
    heading(page, CONFIRMING)

    heading(page, PAID, 40)
    context.close()


@pytest.mark.parametrize(
    ("language", "ready", "paid", "direction"),
    [("de-DE", "Sicher bezahlen", "Zahlung erhalten", "ltr"), ("ar", "الدفع بأمان", "تم استلام الدفعة", "rtl")],
)
def test_in_another_language(
    chromium: Browser, demo: Demo, language: str, ready: str, paid: str, direction: str
) -> None:
    """German and Arabic, on a phone: the words, the direction, the amount; nothing is cut off."""
    context = chromium.new_context(locale=language, viewport={"width": 360, "height": 740}, is_mobile=True)
    page = context.new_page()
    page.goto(f"{demo.url}/products/wool-scarf/")
    page.locator("main form button").click()
    page.get_by_role("button", name=re.compile("^Pay ")).click()
    heading(page, ready)
    body = page.locator("body")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    page.locator("[data-gatewaypay-go]").click()
    page.locator("button[value=pay]").click()
    heading(page, paid)

    assert body.evaluate("it => getComputedStyle(it).direction") == direction
    assert wide == 0
    context.close()
