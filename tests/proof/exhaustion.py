"""Exhaustion before chance: every sequence of up to six updates, and where it ends.

`decide` is pure, so two sequences that lead to the same facts go on alike: they are walked as one and counted as
many. A world walks one transaction, or several of one order; what one update may do is checked at every step, and
where a sequence ends is compared with what its set of updates says, in `exhaustion_rules`.

What depends on the set alone: the state (the three unpaid ends are one: the first stays, ADR 0003), and with it the
public status; the money totals; the session; the attention codes but those of time. What depends on the order, by
meaning: `late` (money after the end), `duplicate_payment` (of two payments of an order the one that came second, also
when the first waits for staff; and late money that a newer attempt has replaced), the reason (of the update that moved
it), the payment's own reference at the gateway (the first said wins), whether our own expiry or cancel came before the
bank's word (they never touch what is with the bank), and the `mismatch` of a payment that was under review before it
was paid in full.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from django_gatewaypay.lifecycle import Decision, Facts, Verdict, decide
from django_gatewaypay.types import State

from .exhaustion_rules import (
    AMOUNT,
    CURRENCY,
    LETTERS,
    OURS,
    VERDICTS,
    Step,
    end_trouble,
    order_trouble,
    step_trouble,
)
from .frame import Chunk, Figure, Part, Progress

__all__ = ["WORLDS", "Exhaustion", "Found", "One", "World", "walk"]

Decide = Callable[..., Decision]
LENGTH, QUICK = 6, 3

BANK = ("processing", "authorized", "expired", "failed")
OF_AN_ORDER = ("expired", "paid", "paid short", "our expiry")
#: What may be said of a payment that a person takes in part. In full it is paid before that, or held after it.
IN_PART = (
    "processing",
    "authorized",
    "taken short",
    "agreed short",
    "expired",
    "canceled",
    "failed short",
    "held",
    "paid short",
    "paid foreign",
    "paid unsaid",
    "pending foreign",
    "disputed",
    "other paid",
    "other expired",
)
OF_THE_WHOLE = frozenset(IN_PART) & {"taken short", "agreed short"}
#: Letters of each transaction, the oldest first; whether its session is open yet.
WORLDS: Mapping[str, tuple[Sequence[Sequence[str]], bool]] = {
    "open": ([[letter for letter in LETTERS if letter not in OF_THE_WHOLE | {"opened"}]], True),
    # A callback waits until the session has landed (ADR 0004): no other session can be named before.
    "created": (
        [[letter for letter in LETTERS if letter not in OF_THE_WHOLE and not letter.startswith("other")]],
        False,
    ),
    "two attempts": ([[*OF_AN_ORDER, "canceled", "processing", "refunded"]] * 2, True),
    "three attempts": ([OF_AN_ORDER] * 3, True),
    "in part": ([IN_PART], True),
    "two in part": ([["taken short", "agreed short", "canceled", "paid short", "our expiry"], IN_PART[2:6]], True),
}


@dataclass(frozen=True)
class One:
    """One transaction on the way.

    Args:
        held: it has been under review.
        closed_by_us: our own word has ended it.
        released: how often the host was owed a release.
        entitled: it became a success that may have the order's fulfilment.
        returned: its money goes back by itself.
    """

    facts: Facts
    held: bool = False
    closed_by_us: bool = False
    released: int = 0
    entitled: bool = False
    returned: bool = False

    @property
    def pays(self) -> bool:
        return self.facts.state is State.SUCCESS and not self.returned


@dataclass(frozen=True)
class World:
    """Transactions of one order, and what may be said of them.

    Args:
        late_payment: the host's policy.
        decide: what is judged; a test may plant another.
    """

    letters: Sequence[Sequence[str]]
    is_open: bool
    late_payment: str
    decide: Decide = decide

    @property
    def alphabet(self) -> list[tuple[int, str]]:
        return [(number, letter) for number, letters in enumerate(self.letters) for letter in letters]

    def start(self) -> tuple[One, ...]:
        """Every transaction before anything is said."""
        state, reference = (State.PENDING, OURS) if self.is_open else (State.CREATED, "")
        facts = Facts(state=state, amount=AMOUNT, currency=CURRENCY, gateway_reference=reference)
        return tuple(One(facts) for _ in self.letters)

    def step(self, ones: tuple[One, ...], owner: int | None, number: int, letter: str) -> "Stepped":
        """What one update makes of the order, as the door would write it."""
        one, (update, local) = ones[number], LETTERS[letter]
        known, verdict = one.facts, VERDICTS.get(letter, Verdict())
        if verdict != Verdict() or update.captured or (update.state and update.state.rank >= State.EXPIRED.rank):
            # As the door reads them, and only then.
            newer = number < len(ones) - 1
            others = any(each.pays for each in (*ones[:number], *ones[number + 1 :]))
            paid = owner is not None and owner != number
            known = replace(known, order_paid=paid, paid_too=others, replaced=newer)
        policy = {"local": local, "late_payment": self.late_payment, "verdict": verdict}
        decision = self.decide(known, update, **policy)
        again = self.decide(decision.facts, update, **policy)
        trouble = step_trouble(Step(known, update, local, decision, again))
        after = replace(decision.facts, order_paid=False, paid_too=False, replaced=False)
        moved, fulfils = after.state is not one.facts.state, decision.owed == "fulfil"
        if fulfils and owner is not None:
            trouble = trouble or "the order is owed its fulfilment twice"
        came = One(
            after,
            held=one.held or after.state is State.HELD,
            closed_by_us=one.closed_by_us or (local and moved),
            released=one.released + (decision.owed == "release"),
            entitled=one.entitled or (moved and self._entitles(after, newer=number < len(ones) - 1)),
            returned=one.returned or decision.give_back,
        )
        return Stepped((*ones[:number], came, *ones[number + 1 :]), number if fulfils else owner, trouble)

    def _entitles(self, after: Facts, *, newer: bool) -> bool:
        in_time = not after.late or (self.late_payment == "fulfil" and not newer)
        return after.state is State.SUCCESS and in_time


@dataclass(frozen=True)
class Stepped:
    """Where a step led; `owner` is the transaction that earned the order's fulfilment."""

    ones: tuple[One, ...]
    owner: int | None
    trouble: str


@dataclass
class Found:
    """What a walk saw."""

    sequences: int
    sets: int
    ends: int
    steps: int
    troubles: dict[str, list[str]]


class Walk:
    """Goes through all sequences at once, one letter longer at a time.

    Args:
        world: what is walked.
        places: every order seen, by number; a place with the set of letters said so far is a key.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.alphabet = world.alphabet
        self.places: list[tuple[tuple[One, ...], int | None]] = [(world.start(), None)]
        self.numbers = {self.places[0]: 0}
        self.ways: dict[int, list[int]] = {}
        self.came: dict[tuple[int, int], tuple[tuple[int, int], int]] = {}
        self.troubles: dict[str, list[str]] = {}

    def go(self, length: int, progress: Progress) -> Found:
        """Every sequence up to `length`; each is counted, and each end is judged once."""
        now = {(0, 0): 1}
        total = 0
        for done in range(1, length + 1):
            now = self._lengthen(now)
            walked = sum(now.values())
            assert walked == len(self.alphabet) ** done
            total += walked
            progress(done / length)
        sets = {said for said, _ in self.came}
        return Found(total, len(sets), len(self.came), len(self.ways) * len(self.alphabet), self.troubles)

    def _lengthen(self, now: Mapping[tuple[int, int], int]) -> dict[tuple[int, int], int]:
        longer: dict[tuple[int, int], int] = {}
        for key, count in now.items():
            said, place = key
            for bit, to in enumerate(self.ways.get(place) or self._find_ways(place, key)):
                reached = (said | 1 << bit, to)
                longer[reached] = longer.get(reached, 0) + count
                if reached not in self.came:
                    self.came[reached] = (key, bit)
                    self._judge(reached)
        return longer

    def _find_ways(self, place: int, key: tuple[int, int]) -> list[int]:
        ones, owner = self.places[place]
        ways = []
        for bit, (number, letter) in enumerate(self.alphabet):
            stepped = self.world.step(ones, owner, number, letter)
            if stepped.trouble:
                self._note(stepped.trouble, [*self.path(key), self.alphabet[bit]])
            to = (stepped.ones, stepped.owner)
            if to not in self.numbers:
                self.numbers[to] = len(self.places)
                self.places.append(to)
            ways.append(self.numbers[to])
        self.ways[place] = ways
        return ways

    def _judge(self, key: tuple[int, int]) -> None:
        said, place = key
        ones, owner = self.places[place]
        heard: list[set[str]] = [set() for _ in ones]
        for bit, (number, letter) in enumerate(self.alphabet):
            if said >> bit & 1:
                heard[number].add(letter)
        for one, letters in zip(ones, heard, strict=True):
            if trouble := end_trouble(one, frozenset(letters), is_open=self.world.is_open):
                self._note(trouble, self.path(key))
        if trouble := order_trouble(ones, owner):
            self._note(trouble, self.path(key))

    def path(self, key: tuple[int, int]) -> list[tuple[int, str]]:
        """One of the shortest sequences that led there."""
        path = []
        while key in self.came:
            key, bit = self.came[key]
            path.append(self.alphabet[bit])
        return path[::-1]

    def _note(self, trouble: str, path: Sequence[tuple[int, str]]) -> None:
        alone = len(self.world.letters) == 1
        self.troubles.setdefault(trouble, [letter if alone else f"{number}: {letter}" for number, letter in path])


def walk(world: World, length: int, progress: Progress = lambda _: None) -> Found:
    """Every sequence of up to `length` updates in one world."""
    return Walk(world).go(length, progress)


class Exhaustion(Part):
    """All there is, up to a length."""

    name: ClassVar[str] = "exhaustion"
    title: ClassVar[str] = "Where a payment ends depends on what was said of it, never on the order of saying it"

    def chunks(self, *, quick: bool) -> Sequence[Chunk]:
        """Each world under each policy."""
        return [
            {"world": world, "late_payment": policy, "length": QUICK if quick else LENGTH}
            for world in WORLDS
            for policy in ("review", "fulfil", "refund")
        ]

    def run(self, chunk: Chunk, progress: Progress) -> dict[str, Any]:
        """Walk one world."""
        letters, is_open = WORLDS[chunk["world"]]
        world = World(letters, is_open, chunk["late_payment"])
        found = walk(world, chunk["length"], progress)
        violations = list(_violations(chunk, found))
        return {"letters": len(world.alphabet), **vars(found), "violations": violations}

    def figures(self, results: Sequence[Mapping[str, Any]], *, quick: bool) -> list[Figure]:
        """How many there are."""
        length = QUICK if quick else LENGTH
        letters = ", ".join(str(count) for count in sorted({result["letters"] for result in results}))
        return [
            Figure(f"sequences of up to {length} updates", sum(result["sequences"] for result in results)),
            Figure("sets of updates, each with one end", sum(result["sets"] for result in results)),
            Figure("ends compared with what was said", sum(result["ends"] for result in results)),
            Figure("different steps", sum(result["steps"] for result in results), note=f"alphabets of {letters}"),
        ]


def _violations(chunk: Chunk, found: Found) -> Iterator[dict[str, str]]:
    for trouble, path in found.troubles.items():
        where = f"{chunk['world']}, late_payment={chunk['late_payment']}"
        yield {"what": f"{where}: {trouble} after {path}", "replay": "python -m tests.proof --quick exhaustion"}
