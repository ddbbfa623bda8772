"""Statements for the busiest rows: Django's own `get()` and `update()` build theirs anew each time."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.db import connections, models, router

__all__ = ["condition", "prepared", "update_where"]


def update_where(model: type[models.Model], where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
    """`filter(**where).update(**changes)` for plain values: how many rows were written.

    Args:
        where: what has to be so, by field; no lookups and no None.
        changes: the new values, by field; no expressions.
    """
    using = router.db_for_write(model)
    values = prepared(using, model, changes) + prepared(using, model, where)
    with connections[using].cursor() as cursor:
        cursor.execute(_update_sql(using, model, tuple(changes), tuple(where)), values)
        return int(cursor.rowcount)


@cache
def _update_sql(using: str, model: type[models.Model], changes: tuple[str, ...], where: tuple[str, ...]) -> str:
    table = connections[using].ops.quote_name(model._meta.db_table)
    assigned = ", ".join(condition(using, model, name) for name in changes)
    required = " AND ".join(condition(using, model, name) for name in where)
    return f"UPDATE {table} SET {assigned} WHERE {required}"  # noqa: S608 - names of our own models


def condition(using: str, model: type[models.Model], name: str) -> str:
    """A field's column, and the place of its value."""
    return f"{connections[using].ops.quote_name(_field(model, name).column)} = %s"


def prepared(using: str, model: type[models.Model], values: Mapping[str, Any]) -> list[Any]:
    """Values by field, as the database wants them."""
    return [_field(model, name).get_db_prep_save(value, connections[using]) for name, value in values.items()]


@cache
def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)
