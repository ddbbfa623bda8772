"""All that the shop tells the payment package about its orders."""

import logging
from typing import Any

from django.db.models import F
from django.db.models.functions import Coalesce, Now

from django_gatewaypay.exceptions import OrderNotFound, OrderNotPayable
from django_gatewaypay.models import Transaction
from django_gatewaypay.orders import OrderHandler, Quote

from .models import Order

logger = logging.getLogger("shop.orders")


class ShopOrders(OrderHandler):
    """Orders of users are theirs; an order without an owner may be paid by whoever knows its id."""

    def quote(self, order_id: str, *, request: Any) -> Quote:
        order = Order.objects.find(order_id, getattr(request, "user", None))
        if order is None:
            raise OrderNotFound
        if order.paid_at:
            raise OrderNotPayable("This order is paid already.")
        return Quote(order.price, description=f"{order.product.name}, order {order.pk}")

    def fulfil(self, transaction: Transaction) -> None:
        # The database counts, so that two at once would show up as 2 instead of overwriting each other.
        paid = Order.objects.filter(pk=transaction.order_id).update(
            fulfilments=F("fulfilments") + 1, paid_at=Coalesce("paid_at", Now())
        )
        if not paid:
            raise Order.DoesNotExist(f"Order {transaction.order_id} was paid and is gone.")
        logger.info("fulfilled order=%s", transaction.order_id)

    def release(self, transaction: Transaction) -> None:
        # A shop with stock would put the goods back on the shelf here.
        logger.info("released order=%s", transaction.order_id)

    def email(self, order_id: str) -> str:
        order = Order.objects.select_related("user").filter(pk=order_id).first()
        if order is None:
            return ""
        return order.user.email if order.user else order.email
