"""The gateway of the run, which is never killed, and keeps its own books."""

import random
import time
from collections.abc import Callable
from typing import Any

from django_gatewaypay.testing.gateway_server import Answer, RecordedRequest

from ...plant.gateway import PlantGateway

__all__ = ["ChaosGateway"]


class ChaosGateway(PlantGateway):
    """The plain hosted protocol, with hours in which it does nothing but fail."""

    def __init__(self, secret: str) -> None:
        super().__init__(secret)
        self.down_until = 0.0
        #: When a bank decides about a refund once more, and what it says then.
        self.verdicts: dict[str, tuple[float, str]] = {}

    def work(self, request: RecordedRequest) -> tuple[int, dict[str, Any]]:
        """Nothing while it is down."""
        if time.monotonic() < self.down_until:
            return 503, {"code": "maintenance"}
        return super().work(request)

    def go_down(self, seconds: float) -> None:
        """Answer 503 to everything for a while; shoppers on its own pages do not notice."""
        self.down_until = time.monotonic() + seconds

    def lose_answers(self, count: int) -> None:
        """The next calls have their effect, and their answers are lost."""
        self.script(*[Answer.lost()] * count)

    def _refund(self, reference: str, wanted: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        """Some are decided later, and some that have arrived come back."""
        drawn = random.Random(wanted["refund_id"]).random()
        self.next_refund = "submitted" if drawn < 0.4 else "succeeded"
        read = super()._refund(reference, wanted)
        if drawn < 0.5:
            number, word = read()["refund_reference"], "succeeded" if drawn < 0.3 else "failed"
            self.verdicts[number] = time.monotonic() + 1 + 10 * drawn, word
        return read

    def decide_refunds(self) -> list[tuple[str, bytes]]:
        """What the banks decide by now, and what is told of it."""
        with self._lock:
            due = [number for number, (moment, _) in self.verdicts.items() if moment <= time.monotonic()]
            for number in due:
                self.set_refund(number, self.verdicts.pop(number)[1])
            told = [self.refund_callback(number) for number in due]
        return [(headers["webhook-id"], body) for headers, body in told]
