"""What was moved beyond what there is, or beyond what was asked for: counted, whatever else has broken by then."""

from collections import Counter
from collections.abc import Iterable

from django_gatewaypay.models import Capture, Refund, Transaction

from .wire import Wire, minor

__all__ = ["weigh"]


def weigh(wire: Wire) -> dict[str, int]:
    """How many payments and refunds were moved too far, by name; here, and in the gateway's own books."""
    return {"over-refund": sum(over_refunds(wire)), "over-capture": sum(over_captures(wire))}


def over_refunds(wire: Wire) -> Iterable[bool]:
    """More given back than was taken, or one refund given back twice."""
    back: Counter[str] = Counter()
    for number, refund in wire.server.refunds.items():
        if refund["status"] != "failed":
            for name in {wire.server._refunded[number], refund["refund_id"]}:
                back[name] += minor(refund["amount"])
    for reference, session in wire.server.sessions.items():
        taken = session["amount"] if session["status"] == "success" else session.get("captured")
        yield back[reference] > minor(taken)
    ours: Counter[Transaction] = Counter()
    for row in Refund.objects.filter(foreign=False).select_related("transaction"):
        yield back[str(row.pk)] > row.amount_minor
        ours[row.transaction] += row.amount_minor * (row.state != "failed")
    yield from (out > row.captured_minor for row, out in ours.items())


def over_captures(wire: Wire) -> Iterable[bool]:
    """More taken than was reserved, or than our captures come to."""
    ours: Counter[Transaction] = Counter()
    for row in Capture.objects.exclude(state="failed").select_related("transaction"):
        ours[row.transaction] += row.amount_minor
    wanted = {row.gateway_reference: out for row, out in ours.items()}
    for reference, taken in wire.captured.items():
        reserved = minor(wire.server.sessions.get(reference, {}).get("authorized"))
        yield taken > min(reserved, wanted.get(reference, 0))
    yield from (out > row.authorized_minor for row, out in ours.items())
