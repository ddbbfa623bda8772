"""Take a gateway's message in, then work on it: verify, store, commit, answer, process."""

import hashlib
import logging
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from moneyed import Money

from ..conf import settings
from ..exceptions import GatewayError, MovementInProgress, UnknownGateway
from ..lifecycle import Outcome, apply_update, hear_failed_capture, hear_refund, read_row, settle_captures
from ..models import Callback, Refund, Transaction, insert
from ..registry import gateways
from ..schedule import CLAIM_LEASE, ask_movement_at, backoff_delay
from ..types import CallbackRequest, MovementState, PaymentUpdate, RefundState, RefundUpdate, Source, State
from .access import parse_id
from .disputes import dump_dispute, hear_dispute, load_dispute
from .refreshing import ask_gateway, asked_nothing, follow_up, is_other_mode, rest_delay

__all__ = [
    "keep_callback",
    "match_waiting_callbacks",
    "process_callback",
    "process_row",
    "receive_callback",
    "retry_callback",
]

logger = logging.getLogger("gatewaypay.callback")

MATCH_FOR = timedelta(hours=72)
ALERT_UNMATCHED_AFTER = timedelta(minutes=5)
MONEY_FIELDS = ("captured", "authorized", "refunded")
TEXT_FIELDS = ("transaction_id", "gateway_reference", "event_id", "payment_reference", "decline_code")


def receive_callback(alias: str, request: CallbackRequest) -> list[uuid.UUID]:
    """Verify a callback and keep it; the ids of what is new. Committed when this returns.

    Raises:
        UnknownGateway: no such alias.
        InvalidSignature: nothing was written.
        MalformedCallback: signed, but unreadable; nothing was written.
    """
    return [row.pk for row in keep_callback(alias, request)]


def keep_callback(alias: str, request: CallbackRequest) -> list[Callback]:
    """`receive_callback` for who works on it at once: the new rows themselves."""
    if alias not in settings.GATEWAYS:
        raise UnknownGateway
    gateway = gateways[alias]
    gateway.verify_callback(request)
    digest = hashlib.sha256(request.body).hexdigest()
    updates = gateway.parse_callback(request)
    stored = [_store(alias, update, digest, number) for number, update in enumerate(updates)]
    return [row for row in stored if row is not None]


def _store(alias: str, update: PaymentUpdate, digest: str, number: int) -> Callback | None:
    """One inbox row; None when this message is known already."""
    now = timezone.now()
    row = Callback(
        gateway=alias,
        event_id=update.event_id or f"sha256:{digest}:{number}",
        transaction_ref=update.transaction_id,
        gateway_reference=update.gateway_reference,
        update=dump_update(update),
        body_sha256=digest,
        received_at=now,
        # Ours to process until then; after that, the sweep's.
        next_attempt_at=now + CLAIM_LEASE,
    )
    if not insert(row, or_leave=True):
        logger.info("duplicate gateway=%s event=%r", alias, row.event_id)
        return None
    logger.info("stored gateway=%s event=%r callback=%s", alias, row.event_id, row.pk)
    return row


def process_callback(callback_id: uuid.UUID) -> Callback.State:
    """Work on one inbox row; harmless when it was worked on already. What became of it.

    Raises:
        Callback.DoesNotExist: there is no such row.
    """
    row = Callback.objects.get(pk=callback_id)
    if row.state in {Callback.State.PROCESSED, Callback.State.DEAD}:
        return Callback.State(row.state)
    return process_row(row)


def process_row(row: Callback) -> Callback.State:
    """`process_callback` for who has read the row just now."""
    try:
        return _process(row)
    # Whatever it was, the row says so to staff, and the sweep tries again.
    except Exception as error:
        expected = isinstance(error, GatewayError)
        logger.log(
            logging.WARNING if expected else logging.ERROR,
            "failed callback=%s event=%r", row.pk, row.event_id, exc_info=not expected,
        )  # fmt: skip
        return _put_off(row, Callback.State.RECEIVED, f"{type(error).__name__}: {error}", error)


def _process(row: Callback) -> Callback.State:
    signed = gateways[row.gateway].signs_callbacks
    # Nothing that an unsigned one says is believed, not even that somebody should look: anybody may have sent it.
    update = load_update(row.update) if signed else PaymentUpdate()
    found = _find_transaction(row, update)
    if found is None and not (row.transaction_ref or row.gateway_reference):
        return _set_aside(row)
    if found is None:
        state = _put_off(row, Callback.State.UNMATCHED, "No transaction of this gateway matches yet.")
        # The session may have landed, and looked for waiting callbacks, just before we began to wait.
        found = _find_transaction(row, update)
        if found is None:
            return state
    known: Transaction | None = found
    if update.thin:
        # While the gateway was asked, other payments of the order may have come to an end.
        update, known = _ask(found, update), None
    if is_other_mode(found, update):
        return _put_off(row, Callback.State.UNMATCHED, "It is about test money on a live account, or the reverse.")
    update = hear_dispute(found, update, source=Source.CALLBACK, callback=row)
    try:
        outcome = _hear(row, found, update, known)
    except MovementInProgress:
        return _put_off(row, Callback.State.UNMATCHED, "It may be about a refund that the gateway has not named yet.")
    follow_up(outcome)
    logger.info("processed callback=%s transaction=%s moved=%s", row.pk, found.pk, outcome.moved)
    return Callback.State.PROCESSED


def _ask(found: Transaction, said: PaymentUpdate) -> PaymentUpdate:
    """What is true, where a message only says that something happened; its own news of a refund or a dispute stays."""
    asked = ask_gateway(found) or said
    # A word that even the gateway's own record leaves unknown is for staff; other news is no state.
    unknown = asked.thin and not (said.refund or said.dispute or said.flags)
    flags = said.flags | asked.flags | ({"unknown_state"} if unknown else set())
    if said.refund is None:
        _ask_refunds_soon(found)
    return replace(asked, flags=flags, dispute=said.dispute or asked.dispute, refund=said.refund)


def _hear(row: Callback, found: Transaction, update: PaymentUpdate, known: Transaction | None) -> Outcome:
    """What it says about the payment, about one refund and about captures of it, in one commit.

    Args:
        known: `found`, where it was read a moment ago.
    """
    if update.refund is None and not found.capturing_minor:
        return apply_update(found.pk, update, source=Source.CALLBACK, callback=row, known=known)
    with transaction.atomic():
        due, flags = ask_movement_at(timezone.now()), frozenset[str]()
        if update.refund:
            flags = hear_refund(found.pk, update.refund, source=Source.CALLBACK, due=due, callback=row)
        hear_failed_capture(found, update, callback=row)
        outcome = apply_update(found.pk, update, source=Source.CALLBACK, callback=row, flags=flags)
        settle_captures(outcome.transaction, source=Source.CALLBACK, callback=row)
    return outcome


def _ask_refunds_soon(found: Transaction) -> None:
    """A hint that names no refund may be about one."""
    now = timezone.now()
    open_still = Refund.objects.filter(transaction=found, state=MovementState.SUBMITTED, next_attempt_at__gt=now)
    open_still.update(next_attempt_at=now)


def _set_aside(row: Callback) -> Callback.State:
    """It is about no payment of ours (a payout, another shop's dispute): kept, and nothing to do."""
    now = timezone.now()
    Callback.objects.filter(pk=row.pk).update(
        state=Callback.State.PROCESSED,
        processed_at=now,
        next_attempt_at=None,
        last_error="It is about no payment of ours.",
    )
    return Callback.State.PROCESSED


def _find_transaction(row: Callback, update: PaymentUpdate) -> Transaction | None:
    """The transaction that a callback is about: of its own gateway account, and no other."""
    found = _named_transaction(row, update)
    # Until the gateway has told us which session is ours, a message could be about any.
    if found and found.state == State.CREATED:
        return None
    return found


def _named_transaction(row: Callback, update: PaymentUpdate) -> Transaction | None:
    """By our id; by the gateway's session; by its payment where a message (a dispute, a refund) names no session."""
    pk, payment = parse_id(row.transaction_ref), row.update.get("payment_reference", "")
    if row.transaction_ref:
        return read_row(update, gateway=row.gateway, id=pk) if pk else None
    if row.gateway_reference:
        return read_row(update, gateway=row.gateway, gateway_reference=row.gateway_reference)
    return read_row(update, gateway=row.gateway, payment_reference=payment) if payment else None


def match_waiting_callbacks(found: Transaction) -> int:
    """Process what arrived before its transaction could be matched; how many."""
    names_it = Q(transaction_ref__in=[str(found.pk), found.pk.hex])
    if found.gateway_reference:
        names_it |= Q(gateway_reference=found.gateway_reference)
    waiting = Callback.objects.filter(names_it, gateway=found.gateway, state=Callback.State.UNMATCHED)
    pks = list(waiting.order_by("received_at").values_list("pk", flat=True))
    for pk in pks:
        process_callback(pk)
    return len(pks)


def retry_callback(callback_id: uuid.UUID) -> Callback.State:
    """Work on a callback now, also on one that was given up; what became of it.

    Raises:
        Callback.DoesNotExist: there is no such row.
    """
    given_up = Callback.objects.filter(pk=callback_id, state=Callback.State.DEAD)
    given_up.update(state=Callback.State.RECEIVED, attempts=0, next_attempt_at=timezone.now() + CLAIM_LEASE)
    return process_callback(callback_id)


def _put_off(row: Callback, state: Callback.State, reason: str, error: Exception | None = None) -> Callback.State:
    """Try again later, or give up where staff can see it."""
    now = timezone.now()
    attempts = row.attempts + (not (error and asked_nothing(error)))
    if _given_up(row, state, attempts, now):
        state = Callback.State.DEAD
        logger.error("dead callback=%s gateway=%s event=%r", row.pk, row.gateway, row.event_id)
    elif state is Callback.State.UNMATCHED and now - row.received_at > ALERT_UNMATCHED_AFTER:
        logger.warning("unmatched callback=%s gateway=%s event=%r", row.pk, row.gateway, row.event_id)
    delay = max(backoff_delay(row.attempts, first=10, ceiling=timedelta(hours=1)), rest_delay(error))
    # Not over the head of somebody who has processed it meanwhile.
    mine = Callback.objects.filter(pk=row.pk).exclude(state=Callback.State.PROCESSED)
    written = mine.update(
        state=state,
        attempts=attempts,
        next_attempt_at=None if state is Callback.State.DEAD else now + delay,
        last_error=reason[:255],
    )
    if written and state is Callback.State.DEAD:
        _flag_given_up(row)
    return state


def _flag_given_up(row: Callback) -> None:
    """Show it where staff look: at the payment that the callback names, if there is one."""
    found = _named_transaction(row, PaymentUpdate())
    if found:
        Callback.objects.filter(pk=row.pk, transaction=None).update(transaction=found)
        note = f"callback {row.event_id} was given up"
        apply_update(found.pk, PaymentUpdate(), source=Source.SYSTEM, flags=("unmatched",), note=note)


def _given_up(row: Callback, state: Callback.State, attempts: int, now: datetime) -> bool:
    if state is Callback.State.UNMATCHED:
        return now - row.received_at > MATCH_FOR
    return attempts >= settings.MAX_ATTEMPTS


def dump_update(update: PaymentUpdate) -> dict[str, Any]:
    """An update as JSON, for the inbox."""
    said: dict[str, Any] = {name: getattr(update, name) for name in TEXT_FIELDS}
    said["state"] = update.state
    for name in MONEY_FIELDS:
        money: Money | None = getattr(update, name)
        said[name] = dump_money(money)
    if update.refund:
        refund = update.refund
        named = [refund.refund_id, refund.reason]
        said["refund"] = [refund.refund_reference, refund.state, dump_money(refund.amount), *named]
    said["dispute"] = dump_dispute(update.dispute)
    said["flags"] = sorted(update.flags)
    said["test"] = None if update.test is None else ["no", "yes"][update.test]
    return {name: value for name, value in said.items() if value} | {"raw": dict(update.raw)}


def dump_money(money: Money | None) -> list[str] | None:
    """Money as JSON."""
    return [f"{money.amount:f}", money.currency.code] if money is not None else None


def load_update(said: dict[str, Any]) -> PaymentUpdate:
    """The update that `dump_update` wrote."""
    known: dict[str, Any] = {name: said[name] for name in TEXT_FIELDS if name in said}
    known |= {name: Money(*said[name]) for name in MONEY_FIELDS if name in said}
    if "refund" in said:
        # What was taken in by an older version has three.
        kept: list[Any] = said["refund"]
        reference, refund_state, amount, refund_id, reason = [*kept, "", ""][:5]
        known["refund"] = RefundUpdate(
            refund_reference=reference,
            state=RefundState(refund_state),
            amount=Money(*amount) if amount else None,
            refund_id=refund_id,
            reason=reason,
        )
    known["dispute"] = load_dispute(said.get("dispute"))
    known["flags"] = frozenset(said.get("flags", []))
    known["test"] = {"no": False, "yes": True}.get(said.get("test", ""))
    state = State(said["state"]) if "state" in said else None
    return PaymentUpdate(state=state, raw=said.get("raw", {}), **known)
