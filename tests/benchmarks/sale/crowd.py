"""The shoppers of a sale, in a process of their own: `python -m tests.benchmarks.sale.crowd < work.json`.

An open loop: each comes at a moment of the plan, whether the shop keeps up or not, and counts the time from there.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Origin

from .wire import Caller

__all__ = ["DEEDS", "WAYS", "Crowd", "main"]

FINAL = frozenset({"success", "failed", "canceled", "expired", "held"})
#: Of a hundred shoppers: what they do at the gateway, and how they hear of it on our pages.
DEEDS = {"pay": 92, "decline": 5, "abandon": 3}
WAYS = {"socket": 40, "return": 20, "look": 40}
THINKS = (0.5, 2.0)
#: Seconds before each look at the status, as `gatewaypay.js` has them.
POLLS = (2, 5, 10, 15)
#: So long is a payment asked for, and its end awaited.
PATIENCE, INTEREST = 60.0, 120.0


@dataclass
class Seen:
    """What the shoppers have seen.

    Args:
        seconds: of every answer, by kind; "start" is from the moment that was planned to the way to the gateway.
        told: the state that each of them was told last, by transaction.
        heard: when, and at which node, a socket heard of the end.
        deaf: sockets that never did.
        in_time: payments that were started before the last shopper was to come.
    """

    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    told: dict[str, str] = field(default_factory=dict)
    heard: dict[str, tuple[float, int]] = field(default_factory=dict)
    deaf: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)
    in_time: int = 0


class Crowd:
    """Everybody who comes.

    Args:
        work: `urls` of the nodes, `orders`, `seconds` that they come in, `seed`, and whether somebody `abandons`.
    """

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.urls, self.orders, self.seed = work["urls"], work["orders"], work["seed"]
        self.seconds, self.opened = work["seconds"], time.monotonic()
        self.deeds = DEEDS if work["abandons"] else {name: DEEDS[name] for name in ("pay", "decline")}
        self.caller = Caller()
        self.seen = Seen()

    async def run(self) -> Seen:
        """Until the last one has gone."""
        pace = self.seconds / len(self.orders)
        async with asyncio.TaskGroup() as group:
            for number in range(len(self.orders)):
                due = self.opened + number * pace
                await asyncio.sleep(due - time.monotonic())
                # How late the crowd itself is.
                self.seen.seconds["crowd"].append(time.monotonic() - due)
                group.create_task(self._shop(number, due))
        self.caller.close()
        return self.seen

    async def _shop(self, number: int, due: float) -> None:
        try:
            await Shopper(self, number).visit(due)
        except Exception as error:  # noqa: BLE001 - whatever it was, the verdict shows it
            self.seen.odd.append(f"shopper {number}: {type(error).__name__}: {error}")


class Shopper:
    """One of them, at one node."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        chance = random.Random(f"{crowd.seed}/{number}")
        self.crowd, self.seen, self.number = crowd, crowd.seen, number
        self.node = number % len(crowd.urls)
        self.url = crowd.urls[self.node]
        self.deed = chance.choices(list(crowd.deeds), list(crowd.deeds.values()))[0]
        self.way = chance.choices(list(WAYS), list(WAYS.values()))[0]
        self.thinks = chance.uniform(*THINKS)
        self.payment: dict[str, Any] = {}

    async def visit(self, due: float) -> None:
        """Start, pay at the gateway, hear what became of it."""
        if not await self._start(due):
            return
        if self.way == "socket" and self.deed != "abandon":
            await self._pay_while_listening()
            return
        await self._pay()
        if self.deed == "abandon":
            return
        if self.way == "return":
            await self._ask("return", "GET", f"/payments/return/{self.payment['id']}/")
        await self._look_until_the_end()

    async def _start(self, due: float) -> bool:
        """Whether there is a payment, however often it has to be asked for."""
        body = json.dumps({"order_id": str(self.crowd.orders[self.number]), "gateway": "hosted"}).encode()
        key = {"Content-Type": "application/json", "Idempotency-Key": f"sale-{self.crowd.seed}-{self.number}"}
        while time.monotonic() < due + PATIENCE:
            status, data = await self._ask("initiate", "POST", "/payments/initiate/", body, key)
            if status == 201 and data.get("payment_url"):
                self.payment = data
                now = time.monotonic()
                self.seen.seconds["start"].append(now - due)
                self.seen.in_time += now <= self.crowd.opened + self.crowd.seconds
                return True
            if 400 <= status < 500:
                self.seen.odd.append(f"initiate answered {status}: {data}")
                return False
            await asyncio.sleep(1)
        return False

    async def _pay(self) -> None:
        await asyncio.sleep(self.thinks)
        if self.deed != "abandon":
            body = json.dumps({"action": self.deed}).encode()
            await self.crowd.caller.ask("POST", self.payment["payment_url"], body=body)

    async def _pay_while_listening(self) -> None:
        """The page stays open in another window, so that its socket is there before the gateway tells."""
        url = f"{self.url.replace('http', 'ws', 1)}/ws/payments/{self.payment['id']}/"
        protocols: Any = ["gatewaypay.v1", self.payment["token"]]
        heard = False
        with suppress(WebSocketException, OSError):
            async with (
                asyncio.timeout(INTEREST),
                connect(
                    url, subprotocols=protocols, origin=Origin(self.url), compression=None, proxy=None, open_timeout=60
                ) as socket,
            ):
                await self._pay()
                while not heard:
                    heard = self._remember(json.loads(await socket.recv()))
        if heard:
            self.seen.heard[self.payment["id"]] = time.monotonic(), self.node
        else:
            self.seen.deaf.append(self.payment["id"])
        await self._read()

    async def _look_until_the_end(self) -> None:
        gone = time.monotonic() + INTEREST
        for pause in chain(POLLS, repeat(POLLS[-1])):
            await asyncio.sleep(pause)
            if await self._read() or time.monotonic() > gone:
                return

    async def _read(self) -> bool:
        status, data = await self._ask("status", "GET", f"/payments/status/{self.payment['id']}/")
        return status == 200 and self._remember(data)

    def _remember(self, data: Mapping[str, Any]) -> bool:
        """Keep what the shopper reads; whether it is an end."""
        before, now = self.seen.told.get(self.payment["id"]), data.get("state", "")
        if before == "success" != now:
            self.seen.odd.append(f"{self.payment['id']} was told as success, then as {now}")
        self.seen.told[self.payment["id"]] = now
        return now in FINAL

    async def _ask(
        self, name: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One request, and how long it took; status 0 when there was no answer."""
        began = time.monotonic()
        proof = {"Authorization": f"Bearer {self.payment['token']}"} if self.payment else {}
        try:
            status, content = await self.crowd.caller.ask(
                method, self.url + path, body=body, headers={**proof, **(headers or {})}
            )
        except (OSError, EOFError) as error:
            self.seen.answers[f"{name} {type(error).__name__}"] += 1
            return 0, {}
        self.seen.answers[f"{name} {status}"] += 1
        self.seen.seconds[name].append(time.monotonic() - began)
        with suppress(ValueError):
            data = json.loads(content)
            return status, data if isinstance(data, dict) else {}
        return status, {}


def main() -> None:
    """Print what was seen, and the CPU time that the seeing took."""
    seen = asyncio.run(Crowd(json.loads(sys.stdin.readline())).run())
    print(json.dumps({**vars(seen), "cpu": time.process_time()}), flush=True)


if __name__ == "__main__":
    main()
