"""Find a payment by what somebody reads out on the telephone. Each kind of word has its own index."""

from uuid import UUID

from django.db.models import Q

from .. import services
from ..models import Transaction
from ..services.access import parse_id

__all__ = ["of_payment", "payment_ids"]

#: Orders and shoppers with more payments than this have their own filter: the list of transactions.
MOST = 500


def of_payment(term: str) -> Q:
    """Its order, a reference of the gateway, its id, or the address of its shopper."""
    found = Q(order_id=term) | Q(gateway_reference=term) | Q(payment_reference=term)
    pk = parse_id(term)
    if pk:
        found |= Q(pk=pk)
    if "@" in term:
        found |= Q(email_digest=services.email_digest(term))
    return found


def payment_ids(term: str) -> list[UUID]:
    """The payments that a term is about; looked up first, because an index does not reach across two tables."""
    return list(Transaction.objects.filter(of_payment(term)).values_list("pk", flat=True)[:MOST])
