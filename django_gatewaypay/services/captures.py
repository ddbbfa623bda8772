"""Take what was reserved: all of it, or a part; with the last one the rest is let go."""

import logging
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.utils import timezone
from moneyed import Money

from ..exceptions import (
    AmountNotLeft,
    GatewayUnavailable,
    InvalidTransition,
    MovementInProgress,
    UnsupportedOperation,
)
from ..gateways.base import Gateway
from ..lifecycle import Verdict, apply_update, conclude_movement, is_covered, left_to_capture
from ..models import Capture, Transaction
from ..schedule import knows_key
from ..types import CLOSED_STATES, MovementState, PaymentUpdate, Source, State
from .errands import Answer, Errand, register
from .movements import begin, find_known, read_minor
from .refreshing import gateway_of, is_other_mode, payment_ref
from .reviewing import checked_reason, source_of

__all__ = ["capture", "conclude_capture"]

logger = logging.getLogger("gatewaypay.capture")


def capture(
    transaction_id: UUID,
    amount: Money | None = None,
    *,
    final: bool = True,
    reason: str = "",
    actor: Any = None,
    idempotency_key: str = "",
    source: Source = Source.STAFF,
) -> Capture:
    """Take money of an authorization; the row as it is then. A gateway's no is `failed`, no answer is `unknown`.

    It writes and commits: never call it inside a transaction of yours.

    Args:
        amount: None for all that is left.
        final: the rest is let go, and what was captured by then is the whole (docs/adr/0009).
        actor: who wants it; None for the host's own code.
        idempotency_key: whoever sends the same one again finds the same capture.

    Raises:
        Transaction.DoesNotExist: there is no such transaction.
        InvalidAmount: another currency, or no amount of it.
        IdempotencyConflict: the key was used with another amount.
        InvalidTransition: nothing is reserved, or the rest is let go already.
        UnsupportedOperation: the gateway cannot capture, or only once.
        AmountNotLeft: it is more than is left.
        MovementInProgress: a capture before is on its way.
        GatewayUnavailable: the account is not in the settings any more.
    """
    row = Transaction.objects.get(pk=transaction_id)
    asked = read_minor(row, amount)
    known = find_known(Capture, row, idempotency_key, asked)
    if known:
        return known
    left, said = _left(row), reason.strip()[:255]
    minor = left if asked is None else asked
    wanted = Capture(transaction=row, amount_minor=minor, reason=said, actor=actor, idempotency_key=idempotency_key)
    wanted.final = final or minor == left
    try:
        _check_possible(wanted, left)
    except (AmountNotLeft, InvalidTransition, MovementInProgress):
        # The same request, sent twice at once, may have been a moment faster.
        known = find_known(Capture, row, idempotency_key, asked)
        if known is None:
            raise
        return known
    found = begin(wanted, source=source_of(actor) if source is Source.STAFF else source, asked=asked)
    logger.info(
        "captured capture=%s transaction=%s state=%s actor=%s",
        found.pk, row.pk, found.state, getattr(actor, "pk", None),
    )  # fmt: skip
    return found


def conclude_capture(capture_id: UUID, *, reason: str, actor: Any) -> Capture:
    """A person has looked at the gateway's console: a capture that was given up on has failed; its money is free again.

    That one has come through, only the gateway can say: its totals count.

    Raises:
        Capture.DoesNotExist: there is no such capture.
        ReasonMissing: nobody says why.
        InvalidTransition: the gateway is still asked, or it is over.
    """
    said, failed = checked_reason(reason), MovementState.FAILED
    found = conclude_movement(
        Capture, capture_id, failed, source=source_of(actor), actor=actor, note=said, resolved=CaptureErrand.unknown
    )
    logger.info("concluded capture=%s transaction=%s actor=%s", found.pk, found.transaction_id, getattr(actor, "pk", 0))
    return found


def _left(row: Transaction) -> int:
    """What is reserved still, and not more than was asked for."""
    return min(left_to_capture(row), max(row.amount_minor - max(row.capturing_minor, row.captured_minor), 0))


def _check_possible(wanted: Capture, left: int) -> None:
    row = wanted.transaction
    if row.state != State.AUTHORIZED:
        raise InvalidTransition(f"A payment that is {row.state} has nothing reserved.")
    gateway = gateway_of(row)
    if not gateway.supports_capture:
        raise UnsupportedOperation(f"{gateway.name} cannot capture a payment.")
    if not wanted.final and not gateway.supports_several_captures:
        raise UnsupportedOperation(f"{gateway.name} captures once: what is not captured then is let go.")
    earlier = Capture.objects.filter(transaction=row).exclude(state=MovementState.FAILED)
    if earlier.exclude(state=MovementState.SUCCEEDED).exists():
        raise MovementInProgress
    if earlier.filter(final=True).exists():
        raise InvalidTransition("The rest of this payment is let go already.")
    if not 0 < wanted.amount_minor <= left:
        raise AmountNotLeft


class CaptureErrand(Errand[Capture]):
    """How a gateway is told of a capture. It has come through when the captured total covers it."""

    kind = Capture
    failed = unknown = frozenset({"capture_failed"})

    def tell(self, gateway: Gateway, movement: Capture) -> Answer:
        """See `Errand`. What counts as the whole is agreed to first: the callback may be faster than the answer."""
        row = movement.transaction
        _agree(movement)
        payment = replace(payment_ref(row), amount=movement.amount)
        told = gateway.capture(payment, idempotency_key=movement.gateway_key, final=movement.final)
        if told.state is State.FAILED:
            # About this capture: what it says of the payment, the payment's own record says.
            return Answer(state=MovementState.FAILED, error=told.decline_code or "The gateway declined it.")
        return _read(movement, told)

    def can_find(self, gateway: Gateway) -> bool:
        """See `Errand`."""
        return gateway.supports_fetch

    def find(self, gateway: Gateway, movement: Capture) -> Answer | None:
        """See `Errand`. By the totals, and by what is on its way there. Once the key is forgotten, none is told again.

        Nobody knows that the gateway has ever got it: one that counts the payment as paid without it has not.
        """
        answer = self.ask(gateway, movement)
        if answer.state is not MovementState.SUBMITTED:
            return answer
        if _told(answer) is State.SUCCESS:
            return _failed(answer, "The gateway has closed the payment without it.")
        if _told(answer) is not State.AUTHORIZED or gateway.is_capturing(payment_ref(movement.transaction)):
            return answer
        return None if _is_fresh(gateway, movement) else _failed(answer, "The gateway has not captured it.")

    def can_ask(self, gateway: Gateway, movement: Capture) -> bool:
        """See `Errand`."""
        return gateway.supports_fetch or is_covered(movement)

    def ask(self, gateway: Gateway, movement: Capture) -> Answer:
        """See `Errand`."""
        if is_covered(movement):
            return Answer(state=MovementState.SUCCEEDED)
        answer = _read(movement, gateway.fetch_payment(payment_ref(movement.transaction)))
        over = answer.state is MovementState.SUBMITTED and _told(answer) in CLOSED_STATES
        return _failed(answer, f"The payment is {_told(answer)}.") if over else answer


register(CaptureErrand())


def _agree(movement: Capture) -> None:
    """What is captured with the last one is the whole, where that is not the amount."""
    row, total = movement.transaction, movement.before_minor + movement.amount_minor
    agreed = total if movement.final and total != row.amount_minor else None
    if row.agreed_minor == agreed or row.state != State.AUTHORIZED:
        return
    verdict = Verdict(agreed=agreed, revoked=row.agreed_minor if agreed is None else None)
    note = movement.reason or f"{movement.amount_text} is captured" + (", the rest let go" if movement.final else "")
    source = source_of(movement.actor)
    apply_update(row.pk, PaymentUpdate(), source=source, actor=movement.actor, verdict=verdict, note=note)


def _read(movement: Capture, told: PaymentUpdate) -> Answer:
    """What the totals say about one capture.

    Raises:
        GatewayUnavailable: it speaks of play money where the account moves real money, or the reverse.
    """
    if is_other_mode(movement.transaction, told):
        raise GatewayUnavailable("The gateway mixes test money and real money.", code="other_mode")
    succeeded = is_covered(movement, told.captured)
    return Answer(state=MovementState.SUCCEEDED if succeeded else MovementState.SUBMITTED, payment=told)


def _told(answer: Answer) -> State | None:
    return answer.payment.state if answer.payment else None


def _failed(answer: Answer, error: str) -> Answer:
    return replace(answer, state=MovementState.FAILED, error=error)


def _is_fresh(gateway: Gateway, movement: Capture) -> bool:
    return knows_key(movement.submitted_at or movement.created_at, timezone.now(), gateway.key_ttl)
