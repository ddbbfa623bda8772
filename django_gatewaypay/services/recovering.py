"""Write a payment of ours again that only the gateway still knows, after a backup was restored."""

import logging
from dataclasses import replace
from typing import Any

from django.db import IntegrityError
from django.utils import timezone
from moneyed import Money

from ..conf import settings
from ..exceptions import GatewayError, PaymentInProgress
from ..lifecycle import write_recovered
from ..models import Transaction
from ..money import InvalidAmount, to_minor
from ..registry import gateways
from ..types import ListedPayment, PaymentRef, PaymentUpdate, State
from . import access
from .callbacks import match_waiting_callbacks
from .comparing import ended_unpaid
from .moments import as_ours

__all__ = ["recover"]

logger = logging.getLogger("gatewaypay.reconcile")


def recover(alias: str, listed: ListedPayment, *, actor: Any = None, reason: str = "") -> Transaction | None:
    """The transaction that a listed payment names, written again; None when the gateway does not say enough.

    Args:
        actor: who wants it, for the ledger.
        reason: why, likewise.

    Raises:
        PaymentInProgress: another payment of its order is open at this gateway.
    """
    row = _row_of(alias, listed)
    update = _ask(row, listed) if row else listed.update
    if row is None or ended_unpaid(update):
        return None
    row.manual_capture = update.state is State.AUTHORIZED
    try:
        row = write_recovered(row, update, actor=actor, reason=reason)
    except IntegrityError as error:
        # The list may name it twice.
        known = Transaction.objects.filter(pk=row.pk).first()
        if known is None:
            raise PaymentInProgress(transaction_id=str(row.pk)) from error
        return known
    match_waiting_callbacks(row)
    return Transaction.objects.get(pk=row.pk)


def _ask(row: Transaction, listed: ListedPayment) -> PaymentUpdate:
    """The gateway's word about it alone, because a list may be coarser and is older; else the list's."""
    gateway, known = gateways[row.gateway], listed.update
    if not gateway.supports_fetch or not known.gateway_reference:
        return known
    # As if it were closed: asking must take no money before a person has seen it.
    payment = PaymentRef(
        transaction_id=str(row.pk),
        gateway_reference=known.gateway_reference,
        payment_reference=known.payment_reference,
        amount=row.amount,
        closed=True,
    )
    try:
        told = gateway.fetch_payment(payment)
    except GatewayError as error:
        logger.warning("no answer transaction=%s error=%s code=%r", row.pk, type(error).__name__, error.code)
        return known
    return replace(
        told,
        gateway_reference=known.gateway_reference,
        payment_reference=told.payment_reference or known.payment_reference,
    )


def _row_of(alias: str, listed: ListedPayment) -> Transaction | None:
    pk, amount = access.parse_id(listed.update.transaction_id), _amount_of(listed)
    if pk is None or amount is None or not listed.order_id or len(listed.order_id) > 128:
        return None
    created_at = as_ours(listed.created_at)
    return Transaction(
        pk=pk,
        order_id=listed.order_id,
        gateway=alias,
        amount_minor=to_minor(amount),
        currency=amount.currency.code,
        owner_key=access.GUEST,
        fingerprint="",
        token_hash=access.hash_token(access.mint_token(pk)),
        created_at=created_at,
        updated_at=timezone.now(),
        expires_at=created_at + settings.EXPIRE_AFTER,
    )


def _amount_of(listed: ListedPayment) -> Money | None:
    """What was asked for, as far as the gateway remembers."""
    told = (listed.amount, listed.update.captured, listed.update.authorized)
    amount = next((money for money in told if money is not None), None)
    try:
        return amount if amount is not None and to_minor(amount) > 0 else None
    except InvalidAmount:
        return None
