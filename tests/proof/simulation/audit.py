"""What must hold in the books of this world: ours, the gateways', and what the log says."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from django.db import connection
from django.utils import timezone

from django_gatewaypay import tasks
from django_gatewaypay.exceptions import GatewayError
from django_gatewaypay.models import Transaction
from django_gatewaypay.types import FINAL_STATES, State
from tests.invariants import GatewayPayment, GivenBack, Opening, Violation, check_books, check_settled
from tests.shop.handler import HookFailed
from tests.shop.models import Order

from .audit_movements import check_moved, check_movements_settled, given_back
from .books import Session

if TYPE_CHECKING:
    from .simulation import Simulation

__all__ = ["check_at_the_end", "check_so_far", "listening", "something_is_due"]

#: The words of the hosted protocol, in which invariants are told.
WORDS = {"open": "pending", "paid": "success"}
#: What a beat looks for, in plain SQL, because it is asked for every beat of every seed.
DUE = {
    tasks.poll_pending: ("SELECT 1 FROM gatewaypay_transaction WHERE next_poll_at <= %s",),
    tasks.expire_overdue: (
        "SELECT 1 FROM gatewaypay_transaction WHERE state IN ('created', 'pending') AND expires_at <= %s",
    ),
    tasks.sweep: (
        "SELECT 1 FROM gatewaypay_callback WHERE next_attempt_at <= %s",
        "SELECT 1 FROM gatewaypay_fulfilment WHERE next_attempt_at <= %s",
        "SELECT 1 FROM gatewaypay_refund WHERE next_attempt_at <= %s",
        "SELECT 1 FROM gatewaypay_capture WHERE next_attempt_at <= %s",
    ),
}
EXPECTED = (GatewayError, HookFailed)


@dataclass
class AllBooks:
    """The books of all gateways together, as `tests.invariants` reads them."""

    world: "Simulation"
    aliases: tuple[str, ...] = ()

    def payments(self) -> Iterable[GatewayPayment]:
        for session in self.world.sessions():
            yield GatewayPayment(
                reference=our_reference(session),
                transaction_id=session.wanted.transaction_id,
                state=WORDS.get(session.status, session.status),
                currency=session.captured_currency or session.wanted.currency,
                captured_minor=session.captured,
            )

    def openings(self) -> Iterable[Opening]:
        for gateway in self.world.gateways.values():
            for key, wanted in gateway.books.asked:
                yield Opening(
                    key=key,
                    transaction_id=wanted.transaction_id,
                    amount_minor=wanted.minor,
                    currency=wanted.currency,
                    body=str(wanted),
                )

    def refunds(self) -> Iterable[GivenBack]:
        for given in given_back(self.world):
            yield GivenBack(
                reference=given.reference,
                refund_id=given.refund_id,
                payment=our_reference(given.session),
                amount_minor=given.minor,
                failed=given.status == "failed",
            )

    def acknowledged(self) -> Iterable[str]:
        return [event_id for gateway in self.world.gateways.values() for event_id in gateway.acknowledged]


def our_reference(session: Session) -> str:
    """A session's reference as its adapter reads it."""
    return session.reference.replace("mollie_", "tr_")


def something_is_due(task: Any, within: float) -> bool:
    """Whether a beat would find anything to do; one that finds nothing would only cost time."""
    moment = connection.ops.adapt_datetimefield_value(timezone.now() + timedelta(seconds=within))
    questions = DUE[task] if task in DUE else [one for several in DUE.values() for one in several]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(questions) + " LIMIT 1", [moment] * len(questions))
        return cursor.fetchone() is not None


@contextmanager
def listening(world: "Simulation") -> Iterator[None]:
    """An error that the package only logs is a violation, unless this world caused it."""
    ears, ours, theirs = Ears(world), logging.getLogger("gatewaypay"), logging.getLogger("django.request")
    with ExitStack() as stack:
        stack.enter_context(patch.multiple(ours, propagate=False, handlers=[ears]))
        stack.enter_context(patch.object(theirs, "disabled", True))
        stack.callback(ours.setLevel, ours.level)
        ours.setLevel(logging.ERROR)
        yield


class Ears(logging.Handler):
    """Reads the package's log."""

    def __init__(self, world: "Simulation") -> None:
        super().__init__(logging.ERROR)
        self.world = world

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, EXPECTED):
            self.world.violate(f"error: {record.getMessage()}: {type(error).__name__}: {error}")


def check_so_far(world: "Simulation") -> None:
    """What holds at every moment: no false success, nothing twice, and the invariants of the books."""
    _check_at_any_time(world)
    _hold(world, check_books)


def _check_at_any_time(world: "Simulation") -> None:
    sessions = {our_reference(session): session for session in world.sessions()}
    for row in Transaction.objects.filter(state=State.SUCCESS):
        _check_success(world, row, sessions.get(row.gateway_reference))
    _check_double(world)
    check_moved(world)


def check_at_the_end(world: "Simulation") -> Counter[str]:
    """What holds when all is quiet: nothing lost, nothing stuck. How many transactions are in which state."""
    _check_at_any_time(world)
    check_movements_settled(world)
    rows = {str(row.pk): row for row in Transaction.objects.all()}
    for session in world.sessions():
        _check_lost(world, session, rows.get(session.wanted.transaction_id))
    sessions = {our_reference(session): session for session in world.sessions()}
    for row in rows.values():
        _check_stuck(world, row, sessions.get(row.gateway_reference))
    _hold(world, check_settled)
    return Counter(row.state for row in rows.values())


def _hold(world: "Simulation", check: Any) -> None:
    try:
        check(AllBooks(world))
    except Violation as violation:
        world.violate(str(violation))


def _check_success(world: "Simulation", row: Transaction, session: Session | None) -> None:
    """What was asked for was taken; of an authorization, what staff have agreed to."""
    whole = row.whole_minor if row.manual_capture else row.amount_minor
    right = session and (session.captured, session.captured_currency) == (whole, row.currency)
    if session is None or session.wanted.transaction_id != str(row.pk) or not right:
        world.violate(f"false: {row.pk} is success by {session}")


def _check_double(world: "Simulation") -> None:
    for order in Order.objects.filter(fulfilments__gt=1):
        world.violate(f"double: order {order.pk} was fulfilled {order.fulfilments} times")


def _check_lost(world: "Simulation", session: Session, row: Transaction | None) -> None:
    """Captured there: success here, or staff are told; of an authorization, as much is captured here."""
    told = row is not None and (row.state == State.HELD or row.attention or _is_reserved(row, session))
    if session.captured and not told and (row is None or row.state != State.SUCCESS):
        world.violate(f"lost: {session} of {row}")


def _is_reserved(row: Transaction, session: Session | None) -> bool:
    """Money waits for staff, and both books say how much of it was taken."""
    both = session is not None and session.status == row.state == State.AUTHORIZED
    return both and session is not None and session.captured == row.captured_minor


def _check_stuck(world: "Simulation", row: Transaction, session: Session | None) -> None:
    """At its end, or with staff; and what the host is owed is done, or staff know that it cannot be."""
    with_staff = (row.state == State.HELD and row.attention) or _is_reserved(row, session)
    if row.state not in FINAL_STATES and not with_staff:
        world.violate(f"stuck: {row} since {row.created_at}")
    for owed in row.fulfilments.exclude(state="done"):
        if not (owed.state == "dead" and "hook_dead" in row.attention_codes):
            world.violate(f"stuck: {owed} is {owed.state}: {owed.last_error}")
