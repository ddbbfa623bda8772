"""A sandbox that may run, a shop on loopback that it tells, and no thread but where a test asks for it."""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from django_gatewaypay.sandbox import delivery
from django_gatewaypay.sandbox.access import api_key
from django_gatewaypay.sandbox.models import SandboxPayment

BACKEND = "django_gatewaypay.sandbox.gateway.SandboxGateway"


@dataclass
class Shop:
    """What the shop's callback view was sent, and what it answers: one status per call, the last one for ever."""

    url: str = ""
    answers: list[int] = field(default_factory=lambda: [200])
    calls: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, str]]:
        return [json.loads(body) for _, body in self.calls]

    @property
    def told(self) -> list[str]:
        return [event["status"] for event in self.events]


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop that listens on loopback."""
    shop = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            shop.calls.append((dict(self.headers), body))
            self.send_response(shop.answers.pop(0) if len(shop.answers) > 1 else shop.answers[0])
            self.send_header("Location", f"{shop.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    shop.url = f"http://127.0.0.1:{server.server_port}"
    yield shop
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def allowed(settings: Any, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox may run, the shop is the only site it knows, and tests send by themselves."""
    settings.GATEWAYPAY = {
        "BASE_URL": shop.url,
        "ALLOW_SANDBOX": True,
        "GATEWAYS": {"sandbox": {"BACKEND": BACKEND}},
    }
    monkeypatch.setattr(delivery, "threaded", False)
    # A shop that answers late, because the machine stood still, would be told twice.
    monkeypatch.setattr(delivery, "TIMEOUT", (30, 30))


@pytest.fixture
def body(shop: Shop) -> dict[str, Any]:
    """A good body for `create-session`."""
    return {
        "amount": "19.99",
        "currency": "EUR",
        "callback_url": f"{shop.url}/payments/callbacks/sandbox/",
        "return_url": f"{shop.url}/payments/return/1/",
        "transaction_id": "0b5f2c1e-7a51-4a55-8f0c-2f3f6f1d9f10",
        "description": "Order 1234",
        "expires_at": (timezone.now() + timedelta(minutes=30)).isoformat(timespec="seconds"),
    }


@pytest.fixture
def api() -> Client:
    """A customer that holds the key and is checked for CSRF like anybody else."""
    return Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {api_key()}"})


@pytest.fixture
def payment(db: None, shop: Shop) -> SandboxPayment:
    """A session that waits for its shopper."""
    return SandboxPayment.objects.create(
        idempotency_key="key",
        fingerprint="none",
        transaction_id="0b5f2c1e-7a51-4a55-8f0c-2f3f6f1d9f10",
        amount_minor=1999,
        reported_minor=1999,
        currency="EUR",
        description="Order <1234>",
        callback_url=f"{shop.url}/payments/callbacks/sandbox/",
        return_url=f"{shop.url}/payments/return/1/",
        expires_at=timezone.now() + timedelta(minutes=30),
    )


@pytest.fixture
def expired(payment: SandboxPayment) -> SandboxPayment:
    """The same session, when its time is over."""
    payment.expires_at = timezone.now() - timedelta(minutes=1)
    payment.save()
    return payment
