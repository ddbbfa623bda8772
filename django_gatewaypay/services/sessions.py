"""Open the gateway's session of a transaction, and let what waits for it know."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils import timezone

from ..conf import settings
from ..exceptions import GatewayDeclined, GatewayError, GatewayRejected, GatewayUnavailable
from ..gateways.base import Gateway
from ..lifecycle import apply_update
from ..models import Transaction
from ..schedule import backoff_delay, knows_key
from ..types import PaymentRequest, PaymentSession, PaymentUpdate, Source, State
from .callbacks import match_waiting_callbacks
from .moments import as_theirs
from .refreshing import asked_nothing, gateway_of, rest_delay

__all__ = ["as_utc", "open_session", "payment_request", "public_url"]

logger = logging.getLogger("gatewaypay.initiate")

#: So often a call without an answer is repeated under one key: a gateway may have stored an error of its own with it.
TRIES_PER_KEY = 6


def open_session(row: Transaction) -> Transaction:
    """Open the gateway's session for a `created` row that the caller has claimed.

    The gateway's idempotency key is our id: however often this runs, there is one session. A new key is
    used only after the gateway has said that it knows of none.

    Raises:
        GatewayDeclined, GatewayRejected: a definite no; the row is `failed`.
        GatewayUnavailable: the row stays `created`, free for the next try.
    """
    if row.state != State.CREATED:
        return row
    with _telling_the_transaction(row):
        try:
            session = _find_or_create(row)
        except (GatewayDeclined, GatewayRejected) as error:
            code = getattr(error, "decline_code", "") or "gateway_rejected"
            refused = PaymentUpdate(state=State.FAILED, decline_code=code, raw={"code": error.code})
            apply_update(row.pk, refused, source=Source.INITIATE)
            raise
        except BaseException as error:
            _release_claim(row, error)
            raise
    return _land(row, session)


def _find_or_create(row: Transaction) -> PaymentSession:
    """Repeat the call under its key while that is safe; after that, look before opening another session."""
    gateway = gateway_of(row)
    if _may_repeat(row, gateway):
        return gateway.create_session(payment_request(row))
    if not gateway.supports_find:
        raise GatewayUnavailable("Nobody knows whether a session was opened.", gateway=gateway.name, code="key_expired")
    return _look_up(row, gateway) or gateway.create_session(payment_request(_renew_key(row)))


def _may_repeat(row: Transaction, gateway: Gateway) -> bool:
    """The gateway still knows the key; and has not answered it with the same error again and again."""
    fresh = knows_key(row.key_since or row.created_at, timezone.now(), gateway.key_ttl)
    tried_enough = row.poll_attempts >= TRIES_PER_KEY * (row.key_number + 1)
    return fresh and not (tried_enough and gateway.supports_find)


def _look_up(row: Transaction, gateway: Gateway) -> PaymentSession | None:
    try:
        found = gateway.find_session(payment_request(row))
    except (GatewayDeclined, GatewayRejected) as error:
        # A no to the question is no answer to it.
        raise GatewayUnavailable("The session cannot be looked up.", gateway=gateway.name, code=error.code) from error
    logger.info("looked up transaction=%s found=%s", row.pk, found is not None)
    return found


def _renew_key(row: Transaction) -> Transaction:
    """The next key, committed before it is used."""
    row.key_number, row.key_since = row.key_number + 1, timezone.now()
    Transaction.objects.filter(pk=row.pk).update(key_number=row.key_number, key_since=row.key_since)
    return row


def _land(row: Transaction, session: PaymentSession) -> Transaction:
    opened = PaymentUpdate(
        state=State.PENDING,
        gateway_reference=session.gateway_reference,
        payment_reference=session.payment_reference,
    )
    outcome = apply_update(row.pk, opened, source=Source.INITIATE, session=session, known=row)
    if match_waiting_callbacks(outcome.transaction):
        return Transaction.objects.get(pk=row.pk)
    return outcome.transaction


def _release_claim(row: Transaction, error: BaseException) -> None:
    if asked_nothing(error):
        attempts, due = row.poll_attempts, timezone.now() + rest_delay(error)
    else:
        attempts = row.poll_attempts + 1
        due = timezone.now() + max(backoff_delay(attempts - 1, first=20), rest_delay(error))
    Transaction.objects.filter(pk=row.pk, state=State.CREATED).update(
        claimed_until=None, poll_attempts=attempts, next_poll_at=due
    )


@contextmanager
def _telling_the_transaction(row: Transaction) -> Iterator[None]:
    """Log a gateway's error, and let it say which transaction it was about."""
    try:
        yield
    except GatewayError as error:
        error.transaction_id = str(row.pk)
        level = logging.WARNING if isinstance(error, GatewayUnavailable) else logging.INFO
        logger.log(
            level, "no session transaction=%s error=%s code=%r request=%r",
            row.pk, type(error).__name__, error.code, error.request_id,
        )  # fmt: skip
        raise


def payment_request(row: Transaction) -> PaymentRequest:
    """What the gateway is asked for; the same at every retry under one key."""
    return PaymentRequest(
        transaction_id=str(row.pk),
        order_id=row.order_id,
        amount=row.amount,
        callback_url=public_url("callback", row.gateway),
        return_url=public_url("return", row.pk),
        expires_at=as_utc(row.expires_at),
        idempotency_key=f"gatewaypay-{row.pk}" + (f"-{row.key_number}" if row.key_number else ""),
        description=row.description or row.order_id,
        created_at=as_utc(row.created_at),
        manual_capture=row.manual_capture,
    )


def public_url(name: str, *args: Any) -> str:
    """One of our URLs under the host's public origin."""
    return settings.BASE_URL.rstrip("/") + reverse(f"gatewaypay:{name}", args=args)


def as_utc(moment: datetime) -> datetime:
    """An aware UTC time, whether the host has USE_TZ or not; whole seconds."""
    return as_theirs(moment).replace(microsecond=0)
