"""Who carries a gateway's events to the shop: again and again, until 2xx."""

import heapq
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import urllib3

from django_gatewaypay.testing.gateway_server import sign

__all__ = ["Courier", "Letter"]

LONGEST_WAIT = 5.0


@dataclass(order=True)
class Letter:
    """One event on its way.

    Args:
        due: when it is sent, by the monotonic clock.
        copies: how many more of it go out after the first was taken.
    """

    due: float
    number: int
    event_id: str = field(compare=False)
    body: bytes = field(compare=False)
    copies: int = field(compare=False, default=0)
    tries: int = field(compare=False, default=0)


class Courier:
    """Delivers events from some threads, each again and again until the shop has answered 2xx; a context manager.

    Args:
        url: where to.
        acknowledged: the events that were answered 2xx.
    """

    def __init__(self, url: str, secret: str, threads: int = 8) -> None:
        self.url, self.secret = url, secret
        self.acknowledged: set[str] = set()
        self.answers: Counter[str] = Counter()
        self._letters: list[Letter] = []
        self._numbers = itertools.count()
        self._flying = 0
        self._changed = threading.Condition()
        self._closed = False
        self._http = urllib3.PoolManager(maxsize=threads, retries=False, timeout=urllib3.Timeout(15))
        self._threads = [threading.Thread(target=self._deliver_all, daemon=True) for _ in range(threads)]

    def __enter__(self) -> "Courier":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def waiting(self) -> int:
        """Events that were not taken yet."""
        with self._changed:
            return len(self._letters) + self._flying

    def address(self, letter: Letter) -> str:
        """Where a letter goes."""
        return self.url

    def post(self, word: tuple[str, bytes], *, after: float = 0, copies: int = 0) -> None:
        """Deliver an event after some seconds."""
        event_id, body = word
        self._put(Letter(time.monotonic() + after, next(self._numbers), event_id, body, copies))

    def _put(self, letter: Letter) -> None:
        with self._changed:
            heapq.heappush(self._letters, letter)
            self._changed.notify()

    def _next(self) -> Letter | None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._letters and self._letters[0].due <= now:
                    self._flying += 1
                    return heapq.heappop(self._letters)
                self._changed.wait(self._letters[0].due - now if self._letters else None)
        return None

    def _deliver_all(self) -> None:
        chance = random.Random()
        while letter := self._next():
            try:
                again = self._deliver(letter, chance.uniform)
                if again:
                    self._put(again)
            finally:
                with self._changed:
                    self._flying -= 1

    def _deliver(self, letter: Letter, between: Callable[[float, float], float]) -> Letter | None:
        """Send it once; what is to be sent later."""
        answer = self._send(letter)
        self.answers[answer] += 1
        now = time.monotonic()
        if not answer.startswith("2"):
            wait = min(0.5 * 2**letter.tries, LONGEST_WAIT) * between(0.7, 1.0)
            return Letter(now + wait, letter.number, letter.event_id, letter.body, letter.copies, letter.tries + 1)
        self.acknowledged.add(letter.event_id)
        if letter.copies:
            return Letter(now + between(0, 3), letter.number, letter.event_id, letter.body, letter.copies - 1)
        return None

    def _send(self, letter: Letter) -> str:
        headers = sign(self.secret, letter.event_id, letter.body)
        try:
            return str(self._http.request("POST", self.address(letter), body=letter.body, headers=headers).status)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return type(error).__name__
