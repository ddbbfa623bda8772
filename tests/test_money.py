"""Money is exact, or it is refused."""

from decimal import Decimal
from typing import Any

import pytest
from moneyed import Money

from django_gatewaypay.money import InvalidAmount, exponent, format_minor, from_minor, minor_in, parse_amount, to_minor

# currency, decimal places, a decimal amount, the same in minor units
CURRENCIES = [
    ("EUR", 2, "19.99", 1999),
    ("USD", 2, "0.01", 1),
    ("GBP", 2, "1000000.00", 100_000_000),
    ("INR", 2, "0.10", 10),
    ("JPY", 0, "2000", 2000),
    ("KRW", 0, "1", 1),
    ("VND", 0, "150000", 150_000),
    ("CLP", 0, "990", 990),
    ("ISK", 0, "1990", 1990),
    ("UGX", 0, "3700", 3700),
    ("KWD", 3, "1.234", 1234),
    ("BHD", 3, "0.001", 1),
    ("TND", 3, "10.000", 10_000),
    ("JOD", 3, "9.999", 9999),
    ("CLF", 4, "1.2345", 12345),
]


@pytest.mark.parametrize(("currency", "places", "amount", "minor"), CURRENCIES)
def test_every_currency_has_its_iso_places(currency: str, places: int, amount: str, minor: int) -> None:
    """The places are those of ISO 4217, not two for all."""
    assert exponent(currency) == places


@pytest.mark.parametrize(("currency", "places", "amount", "minor"), CURRENCIES)
def test_an_amount_survives_the_round_trip(currency: str, places: int, amount: str, minor: int) -> None:
    """Text to money to minor units and back is the same text."""
    money = parse_amount(amount, currency)

    assert to_minor(money) == minor
    assert from_minor(minor, currency) == money
    assert format_minor(minor, currency) == amount


@pytest.mark.parametrize(
    ("currency", "amount"), [("EUR", "19.999"), ("JPY", "0.5"), ("ISK", "10.01"), ("KWD", "1.2345"), ("CLF", "1.00001")]
)
def test_a_lossy_amount_is_refused(currency: str, amount: str) -> None:
    """What does not fit the currency is never rounded."""
    with pytest.raises(InvalidAmount):
        to_minor(Money(Decimal(amount), currency))
    with pytest.raises(InvalidAmount):
        parse_amount(amount, currency)


@pytest.mark.parametrize(("currency", "amount"), [("EUR", "19.990"), ("JPY", "2000.00"), ("KWD", "1.2000")])
def test_needless_zeros_lose_nothing(currency: str, amount: str) -> None:
    """Trailing zeros beyond the currency's places are the same amount."""
    money = parse_amount(amount, currency)

    assert money == Money(Decimal(amount), currency)
    assert from_minor(to_minor(money), currency) == money


@pytest.mark.parametrize(
    "amount",
    [
        19.99,
        1e3,
        float("nan"),
        True,
        False,
        None,
        b"19.99",
        Decimal("19.99"),
        ["19.99"],
        {"value": "19.99"},
        "",
        " ",
        " 19.99",
        "19.99 ",
        "19.99\n",
        "19,99",
        "1,999.00",
        "1_000",
        "1e3",
        "1E3",
        "+19.99",
        ".99",
        "19.",
        "--1",
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "0x10",
        "19.99 EUR",
        "１９.99",
        "١٩",
        "1" * 16,
        "1." + "0" * 50,
        pytest.param("1" * 100_000, id="endless"),
    ],
)
def test_anything_but_a_plain_decimal_is_refused(amount: Any) -> None:
    """No float, exponent, sign games, separators, other digits or endless numbers come in from a wire."""
    with pytest.raises(InvalidAmount):
        parse_amount(amount, "EUR")


@pytest.mark.parametrize("amount", [10**16, 10**5000, -(10**16)], ids=["long", "endless", "negative"])
def test_an_endless_json_integer_is_refused(amount: int) -> None:
    """A number too long for Python to print is an invalid amount like any other."""
    with pytest.raises(InvalidAmount):
        parse_amount(amount, "EUR")


@pytest.mark.parametrize("amount", [200, 10**15 - 1, -(10**15 - 1), "9" * 15])
def test_fifteen_digits_are_an_amount(amount: Any) -> None:
    """What is refused as endless is longer than any price, and nothing shorter is."""
    assert parse_amount(amount, "EUR").amount == int(amount)


@pytest.mark.parametrize(
    "currency", ["", "eur", "EURO", "XYZ", "€", "ABC", " EUR", "EUR\n", None, 978, True, b"EUR", ["EUR"]]
)
def test_an_unknown_currency_is_refused(currency: Any) -> None:
    """Only an ISO code in capitals names a currency."""
    with pytest.raises(InvalidAmount):
        parse_amount("19.99", currency)


@pytest.mark.parametrize(("given", "minor"), [(20, 2000), (0, 0), (-5, -500), ("-5.00", -500), ("007", 700)])
def test_a_json_integer_counts_major_units(given: int | str, minor: int) -> None:
    """20 of EUR is "20", not 20 cents; a sign is kept for the caller to judge."""
    assert to_minor(parse_amount(given, "EUR")) == minor


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
def test_money_that_is_no_number_has_no_minor_units(amount: str) -> None:
    """A Decimal that is not finite is refused, not raised as something else."""
    with pytest.raises(InvalidAmount):
        to_minor(Money(Decimal(amount), "EUR"))


def test_a_gateway_may_count_places_its_own_way() -> None:
    """Where a gateway differs from ISO 4217, its table wins and loss is still refused."""
    stripe = {"ISK": 2, "UGX": 2}

    assert exponent("ISK", stripe) == 2
    assert exponent("EUR", stripe) == 2
    assert to_minor(Money("1990", "ISK"), stripe) == 199_000
    assert from_minor(199_000, "ISK", stripe) == Money("1990", "ISK")
    with pytest.raises(InvalidAmount):
        to_minor(Money("19.999", "ISK"), stripe)


def test_from_minor_refuses_an_unknown_currency() -> None:
    """Minor units without a currency are not money."""
    with pytest.raises(InvalidAmount, match="XYZ"):
        from_minor(100, "XYZ")


def test_a_large_amount_stays_exact() -> None:
    """No binary fraction ever touches an amount: 0.1 + 0.2 is 0.3, and the largest is still exact."""
    largest = 99_999_999_999_999_999

    assert to_minor(parse_amount("0.10", "EUR") + parse_amount("0.20", "EUR")) == 30
    assert to_minor(from_minor(largest, "EUR")) == largest
    assert format_minor(largest, "EUR") == "999999999999999.99"
    assert format_minor(0, "EUR") == "0.00"
    assert format_minor(-1, "EUR") == "-0.01"


@pytest.mark.parametrize(
    ("currency", "money", "minor"),
    [
        ("EUR", Money("19.99", "EUR"), 1999),
        ("EUR", Money("0", "EUR"), 0),
        ("EUR", Money("19.99", "USD"), None),
        ("EUR", Money("19.999", "EUR"), None),
        ("JPY", Money("0.5", "JPY"), None),
    ],
)
def test_minor_units_of_one_currency_or_none(currency: str, money: Money, minor: int | None) -> None:
    """Nothing, and not zero, for what cannot be counted in this currency."""
    assert minor_in(currency, money) == minor
