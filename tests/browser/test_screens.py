"""Every screen in a real browser: accessible in both themes and both directions, on a phone, light, and pictured.

`GATEWAYPAY_GALLERY=folder` keeps a picture of each screen there, for the docs.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import connection
from playwright.sync_api import Browser, Page, ViewportSize, expect

from django_gatewaypay.services import access
from tests.journeys.conftest import Site

from .states import STATES

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "postgresql", reason="a screen is the same whatever the row comes from"),
]

GALLERY = os.environ.get("GATEWAYPAY_GALLERY", "")
PHONE: ViewportSize = {"width": 320, "height": 640}
OTHER_PAGES = ["check/", "check/a-broken-link/", "pay/00000000-0000-4000-8000-000000000000/"]


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def page(chromium: Browser, theme: Any) -> Iterator[Page]:
    """A narrow window in one of the themes, where nothing moves."""
    context = chromium.new_context(
        color_scheme=theme,
        reduced_motion="reduce",
        viewport={"width": 480, "height": 720},
    )
    yield context.new_page()
    context.close()


def open_screen(page: Page, site: Site, name: str, language: str = "en") -> None:
    row = STATES[name]()
    headers = {"Authorization": f"Bearer {access.mint_token(row.pk)}", "Accept-Language": language}
    page.context.set_extra_http_headers(headers)
    page.goto(f"{site.url}/payments/pay/{row.pk}/")


def problems(page: Page) -> list[str]:
    """What axe-core finds, by all of its rules."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {[node['html'] for node in one['nodes']]}" for one in found]


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("name", STATES)
def test_a_screen_is_accessible(site: Site, page: Page, theme: str, name: str) -> None:
    """axe-core finds nothing, and nothing is wider than a small phone."""
    open_screen(page, site, name)
    if GALLERY:
        page.locator("main").screenshot(path=Path(GALLERY, f"{name}-{theme}.png"))
    found = problems(page)
    page.set_viewport_size(PHONE)

    assert found == []
    assert overflow(page) == 0


@pytest.mark.parametrize("name", ["ready", "declined"])
def test_a_screen_from_right_to_left_is_accessible(site: Site, page: Page, name: str) -> None:
    """Arabic: the page runs the other way, and the longest words of German do not break it either."""
    open_screen(page, site, name, "ar")
    direction = page.evaluate("getComputedStyle(document.querySelector('.gwp-screen')).direction")
    found = problems(page)
    page.set_viewport_size(PHONE)
    wide = overflow(page)
    open_screen(page, site, name, "de")

    assert (direction, found, wide) == ("rtl", [], 0)
    assert overflow(page) == 0


@pytest.mark.parametrize("path", OTHER_PAGES)
def test_the_other_pages_are_accessible(site: Site, page: Page, path: str) -> None:
    """Check payment status, a link that is too old, and the page for whoever may not see a payment."""
    page.goto(f"{site.url}/payments/{path}")
    found = problems(page)
    page.set_viewport_size(PHONE)

    assert found == []
    assert overflow(page) == 0


def test_asking_for_a_link_is_accessible(site: Site, page: Page, settings: Any) -> None:
    """The form with its complaint, and the answer."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "ORDERS": "tests.shop.handler.MailingShopOrders"}
    page.goto(f"{site.url}/payments/check/")
    page.get_by_label("Order number").fill("4711")
    page.locator("form").evaluate("form => { form.noValidate = true; form.elements.email.value = 'nobody' }")
    page.get_by_role("button", name="Send me a link").click()
    expect(page.get_by_role("textbox", name="E-mail")).to_have_attribute("aria-invalid", "true")
    refused = problems(page)
    page.get_by_label("E-mail address of the order").fill("ann@example.com")
    page.get_by_role("button", name="Send me a link").click()

    assert refused == []
    expect(page.get_by_role("heading", name="Check your inbox")).to_be_visible()
    assert problems(page) == []


def test_a_screen_can_be_used_with_the_keyboard(site: Site, page: Page, theme: str) -> None:
    """The first Tab reaches the way to the gateway, and it can be seen that it did."""
    open_screen(page, site, "ready")
    page.keyboard.press("Tab")
    focused = page.evaluate(
        "(() => { const it = document.activeElement, style = getComputedStyle(it);"
        " return [it.textContent.trim(), style.outlineStyle, parseFloat(style.outlineWidth) >= 2]; })()"
    )

    assert focused == ["Continue to payment", "solid", True]


@pytest.mark.parametrize("theme", ["light"], indirect=True)
def test_a_page_is_light(site: Site, page: Page) -> None:
    """Under 60 kB in all, uncompressed, with nothing from anywhere else."""
    sizes: dict[str, int] = {}
    page.on("response", lambda response: sizes.update({response.url: len(response.body())}))
    open_screen(page, site, "ready")
    page.wait_for_load_state("networkidle")

    assert sum(sizes.values()) < 60_000, sizes
    assert {url.startswith(site.url) for url in sizes} == {True}
    # The page, its style and its script; on a slow machine it has asked once before its socket was open.
    assert len([url for url in sizes if "/payments/status/" not in url]) == 3
