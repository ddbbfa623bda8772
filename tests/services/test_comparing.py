"""One payment in two books: what is a difference, and what only looks like one."""

from decimal import Decimal
from typing import Any

import pytest
from moneyed import Money

from django_gatewaypay.models import Transaction
from django_gatewaypay.services.comparing import compare, ended_unpaid, has_money, is_other_session
from django_gatewaypay.services.recovering import recover
from django_gatewaypay.types import ListedPayment, PaymentUpdate, State
from tests.factories import make_transaction

pytestmark = pytest.mark.django_db

FULL, PART, NONE = Money("19.99", "EUR"), Money("5.00", "EUR"), Money("0.00", "EUR")


def ours(state: State | str, **fields: Any) -> Transaction:
    """A row that nobody needs to have in the database."""
    known = {"amount_minor": 1999, "currency": "EUR", "gateway_reference": "ps_1"}
    return Transaction(**{**known, "state": State(state), **fields})


def found(row: Transaction, update: PaymentUpdate, asked: Money | None = None) -> list[str]:
    return [str(finding.kind) for finding in compare(row, update, asked)]


CLOSED = ("expired", "canceled", "failed")
SAME = [
    *((state, state) for state in State),
    *((one, other) for one in CLOSED for other in CLOSED),
    *((one, open_there) for one in CLOSED for open_there in ("created", "pending")),
    *(("held", state) for state in State),
]


@pytest.mark.parametrize("ours_state", State)
@pytest.mark.parametrize("their_state", State)
def test_which_states_agree(ours_state: State, their_state: State) -> None:
    """The same; two ways to have ended unpaid; what was closed here and stays open there; what a person looks at."""
    agree = (ours_state, their_state) in SAME

    assert (found(ours(ours_state), PaymentUpdate(state=their_state)) == []) is agree


def test_an_unknown_word_is_no_difference() -> None:
    """Nobody can compare it."""
    assert found(ours("success"), PaymentUpdate()) == []


def test_what_a_person_agreed_to_is_compared_by_its_money() -> None:
    """A part that counts as the whole is "canceled" or "authorized" at some gateways."""
    row = ours("success", agreed_minor=500, captured_minor=500)

    assert found(row, PaymentUpdate(state=State.CANCELED, captured=PART)) == []
    assert found(row, PaymentUpdate(state=State.CANCELED, captured=FULL)) == ["amount"]
    assert found(ours("success", agreed_minor=500, captured_minor=1999), PaymentUpdate(state=State.FAILED)) == ["state"]


@pytest.mark.parametrize(
    ("row", "update", "asked", "expected"),
    [
        ({"captured_minor": 1999}, {"captured": FULL}, FULL, []),
        ({"captured_minor": 1999}, {"captured": FULL}, PART, ["amount"]),
        ({"captured_minor": 1999}, {"captured": FULL}, Money("19.99", "USD"), ["amount"]),
        ({"captured_minor": 1999}, {"captured": FULL}, Money(Decimal("19.991"), "EUR"), ["amount"]),
        ({"captured_minor": 1999}, {"captured": PART}, None, ["amount"]),
        ({"captured_minor": 0}, {"captured": NONE}, None, []),
        ({"captured_minor": 500}, {"captured": None}, None, []),
        ({"authorized_minor": 1999}, {"authorized": PART}, None, []),
    ],
)
def test_which_amounts_agree(
    row: dict[str, Any], update: dict[str, Any], asked: Money | None, expected: list[str]
) -> None:
    """What was asked for and what was taken, to the cent; what the gateway does not say is not compared."""
    assert found(ours("success", **row), PaymentUpdate(state=State.SUCCESS, **update), asked) == expected


def test_what_is_reserved_is_compared_while_it_is() -> None:
    """After the capture gateways differ in what they still call authorized."""
    row = ours("authorized", authorized_minor=1999)

    assert found(row, PaymentUpdate(state=State.AUTHORIZED, authorized=PART)) == ["amount"]
    assert found(row, PaymentUpdate(state=State.AUTHORIZED, authorized=FULL)) == []


@pytest.mark.parametrize(
    ("fields", "told", "agrees"),
    [
        ({}, None, True),
        ({}, NONE, True),
        ({}, PART, False),
        ({"returned_minor": 500}, PART, True),
        ({"refunded_minor": 500}, PART, True),
        ({"returned_minor": 500}, NONE, False),
        ({"refunded_minor": 1000, "undone_minor": 500}, PART, True),
        ({"returned_minor": 500}, Money("5.00", "USD"), False),
    ],
)
def test_which_refunds_agree(fields: dict[str, Any], told: Money | None, agrees: bool) -> None:
    """What has gone back, by our refunds or by the gateway's total; what came back again is not gone."""
    row = make_transaction("success")
    for name, value in fields.items():
        setattr(row, name, value)

    assert (found(row, PaymentUpdate(refunded=told)) == []) is agrees


def test_whose_session_it_is() -> None:
    """Only two that are known can be two."""
    row = ours("pending")

    assert is_other_session(row, PaymentUpdate(gateway_reference="ps_2"))
    assert not is_other_session(row, PaymentUpdate(gateway_reference="ps_1"))
    assert not is_other_session(row, PaymentUpdate())
    assert not is_other_session(ours("created", gateway_reference=""), PaymentUpdate(gateway_reference="ps_2"))


@pytest.mark.parametrize(
    ("update", "money", "ended"),
    [
        (PaymentUpdate(state=State.SUCCESS, captured=FULL), True, False),
        (PaymentUpdate(state=State.SUCCESS), True, False),
        (PaymentUpdate(state=State.AUTHORIZED), True, False),
        (PaymentUpdate(state=State.PENDING), False, False),
        (PaymentUpdate(state=State.PENDING, captured=PART), True, False),
        (PaymentUpdate(state=State.EXPIRED), False, True),
        (PaymentUpdate(state=State.CANCELED, captured=PART), True, False),
        (PaymentUpdate(state=State.SUCCESS, captured=FULL, refunded=FULL), False, False),
        (PaymentUpdate(state=State.SUCCESS, captured=FULL, refunded=PART), True, False),
        (PaymentUpdate(), False, False),
    ],
)
def test_where_money_is(update: PaymentUpdate, money: bool, ended: bool) -> None:
    """Taken or reserved, and not all of it gone back."""
    assert (has_money(update), ended_unpaid(update)) == (money, ended)


@pytest.mark.parametrize("amount", [Money(Decimal("19.991"), "EUR"), NONE, Money("-1.00", "EUR")])
def test_an_amount_that_is_none_is_not_written(amount: Money) -> None:
    """Whatever a gateway lists."""
    row = make_transaction()
    update = PaymentUpdate(transaction_id="8a1f0c0e-5d3b-4c58-9b57-3f1a2f3c4d5e", state=State.SUCCESS)
    listed = ListedPayment(update=update, created_at=row.created_at, amount=amount, order_id="1")

    assert recover("hosted", listed) is None
