"""The row as the door reads it: which one, and what it says of the other payments of its order."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.utils import ConnectionDoesNotExist
from django.utils import timezone
from moneyed import Money

from django_gatewaypay.lifecycle import Verdict, apply_update, read_row
from django_gatewaypay.lifecycle.reading import suffices
from django_gatewaypay.models import Transaction
from django_gatewaypay.types import PaymentUpdate, Source, State
from tests.factories import make_order, make_transaction
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

PAID = PaymentUpdate(state=State.SUCCESS)
HOUR = timedelta(hours=1)


class Elsewhere:
    """A host's router that reads transactions from another database."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "elsewhere" if model is Transaction else None


def said(row: Transaction, verdict: Verdict = Verdict()) -> tuple[bool, bool, bool]:  # noqa: B008 - it is frozen
    """What the row knows of its order: fulfilled for another, paid too, replaced."""
    read: Any = read_row(PAID, verdict, id=row.pk)
    return read.order_paid, read.paid_too, read.replaced


def late(order: Order, **fields: Any) -> Transaction:
    """Paid after its end, and fulfilled by nobody."""
    row = make_transaction(State.EXPIRED, order=order, **fields)
    apply_update(row.pk, PaymentUpdate(state=State.SUCCESS, captured=row.amount), source=Source.POLL)
    row.refresh_from_db()
    return row


def test_the_row_is_read_as_it_is() -> None:
    """Every column of it, by whatever names it; of others nothing."""
    row, _ = make_transaction(State.AUTHORIZED), make_transaction(State.SUCCESS)
    for where in ({"id": row.pk}, {"gateway": "hosted", "gateway_reference": row.gateway_reference}):
        read: Any = read_row(PAID, **where)

        names = [field.attname for field in Transaction._meta.concrete_fields]
        assert {name: getattr(read, name) for name in names} == {name: getattr(row, name) for name in names}


@pytest.mark.parametrize("wrong", [{"gateway": "wallet"}, {"gateway_reference": "ps_other"}])
@pytest.mark.parametrize("update", [PAID, PaymentUpdate()])
def test_every_condition_has_to_be_so(wrong: dict[str, str], update: PaymentUpdate) -> None:
    """A reference of another gateway names nobody of ours."""
    row = make_transaction()
    so = {"gateway": row.gateway, "gateway_reference": row.gateway_reference}

    assert read_row(update, **so) == row
    assert read_row(update, **{**so, **wrong}) is None


def test_of_several_it_is_always_the_same() -> None:
    """Whatever the order in which the database finds them."""
    rows = [make_transaction() for _ in range(6)]

    assert read_row(PAID, gateway="hosted") == min(rows, key=lambda row: row.pk)


@pytest.mark.parametrize(
    ("update", "verdict", "asks"),
    [
        (PaymentUpdate(), Verdict(), False),
        (PaymentUpdate(state=State.PROCESSING), Verdict(), False),
        (PaymentUpdate(state=State.AUTHORIZED), Verdict(), False),
        (PaymentUpdate(state=State.EXPIRED), Verdict(), True),
        (PaymentUpdate(state=State.CANCELED), Verdict(), True),
        (PaymentUpdate(state=State.FAILED), Verdict(), True),
        (PaymentUpdate(state=State.HELD), Verdict(), True),
        (PaymentUpdate(state=State.SUCCESS), Verdict(), True),
        (PaymentUpdate(captured=Money("5.00", "EUR")), Verdict(), True),
        (PaymentUpdate(captured=Money(0, "EUR")), Verdict(), False),
        (PaymentUpdate(), Verdict(agreed=500), True),
        (PaymentUpdate(state=State.PENDING), Verdict(fulfil=True), True),
    ],
)
def test_the_order_is_looked_at_only_where_the_update_may_pay_it(
    update: PaymentUpdate, verdict: Verdict, asks: bool
) -> None:
    """The end of a payment in part may be the end of what was agreed, and so may a person's word."""
    read = read_row(update, verdict, id=make_transaction().pk)

    assert [hasattr(read, name) for name in ("order_paid", "paid_too", "replaced")] == [asks] * 3


def test_a_payment_that_is_alone_knows_of_nobody() -> None:
    """Its own fulfilment and success are not another's, and other orders are none of its business."""
    make_transaction(State.SUCCESS)
    late(make_order())
    row = make_transaction(State.SUCCESS)
    make_transaction(State.PENDING)

    assert said(row) == (False, False, False)


def test_a_fulfilled_order_is_paid_for_its_other_attempts() -> None:
    """And for its own payment where a person wants to fulfil it again."""
    order = make_order()
    other = make_transaction(State.EXPIRED, order=order, created_at=timezone.now() + HOUR)
    row = make_transaction(State.SUCCESS, order=order)

    assert (said(other)[:2], said(row)[:2]) == ((True, True), (False, False))
    assert said(row, Verdict(fulfil=True))[0]
    assert not said(row, Verdict(resolved=frozenset({"late"})))[0]


def test_a_success_that_nobody_has_fulfilled_is_paid_too() -> None:
    """Not one that is under review, nor one whose money goes back; a release fulfils nothing."""
    order = make_order()
    row = late(order)
    other = make_transaction(State.HELD, order=order)
    make_transaction(State.FAILED, order=order)
    seen = [said(other)[:2], said(row)[:2]]
    Transaction.objects.filter(pk=row.pk).update(refunding_minor=row.captured_minor)

    assert seen == [(False, True), (False, False)]
    assert said(other)[:2] == (False, False)


def test_only_a_newer_attempt_of_the_same_order_replaces() -> None:
    """Not itself, not one of the same moment, and not another order's."""
    order, now = make_order(), timezone.now()
    old, new, twin = (
        make_transaction(State.EXPIRED, order=order, created_at=created_at) for created_at in (now - HOUR, now, now)
    )
    make_transaction(State.EXPIRED, created_at=now + HOUR)

    assert [said(row)[2] for row in (old, new, twin)] == [True, False, False]


def test_the_hosts_router_says_where_it_is_read(settings: Any) -> None:
    """Asked for the model at hand, as Django asks it."""
    row = make_transaction()
    settings.DATABASE_ROUTERS = [Elsewhere()]
    with pytest.raises(ConnectionDoesNotExist):
        read_row(PAID, id=row.pk)

    settings.DATABASE_ROUTERS = []
    assert read_row(PAID, id=row.pk) == row


@pytest.mark.parametrize(
    ("update", "verdict", "bare", "read"),
    [
        (PaymentUpdate(state=State.AUTHORIZED), Verdict(), True, True),
        (PAID, Verdict(), False, True),
        (PAID, Verdict(fulfil=True), False, False),
        (PaymentUpdate(), Verdict(agreed=500), False, False),
    ],
)
def test_a_row_suffices_that_says_what_the_update_asks(
    update: PaymentUpdate, verdict: Verdict, bare: bool, read: bool
) -> None:
    """A bare one while nobody asks for its order; of a person's word what was read before knows too little."""
    row = make_transaction()

    assert suffices(row, update, verdict) is bare
    assert suffices(read_row(PAID, id=row.pk) or row, update, verdict) is read
