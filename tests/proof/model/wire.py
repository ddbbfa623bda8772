"""The gateway without the network in between: the real adapter, and a client that asks a `GatewayServer` directly."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django_gatewaypay.exceptions import GatewayDeclined, GatewayRejected, GatewayUnavailable
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.money import from_minor
from django_gatewaypay.testing.gateway_server import GatewayServer, RecordedRequest
from django_gatewaypay.types import PaymentUpdate
from tests.invariants import Violation, in_transaction

__all__ = ["ModelGateway", "Wire"]


@dataclass(frozen=True)
class Answered:
    """A definite answer."""

    data: dict[str, Any]


class Wire:
    """Stands where the adapter's HTTP client is. `fault` spoils the next call.

    Args:
        server: whose protocol is followed, and whose books are kept.
    """

    def __init__(self, server: GatewayServer) -> None:
        self.server = server
        self.fault = ""

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
        if fault == "declined" and path == "create-session":
            raise GatewayDeclined("No.", status=402)
        request = RecordedRequest(method, f"/{path}", {"idempotency-key": key}, json.dumps(body).encode())
        self.server.requests.append(request)
        status, data = self.server.work(request)
        if fault == "lost":
            raise GatewayUnavailable("No answer, but it was done.", code="ReadTimeout")
        if status >= 400:
            raise GatewayRejected("No.", status=status, code=str(data.get("code")))
        return Answered(data)


class ModelGateway(HostedGateway):
    """The plain hosted protocol, with one word more: how much was given back."""

    def __init__(self, alias: str, wire: Wire, secret: str) -> None:
        super().__init__(alias, api_base=wire.server.url, webhook_secrets=[secret])
        self.client.session.close()
        self.client = wire  # type: ignore[assignment]

    def _update(self, data: Mapping[str, Any]) -> PaymentUpdate:
        refunded = data.get("refunded_minor")
        update = super()._update(data)
        return replace(update, refunded=from_minor(refunded, str(data["currency"]))) if refunded else update
