"""The host's orders."""

from django.db import models


class Order(models.Model):
    """What the shop sells, and what its handler did."""

    price_minor = models.BigIntegerField(default=1999)
    currency = models.CharField(max_length=3, default="EUR")
    user_id = models.IntegerField(null=True)
    email = models.CharField(max_length=254, default="")
    paid = models.BooleanField(default=False)
    fulfilments = models.IntegerField(default=0)
    releases = models.IntegerField(default=0)
    #: "" behaves; "refuse" refuses the quote; "raise" fails in the hooks; "raise_after" fails after writing.
    mood = models.CharField(max_length=16, default="")

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"order {self.pk}"
