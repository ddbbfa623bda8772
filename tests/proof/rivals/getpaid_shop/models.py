"""The host's order, as the documentation of django-getpaid writes it."""

from decimal import Decimal
from typing import Any

from django.db import models
from getpaid.abstracts import AbstractOrder


class Order(AbstractOrder):
    """Twenty dollars' worth."""

    currency = models.CharField(max_length=3, default="USD")
    total = models.DecimalField(max_digits=12, decimal_places=2, default="20.00")

    def get_absolute_url(self) -> str:
        return "/"

    def get_total_amount(self) -> Decimal:
        return Decimal(str(self.total))

    def get_description(self) -> str:
        return "order"

    def get_buyer_info(self) -> dict[str, Any]:
        return {"email": "a@shop.example"}

    def get_return_url(self, *args: Any, **kwargs: Any) -> str:
        return "/"
