"""Real HTTP against real servers: many copies of one event, and forgeries by the thousand beside good callbacks."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db.models import Sum

from django_gatewaypay.models import Callback, Fulfilment, Transaction, TransactionEvent
from django_gatewaypay.testing.gateway_server import sign

from ..factories import make_transaction
from ..invariants import Violation, check_books
from ..shop.models import Order
from .frame import Progress
from .storms_client import Answered, Client, encode
from .storms_site import Address

__all__ = ["Event", "copies", "flood", "make_events", "wrong_effects"]

PATH = "/payments/callbacks/hosted/"
STRANGER = "whsec_" + "QUJD" * 8
GOOD_RATE, FORGED_RATE, FORGERS = 10, 1000, 32


@dataclass(frozen=True)
class Event:
    """A payment that was made at the gateway, and what the gateway says about it."""

    number: int
    reference: str
    transaction_id: str

    def request(self, secret: str = settings.HOSTED_SECRET) -> bytes:
        """The callback, signed now."""
        body = (
            f'{{"event_id": "evt_{self.number}", "transaction_id": "{self.transaction_id}", "status": "success", '
            f'"reference": "{self.reference}", "amount": "19.99", "currency": "EUR"}}'
        ).encode()
        return encode(PATH, sign(secret, f"evt_{self.number}", body).items(), body)


def make_events(count: int, first: int = 0) -> list[Event]:
    """Payments whose shoppers have just paid."""
    rows = [make_transaction(gateway_reference=f"ps_storm_{number}") for number in range(first, first + count)]
    return [Event(first + number, row.gateway_reference, str(row.pk)) for number, row in enumerate(rows)]


def copies(
    addresses: Sequence[Address], events: int, of_each: int, connections: int, progress: Progress
) -> dict[str, Any]:
    """Each event so many times at once; what was answered and what was written."""
    made = make_events(events)
    began = time.monotonic()
    answers = asyncio.run(_copies(addresses, made, of_each, connections, progress))
    seconds = time.monotonic() - began
    statuses = Counter(answer.status for answer in answers)
    wrong = [f"{count} answers were {status}" for status, count in statuses.items() if status != 200]
    return {
        "events": events,
        "sent": len(answers),
        "connections": connections,
        "effects": Fulfilment.objects.filter(kind="fulfil", state="done").count(),
        "inbox": Callback.objects.count(),
        "a second": round(len(answers) / seconds),
        "p99 ms": round(_p99(answers) * 1000),
        "wrong": wrong + wrong_effects(events),
    }


async def _copies(
    addresses: Sequence[Address], made: Sequence[Event], of_each: int, connections: int, progress: Progress
) -> list[Answered]:
    answers: list[Answered] = []
    async with Client(addresses, connections) as client:
        for done, event in enumerate(made, 1):
            answers += await client.copies(event.request(), of_each)
            progress(done / len(made))
    return answers


def wrong_effects(events: int) -> list[str]:
    """What is not exactly once for every event."""
    paid = TransactionEvent.objects.filter(kind="moved", to_state="success")
    counted = {
        "inbox rows": Callback.objects.count(),
        "payments with an inbox row": Callback.objects.values("transaction_ref").distinct().count(),
        "moves to success": paid.count(),
        "payments that moved to success": paid.values("transaction").distinct().count(),
        "fulfilments": Fulfilment.objects.filter(kind="fulfil", state="done").count(),
        "deliveries by the host": Order.objects.aggregate(all=Sum("fulfilments"))["all"],
        "orders delivered": Order.objects.filter(fulfilments__gt=0).count(),
        "payments in success": Transaction.objects.filter(state="success").count(),
    }
    wrong = [f"{count} {what} for {events} events" for what, count in counted.items() if count != events]
    try:
        check_books()
    except Violation as violation:
        wrong.append(f"the books: {violation}")
    return wrong


def flood(addresses: Sequence[Address], seconds: float, progress: Progress) -> dict[str, Any]:
    """Forgeries as fast as a thousand a second while good callbacks arrive; who was served, and how soon."""
    events = make_events(int(seconds * GOOD_RATE))
    targets = make_events(100, first=len(events))
    forged = [target.request(STRANGER) for target in targets]
    before = _count()
    bad, good = asyncio.run(_flood(addresses, forged, events, seconds, progress))
    told = Counter((answer.status, answer.body) for answer in bad)
    wrong = [f"{count} forgeries were answered {said}" for said, count in told.items() if said != (400, b"Refused.\n")]
    wrong += [f"a good callback was answered {answer.status}" for answer in good if answer.status != 200]
    grown = {name: count - before[name] for name, count in _count().items()}
    wrong += [
        f"{name}: {more} new rows for {len(good)} good callbacks" for name, more in grown.items() if more != len(good)
    ]
    touched = Transaction.objects.filter(pk__in=[one.transaction_id for one in targets]).exclude(version=1).count()
    return {
        "forged": len(bad),
        "forged a second": round(len(bad) / seconds),
        "good": len(good),
        "good p99 ms": round(_p99(good) * 1000),
        "wrong": wrong + ([f"{touched} payments moved by a forgery"] if touched else []),
    }


async def _flood(
    addresses: Sequence[Address], forged: Sequence[bytes], events: Sequence[Event], seconds: float, progress: Progress
) -> tuple[list[Answered], list[Answered]]:
    until = time.monotonic() + seconds
    async with Client(addresses, FORGERS) as forgers, Client(addresses, 4) as honest:
        storms = [forgers.pour(forged, number, until, FORGED_RATE / FORGERS) for number in range(FORGERS)]
        good = asyncio.create_task(_arrive(honest, events, until, progress))
        bad = await asyncio.gather(*storms)
        return [answer for storm in bad for answer in storm], await good


async def _arrive(client: Client, events: Sequence[Event], until: float, progress: Progress) -> list[Answered]:
    """The good ones, ten a second, whatever became of the one before."""
    sent, free = [], [asyncio.Lock() for _ in range(client.connections)]

    async def one(number: int, event: Event) -> Answered:
        due = time.monotonic()
        async with free[number % len(free)]:
            answer = await client.send(number % len(free), event.request())
        # It has waited from the moment when it was due, also for the one before it.
        return replace(answer, seconds=time.monotonic() - due)

    for number, event in enumerate(events):
        if number and time.monotonic() >= until:
            break
        sent.append(asyncio.create_task(one(number, event)))
        progress((number + 1) / len(events))
        await asyncio.sleep(1 / GOOD_RATE)
    return list(await asyncio.gather(*sent))


def _count() -> dict[str, int]:
    moved = TransactionEvent.objects.filter(to_state="success").count()
    return {"inbox": Callback.objects.count(), "moves": moved, "fulfilments": Fulfilment.objects.count()}


def _p99(answers: Sequence[Answered]) -> float:
    waited = sorted(answer.seconds for answer in answers)
    return waited[int(len(waited) * 0.99)] if waited else 0.0
