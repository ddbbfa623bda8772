"""Celery as a clock and a worker: over a real broker, with a real worker, and with neither."""

import base64
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from celery import Celery, current_app
from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone

from django_gatewaypay import schedule, services, tasks
from django_gatewaypay.models import Callback, Transaction
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import CallbackRequest
from tests.factories import make_order, make_transaction

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = {
    "process_callback", "poll_pending", "expire_overdue", "reconcile", "send_link", "send_notices", "sweep"
}  # fmt: skip


def broker_url() -> str:
    url: str = django_settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]
    return url.removesuffix("/0") + "/5"


@pytest.fixture
def app() -> Iterator[Celery]:
    """A host's Celery app on the suite's Valkey, with an empty queue."""
    before = current_app._get_current_object()
    app = Celery("host", broker=broker_url(), set_as_current=True)
    app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)
    app.set_default()
    with redis.Redis.from_url(broker_url()) as server:
        server.flushdb()
    yield app
    app.close()
    before.set_current()
    before.set_default()


@contextmanager
def working(app: Celery) -> Iterator[None]:
    """A real worker in a thread of ours."""
    from celery.contrib.testing.worker import start_worker

    with start_worker(app, pool="solo", perform_ping_check=False, loglevel=logging.WARNING, shutdown_timeout=60):
        yield


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next question is not due before the test has ended, however slow the machine is."""
    monkeypatch.setattr(schedule, "WAITING_DELAYS", (50,) * 5)


def queued() -> list[dict[str, Any]]:
    """The messages that wait in the broker, oldest first."""
    with redis.Redis.from_url(broker_url()) as server:
        return [json.loads(text) for text in reversed(server.lrange("celery", 0, -1))]


def stored(hosted: GatewayServer) -> uuid.UUID:
    """A callback of a paid payment, kept and not worked on."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    headers, body = hosted.callback(row.gateway_reference)
    [callback_id] = services.receive_callback("hosted", CallbackRequest(headers, body))
    return callback_id


def wait_for(check: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def test_the_names_are_the_documented_ones(app: Celery) -> None:
    """Hosts route by them."""
    names = {f"gatewaypay.{name}" for name in NAMES}

    ours = {getattr(tasks, name).name for name in NAMES}
    assert ours == names
    assert names <= set(app.tasks)


def test_the_beat_entries_name_tasks_that_exist(app: Celery) -> None:
    """Every entry is complete, of a fresh dict, and at least once a minute; the comparison is each night's."""
    entries = tasks.beat_schedule()

    assert {entry["task"] for entry in entries.values()} == {
        f"gatewaypay.{name}" for name in NAMES - {"process_callback", "send_link"}
    }
    nightly = entries["gatewaypay.reconcile"]["schedule"]
    often = [entry["schedule"] for name, entry in entries.items() if name != "gatewaypay.reconcile"]
    assert all(entry.keys() == {"task", "schedule"} for entry in entries.values())
    assert all(0 < seconds <= 60 for seconds in often)
    assert (nightly.hour, nightly.minute, len(nightly.day_of_month)) == ({3}, {17}, 31)
    assert tasks.beat_schedule() is not entries


def test_the_clocks_tasks_do_what_a_tick_does(hosted: GatewayServer) -> None:
    """poll_pending finds the payment, expire_overdue closes, sweep re-drives."""
    paid, overdue = (services.initiate(str(make_order().pk)).transaction for _ in range(2))
    hosted.pay(paid.gateway_reference)
    now = timezone.now()
    Transaction.objects.filter(pk=paid.pk).update(next_poll_at=now)
    Transaction.objects.filter(pk=overdue.pk).update(expires_at=now)
    callback_id = stored(hosted)
    Callback.objects.update(next_attempt_at=now)
    for task in (tasks.poll_pending, tasks.expire_overdue, tasks.sweep):
        task()

    paid.refresh_from_db()
    overdue.refresh_from_db()
    assert (paid.state, overdue.state) == ("success", "expired")
    assert Callback.objects.get(pk=callback_id).state == "processed"


def test_each_night_the_books_are_compared_and_nothing_is_mended(
    hosted: GatewayServer, settings: Any, mailoutbox: list[Any]
) -> None:
    """What differs is flagged; what is missing here has no row to flag, and is mailed. The last hour is left alone."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"STAFF_EMAILS": ["ann@shop.example"]}
    paid, lost, young = (services.initiate(str(make_order().pk)).transaction for _ in range(3))
    for row in (paid, lost, young):
        hosted.pay(row.gateway_reference)
    for row in (paid, lost):
        opened = timezone.now() - timedelta(hours=2)
        hosted.asked[row.gateway_reference] = replace(hosted.asked[row.gateway_reference], created_at=opened)
        Transaction.objects.filter(pk=row.pk).update(created_at=opened)
    lost.events.all().delete()
    Transaction.objects.filter(pk=lost.pk).delete()
    tasks.reconcile()

    flagged = dict(Transaction.objects.values_list("pk", "attention"))
    assert flagged == {paid.pk: "unreconciled", young.pk: ""}
    assert set(Transaction.objects.values_list("state", flat=True)) == {"pending"}
    assert [f"Order {lost.order_id}, success 19.99 EUR" in mail.body for mail in mailoutbox] == [True]


def test_staff_are_mailed_by_a_task(settings: Any, mailoutbox: list[Any]) -> None:
    """Beat looks each minute; the mail keeps its own pause."""
    make_transaction("held")
    tasks.send_notices()
    before = list(mailoutbox)
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"STAFF_EMAILS": ["ann@shop.example"]}
    for _ in range(2):
        tasks.send_notices()
        make_transaction("held")

    assert (before, len(mailoutbox)) == ([], 1)


def test_eager_mode_works_at_once(hosted: GatewayServer, app: Celery) -> None:
    """A host whose tests run tasks eagerly sees the payment settled when the view answers."""
    app.conf.task_always_eager = True
    callback_id = stored(hosted)

    assert tasks.enqueue(tasks.process_callback, str(callback_id))
    assert Callback.objects.get().state == "processed"
    assert Transaction.objects.get().state == "success"


@pytest.mark.usefixtures("long_pauses")
def test_eager_mode_comes_to_an_end(hosted: GatewayServer, app: Celery) -> None:
    """A shopper who waits is asked for once, and not again and again without a pause."""
    app.conf.task_always_eager = True
    row = services.initiate(str(make_order().pk)).transaction
    Transaction.objects.update(next_poll_at=timezone.now(), waiting_since=timezone.now())
    tasks.ask_again_soon(str(row.pk))

    assert [request.method for request in hosted.requests] == ["POST", "GET"]


def test_what_is_queued_are_ids_and_nothing_else(hosted: GatewayServer, app: Celery) -> None:
    """The broker is not a place for secrets: one id, as JSON."""
    callback_id, pk = uuid.uuid4(), uuid.uuid4()
    tasks.enqueue(tasks.process_callback, str(callback_id))
    tasks.enqueue(tasks.poll_pending, str(pk))
    messages = queued()

    bodies = [json.loads(base64.b64decode(message["body"])) for message in messages]
    assert [body[:2] for body in bodies] == [[[str(callback_id)], {}], [[str(pk)], {}]]
    assert {message["content-type"] for message in messages} == {"application/json"}
    assert [message["headers"]["task"] for message in messages] == [
        "gatewaypay.process_callback",
        "gatewaypay.poll_pending",
    ]


def test_a_waiting_shopper_is_asked_for_by_countdown(hosted: GatewayServer, app: Celery) -> None:
    """Undecided: the question is queued again, for when it is due. Decided: it is not."""
    row = services.initiate(str(make_order().pk)).transaction
    Transaction.objects.update(next_poll_at=timezone.now(), waiting_since=timezone.now())
    earliest = timezone.now() + timedelta(seconds=1)
    tasks.poll_pending(str(row.pk))
    latest = timezone.now() + timedelta(seconds=20)
    [again] = queued()
    hosted.pay(row.gateway_reference)
    Transaction.objects.update(next_poll_at=timezone.now())
    tasks.poll_pending(str(row.pk))

    eta = timezone.datetime.fromisoformat(again["headers"]["eta"])
    assert earliest < eta < latest
    assert json.loads(base64.b64decode(again["body"]))[0] == [str(row.pk)]
    assert len(queued()) == 1
    assert Transaction.objects.get().state == "success"


@pytest.mark.usefixtures("long_pauses")
def test_a_question_that_is_brought_twice_goes_on_once(hosted: GatewayServer, app: Celery) -> None:
    """A broker may bring a message again, and a shopper may come back often: there is one chain of questions."""
    row = services.initiate(str(make_order().pk)).transaction
    Transaction.objects.update(next_poll_at=timezone.now(), waiting_since=timezone.now())
    for _ in range(5):
        tasks.poll_pending(str(row.pk))

    assert [request.method for request in hosted.requests] == ["POST", "GET"]
    assert len(queued()) == 1


def test_nobody_who_waits_is_left_to_the_beat(hosted: GatewayServer, app: Celery) -> None:
    """A payment that is next due in a minute or more needs no countdown, nor does one that does not exist."""
    row = make_transaction(next_poll_at=timezone.now() + timedelta(minutes=15))
    tasks.poll_pending(str(row.pk))
    tasks.poll_pending(str(uuid.uuid4()))

    assert queued() == []
    assert not hosted.requests


def test_coming_back_queues_the_first_question(hosted: GatewayServer, app: Celery, settings: Any, client: Any) -> None:
    """The return page starts the countdown, where a worker runs."""
    started = client.post(
        "/payments/initiate/", {"order_id": str(make_order().pk)}, content_type="application/json"
    ).json()
    client.get(f"/payments/return/{started['id']}/")
    without = queued()
    settings.GATEWAYPAY["USE_CELERY"] = True
    client.get(f"/payments/return/{started['id']}/")

    assert without == []
    assert [message["headers"]["task"] for message in queued()] == ["gatewaypay.poll_pending"]


@pytest.mark.slow
def test_a_real_worker_settles_the_payment(hosted: GatewayServer, app: Celery, settings: Any, client: Any) -> None:
    """From the gateway's call through broker and worker to the fulfilled order."""
    settings.GATEWAYPAY["USE_CELERY"] = True
    order = make_order()
    started = client.post("/payments/initiate/", {"order_id": str(order.pk)}, content_type="application/json").json()
    row = Transaction.objects.get(pk=started["id"])
    hosted.pay(row.gateway_reference)
    headers, body = hosted.callback(row.gateway_reference)
    response = client.post(
        "/payments/callbacks/hosted/", body, content_type=headers.pop("content-type"), headers=headers
    )
    kept = Callback.objects.get().state
    with working(app):
        wait_for(lambda: Callback.objects.get().state == "processed")

    order.refresh_from_db()
    assert (response.status_code, kept) == (200, "received")
    assert (Transaction.objects.get().state, order.fulfilments) == ("success", 1)


@pytest.mark.slow
def test_a_real_worker_finds_what_the_gateway_never_told(hosted: GatewayServer, app: Celery, settings: Any) -> None:
    """The countdown leads to the answer, without a callback and without a beat."""
    row = services.initiate(str(make_order().pk)).transaction
    services.refresh_for_shopper(row)
    tasks.ask_again_soon(str(row.pk))
    hosted.pay(row.gateway_reference)
    with working(app):
        wait_for(lambda: Transaction.objects.get().state == "success")

    assert not Callback.objects.exists()


# --- A link to the payments of an order.


@pytest.fixture
def asked(settings: Any, mailoutbox: list[Any]) -> Any:
    """Ask for a link, at a host that runs a worker and knows the addresses of its orders."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"USE_CELERY": True, "ORDERS": "tests.shop.MailingShopOrders"}
    row = make_transaction(order=make_order(email="ann@shop.example"))
    return lambda: Client().post("/payments/check/", {"order_id": row.order_id, "email": "ann@shop.example"})


def test_a_link_is_mailed_by_a_task(app: Celery, asked: Any, mailoutbox: list[Any]) -> None:
    """Eager mode has mailed it when the view answers; no thread is started."""
    app.conf.task_always_eager = True
    response = asked()

    assert response.status_code == 200
    assert [mail.to for mail in mailoutbox] == [["ann@shop.example"]]
    assert not lookups()


def test_the_broker_is_told_no_address(app: Celery, asked: Any) -> None:
    """What waits there is the order and a digest."""
    asked()
    [message] = queued()

    assert message["headers"]["task"] == "gatewaypay.send_link"
    assert "ann@" not in json.dumps(message["headers"]) + base64.b64decode(message["body"]).decode()


def test_without_a_broker_a_thread_mails_the_link(dead: Celery, asked: Any, mailoutbox: list[Any]) -> None:
    """The answer is the same."""
    response = asked()
    for thread in lookups():
        thread.join(60)

    assert response.status_code == 200
    assert len(mailoutbox) == 1


@pytest.mark.slow
def test_a_real_worker_mails_the_link(app: Celery, asked: Any, mailoutbox: list[Any]) -> None:
    """It knows neither the request's path nor its language, and the link is right."""
    asked()
    before = list(mailoutbox)
    with working(app):
        wait_for(lambda: mailoutbox)

    assert before == []
    assert "https://shop.example/payments/check/" in mailoutbox[0].body


def lookups() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "gatewaypay-lookup"]


@pytest.fixture
def dead() -> Iterator[Celery]:
    """An app whose broker is not there."""
    before = current_app._get_current_object()
    app = Celery("dead", broker="redis://:canary@127.0.0.1:9/0", set_as_current=True)
    app.set_default()
    yield app
    before.set_current()
    before.set_default()


def test_a_dead_broker_is_a_line_in_the_log(
    dead: Celery, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quickly, without an exception, and without the address of the broker."""

    def pause(_: float) -> None:
        raise AssertionError("it is about to knock once more")  # kombu alone does so for six seconds

    for module in ("kombu.utils.functional", "redis.retry"):
        monkeypatch.setattr(f"{module}.sleep", pause)
    taken = tasks.enqueue(tasks.sweep)

    ours = [record.getMessage() for record in caplog.records if record.name == "gatewaypay.celery"]
    assert taken is False
    assert ours == ["broker unavailable task=gatewaypay.sweep error=OperationalError"]
    assert "canary" not in caplog.text


def test_messages_share_a_connection(app: Celery) -> None:
    """A busy shop does not open one per callback."""
    with redis.Redis.from_url(broker_url()) as server:
        tasks.enqueue(tasks.sweep)
        before = server.info("stats")["total_connections_received"]
        for _ in range(20):
            tasks.enqueue(tasks.sweep)
        opened = server.info("stats")["total_connections_received"] - before

    assert len(queued()) == 21
    assert opened <= 2


@pytest.mark.parametrize(("task", "verb"), [(tasks.poll_pending, "poll_due"), (tasks.expire_overdue, "expire_overdue")])
def test_a_beat_goes_on_while_whole_batches_are_due(monkeypatch: pytest.MonkeyPatch, task: Any, verb: str) -> None:
    """After an outage thousands are due: one batch a minute would take half an hour."""
    batches = [services.BATCH, services.BATCH, 3, services.BATCH]
    monkeypatch.setattr(services, verb, lambda: batches.pop(0))
    task()

    assert batches == [services.BATCH]
