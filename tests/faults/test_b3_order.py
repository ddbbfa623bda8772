"""Faults 19 to 22: when it is said. Order, repetition and haste change nothing about the end."""

import copy
import itertools
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Callback, Transaction
from django_gatewaypay.testing.gateway_server import Answer
from tests.factories import make_order

from .world import World, only

#: Posts one callback; the HTTP status.
News = Callable[[], int]


def news(world: World, row: Transaction, **said: Any) -> News:
    """What the gateway tells of this moment, to be sent at any time, and any number of times as a new event.

    A gateway that signs says what was true then. One that only hints is asked, and then still says the same.
    """
    truth = copy.deepcopy(world.server.sessions[row.gateway_reference])
    made = [world.tell(row, **said) for _ in range(3)]
    again = itertools.cycle(made)

    def send() -> int:
        if not world.signs:
            world.server.sessions[row.gateway_reference] = copy.deepcopy(truth)
        return int(world.post(next(again)).status_code)

    return send


# --- 19


@pytest.mark.parametrize("word", ["expired", "failed", "canceled", "pending", "processing"])
def test_fault_19_older_news_after_the_success(world: World, word: str) -> None:
    """Success stays; the ledger notes what was ignored."""
    row = world.start()
    world.happen(row, word)
    older = news(world, row)
    world.happen(row, "success")
    newer = news(world, row)
    answers = [newer(), older(), older()]

    assert (answers, world.fate(row)) == ([200] * 3, ("success", 1))
    assert (row.late, world.attention(row)) == (False, set())
    assert world.notes(row) == [f"ignored {word}"] * 2
    assert world.status(row)["status"] == "success"


def test_fault_19_the_end_of_an_older_session(world: World) -> None:
    """The first try's session expires after the second try was paid: each row keeps its own end."""
    order = make_order()
    first = world.start(order=order)
    assert world.client.post(f"/payments/cancel/{first.pk}/").status_code == 200
    second = world.start(order=order)
    world.happen(second, "success")
    paid = world.post(world.tell(second))
    world.happen(first, "expired")
    ended = world.post(world.tell(first))

    assert (paid.status_code, ended.status_code) == (200, 200)
    assert (world.fate(second), world.fate(first)[0]) == (("success", 1), "canceled")
    assert world.owed(second)[f"fulfil:{order.pk}"] == "done"


@only("sandbox", "stripe")
def test_fault_19_an_older_session_that_names_the_paid_transaction(world: World) -> None:
    """The end of a session that is not the row's is noted, and is not the row's end."""
    row = world.start()
    world.happen(row, "success")
    world.post(world.tell(row))
    other = {"reference": "ps_older", "status": "expired"}
    if world.name == "stripe":
        other = {"kind": "checkout.session.expired", "id": "cs_older", "status": "expired", "payment_status": "unpaid"}
        other["payment_intent"] = ""
    response = world.post(world.tell(row, **other))

    assert (response.status_code, world.fate(row)) == (200, ("success", 1))
    assert world.notes(row) == ["ignored expired of another session"]


# --- 20


def test_fault_20_a_declined_attempt_and_then_the_payment(world: World) -> None:
    """A declined card is no failed payment: the session is open, the shopper tries again, and it is paid in time."""
    row = world.start()
    world.happen(row, "declined")
    declined = world.post(world.tell(row))
    between = world.fate(row)
    world.happen(row, "success")
    paid = world.post(world.tell(row))

    assert (declined.status_code, between) == (200, ("pending", 0))
    assert (paid.status_code, world.fate(row)) == (200, ("success", 1))
    assert (row.late, world.attention(row), row.reason) == (False, set(), "")


def test_fault_20_a_failed_payment_that_is_paid_after_all(world: World) -> None:
    """Where the gateway itself took back its "failed", the money counts; staff see to an order that was let go."""
    row = world.start()
    world.happen(row, "failed")
    failed = world.post(world.tell(row))
    between = world.status(row)["status"]
    world.happen(row, "success")
    paid = world.post(world.tell(row))

    assert (failed.status_code, between, paid.status_code) == (200, "failure", 200)
    assert world.fate(row) == ("success", 0)
    assert (row.late, world.attention(row)) == (True, {"late"})
    assert world.status(row)["status"] == "success"


# --- 21


def five_events(world: World, row: Transaction) -> dict[str, News]:
    """What one payment's gateway tells, in the order in which it happened."""
    told = {"created": news(world, row)}
    world.happen(row, "declined")
    told["failed attempt"] = news(world, row)
    world.happen(row, "processing")
    told["processing"] = news(world, row)
    world.happen(row, "success")
    told["success"] = news(world, row)
    told["refund"] = refund(world, row)
    return told


def refund(world: World, row: Transaction) -> News:
    """The whole amount is given back, as each gateway tells it; the plain hosted protocol has no word for it."""
    session = world.server.sessions[row.gateway_reference]
    if world.name == "mollie":
        session["amountRefunded"] = session["amount"]
        return news(world, row)
    if world.name == "stripe":
        charge = world.server.intents[session["payment_intent"]]["latest_charge"]
        charge["amount_refunded"] = row.amount_minor
        return news(world, row, kind="charge.refunded", **charge)
    return news(world, row, status="refunded")


def end(world: World, row: Transaction) -> tuple[Any, ...]:
    """All of the row, and of its order, that has to be the same whatever came first."""
    state, fulfilments = world.fate(row)
    totals = (row.captured_minor, row.refunded_minor, row.authorized_minor)
    return state, fulfilments, totals, row.late, row.reason, row.attention, tuple(world.owed(row).values())


@pytest.mark.parametrize("first", ["created", "processing", "failed attempt", "success", "refund"])
def test_fault_21_every_order_of_five_events_with_duplicates(world: World, first: str) -> None:
    """All 120 orders, 24 of them here, each event told twice: as it came, then all again backwards. One end."""
    ends = set()
    for order in itertools.permutations(["created", "processing", "failed attempt", "success", "refund"]):
        if order[0] != first:
            continue
        row = world.start()
        told = five_events(world, row)
        answers = [told[word]() for word in (*order, *reversed(order))]
        assert answers == [200] * 10, order
        ends.add(end(world, row))

    given_back = 0 if world.name == "sandbox" else 1999
    assert ends == {("success", 1, (1999, given_back, 0), False, "", "", ("done",))}


# --- 22


def call_back_early(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on each payment is made, and told, before the call that opens it is answered; what was heard."""
    work, heard = world.server.work, []

    def hasty(request: Any) -> Any:
        known = set(world.server.sessions)
        answer = copy.deepcopy(work(request))
        replies = getattr(world.server, "replies", {})
        if request.key in replies:
            # What was answered is not changed by what happens later.
            replies[request.key] = replies[request.key][0], answer
        for reference in set(world.server.sessions) - known:
            row = Transaction.objects.get(state="created")
            row.gateway_reference = reference  # which only the gateway knows yet
            world.happen(row, "success")
            heard.append(world.post(world.tell(row)).status_code)
            heard.extend(world.inbox_states())
            connection.close()  # of the gateway's thread
        return answer

    monkeypatch.setattr(world.server, "work", hasty)
    return heard


def test_fault_22_the_callback_is_faster_than_the_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 and kept as unmatched; matched when the answer lands, without anybody's help."""
    heard = call_back_early(world, monkeypatch)
    row = world.start()

    assert heard == [200, "unmatched"]
    assert (world.fate(row), world.inbox_states()) == (("success", 1), ["processed"])
    assert world.inbox()[0].transaction_id == row.pk


@pytest.fixture
def no_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The circuit goes by a clock that no test can turn; it has tests of its own."""
    monkeypatch.setattr("django_gatewaypay.gateways.circuit.FAILURES", 10**6)


@pytest.mark.usefixtures("no_circuit")
def test_fault_22_the_answer_is_long_in_coming(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Unmatched for more than five minutes is an alert, not before; then the session lands, and it is matched."""
    order = make_order()
    world.server.script(*[Answer.lost()] * 3)
    heard = call_back_early(world, monkeypatch)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        assert world.initiate(order).status_code == 503
        with monkeypatch.context() as outage:
            outage.setattr(world.server, "work", lambda _: (503, {}))
            silent = [minute for minute in range(1, 9) if not alerts(world, caplog, clock)]
        row = Transaction.objects.get()
        assert (heard, world.inbox_states(), row.state) == ([200, "unmatched"], ["unmatched"], "created")
        for _ in range(15):
            alerts(world, caplog, clock)

    # A message is looked at again after 10, 20, 40 seconds and so on, so that the alert may come a little later.
    assert silent[:5] == [1, 2, 3, 4, 5]
    assert len(silent) < 8
    assert (world.fate(row), world.inbox_states()) == (("success", 1), ["processed"])
    assert world.play.bench.opened(world.server) == 1


def alerts(world: World, caplog: pytest.LogCaptureFixture, clock: Any) -> bool:
    """A minute passes; whether staff were told of an unmatched callback."""
    caplog.clear()
    clock.shift(timedelta(minutes=1))
    services.tick()
    told = [record for record in caplog.records if record.getMessage().startswith("unmatched callback=")]
    return any(record.levelno >= logging.WARNING for record in told)


@pytest.mark.usefixtures("no_circuit")
def test_fault_22_a_callback_that_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises "unmatched" on the payment that it names, and staff can have it tried again."""
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "MAX_ATTEMPTS": 3}
    row = world.start()
    world.happen(row, "success")
    unknown = {"status": world.play.bench.unknown_word} if world.signs else {}
    with time_machine.travel(timezone.now(), tick=False) as clock, monkeypatch.context() as outage:
        outage.setattr(world.server, "work", lambda _: (503, {}))
        assert world.post(world.tell(row, **unknown)).status_code == 200
        for _ in range(24):
            clock.shift(timedelta(hours=1))
            services.sweep()
        given_up, flagged, told = world.inbox_states(), world.attention(row), world.fate(row)
        outage.undo()
        clock.shift(timedelta(hours=1))
        services.retry_callback(Callback.objects.get().pk)

    assert (given_up, flagged, told) == (["dead"], {"unmatched"}, ("pending", 0))
    assert (world.inbox_states(), world.fate(row)) == (["processed"], ("success", 1))
