"""Ask the gateway, and act on what it says: refresh, cancel, expire."""

import logging
import random
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from .. import schedule
from ..exceptions import (
    GatewayDeclined,
    GatewayError,
    GatewayRejected,
    GatewayUnavailable,
    InvalidTransition,
    MovementInProgress,
    UnknownGateway,
    UnsupportedOperation,
)
from ..gateways.base import Gateway
from ..lifecycle import Outcome, Verdict, apply_update, settle_captures
from ..models import Capture, Transaction
from ..registry import gateways
from ..types import OPEN_STATES, UNANSWERED_MOVEMENTS, MovementState, PaymentRef, PaymentUpdate, Source, State
from .disputes import hear_dispute
from .reviewing import checked_reason, source_of

__all__ = [
    "ask_gateway",
    "cancel",
    "cancel_for_shopper",
    "expire",
    "follow_up",
    "payment_ref",
    "refresh",
    "refresh_for_shopper",
]

logger = logging.getLogger("gatewaypay.refresh")

#: A page that is reloaded again and again does not ask the gateway each time.
SHOPPER_REFRESH_EVERY = timedelta(seconds=3)
#: Over so many seconds the rows come back that were not asked about because a circuit was open.
REST_SPREAD_SECONDS = 60
CLOSED_BY_US = frozenset({State.CANCELED, State.EXPIRED})
EXPIRING = frozenset({State.CREATED, State.PENDING})
CANCELABLE = EXPIRING | {State.AUTHORIZED}


def refresh(
    transaction_id: uuid.UUID, *, source: Source = Source.POLL, actor: Any = None, reason: str = ""
) -> Transaction:
    """Ask the gateway what is true, and let it be so. The row as it is then.

    Args:
        reason: for the ledger; that of a person is kept also where nothing is new.

    Raises:
        Transaction.DoesNotExist: there is no such transaction.
        GatewayUnavailable, GatewayRejected: the gateway did not tell.
    """
    row = Transaction.objects.get(pk=transaction_id)
    update = ask_gateway(row)
    if update is None or is_other_mode(row, update):
        return row
    flags = ("unknown_state",) if update.thin else ()
    update = hear_dispute(row, update, source=source)
    outcome = apply_update(row.pk, update, source=source, actor=actor, flags=flags, note=reason.strip())
    settle_captures(outcome.transaction, source=source)
    follow_up(outcome)
    return outcome.transaction


def refresh_for_shopper(row: Transaction) -> Transaction:
    """Refresh for a shopper who has come back, at most once every few seconds; then keep asking soon.

    A gateway that does not answer is no error here: the page says that it is still confirming.
    """
    now = timezone.now()
    stale = Q(refreshed_at=None) | Q(refreshed_at__lt=now - SHOPPER_REFRESH_EVERY)
    asking = State(row.state).status == "pending" and row.gateway_reference
    if not asking or not Transaction.objects.filter(stale, pk=row.pk).update(refreshed_at=now):
        return row
    try:
        row = refresh(row.pk, source=Source.RETURN)
    except GatewayError as error:
        logger.warning("no answer transaction=%s error=%s code=%r", row.pk, type(error).__name__, error.code)
    _await_answer(row)
    return row


def _await_answer(row: Transaction) -> None:
    """Somebody waits: ask after 2, 5, 10 … seconds from now on."""
    now = timezone.now()
    due = schedule.next_poll_at(State(row.state), now, attempts=0, expires_at=row.expires_at, waiting=True)
    asked = Transaction.objects.filter(pk=row.pk, version=row.version, state__in=[State.PENDING, State.PROCESSING])
    if asked.update(waiting_since=now, poll_attempts=0, next_poll_at=due):
        row.waiting_since = now  # the page that is shown next says "confirming"


def ask_gateway(row: Transaction) -> PaymentUpdate | None:
    """What the gateway says about a row; None when it cannot be asked.

    Raises:
        GatewayUnavailable, GatewayRejected: it did not tell.
    """
    gateway = gateway_of(row)
    if not gateway.supports_fetch or not row.gateway_reference:
        return None
    return gateway.fetch_payment(payment_ref(row))


def gateway_of(row: Transaction) -> Gateway:
    """The adapter of a row's account.

    Raises:
        GatewayUnavailable: the host has taken the account out of its settings.
    """
    try:
        return gateways[row.gateway]
    except UnknownGateway as error:
        raise GatewayUnavailable(f"{row.gateway!r} is not in GATEWAYS any more.", code="unknown_alias") from error


def payment_ref(row: Transaction) -> PaymentRef:
    """A row, as an adapter needs it."""
    return PaymentRef(
        transaction_id=str(row.pk),
        gateway_reference=row.gateway_reference,
        payment_reference=row.payment_reference,
        amount=row.amount,
        closed=row.state not in OPEN_STATES,
    )


def is_other_mode(row: Transaction, update: PaymentUpdate) -> bool:
    """Whether the gateway speaks of play money and the account moves real money, or the reverse."""
    other = update.test is not None and update.test is not gateway_of(row).test_mode
    if other:
        logger.error("test money and real money are mixed transaction=%s gateway=%s", row.pk, row.gateway)
    return other


def asked_nothing(error: BaseException) -> bool:
    """The gateway was left alone: its circuit is open."""
    return isinstance(error, GatewayError) and error.code == "circuit_open"


def rest_delay(error: BaseException | None) -> timedelta:
    """How long the gateway wants to be left alone after an error; spread, so that rows do not come back together."""
    seconds = getattr(error, "retry_after", None) or 0
    widest = REST_SPREAD_SECONDS if error and asked_nothing(error) else seconds / 4
    return timedelta(seconds=seconds + random.uniform(0, widest))  # noqa: S311 - spreads load, guards nothing


def follow_up(outcome: Outcome) -> None:
    """What a decision asks of the gateway: let go of funds that were reserved for nothing."""
    if outcome.decision.release_authorization:
        try:
            _close_at_gateway(outcome.transaction, "release")
        except GatewayError as error:
            logger.warning("not released transaction=%s code=%r", outcome.transaction.pk, error.code)


def cancel(transaction_id: uuid.UUID, *, actor: Any = None, reason: str = "") -> Transaction:
    """Close a payment at the gateway, then here. The row as it is then: it may turn out to be paid.

    Of an authorization, what is reserved is let go. Where a part was captured, that part is the whole from then on:
    the payment is a success as soon as the gateway has let the rest go.

    Args:
        reason: for the ledger; where a part was captured, it has to be said.

    Raises:
        Transaction.DoesNotExist: there is no such transaction.
        InvalidTransition: the bank is deciding, or it is over.
        MovementInProgress: a capture is on its way.
        UnsupportedOperation: this gateway cannot let an authorization go.
        ReasonMissing: nobody says why a part is the whole.
        GatewayUnavailable: the gateway gave no answer; what it has done, its record says later.
    """
    row = Transaction.objects.get(pk=transaction_id)
    if row.state not in CANCELABLE:
        raise InvalidTransition(f"A payment that is {row.state} cannot be canceled.")
    if row.state == State.AUTHORIZED:
        check_releasable(row)
    if row.state == State.AUTHORIZED and row.captured_minor:
        row = _let_rest_go(row, checked_reason(reason), actor)
    else:
        row = _close(row, State.CANCELED, Source.CANCEL, actor, note=reason.strip())
    logger.info("canceled transaction=%s state=%s", row.pk, row.state)
    return row


def cancel_for_shopper(row: Transaction, *, actor: Any = None) -> Transaction:
    """`cancel` for the owner of a payment. What is reserved may be for what is on its way: the host lets it go.

    Raises:
        InvalidTransition: as `cancel`; also for an authorization.
        GatewayUnavailable: the gateway gave no answer; nothing changed.
    """
    if row.state == State.AUTHORIZED:
        raise InvalidTransition("What is reserved is the shop's to let go.")
    return cancel(row.pk, actor=actor)


def check_releasable(row: Transaction) -> None:
    """Refuse to let an authorization go that cannot be, or not now.

    Raises:
        MovementInProgress: a capture is on its way.
        UnsupportedOperation: this gateway does not offer it.
    """
    on_its_way = [*UNANSWERED_MOVEMENTS, MovementState.SUBMITTED]
    if row.capturing_minor and Capture.objects.filter(transaction=row, state__in=on_its_way).exists():
        raise MovementInProgress
    gateway = gateway_of(row)
    if not gateway.supports_cancel:
        raise UnsupportedOperation(f"{gateway.name} cannot let an authorization go: it ends by itself.")


def _let_rest_go(row: Transaction, reason: str, actor: Any) -> Transaction:
    """Agreed to before the gateway hears of it: its callback may be faster than its answer."""
    agreed, source = Verdict(agreed=row.captured_minor), source_of(actor)
    apply_update(row.pk, PaymentUpdate(), source=source, actor=actor, verdict=agreed, note=reason)
    try:
        told = _close_at_gateway(row, f"rest-{row.captured_minor}") or PaymentUpdate()
    except (GatewayDeclined, GatewayRejected):
        off = Verdict(revoked=row.captured_minor)
        apply_update(row.pk, PaymentUpdate(), source=source, actor=actor, verdict=off, note="the gateway refused")
        raise
    return apply_update(row.pk, told, source=Source.CANCEL, actor=actor, note=reason).transaction


def expire(transaction_id: uuid.UUID, *, actor: Any = None, reason: str = "") -> Transaction:
    """Ask the gateway once more, close the session there, then expire the payment here.

    A gateway that gives no answer does not keep a payment pending: money that turns up later still wins.

    Args:
        reason: for the ledger.

    Raises:
        Transaction.DoesNotExist: there is no such transaction.
    """
    row = Transaction.objects.get(pk=transaction_id)
    try:
        if row.gateway_reference:
            row = refresh(row.pk, source=Source.EXPIRY, actor=actor)
        return _close(row, State.EXPIRED, Source.EXPIRY, actor, note=reason.strip())
    except GatewayError as error:
        logger.warning("expired unasked transaction=%s error=%s", row.pk, type(error).__name__)
    note = " · ".join(filter(None, (reason.strip(), "the gateway gave no answer")))
    row = _conclude(row, State.EXPIRED, Source.EXPIRY, actor, note=note)
    if row.next_poll_at:
        row.next_poll_at = timezone.now() + schedule.unanswered_delay()
        Transaction.objects.filter(pk=row.pk, version=row.version).update(next_poll_at=row.next_poll_at)
    return row


def _close(row: Transaction, state: State, source: Source, actor: Any, note: str = "") -> Transaction:
    # An authorization that came in the last second does not expire: it is what the shopper was asked for.
    if row.state not in (CANCELABLE if state is State.CANCELED else EXPIRING):
        nothing = PaymentUpdate()
        return apply_update(row.pk, nothing, source=source, actor=actor, note=note).transaction if note else row
    told = _close_at_gateway(row, str(state))
    if told is None:
        return _conclude(row, state, source, actor, note=note)
    if told.state in CLOSED_BY_US:
        # The gateway has done what we asked; why we asked is ours to say.
        told = replace(told, state=state)
    outcome = apply_update(row.pk, told, source=source, actor=actor, note=note)
    if outcome.transaction.state in EXPIRING:
        return _conclude(row, state, source, actor, note="the gateway keeps its session open")
    return outcome.transaction


def _close_at_gateway(row: Transaction, purpose: str) -> PaymentUpdate | None:
    """Close the session at the gateway, where it can be; what is true afterwards."""
    gateway = gateway_of(row)
    if not gateway.supports_cancel or not row.gateway_reference:
        return None
    return gateway.cancel_payment(payment_ref(row), idempotency_key=f"gatewaypay-{row.pk}-{purpose}")


def _conclude(row: Transaction, state: State, source: Source, actor: Any, note: str = "") -> Transaction:
    """Our own word, where the gateway has none."""
    closed = PaymentUpdate(state=state)
    return apply_update(row.pk, closed, source=source, local=True, actor=actor, note=note).transaction
