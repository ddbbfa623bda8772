"""The admin in a real browser, at night: find a payment, give half of it back, settle what does not match."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize, expect

from django_gatewaypay.models import Callback, Refund, Transaction
from django_gatewaypay.services import stepping
from django_gatewaypay.types import State
from tests.admin.conftest import make_comparison, make_dispute, make_held, make_refund
from tests.factories import make_order, make_transaction
from tests.journeys.conftest import Site

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "postgresql", reason="a page is the same whatever the row comes from"),
]

PHONE: ViewportSize = {"width": 360, "height": 740}
ADMIN = "/admin/gatewaypay"


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def page(chromium: Browser, site: Site, theme: Any, settings: Any) -> Iterator[Page]:
    """A member of staff who is signed in; what the console complains about fails the test."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "ORDERS": "tests.shop.handler.MailingShopOrders"}
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("night"))
    context = chromium.new_context(color_scheme=theme, reduced_motion="reduce")
    name = django_settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": site.url}])
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # axe copies style sheets, and then asks for what they import at the page's address.
        if message.type == "error" and not message.location["url"].endswith(("favicon.ico", "/widgets.css")):
            complaints.append(message.text)

    context.on("console", note)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context.new_page()
    context.close()
    assert complaints == []


def paid(site: Site, **order: Any) -> Transaction:
    """A payment of this site that the shopper has made at the sandbox."""
    started = site.initiate(make_order(**order))
    site.press(started)
    return site.wait_for(started, "success")


def search(page: Page, site: Site, term: str) -> None:
    page.goto(f"{site.url}{ADMIN}/transaction/")
    page.locator("#searchbar").fill(term)
    page.get_by_role("button", name="Search").click()


def says(page: Page, text: str) -> None:
    expect(page.locator(".messagelist li")).to_have_text(text)


@pytest.mark.parametrize("theme", ["light"], indirect=True)
def test_found_by_email_half_of_it_goes_back(site: Site, page: Page) -> None:
    """From the address that the shopper spells out to the line that says what became of it."""
    row, other = paid(site, email="ann@shop.example"), paid(site, email="bob@shop.example")
    search(page, site, "Ann@Shop.Example")
    expect(page.get_by_role("link", name=row.order_id, exact=True)).to_be_visible()
    assert page.get_by_role("link", name=other.order_id, exact=True).count() == 0
    page.get_by_role("link", name=row.order_id, exact=True).click()
    page.get_by_role("link", name="Refund", exact=True).click()
    expect(page.get_by_text("The gateway says the same.")).to_be_visible()
    page.get_by_label("Amount in EUR").fill("10.00")
    page.get_by_label("Why").fill("arrived in two pieces")
    page.get_by_role("button", name="Refund").click()

    says(page, "10.00 EUR went back to the shopper.")
    expect(page.locator(".gwp-head")).to_contain_text("partly refunded")
    expect(page.locator(".gwp-timeline")).to_contain_text("arrived in two pieces")
    assert Refund.objects.get().amount_minor == 1000


@pytest.mark.parametrize("theme", ["light"], indirect=True)
def test_found_by_order_and_refused_by_the_field(site: Site, page: Page) -> None:
    """Too much is said beside the field, and what was typed is still there."""
    row = paid(site)
    search(page, site, row.order_id)
    page.get_by_role("link", name=row.order_id, exact=True).click()
    page.get_by_role("link", name="Refund", exact=True).click()
    page.get_by_label("Amount in EUR").fill("200.00")
    page.get_by_label("Why").fill("a slip")
    page.get_by_role("button", name="Refund").click()

    expect(page.get_by_text("That is more than is left.")).to_be_visible()
    expect(page.get_by_label("Amount in EUR")).to_have_value("200.00")
    expect(page.get_by_label("Why")).to_have_value("a slip")
    page.get_by_role("link", name="Back, and do nothing").click()
    assert row.order_id in page.inner_text("h1")
    assert not Refund.objects.exists()


@pytest.mark.parametrize("theme", ["dark"], indirect=True)
def test_a_mismatch_is_settled_from_the_overview(site: Site, page: Page) -> None:
    """ "Is anything wrong?" Yes: one payment. Accepted, and nothing is wrong any more."""
    row = make_held(gateway="sandbox")
    page.goto(f"{site.url}{ADMIN}/home/")
    page.get_by_role("link", name="1 payment needs a person").click()
    page.get_by_role("link", name=row.order_id, exact=True).click()
    expect(page.get_by_text("This payment needs a person")).to_be_visible()
    page.get_by_role("link", name="Accept as it is").click()
    page.get_by_label("Why").fill("agreed on the telephone")
    page.get_by_role("button", name="Accept as it is").click()
    says(page, f"{row.order_id}: It is paid.")
    page.goto(f"{site.url}{ADMIN}/home/")

    expect(page.get_by_text("Nothing needs you.")).to_be_visible()
    assert Transaction.objects.get().attention == ""


def furnish() -> dict[str, str]:
    """Something of everything, and the pages that show it."""
    row, held = make_transaction(State.SUCCESS, gateway="sandbox"), make_held(gateway="sandbox")
    refund, compared = make_refund(row, needs_approval=True), make_comparison()
    make_dispute(row)
    Callback.objects.create(gateway="sandbox", event_id="e", state="dead", update={}, received_at=timezone.now())
    return {
        "overview": f"{ADMIN}/home/",
        "list": f"{ADMIN}/transaction/",
        "payment": f"{ADMIN}/transaction/{row.pk}/change/",
        "held": f"{ADMIN}/transaction/{held.pk}/change/",
        "refund": f"{ADMIN}/transaction/{held.pk}/refund/",
        "resolve": f"{ADMIN}/transaction/{held.pk}/resolve/",
        "approve": f"{ADMIN}/refund/{refund.pk}/approve/",
        "compare": f"{ADMIN}/home/reconcile/",
        "compared": f"{ADMIN}/home/reconcile/{compared.pk}/",
        "comparing": f"{ADMIN}/home/reconcile/{make_comparison(finished_at=None).pk}/",
        "mend": f"{ADMIN}/home/reconcile/{compared.pk}/apply/",
        "refunds": f"{ADMIN}/refund/",
        "callbacks": f"{ADMIN}/callback/",
    }


def test_the_pages_are_accessible_and_fit_a_phone(site: Site, page: Page) -> None:
    """axe-core finds nothing in what is ours, in either theme, and nothing is wider than a phone."""
    found: dict[str, Any] = {}
    for name, url in furnish().items():
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(site.url + url)
        problems = Axe().run(page, "#content-main").response["violations"]
        page.set_viewport_size(PHONE)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        found[name] = [f"{one['id']}: {[node['html'] for node in one['nodes']]}" for one in problems], wide

    assert {name: what for name, what in found.items() if what != ([], 0)} == {}


@pytest.mark.parametrize("theme", ["light"], indirect=True)
def test_a_refund_without_a_mouse(site: Site, page: Page) -> None:
    """Tab reaches every button, and it can be seen where one is."""
    row = paid(site)
    page.goto(f"{site.url}{ADMIN}/transaction/{row.pk}/change/")
    page.get_by_role("link", name="Refresh from gateway").focus()
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/refund/$"))
    page.get_by_label("Amount in EUR").focus()
    page.keyboard.press("Tab")
    page.keyboard.type("no mouse")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    says(page, "19.99 EUR went back to the shopper.")
    assert outline == "solid"


def signed_in(context: BrowserContext, page: Page, site: Site) -> BrowserContext:
    """Another browser of the same person."""
    known: Any = page.context.cookies()
    context.add_cookies([{"name": one["name"], "value": one["value"], "url": site.url} for one in known])
    return context


@pytest.mark.parametrize("theme", ["light"], indirect=True)
def test_the_pages_work_without_javascript(site: Site, page: Page, chromium: Browser) -> None:
    """A strict browser gives money back as well."""
    row = paid(site)
    context = signed_in(chromium.new_context(java_script_enabled=False), page, site)
    plain = context.new_page()
    plain.goto(f"{site.url}{ADMIN}/transaction/{row.pk}/refund/")
    plain.get_by_label("Why").fill("no script")
    plain.get_by_role("button", name="Refund").click()

    says(plain, "19.99 EUR went back to the shopper.")
    context.close()


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without one"])
@pytest.mark.parametrize("theme", ["dark"], indirect=True)
def test_the_books_are_compared_and_mended(
    site: Site, page: Page, chromium: Browser, script: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the overview: it goes on by itself, page after page; what differs is mended, with a reason."""
    monkeypatch.setattr(stepping, "WORK_SECONDS", 0)
    row = site.initiate(make_order())
    site.press(row, callback="never")
    context = signed_in(chromium.new_context(java_script_enabled=script, color_scheme="dark"), page, site)
    plain = context.new_page()
    plain.goto(f"{site.url}{ADMIN}/home/")
    plain.get_by_role("link", name="Compare with the gateways").click()
    plain.get_by_role("button", name="Compare").click()
    expect(plain.get_by_role("progressbar")).to_be_visible()
    expect(plain.get_by_text("differences need a person.")).to_be_visible(timeout=60_000)
    plain.get_by_role("link", name="Compare again, and mend").click()
    plain.get_by_label("Why").fill("the callback was lost")
    plain.get_by_role("button", name="Compare again, and mend").click()
    expect(plain.get_by_text("mended: our books follow the gateway").first).to_be_visible(timeout=60_000)

    expect(plain.get_by_text("Our books and the gateways' agree.")).to_be_visible(timeout=60_000)
    assert Transaction.objects.get().state == "success"
    context.close()
