"""What goes wrong, and how often: drawn once from the seed, so that no two seeds have the same weather."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["CALL_FAULTS", "Outage", "Weather"]

#: A call to the gateway: how often each happens in ordinary weather.
CALL_FAULTS: Mapping[str, float] = {
    "call refused": 0.03,
    "call timeout before effect": 0.03,
    "call timeout after effect": 0.05,
    "call cut after effect": 0.03,
    "call 5xx before effect": 0.03,
    "call 5xx after effect": 0.04,
    "call 429 with Retry-After": 0.03,
    "call answered unreadably": 0.02,
    "call slow": 0.03,
}
OTHER_FAULTS: Mapping[str, float] = {
    "callback dropped": 0.12,
    "callback delayed": 0.12,
    "callback duplicated": 0.15,
    "callback reordered": 0.10,
    "callback forged": 0.04,
    "callback's answer lost": 0.08,
    "no callback at all": 0.05,
    "shopper's answer lost": 0.05,
    "task lost": 0.06,
    "task run twice": 0.06,
    "broker away": 0.05,
    "beat missed": 0.05,
    "nudge lost": 0.10,
    "hook fails": 0.06,
    "hook fails after writing": 0.05,
    "hook outlives its lease": 0.02,
    "process paused": 0.006,
}
ORDINARY = {**CALL_FAULTS, **OTHER_FAULTS}


@dataclass(frozen=True)
class Outage:
    """A gateway is away from one moment to another, in its own manner."""

    alias: str
    begin: float
    end: float
    manner: str


class Weather:
    """The faults of one world.

    Args:
        chance: the world's source of chance.
        lasts: after so many seconds nothing goes wrong any more.
    """

    def __init__(self, chance: random.Random, aliases: Sequence[str], lasts: float) -> None:
        self.chance = chance
        self.lasts = lasts
        self.over = False
        self.counts: Counter[str] = Counter()
        harshness = chance.choice((0.5, 1.0, 1.0, 1.8))
        self.rates = {kind: rate * harshness * chance.choice((0, 1, 1, 2)) for kind, rate in ORDINARY.items()}
        # Calls that move money take longer, and are what a retry must not repeat.
        self.moving = chance.choice((1, 1, 4))
        self.crashes = chance.choice((0.1, 0.4, 1.0))
        self.skew = chance.choice((0, 0, -4, 4, -240, 240, -290, 290, -620, 620))
        self.outages = [self._outage(alias) for alias in aliases for _ in range(chance.choice((0, 0, 1, 2)))]

    def _outage(self, alias: str) -> Outage:
        begin = self.chance.uniform(0, self.lasts * 0.8)
        end = min(begin + self.chance.choice((60, 300, 1200)), self.lasts)
        return Outage(alias, begin, end, self.chance.choice(("refused", "timeout", "5xx")))

    def strikes(self, kind: str) -> bool:
        """Whether this goes wrong here and now; it is counted."""
        if self.over or self.chance.random() >= self.rates[kind]:
            return False
        self.counts[kind] += 1
        return True

    def call_fault(self, alias: str, now: float, *, moving: bool = False) -> str:
        """What becomes of a call to a gateway; "" when nothing is wrong with it.

        Args:
            moving: it captures or refunds.
        """
        if self.over:
            return ""
        away = next((one for one in self.outages if one.alias == alias and one.begin <= now < one.end), None)
        if away:
            self.counts["call during an outage"] += 1
            return {"refused": "call refused", "timeout": "call timeout before effect"}.get(
                away.manner, "call 5xx before effect"
            )
        return self._drawn(self.moving if moving else 1)

    def _drawn(self, times: float) -> str:
        left = self.chance.random() / times
        for kind in CALL_FAULTS:
            left -= self.rates[kind]
            if left < 0:
                self.counts[kind] += 1
                return kind
        return ""

    def clock_skew(self) -> float:
        """How many seconds the gateways' clocks are ahead of ours."""
        return 0.0 if self.over else float(self.skew)
