"""B7, shopper, staff and abuse, through the API. Faults 51 to 54."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.utils import timezone
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.exceptions import (
    AmountNotLeft,
    GatewayPayError,
    GatewayRejected,
    GatewayUnavailable,
    MovementInProgress,
)
from django_gatewaypay.models import Refund, Transaction
from django_gatewaypay.orders import Quote
from django_gatewaypay.registry import gateways
from django_gatewaypay.services.refreshing import payment_ref
from django_gatewaypay.testing.gateway_server import Answer, RecordedRequest
from django_gatewaypay.types import RefundRequest, RefundState
from tests.factories import make_order
from tests.journeys.conftest import server_url as server_url
from tests.shop.handler import ShopOrders

from .world import ALIAS, World, only, snapshot


def problem(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("code", "")


def post(world: World, body: dict[str, Any]) -> Any:
    return world.client.post("/payments/initiate/", body, content_type="application/json")


def together(*jobs: Callable[[], Any]) -> list[Any]:
    def run(job: Callable[[], Any]) -> Any:
        try:
            return job()
        except GatewayPayError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [done.result() for done in [pool.submit(run, job) for job in jobs]]


# --- 51


def test_fault_51_the_same_key_with_the_same_body_is_replayed(world: World) -> None:
    """201 and the same words, however often."""
    order = make_order()
    first, *others = (world.initiate(order, key="k-1") for _ in range(4))

    assert first.status_code == 201
    # PostgreSQL keeps the fields of a JSON object in an order of its own: the words are the same, not the bytes.
    assert [(answer.status_code, answer.json()) for answer in others] == [(201, first.json())] * 3
    assert (len(world.server.sessions), Transaction.objects.count()) == (1, 1)


def test_fault_51_the_same_key_with_another_body_is_refused(world: World) -> None:
    """422, and the first payment is as it was."""
    world.initiate(make_order(), key="k-1")
    before = snapshot()["Transaction"]
    refused = world.initiate(make_order(), key="k-1")

    assert problem(refused) == (422, "idempotency_conflict")
    assert snapshot()["Transaction"] == before


def test_fault_51_a_key_in_flight_is_told_when_to_come_back(world: World) -> None:
    """409 with Retry-After while the gateway is being asked; afterwards the same 201."""
    order = make_order()
    told, real = threading.Event(), world.server._receive

    def receive(call: RecordedRequest) -> Answer:
        answer = real(call)
        told.wait(9)  # and no longer than the gateway is given to answer
        return answer

    world.server._receive = receive

    def second() -> Any:
        while not world.server.requests:
            time.sleep(0.01)
        try:
            return world.initiate(order, key="k-1")
        finally:
            told.set()

    first, early = together(lambda: world.initiate(order, key="k-1"), second)
    late = world.initiate(order, key="k-1")

    assert problem(early) == (409, "payment_in_progress")
    assert int(early["Retry-After"]) > 0
    assert (first.status_code, late.status_code, late.json()) == (201, 201, first.json())
    assert len(world.server.sessions) == 1


def test_fault_51_no_key_joins_the_open_payment(world: World) -> None:
    """Allowed: one open payment per order and account, so a second click is the same one."""
    order = make_order()
    first, second = world.initiate(order), world.initiate(order)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert len(world.server.sessions) == 1


def test_fault_51_a_double_click_in_the_same_instant(world: World) -> None:
    """Eight at once without a key: one session; whoever is early is told to come back."""
    order = make_order()
    answers = together(*[lambda: world.initiate(order)] * 8)

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert 201 in {answer.status_code for answer in answers}
    assert (len(world.server.sessions), Transaction.objects.count()) == (1, 1)


# --- 52

PRICES = [0, -1, "-19.99", "0", 10**30, "1e5", "NaN", "Infinity", "19.999", 0.01, None, [], {"amount": "1"}]


@only("sandbox")
@pytest.mark.parametrize("name", ["amount", "price", "amount_minor", "currency"])
@pytest.mark.parametrize("price", PRICES, ids=str)
def test_fault_52_a_price_from_the_browser_is_refused(world: World, name: str, price: Any) -> None:
    """422 by name, whatever it says: nothing is written and nobody is asked."""
    order = make_order()
    refused = post(world, {"order_id": str(order.pk), name: price})

    assert problem(refused) == (422, "invalid")
    assert list(refused.json()["errors"]) == [name]
    assert not Transaction.objects.exists()
    assert not world.server.requests


class OddOrders(ShopOrders):
    """A host whose own price is none."""

    price = Money(1, "USD")

    def quote(self, order_id: str, *, request: Any) -> Quote:
        return Quote(self.price)


ODD = {
    "negative": Money("-1", "USD"),
    "zero": Money(0, "USD"),
    "10^30": Money(Decimal(10) ** 30, "USD"),
    "NaN": Money(Decimal("NaN"), "USD"),
    "infinite": Money(Decimal("Infinity"), "USD"),
    "three decimals in USD": Money("19.999", "USD"),
    "half a yen": Money("0.5", "JPY"),
}


@only("sandbox")
@pytest.mark.parametrize("price", ODD)
def test_fault_52_an_impossible_price_from_the_host_is_not_payable(
    world: World, price: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """422 too: a bug in the shop is no 500, and no payment."""
    monkeypatch.setattr(OddOrders, "price", ODD[price])
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "ORDERS": f"{__name__}.OddOrders"}
    refused = world.initiate(make_order())

    assert problem(refused) == (422, "order_not_payable")
    assert not Transaction.objects.exists()
    assert not world.server.requests


def test_fault_52_the_amount_is_the_hosts(world: World) -> None:
    """What the gateway is asked for is the order's price, to the cent."""
    row = world.start(price_minor=12345)
    world.happen(row, "success", 12345)
    world.tell_all(world.tell(row))

    assert (row.amount_minor, world.fate(row)) == (12345, ("success", 1))


# --- 53

ELSEWHERE = [
    "//evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "https://shop.example@evil.example/",
    "https://user:pw@shop.example/",
    "/ok\r\nSet-Cookie: a=b",
    "https://ѕhop.example/",
    "/" + "x" * 10_240,
    "https://shop.example:444/",
    "http://shop.example/",
    "\\\\evil.example",
]


@only("sandbox")
@pytest.mark.parametrize("url", ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_fault_53_a_shopper_is_led_nowhere_else(world: World, url: str) -> None:
    """422, by JSON and by form alike."""
    order = make_order()
    by_json = post(world, {"order_id": str(order.pk), "return_url": url})
    form = urlencode({"order_id": order.pk, "return_url": url})
    by_form = world.client.post("/payments/initiate/", form, content_type="application/x-www-form-urlencoded")

    assert problem(by_json) == (422, "invalid")
    assert list(by_json.json()["errors"]) == ["return_url"]
    assert by_form.status_code == 422
    assert not Transaction.objects.exists()


@only("sandbox")
def test_fault_53_only_exact_origins_are_ours(world: World) -> None:
    """The site itself by default, and the origins that the host has named, to the port."""
    named = {**world.settings.GATEWAYPAY, "RETURN_ORIGINS": ["https://app.example:8443"]}

    def status(url: str) -> int:
        return int(post(world, {"order_id": str(make_order().pk), "return_url": url}).status_code)

    urls = ["/thanks", "https://shop.example/thanks", "https://app.example:8443/x", "https://app.example/x"]
    by_default = [status(url) for url in urls]
    world.settings.GATEWAYPAY = named

    assert by_default == [201, 201, 422, 422]
    assert [status(url) for url in urls] == [201, 201, 201, 422]


# --- 54


def paid(world: World) -> Transaction:
    """19.99 EUR, captured."""
    row = world.start()
    world.happen(row, "success")
    world.tell_all(world.tell(row))
    return world.row(row)


def told_to_refund(world: World) -> list[Any]:
    """The calls that order a refund, as they reached the gateway."""
    calls = [one for one in world.server.requests if one.method == "POST" and "refund" in one.path]
    return [one.headers["idempotency-key"] for one in calls]


def test_fault_54_two_staff_refund_at_once(world: World) -> None:
    """15 of 19.99, twice: one goes back, the second is told that somebody is at it or that it is too much."""
    row = paid(world)
    jobs = [lambda: services.refund(row.pk, Money("15.00", "EUR"), reason="returned")] * 2
    results = together(*jobs)
    [won] = [one for one in results if isinstance(one, Refund)]
    [lost] = [one for one in results if one is not won]

    assert isinstance(lost, AmountNotLeft | MovementInProgress), lost
    assert set(told_to_refund(world)) == {won.gateway_key}
    assert len(world.server.refunds) == 1
    assert (won.state in {"submitted", "succeeded"}, world.row(row).refunding_minor) == (True, 1500)


def test_fault_54_one_clicks_twice(world: World) -> None:
    """The form's hidden key makes both clicks one refund."""
    row = paid(world)
    click = [lambda: services.refund(row.pk, Money("5.00", "EUR"), reason="returned", idempotency_key="form")] * 2
    results = together(*click)

    assert {one.pk for one in results} == {Refund.objects.get().pk}, results
    assert set(told_to_refund(world)) == {Refund.objects.get().gateway_key}
    assert len(world.server.refunds) == 1


def test_fault_54_the_gateway_does_not_answer(world: World) -> None:
    """Unknown, neither done nor undone; told again under the same key, it is one refund."""
    row = paid(world)
    world.server.script(*[Answer.lost()] * gateways[ALIAS].client.tries)
    unknown = services.refund(row.pk, Money("5.00", "EUR"), reason="returned")
    with pytest.raises(MovementInProgress):
        services.refund(row.pk, Money("5.00", "EUR"), reason="returned")
    Refund.objects.update(next_attempt_at=timezone.now())
    services.sweep()

    assert unknown.state == "unknown"
    assert Refund.objects.get().state in {"submitted", "succeeded"}
    assert set(told_to_refund(world)) == {unknown.gateway_key}
    assert (len(told_to_refund(world)) > 1, len(world.server.refunds)) == (True, 1)


def test_fault_54_unknown_is_resolved_by_a_look_up(world: World) -> None:
    """The gateway has forgotten the key: what the lost call did is found there by our id, and not done again."""
    row = paid(world)
    world.server.script(*[Answer.lost()] * gateways[ALIAS].client.tries)
    unknown = services.refund(row.pk, Money("5.00", "EUR"), reason="returned")
    told = len(told_to_refund(world))
    Refund.objects.update(next_attempt_at=timezone.now(), submitted_at=timezone.now() - timedelta(days=400))
    services.sweep()

    assert unknown.state == "unknown"
    assert Refund.objects.get().state in {"submitted", "succeeded"}
    assert len(told_to_refund(world)) == told
    assert len(world.server.refunds) == 1


def captured(world: World) -> Any:
    """A payment that was captured, as the adapter names it."""
    row = world.start()
    world.happen(row, "success")
    world.tell_all(world.tell(row))
    return payment_ref(world.row(row))


@only("stripe")
def test_fault_54_at_the_adapter_one_key_is_one_refund(world: World) -> None:
    """Two staff, or one who clicks twice, with the same intent: the gateway gives back once."""
    payment = captured(world)
    request = RefundRequest(payment=payment, amount=payment.amount, idempotency_key="intent-1")
    answers = together(*[lambda: gateways[ALIAS].refund(request)] * 2)

    assert len(world.server.refunds) == 1
    assert {answer.refund_reference for answer in answers} == set(world.server.refunds)
    assert sum(refund["amount"] for refund in world.server.refunds.values()) == 1999


@only("stripe")
def test_fault_54_at_the_adapter_another_body_under_the_key_is_refused(world: World) -> None:
    """A second intent cannot hide behind the first one's key."""
    payment = captured(world)
    request = RefundRequest(payment=payment, amount=Money("15", "EUR"), idempotency_key="intent-1")
    gateways[ALIAS].refund(request)
    with pytest.raises(GatewayRejected):
        gateways[ALIAS].refund(replace(request, amount=Money("19.99", "EUR")))

    assert [refund["amount"] for refund in world.server.refunds.values()] == [1500]


@only("stripe")
def test_fault_54_at_the_adapter_a_timeout_after_the_effect_is_unknown(world: World) -> None:
    """No answer is neither done nor undone; the same key finds the refund, and a look-up tells what became of it."""
    payment = captured(world)
    request = RefundRequest(payment=payment, amount=payment.amount, idempotency_key="intent-1")
    world.server.script(*[Answer.lost()] * gateways[ALIAS].client.tries)
    with pytest.raises(GatewayUnavailable):
        gateways[ALIAS].refund(request)
    unknown = list(world.server.refunds)
    again = gateways[ALIAS].refund(request)
    [reference] = world.server.refunds
    world.server.refunds[reference]["status"] = "succeeded"
    told = gateways[ALIAS].fetch_refund(payment, again.refund_reference)

    assert unknown == [reference] == [again.refund_reference]
    assert (told.state, told.amount) == (RefundState.SUCCEEDED, payment.amount)
    assert gateways[ALIAS].fetch_payment(payment).refunded == payment.amount
