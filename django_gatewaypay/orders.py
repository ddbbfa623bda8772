"""`OrderHandler`: the one class that a host writes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from moneyed import Money

from .conf import settings

if TYPE_CHECKING:
    from .models import Transaction

__all__ = ["OrderHandler", "Quote", "order_handler"]


@dataclass(frozen=True)
class Quote:
    """What an order costs.

    Args:
        amount: the exact price, with its currency.
        description: what the shopper reads at the gateway, such as "Order 1234".
        capture: "manual" only reserves the amount, for `services.capture` to take; "auto" takes it at once;
            "" does what `GATEWAYS` says of the alias.
    """

    amount: Money
    description: str = ""
    capture: str = ""


class OrderHandler(ABC):
    """Tells the package about the host's orders. Name its dotted path in `GATEWAYPAY["ORDERS"]`."""

    @abstractmethod
    def quote(self, order_id: str, *, request: Any) -> Quote:
        """The price of an order, for the shopper behind `request` (None in scripts).

        It also guards the order: whoever gets a quote may pay it and see its payment.

        Raises:
            OrderNotPayable: paid already, sold out, …; the shopper reads the message.
            OrderNotFound: or any `DoesNotExist`: no such order *for this shopper*.
        """

    @abstractmethod
    def fulfil(self, transaction: "Transaction") -> None:
        """The order is paid. Runs inside the database transaction that marks it fulfilled.

        What it writes to the same database happens exactly once per order. Mail and other outside
        effects belong into `django.db.transaction.on_commit`. An exception undoes its writes, and
        it is called again later.
        """

    def release(self, transaction: "Transaction") -> None:  # noqa: B027 - a host without stock needs none
        """The payment failed, was canceled or expired, and no other one is open: give the stock back."""

    def email(self, order_id: str) -> str:
        """The address of an order's shopper, for "Check payment status" from another device; "" when there is none.

        Write it, and the page offers to send a link to this address, and staff find payments by it: the books keep
        a keyed digest. It is called when a payment starts; for orders that have one, outside of the request; and
        when a link is opened: change the address, and older links are dead.
        """
        return ""


def order_handler() -> OrderHandler:
    """The host's handler.

    Raises:
        ImproperlyConfigured: `ORDERS` does not name an `OrderHandler`.
    """
    try:
        handler = import_string(str(settings.ORDERS))
    except ImportError as error:
        raise ImproperlyConfigured(f'GATEWAYPAY["ORDERS"]: {error}') from error
    if not (isinstance(handler, type) and issubclass(handler, OrderHandler)):
        raise ImproperlyConfigured(f'GATEWAYPAY["ORDERS"]: {settings.ORDERS} is not an OrderHandler.')
    return handler()
