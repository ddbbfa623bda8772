"""Which row of ours a listed payment is, and many of them at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from ..exceptions import GatewayError
from ..models import Transaction
from ..types import ListedPayment
from .access import parse_id

__all__ = ["BATCH", "batches", "finder"]

BATCH = 200
Item = TypeVar("Item")


def finder(alias: str, page: Sequence[ListedPayment]) -> Callable[[ListedPayment], Transaction | None]:
    """Our rows of a page, read at once: by our id; by the gateway's where it names no id."""
    by_id = Transaction.objects.in_bulk({pk for one in page if (pk := parse_id(one.update.transaction_id))})
    nameless = [one.update for one in page if not one.update.transaction_id]
    ours = Transaction.objects.filter(gateway=alias)
    sessions = {one.gateway_reference for one in nameless} - {""}
    by_session = {row.gateway_reference: row for row in ours.filter(gateway_reference__in=sessions)}
    payments = {one.payment_reference for one in nameless if not one.gateway_reference} - {""}
    by_payment = {row.payment_reference: row for row in ours.filter(payment_reference__in=payments)}

    def find(listed: ListedPayment) -> Transaction | None:
        update = listed.update
        if update.transaction_id:
            pk = parse_id(update.transaction_id)
            return by_id.get(pk) if pk else None
        return by_session.get(update.gateway_reference) or by_payment.get(update.payment_reference)

    return find


def batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """So many at a time, the last of them fewer. What came before a list broke off is true, and not lost."""
    batch, trouble = list[Item](), None
    try:
        for item in items:
            batch.append(item)
            if len(batch) == BATCH:
                yield batch
                batch = []
    except GatewayError as error:
        trouble = error
    if batch:
        yield batch
    if trouble:
        raise trouble
