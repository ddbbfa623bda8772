"""The live page as a client sees it: a real WebSocket with the token of a payment, and what it has said."""

import json
from typing import Any

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from django_gatewaypay.models import Transaction
from django_gatewaypay.services import access
from tests.example.running import PATIENCE

__all__ = ["PATIENCE", "Page", "protocols", "socket_url"]


def socket_url(url: str, row: Transaction) -> str:
    return f"{url.replace('http', 'ws', 1)}/ws/payments/{row.pk}/"


def protocols(row: Transaction) -> list[Any]:
    return ["gatewaypay.v1", access.mint_token(row.pk)]


class Page:
    """An open page of a payment; `first` is what it was told on connecting.

    Args:
        url: of the server.
        origin: of the page; the server's own by default.
    """

    def __init__(self, url: str, row: Transaction, *, origin: str = "") -> None:
        words = protocols(row)
        self._opening = connect(
            socket_url(url, row),
            subprotocols=words,
            origin=Origin(origin or url),
            proxy=None,
            open_timeout=PATIENCE,
        )

    def __enter__(self) -> "Page":
        self.connection: ClientConnection = self._opening.__enter__()
        self.first = self.next()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._opening.__exit__(*raised)

    def next(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """The next message."""
        return dict(json.loads(self.connection.recv(timeout=seconds)))

    def resync(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """What the page's own timer asks for every ten seconds."""
        self.connection.send("resync")
        return self.next(seconds)
