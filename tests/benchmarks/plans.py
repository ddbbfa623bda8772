"""What PostgreSQL does for a statement of ours."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["Asked", "first_asked", "nodes", "plan_of", "plan_text", "reads_most"]

#: Left out of a text is what is another each time.
PLAIN = "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF"
#: Rows of a table that had better not be read all.
LARGE = 10_000


class Asked(Exception):
    """Carries what would have been asked."""

    def __init__(self, sql: str, params: Any) -> None:
        super().__init__(sql)
        self.sql = sql
        self.params = params


def first_asked(work: Callable[[], object]) -> tuple[str, Any]:
    """The first statement of some work, which goes no further."""
    from django.db import connection

    def stop(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        raise Asked(sql, params)

    try:
        with connection.execute_wrapper(stop):
            work()
    except Asked as asked:
        return asked.sql, asked.params
    raise LookupError("Nothing was asked.")


def plan_of(sql: str, params: Any) -> Mapping[str, Any]:
    """The plan of a statement with what its execution touched; its effect is taken back."""
    (plan,) = _explained("ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON", sql, params)
    return dict(plan[0]["Plan"])


def plan_text(sql: str, params: Any) -> str:
    """The same for people, in a shape that can be compared."""
    return "\n".join(_explained(PLAIN, sql, params))


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A plan and everything below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def reads_most(plan: Mapping[str, Any]) -> bool:
    """Whether some part of a plan reads half of a large table, or more."""
    return any(_reads_most(node) for node in nodes(plan) if "Relation Name" in node)


def _reads_most(node: Mapping[str, Any]) -> bool:
    ((rows,),) = _fetched("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [node["Relation Name"]])
    read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return rows >= LARGE and read >= rows / 2


def _explained(options: str, sql: str, params: Any) -> list[Any]:
    return [line for (line,) in _fetched(f"EXPLAIN ({options}) {sql}", params)]


def _fetched(sql: str, params: Any) -> list[Any]:
    """The answer to a statement that Django's cursors and their wrappers hear nothing of; it has no effect."""
    from django.db import connection

    connection.ensure_connection()
    raw = connection.connection
    with raw.transaction(force_rollback=True), raw.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())
