"""A real browser: Debian's Chromium, driven by Playwright. Without one these tests skip, loudly."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.journeys.conftest import server_url as server_url
from tests.journeys.conftest import site as site

from .browsers import ARGUMENTS, chromium_path

# A busy machine loads a page in more than the usual five seconds.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a module; its event loop in this thread must not outlive it."""
    path = chromium_path()
    if path is None:
        pytest.skip("NO BROWSER: install Debian's chromium to run the browser tests")
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        # The tests look into the database beside Playwright's loop.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def shopper(chromium: Browser, transactional_db: None) -> Iterator[BrowserContext]:
    """A fresh browser profile; what its console complained about fails the test."""
    complaints: list[str] = []
    context = chromium.new_context()
    context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context
    context.close()
    expected: list[str] = getattr(context, "expected_complaints", [])
    assert [text for text in complaints if not any(word in text for word in expected)] == []


def open_payment(context: BrowserContext, site: Any, order_id: str) -> Any:
    """A page that shows a fresh payment of this shopper."""
    page = context.new_page()
    page.goto(f"{site.url}/payments/check/")
    answer = page.request.post(f"{site.url}/payments/initiate/", data={"order_id": order_id})
    started = answer.json()
    page.goto(f"{site.url}/payments/pay/{started['id']}/")
    return page, started
