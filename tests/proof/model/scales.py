"""What was moved beyond what there is, or beyond what was asked for: counted, whatever else has broken by then."""

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

from django_gatewaypay.models import Capture, Refund
from tests.invariants import Books

from .wire import Wire, minor

__all__ = ["weigh"]


def weigh(wire: Wire, books: Books) -> dict[str, int]:
    """How many payments and refunds were moved too far, by name; here, and in the gateway's own books."""
    return {"over-refund": sum(over_refunds(wire, books)), "over-capture": sum(over_captures(wire, books))}


def over_refunds(wire: Wire, books: Books) -> Iterable[bool]:
    """More given back than was taken, or one refund given back twice."""
    back: Counter[str] = Counter()
    for number, refund in wire.server.refunds.items():
        if refund["status"] != "failed":
            for name in {wire.server._refunded[number], refund["refund_id"]}:
                back[name] += minor(refund["amount"])
    for reference, session in wire.server.sessions.items():
        taken = session["amount"] if session["status"] == "success" else session.get("captured")
        yield back[reference] > minor(taken)
    own = [row for row in books.refunds.values() if not row.foreign]
    yield from (back[str(row.pk)] > row.amount_minor for row in own)
    yield from (out > books.transactions[pk].captured_minor for pk, out in alive(own).items())


def over_captures(wire: Wire, books: Books) -> Iterable[bool]:
    """More taken than was reserved, or than our captures come to."""
    ours = alive(books.captures.values())
    wanted = {books.transactions[pk].gateway_reference: out for pk, out in ours.items()}
    for reference, taken in wire.captured.items():
        reserved = minor(wire.server.sessions.get(reference, {}).get("authorized"))
        yield taken > min(reserved, wanted.get(reference, 0))
    yield from (out > books.transactions[pk].authorized_minor for pk, out in ours.items())


def alive(movements: Iterable[Refund | Capture]) -> Counter[UUID]:
    """What those that have not failed come to, by payment."""
    sums: Counter[UUID] = Counter()
    for row in movements:
        sums[row.transaction_id] += row.amount_minor * (row.state != "failed")
    return sums
