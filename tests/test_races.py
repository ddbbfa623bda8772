"""Many at once: real threads, real transactions, and the books in order afterwards."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import requests
from django.db import connection
from django.utils import timezone
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.exceptions import AmountNotLeft, MovementInProgress, PaymentInProgress
from django_gatewaypay.models import Callback, Fulfilment, Refund, Transaction, TransactionEvent
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import CallbackRequest
from tests.factories import make_order
from tests.invariants import check_books
from tests.journeys.conftest import server_url as server_url  # the same server, for this module too

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover]

ROUNDS = 200


def together(*jobs: Callable[[], Any]) -> list[Any]:
    """Run the jobs at the same instant, each in a thread of its own; what they returned or raised."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return job()
        except Exception as error:  # noqa: BLE001 - returned, and asserted by the caller
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def pending() -> Transaction:
    return services.initiate(str(make_order().pk)).transaction


def told(hosted: GatewayServer, row: Transaction, **said: Any) -> Callable[[], Any]:
    """A callback that arrives when it is called."""
    headers, body = hosted.callback(row.gateway_reference, **said)

    def arrive() -> Any:
        stored = services.receive_callback("hosted", CallbackRequest(headers, body))
        return [services.process_callback(pk) for pk in stored]

    return arrive


def no_errors(results: list[Any]) -> None:
    assert [result for result in results if isinstance(result, Exception)] == []


def test_a_hundred_copies_of_one_callback_are_one(
    hosted: GatewayServer, server_url: str, transactional_db: None
) -> None:
    """All are answered 200; there is one inbox row, one transition and one fulfilment."""
    row = pending()
    hosted.pay(row.gateway_reference)
    headers, body = hosted.callback(row.gateway_reference)
    url = f"{server_url}/payments/callbacks/hosted/"

    def post(_: int) -> int:
        return requests.post(url, data=body, headers=headers, timeout=60).status_code

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(post, range(100)))

    assert answers == [200] * 100
    assert Callback.objects.count() == 1
    assert TransactionEvent.objects.filter(transaction=row, to_state="success").count() == 1
    assert Fulfilment.objects.filter(state="done").count() == 1
    check_books()


def test_twenty_shoppers_start_one_payment(hosted: GatewayServer) -> None:
    """The gateway opens one session; whoever came too early is told to come back."""
    order = make_order()
    results = together(*[lambda: services.initiate(str(order.pk))] * 20)

    answers = Counter(type(result) for result in results)
    assert set(answers) <= {services.Initiated, PaymentInProgress}
    assert answers[services.Initiated] >= 1
    assert len(hosted.sessions) == 1
    assert Transaction.objects.count() == 1
    check_books()


def test_callback_and_poll_never_disagree(hosted: GatewayServer) -> None:
    """Two hundred times at once: one move, one fulfilment, and the loser reads what the winner wrote."""
    for _ in range(ROUNDS):
        row = pending()
        hosted.pay(row.gateway_reference)
        no_errors(together(told(hosted, row), lambda pk=row.pk: services.refresh(pk)))  # type: ignore[misc]
    moves = TransactionEvent.objects.filter(kind="moved", to_state="success").count()

    assert moves == ROUNDS
    assert Fulfilment.objects.filter(kind="fulfil", state="done").count() == ROUNDS
    check_books()


def test_contradicting_callbacks_always_end_paid(hosted: GatewayServer) -> None:
    """Paid against failed, two hundred times: success wins whoever is first, and both are kept."""
    for _ in range(ROUNDS):
        row = pending()
        hosted.pay(row.gateway_reference)
        no_errors(together(told(hosted, row), told(hosted, row, status="failed")))
    states = Counter(Transaction.objects.values_list("state", flat=True))

    assert states == {"success": ROUNDS}
    assert Callback.objects.filter(state="processed").count() == 2 * ROUNDS
    check_books()


def paid(hosted: GatewayServer) -> Transaction:
    row = pending()
    hosted.pay(row.gateway_reference)
    return services.refresh(row.pk)


def test_two_who_give_back_at_once_never_give_too_much(hosted: GatewayServer) -> None:
    """Two hundred times fifteen of twenty, twice: one may, and the gateway has heard of no other."""
    for _ in range(ROUNDS):
        row = paid(hosted)
        give = partial(services.refund, row.pk, Money("15.00", "EUR"), reason="torn")
        answers = together(give, give)
        refused = [one for one in answers if isinstance(one, (AmountNotLeft, MovementInProgress))]
        assert len(refused) == 1, answers
    states = Counter(Refund.objects.values_list("state", flat=True))

    assert states == {"succeeded": ROUNDS}
    assert [one["refunded"] for one in hosted.sessions.values()] == ["15.00"] * ROUNDS
    check_books()


def test_one_who_clicks_twice_at_once_has_one_refund(hosted: GatewayServer) -> None:
    """Two hundred times, under one key each: both answers are about the same refund."""
    for number in range(ROUNDS):
        row = paid(hosted)
        give = partial(services.refund, row.pk, Money("5.00", "EUR"), reason="torn", idempotency_key=f"click {number}")
        answers = together(give, give)
        no_errors(answers)
        assert len({one.pk for one in answers}) == 1

    assert Refund.objects.filter(state="succeeded").count() == Refund.objects.count() == ROUNDS
    assert [one["refunded"] for one in hosted.sessions.values()] == ["5.00"] * ROUNDS
    check_books()


def test_expiry_and_payment_in_the_same_instant(hosted: GatewayServer) -> None:
    """In time or late, but never lost and never both."""
    for _ in range(50):
        row = pending()
        Transaction.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        headers, body = hosted.callback(row.gateway_reference, status="success")

        def pay(body: bytes = body, headers: dict[str, str] = headers) -> Any:
            [pk] = services.receive_callback("hosted", CallbackRequest(headers, body))
            return services.process_callback(pk)

        no_errors(together(pay, services.expire_overdue))
    states = Counter(Transaction.objects.values_list("state", flat=True))

    assert states == {"success": 50}
    check_books()


def test_two_paid_transactions_of_one_order_at_once_fulfil_it_once(hosted: GatewayServer, settings: Any) -> None:
    """Card and wallet in two tabs: one fulfilment, one duplicate for staff."""
    settings.GATEWAYPAY["GATEWAYS"]["wallet"] = settings.GATEWAYPAY["GATEWAYS"]["hosted"]
    for _ in range(50):
        order = make_order()
        first = services.initiate(str(order.pk)).transaction
        second = services.initiate(str(order.pk), gateway="wallet").transaction
        for row in (first, second):
            hosted.pay(row.gateway_reference)
        no_errors(together(*[lambda pk=row.pk: services.refresh(pk) for row in (first, second)]))  # type: ignore[misc]

    assert Transaction.objects.filter(attention="duplicate_payment").count() == 50
    assert Fulfilment.objects.filter(kind="fulfil", state="done").count() == 50
    check_books()
