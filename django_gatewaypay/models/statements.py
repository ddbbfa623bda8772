"""Statements for the busiest rows: Django's own `get()`, `save()` and `update()` build theirs anew each time."""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from django.db import connections, models, router

__all__ = ["find", "insert", "prepared", "select_sql", "update_where"]

Row = TypeVar("Row", bound=models.Model)


def find(model: type[Row], **where: Any) -> Row | None:
    """`filter(**where).first()` for plain values of which there is one row at most."""
    using = router.db_for_read(model)
    rows = model._default_manager.using(using).raw(_find_sql(using, model, tuple(where)), prepared(using, model, where))
    return next(iter(rows), None)


@cache
def _find_sql(using: str, model: type[models.Model], where: tuple[str, ...]) -> str:
    return select_sql(model._default_manager.using(using), where)[0]


def select_sql(rows: models.QuerySet[Any], where: tuple[str, ...]) -> tuple[str, tuple[Any, ...]]:
    """The statement of a query that has no conditions, with these fields as its conditions.

    Returns:
        the statement, and the values that stand before those of the fields.
    """
    sql, values = rows.order_by().query.get_compiler(rows.db).as_sql()
    return f"{sql} WHERE {_all_of(rows.db, rows.model, where)}", tuple(values)


def insert(row: models.Model) -> None:
    """`save(force_insert=True)` of a row whose values are all plain; it sends no signals."""
    model, using = type(row), router.db_for_write(type(row), instance=row)
    connection, meta = connections[using], type(row)._meta
    fields = [field for field in meta.concrete_fields if row.pk is not None or not field.primary_key]
    values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(_insert_sql(using, model, with_key=row.pk is not None), values)
        if row.pk is None:
            returns = connection.features.can_return_columns_from_insert
            row.pk = cursor.fetchone()[0] if returns else cursor.lastrowid
    row._state.adding, row._state.db = False, using


@cache
def _insert_sql(using: str, model: type[models.Model], *, with_key: bool) -> str:
    connection, meta = connections[using], model._meta
    quote, key = connection.ops.quote_name, str(meta.pk.column)
    columns = [quote(str(field.column)) for field in meta.concrete_fields if with_key or not field.primary_key]
    returns = not with_key and connection.features.can_return_columns_from_insert
    into, values = f"{quote(meta.db_table)} ({', '.join(columns)})", ", ".join(["%s"] * len(columns))
    returning = f" RETURNING {quote(key)}" if returns else ""
    return f"INSERT INTO {into} VALUES ({values}){returning}"  # noqa: S608 - names of our own models


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
    assigned = ", ".join(_term(using, model, name) for name in changes)
    return f"UPDATE {table} SET {assigned} WHERE {_all_of(using, model, where)}"  # noqa: S608 - names of our own models


def _all_of(using: str, model: type[models.Model], names: tuple[str, ...]) -> str:
    return " AND ".join(_term(using, model, name) for name in names)


def _term(using: str, model: type[models.Model], name: str) -> str:
    """A field's column, and the place of its value."""
    return f"{connections[using].ops.quote_name(_field(model, name).column)} = %s"


def prepared(using: str, model: type[models.Model], values: Mapping[str, Any]) -> list[Any]:
    """Values by field, as the database wants them."""
    return [_field(model, name).get_db_prep_save(value, connections[using]) for name, value in values.items()]


@cache
def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)
