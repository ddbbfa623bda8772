"""A whole host under uvicorn, in a thread: real HTTP, real WebSockets, and the sandbox as its gateway."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from django_gatewaypay.models import Transaction
from tests.example.running import PATIENCE
from tests.factories import make_order
from tests.shop.models import Order


# For a module at a time: a clock that a test elsewhere moves stops the server's own for ever.
@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """The suite's ASGI application on a free loopback port."""
    from tests.asgi import application

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, lifespan="off", log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture
def site(server_url: str, transactional_db: None, patient_nudges: None, settings: Any) -> "Site":
    """The server, with the sandbox mounted beside the shop as its only gateway."""
    settings.GATEWAYPAY = {
        "BASE_URL": server_url,
        "ORDERS": "tests.shop.ShopOrders",
        "ALLOW_SANDBOX": True,
        "GATEWAYS": {"sandbox": {"BACKEND": "django_gatewaypay.sandbox.gateway.SandboxGateway"}},
    }
    return Site(server_url)


@dataclass
class Site:
    """What a shopper's browser can do, without the browser."""

    url: str
    browser: requests.Session = field(default_factory=requests.Session)

    def initiate(self, order: Order | None = None, **body: Any) -> dict[str, Any]:
        """Start a payment as a guest."""
        order = order or make_order()
        answer = self.browser.post(f"{self.url}/payments/initiate/", json={"order_id": str(order.pk), **body})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def press(self, started: dict[str, Any], action: str = "pay", callback: str = "once", **more: Any) -> str:
        """Press a button on the gateway's page; where it leads the shopper."""
        data = {"action": action, "callback": callback, **more}
        answer = self.browser.post(started["payment_url"], data=data, allow_redirects=False)
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    def status(self, started: dict[str, Any]) -> dict[str, Any]:
        return dict(self.browser.get(started["status_url"]).json())

    def page(self, url: str) -> str:
        answer = self.browser.get(url)
        assert answer.status_code == 200, answer.text
        return answer.text

    @contextmanager
    def socket(self, started: dict[str, Any]) -> Iterator["Live"]:
        """The live socket, opened with the token as a page of the host would."""
        words = [Subprotocol("gatewaypay.v1"), Subprotocol(started["token"])]
        address, origin = started["websocket_url"], Origin(self.url)
        with connect(address, subprotocols=words, origin=origin, open_timeout=PATIENCE) as connection:
            yield Live(connection)

    def wait_for(self, started: dict[str, Any], state: str, seconds: float = PATIENCE) -> Transaction:
        """The row, once it is in a state and the host was told; both follow one commit, the second a little later."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            row = Transaction.objects.get(pk=started["id"])
            if row.state == state and not row.fulfilments.filter(state="owed").exists():
                return row
            time.sleep(0.02)
        raise AssertionError(f"still {row.state}, not {state}")


@dataclass
class Live:
    """A live socket and what it has said."""

    connection: ClientConnection

    def next(self, seconds: float = PATIENCE) -> dict[str, Any]:
        return dict(json.loads(self.connection.recv(timeout=seconds)))

    def rest(self, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        """Everything until the server closes."""
        said = []
        try:
            while True:
                said.append(self.next(seconds))
        except ConnectionClosed:
            return said
