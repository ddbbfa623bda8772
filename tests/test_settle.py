"""What follows a committed change: the release that is due, the page that is told, the signal."""

from typing import Any

import pytest
from django.utils import timezone

from django_gatewaypay import dispatch
from django_gatewaypay.lifecycle import apply_update
from django_gatewaypay.models import Fulfilment, Transaction
from django_gatewaypay.signals import transaction_changed
from django_gatewaypay.types import PaymentUpdate, Source, State
from tests.factories import make_order, make_transaction
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_release_is_not_called_while_the_order_has_another_payment() -> None:
    """The stock of an order that is being paid again is not given away."""
    order = make_order()
    make_transaction("pending", order=order, gateway="second")
    make_transaction("failed", order=order)

    order.refresh_from_db()
    assert order.releases == 0
    assert Fulfilment.objects.get().state == "done"


def test_a_release_is_called_when_the_last_payment_ended() -> None:
    """And then once."""
    order = make_order()
    make_transaction("failed", order=order)

    order.refresh_from_db()
    assert order.releases == 1


def test_another_orders_payment_keeps_no_stock() -> None:
    """Only a payment of the same order keeps its stock reserved."""
    make_transaction("success")
    order = make_order()
    make_transaction("failed", order=order)

    order.refresh_from_db()
    assert order.releases == 1


def give_all_back(row: Transaction) -> None:
    Transaction.objects.filter(pk=row.pk).update(refunding_minor=row.captured_minor)


def test_an_order_that_was_fulfilled_keeps_its_stock_though_its_money_went_back() -> None:
    """What the shop does with an order that it gave away and refunded is not for a failed attempt to say."""
    order = make_order()
    give_all_back(make_transaction("success", order=order))
    make_transaction("failed", order=order)

    order.refresh_from_db()
    assert (order.fulfilments, order.releases) == (1, 0)


def test_money_that_goes_back_unfulfilled_keeps_no_stock() -> None:
    """Paid late, fulfilled by nobody and given back; another order's fulfilment changes nothing."""
    give_all_back(make_transaction("success"))
    order = make_order()
    late = make_transaction("expired", order=order)
    apply_update(late.pk, PaymentUpdate(state=State.SUCCESS, captured=late.amount), source=Source.POLL)
    late.refresh_from_db()
    give_all_back(late)
    make_transaction("failed", order=order)

    order.refresh_from_db()
    assert (order.fulfilments, order.releases) == (0, 2)


def test_the_signal_tells_what_changed_and_its_receivers_cannot_break_anything() -> None:
    """Receivers get the committed row; one that fails is logged and changes nothing."""
    heard: list[tuple[str, str, str]] = []

    def listen(transaction: Any, previous: str, state: str, **_: Any) -> None:
        heard.append((previous, state, transaction.state))
        raise ValueError("a receiver's bug")

    transaction_changed.connect(listen, sender=Transaction)
    try:
        row = make_transaction("success")
    finally:
        transaction_changed.disconnect(listen, sender=Transaction)

    assert heard == [("created", "pending", "pending"), ("pending", "success", "success")]
    assert row.state == "success"


def test_only_a_receiver_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One line for the bug, none for who did well."""

    def listen_well(**_: Any) -> None: ...

    def listen_badly(**_: Any) -> None:
        raise ValueError("a receiver's bug")

    for receiver in (listen_well, listen_badly):
        transaction_changed.connect(receiver)
    try:
        make_transaction("pending")
    finally:
        for receiver in (listen_well, listen_badly):
            transaction_changed.disconnect(receiver)

    [line] = [record.message for record in caplog.records if record.message.startswith("receiver failed")]
    assert "listen_badly" in line


def test_the_order_is_fulfilled_before_its_page_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads "paid" on the page finds a paid order in the shop."""
    order = make_order()
    seen: list[tuple[Any, int]] = []
    monkeypatch.setattr(
        dispatch, "announce", lambda pk: seen.append((pk, Order.objects.values_list("fulfilments", flat=True).get()))
    )
    row = make_transaction("success", order=order)

    assert seen == [(row.pk, 0), (row.pk, 1)]


def test_who_heard_nothing_then_hears_of_a_later_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of the delivered order is told once; nobody is while the hook fails or when there is nothing to do."""
    mine, _ = (make_transaction("success", order=make_order(mood="raise")) for _ in range(2))
    row = Fulfilment.objects.get(transaction=mine)
    told: list[Any] = []
    monkeypatch.setattr(dispatch, "announce", told.append)
    answers = []
    for mood in ("raise", "", ""):
        Order.objects.update(mood=mood)
        Fulfilment.objects.filter(pk=row.pk, state="owed").update(next_attempt_at=timezone.now())
        answers.append((dispatch.redeliver(row.pk), list(told)))

    assert answers == [(False, []), (True, [mine.pk]), (False, [mine.pk])]
