"""Shoppers: each starts one payment, as a browser would with a patient person before it, and does what chance says."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import urllib3
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from ...plant.courier import Courier
from .desk import Desk, wishes
from .gateway import ChaosGateway

__all__ = ["Crowd", "Plan"]

FINAL = frozenset({"success", "failed", "canceled", "expired", "held"})
#: How the gateway tells: at once, after its own "processing", late, or never.
TELLINGS = {"prompt": 50, "first_processing": 12, "late": 20, "never": 18}
DEEDS = {"pay": 80, "decline": 6, "abandon": 8, "cancel": 6}


@dataclass(frozen=True)
class Plan:
    """What one shopper is going to do; the seed and the number decide."""

    deed: str
    telling: str
    late_by: float
    copies: int
    thinks: float
    starts_twice: bool
    comes_back: bool
    has_socket: bool

    @classmethod
    def draw(cls, seed: int, number: int) -> "Plan":
        chance = random.Random(f"{seed}/{number}")

        def one_of(weights: dict[str, int]) -> str:
            return chance.choices(list(weights), list(weights.values()))[0]

        return cls(
            deed=one_of(DEEDS),
            telling=one_of(TELLINGS),
            late_by=chance.uniform(2, 20),
            copies=chance.choice([0, 0, 0, 0, 1, 3]),
            thinks=chance.uniform(0, 1),
            starts_twice=chance.random() < 0.15,
            comes_back=chance.random() < 0.5,
            has_socket=chance.random() < 0.06,
        )


class Crowd:
    """So many shoppers at a time until every order has had one; a context manager.

    Args:
        patience: so many seconds each tries to start a payment.
        told: what each shopper was told last, by transaction.
        odd: what no shopper may see.
    """

    def __init__(
        self,
        url: str,
        orders: Sequence[int],
        gateway: ChaosGateway,
        courier: Courier,
        desk: Desk,
        *,
        seed: int,
        threads: int,
        patience: float,
    ) -> None:
        self.url, self.orders, self.gateway, self.courier, self.seed = url, orders, gateway, courier, seed
        self.desk, self.patience = desk, patience
        self.started = 0
        self.gave_up = 0
        self.finished = 0
        self.told: dict[str, str] = {}
        self.odd: list[str] = []
        self.answers: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._http = urllib3.PoolManager(maxsize=threads, retries=False, timeout=urllib3.Timeout(15))
        self._threads = [threading.Thread(target=self._shop, daemon=True) for _ in range(threads)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join()

    @property
    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _shop(self) -> None:
        while not self._closed.is_set():
            with self._lock:
                number, self.started = self.started, self.started + 1
            if number >= len(self.orders):
                return
            try:
                self._visit(number, Plan.draw(self.seed, number))
            except Exception as error:  # noqa: BLE001 - whatever it was, the verdict shows it
                self.odd.append(f"shopper {number}: {type(error).__name__}: {error}")
            self.finished += 1

    def _visit(self, number: int, plan: Plan) -> None:
        body = json.dumps({"order_id": str(self.orders[number]), "gateway": "hosted"})
        key = f"chaos-{self.seed}-{number}"
        payment = self._start(body, key)
        if payment is None:
            self.gave_up += 1
            return
        if plan.starts_twice:
            again = self._start(body, key)
            if again and again["id"] != payment["id"]:
                self.odd.append(f"shopper {number}: one key, two payments: {payment['id']} {again['id']}")
        self._closed.wait(plan.thinks)
        self._act(payment, plan, random.Random(f"{self.seed}/{number}/back"))

    def _start(self, body: str, key: str) -> dict[str, Any] | None:
        """The payment, however often it has to be asked for."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        end = time.monotonic() + self.patience
        while time.monotonic() < end and not self._closed.is_set():
            status, data = self._ask("POST", "initiate", f"{self.url}/payments/initiate/", body=body, headers=headers)
            if status == 201 and data.get("payment_url"):
                return data
            if status in {400, 401, 403, 404, 422}:
                self.odd.append(f"initiate answered {status}: {data}")
                return None
            if status == 201 and data.get("state") in FINAL:
                return None
            self._closed.wait(random.uniform(0.5, 2))
        return None

    def _ask(self, method: str, name: str, url: str, **details: Any) -> tuple[int, dict[str, Any]]:
        """One request; status 0 when there was no answer."""
        try:
            answer = self._http.request(method, url, **details)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self.answers[f"{name} {type(error).__name__}"] += 1
            return 0, {}
        self.answers[f"{name} {answer.status}"] += 1
        with suppress(ValueError):
            data = json.loads(answer.data)
            return answer.status, data if isinstance(data, dict) else {}
        return answer.status, {}

    def _act(self, payment: dict[str, Any], plan: Plan, chance: random.Random) -> None:
        reference = urlsplit(payment["payment_url"]).path.rpartition("/")[2]
        if plan.deed == "abandon":
            return
        if plan.deed == "cancel":
            self._cancel(payment)
            return
        if plan.telling == "first_processing" and self.gateway.decide(reference, "processing"):
            self.courier.post(self.gateway.word(reference))
            self._closed.wait(plan.thinks)
        if not self.gateway.decide(reference, "success" if plan.deed == "pay" else "failed"):
            return
        if plan.telling != "never":
            after = plan.late_by if plan.telling == "late" else 0
            self.courier.post(self.gateway.word(reference), after=after, copies=plan.copies)
        if plan.deed == "pay":
            self.desk.put(*wishes(payment["id"], int(payment["amount"].replace(".", "")), chance))
        if plan.comes_back:
            self._come_back(payment, plan)

    def _cancel(self, payment: dict[str, Any]) -> None:
        url = f"{self.url}/payments/cancel/{payment['id']}/"
        for _ in range(3):
            status, data = self._ask("POST", "cancel", url, headers=self._proof(payment))
            if 0 < status < 500:
                self._remember(payment, data)
                return
            self._closed.wait(1)

    def _come_back(self, payment: dict[str, Any], plan: Plan) -> None:
        """The return page, then the live socket or the status, for as long as somebody looks at a page."""
        self._ask("GET", "return", f"{self.url}/payments/return/{payment['id']}/", headers=self._proof(payment))
        if plan.has_socket:
            self._listen(payment)
        for _ in range(6):
            url = f"{self.url}/payments/status/{payment['id']}/"
            status, data = self._ask("GET", "status", url, headers=self._proof(payment))
            if status == 200 and self._remember(payment, data):
                return
            self._closed.wait(1.5)

    def _listen(self, payment: dict[str, Any]) -> None:
        url = f"{self.url.replace('http', 'ws', 1)}/ws/payments/{payment['id']}/"
        protocols: Sequence[Any] = ["gatewaypay.v1", payment["token"]]
        try:
            with connect(url, subprotocols=protocols, origin=self.url, proxy=None, open_timeout=10) as socket:  # type: ignore[arg-type]
                while not self._remember(payment, json.loads(socket.recv(timeout=10))):
                    pass
            self.answers["socket final"] += 1
        except (WebSocketException, OSError) as error:
            self.answers[f"socket {type(error).__name__}"] += 1

    def _remember(self, payment: dict[str, Any], data: dict[str, Any]) -> bool:
        """Keep what the shopper reads; whether it is an end."""
        before, now = self.told.get(payment["id"]), data.get("state", "")
        if before == "success" and now != "success":
            self.odd.append(f"{payment['id']} was told as success, then as {now}")
        self.told[payment["id"]] = now
        return now in FINAL

    @staticmethod
    def _proof(payment: dict[str, Any]) -> dict[str, str]:
        return {"Authorization": f"Bearer {payment['token']}"}
