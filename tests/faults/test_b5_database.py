"""B5, database and deploy: it goes away, it is locked, and every callback fails for two hours. Faults 43 to 45."""

import copy
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import requests
import time_machine
from django.core.checks import run_checks
from django.db import connection, connections
from django.utils import timezone

from django_gatewaypay.models import Callback, Fulfilment
from tests.example.running import until, within
from tests.factories import make_order

from .processes import Life, Mother, pass_time
from .processes import mother as mother
from .test_b5_crashes import send
from .world import ALIAS, World, only

LEASE = 61
COMMITS = 4


def answer(life: Life, callback: Any) -> requests.Response:
    """The whole answer to a callback."""
    url = f"{life.url}/payments/callbacks/{ALIAS}/"
    return requests.post(url, data=callback.body, headers=dict(callback.headers), timeout=60)


def refused_for_now(response: requests.Response) -> bool:
    return response.status_code == 503 and int(response.headers["Retry-After"]) > 0


# --- 43


@pytest.fixture
def server() -> Iterator[psycopg.Connection[Any]]:
    """PostgreSQL as its administrator sees it, beside the suite's own connections."""
    parts = connection.get_connection_params() | {"dbname": "postgres"}
    wanted = {name: parts[name] for name in ("dbname", "user", "host", "port") if parts.get(name)}
    with psycopg.connect(**wanted, autocommit=True) as admin:
        yield admin


def send_everybody_away(server: psycopg.Connection[Any], *, open_again: bool = False) -> None:
    """The database takes nobody in any more, or again; whoever is connected is cut off."""
    name = connection.settings_dict["NAME"]
    if not open_again:
        connection.close()
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    else:
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


@pytest.mark.postgres  # SQLite has no server that could go away
@only("sandbox", "stripe", "mollie")
def test_fault_43_the_database_is_away(world: World, mother: Mother, server: psycopg.Connection[Any]) -> None:
    """503 and when to come back, never 200; the next try is taken and has one effect."""
    row = world.start()
    world.happen(row, "success")
    callback = world.tell(row)
    with mother.bear("web", world.settings) as life:
        try:
            send_everybody_away(server)
            away = [answer(life, callback) for _ in range(3)]
        finally:
            send_everybody_away(server, open_again=True)
        back = send(life, callback)

    assert all(refused_for_now(response) for response in away)
    assert (back, world.fate(row)) == (200, ("success", 1))
    assert len(world.inbox()) == 1


@pytest.mark.postgres
@only("sandbox", "mollie")
@pytest.mark.parametrize(("when", "how"), [("before", "cut"), ("after", "cut"), ("after", "deaf")])
def test_fault_43_the_connection_is_cut_at_each_commit(world: World, mother: Mother, when: str, how: str) -> None:
    """A failover in the middle: what is answered 200 is kept, everything else is told to come back."""
    for number in range(1, COMMITS + 1):
        row = world.start()
        world.happen(row, "success")
        callback, earlier = world.tell(row), Callback.objects.count()
        with mother.bear("web", world.settings, wound={"at": number, "when": when, "how": how}) as life:
            first = answer(life, callback)
            kept = Callback.objects.count() > earlier
            assert refused_for_now(first) or (first.status_code == 200 and kept), (number, first.status_code)
            assert send(life, callback) == 200
        pass_time(2 * LEASE)

        assert world.fate(row) == ("success", 1)


@pytest.mark.postgres
@only("sandbox")
def test_fault_43_serialization_errors(world: World, mother: Mother) -> None:
    """A host on SERIALIZABLE: rivals fail, nobody is told 200 for nothing, and all ends right."""
    order = make_order()
    rows = [world.start(order=order), *(world.start() for _ in range(5))]
    for row in rows:
        world.happen(row, "success")
    callbacks = [world.tell(row) for row in rows for _ in range(6)]
    options = {**connection.settings_dict["OPTIONS"], "isolation_level": 4}
    with mother.bear("web", world.settings, database={"OPTIONS": options}) as life:
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda callback: answer(life, callback), callbacks))
        assert all(one.status_code == 200 or refused_for_now(one) for one in answers)
        for callback, first in zip(callbacks, answers, strict=True):
            assert first.status_code == 200 or send(life, callback) == 200
    pass_time(4 * LEASE)

    assert {world.fate(row) for row in rows} == {("success", 1)}
    assert len(world.inbox()) == len(callbacks)


@pytest.fixture
def one_seat(server: psycopg.Connection[Any]) -> Iterator[dict[str, Any]]:
    """A user of the database who may be connected once."""
    name = connection.settings_dict["NAME"]
    server.execute("DROP ROLE IF EXISTS one_seat")
    server.execute("CREATE ROLE one_seat LOGIN CONNECTION LIMIT 1")
    with connection.cursor() as cursor:
        cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO one_seat")
        cursor.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO one_seat")
    yield {"USER": "one_seat"}
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'one_seat'")
    with connection.cursor() as cursor:
        cursor.execute("DROP OWNED BY one_seat")
    server.execute("DROP ROLE one_seat")
    assert name


@pytest.mark.postgres
@only("sandbox")
def test_fault_43_no_connection_is_left(world: World, mother: Mother, one_seat: dict[str, Any]) -> None:
    """All connections are taken: 503 and when to come back, and taken once there is one."""
    row = world.start()
    world.happen(row, "success")
    callback = world.tell(row)
    parts = connection.get_connection_params()
    wanted = {"dbname": connection.settings_dict["NAME"], "host": parts.get("host"), "user": "one_seat"}
    with mother.bear("web", world.settings, database=one_seat) as life:
        with psycopg.connect(**{name: value for name, value in wanted.items() if value}):
            full = answer(life, callback)
        # The server frees the seat a moment after whoever had it has left.
        until(lambda: send(life, callback) == 200, 60)

    assert refused_for_now(full)
    assert world.fate(row) == ("success", 1)


@only("sandbox")
def test_fault_43_the_shopper_is_told_to_come_back(world: World, mother: Mother) -> None:
    """Initiation while the database is away is no 201; under the same key it is one payment afterwards."""
    order = make_order()
    database = {"NAME": "/nowhere/at-all"} if connection.vendor == "sqlite" else {"HOST": "/nowhere/at-all"}
    headers = {"Idempotency-Key": "k"}
    with mother.bear("web", world.settings, database=database) as life:
        response = requests.post(
            f"{life.url}/payments/initiate/", json={"order_id": str(order.pk)}, headers=headers, timeout=30
        )
    again = world.initiate(order, key="k")

    assert response.status_code >= 500
    assert again.status_code == 201
    assert len(world.server.sessions) == 1


# --- 44


@only("sandbox")
def test_fault_44_eight_writers(world: World, mother: Mother) -> None:
    """Eight processes' worth of callbacks and four clocks on one database: no error, and every book in order."""
    rows = [world.start() for _ in range(16)]
    for row in rows:
        world.happen(row, "success")
    callbacks = [world.tell(row) for row in rows for _ in range(2)]
    lives = [mother.bear("web", world.settings) for _ in range(2)]
    clocks = [mother.bear("tick", world.settings, rounds=5) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        jobs = [(lives[number % 2], callback) for number, callback in enumerate(callbacks)]
        answers = list(pool.map(lambda job: send(*job), jobs))
    for clock in clocks:
        assert "error" not in clock.said()
    for life in lives:
        life.kill()

    assert set(answers) == {200}
    assert {world.fate(row) for row in rows} == {("success", 1)}
    assert set(Fulfilment.objects.values_list("state", "attempts")) == {("done", 1)}


@pytest.fixture
def locked() -> Iterator[sqlite3.Connection]:
    """Another program that writes to our file and does not come to an end."""
    if connection.vendor != "sqlite":
        pytest.skip("it is about SQLite")
    writer = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    yield writer
    writer.close()


@only("sandbox")
def test_fault_44_a_locked_file_is_waited_for_and_then_refused(
    world: World, mother: Mother, locked: sqlite3.Connection
) -> None:
    """The driver tries for its timeout; then it is 503 and when to come back. The next try is taken."""
    row = world.start()
    world.happen(row, "success")
    callback = world.tell(row)
    options = {**connection.settings_dict["OPTIONS"], "timeout": 1}
    connection.close()
    with mother.bear("web", world.settings, database={"OPTIONS": options}) as life:
        locked.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        refused = within(8, lambda: answer(life, callback))
        took = time.monotonic() - began
        locked.execute("ROLLBACK")
        taken = send(life, callback)

    assert refused_for_now(refused)
    assert took > 0.9
    assert (taken, world.fate(row)) == (200, ("success", 1))


def test_fault_44_the_check_warns_of_a_deferred_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check --deploy` names the setting that is missing; with it there is nothing to say."""
    settings_dict = copy.deepcopy(connections["default"].settings_dict)
    with_it = [message.id for message in run_checks(include_deployment_checks=True)]
    settings_dict["OPTIONS"].pop("transaction_mode", None)
    monkeypatch.setattr(connections["default"], "settings_dict", settings_dict)
    without = [message.id for message in run_checks(include_deployment_checks=True)]

    assert "gatewaypay.W003" not in with_it
    assert ("gatewaypay.W003" in without) == (connection.vendor == "sqlite")


# --- 45

#: Seconds after the event at which a gateway tries in vain (the schedule of Standard Webhooks); next at two hours.
RETRIES = (0, 5, 5 * 60, 30 * 60)


def test_fault_45_a_bad_deploy_for_two_hours(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every callback is answered 500; afterwards the gateway's retries and the poll make all right by themselves."""
    retried, forgotten, ended = world.start(), world.start(), world.start()
    began = timezone.now()
    for row, word in ((retried, "success"), (forgotten, "success"), (ended, "expired")):
        world.happen(row, word)
    with monkeypatch.context() as deploy:
        deploy.setattr("django_gatewaypay.services.keep_callback", broken)
        # The clock is broken by the same deploy.
        for seconds in RETRIES:
            with time_machine.travel(began + timedelta(seconds=seconds), tick=True):
                assert world.tell_all(world.tell(retried, event_id="evt_retried")) == [500]
    during = (world.fate(retried), Callback.objects.count())
    with time_machine.travel(began + timedelta(hours=2), tick=True):
        assert world.tell_all(world.tell(retried, event_id="evt_retried")) == [200]
        pass_time(120)

    assert during == (("pending", 0), 0)
    assert {world.fate(row) for row in (retried, forgotten)} == {("success", 1)}
    assert world.row(ended).state in {"expired", "canceled"}


def broken(*_: Any, **__: Any) -> None:
    raise RuntimeError("a bad deploy")
