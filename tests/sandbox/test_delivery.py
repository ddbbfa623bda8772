"""The shop is told what the page promised: how often, in which order, signed by whom, and when."""

import os
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from django_gatewaypay.exceptions import InvalidSignature
from django_gatewaypay.gateways.signing import verify_standard_webhook
from django_gatewaypay.sandbox import delivery
from django_gatewaypay.sandbox.access import webhook_secret
from django_gatewaypay.sandbox.decisions import Action, decide, settle
from django_gatewaypay.sandbox.delivery import deliver_due, settle_due
from django_gatewaypay.sandbox.models import Mode, SandboxDelivery, SandboxPayment

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


def run_until(end: datetime) -> None:
    """Do what the thread would have done by then."""
    settle_due(end)
    deliver_due(end)
    deliver_due(end + SECOND)


def genuine(call: tuple[Any, bytes]) -> bool:
    try:
        verify_standard_webhook([webhook_secret()], *call)
    except InvalidSignature:
        return False
    return True


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("action", "mode", "told"),
    [
        (Action.PAY, Mode.ONCE, ["success"]),
        (Action.DECLINE, Mode.ONCE, ["failed"]),
        (Action.CANCEL, Mode.ONCE, ["canceled"]),
        (Action.DELAY, Mode.ONCE, ["processing", "success"]),
        (Action.PAY, Mode.TWICE, ["success", "success"]),
        (Action.DELAY, Mode.TWICE, ["processing", "success", "success"]),
        (Action.PAY, Mode.REORDERED, ["success", "pending"]),
        (Action.DELAY, Mode.REORDERED, ["success", "processing"]),
        (Action.PAY, Mode.NEVER, []),
        (Action.DELAY, Mode.NEVER, []),
        (Action.PAY, Mode.FORGED, ["success"]),
        (Action.PAY, Mode.WRONG_AMOUNT, ["success"]),
        (Action.PAY, Mode.LATE, ["success"]),
        (Action.DELAY, Mode.LATE, ["success"]),
        (Action.DECLINE, Mode.LATE, ["failed"]),
    ],
)
def test_what_the_shop_is_told(payment: SandboxPayment, shop: Any, action: Action, mode: Mode, told: list[str]) -> None:
    """Each button with each way to tell."""
    decide(payment, action, mode)
    deliver_due()
    run_until(payment.expires_at + 10 * SECOND)

    assert shop.told == told
    assert all(genuine(call) is (mode is not Mode.FORGED) for call in shop.calls)


def test_a_repeated_callback_is_the_same_event(payment: SandboxPayment, shop: Any) -> None:
    """Byte for byte, under one id, in the header as in the body."""
    decide(payment, Action.PAY, Mode.TWICE)
    deliver_due()
    (first_headers, first), (second_headers, second) = shop.calls

    assert first == second
    assert first_headers["webhook-id"] == second_headers["webhook-id"] == shop.events[0]["event_id"]


def test_older_news_are_an_event_of_their_own(payment: SandboxPayment, shop: Any) -> None:
    """Sent a second after the result."""
    now = timezone.now()
    decide(payment, Action.PAY, Mode.REORDERED, now=now)
    deliver_due(now)
    assert shop.told == ["success"]

    deliver_due(now + 2 * SECOND)

    assert shop.told == ["success", "pending"]
    assert len({event["event_id"] for event in shop.events}) == 2


def test_a_wrong_amount_is_wrong_everywhere(payment: SandboxPayment, shop: Any, api: Client) -> None:
    """One cent less, in the callback and when asked."""
    decide(payment, Action.PAY, Mode.WRONG_AMOUNT)
    deliver_due()

    assert shop.events[0]["amount"] == "19.98"
    assert api.get(f"/sandbox/status/{payment.reference}").json()["amount"] == "19.98"


def test_delayed_money_comes_when_it_was_said(payment: SandboxPayment) -> None:
    """Processing until the last second."""
    now = timezone.now()
    decide(payment, Action.DELAY, seconds=30, now=now)

    assert settle_due(now + 29 * SECOND) == 0
    assert settle_due(now + 30 * SECOND) == 1
    assert settle_due(now + 31 * SECOND) == 0


def test_no_delay_is_at_once(payment: SandboxPayment) -> None:
    """Zero seconds still tell the shop of both states."""
    decide(payment, Action.DELAY, seconds=0)

    assert payment.status == "success"
    assert SandboxDelivery.objects.count() == 2


def test_late_money_comes_after_the_expiry(expired: SandboxPayment, payment: SandboxPayment) -> None:
    """Five seconds after the session's end, or after the button when that is later."""
    now = timezone.now()
    decide(expired, Action.PAY, Mode.LATE, now=now)

    assert expired.told_status == "expired"
    assert settle_due(now + 4 * SECOND) == 0
    assert settle_due(now + 5 * SECOND) == 1
    expired.refresh_from_db()
    assert expired.told_status == "success"


def test_a_decision_is_made_once(payment: SandboxPayment) -> None:
    """Two processes with the same old row settle it once."""
    now = timezone.now()
    decide(payment, Action.DELAY, seconds=1, now=now)
    rival = SandboxPayment.objects.get(pk=payment.pk)
    settle_due(now + SECOND)

    assert not settle(rival, now + SECOND)
    assert not decide(rival, Action.DECLINE)
    assert SandboxDelivery.objects.count() == 2


@pytest.mark.parametrize("answer", [500, 400, 302, 429])
def test_a_refused_callback_is_sent_again(payment: SandboxPayment, shop: Any, answer: int) -> None:
    """Signed afresh under its old id, until the shop takes it; no redirect is followed."""
    shop.answers = [answer, 204]
    now = timezone.now()
    decide(payment, Action.PAY, now=now)

    assert deliver_due(now) == 1
    assert deliver_due(now) == 0
    assert deliver_due(now + 3 * SECOND) == 1

    row = SandboxDelivery.objects.get()
    assert (row.attempts, row.response_status, row.gave_up) == (2, 204, False)
    assert row.delivered_at is not None
    assert len({headers["webhook-id"] for headers, _ in shop.calls}) == 1
    assert deliver_due(timezone.now() + timedelta(days=1)) == 0


def test_eight_tries_are_enough(payment: SandboxPayment, shop: Any) -> None:
    """Then the gateway gives up."""
    shop.answers = [500]
    now = timezone.now()
    decide(payment, Action.PAY, now=now)
    for minutes in range(20):
        deliver_due(now + timedelta(minutes=2 * minutes))

    assert len(shop.calls) == 8
    assert SandboxDelivery.objects.get().gave_up


def test_a_silent_shop_is_tried_again(payment: SandboxPayment) -> None:
    """No answer at all is no success."""
    payment.callback_url = "http://127.0.0.1:9/"
    payment.save()
    decide(payment, Action.PAY)

    assert deliver_due() == 1
    row = SandboxDelivery.objects.get()
    assert (row.response_status, row.delivered_at) == (None, None)


@pytest.mark.django_db(transaction=True)
def test_two_senders_send_once(payment: SandboxPayment, shop: Any) -> None:
    """Whoever claims the row first has it."""
    decide(payment, Action.PAY)
    barrier, sent = threading.Barrier(4), []

    def send() -> None:
        barrier.wait()
        try:
            sent.append(deliver_due())
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(sent) == 1
    assert shop.told == ["success"]


@pytest.mark.django_db(transaction=True)
def test_the_thread_sends_by_itself(
    api: Client, payment: SandboxPayment, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and again when delayed money comes."""
    monkeypatch.setattr(delivery, "threaded", True)
    api.post(f"/sandbox/pay/{payment.reference}/", {"action": "delay", "seconds": "1"})

    wait_for(lambda: len(shop.calls) == 2)
    wait_for(lambda: not SandboxDelivery.objects.owed().exists())
    assert shop.told == ["processing", "success"]


@pytest.mark.django_db(transaction=True)
def test_the_thread_survives_an_error(
    api: Client,
    payment: SandboxPayment,
    shop: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A row that makes no sense is logged, and once it is mended the shop is told."""
    monkeypatch.setattr(delivery, "PAUSE_AFTER_ERROR", 0.05)
    monkeypatch.setattr(delivery, "threaded", True)
    decide(payment, Action.DELAY, seconds=0)
    row = SandboxPayment.objects.filter(pk=payment.pk)
    row.update(status="nonsense", settle_at=timezone.now(), decided_at=None)
    delivery.wake()

    wait_for(lambda: "sender" in caplog.messages)
    row.update(status="success", settle_at=None)
    wait_for(lambda: len(shop.calls) == 2)
    wait_for(lambda: not SandboxDelivery.objects.owed().exists())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_starts_its_own_thread() -> None:
    """The child has a lock that nobody holds and no thread yet."""
    delivery.sender.lock.acquire()
    try:
        child = os.fork()
        if child == 0:
            os._exit(0 if delivery.sender.thread is None and delivery.sender.lock.acquire(timeout=30) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        delivery.sender.lock.release()


def test_no_thread_where_none_is_wanted() -> None:
    """`threaded = False` leaves the sending to the test."""
    before = delivery.sender.thread
    delivery.wake()

    assert delivery.sender.thread is before
