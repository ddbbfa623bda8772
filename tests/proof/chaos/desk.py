"""Staff: they give back what some shoppers have paid, through the API, at several desks at once."""

import base64
import json
import queue
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import urllib3

__all__ = ["Desk", "Wish", "hire", "wishes"]

PASSWORD = "only in this run"
NEEDS = ("view_transaction", "refund_transaction")
PEOPLE = ("ada", "bob")
#: So long a clerk tries: a payment of which nobody tells is asked about first.
PATIENCE = 45.0
ANSWERS = frozenset({0, 201, 409, 422, 500, 502, 503})
#: How money goes back, and how many of a hundred who have paid.
WAYS = {"not": 84, "all": 4, "a part": 4, "clicked twice": 4, "two desks": 4}


def hire() -> None:
    """The people who may give money back."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Permission

    for name in PEOPLE:
        people: Any = get_user_model()._default_manager
        person = people.create_user(username=name, password=PASSWORD)
        person.user_permissions.set(Permission.objects.filter(codename__in=NEEDS))


def decimal(minor: int) -> str:
    """Cents as the API writes them."""
    return f"{minor // 100}.{minor % 100:02}"


@dataclass(frozen=True)
class Wish:
    """One refund that somebody wants; sent twice, it has the same key.

    Args:
        minor: cents; None for all that is left.
    """

    transaction_id: str
    person: str
    key: str
    minor: int | None
    since: float

    @property
    def body(self) -> str:
        money = {} if self.minor is None else {"amount": decimal(self.minor), "currency": "EUR"}
        return json.dumps({**money, "reason": "sent back"})

    @property
    def headers(self) -> dict[str, str]:
        proof = base64.b64encode(f"{self.person}:{PASSWORD}".encode()).decode()
        return {"Authorization": f"Basic {proof}", "Content-Type": "application/json", "Idempotency-Key": self.key}


def wishes(transaction_id: str, minor: int, chance: random.Random) -> list[Wish]:
    """What staff want of a payment, if anything; of two desks, each wants two thirds."""
    way = chance.choices(list(WAYS), list(WAYS.values()))[0]
    amounts = {
        "not": [],
        "all": [None],
        "a part": [chance.randint(1, minor - 1)],
        "clicked twice": [minor // 3] * 2,
        "two desks": [minor * 2 // 3] * 2,
    }[way]
    people = PEOPLE[:1] * 2 if way == "clicked twice" else PEOPLE
    now = time.monotonic()
    return [
        Wish(transaction_id, person, f"{person} {transaction_id}", amount, now)
        for person, amount in zip(people, amounts, strict=False)
    ]


class Desk:
    """Clerks who send every wish until it is answered; a context manager.

    Args:
        refunds: which refund each wish has become, by its key.
        odd: what no clerk may see.
    """

    def __init__(self, url: str, threads: int = 4) -> None:
        self.url = url
        self.refunds: dict[str, str] = {}
        self.odd: list[str] = []
        self.answers: Counter[str] = Counter()
        self.gave_up = 0
        self._wishes: queue.Queue[tuple[float, Wish]] = queue.Queue()
        self._closed = threading.Event()
        self._http = urllib3.PoolManager(maxsize=threads, retries=False, timeout=urllib3.Timeout(15))
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]

    def __enter__(self) -> "Desk":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join()

    @property
    def busy(self) -> bool:
        return self._wishes.unfinished_tasks > 0

    def put(self, *wanted: Wish) -> None:
        """Somebody takes care of it."""
        for wish in wanted:
            self._wishes.put((0, wish))

    def _work(self) -> None:
        while not self._closed.is_set():
            with suppress(queue.Empty):
                due, wish = self._wishes.get(timeout=0.2)
                self._closed.wait(max(due - time.monotonic(), 0))
                if not self._is_answered(wish):
                    self._put_back(wish)
                self._wishes.task_done()

    def _put_back(self, wish: Wish) -> None:
        if time.monotonic() > wish.since + PATIENCE:
            self.gave_up += 1
        else:
            self._wishes.put((time.monotonic() + 0.3, wish))

    def _is_answered(self, wish: Wish) -> bool:
        status, data = self._send(wish)
        self.answers[f"refund {status}"] += 1
        if status not in ANSWERS:
            self.odd.append(f"a refund of {wish.transaction_id} was answered {status}: {data}")
        if status == 201 and self.refunds.setdefault(wish.key, data["id"]) != data["id"]:
            self.odd.append(f"one wish, two refunds: {data['id']} and {self.refunds[wish.key]}")
        return status in {201, 422}

    def _send(self, wish: Wish) -> tuple[int, dict[str, Any]]:
        url = f"{self.url}/payments/transactions/{wish.transaction_id}/refunds/"
        try:
            answer = self._http.request("POST", url, body=wish.body, headers=wish.headers)
            data = json.loads(answer.data) if answer.status < 500 else {}
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            return 0, {}
        return answer.status, data
