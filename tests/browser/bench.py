"""One `<gatewaypay-status>` on a test bench: a scripted server, a clock that stands still, a socket that obeys."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from playwright.sync_api import Page, Request, WebSocket, WebSocketRoute

from tests.conftest import REPOSITORY

__all__ = ["Bench"]

MODULE = REPOSITORY / "django_gatewaypay/static/gatewaypay/gatewaypay.js"
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
STEP = 5000

FRESH = {
    "id": "T1",
    "version": 1,
    "status": "pending",
    "state": "pending",
    "reason": "",
    "late": False,
    "screen": "ready",
    "phase": "",
    "attributes": "",
    "heading": "h1",
    "body": "",
    "lang": "en",
    "code": 200,
    "headers": {},
}

ELEMENT = """
<gatewaypay-status transaction-id="{id}" status-url="/status/" page-url="/page/" return-url="/return/"
  websocket-url="/ws/" status="{status}" state="{state}" version="{version}" screen="{screen}" {phased} {attributes}>
<div class="gwp-screen {screen}" role="status" aria-live="polite">
<{heading} id="title">{screen}{phase}</{heading}>{body}</div></gatewaypay-status>"""

PAGE = """<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>Bench</title><link rel="icon" href="data:,">
<script>
  window.told = [];
  for (const name of ["change", "success", "failure"])
    document.addEventListener("gatewaypay:" + name, ({{ detail }}) => {{
      told.push({{ name, detail, shown: title.textContent }});
    }});
</script>
<script type="module" src="/gatewaypay.js"></script>
<body>{element}<a id="outside" href="/elsewhere/">outside</a></body></html>"""


class Asked(NamedTuple):
    """A request that the module made."""

    path: str
    authorization: str | None
    protocols: str | None


class Handler(BaseHTTPRequestHandler):
    """Answers with what the bench says at that moment."""

    server: Any

    def log_message(self, *words: Any) -> None:
        """The tests look at the requests themselves."""

    def do_GET(self) -> None:
        bench: Bench = self.server.bench
        by_script = self.headers.get("Sec-Fetch-Dest") != "document"
        if by_script and self.path != "/settled/":
            bench.asked.append(Asked(self.path, *map(self.headers.get, ["Authorization", "Sec-WebSocket-Protocol"])))
        code, kind, text = bench.answer(self.path)
        refused = by_script and self.path in ("/page/", "/return/") and bench.payment["code"] != 200
        self.send_response(bench.payment["code"] if refused else code)
        for name, value in bench.payment["headers"].items() if refused else ():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())


class Bench:
    """`payment` is the server's truth. Without a `clock`, time passes; without a `socket`, the server refuses it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.payment: dict[str, Any] = {}
        self.asked: list[Asked] = []
        self.under_way: set[Request | WebSocket] = set()
        self.socket: WebSocketRoute | None = None
        page.on("request", lambda request: "/settled/" in request.url or self.under_way.add(request))
        page.on("requestfinished", lambda request: self.under_way.discard(request))
        page.on("requestfailed", lambda request: self.under_way.discard(request))
        page.on("websocket", self.dial)
        self.server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.bench = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Bench":
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def status(self) -> dict[str, Any]:
        return {name: self.payment[name] for name in ("id", "status", "state", "reason", "late", "version")}

    def answer(self, path: str) -> tuple[int, str, str]:
        if path in ("/page/", "/return/"):
            phased = f'phase="{self.payment["phase"]}"' if self.payment["phase"] else ""
            element = ELEMENT.format(phased=phased, **self.payment)
            return 200, "text/html", PAGE.format(element=element, lang=self.payment["lang"])
        if path == "/status/":
            return 200, "application/json", json.dumps(self.status)
        if path == "/gatewaypay.js":
            return 200, "text/javascript", MODULE.read_text()
        return 404 if path == "/ws/" else 200, "text/html", "<!doctype html><link rel=icon href=data:,>elsewhere"

    def open(self, clock: bool = True, socket: bool = True, **payment: Any) -> Page:
        """The page of a fresh payment: it has loaded when its modules have run."""
        self.payment = {**FRESH, **payment}
        if clock:
            self.page.clock.install(time=NOON)
            self.page.clock.pause_at(NOON + timedelta(seconds=1))
        if socket:
            self.page.route_web_socket("**/ws/", self.accept)
        self.show()
        return self.page

    def show(self) -> None:
        """Open the page, once more."""
        self.page.goto(f"{self.url}/page/")
        self.settle()
        self.asked.clear()

    def dial(self, socket: WebSocket) -> None:
        """A real socket, which the server refuses: the page goes on when it knows."""
        self.under_way.add(socket)
        socket.on("close", lambda _: self.under_way.discard(socket))

    def accept(self, socket: WebSocketRoute) -> None:
        def answer(message: Any) -> None:
            self.asked.append(Asked("/ws/", None, None))
            self.speak(socket)

        self.socket = socket
        socket.on_message(answer)
        self.speak(socket)

    def speak(self, socket: WebSocketRoute | None = None) -> None:
        """A frame with the truth, over the newest socket unless told otherwise."""
        speaker = socket or self.socket
        assert speaker is not None
        speaker.send(json.dumps({"type": "transaction.status", **self.status}))

    def becomes(self, **payment: Any) -> None:
        """The truth changes, and nobody says so."""
        self.payment.update(payment)

    def says(self, **payment: Any) -> None:
        """The truth changes, and the socket says so."""
        self.becomes(**payment)
        self.speak()
        self.settle()

    def wait(self, seconds: float) -> None:
        """Time passes, in steps: a request is not to time out because the clock has jumped."""
        left = round(seconds * 1000)
        while left > 0:
            self.page.clock.run_for(min(left, STEP))
            self.settle()
            left -= STEP

    def settle(self) -> None:
        """Until, twice in a row, no request is under way after what was answered has been read."""
        quiet = 0
        while quiet < 2:
            self.page.evaluate("fetch('/settled/').then((answer) => answer.text())")
            quiet = 0 if self.under_way else quiet + 1

    def count(self, path: str) -> int:
        return sum(one.path == path for one in self.asked)

    @property
    def heading(self) -> str:
        return self.page.inner_text("#title")

    @property
    def told(self) -> list[str]:
        """The names of the events, so far."""
        return [one["name"] for one in self.page.evaluate("told")]

    @property
    def objects(self) -> bool:
        """Whether leaving the page now would be asked about."""
        return bool(self.page.evaluate("!dispatchEvent(new Event('beforeunload', { cancelable: true }))"))
