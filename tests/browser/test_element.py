"""`<gatewaypay-status>` in a real browser: what it does to its page. What `watch` does is in tests/js."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Browser, BrowserContext, expect

from .bench import Bench
from .browsers import ARGUMENTS, chromium_path

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(connection.vendor == "postgresql", reason="no database is asked"),
]

ELEMENT = "document.querySelector('gatewaypay-status')"
CONFIRMING = {"version": 2, "state": "processing", "screen": "confirming"}
SUCCESS = {"version": 3, "status": "success", "state": "success", "screen": "paid", "phase": "", "attributes": ""}
FAILURE = {"version": 3, "status": "failure", "state": "failed", "screen": "declined", "reason": "no-money"}


@pytest.fixture(scope="module")
def tehran(chromium: Browser) -> Iterator[BrowserContext]:
    """A shopper in Tehran; each test is a tab of its own."""
    context = chromium.new_context(timezone_id="Asia/Tehran", locale="en-US")
    yield context
    context.close()


@pytest.fixture
def bench(tehran: BrowserContext) -> Iterator[Bench]:
    """An error in the page fails the test."""
    page = tehran.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    with Bench(page) as bench:
        yield bench
        page.close()
    assert errors == []


def attributes(bench: Bench) -> dict[str, str]:
    """Those that a screen brings with it."""
    found = bench.page.evaluate(f"Object.fromEntries([...{ELEMENT}.attributes].map((one) => [one.name, one.value]))")
    return {name: value for name, value in found.items() if name != "transaction-id" and not name.endswith("-url")}


def hide(bench: Bench, hidden: bool) -> None:
    bench.page.evaluate(
        "(hidden) => { Object.defineProperty(document, 'hidden', { configurable: true, value: hidden });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def move(bench: Bench) -> None:
    """Into another parent."""
    bench.page.evaluate(f"document.body.appendChild(document.createElement('div')).append({ELEMENT})")
    bench.settle()


# --- a new screen


def test_a_new_screen_is_one_change_inside_the_same_live_region(bench: Bench) -> None:
    """A screen reader sees the region stay, and its content change once."""
    page = bench.open(body="<p>old words</p>")
    page.evaluate(
        "window.region = document.querySelector('[role=status]'); window.records = [];"
        "new MutationObserver((found) => records.push(...found)).observe(region, { childList: true })"
    )
    bench.says(**CONFIRMING, body="<p>new words</p>")

    assert page.evaluate("region === document.querySelector('[role=status]')")
    assert page.evaluate("records.length") == 1
    assert page.evaluate("region.className") == "gwp-screen confirming"
    assert page.inner_text("[role=status] p") == "new words"


def test_the_attributes_of_the_new_screen_arrive(bench: Bench) -> None:
    """The element says what the server's page says, those without a value included."""
    bench.open()
    bench.says(**CONFIRMING, phase="slow", attributes="in-flight guard")

    assert attributes(bench) == {
        "status": "pending",
        "state": "processing",
        "version": "2",
        "screen": "confirming",
        "phase": "slow",
        "in-flight": "",
        "guard": "",
    }


def test_the_attributes_of_the_old_screen_go(bench: Bench) -> None:
    """What the new screen does not have is removed; the token, which is no part of a screen, stays."""
    bench.open(phase="slow", attributes='in-flight guard token="proof"')
    bench.says(**SUCCESS)

    assert attributes(bench) == {
        "status": "success",
        "state": "success",
        "version": "3",
        "screen": "paid",
        "token": "proof",
    }


@pytest.mark.parametrize(("tag", "focused"), [("h1", "title"), ("h3", "title"), ("p", "")])
def test_focus_that_would_be_lost_moves_to_the_heading(bench: Bench, tag: str, focused: str) -> None:
    """The button that had the focus is gone: the heading has it, or the region when there is no heading."""
    page = bench.open(body="<button>Pay</button>")
    page.focus("button")
    bench.says(**CONFIRMING, heading=tag)

    assert page.evaluate("document.activeElement.id") == focused
    assert page.evaluate("document.querySelector('[role=status]').contains(document.activeElement)")
    assert page.evaluate("document.activeElement.tabIndex") == -1


def test_focus_elsewhere_stays_there(bench: Bench) -> None:
    """Whoever is reading another part of the page is not torn away."""
    page = bench.open()
    page.focus("#outside")
    bench.says(**CONFIRMING)

    assert bench.heading == "confirming"
    assert page.evaluate("document.activeElement.id") == "outside"


def test_a_new_phase_of_the_same_version_is_shown_without_an_event(bench: Bench) -> None:
    """The words change with time, the payment does not."""
    bench.open(attributes="in-flight")
    bench.becomes(phase=" slow")
    bench.wait(3.1)

    assert bench.heading == "ready slow"
    assert bench.told == []


def test_a_page_that_says_nothing_new_changes_nothing(bench: Bench) -> None:
    """Asking again and again does not read the same words aloud again and again."""
    page = bench.open(attributes="in-flight", body="<button>Pay</button>")
    page.evaluate("document.querySelector('button').kept = true")
    bench.wait(3.1)

    assert bench.count("/return/") == 1
    assert page.evaluate("document.querySelector('button').kept")


@pytest.mark.parametrize("answer", [{"version": 1}, {"id": "T2", "version": 9}], ids=["older", "another payment"])
def test_a_page_that_is_not_ours_to_show_is_ignored(bench: Bench, answer: dict[str, Any]) -> None:
    """A stale answer does not take the screen back; that of another payment has no place here."""
    bench.open(version=2, attributes="in-flight")
    bench.becomes(screen="wrong", **answer)
    bench.wait(3.1)

    assert bench.count("/return/") == 1
    assert bench.heading == "ready"


def test_what_needs_javascript_is_shown_and_what_replaces_it_is_not(bench: Bench) -> None:
    """At load, and in a screen that arrives later."""
    body = "<p data-gatewaypay-js hidden>by script</p><p data-gatewaypay-nojs>by hand</p>"
    page = bench.open(body=body)
    first = page.inner_text("[role=status]")
    bench.says(**CONFIRMING)

    assert first.split("\n\n") == ["ready", "by script"]
    assert page.inner_text("[role=status]").split("\n\n") == ["confirming", "by script"]


# --- events


@pytest.mark.parametrize("payment", [{}, SUCCESS, FAILURE], ids=["pending", "success", "failure"])
def test_no_event_at_load(bench: Bench, payment: dict[str, Any]) -> None:
    """The host's page knows what it has rendered."""
    bench.open(**payment)
    bench.wait(5)

    assert bench.told == []


@pytest.mark.parametrize(
    ("payment", "names"),
    [(CONFIRMING, ["change"]), (SUCCESS, ["change", "success"]), (FAILURE, ["change", "failure"])],
    ids=["pending", "success", "failure"],
)
def test_each_event_comes_once_after_its_screen(bench: Bench, payment: dict[str, Any], names: list[str]) -> None:
    """With the whole status as its detail, and with the new screen in place."""
    page = bench.open()
    bench.says(**payment)
    bench.speak()
    bench.wait(30)

    expected = {"detail": bench.status, "shown": payment["screen"]}
    assert page.evaluate("told") == [{"name": name, **expected} for name in names]


def test_a_page_that_knows_first_is_followed_by_the_event(bench: Bench) -> None:
    """The answer of return-url is newer than the socket's last word: the host's page hears of it all the same."""
    bench.open(attributes="in-flight")
    bench.becomes(**SUCCESS)
    bench.wait(3.1)

    assert bench.heading == "paid"
    assert bench.told == ["change", "success"]


def test_events_leave_a_shadow_root(bench: Bench) -> None:
    """A component of the host may hide the element inside itself; focus inside it is found, too."""
    page = bench.open(body="<button>Pay</button>")
    page.evaluate(
        "const host = document.createElement('div'); document.body.append(host);"
        f" window.root = host.attachShadow({{ mode: 'open' }}); root.append({ELEMENT});"
        " window.title = { textContent: '' }; root.querySelector('button').focus()"
    )
    bench.says(**SUCCESS)

    assert bench.told == ["change", "success"]
    assert page.evaluate("root.activeElement.textContent") == "paid"


def test_moving_the_element_repeats_nothing(bench: Bench) -> None:
    """The host's script may move it: told events stay told, the countdown goes on, the next event comes once."""
    page = bench.open(body="<span data-gatewaypay-seconds=600></span>")
    bench.says(**CONFIRMING)
    bench.wait(2)
    move(bench)
    moved = bench.told, page.inner_text("span"), bench.count("/page/")
    bench.says(**SUCCESS)
    bench.wait(30)

    assert moved == (["change"], "09:58", 1)
    assert bench.told == ["change", "change", "success"]


def test_moving_the_element_before_its_screen_has_come_repeats_nothing(bench: Bench) -> None:
    """The event was told although the screen could not be loaded: the move loads it, and tells nothing."""
    bench.open()
    bench.says(**SUCCESS, code=500)
    bench.becomes(code=200)
    told = bench.told, bench.heading
    move(bench)

    assert told == (["change", "success"], "ready")
    assert bench.heading == "paid"
    assert bench.told == ["change", "success"]


def test_a_removed_element_is_silent(bench: Bench) -> None:
    """No request, no event, no guard: nothing of it is left."""
    page = bench.open(attributes="in-flight guard", body="<span data-gatewaypay-seconds=5></span>")
    page.evaluate(f"{ELEMENT}.remove()")
    bench.becomes(**SUCCESS)
    bench.wait(30)
    page.evaluate("dispatchEvent(new Event('online'))")
    bench.settle()

    assert bench.asked == []
    assert bench.told == []
    assert not bench.objects


# --- requests


def test_a_final_screen_that_was_refused_is_shown_after_retry_after(bench: Bench) -> None:
    """The event does not wait for it; the server is not asked before its time."""
    bench.open()
    bench.says(**FAILURE, code=429, headers={"Retry-After": "30"})
    at_once = bench.told, bench.heading, bench.count("/page/")
    bench.becomes(code=200)
    bench.wait(29)
    early = bench.count("/page/")
    bench.wait(1.5)

    assert at_once == (["change", "failure"], "ready", 1)
    assert early == 1
    assert bench.heading == "declined"
    assert bench.told == ["change", "failure"]


@pytest.mark.parametrize("name", ["online", "visibilitychange"])
def test_a_screen_that_failed_is_loaded_when_the_shopper_is_back(bench: Bench, name: str) -> None:
    """Without waiting for the next try."""
    page = bench.open()
    bench.says(**SUCCESS, code=500)
    bench.becomes(code=200)
    failed = bench.heading
    page.evaluate("(name) => (name === 'online' ? window : document).dispatchEvent(new Event(name))", name)
    bench.settle()

    assert failed == "ready"
    assert bench.heading == "paid"


def test_a_screen_that_failed_is_tried_again_by_and_by(bench: Bench) -> None:
    """After a final state no change will come: the pauses grow from four seconds."""
    bench.open()
    bench.says(**SUCCESS, code=500)
    counts = []
    for seconds in (3.9, 0.2, 7.8, 0.2):
        bench.wait(seconds)
        counts.append(bench.count("/page/"))

    assert counts == [1, 2, 2, 3]


def test_the_token_goes_with_every_request(bench: Bench) -> None:
    """As a Bearer token to the pages, as a sub-protocol to the socket."""
    bench.open(socket=False, attributes='token="proof"')
    bench.becomes(**CONFIRMING, attributes="in-flight")
    bench.wait(5.1)
    bench.wait(3.1)

    bearers = {(one.path, one.authorization) for one in bench.asked if one.path != "/ws/"}
    assert bearers == {(path, "Bearer proof") for path in ("/page/", "/return/", "/status/")}
    assert {one.protocols for one in bench.asked if one.path == "/ws/"} == {"gatewaypay.v1, proof"}


def test_return_url_is_asked_three_seconds_after_the_shopper_came_back(bench: Bench) -> None:
    """Then every ten: the server asks the gateway, and says what it knows."""
    bench.open()
    bench.wait(20)
    before = bench.count("/return/")
    bench.says(**CONFIRMING, attributes="in-flight")
    counts = []
    for seconds in (2.9, 0.2, 9.8, 0.2, 9.8, 0.2):
        bench.wait(seconds)
        counts.append(bench.count("/return/"))

    assert before == 0
    assert counts == [0, 1, 1, 2, 2, 3]


def test_after_two_minutes_return_url_is_asked_every_thirty_seconds(bench: Bench) -> None:
    """A bank that takes its time is not asked twelve times a minute."""
    bench.open(attributes="in-flight")
    bench.wait(123.1)
    bench.asked.clear()
    counts = []
    for seconds in (29.8, 0.2, 29.8, 0.2):
        bench.wait(seconds)
        counts.append(bench.count("/return/"))

    assert counts == [0, 1, 1, 2]


def test_return_url_is_not_asked_once_the_screen_is_no_longer_in_flight(bench: Bench) -> None:
    """When it is in flight again, the three seconds begin anew."""
    bench.open(attributes="in-flight")
    bench.says(**CONFIRMING, attributes="")
    bench.wait(30)
    landed = bench.count("/return/")
    bench.says(version=3, attributes="in-flight")
    bench.wait(2.9)
    early = bench.count("/return/")
    bench.wait(0.2)

    assert (landed, early, bench.count("/return/")) == (0, 0, 1)


def test_return_url_is_not_asked_while_nobody_looks(bench: Bench) -> None:
    """A hidden tab is quiet; three seconds after it is shown again it asks."""
    bench.open(attributes="in-flight")
    hide(bench, True)
    bench.wait(62)
    hidden = bench.count("/return/")
    hide(bench, False)
    bench.wait(2.9)
    early = bench.count("/return/")
    bench.wait(0.2)

    assert (hidden, early, bench.count("/return/")) == (0, 0, 1)


def test_return_url_honours_retry_after(bench: Bench) -> None:
    """A server that says "in a minute" is asked in a minute."""
    bench.open(attributes="in-flight", code=429, headers={"Retry-After": "60"})
    bench.wait(62)
    early = bench.count("/return/")
    bench.wait(11)

    assert early == 1
    assert bench.count("/return/") == 2


# --- the guard

LINK = '<a id="way" href="/elsewhere/">go</a>'
FORM = '<form action="/elsewhere/"><button id="way">go</button></form>'


@pytest.mark.parametrize(
    ("words", "objects"), [("in-flight guard", True), ("in-flight", False), ("guard", False), ("", False)]
)
def test_leaving_is_asked_about_only_with_both_attributes(bench: Bench, words: str, objects: bool) -> None:
    """While the answer is open, on a page of ours."""
    bench.open(attributes=words)

    assert bench.objects is objects


@pytest.mark.parametrize("name", ["guard", "in-flight"])
def test_the_guard_follows_its_attributes(bench: Bench, name: str) -> None:
    """The host's script may take it away, and give it back."""
    page = bench.open(attributes="in-flight guard")
    page.evaluate(f"{ELEMENT}.removeAttribute('{name}')")
    without = bench.objects
    page.evaluate(f"{ELEMENT}.setAttribute('{name}', '')")

    assert not without
    assert bench.objects


@pytest.mark.parametrize("body", [LINK, FORM], ids=["link", "form"])
def test_the_browser_asks_but_not_on_our_own_ways(bench: Bench, body: str) -> None:
    """Typing another address asks; the link or the form of the screen does not."""
    page = bench.open(attributes="in-flight guard", body=body)
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.click("#title")
    page.goto(f"{bench.url}/elsewhere/")
    typed = list(asked)
    bench.show()
    page.click("#title")
    page.click("#way")
    page.wait_for_url("**/elsewhere/**")

    assert typed == ["beforeunload"]
    assert asked == typed


def test_a_link_outside_the_element_does_not_lift_the_guard(bench: Bench) -> None:
    """Nor does a click inside it that leads nowhere."""
    page = bench.open(attributes="in-flight guard")
    page.evaluate("addEventListener('click', (event) => event.preventDefault())")
    page.click("#outside")
    page.click("#title")

    assert bench.objects


@pytest.mark.parametrize("body", [LINK, FORM], ids=["link", "form"])
def test_the_guard_is_back_two_seconds_after_a_way_that_led_nowhere(bench: Bench, body: str) -> None:
    """A new tab, an app: the shopper is still here."""
    page = bench.open(attributes="in-flight guard", body=body)
    page.evaluate(
        "addEventListener('click', (event) => { if (event.target.closest('a')) event.preventDefault(); });"
        "addEventListener('submit', (event) => event.preventDefault())"
    )
    page.click("#way")
    lifted = bench.objects
    bench.wait(1.9)
    still = bench.objects
    bench.wait(0.2)

    assert (lifted, still, bench.objects) == (False, False, True)


def test_the_guard_is_gone_at_the_end(bench: Bench) -> None:
    """Once the answer is there, leaving is nobody's business."""
    bench.open(attributes="in-flight guard")
    bench.says(**SUCCESS)

    assert not bench.objects


# --- to the gateway and back

BACK = "<p id='back' data-gatewaypay-back hidden>You have been to the gateway</p>"
GO = "data-gatewaypay-go"
WAYS = {
    "link": f"<a id='way' {GO} href='/elsewhere/'>go</a>",
    "form": f"<form action='/elsewhere/' {GO}><button id='way'>go</button></form>",
    "button": f"<form action='/elsewhere/'><button id='way' {GO}>go</button></form>",
}


def there_and_back(bench: Bench) -> None:
    bench.page.click("#way")
    bench.page.wait_for_url("**/elsewhere/**")
    bench.show()


@pytest.mark.parametrize("way", WAYS)
def test_whoever_has_been_to_the_gateway_is_told_so(bench: Bench, way: str) -> None:
    """By a link, a form or a button of it; in this tab, and in the next screen, too."""
    page = bench.open(body=WAYS[way] + BACK)
    before = page.is_visible("#back")
    there_and_back(bench)
    after = page.is_visible("#back")
    bench.says(**CONFIRMING)

    assert (before, after) == (False, True)
    assert page.is_visible("#back")


@pytest.mark.parametrize("body", [LINK, FORM], ids=["link", "form"])
def test_another_way_out_is_not_the_gateway(bench: Bench, body: str) -> None:
    """Only what carries the attribute counts."""
    page = bench.open(body=body + BACK)
    there_and_back(bench)

    assert not page.is_visible("#back")


def test_the_end_forgets_the_way_to_the_gateway(bench: Bench) -> None:
    """Nothing is left in the browser, and the last screen does not speak of it."""
    page = bench.open(body=WAYS["link"] + BACK)
    there_and_back(bench)
    kept = page.evaluate("sessionStorage.length")
    bench.says(**SUCCESS)

    assert kept == 1
    assert page.evaluate("sessionStorage.length") == 0
    assert not page.is_visible("#back")


def test_a_browser_that_forbids_storage_is_no_obstacle(bench: Bench) -> None:
    """Everything works but the reminder."""
    bench.page.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    page = bench.open(body=WAYS["link"] + BACK)
    there_and_back(bench)
    bench.says(**SUCCESS)

    assert bench.heading == "paid"
    assert not page.is_visible("#back")


@pytest.fixture
def frozen(chromium: Browser) -> Iterator[Bench]:
    """A page that waits in the back/forward cache, which Playwright's browsers do without, for its shopper."""
    browser = chromium.browser_type.launch(
        executable_path=chromium_path(),
        args=ARGUMENTS,
        ignore_default_args=["--disable-back-forward-cache"],
        timeout=120_000,
    )
    with Bench(browser.new_page()) as bench:
        page = bench.open(clock=False, socket=False, body=WAYS["link"] + BACK)
        page.evaluate("window.frozen = true")
        page.click("#way")
        page.wait_for_url("**/elsewhere/**")
        yield bench
        browser.close()


def test_a_page_out_of_the_back_forward_cache_says_where_the_shopper_was(frozen: Bench) -> None:
    """Nothing else has changed, nothing is loaded: it is the page that was left."""
    frozen.page.go_back(wait_until="commit")

    expect(frozen.page.locator("#back")).to_be_visible()
    assert frozen.page.evaluate("window.frozen")


def test_a_page_out_of_the_back_forward_cache_asks_at_once(frozen: Bench) -> None:
    """It shows the words of today, even when the payment is where it was."""
    frozen.becomes(phase=" slow")
    frozen.page.go_back(wait_until="commit")

    expect(frozen.page.locator("#title")).to_have_text("ready slow")
    assert frozen.page.evaluate("window.frozen")
    assert frozen.told == []


# --- time


def countdown(seconds: object) -> str:
    return f"<span data-gatewaypay-seconds='{seconds}'>from the server</span>"


@pytest.mark.parametrize(
    ("lang", "seconds", "first", "second"),
    [
        ("en", 600, "10:00", "09:59"),
        ("en", 3725, "1:02:05", "1:02:04"),
        ("en", 3600, "1:00:00", "59:59"),
        ("fa", 600, "۱۰:۰۰", "۰۹:۵۹"),
        ("fa", 3725, "۱:۰۲:۰۵", "۱:۰۲:۰۴"),
        ("not a language", 600, "10:00", "09:59"),
    ],
)
def test_the_countdown_ticks_in_the_language_of_the_page(
    bench: Bench, lang: str, seconds: int, first: str, second: str
) -> None:
    """In seconds, in the digits of the page, without being read aloud every second."""
    page = bench.open(lang=lang, body=countdown(seconds))
    shown = page.inner_text("span")
    bench.wait(1.1)

    assert (shown, page.inner_text("span")) == (first, second)
    assert page.get_attribute("span", "aria-live") == "off"


def test_the_end_of_the_countdown_asks_once(bench: Bench) -> None:
    """It stands at zero; the server, asked once, says what that means."""
    page = bench.open(body=countdown(3))
    bench.becomes(body=countdown(0))
    bench.wait(2.5)
    early = bench.count("/return/")
    bench.wait(1)
    then = bench.count("/return/")
    bench.wait(10)

    assert (early, then, bench.count("/return/")) == (0, 1, 1)
    assert page.inner_text("span") == "00:00"


def test_the_countdown_is_set_by_a_fresh_page(bench: Bench) -> None:
    """The clock of a machine that slept is wrong: the server's is right, even when nothing else has changed."""
    page = bench.open(attributes="in-flight", body=countdown(600))
    bench.becomes(body=countdown(300))
    bench.wait(3.1)
    bench.wait(1.5)

    assert page.inner_text("span") == "04:59"


@pytest.mark.parametrize(
    ("lang", "kind", "text"),
    [
        ("de", "", "15:30"),
        ("de", "datetime", "31.01.2030, 15:30"),
        ("fa", "", "۱۵:۳۰"),
        ("not a language", "", "3:30 PM"),
    ],
)
def test_a_time_is_that_of_the_shopper(bench: Bench, lang: str, kind: str, text: str) -> None:
    """In their zone and in the page's language, or in the browser's when nobody knows that language."""
    page = bench.open(
        lang=lang, body=f"<time data-gatewaypay-time='{kind}' datetime='2030-01-31T12:00:00Z'>12:00 UTC</time>"
    )

    assert " ".join(page.inner_text("time").split()) == text


def test_a_time_that_cannot_be_read_is_left_alone(bench: Bench) -> None:
    """What the server has written is better than "Invalid Date"."""
    page = bench.open(body="<time data-gatewaypay-time datetime='soon'>12:00 UTC</time>")

    assert page.inner_text("time") == "12:00 UTC"
