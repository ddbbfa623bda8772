"""Who pays, and how: one generator a shopper, which yields the seconds until its next step."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.shop.models import Order

from .books import Session

if TYPE_CHECKING:
    from .simulation import Reply, Simulation

__all__ = ["PLANS", "Shopper"]

Steps = Iterator[float]
#: What shoppers do, and how many of a hundred.
PLANS = {
    "pays": 45,
    "pays_after_declines": 8,
    "pays_late": 7,
    "pays_wrong": 6,
    "pays_by_transfer": 7,
    "pays_in_two_tabs": 7,
    "pays_another_price": 4,
    "is_declined": 4,
    "cancels": 6,
    "abandons": 6,
}
ALIASES = ("card", "stripe", "mollie")
TRIES = 6


class Shopper:
    """One person with one order and one intention."""

    def __init__(self, world: "Simulation", number: int, plan: str) -> None:
        self.world = world
        self.chance = world.chance
        self.name = f"shopper {number}"
        self.plan = plan
        self.alias = self.chance.choice(ALIASES)
        self.order = Order.objects.create(price_minor=self.chance.randint(100, 99999))
        self.keys = 0
        self.started: dict[str, Any] = {}

    def live(self) -> Steps:
        """From the click on "pay" to the last look at the page."""
        yield from self.start(self.alias)
        if self.started:
            yield self.chance.uniform(3, 60)
            yield from getattr(self, f"_{self.plan}")()
        if self.started and self.session:
            self.world.hand_over(self.started["id"], self.session)

    # --- Steps.

    def start(self, alias: str) -> Steps:
        """Start a payment, and go on trying under the same key until there is a definite answer."""
        self.keys += 1
        key = f"{self.name} {self.keys}" if self.chance.random() < 0.9 else ""
        if self.chance.random() < 0.15:  # a double click
            self.world.later(
                self.chance.uniform(0, 0.3), lambda: self._initiate(alias, key), order=self.tag, early=True
            )
        self.started = {}
        for _ in range(TRIES):
            reply = self._initiate(alias, key)
            if reply and reply.status == 201:
                self.started = reply.data
                return
            if reply and reply.status == 422:
                return
            told = float(reply.retry_after) if reply and reply.retry_after else 0
            yield min(told, 60) + self.chance.uniform(1, 20)

    def _initiate(self, alias: str, key: str) -> "Reply | None":
        body = json.dumps({"order_id": self.tag, "gateway": alias}).encode()
        headers = {"Idempotency-Key": key} if key else {}
        return self.world.visit("POST", "/payments/initiate/", body, headers, self.tag)

    @property
    def tag(self) -> str:
        return str(self.order.pk)

    @property
    def session(self) -> Session | None:
        """What the payment page at the gateway is about; None when there is no way to it."""
        reference = str(self.started.get("payment_url") or "").rpartition("/")[2].replace("tr_", "mollie_")
        return self.world.session(reference) if reference else None

    def come_back(self) -> Steps:
        """To our page, and wait there for an answer; or not."""
        for _ in range(self.chance.choice((0, 0, 1, 1, 2))):
            yield self.chance.uniform(0.2, 8)
            self._get(f"/payments/return/{self.started['id']}/")
        for _ in range(self.chance.choice((0, 0, 0, 1, 2))):
            yield self.chance.uniform(1, 6)
            self._get(f"/payments/status/{self.started['id']}/")

    def _get(self, path: str) -> "Reply | None":
        return self.world.visit("GET", path, b"", self._proof(), self.tag)

    def _proof(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.started['token']}"}

    def pay(self, minor: int = 0, currency: str = "") -> bool:
        """Pay on the gateway's page what it asks for, or something else."""
        session = self.session
        if session is None:
            return False
        books = self.world.gateways[session.alias].books
        return books.pay(session.reference, minor or session.wanted.minor, currency or session.wanted.currency)

    # --- Intentions.

    def _pays(self) -> Steps:
        self.pay()
        yield from self.come_back()

    def _pays_after_declines(self) -> Steps:
        for _ in range(self.chance.choice((1, 2))):
            if self.session:
                self.world.gateways[self.alias].books.decline(self.session.reference, finally_=False)
            yield self.chance.uniform(2, 60)
        yield from self._pays()

    def _pays_late(self) -> Steps:
        yield self.chance.choice((1790, 1800, 1810, 1850, 2400, 3500, 9000))
        yield from self._pays()

    def _pays_wrong(self) -> Steps:
        session = self.session
        if session is None:
            return
        asked = session.wanted.minor
        if self.chance.random() < 0.3:
            self.pay(currency="USD")
        else:
            self.pay(minor=self.chance.choice((1, asked - 1, asked + 1, asked * 100)))
        yield from self.come_back()

    def _pays_by_transfer(self) -> Steps:
        session = self.session
        if session is None:
            return
        books = self.world.gateways[session.alias].books
        if books.begin_transfer(session.reference):
            yield from self.come_back()
            yield self.chance.choice((20, 600, 2500, 9000))
            books.end_transfer(session.reference, paid=self.chance.random() < 0.8)

    def _pays_in_two_tabs(self) -> Steps:
        first, other = self.started, self.chance.choice([alias for alias in ALIASES if alias != self.alias])
        yield from self.start(other)
        second, tabs = self.started, [first]
        if second:
            tabs.append(second)
        for tab in self.chance.sample(tabs, len(tabs)):
            self.started = tab
            if self.chance.random() < 0.8:
                self.pay()
            yield self.chance.choice((0.01, 2, 60))
        yield from self.come_back()

    def _pays_another_price(self) -> Steps:
        first = self.started
        Order.objects.filter(pk=self.order.pk).update(price_minor=self.order.price_minor + 100)
        yield from self.start(self.alias)
        if self.chance.random() < 0.4 or not self.started:
            self.started = first
        yield self.chance.uniform(0, 30)
        yield from self._pays()

    def _is_declined(self) -> Steps:
        if self.session:
            self.world.gateways[self.alias].books.decline(self.session.reference, finally_=True)
        yield from self.come_back()
        if self.chance.random() < 0.5:
            yield from self.start(self.alias)
            if self.started:
                yield self.chance.uniform(3, 60)
                yield from self._pays()

    def _cancels(self) -> Steps:
        stale = self.chance.random() < 0.3
        if stale and self.chance.random() < 0.5:  # the other tab is at the gateway
            self.world.later(self.chance.uniform(0, 2), self.pay, order=self.tag, early=True)
        for _ in range(3):
            reply = self.world.visit("POST", f"/payments/cancel/{self.started['id']}/", b"{}", self._proof(), self.tag)
            if reply and reply.status in {200, 409}:
                break
            yield self.chance.uniform(2, 20)
        if stale:
            yield self.chance.uniform(0, 90)
            yield from self._pays()

    def _abandons(self) -> Steps:
        yield self.chance.uniform(60, 4000)
        self._get(f"/payments/status/{self.started['id']}/")
