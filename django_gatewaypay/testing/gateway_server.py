"""A gateway on loopback that does what a test tells it to: right answers, wrong ones, and none.

with GatewayServer() as server:
    gateway = HostedGateway("card", api_base=server.url, webhook_secrets=[server.secret])
    session = gateway.create_session(request)
    server.pay(session.gateway_reference)
    headers, body = server.callback(session.gateway_reference)
"""

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from .answer import Answer

__all__ = ["Answer", "GatewayServer", "RecordedRequest", "sign"]

MAX_REQUEST_BYTES = 1024 * 1024


@dataclass(frozen=True)
class RecordedRequest:
    """One call as it reached the gateway; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: str = ""

    @property
    def json(self) -> Any:
        """The decoded body; None when it is empty or not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def key(self) -> str:
        """The Idempotency-Key, or nothing."""
        return self.headers.get("idempotency-key", "")


class GatewayServer:
    """The plain hosted protocol on a free loopback port, in a thread.

    `POST create-session` opens a session (the same Idempotency-Key returns the same one),
    `GET status/{reference}` tells, `GET find/{transaction_id}` looks up, `POST cancel/{reference}`
    closes. Subclass it and write `work` for another vendor's wire.

    Args:
        secret: the `whsec_…` secret that signs callbacks.
    """

    def __init__(self, secret: str = "whsec_" + base64.b64encode(bytes(range(32))).decode()) -> None:
        self.secret = secret
        self.sessions: dict[str, dict[str, Any]] = {}
        self.requests: list[RecordedRequest] = []
        self.connections = 0
        self._keys: dict[str, tuple[Any, str]] = {}
        self._script: deque[Answer] = deque()
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"gateway": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The gateway's `api_base`."""
        return f"http://127.0.0.1:{self._http.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        with self._lock:
            for connection in self._sockets:
                _hang_up(connection)

    # --- What a test tells the gateway.

    def script(self, *answers: Answer) -> None:
        """Answer the next calls like this, in this order; afterwards the protocol is followed again."""
        with self._lock:
            self._script.extend(answers)

    def set_status(self, reference: str, status: str, **fields: Any) -> None:
        """What is true about a session from now on."""
        with self._lock:
            self.sessions[reference].update(status=status, **fields)

    def pay(self, reference: str, amount: str | None = None, currency: str | None = None) -> None:
        """The shopper pays, the right amount unless another one is named."""
        asked = self.sessions[reference]
        paid = {"amount": amount or asked["amount"], "currency": currency or asked["currency"]}
        self.set_status(reference, "success", **paid)

    def callback(
        self, reference: str, *, event_id: str = "", timestamp: int | None = None, **overrides: Any
    ) -> tuple[dict[str, str], bytes]:
        """The headers and body of a signed callback about a session as it is now.

        Args:
            event_id: a fresh one when empty.
            timestamp: Unix seconds; now when None.
            overrides: fields that the body should state instead of the truth.
        """
        event_id = event_id or f"evt_{uuid.uuid4().hex}"
        body = json.dumps({"event_id": event_id, **self.sessions[reference], **overrides}).encode()
        return sign(self.secret, event_id, body, timestamp=timestamp), body

    # --- What the gateway does. Override `work` for another wire.

    def work(self, request: RecordedRequest) -> tuple[int, dict[str, Any]]:
        """Do what a call asks for; its status and JSON answer."""
        verb, _, reference = request.path.strip("/").partition("/")
        if (request.method, request.path.strip("/")) == ("POST", "create-session"):
            return self._create(request)
        if (request.method, verb) == ("GET", "find"):
            return self._find(unquote(reference))
        session = self.sessions.get(unquote(reference))
        if session is None or (request.method, verb) not in {("GET", "status"), ("POST", "cancel")}:
            return 404, {"code": "not_found"}
        if verb == "cancel" and session["status"] == "pending":
            session["status"] = "canceled"
        return 200, dict(session)

    def _find(self, transaction_id: str) -> tuple[int, dict[str, Any]]:
        for reference, session in self.sessions.items():
            if session["transaction_id"] == transaction_id:
                return 200, {**session, "payment_url": f"{self.url}pay/{reference}"}
        return 404, {"code": "not_found"}

    def _create(self, request: RecordedRequest) -> tuple[int, dict[str, Any]]:
        wanted = request.json
        if not request.key or not isinstance(wanted, dict) or not {"amount", "currency"} <= wanted.keys():
            return 422, {"code": "bad_request"}
        if request.key not in self._keys:
            reference = f"ps_{uuid.uuid4().hex}"
            told = {name: wanted.get(name) for name in ("transaction_id", "amount", "currency")}
            self.sessions[reference] = {"reference": reference, "status": "pending", **told}
            self._keys[request.key] = wanted, reference
        first, reference = self._keys[request.key]
        if first != wanted:
            return 422, {"code": "key_reused"}
        return 201, {**self.sessions[reference], "payment_url": f"{self.url}pay/{reference}"}

    # --- What the handler calls.

    def _receive(self, request: RecordedRequest) -> Answer:
        with self._lock:
            self.requests.append(request)
            scripted = self._script.popleft() if self._script else Answer(works=True)
            if not scripted.works:
                return scripted
            status, data = self.work(request)
            true = Answer.json(data, status)
        return replace(true, delay=scripted.delay, drop=scripted.drop)

    def _opened(self, connection: socket.socket) -> None:
        with self._lock:
            self.connections += 1
            self._sockets.add(connection)

    def _closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(connection)


class _Handler(BaseHTTPRequestHandler):
    gateway: GatewayServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for headers and body; two wait for each other (Nagle, delayed ACK)

    def setup(self) -> None:
        super().setup()
        self.gateway._opened(self.connection)

    def finish(self) -> None:
        self.gateway._closed(self.connection)
        with suppress(OSError):  # the client is gone
            super().finish()

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def answer(self) -> None:
        length = min(int(self.headers.get("Content-Length") or 0), MAX_REQUEST_BYTES)
        headers = {name.lower(): value for name, value in self.headers.items()}
        url = urlsplit(self.path)
        request = RecordedRequest(self.command, url.path, headers, self.rfile.read(length), url.query)
        answer = self.gateway._receive(request)
        self.gateway._closing.wait(answer.delay)
        if answer.drop:
            self.close_connection = True
            _hang_up(self.connection)
            return
        if answer.head_pace:
            self._drip_head(answer.head_pace)
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def _drip_head(self, pace: float) -> None:
        self.close_connection = True
        self.connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.gateway._closing.wait(pace):
            self.connection.sendall(b"x")

    def _send(self, answer: Answer) -> None:
        if not answer.pace:
            self.wfile.write(answer.body)
            return
        for byte in answer.body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            self.gateway._closing.wait(answer.pace)
            if self.gateway._closing.is_set():
                return

    def log_message(self, *_: object) -> None:
        pass


def sign(secret: str, message_id: str, body: bytes, *, timestamp: int | None = None) -> dict[str, str]:
    """The headers of a Standard Webhooks callback, written from the specification alone."""
    sent = str(int(time.time()) if timestamp is None else timestamp)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{sent}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": sent,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # it was closed already
        connection.shutdown(socket.SHUT_RDWR)
