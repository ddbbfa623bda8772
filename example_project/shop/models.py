"""Products, and orders of one product each."""

import re
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.crypto import get_random_string
from moneyed import Money

from django_gatewaypay.money import format_minor, from_minor

ORDER_ID = re.compile(r"[A-Za-z0-9]{12}")


def new_order_id() -> str:
    """Twelve random characters that nobody guesses (71 bits)."""
    return get_random_string(12)


class Priced(models.Model):
    """Something with a price, kept in the smallest unit of its currency."""

    amount_minor = models.PositiveBigIntegerField()
    currency = models.CharField(max_length=3)

    class Meta:
        abstract = True

    @property
    def price(self) -> Money:
        """The exact price."""
        return from_minor(self.amount_minor, self.currency)

    @property
    def amount(self) -> str:
        """The number in it: "19.99", "2400" for JPY, "12.500" for KWD."""
        return format_minor(self.amount_minor, self.currency)


class Product(Priced):
    """Something to buy."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    origin = models.CharField(max_length=80, blank=True)
    description = models.TextField(blank=True)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.name


class OrderQuerySet(models.QuerySet["Order"]):
    """Orders by who asks."""

    def find(self, order_id: str, user: Any) -> "Order | None":
        """The order behind an id from outside, if this visitor may see it.

        A user's order is that user's. A guest's order has no owner: its id is the key to it, and nobody
        guesses one.
        """
        if not ORDER_ID.fullmatch(order_id):
            return None
        order = self.select_related("product").filter(pk=order_id).first()
        return order if order and order.user_id in {None, getattr(user, "pk", None)} else None


class Order(Priced):
    """One product, ordered at the price of that moment."""

    id = models.CharField(primary_key=True, max_length=12, default=new_order_id, editable=False)
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE)
    email = models.EmailField(blank=True, help_text="Of a guest; a user's order uses that of the account.")
    created_at = models.DateTimeField(auto_now_add=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    fulfilments = models.PositiveIntegerField(default=0, help_text="How often it was fulfilled; more than 1 is a bug.")

    objects = OrderQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"Order {self.pk}"
