"""Faults 23 to 26: two at one instant, the end of time, silence, and a wrong clock."""

import copy
import logging
import time
from datetime import timedelta
from typing import Any

import pytest
import requests
import time_machine
from django.core.checks import run_checks
from django.db import connection
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Fulfilment, Transaction, TransactionEvent
from django_gatewaypay.types import CallbackRequest
from tests.test_races import together

from .forgery import assert_refused, headed, paid, signature_header
from .processes import Mother
from .processes import mother as mother
from .world import ALIAS, World, only, snapshot

ROUNDS = 20
MILLISECOND = timedelta(milliseconds=1)


def make_due(row: Transaction) -> None:
    """It is time to ask about a payment."""
    Transaction.objects.filter(pk=row.pk).update(next_poll_at=timezone.now())


# --- 23


def test_fault_23_callback_and_poll_in_two_threads(world: World) -> None:
    """Each on a connection of its own: one transition, one outbox row, and nobody fails."""
    for _ in range(ROUNDS):
        row, callback = paid(world)
        make_due(row)
        told, polled = together(lambda one=callback: world.post(one).status_code, services.poll_due)  # type: ignore[misc]
        # Whoever is told first may leave the poll nothing to ask.
        assert (told, polled in {0, 1}) == (200, True), (told, polled)
        assert world.fate(row) == ("success", 1)

    assert TransactionEvent.objects.filter(kind="moved", to_state="success").count() == ROUNDS
    assert Fulfilment.objects.count() == ROUNDS


def test_fault_23_callback_and_poll_in_two_processes(world: World, mother: Mother) -> None:
    """A web process is told while another process asks: one transition, one outbox row."""
    with mother.bear("web", world.settings) as web:
        url = f"{web.url}/payments/callbacks/{ALIAS}/"
        requests.get(url, timeout=60)  # it has loaded what it needs
        for _ in range(5):
            row, callback = paid(world)
            make_due(row)
            start = time.time() + 0.2
            with mother.bear("tick", world.settings, start=start) as clock:
                time.sleep(max(start - time.time(), 0))
                answer = requests.post(url, data=callback.body, headers=dict(callback.headers), timeout=60)
                done = clock.said()["done"]
            assert (answer.status_code, len(done)) == (200, 1)
            assert world.fate(row) == ("success", 1)

    assert TransactionEvent.objects.filter(kind="moved", to_state="success").count() == 5
    assert Fulfilment.objects.count() == 5


# --- 24


def told_at(world: World, row: Transaction, moment: Any) -> int:
    with time_machine.travel(moment, tick=False):
        world.happen(row, "success")
        return int(world.post(world.tell(row)).status_code)


def expired_at(moment: Any) -> None:
    with time_machine.travel(moment, tick=False):
        services.expire_overdue()


def test_fault_24_paid_a_millisecond_before_the_end(world: World) -> None:
    """In time: success, fulfilled, and the expiry job finds nothing to do."""
    row = world.start()
    answered = told_at(world, row, row.expires_at - MILLISECOND)
    expired_at(row.expires_at + MILLISECOND)

    assert (answered, world.fate(row)) == (200, ("success", 1))
    assert (row.late, world.attention(row)) == (False, set())


def test_fault_24_paid_a_millisecond_after_the_end(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Late: success all the same, the order waits for staff, who are told, and the shopper reads the truth."""
    row = world.start()
    expired_at(row.expires_at)
    before = world.fate(row)
    answered = told_at(world, row, row.expires_at + MILLISECOND)

    assert before == ("expired", 0)
    assert (answered, world.fate(row)) == (200, ("success", 0))
    assert (row.late, world.attention(row)) == (True, {"late"})
    assert f"attention transaction={row.pk} codes=late" in caplog.text
    told = world.status(row)
    assert (told["status"], told["late"]) == ("success", True)
    assert "Your payment arrived after its time had passed" in world.page(row)


def test_fault_24_paid_late_where_the_host_fulfils_late_payments(world: World) -> None:
    """The policy "fulfil": once, without staff."""
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "LATE_PAYMENT": "fulfil"}
    row = world.start()
    expired_at(row.expires_at)
    answered = told_at(world, row, row.expires_at + MILLISECOND)

    assert (answered, world.fate(row), row.late) == (200, ("success", 1), True)


@only("stripe")
def test_fault_24_paid_late_where_the_host_gives_late_payments_back(world: World) -> None:
    """The policy "refund": the gateway is asked to give it all back, and the order stays released."""
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "LATE_PAYMENT": "refund"}
    row = world.start()
    expired_at(row.expires_at)
    told_at(world, row, row.expires_at + MILLISECOND)
    with time_machine.travel(row.expires_at + MILLISECOND, tick=False):
        services.tick()

    assert not [message for message in run_checks() if str(message.id).startswith("gatewaypay.E")]
    assert [call.path for call in world.server.requests if "refund" in call.path] == ["/v1/refunds"]
    assert world.fate(row) == ("success", 0)


@pytest.mark.parametrize("call", [1, 2], ids=["asked", "closing"])
@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
def test_fault_24_paid_while_the_expiry_job_is_at_work(
    world: World, call: int, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paid between the job's question, or its order to close, and the answer: success, whether told by then or not."""
    row = world.start()
    work, calls = world.server.work, []

    def pay_meanwhile(request: Any) -> Any:
        calls.append(request.path)
        if call == 2 and len(calls) == call:
            pay()
        answer = copy.deepcopy(work(request))
        if call == 1 and len(calls) == call:
            pay()
        return answer

    def pay() -> None:
        world.happen(row, "success")
        # A hint would be asked about, and this gateway answers one call at a time.
        if told and world.signs:
            assert world.post(world.tell(row)).status_code == 200
        connection.close()  # of the gateway's thread

    monkeypatch.setattr(world.server, "work", pay_meanwhile)
    expired_at(row.expires_at)

    assert len(calls) >= call
    assert (world.fate(row), row.late) == (("success", 1), False)


# --- 25


@pytest.mark.parametrize("paid_after", [0, 7, 14])
def test_fault_25_the_gateway_never_calls_back(world: World, paid_after: int) -> None:
    """Nobody waits and nobody tells: the clock asks, a minute after the first quarter of an hour at the latest."""
    found = None
    with time_machine.travel(timezone.now(), tick=False) as clock:
        row = world.start()
        asked_early = len(world.server.requests)
        for minute in range(1, 17):
            clock.shift(timedelta(minutes=1))
            if minute - 1 == paid_after:
                world.happen(row, "success")
            services.tick()
            if found is None and world.fate(row)[0] == "success":
                found = minute
            if minute == 14:
                # It was not asked all the time, either: a callback is what usually comes.
                assert len(world.server.requests) == asked_early

    assert found is not None
    assert 15 <= found <= 16
    assert (world.fate(row), world.inbox()) == (("success", 1), [])
    assert world.ledger(row)[-1].source == "poll"


# --- 26


@pytest.mark.parametrize("minutes", [10, -10])
def test_fault_26_our_clock_is_wrong(world: World, minutes: int, caplog: pytest.LogCaptureFixture) -> None:
    """What a signed time proves is refused, with an alert that names skew; the poll ends right all the same."""
    true = time.time()
    with time_machine.travel(true + 60 * minutes, tick=True):
        row = world.start()
        world.happen(row, "success")
        before = snapshot()
        response = world.post(world.tell(row, at=true))
        alerts = skew_alerts(caplog)
        if world.signs:
            assert (response.status_code, snapshot(), len(alerts)) == (400, before, 1)
            assert alerts[0].levelno == logging.ERROR
        else:
            # A hint has no time, and the gateway is asked.
            assert (response.status_code, alerts) == (200, [])
        with time_machine.travel(true + 60 * minutes + 16 * 60, tick=True):
            services.tick()

    assert world.fate(row) == ("success", 1)
    assert (row.late, world.attention(row)) == (False, set())


def skew_alerts(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    ours = [record for record in caplog.records if record.name.startswith("gatewaypay")]
    return [record for record in ours if "skew" in record.getMessage()]


@only("sandbox", "stripe")
@pytest.mark.parametrize("minutes", [10, -10, 0])
def test_fault_26_a_forgery_raises_no_alarm(world: World, minutes: int, caplog: pytest.LogCaptureFixture) -> None:
    """Who can sign nothing cannot make staff look at their clock, however he dates it."""
    true = time.time()
    row, _ = paid(world)
    with time_machine.travel(true + 60 * minutes, tick=True):
        for at in (true, true - 3600, true + 3600, 1):
            signed = world.tell(row, at=at)
            forged = world.tell(row, at=at, secret=world.play.bench.stranger)
            spoiled = CallbackRequest(signed.headers, signed.body + b" ")
            none = headed(signed, **{signature_header(world): ""})
            assert_refused(world, [forged, spoiled, none])

    assert skew_alerts(caplog) == []
    assert world.fate(row) == ("pending", 0)


def expires(row: Transaction, true: float, skew: int) -> str:
    """The state after the clock's work, at a true time, by a clock that is wrong by so many minutes."""
    with time_machine.travel(true + 60 * skew, tick=False):
        services.tick()
    row.refresh_from_db()
    return str(row.state)


@pytest.mark.parametrize("skew", [10, -10])
def test_fault_26_a_payment_expires_earlier_by_no_more_than_the_skew(world: World, skew: int) -> None:
    """Half an hour, give or take what the clock is wrong by; money that comes between the two ends is kept."""
    row = world.start()
    begun = row.expires_at.timestamp() - 30 * 60
    second = 1
    states = [expires(row, begun + (30 - skew) * 60 + shift, skew) for shift in (-second, second)]
    world.happen(row, "success")
    response = world.post(world.tell(row))

    assert states == ["pending", "expired"]
    assert (response.status_code, world.fate(row)[0], world.row(row).late) == (200, "success", True)
