"""Mollie after the payment: captures, refunds and their ids, chargebacks, the list."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from moneyed import Money

from django_gatewaypay.exceptions import GatewayRejected, GatewayUnavailable, UnsupportedOperation
from django_gatewaypay.gateways import mollie
from django_gatewaypay.gateways.mollie import MollieGateway
from django_gatewaypay.testing.gateway_server import Answer
from django_gatewaypay.types import DisputeState, PaymentRef, RefundRequest, State

from .test_mollie import CREATED, OURS, REQUEST, MollieServer, open_payment
from .test_mollie import gateway as gateway
from .test_mollie import naps as naps
from .test_mollie import server as server

HOUR = timedelta(hours=1)


def eur(amount: str) -> Money:
    return Money(amount, "EUR")


def paid(gateway: MollieGateway, server: MollieServer) -> PaymentRef:
    payment = open_payment(gateway)
    server.set_status(payment.gateway_reference, "paid")
    return payment


def back(payment: PaymentRef, amount: str = "4.90", name: str = "r1") -> RefundRequest:
    return RefundRequest(payment=payment, amount=eur(amount), idempotency_key=f"key-{name}", refund_id=name)


# --- Captures.


def test_a_capture_in_part_lets_the_rest_go(gateway: MollieGateway, server: MollieServer) -> None:
    """It is a success of what was taken; more than was reserved is refused."""
    payment = open_payment(gateway)
    server.set_status("tr_1", "authorized", isCancelable=False)
    with pytest.raises(GatewayRejected):
        gateway.capture(replace(payment, amount=eur("19.91")), idempotency_key="c-1")
    taken = gateway.capture(replace(payment, amount=eur("7.00")), idempotency_key="c-2")

    assert (taken.state, taken.captured) == (State.SUCCESS, eur("7.00"))


def test_a_part_that_is_not_the_last_is_refused_before_the_call(gateway: MollieGateway, server: MollieServer) -> None:
    """A card is captured once."""
    payment = open_payment(gateway)
    server.set_status("tr_1", "authorized", isCancelable=False)
    with pytest.raises(UnsupportedOperation):
        gateway.capture(payment, idempotency_key="c-1", final=False)

    assert not gateway.supports_several_captures
    assert not any(call.path.endswith("/captures") for call in server.requests)


@pytest.mark.parametrize(
    ("statuses", "capturing"),
    [([], False), (["failed"], False), (["failed", "pending"], True), (["succeeded"], True), (["unheard of"], True)],
)
def test_a_capture_may_be_on_its_way(
    gateway: MollieGateway, server: MollieServer, statuses: list[str], capturing: bool
) -> None:
    """The payment is still authorized meanwhile; only a capture that has failed takes nothing."""
    payment = open_payment(gateway)
    server.set_status("tr_1", "authorized", isCancelable=False)
    server.captures = [{"id": f"cpt_{number}", "status": status} for number, status in enumerate(statuses)]

    assert gateway.is_capturing(payment) is capturing
    assert (server.requests[-1].method, server.requests[-1].path) == ("GET", "/v2/payments/tr_1/captures")


# --- Refunds.


def test_a_refund_carries_our_id(gateway: MollieGateway, server: MollieServer) -> None:
    """In its metadata, which comes back; the reason stays here."""
    payment = paid(gateway, server)
    refund = gateway.refund(replace(back(payment), reason="Zoe called"))

    assert server.requests[-1].json == {
        "amount": {"currency": "EUR", "value": "4.90"},
        "metadata": {"transaction_id": OURS, "refund_id": "r1"},
    }
    assert refund.refund_id == gateway.fetch_refund(payment, "re_1").refund_id == "r1"


def test_a_refund_is_found_by_our_id(gateway: MollieGateway, server: MollieServer) -> None:
    """Among all of its payment, page after page; one of the dashboard has no id of ours."""
    server.shown_at_once = 2
    payment = paid(gateway, server)
    made = [gateway.refund(back(payment, "1.00", f"r{number}")) for number in range(5)]
    server.refunds["re_9"] = {"id": "re_9", "status": "refunded", "paymentId": "tr_1", "metadata": None}

    assert gateway.find_refund(back(payment, name="r9")) is None
    assert [gateway.find_refund(back(payment, "1.00", f"r{number}")) for number in range(5)] == made


def test_more_than_was_taken_is_not_given_back(gateway: MollieGateway, server: MollieServer) -> None:
    """A definite no."""
    payment = paid(gateway, server)
    gateway.refund(back(payment, "19.90"))
    with pytest.raises(GatewayRejected):
        gateway.refund(back(payment, "0.01", "r2"))


@pytest.mark.parametrize("answer", [{}, {"_embedded": {"refunds": None}}, {"_embedded": {"refunds": {}}}])
def test_a_list_of_refunds_that_cannot_be_read_is_not_empty(
    gateway: MollieGateway, server: MollieServer, answer: dict[str, Any]
) -> None:
    """Who reads "none" there gives the money back twice."""
    payment = paid(gateway, server)
    server.script(Answer.json(answer))
    with pytest.raises(GatewayUnavailable):
        gateway.find_refund(back(payment))


# --- Chargebacks.


def chargeback(name: str, day: int, amount: str = "19.90", **more: Any) -> dict[str, Any]:
    return {
        "resource": "chargeback",
        "id": name,
        "amount": {"currency": "EUR", "value": amount},
        "createdAt": f"2026-11-{day:02}T12:00:00+00:00",
        "reversedAt": None,
        **more,
    }


REVERSED = {"reversedAt": "2026-11-30T12:00:00+00:00"}


@pytest.mark.parametrize(
    ("chargebacks", "name", "state"),
    [
        ([chargeback("chb_1", 1)], "chb_1", DisputeState.OPEN),
        ([chargeback("chb_1", 1, **REVERSED)], "chb_1", DisputeState.WON),
        ([chargeback("chb_2", 2), chargeback("chb_1", 1)], "chb_2", DisputeState.OPEN),
        ([chargeback("chb_1", 1), chargeback("chb_2", 2, **REVERSED)], "chb_1", DisputeState.OPEN),
        ([chargeback("chb_1", 1, **REVERSED), chargeback("chb_2", 2, **REVERSED)], "chb_2", DisputeState.WON),
    ],
)
def test_a_fetch_tells_of_a_chargeback(
    gateway: MollieGateway, server: MollieServer, chargebacks: list[dict[str, Any]], name: str, state: DisputeState
) -> None:
    """The newest that stands, else the newest; Mollie names no day for an answer."""
    payment = paid(gateway, server)
    server.chargebacks = chargebacks
    dispute = gateway.fetch_payment(payment).dispute

    assert dispute
    assert (dispute.dispute_reference, dispute.state, dispute.amount) == (name, state, eur("19.90"))
    assert dispute.due_at is None


def test_a_chargeback_says_why_where_the_bank_does(gateway: MollieGateway, server: MollieServer) -> None:
    """In the bank's own code."""
    payment = paid(gateway, server)
    server.chargebacks = [chargeback("chb_1", 1, reason={"code": "AM04", "description": "Insufficient funds"})]
    dispute = gateway.fetch_payment(payment).dispute

    assert dispute
    assert dispute.reason == "AM04"


@pytest.mark.parametrize("odd", [None, {}, "x", [None], [{}], [{"id": None}], [17]])
def test_what_is_no_chargeback_is_none(gateway: MollieGateway, server: MollieServer, odd: Any) -> None:
    """And no crash."""
    payment = paid(gateway, server)
    server.sessions["tr_1"]["_embedded"] = {"chargebacks": odd}

    assert gateway.fetch_payment(payment).dispute is None


# --- The list.


@pytest.fixture(autouse=True)
def at_noon() -> Iterator[None]:
    with time_machine.travel(CREATED, tick=False):
        yield


def test_the_list_tells_what_a_fetch_tells(gateway: MollieGateway, server: MollieServer) -> None:
    """Totals, order, what was asked for and when."""
    payment = paid(gateway, server)
    gateway.refund(back(payment))
    (one,) = gateway.list_payments(CREATED - HOUR, CREATED + HOUR)

    assert one.update == gateway.fetch_payment(payment)
    assert (one.update.captured, one.update.refunded) == (eur("19.90"), eur("4.90"))
    assert (one.amount, one.order_id, one.created_at) == (eur("19.90"), "1234", CREATED)


def test_the_list_ends_where_it_gets_too_old(gateway: MollieGateway, server: MollieServer) -> None:
    """The newest come first: what is too new is passed over, and nothing is asked for behind the window."""
    server.shown_at_once = 2
    for number in range(8):
        with time_machine.travel(CREATED + number * HOUR, tick=False):
            open_payment(gateway, replace(REQUEST, idempotency_key=f"key-{number}"))
    server.requests.clear()
    found = [one.update.gateway_reference for one in gateway.list_payments(CREATED + 3 * HOUR, CREATED + 5 * HOUR)]

    assert found == ["tr_5", "tr_4"]
    assert len(server.requests) == 3


@pytest.mark.parametrize("since", [timedelta(0), timedelta(milliseconds=900)])
def test_the_window_is_in_whole_seconds(gateway: MollieGateway, server: MollieServer, since: timedelta) -> None:
    """Rather one payment twice than none."""
    open_payment(gateway)

    assert len(list(gateway.list_payments(CREATED + since, CREATED + HOUR))) == 1
    assert list(gateway.list_payments(CREATED - HOUR, CREATED)) == []


@pytest.mark.parametrize(
    "answer",
    [{}, {"_embedded": {"payments": 1}}, {"_embedded": {"payments": [{"id": "tr_1", "createdAt": "2026-11-22"}]}}],
)
def test_a_list_that_cannot_be_read_says_so(
    gateway: MollieGateway, server: MollieServer, answer: dict[str, Any]
) -> None:
    """It is not taken for an empty one."""
    server.script(Answer.json(answer))
    with pytest.raises(GatewayUnavailable):
        list(gateway.list_payments(CREATED - HOUR, CREATED + HOUR))


def test_a_payment_is_not_looked_for_without_end(
    gateway: MollieGateway, server: MollieServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nobody knows; who said "none" would open a second one."""
    monkeypatch.setattr(mollie, "MOST", 3)
    for number in range(5):
        open_payment(gateway, replace(REQUEST, idempotency_key=f"key-{number}"))
    with pytest.raises(GatewayUnavailable):
        gateway.find_session(replace(REQUEST, transaction_id="another"))
