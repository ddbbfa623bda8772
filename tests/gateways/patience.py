"""A client that gives up its first try at once, so that the others may be waited for as long as they take."""

from typing import Any

import pytest

from django_gatewaypay.gateways import http
from django_gatewaypay.gateways.http import GatewayClient

__all__ = ["impatient_at_first"]


def impatient_at_first(client: GatewayClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its tries it does not sleep, either."""
    patience = client.timeout
    client.timeout = (patience[0], 0.3)

    def sleep(_: Any) -> None:
        client.timeout = patience

    monkeypatch.setattr(http.time, "sleep", sleep)
