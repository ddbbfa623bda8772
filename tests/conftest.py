"""What every test starts from: an empty cache, fresh adapters, and a gateway on loopback for who asks."""

import copy
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.test import TransactionTestCase

from django_gatewaypay.registry import gateways
from django_gatewaypay.testing.gateway_server import GatewayServer

REPOSITORY = Path(__file__).resolve().parent.parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever runs the suite in the background ignores Ctrl-C, and so would every process that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

MIGRATED = {ContentType, Permission}
DATABASE_FIXTURES = {"db", "transactional_db", "django_db_reset_sequences", "django_db_serialized_rollback"}
#: Every database connection with the thread that opened it, until that thread has ended.
opened: dict[int, tuple[BaseDatabaseWrapper, threading.Thread]] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """PostgreSQL's run has what touches a database; SQLite's has everything but what only PostgreSQL can show."""
    if "postgresql" in django_settings.DATABASES["default"]["ENGINE"]:
        kept = [item for item in items if touches_database(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept
        return
    for item in items:
        if item.get_closest_marker("postgres"):
            item.add_marker(pytest.mark.skip(reason="needs PostgreSQL: GATEWAYPAY_TEST_DB=postgres"))


def touches_database(item: pytest.Item) -> bool:
    """Whether another database could make a difference."""
    if item.get_closest_marker("postgres"):
        return True
    marked = item.get_closest_marker("django_db") or DATABASE_FIXTURES & set(getattr(item, "fixturenames", ()))
    return bool(marked) and not item.get_closest_marker("checker")


@pytest.fixture
def patient_nudges(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a second loses no nudge."""
    monkeypatch.setattr("django_gatewaypay.announcer.PATIENCE_SECONDS", 30)


def forget_rows(_: TransactionTestCase) -> None:
    """No rows after a test that commits, but for what migrations wrote.

    Django's own flush truncates every table and makes all permissions again, which takes longer than most tests.
    """
    tables = [model._meta.db_table for model in apps.get_models(include_auto_created=True) if model not in MIGRATED]
    asked = [f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM \"{table}\")" for table in tables]  # noqa: S608 - of models
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(asked))
        for (table,) in cursor.fetchall():
            cursor.execute(f'DELETE FROM "{table}"')  # noqa: S608 - the same


TransactionTestCase._fixture_teardown = forget_rows


def remember(connection: BaseDatabaseWrapper, **_: Any) -> None:
    opened[id(connection)] = (connection, threading.current_thread())


connection_created.connect(remember)


def hang_up() -> list[str]:
    """Close what threads that have ended left open; the names of those that were ours.

    A server of the suite may lose a thread that way. Python would complain of it whenever it collects the garbage, in
    a test that has nothing to do with it.
    """
    mine = connections.all(initialized_only=True)
    # A copy: a server of the suite may open one meanwhile.
    ended = [key for key, (_, thread) in [*opened.items()] if not thread.is_alive()]
    left = [one for one in map(opened.pop, ended) if one[0].connection and one[0] not in mine]
    for wrapper, _ in left:
        wrapper.connection.close()
    return [thread.name for _, thread in left if thread.name.startswith("gatewaypay")]


@pytest.fixture(autouse=True)
def hung_up() -> Iterator[None]:
    """No thread of the package ends with a connection open."""
    yield
    assert hang_up() == []


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No test sees what another one counted, cached or connected."""
    yield
    cache.clear()
    for gateway in vars(gateways._connections).values():
        gateway.client.session.close()
    gateways.reset()


@pytest.fixture
def gateway_server() -> Iterator[GatewayServer]:
    """A scripted gateway on loopback that signs with the secret of our settings."""
    with GatewayServer(secret=django_settings.HOSTED_SECRET) as server:
        yield server


@pytest.fixture
def hosted(gateway_server: GatewayServer, settings: Any) -> GatewayServer:
    """The same gateway, with the alias "hosted" of the settings pointing at it."""
    changed = copy.deepcopy(settings.GATEWAYPAY)
    changed["GATEWAYS"]["hosted"]["OPTIONS"]["api_base"] = gateway_server.url
    settings.GATEWAYPAY = changed
    return gateway_server
