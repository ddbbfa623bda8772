"""Who changes payments and says so: `python -m tests.benchmarks.push.speaker`."""

import json
import os
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from ..side import answer
from ..sides.ours import Status

__all__ = ["Speaker"]


class Speaker:
    """Has the database and Valkey, and no page."""

    def ready(self) -> dict[str, Any]:
        """Settings, tables, and both ways to speak."""
        self.shop = Status()
        self.shop.set_up()
        import redis

        from django_gatewaypay.announcer import announce

        server: Any = redis.Redis.from_url(os.environ["GATEWAYPAY_BENCH_REDIS"])
        self.ways: dict[str, Callable[[str], object]] = {
            "raw": lambda payment: server.publish(f"/raw/{payment}/", raw_word(payment)),
            "ours": lambda payment: announce(uuid.UUID(payment)),
        }
        for way in self.ways.values():
            way(str(uuid.uuid4()))
        return {}

    def payments(self, count: int) -> list[tuple[str, str]]:
        """So many payments, each with the token of its owner."""
        from django_gatewaypay.services import access

        return [(str(row.pk), access.mint_token(row.pk)) for row in self.shop.pending(count)]

    def change(self) -> dict[str, Any]:
        """Every payment has news that nobody has been told of."""
        from django.db.models import F

        from django_gatewaypay.models import Transaction

        return {"changed": Transaction.objects.update(version=F("version") + 1)}

    def say(self, way: str, payments: Sequence[str], pace: float) -> dict[str, float]:
        """Say it of each, and when that began.

        Args:
            way: "raw" or "ours".
            pace: how many in a second; 0 for as fast as it goes.
        """
        told, began = {}, time.time()
        for number, payment in enumerate(payments):
            if pace:
                time.sleep(max(began + number / pace - time.time(), 0))
            told[payment] = time.time()
            self.ways[way](payment)
        return told


def raw_word(payment: str) -> str:
    """As long as what our page is told."""
    known = {"type": "transaction.status", "id": payment, "status": "pending", "state": "pending"}
    return json.dumps({**known, "reason": "", "late": False, "version": 2})


if __name__ == "__main__":
    answer(Speaker())
