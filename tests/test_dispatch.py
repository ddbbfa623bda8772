"""Delivery to the host: the hook may be called twice, what it writes counts once."""

import threading
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_gatewaypay import dispatch
from django_gatewaypay.models import Fulfilment
from django_gatewaypay.signals import transaction_changed
from tests.factories import make_order, make_transaction
from tests.shop import handler
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)


def owed(**order: Any) -> tuple[Order, Fulfilment]:
    """A fulfilment that is due again, because the hook failed the first time."""
    made = make_order(mood="raise", **order)
    make_transaction("success", order=made)
    Order.objects.update(mood="")
    Fulfilment.objects.update(next_attempt_at=timezone.now())
    return made, Fulfilment.objects.get()


def test_a_fulfilment_is_delivered_once() -> None:
    """A second delivery finds it done."""
    order, row = owed()
    first, second = dispatch.deliver(row.pk), dispatch.deliver(row.pk)

    order.refresh_from_db()
    assert (first, second, order.fulfilments) == (True, False, 1)


@pytest.mark.postgres  # SQLite has one writer at a time: the second worker would wait before the hook
def test_two_deliveries_at_once_have_one_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hung and lost its claim rolls back what it wrote when it wakes up."""
    order, row = owed()
    hanging, go_on = threading.Event(), threading.Event()
    real = handler.ShopOrders.fulfil

    def hang_first(self: Any, transaction: Any) -> None:
        if not hanging.is_set():
            hanging.set()
            go_on.wait(5)
        real(self, transaction)

    monkeypatch.setattr(handler.ShopOrders, "fulfil", hang_first)
    answers: list[bool] = []

    def slow() -> None:
        answers.append(dispatch.deliver(row.pk))
        connection.close()

    worker = threading.Thread(target=slow)
    worker.start()
    hanging.wait(5)
    Fulfilment.objects.update(next_attempt_at=timezone.now())
    answers.append(dispatch.deliver(row.pk))
    go_on.set()
    worker.join()

    order.refresh_from_db()
    assert answers == [True, False]
    assert order.fulfilments == 1


def test_a_claim_keeps_others_away() -> None:
    """What somebody is delivering is not due."""
    _, row = owed()
    claimed = dispatch._claim(row.pk)

    assert claimed.attempts == 2
    assert dispatch._claim(row.pk) is None


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


def test_the_signal_tells_what_changed_and_its_receivers_cannot_break_anything() -> None:
    """Receivers get the committed row; one that fails is logged and changes nothing."""
    heard: list[tuple[str, str, str]] = []

    def listen(transaction: Any, previous: str, state: str, **_: Any) -> None:
        heard.append((previous, state, transaction.state))
        raise ValueError("a receiver's bug")

    transaction_changed.connect(listen)
    try:
        row = make_transaction("success")
    finally:
        transaction_changed.disconnect(listen)

    assert heard == [("created", "pending", "pending"), ("pending", "success", "success")]
    assert row.state == "success"


def test_the_order_is_fulfilled_before_its_page_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads "paid" on the page finds a paid order in the shop."""
    order = make_order()
    seen: list[int] = []
    monkeypatch.setattr(
        dispatch, "announce", lambda _: seen.append(Order.objects.values_list("fulfilments", flat=True).get())
    )
    make_transaction("success", order=order)

    assert seen == [0, 1]
