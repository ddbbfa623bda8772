"""The gateway of a sale: slow, sometimes wrong, sometimes silent; it tells at once, late, twice, or never."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django_gatewaypay.testing.gateway_server import Answer, RecordedRequest

from ...plant.courier import Courier, Letter
from ...plant.gateway import PlantGateway

__all__ = ["TELLINGS", "NotingCourier", "SaleGateway", "Word"]

#: Seconds that a call takes, and of a thousand calls: right, failed, done but its answer lost, done and silent.
LATENCY = (0.02, 0.3)
WEATHER = {"right": 974, "failed": 15, "lost": 8, "silent": 3}
#: Longer than the shop waits.
SILENCE = 12.0
#: How the gateway tells of a hundred decisions, and of how many there are copies.
TELLINGS = {"prompt": 84, "late": 8, "first_processing": 5, "never": 3}
COPIES = {0: 88, 1: 10, 3: 2}


@dataclass(frozen=True)
class Word:
    """The first sending of an event: when, by the monotonic clock, and to which node."""

    at: float
    node: int


class NotingCourier(Courier):
    """Goes to each web node in turn, and notes when it went first, and how long each of its ways took.

    Args:
        urls: where the nodes take callbacks.
    """

    def __init__(self, urls: Sequence[str], secret: str) -> None:
        super().__init__(urls[0], secret)
        self.urls = urls
        self.words: dict[str, Word] = {}
        self.seconds: list[float] = []

    def address(self, letter: Letter) -> str:
        """See `Courier`."""
        return self.urls[letter.number % len(self.urls)]

    def _send(self, letter: Letter) -> str:
        began = time.monotonic()
        self.words.setdefault(letter.event_id, Word(began, letter.number % len(self.urls)))
        answer = super()._send(letter)
        self.seconds.append(time.monotonic() - began)
        return answer


class SaleGateway(PlantGateway):
    """The plain hosted protocol, and a page: `POST pay/<reference> {"action": "pay"}`.

    Args:
        latest: seconds after which the latest word of a decision goes out.
        weather: how calls end.
        tellings: how the shop hears of decisions.
        ends: the event about the end of each payment, by transaction.
    """

    def __init__(self, secret: str, *, seed: int, latest: float) -> None:
        super().__init__(secret)
        self.latest = latest
        self.weather, self.tellings = WEATHER, TELLINGS
        self.courier: NotingCourier
        self.ends: dict[str, str] = {}
        self.told: Counter[str] = Counter()
        self._chance = random.Random(f"gateway/{seed}")
        self._chance_lock = threading.Lock()

    def _receive(self, request: RecordedRequest) -> Answer:
        verb, _, reference = request.path.strip("/").partition("/")
        if verb == "pay":
            return Answer.json({"told": self._decide(reference, request.json)})
        self.script(self._answer())
        return super()._receive(request)

    def _answer(self) -> Answer:
        kind, wait = self._draw(self.weather), self._between(*LATENCY)
        self.told[f"call {kind}"] += 1
        if kind == "failed":
            return Answer.json({"code": "broken"}, 500, delay=wait)
        return Answer(works=True, drop=kind == "lost", delay=SILENCE if kind == "silent" else wait)

    def _decide(self, reference: str, wanted: Any) -> str:
        """What the shopper does, and how the shop hears of it."""
        telling = self._draw(self.tellings)
        if telling == "first_processing" and self.decide(reference, "processing"):
            self.courier.post(self.word(reference))
        if not self.decide(reference, "success" if wanted["action"] == "pay" else "failed"):
            return "closed"
        self.told[f"told {telling}"] += 1
        if telling != "never":
            word = self.word(reference)
            self.ends[self.sessions[reference]["transaction_id"]] = word[0]
            after = self._between(self.latest / 5, self.latest) if telling == "late" else 0
            self.courier.post(word, after=after, copies=self._draw(COPIES))
        return telling

    def _draw(self, weights: dict[Any, int]) -> Any:
        with self._chance_lock:
            return self._chance.choices(list(weights), list(weights.values()))[0]

    def _between(self, least: float, most: float) -> float:
        with self._chance_lock:
            return self._chance.uniform(least, most)
