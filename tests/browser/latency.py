"""From the gateway's callback to changed pixels, in a browser: `python -m tests.browser.latency 200 RESULT.json`.

The example shop runs with its own Valkey, worker and SQLite file. For each payment a pay page is open; the sandbox
gateway posts its signed callback; the page notes when the new screen has been painted. The start is the moment at which
the callback's row was made, read from the shop's database; both clocks are this machine's.
"""

import json
import platform
import sqlite3
import statistics
import sys
import tempfile
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from tqdm import tqdm

from tests.browser.browsers import ARGUMENTS, chromium_path
from tests.example.running import Demo, Shopper
from tests.proof.frame import commit

__all__ = ["main"]

#: Two frames after the words were replaced, they have been painted.
WATCH = """void (window.painted = new Promise((done) => document.addEventListener("gatewaypay:success", () =>
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.timeOrigin + performance.now()))))))"""


def main() -> None:
    """Measure, print, and write the figures."""
    count, target = int(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder, Demo(Path(folder, "data")) as demo, sync_playwright() as playwright:
        demo.wait_until_ready()
        path = chromium_path()
        if path is None:
            sys.exit("There is no Chromium here.")
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        times = [measure(browser, demo) for _ in tqdm(range(count), unit="payment")]
        browser.close()
    figures = {**spread(times), "payments": count, "commit": commit(), "python": platform.python_version()}
    target.write_text(json.dumps(figures, indent=1) + "\n")
    sys.stdout.write(target.read_text())


def measure(browser: Browser, demo: Demo) -> float:
    """Milliseconds of one payment."""
    context = browser.new_context()
    with Shopper(demo.url) as shopper:
        payment = shopper.initiate(shopper.order())
        cookies: Any = [{"name": one.name, "value": one.value, "url": demo.url} for one in shopper.session.cookies]
        context.add_cookies(cookies)
        page = context.new_page()
        frames: list[object] = []
        page.on("websocket", lambda live: live.on("framereceived", lambda frame: frames.append(frame)))
        page.goto(f"{demo.url}/payments/pay/{payment['id']}/")
        while not frames:  # the socket has said what it knows, and waits
            page.wait_for_timeout(20)
        page.evaluate(WATCH)
        shopper.decide(payment, "pay")
        painted = page.evaluate("window.painted")
    context.close()
    return float(painted) - arrival(demo, payment["id"])


def arrival(demo: Demo, pk: str) -> float:
    """When the callback's row was made, in milliseconds since 1970."""
    with sqlite3.connect(demo.folder / "shop.sqlite3") as books:
        [text] = books.execute(
            "SELECT received_at FROM gatewaypay_callback WHERE transaction_id = ?", [uuid.UUID(pk).hex]
        ).fetchone()
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000


def spread(times: list[float]) -> dict[str, float]:
    """Median and tail, in milliseconds."""
    cuts = statistics.quantiles(times, n=100)
    return {"median_ms": round(cuts[49], 1), "p90_ms": round(cuts[89], 1), "p99_ms": round(cuts[98], 1)}


if __name__ == "__main__":
    main()
