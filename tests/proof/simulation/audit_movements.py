"""What must hold of captures and refunds, in the gateways' books and in ours."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django_gatewaypay.models import Capture, Refund
from django_gatewaypay.types import MovementState

from .till import GivenBack

if TYPE_CHECKING:
    from .simulation import Simulation

__all__ = ["check_moved", "check_movements_settled", "given_back"]

#: The gateway's words in ours.
WORDS = {"pending": MovementState.SUBMITTED, "succeeded": MovementState.SUCCEEDED, "failed": MovementState.FAILED}
ENDED = {MovementState.SUCCEEDED, MovementState.FAILED}
#: The codes that say to staff that nobody can tell what became of one.
TOLD = {Refund: "refund_unknown", Capture: "capture_failed"}


def given_back(world: "Simulation") -> Iterable[GivenBack]:
    """Every refund at every gateway."""
    for gateway in world.gateways.values():
        yield from gateway.till.refunds.values()


def check_moved(world: "Simulation") -> None:
    """At every moment: no more back than was taken, no more taken than was reserved, one effect for one intent."""
    _check_given_back(world)
    _check_refunds(world)
    _check_captures(world)


def _check_given_back(world: "Simulation") -> None:
    for session in world.sessions():
        if session.most_given > session.captured:
            world.violate(f"over-refunded: {session.most_given} was given back of {session}")
    effects = Counter(given.refund_id for given in given_back(world))
    for pk, count in effects.items():
        if count > 1:
            world.violate(f"over-refunded: refund {pk} was made {count} times")


def _check_refunds(world: "Simulation") -> None:
    """What we take for given back is no more than what was taken."""
    out: Counter[str] = Counter()
    rows = {}
    for refund in Refund.objects.exclude(state=MovementState.FAILED).select_related("transaction"):
        out[refund.transaction_id] += refund.amount_minor
        rows[refund.transaction_id] = refund.transaction
    for pk, row in rows.items():
        if out[pk] > row.captured_minor:
            world.violate(f"over-refunded: {out[pk]} was asked for of {row.captured_minor} of {row}")


def _check_captures(world: "Simulation") -> None:
    """Whatever was taken of an authorization, somebody wanted: no more, and not twice."""
    wanted: Counter[str] = Counter()
    for capture in Capture.objects.exclude(state=MovementState.FAILED):
        wanted[str(capture.transaction_id)] += capture.amount_minor
    for session in world.sessions():
        due = min(session.authorized, wanted[session.wanted.transaction_id])
        if session.wanted.manual and session.captured > due:
            world.violate(f"over-captured: {session.captured} was taken, {due} was due, of {session}")


def check_movements_settled(world: "Simulation") -> None:
    """When all is quiet: each is at its end or with staff, and both books say the same."""
    for kind, code in TOLD.items():
        for movement in kind._default_manager.select_related("transaction"):
            told = movement.next_attempt_at is None and code in movement.transaction.attention_codes
            if movement.state not in ENDED and not told:
                world.violate(f"stuck: {movement} since {movement.created_at}: {movement.last_error}")
    refunds = {str(refund.pk): refund for refund in Refund.objects.select_related("transaction")}
    known = {given.refund_id: given for given in given_back(world)}
    for pk, refund in refunds.items():
        if not refund.foreign:
            _check_same(world, refund, known.get(pk))
    for pk in known.keys() - refunds.keys():
        world.violate(f"over-refunded: {known[pk]} is unknown here")


def _check_same(world: "Simulation", refund: Refund, given: GivenBack | None) -> None:
    """A refund's end here is its end there."""
    there = WORDS[given.status] if given else MovementState.FAILED
    if refund.state == there or "refund_unknown" in refund.transaction.attention_codes:
        return
    # What counts as failed here, and is not, would be given back once more.
    kind = {MovementState.FAILED: "over-refunded", MovementState.SUCCEEDED: "false"}.get(refund.state, "stuck")
    world.violate(f"{kind}: {refund} of {refund.transaction_id}; the gateway has {given}")
