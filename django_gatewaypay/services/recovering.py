"""Write a payment of ours again that only the gateway still knows, after a backup was restored."""

from django.db import IntegrityError
from django.utils import timezone
from moneyed import Money

from ..conf import settings
from ..exceptions import PaymentInProgress
from ..lifecycle import write_recovered
from ..models import Transaction
from ..money import InvalidAmount, to_minor
from ..types import ListedPayment, State
from . import access
from .callbacks import match_waiting_callbacks
from .moments import as_ours

__all__ = ["recover"]


def recover(alias: str, listed: ListedPayment) -> Transaction | None:
    """The transaction that a listed payment names, written again; None when the list does not say enough.

    Raises:
        PaymentInProgress: another payment of its order is open at this gateway.
    """
    row = _row_of(alias, listed)
    if row is None:
        return None
    try:
        row = write_recovered(row, listed.update)
    except IntegrityError as error:
        # The list may name it twice.
        known = Transaction.objects.filter(pk=row.pk).first()
        if known is None:
            raise PaymentInProgress(transaction_id=str(row.pk)) from error
        return known
    match_waiting_callbacks(row)
    return Transaction.objects.get(pk=row.pk)


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
        manual_capture=listed.update.state is State.AUTHORIZED,
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
