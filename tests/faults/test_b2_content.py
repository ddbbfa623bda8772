"""Faults 12 and 13: what is said. Authenticated is not validated: a good signature may stand under a wrong payment."""

from typing import Any

import pytest

from .held import assert_held, assert_paid_later
from .plays import PLAYS
from .world import World

# --- 12 and 13


@pytest.mark.parametrize("minor", [1998, 1, 199900, -1999, 0, 10**14], ids=lambda minor: f"{minor}_cents")
def test_fault_12_another_amount(world: World, minor: int) -> None:
    """Less, a cent, a hundred times, negative, nothing, a fortune: held, not fulfilled, and the full payment wins."""
    row = world.start()
    world.happen(row, "success", minor)
    response = world.post(world.tell(row))

    assert response.status_code == 200
    assert_held(world, row, "amount_mismatch")
    assert_paid_later(world, row)


def test_fault_12_a_cent_more(world: World) -> None:
    """Too much is as wrong as too little; what was taken stays written down when the right amount comes."""
    row = world.start()
    world.happen(row, "success", 2000)
    response = world.post(world.tell(row))

    assert response.status_code == 200
    assert_held(world, row, "amount_mismatch")
    assert row.captured_minor == 2000
    assert_paid_later(world, row)
    assert (row.captured_minor, world.attention(row)) == (2000, {"mismatch"})


#: Amounts that are none, as each wire could write them.
UNREADABLE: dict[str, tuple[Any, ...]] = {
    "sandbox": (19.99, 1999.0, "19.99 EUR", "1e3", "19,99", "", " 19.99", "NaN", "٢٠", True, None, [], {}, "9" * 400),
    "stripe": (19.99, 1999.0, "1999", "1999.0", "", "NaN", True, None, [], {}, 10**400),
    "mollie": (19.99, 1999.0, "19.99 EUR", "1e3", "19,99", "", " 19.99", "NaN", "٢٠", True, None, [], {}, "9" * 400),
}


@pytest.mark.parametrize(
    ("world", "amount"),
    [(name, amount) for name, amounts in UNREADABLE.items() for amount in amounts],
    indirect=["world"],
    ids=lambda value: str(value)[:12] or "empty",
)
def test_fault_12_an_amount_that_is_none(world: World, amount: Any) -> None:
    """A float, a text, a word: "paid" without an amount that can be read is held like a wrong one."""
    row = world.start()
    if type(amount) is int:
        world.happen(row, "success")
        world.play.pay(world.server, world.server.sessions[row.gateway_reference], amount, "eur")  # type: ignore[attr-defined]
    else:
        world.happen(row, "success", "" if amount is None else amount)
    response = world.post(world.tell(row))

    assert response.status_code == 200
    assert_held(world, row, "amount_mismatch")
    assert_paid_later(world, row)


@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD", "XXX"])
def test_fault_13_the_right_number_of_another_currency(world: World, currency: str) -> None:
    """19.99 of anything else is not 19.99 EUR."""
    row = world.start()
    world.happen(row, "success", "19.99" if world.name != "stripe" else 1999, currency)
    response = world.post(world.tell(row))

    assert response.status_code == 200
    # There is no 19.99 in yen or in no currency at all: that amount cannot even be read.
    unreadable = currency in {"JPY", "XXX"} and world.name != "stripe"
    assert_held(world, row, "amount_mismatch" if unreadable else "currency_mismatch")
    assert_paid_later(world, row)


MIXED_UP = [(2000, "JPY", 20), (2000, "JPY", 200000), (2000, "KRW", 20), (1500, "KWD", 150), (1500, "KWD", 15000)]


@pytest.mark.parametrize(
    ("world", "price", "currency", "minor"),
    # Mollie takes neither won nor dinars.
    [(name, *case) for name in PLAYS for case in MIXED_UP if name != "mollie" or case[1] == "JPY"],
    indirect=["world"],
)
def test_fault_13_decimal_places_that_are_mixed_up(world: World, price: int, currency: str, minor: int) -> None:
    """¥2000 is neither ¥20 nor ¥200000, and a dinar has a thousand fils."""
    row = world.start(price_minor=price, currency=currency)
    world.happen(row, "success", minor)
    response = world.post(world.tell(row))

    assert response.status_code == 200
    assert_held(world, row, "amount_mismatch")
    assert_paid_later(world, row)
