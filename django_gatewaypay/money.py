"""Money is `moneyed.Money` in Python and integer minor units in the database and on most wires.

Nothing here rounds and nothing here is a float: a value that does not fit its currency is refused.
"""

import re
from collections.abc import Mapping
from decimal import Decimal

from moneyed import CurrencyDoesNotExist, Money, get_currency

__all__ = ["InvalidAmount", "Money", "exponent", "format_minor", "from_minor", "minor_in", "parse_amount", "to_minor"]

NO_EXCEPTIONS: Mapping[str, int] = {}
PLAIN_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,4})?", re.ASCII)


class InvalidAmount(ValueError):
    """The amount cannot be expressed exactly in its currency."""


def exponent(currency: str, exceptions: Mapping[str, int] = NO_EXCEPTIONS) -> int:
    """How many decimal places the currency has: 2 for EUR, 0 for JPY, 3 for KWD.

    Args:
        currency: ISO 4217 code.
        exceptions: places by currency, where a gateway differs from ISO 4217.

    Raises:
        InvalidAmount: the currency is unknown.
    """
    if currency in exceptions:
        return exceptions[currency]
    try:
        return len(str(get_currency(currency).sub_unit)) - 1
    except CurrencyDoesNotExist as error:
        raise InvalidAmount(f"Unknown currency {currency!r}.") from error


def to_minor(money: Money, exceptions: Mapping[str, int] = NO_EXCEPTIONS) -> int:
    """The amount in integer minor units (cents, yen, fils).

    Raises:
        InvalidAmount: the amount has more places than its currency.
    """
    scaled = money.amount.scaleb(exponent(money.currency.code, exceptions))
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise InvalidAmount(f"{money.amount} has more decimal places than {money.currency.code}.")
    return int(scaled)


def minor_in(currency: str, money: Money) -> int | None:
    """The amount in minor units of a currency; None when it is another one, or no amount of this one."""
    if money.currency.code != currency:
        return None
    try:
        return to_minor(money)
    except InvalidAmount:
        return None


def from_minor(minor: int, currency: str, exceptions: Mapping[str, int] = NO_EXCEPTIONS) -> Money:
    """The money behind integer minor units.

    Raises:
        InvalidAmount: the currency is unknown.
    """
    return Money(Decimal(minor).scaleb(-exponent(currency, exceptions)), currency)


def parse_amount(text: object, currency: object) -> Money:
    """Read a decimal amount from a wire: a plain decimal string, or a JSON integer.

    Raises:
        InvalidAmount: a float, another type, an exponent, too many places or an unknown currency.
    """
    if isinstance(text, bool) or not isinstance(text, str | int) or not isinstance(currency, str):
        raise InvalidAmount("The amount must be a decimal string with a currency code.")
    # An endless integer is refused before Python refuses to print it.
    if isinstance(text, int) and abs(text) >= 10**15:
        raise InvalidAmount("The amount is too large.")
    if not PLAIN_DECIMAL.fullmatch(str(text)):
        raise InvalidAmount("The amount must be a plain decimal number.")
    places = exponent(currency)
    money = Money(Decimal(str(text)), currency)
    to_minor(money, {currency: places})
    return money


def format_minor(minor: int, currency: str) -> str:
    """The amount as our API writes it: "19.99", "2000" for JPY."""
    return f"{from_minor(minor, currency).amount:f}"
