"""Statements for the busiest rows: Django's own `get()`, `save()` and `update()` build theirs anew each time."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from django.db import connections, models, router

__all__ = ["Select", "find", "insert", "prepared", "update_where"]

Row = TypeVar("Row", bound=models.Model)


@dataclass(frozen=True)
class Select(Generic[Row]):
    """A query as it goes to the database, and how its rows become objects.

    Args:
        values: those that stand before the ones that are filled in.
        columns: the fields of the model, by the order of their columns.
        beside: what the query has annotated, after them.
        converted: which columns the database gives in a form of its own, and what they are.
    """

    model: type[Row]
    using: str
    where: tuple[str, ...]
    sql: str
    values: tuple[Any, ...]
    columns: tuple[str, ...]
    beside: tuple[str, ...]
    converted: tuple[tuple[int, Any], ...]

    @classmethod
    def of(cls, rows: models.QuerySet[Row], where: tuple[str, ...]) -> "Select[Row]":
        """What `rows` asks for, without its order, where these fields have the values that are filled in."""
        compiler = rows.order_by().query.get_compiler(rows.db)
        sql, values = compiler.as_sql()
        asked, info = [column for column, *_ in compiler.select], compiler.klass_info
        return cls(
            rows.model,
            rows.db,
            where,
            f"{sql} {'AND' if rows.query.where else 'WHERE'} {_all_of(rows.db, rows.model, where)}",
            tuple(values),
            tuple(asked[place].target.attname for place in info["select_fields"]),
            tuple(compiler.annotation_col_map),
            tuple((place, asked[place]) for place in compiler.get_converters(asked)),
        )

    def fetch(self, **given: Any) -> list[Row]:
        """The rows, where each field of `where` has the value that is given."""
        connection = connections[self.using]
        with connection.cursor() as cursor:
            wanted = prepared(self.using, self.model, {name: given[name] for name in self.where})
            cursor.execute(self.sql, [*self.values, *wanted])
            found = cursor.fetchall()
        return [self._row(list(columns), connection) for columns in found]

    def _row(self, columns: list[Any], connection: Any) -> Row:
        for place, column in self.converted:
            for convert in (*connection.ops.get_db_converters(column), *column.get_db_converters(connection)):
                columns[place] = convert(columns[place], column, connection)
        row = self.model.from_db(self.using, self.columns, columns[: len(self.columns)])
        for name, value in zip(self.beside, columns[len(self.columns) :], strict=True):
            setattr(row, name, value)
        return row


def find(model: type[Row], **where: Any) -> Row | None:
    """`filter(**where).first()` for plain values of which there is one row at most."""
    return next(iter(_find(router.db_for_read(model), model, tuple(where)).fetch(**where)), None)


@cache
def _find(using: str, model: type[Row], where: tuple[str, ...]) -> Select[Row]:
    return Select.of(model._default_manager.using(using), where)


def insert(row: models.Model, *, or_leave: bool = False) -> bool:
    """`save(force_insert=True)` of a row whose values are all plain; it sends no signals. Whether it was written.

    Args:
        or_leave: write nothing, and raise nothing, where another row has one of its unique values; for a row that
            chooses its own key.
    """
    model, using = type(row), router.db_for_write(type(row), instance=row)
    connection, meta = connections[using], type(row)._meta
    fields = [field for field in meta.concrete_fields if row.pk is not None or not field.primary_key]
    values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(_insert_sql(using, model, with_key=row.pk is not None, or_leave=or_leave), values)
        if or_leave and not cursor.rowcount:
            return False
        if row.pk is None:
            returns = connection.features.can_return_columns_from_insert
            row.pk = cursor.fetchone()[0] if returns else cursor.lastrowid
    row._state.adding, row._state.db = False, using
    return True


@cache
def _insert_sql(using: str, model: type[models.Model], *, with_key: bool, or_leave: bool) -> str:
    connection, meta = connections[using], model._meta
    quote, key = connection.ops.quote_name, str(meta.pk.column)
    columns = [quote(str(field.column)) for field in meta.concrete_fields if with_key or not field.primary_key]
    returns = not with_key and connection.features.can_return_columns_from_insert
    into, values = f"{quote(meta.db_table)} ({', '.join(columns)})", ", ".join(["%s"] * len(columns))
    # Not SQLite's INSERT OR IGNORE: that forgives whatever is wrong with a row.
    after = " ON CONFLICT DO NOTHING" * or_leave + f" RETURNING {quote(key)}" * returns
    return f"INSERT INTO {into} VALUES ({values}){after}"  # noqa: S608 - names of our own models


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
