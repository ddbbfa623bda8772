"""PayPal's access token: asked for with the app's secret, kept until it ends."""

import base64
import threading
import time

from ..exceptions import GatewayUnavailable
from .http import GatewayClient

__all__ = ["Token"]


class Token:
    """The access token that calls carry, shared between threads until it ends."""

    def __init__(self, client: GatewayClient, client_id: str, client_secret: str) -> None:
        self.client = client
        self._basic = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self._lock = threading.Lock()
        self._value = ""
        self._ends = 0.0

    def get(self, *, stale: str = "") -> str:
        """The token; a new one when it has ended, or is the one that was refused."""
        with self._lock:
            if not self._value or self._value == stale or time.monotonic() >= self._ends:
                self._fetch()
            return self._value

    def _fetch(self) -> None:
        form, headers = [("grant_type", "client_credentials")], {"Authorization": f"Basic {self._basic}"}
        answer = self.client.request("POST", "v1/oauth2/token", form=form, headers=headers).data
        value, lifetime = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
            raise GatewayUnavailable("PayPal gave no token.", gateway=self.client.gateway, code="no_token")
        self._value = value
        self._ends = time.monotonic() + (lifetime if isinstance(lifetime, int) else 300) - 60
