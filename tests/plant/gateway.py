"""A gateway whose shoppers decide on its own pages, and which tells the shop about it by a courier."""

import json
import uuid

from django_gatewaypay.testing.gateway_server import GatewayServer

__all__ = ["PlantGateway"]


class PlantGateway(GatewayServer):
    """The plain hosted protocol."""

    def decide(self, reference: str, status: str) -> bool:
        """What the shopper does on the gateway's page; False when the session is closed."""
        with self._lock:
            session = self.sessions[reference]
            if session["status"] not in {"pending", "processing"}:
                return False
            session["status"] = status
            return True

    def word(self, reference: str) -> tuple[str, bytes]:
        """The id and the body of an event about a session as it is now."""
        event_id = f"evt_{uuid.uuid4().hex}"
        with self._lock:
            return event_id, json.dumps({"event_id": event_id, **self.sessions[reference]}).encode()
