"""The handler of the host in our tests."""

from typing import Any

from django.db.models import F

from django_gatewaypay.exceptions import OrderNotPayable
from django_gatewaypay.money import from_minor
from django_gatewaypay.orders import OrderHandler, Quote


class HookFailed(Exception):
    """The host has a bad day."""


class ShopOrders(OrderHandler):
    """A plain host, as the quickstart would write it."""

    def quote(self, order_id: str, *, request: Any) -> Quote:
        from .models import Order

        order = Order.objects.get(pk=order_id)
        if order.paid or order.mood == "refuse":
            raise OrderNotPayable("This order is paid already.")
        return Quote(from_minor(order.price_minor, order.currency), description=f"Order {order.pk}")

    def fulfil(self, transaction: Any) -> None:
        self._write(transaction, paid=True, fulfilments=F("fulfilments") + 1)

    def release(self, transaction: Any) -> None:
        self._write(transaction, releases=F("releases") + 1)

    def _write(self, transaction: Any, **changes: Any) -> None:
        from .models import Order

        orders = Order.objects.filter(pk=transaction.order_id)
        mood = orders.values_list("mood", flat=True).get()
        if mood == "raise":
            raise HookFailed("no stock in the cellar")
        orders.update(**changes)
        if mood == "raise_after":
            raise HookFailed("after writing")


class MailingShopOrders(ShopOrders):
    """A host that knows where its shoppers read their mail."""

    def email(self, order_id: str) -> str:
        from .models import Order

        order = Order.objects.get(pk=order_id)
        if order.mood == "raise":
            raise HookFailed(f"{order.email} cannot be read")
        return order.email
