"""A payment with everything that decides what may be done to it, and what its gateway says of it now."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.utils.translation import gettext
from moneyed import Money

from ..exceptions import GatewayPayError, UnknownGateway
from ..gateways.base import Gateway
from ..lifecycle import left_to_capture, left_to_refund
from ..models import Capture, Dispute, Fulfilment, Refund, Transaction
from ..registry import gateways
from ..services.refreshing import payment_ref
from ..types import UNANSWERED_MOVEMENTS, PaymentUpdate
from .base import money

__all__ = ["Answer", "Situation", "ask"]

#: Nobody reads more than this of one kind at one payment; the lists have the rest.
MOST = 200


class Situation:
    """A payment, what moved after it, and what its gateway can do."""

    def __init__(self, row: Transaction) -> None:
        self.row = row

    @cached_property
    def gateway(self) -> Gateway | None:
        """The adapter; None where the host has taken the account out of its settings, or broken it."""
        try:
            return gateways[self.row.gateway]
        except (UnknownGateway, ImproperlyConfigured):
            return None

    @cached_property
    def refunds(self) -> list[Refund]:
        return list(self._belonging(Refund.objects.select_related("actor", "approver")))

    @cached_property
    def captures(self) -> list[Capture]:
        return list(self._belonging(Capture.objects.select_related("actor")))

    @cached_property
    def disputes(self) -> list[Dispute]:
        return list(self._belonging(Dispute.objects.all()))

    def _belonging(self, rows: QuerySet[Any]) -> Iterator[Any]:
        for row in rows.filter(transaction=self.row)[:MOST]:
            row.transaction = self.row  # its currency is needed, and known
            yield row

    @cached_property
    def left_to_refund(self) -> int:
        return left_to_refund(self.row)

    @property
    def left_to_capture(self) -> int:
        return left_to_capture(self.row)

    @cached_property
    def is_fulfilled(self) -> bool:
        """Whether the order has its fulfilment, by this payment or by another."""
        return Fulfilment.objects.filter(order_id=self.row.order_id, kind=Fulfilment.Kind.FULFIL).exists()

    @property
    def refund_is_open(self) -> bool:
        """Nobody knows what became of a refund, or it waits for a second person."""
        return any(refund.state in UNANSWERED_MOVEMENTS for refund in self.refunds)

    @property
    def capture_is_open(self) -> bool:
        return any(capture.state in UNANSWERED_MOVEMENTS for capture in self.captures)

    def sums(self) -> list[tuple[str, str]]:
        """The money of the payment, each sum with its name; what is nothing is left out."""
        row = self.row
        sums = [
            (gettext("Asked for"), row.amount_minor),
            (gettext("Agreed to instead"), row.agreed_minor or 0),
            (gettext("Reserved"), row.authorized_minor),
            (gettext("Taken"), row.captured_minor),
            (gettext("Can still be taken"), self.left_to_capture),
            (gettext("Went back"), row.given_back_minor),
            (gettext("Can still go back"), self.left_to_refund),
        ]
        return [(name, money(minor, row.currency)) for name, minor in sums if minor]


@dataclass(frozen=True)
class Answer:
    """What the gateway says of a payment now, in words; no lines where it does not say anything."""

    text: str
    lines: list[tuple[str, str]]
    differs: bool = False


def ask(situation: Situation) -> Answer:
    """Ask the gateway, outside of any transaction; that it gives no answer is an answer too."""
    if situation.gateway is None or not situation.gateway.supports_fetch or not situation.row.gateway_reference:
        return Answer(gettext("The gateway cannot be asked about this payment."), [])
    try:
        # As if it were over: there are gateways that take the money when they are asked, and this only looks.
        update = situation.gateway.fetch_payment(replace(payment_ref(situation.row), closed=True))
    except GatewayPayError:
        return Answer(gettext("The gateway gives no answer at the moment. What you see is what we know."), [])
    return read(situation.row, update)


def read(row: Transaction, update: PaymentUpdate) -> Answer:
    """The answer, and whether it is other than what our books say."""
    told = {name: getattr(update, name) for name in ("authorized", "captured", "refunded")}
    names = {"authorized": gettext("Reserved"), "captured": gettext("Taken"), "refunded": gettext("Went back")}
    lines = [(names[name], write(value)) for name, value in told.items() if value]
    if update.state is None:
        return Answer(gettext("The gateway answers with a word that we do not know."), lines, differs=True)
    differs = update.state != row.state
    text = gettext("The gateway says the same.") if not differs else gettext("The gateway says something else.")
    return Answer(text, [(gettext("State"), str(update.state)), *lines], differs)


def write(value: Money) -> str:
    return f"{value.amount:f} {value.currency.code}"
