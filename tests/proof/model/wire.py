"""The gateway without the network in between: the real adapter, and a client that asks a `GatewayServer` directly."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django_gatewaypay.exceptions import GatewayDeclined, GatewayRejected, GatewayUnavailable
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.testing.gateway_server import GatewayServer, RecordedRequest
from tests.invariants import Violation, in_transaction

__all__ = ["ModelGateway", "Wire", "minor"]

#: So many seconds a gateway knows a key.
KEY_LIFE = 24 * 3600


@dataclass(frozen=True)
class Answered:
    """A definite answer."""

    data: dict[str, Any]


class Wire:
    """Stands where the adapter's HTTP client is. `fault` spoils the next call.

    Args:
        server: whose protocol is followed, and whose books are kept.
        noes: how often the gateway refused.
        effects: how often money moved there, by key.
        captured: what our captures took, by session, in minor units.
        moved: how many refunds and captures were made there, in all runs.
    """

    def __init__(self, server: GatewayServer) -> None:
        self.server = server
        self.moved: Counter[str] = Counter()
        self.forget()

    def forget(self) -> None:
        """Nothing has happened yet."""
        books = self.server
        for kept in (books.sessions, books.refunds, books.asked, books.requests, books._refunded, books._keys):
            kept.clear()
        books.next_refund = "succeeded"
        self.fault = ""
        self.noes = 0
        self.effects: Counter[str] = Counter()
        self.captured: Counter[str] = Counter()
        self._since: dict[str, float] = {}

    def get(self, path: str, **_: Any) -> Answered:
        """Read."""
        return self._call("GET", path, "", {})

    def post(self, path: str, *, idempotency_key: str, json: Mapping[str, Any], **_: Any) -> Answered:
        """Write."""
        return self._call("POST", path, idempotency_key, json)

    def _call(self, method: str, path: str, key: str, body: Mapping[str, Any]) -> Answered:
        if in_transaction():
            raise Violation(15, f"{method} {path} inside a database transaction")
        fault, self.fault = self.fault, ""
        if fault == "away":
            raise GatewayUnavailable("No answer.", code="http_503")
        if fault == "declined" and path.startswith(("create-session", "capture/", "refund/")) and method == "POST":
            self.noes += 1
            raise GatewayDeclined("No.", status=402)
        request = RecordedRequest(method, f"/{path}", {"idempotency-key": key}, json.dumps(body).encode())
        self.server.requests.append(request)
        self._forget_key(key)
        before = self._taken(path), len(self.server.refunds)
        status, data = self.server.work(request)
        self._count(path, key, *before)
        if fault == "lost":
            raise GatewayUnavailable("No answer, but it was done.", code="ReadTimeout")
        if status >= 400:
            self.noes += 1
            raise GatewayRejected("No.", status=status, code=str(data.get("code")))
        return Answered(data)

    def _forget_key(self, key: str) -> None:
        """After a day, a key is a new one."""
        if time.time() - self._since.setdefault(key, time.time()) >= KEY_LIFE:
            self.server._keys.pop(key, None)
            self._since[key] = time.time()

    def _taken(self, path: str) -> int:
        """What was captured of the session that a call names."""
        session = self.server.sessions.get(path.partition("/")[2], {})
        return minor(session.get("captured"))

    def _count(self, path: str, key: str, taken: int, refunds: int) -> None:
        more, given = self._taken(path) - taken, len(self.server.refunds) - refunds
        self.effects[key] += bool(more) + given
        self.moved.update({"refunds moved": given, "captures moved": int(bool(more))})
        self.captured[path.partition("/")[2]] += more


class ModelGateway(HostedGateway):
    """The plain hosted protocol, without a network."""

    def __init__(self, alias: str, wire: Wire, secret: str) -> None:
        super().__init__(alias, api_base=wire.server.url, webhook_secrets=[secret])
        self.client.session.close()
        self.client = wire  # type: ignore[assignment]


def minor(amount: str | None) -> int:
    """Cents."""
    return round(Decimal(amount or "0") * 100)
