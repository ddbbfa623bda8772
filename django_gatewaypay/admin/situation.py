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
from ..types import UNANSWERED_MOVEMENTS, MovementState, PaymentUpdate
from .base import moment, money

__all__ = ["ENDED_MOVEMENTS", "Answer", "Situation", "ask"]

ENDED_MOVEMENTS = frozenset({MovementState.SUCCEEDED, MovementState.FAILED})

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
        """What is reserved still, and not more than was asked for."""
        row = self.row
        return min(left_to_capture(row), max(row.amount_minor - max(row.capturing_minor, row.captured_minor), 0))

    @cached_property
    def is_fulfilled(self) -> bool:
        """Whether the order has its fulfilment, by this payment or by another."""
        return Fulfilment.objects.filter(order_id=self.row.order_id, kind=Fulfilment.Kind.FULFIL).exists()

    @property
    def refund_is_open(self) -> bool:
        """Nobody knows what became of a refund, or it waits for a second person."""
        return any(refund.state in UNANSWERED_MOVEMENTS for refund in self.refunds)

    @property
    def may_take_more(self) -> bool:
        """No capture is on its way, and none of those that came through was the last."""
        left = [capture for capture in self.captures if capture.state != MovementState.FAILED]
        return all(capture.state == MovementState.SUCCEEDED and not capture.final for capture in left)

    @property
    def capture_is_on_its_way(self) -> bool:
        return any(capture.state not in ENDED_MOVEMENTS for capture in self.captures)

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

    def references(self) -> list[tuple[str, str]]:
        """Where and by whom it is paid, and what the gateway calls it."""
        row = self.row
        known = [
            (gettext("Gateway"), row.gateway),
            (gettext("Gateway reference"), row.gateway_reference),
            (gettext("Payment reference"), row.payment_reference),
            (gettext("Shopper"), str(row.user or "")),
            (gettext("Begun"), moment(row.created_at)),
        ]
        return [(name, text) for name, text in known if text]


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
