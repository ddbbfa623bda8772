"""One movement on its way to the gateway: told under its key, looked up, asked for, or given up where staff see it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from .. import schedule
from ..conf import settings
from ..exceptions import GatewayDeclined, GatewayError, GatewayRejected, GatewayUnavailable, UnsupportedOperation
from ..lifecycle import apply_movement, apply_update
from ..models import Transaction
from ..money import InvalidAmount
from ..types import UNANSWERED_MOVEMENTS, MovementState, PaymentUpdate, Source
from .callbacks import match_waiting_callbacks
from .errands import Answer, Errand, Row
from .refreshing import asked_nothing, follow_up, gateway_of, rest_delay

__all__ = ["Trip", "ask", "tell"]

logger = logging.getLogger("gatewaypay.movement")

Said = TypeVar("Said", Answer, Answer | None)

UNANSWERED = [state.value for state in UNANSWERED_MOVEMENTS]
#: What says for sure that the gateway has done nothing, when it was told for the first time.
NO = (GatewayDeclined, GatewayRejected, UnsupportedOperation, InvalidAmount)
#: So long is asked what became of what the gateway has taken.
WATCH = timedelta(days=30)
#: So many tries that end with the process that made them are bad luck.
DEATHS = 5


class NobodyCanTell(Exception):
    """The gateway cannot be told again, and cannot be asked: a person has to look."""


@dataclass(frozen=True)
class Trip(Generic[Row]):
    """One movement on its way to the gateway; `movement` is the row as it was when it set out."""

    movement: Row
    errand: Errand[Row]
    source: Source
    actor: Any

    @property
    def row(self) -> Transaction:
        return self.movement.transaction

    @property
    def told_before(self) -> bool:
        """An earlier try may have done it."""
        return self.movement.attempts > 0

    @property
    def spent(self) -> bool:
        """It was told so often in vain that only looking it up makes sense; a person may insist."""
        return self.movement.attempts >= settings.MAX_ATTEMPTS and self.actor is None

    @property
    def deadly(self) -> bool:
        """Where it is spent, every try is the last one, unless the process dies of it."""
        return self.movement.attempts > settings.MAX_ATTEMPTS + DEATHS and self.actor is None

    def rows(self, *states: str) -> Any:
        return type(self.movement)._default_manager.filter(pk=self.movement.pk, state__in=states)

    def climb(self, state: MovementState, **details: Any) -> Row:
        kind, actor = type(self.movement), self.actor
        return apply_movement(kind, self.movement.pk, state, source=self.source, actor=actor, **details)


# --- It is not known yet whether the gateway has heard of it.


def tell(trip: Trip[Row]) -> None:
    """Tell the gateway, unless somebody else is about to."""
    if trip.deadly:
        _give_up(trip, "Whoever tries it dies of it.")
        return
    if not _set_out(trip):
        return
    answer = _attempt(trip, lambda: _find_or_tell(trip))
    if isinstance(answer, Exception):
        _keep_trying(trip, answer)
    else:
        _land(trip, answer)


def _attempt(trip: Trip[Row], call: Callable[[], Said]) -> Said | Exception:
    """What the gateway says, or why nobody knows: whatever was raised, it may have done what it was told."""
    try:
        return call()
    except Exception as error:
        expected = isinstance(error, (GatewayError, NobodyCanTell, *NO))
        logger.log(
            logging.WARNING if expected else logging.ERROR,
            "no answer %s=%s error=%s code=%r",
            trip.movement._meta.model_name, trip.movement.pk, type(error).__name__, getattr(error, "code", ""),
            exc_info=not expected,
        )  # fmt: skip
        return error


def _set_out(trip: Trip[Row]) -> bool:
    """Count the try and begin the key's life before the call, for whoever finds the row after a crash."""
    movement, now = trip.movement, timezone.now()
    begun = movement.submitted_at or now
    if movement.state == MovementState.REQUESTED and now > begun > now - schedule.CLAIM_LEASE:
        return False  # the first try is under way
    rivals = trip.rows(*UNANSWERED).filter(attempts=movement.attempts)
    return bool(
        rivals.update(attempts=F("attempts") + 1, submitted_at=begun, next_attempt_at=now + schedule.CLAIM_LEASE)
    )


def _find_or_tell(trip: Trip[Row]) -> Answer:
    """Under its key while the gateway remembers it; after that only once it was looked up."""
    now = timezone.now()
    fresh = schedule.knows_key(trip.movement.submitted_at or now, now, gateway_of(trip.row).key_ttl)
    if fresh and not trip.spent:
        return _insist(trip, undone=not trip.told_before)
    found = _find(trip, "It was told too often in vain." if fresh else "The gateway does not know its key any more.")
    if found or trip.spent:
        return found or Answer(state=MovementState.FAILED, error="The gateway has never got it.")
    # There is none, and the key is forgotten there: it begins a new life.
    trip.rows(*UNANSWERED).update(submitted_at=timezone.now())
    return _insist(trip, undone=True)


def _insist(trip: Trip[Row], *, undone: bool) -> Answer:
    """Tell it. Where an earlier try may have done it, a no to this one does not say that it was not."""
    try:
        return trip.errand.tell(gateway_of(trip.row), trip.movement)
    except NO as error:
        refused = Answer(state=MovementState.FAILED, error=describe(error))
        return refused if undone else _find(trip, describe(error)) or refused


def _find(trip: Trip[Row], why: str) -> Answer | None:
    gateway = gateway_of(trip.row)
    if not trip.errand.can_find(gateway):
        raise NobodyCanTell(why)
    try:
        return trip.errand.find(gateway, trip.movement)
    except UnsupportedOperation as error:
        raise NobodyCanTell(why) from error
    except (GatewayDeclined, GatewayRejected) as error:
        # A no to the question is no answer to it.
        raise GatewayUnavailable("It cannot be looked up.", gateway=gateway.name, code=error.code) from error


def _keep_trying(trip: Trip[Row], error: Exception) -> None:
    movement, now = trip.movement, timezone.now()
    if asked_nothing(error):
        trip.rows(*UNANSWERED).filter(attempts=movement.attempts + 1).update(
            attempts=movement.attempts,
            submitted_at=movement.submitted_at,
            next_attempt_at=now + rest_delay(error),
            last_error=describe(error),
        )
    elif trip.spent or isinstance(error, NobodyCanTell):
        _give_up(trip, describe(error))
    else:
        due = now + max(schedule.backoff_delay(movement.attempts, first=20), rest_delay(error))
        trip.climb(MovementState.UNKNOWN, error=describe(error))
        trip.rows(MovementState.UNKNOWN).update(next_attempt_at=due, last_error=describe(error))


def _give_up(trip: Trip[Row], error: str) -> None:
    """A person has to look: no next attempt, and the payment is flagged in the same commit."""
    name = trip.movement._meta.model_name
    with transaction.atomic():
        trip.climb(MovementState.UNKNOWN, error=error)
        open_still = trip.rows(MovementState.UNKNOWN, MovementState.SUBMITTED)
        if open_still.update(next_attempt_at=None, last_error=error):
            note = f"{name} {trip.movement.pk}: {error}"
            apply_update(trip.row.pk, PaymentUpdate(), source=Source.SYSTEM, flags=trip.errand.unknown, note=note)
    logger.error("given up %s=%s transaction=%s", name, trip.movement.pk, trip.row.pk)


# --- The gateway has spoken.


def _land(trip: Trip[Row], answer: Answer) -> None:
    due = schedule.ask_movement_at(timezone.now())
    with transaction.atomic():
        landed = trip.climb(answer.state, reference=answer.reference, error=answer.error, due=due)
        flags = _flags(trip, landed, answer)
        outcome = None
        if flags or answer.payment:
            update = answer.payment or PaymentUpdate()
            # What the host's own code has asked for, the gateway has answered.
            source = Source.POLL if trip.source is Source.SYSTEM else trip.source
            outcome = apply_update(trip.row.pk, update, source=source, actor=trip.actor, flags=flags)
    if outcome:
        follow_up(outcome)
    # What was told of it under its name there, before we knew that.
    match_waiting_callbacks(trip.row)


def _flags(trip: Trip[Row], landed: Row, answer: Answer) -> frozenset[str]:
    flags: frozenset[str] = frozenset()
    if landed.state == MovementState.FAILED and (trip.told_before or trip.source is Source.POLL):
        flags |= trip.errand.failed
    done_there = answer.state is not MovementState.FAILED and answer.reference
    if landed.state == MovementState.FAILED and done_there and not landed.gateway_reference:
        flags |= trip.errand.contradict(landed, answer)
    if answer.amount is not None and answer.amount != landed.amount:
        flags |= {"mismatch"}
    return flags


def ask(trip: Trip[Row]) -> None:
    """What became of what the gateway has taken?"""
    answer = _attempt(trip, lambda: _question(trip))
    if isinstance(answer, Answer) and answer.state is not MovementState.SUBMITTED:
        _land(trip, answer)
    else:
        _ask_later(trip, answer if isinstance(answer, Exception) else None, asking=answer is not None)


def _question(trip: Trip[Row]) -> Answer | None:
    """None where the gateway cannot be asked: it will tell."""
    gateway = gateway_of(trip.row)
    return trip.errand.ask(gateway, trip.movement) if trip.errand.can_ask(gateway, trip.movement) else None


def _ask_later(trip: Trip[Row], error: Exception | None, *, asking: bool) -> None:
    movement, now = trip.movement, timezone.now()
    end: datetime = (movement.submitted_at or movement.created_at) + WATCH
    if now >= end:
        _give_up(trip, f"For {WATCH.days} days the gateway has not said what became of it.")
        return
    attempts = movement.attempts + (error is None or not asked_nothing(error))
    due = max(schedule.ask_movement_at(now, attempts), now + rest_delay(error)) if asking else end
    trip.rows(MovementState.SUBMITTED).update(
        attempts=attempts, next_attempt_at=min(due, end), last_error=describe(error) if error else ""
    )


def describe(error: Exception) -> str:
    """An error for staff, with the gateway's own code."""
    code = getattr(error, "code", "")
    name = "" if isinstance(error, NobodyCanTell) else f"{type(error).__name__}: "
    return f"{name}{error}{f' ({code})' if code else ''}"[:255]
