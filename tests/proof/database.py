"""An empty test database for one piece of the proof."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.apps import apps
from django.core.management.color import no_style
from django.db import connection, connections
from django.test.utils import setup_databases, setup_test_environment, teardown_databases, teardown_test_environment

__all__ = ["empty_database", "empty_tables"]


@contextmanager
def empty_database(*, in_memory: bool = False) -> Iterator[None]:
    """The tables of the suite, empty; gone afterwards.

    Args:
        in_memory: on SQLite, for one thread alone: quick, and no file.
    """
    if in_memory and connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = "file:proof?mode=memory&cache=private"
    setup_test_environment()
    found = setup_databases(verbosity=0, interactive=False, serialized_aliases=set())
    try:
        yield
    finally:
        connections.close_all()
        teardown_databases(found, verbosity=0)
        teardown_test_environment()


def empty_tables() -> None:
    """No rows, and every count from one again: ids are part of an event log."""
    models = [*apps.get_app_config("gatewaypay").get_models(), *apps.get_app_config("shop").get_models()]
    tables = [model._meta.db_table for model in models]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables, reset_sequences=True))
