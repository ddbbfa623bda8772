"""Fault 27: the shopper pays twice, in two tabs, two sessions, two ways."""

from functools import partial

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from django_gatewaypay import services
from django_gatewaypay.models import Transaction
from tests.factories import make_order
from tests.test_races import together

from .world import ALIAS, World, only


def assert_paid_twice(world: World, first: Transaction, second: Transaction, also: set[str]) -> None:
    """The first stays as it was; the second is there in full, fulfils nothing, and waits for staff."""
    assert (world.fate(first), world.attention(first)) == (("success", 1), set())
    assert world.fate(second) == ("success", 1)
    assert world.attention(second) == {"duplicate_payment", *also}
    assert (first.captured_minor, second.captured_minor) == (1999, 1999)
    assert world.owed(first)[f"fulfil:{first.order_id}"] == "done"
    assert [world.status(row)["status"] for row in (first, second)] == ["success"] * 2


def tell_status(world: World, row: Transaction) -> int:
    return int(world.post(world.tell(row), alias=row.gateway).status_code)


@pytest.mark.parametrize("waits", [True, False], ids=["one after the other", "at once"])
def test_fault_27_two_tabs_with_two_gateways(world: World, waits: bool) -> None:
    """Card in one tab, wallet in the other, both paid: one fulfilment, and the second one is a duplicate."""
    world.configure("wallet")
    order = make_order()
    rows = [world.start(order=order, alias=alias) for alias in (ALIAS, "wallet")]
    for row in rows:
        world.happen(row, "success")
    told = [partial(tell_status, world, row) for row in rows]
    answers = [tell() for tell in told] if waits else together(*told)
    rows.sort(key=lambda row: "duplicate_payment" in world.attention(row))

    assert answers == [200, 200]
    assert_paid_twice(world, *rows, set())


def test_fault_27_the_first_try_is_paid_after_the_second(world: World) -> None:
    """The shopper gave up the first session and paid the second, and then the first one too."""
    order = make_order()
    first = world.start(order=order)
    assert world.client.post(f"/payments/cancel/{first.pk}/").status_code == 200
    second = world.start(order=order)
    for row in (second, first):
        world.happen(row, "success")
        assert world.post(world.tell(row)).status_code == 200

    assert world.row(first).late
    assert_paid_twice(world, second, first, {"late"})


@only("stripe")
def test_fault_27_staff_give_the_second_payment_back_with_one_click(world: World) -> None:
    """The page of the duplicate offers the refund."""
    world.configure("wallet")
    order = make_order()
    opened = [(world.start(order=order, alias=alias), alias) for alias in (ALIAS, "wallet")]
    for row, alias in opened:
        world.happen(row, "success")
        world.post(world.tell(row), alias=alias)
    staff = Client()
    staff.force_login(get_user_model().objects.create_superuser("staff"))
    page = staff.get(reverse("admin:gatewaypay_transaction_change", args=[row.pk])).content.decode()

    assert world.attention(row) == {"duplicate_payment"}
    assert f'href="/admin/gatewaypay/transaction/{row.pk}/refund/"' in page
    assert services.refund(row.pk, reason="paid twice").state in {"submitted", "succeeded"}
