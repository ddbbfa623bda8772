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
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from .answer import Answer
from .books import Books, RecordedRequest

__all__ = ["Answer", "GatewayServer", "RecordedRequest", "sign"]

MAX_REQUEST_BYTES = 1024 * 1024


class GatewayServer(Books):
    """The plain hosted protocol on a free loopback port, in a thread: every call of its reference.

    The same Idempotency-Key returns the same session, the same capture, the same refund. Subclass it
    and write `work` for another vendor's wire.

    Args:
        secret: the `whsec_…` secret that signs callbacks.
    """

    def __init__(self, secret: str = "whsec_" + base64.b64encode(bytes(range(32))).decode()) -> None:
        super().__init__()
        self.secret = secret
        self.requests: list[RecordedRequest] = []
        self.connections = 0
        self._script: deque[Answer] = deque()
        self._closing = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._http = _Http(("127.0.0.1", 0), type("Handler", (_Handler,), {"gateway": self}))
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

    def refund_callback(self, refund_reference: str, **details: Any) -> tuple[dict[str, str], bytes]:
        """The same about one refund: its facts stand beside those of the session. See `callback`."""
        refund = self.refunds[refund_reference]
        told = {f"refund_{name}": refund[name] for name in ("status", "amount", "reason")}
        named = {name: refund[name] for name in ("refund_reference", "refund_id")}
        return self.callback(self._refunded[refund_reference], **{**named, **told, **details})

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


class _Http(ThreadingHTTPServer):
    request_queue_size = 128  # fifty call at once; of five that wait to be let in, the sixth has to knock again


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
