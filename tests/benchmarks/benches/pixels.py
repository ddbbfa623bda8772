"""P13: from the gateway's callback to changed pixels, in a real browser."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from example_project.demo import CELERY_ENVIRONMENT

from ...browser.browsers import ARGUMENTS, chromium_path
from ...proof.frame import REPOSITORY
from ..frame import Bench, Line, Result
from ..rounds import surroundings
from ..servers import databases
from ..web import serving

__all__ = ["PixelsBench", "measure"]

#: Fewer payments say nothing about the slowest of a hundred.
ENOUGH = 50
WARM = 3
PATIENCE = 120.0
SHOP = "tests.benchmarks.pixels.shop"
BARS = {"p50": 100, "p99": 500}
STEPS = {"to its 200": "answered", "until the page changes": "changed", "to the pixels": "painted"}
#: The second frame after the page has changed begins when the first one has been painted.
WATCH = """void (window.painted = new Promise((done, fail) => {
  const element = document.querySelector("gatewaypay-status");
  const now = () => performance.timeOrigin + performance.now();
  const paint = changed => requestAnimationFrame(() => requestAnimationFrame(
    () => done({ changed, painted: now() })));
  const changed = () => element.getAttribute("screen") === "success" && paint(now());
  new MutationObserver(changed).observe(element, { attributes: true, attributeFilter: ["screen"] });
  setTimeout(() => fail(new Error("nothing was painted")), 120000);
}))"""


class PixelsBench(Bench):
    """The page is open and its socket listens; the gateway posts its signed callback."""

    name = "pixels"
    title = "From the gateway's callback to changed pixels"

    def run(self, *, quick: bool) -> Result:
        """See `Bench`."""
        browser = chromium_path()
        if browser is None:
            return {"payments": [], "missing": "no Chromium on this machine"}
        return {"payments": measure(browser, 8 if quick else 200), "missing": ""}

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        seen = len(result["payments"])
        few = result["missing"] or ("" if seen >= ENOUGH else f"{seen} payments: fewer than {ENOUGH}")
        return [self._line(result, which, bar, few) for which, bar in BARS.items()]

    def _line(self, result: Result, which: str, bar: int, few: str) -> Line:
        times = [one["painted"] for one in result["payments"]]
        what = f"{which} of {len(times) or 'no'} payments, from the POST to the painted frame"
        if not times:
            return Line("P13", what, "–", f"≤ {bar} ms", None, few)
        figure = share(times, int(which[1:]))
        return Line("P13", what, f"{figure:.0f} ms", f"≤ {bar} ms", None if few else figure <= bar, few)

    def table(self, result: Result) -> str:
        """See `Bench`."""
        if not result["payments"]:
            return ""
        head = "| from the POST | p50 | p90 | p99 | slowest |\n|---|---|---|---|---|\n"
        return head + "\n".join(row(result, *one) for one in STEPS.items())


def share(times: Sequence[float], percent: int) -> float:
    """What so many of a hundred do not exceed."""
    return sorted(times)[min(len(times) * percent // 100, len(times) - 1)]


def row(result: Result, words: str, which: str) -> str:
    times = [one[which] for one in result["payments"]]
    figures = [share(times, percent) for percent in (50, 90, 99, 100)]
    return f"| {words} | {' | '.join(f'{figure:.0f} ms' for figure in figures)} |"


# --- Measuring.


def measure(path: str, count: int, warm: int = WARM) -> list[dict[str, float]]:
    """Milliseconds of each payment, one after the other; so many before them warm everything up."""
    from playwright.sync_api import sync_playwright

    with ExitStack() as stack:
        shop = stack.enter_context(open_shop(count + warm))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, timeout=PATIENCE * 1000)
        stack.callback(browser.close)
        return [watched(browser, shop, order) for order in shop.orders][warm:]


class Shop:
    """A running shop and its gateway."""

    def __init__(self, url: str, gateway: Any, orders: Sequence[str]) -> None:
        import requests

        self.url, self.gateway, self.orders = url, gateway, orders
        self.session = requests.Session()
        self.session.trust_env = False

    def tell(self, payment: str) -> tuple[float, float]:
        """Post the callback of a payment that was paid; when that began and ended, in milliseconds since 1970."""
        sessions = self.gateway.sessions.items()
        reference = next(reference for reference, session in sessions if session["transaction_id"] == payment)
        self.gateway.pay(reference)
        headers, body = self.gateway.callback(reference)
        url = f"{self.url}/payments/callbacks/hosted/"
        began = time.time()
        answer = self.session.post(url, data=body, headers=headers, timeout=PATIENCE)
        ended = time.time()
        answer.raise_for_status()
        return began * 1000, ended * 1000


def watched(browser: Any, shop: Shop, order: str) -> dict[str, float]:
    """One payment of one shopper, whose page is open when the gateway speaks."""
    context = browser.new_context()
    # Whoever comes first waits until the server has started.
    url, most = f"{shop.url}/payments/initiate/", PATIENCE * 1000
    context.set_default_timeout(most)
    started = context.request.post(url, data={"order_id": order}, timeout=most).json()
    page = context.new_page()
    frames: list[object] = []
    page.on("websocket", lambda live: live.on("framereceived", lambda frame: frames.append(frame)))
    page.goto(f"{shop.url}/payments/pay/{started['id']}/")
    wait_for(page, frames)
    page.evaluate(WATCH)
    began, ended = shop.tell(started["id"])
    seen = page.evaluate("window.painted")
    context.close()
    return {"answered": ended - began, **{step: when - began for step, when in seen.items()}}


def wait_for(page: Any, frames: Sequence[object]) -> None:
    """Until the socket has said what it knows; from then on it waits for news.

    Raises:
        TimeoutError: it says nothing.
    """
    end = time.monotonic() + PATIENCE
    while not frames:
        if time.monotonic() > end:
            raise TimeoutError(f"the socket of {page.url} says nothing")
        page.wait_for_timeout(20)


@contextmanager
def open_shop(count: int) -> Iterator[Shop]:
    """PostgreSQL, Valkey, uvicorn and a worker, with so many orders; gone afterwards."""
    from django_gatewaypay.testing.gateway_server import GatewayServer
    from tests.settings import HOSTED_SECRET

    with ExitStack() as stack:
        gateway = stack.enter_context(GatewayServer(HOSTED_SECRET))
        database = stack.enter_context(databases(["pixels"]))["pixels"]
        known = environment(database, gateway.url)
        orders = made_orders(count, known)
        stack.enter_context(worker(known))
        _, port = stack.enter_context(serving(f"{SHOP}:application", known))
        yield Shop(f"http://127.0.0.1:{port}", gateway, orders)


def environment(database: str, gateway: str) -> dict[str, str]:
    """What each of its processes has to know; the settings of the suite start no server of their own there."""
    ours = {name: value for name, value in surroundings(database).items() if not name.startswith("PYTEST_")}
    return ours | {
        "DJANGO_SETTINGS_MODULE": "tests.benchmarks.pixels.settings",
        "GATEWAYPAY_TEST_DB": "sqlite",
        "GATEWAYPAY_BENCH_GATEWAY": gateway,
        **CELERY_ENVIRONMENT,
    }


def made_orders(count: int, known: Mapping[str, str]) -> list[str]:
    told = subprocess.run(
        [sys.executable, "-m", SHOP, str(count)], cwd=REPOSITORY, env=known, stdout=subprocess.PIPE, check=True
    )
    return list(json.loads(told.stdout))


@contextmanager
def worker(known: Mapping[str, str]) -> Iterator[None]:
    """A Celery worker with two processes; ended afterwards with both."""
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "--quiet", "-A", SHOP, "worker", "-c", "2", "-l", "error"],
        cwd=REPOSITORY,
        env=known,
        stdout=sys.stderr,
        start_new_session=True,
    )
    with process:
        try:
            yield
        finally:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(process.pid, signal.SIGKILL)
