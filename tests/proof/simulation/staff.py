"""Members of staff: they give money back, take what is reserved or let it go, and ask again when no answer came."""

import base64
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission

from .books import Session
from .dialects import decimal

if TYPE_CHECKING:
    from .simulation import Reply, Simulation

__all__ = ["REFUNDED", "Clerk", "hire"]

Steps = Iterator[float]
#: Of what was paid or reserved, how many of a hundred get to a clerk.
REFUNDED, CAPTURED = 27, 95
NEEDS = ("view_transaction", "refund_transaction", "capture_transaction", "cancel_transaction")
PASSWORD = "only in this world"
#: How a refund goes, and how many of a hundred.
REFUNDS = {"all": 25, "a part": 25, "two parts": 20, "two clerks": 20, "too much": 10}
CAPTURES = {"all": 35, "a part": 20, "two parts": 20, "two clerks": 10, "void": 10, "a part, then void": 5}
#: What a call of staff may be answered, whatever is wrong with the gateway.
ANSWERS = frozenset({200, 201, 409, 422, 503})
#: What is worth another try, and after how long: what is not paid here yet is looked at again in a while.
AGAIN = {"no answer": 1, "gateway_unavailable": 1, "movement_in_progress": 1, "invalid_transition": 10}
TRIES = 6


def hire() -> None:
    """Two people who may move money; they stay from seed to seed."""
    users: Any = get_user_model()._default_manager
    for name in ("ada", "bob"):
        if not users.filter(username=name).exists():
            person = users.create_user(username=name, password=PASSWORD)
            person.user_permissions.set(Permission.objects.filter(codename__in=NEEDS))


class Clerk:
    """A member of staff with one payment in hand."""

    def __init__(self, world: "Simulation", name: str, transaction_id: str, session: Session) -> None:
        self.world, self.chance = world, world.chance
        self.name, self.pk, self.session = name, transaction_id, session
        self.proof = {"Authorization": f"Basic {base64.b64encode(f'{name}:{PASSWORD}'.encode()).decode()}"}
        self.wishes = 0

    # --- What a clerk has in mind.

    def give_back(self) -> Steps:
        """Money goes back, in one of the ways that people have."""
        yield self.chance.choice((5, 60, 600))
        plan = self.chance.choices(list(REFUNDS), weights=list(REFUNDS.values()))[0]
        taken = max(self.session.captured, 2)
        if plan == "two parts":
            yield from self._refund(self._part(taken))
            yield self.chance.choice((0, 30, 900))
        if plan == "two clerks":
            self._call_another(lambda other: other._refund(taken * 2 // 3))
        minor = {"a part": self._part(taken), "two clerks": taken * 2 // 3, "too much": taken + 1}.get(plan)
        yield from self._refund(minor)

    def take(self) -> Steps:
        """What is reserved is taken, or let go."""
        yield self.chance.choice((5, 60, 600))
        plan = self.chance.choices(list(CAPTURES), weights=list(CAPTURES.values()))[0]
        reserved = max(self.session.authorized, 2)
        if plan in {"two parts", "a part, then void"}:
            yield from self._capture(self._part(reserved), final=False)
            yield self.chance.choice((0, 30, 900))
        if plan == "two clerks":
            self._call_another(lambda other: other._capture(reserved * 2 // 3, final=False))
        if "void" in plan:
            yield from self._ask("cancel", {"reason": "not in stock"})
        else:
            minor = {"a part": self._part(reserved), "two clerks": reserved * 2 // 3}.get(plan)
            yield from self._capture(minor, final=True)
        if self.session.captured and self.chance.random() * 100 < REFUNDED:
            yield from self.give_back()

    def _part(self, whole: int) -> int:
        return self.chance.randint(1, whole - 1)

    def _call_another(self, what: Any) -> None:
        """Somebody else has the same payment on the desk, at the same time."""
        other = Clerk(self.world, "bob" if self.name == "ada" else "ada", self.pk, self.session)
        self.world.later(self.chance.uniform(0, 0.2), lambda: self._go(what(other)), order=self.tag, early=True)

    def _go(self, steps: Steps) -> None:
        self.world.go_on(steps, self.tag)

    @property
    def tag(self) -> str:
        return self.session.order

    # --- Calls.

    def _refund(self, minor: int | None) -> Steps:
        yield from self._ask("refunds", {**self._money(minor), "reason": "sent back"})

    def _capture(self, minor: int | None, *, final: bool) -> Steps:
        yield from self._ask("capture", {**self._money(minor), "final": final})

    def _money(self, minor: int | None) -> dict[str, str]:
        return {} if minor is None else {"amount": decimal(minor), "currency": self.session.wanted.currency}

    def _ask(self, verb: str, wish: dict[str, Any]) -> Steps:
        """Under one key until there is an answer; a double click sends it twice."""
        self.wishes += 1
        key = f"{self.name} {verb} {self.wishes}"
        if self.chance.random() < 0.2:
            delay = self.chance.uniform(0, 0.3)
            self.world.later(delay, lambda: self._send(verb, wish, key), order=self.tag, early=True)
        for _ in range(TRIES):
            reply = self._send(verb, wish, key)
            code = reply.data.get("code") if reply else "no answer"
            if code not in AGAIN:
                return
            yield self.chance.uniform(2, 60) * AGAIN[code]

    def _send(self, verb: str, wish: dict[str, Any], key: str) -> "Reply | None":
        path, headers = f"/payments/transactions/{self.pk}/{verb}/", {**self.proof, "Idempotency-Key": key}
        reply = self.world.visit("POST", path, json.dumps(wish).encode(), headers, self.tag)
        if reply and reply.status not in ANSWERS:
            self.world.violate(f"{path} answered {reply.status}: {reply.data}")
        return reply
