"""An empty test database for one piece of the proof."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, connections
from django.test.utils import setup_databases, setup_test_environment, teardown_databases, teardown_test_environment

__all__ = ["empty_database"]


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
