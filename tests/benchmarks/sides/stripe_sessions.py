"""Stripe as rivals know it: sessions that are paid, whichever is asked for, and signed events; it needs no package."""

import hashlib
import hmac
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

__all__ = ["main", "paid_session", "signed"]


def paid_session(reference: str) -> dict[str, Any]:
    """A session over 19.99 EUR, as Stripe tells it."""
    return {
        "id": reference,
        "object": "checkout.session",
        "client_reference_id": reference,
        "mode": "payment",
        "livemode": False,
        "created": 1750000000,
        "amount_subtotal": 1999,
        "amount_total": 1999,
        "currency": "eur",
        "status": "complete",
        "payment_status": "paid",
        "payment_method_types": ["card"],
        "success_url": "https://shop.example/thanks/",
        "cancel_url": "https://shop.example/cart/",
        "customer": None,
        "payment_intent": None,
        "subscription": None,
        "metadata": {},
    }


def signed(secret: str, body: bytes, sent: int) -> dict[str, str]:
    """The header with which Stripe signs an event that it sends at that second."""
    digest = hmac.new(secret.encode(), f"{sent}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={sent},v1={digest}"}


class Sessions(BaseHTTPRequestHandler):
    """Answers any question with the session that its path names, and keeps the connection."""

    protocol_version: ClassVar[str] = "HTTP/1.1"
    wbufsize = -1  # the head and the body in one packet

    def do_GET(self) -> None:
        """See `BaseHTTPRequestHandler`."""
        body = json.dumps(paid_session(self.path.partition("?")[0].rpartition("/")[2])).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Print the address, and answer until whoever started it ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sessions)
    Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
