"""A database of this process's own: in memory for SQLite, made and dropped for PostgreSQL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

__all__ = ["prepared"]


@contextmanager
def prepared() -> Iterator[None]:
    """All tables are there, and gone again afterwards."""
    name = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = None if connection.vendor == "sqlite" else f"simulation_{os.getpid()}"
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
