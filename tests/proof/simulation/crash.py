"""Crash points, found from outside: every commit and every wire call of the package, before it and after it."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import patch

from django.db import connections

if TYPE_CHECKING:
    from .world import World

__all__ = ["Boundaries", "Crash", "point_name"]

PACKAGE = "django_gatewaypay."
#: Who writes for others is named together with whom it writes for.
FOR_OTHERS = ("django_gatewaypay.lifecycle", "django_gatewaypay.gateways")
WIRE = "django_gatewaypay.gateways.http"
WRITES = ("INSERT", "UPDATE", "DELETE")


class Crash(BaseException):
    """The process is gone: none of its `except` and `finally` blocks has any effect from here on."""


class Boundaries:
    """Stands at every boundary of the database: there a process may be paused, and may die.

    A statement in autocommit is a commit of its own. Inside an atomic block nothing happens until
    its commit: the database shows nobody a half, and rolls the half of a dead process back.
    """

    def __init__(self, world: "World") -> None:
        self.world = world
        self.connection = connections["default"]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        connection = self.connection
        connection.ensure_connection()
        self._commit = connection._commit
        self._set_autocommit = connection.set_autocommit
        self._stack.enter_context(connection.execute_wrapper(self._statement))
        self._stack.enter_context(patch.object(connection, "_commit", self._committing))
        self._stack.enter_context(patch.object(connection, "set_autocommit", self._beginning))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _statement(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if not self.world.at_hand or self.connection.in_atomic_block or sql.startswith("BEGIN"):
            return execute(sql, params, many, context)
        self.world.breathe()
        if not sql.startswith(WRITES):
            return execute(sql, params, many, context)
        point = point_name()
        self.world.reach(f"{point} before commit")
        result = execute(sql, params, many, context)
        self.world.reach(f"{point} after commit")
        return result

    def _beginning(self, autocommit: bool, **options: Any) -> None:
        # What was read before an atomic block may be old when it begins.
        if not autocommit and self.world.at_hand:
            self.world.breathe()
        self._set_autocommit(autocommit, **options)

    def _committing(self) -> None:
        if not self.world.at_hand:
            self._commit()
            return
        point = point_name()
        try:
            self.world.reach(f"{point} before commit")
            self._commit()
            self.world.reach(f"{point} after commit")
        except Crash:
            # As the server does when the connection of a dead process closes; its hooks died with it.
            self.connection.connection.rollback()
            self.connection.run_on_commit = []
            raise


def point_name() -> str:
    """The function of the package that is at work, and for whom where it works for others."""
    frame: Any = sys._getframe(2)
    inner = ""
    while frame:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(PACKAGE) and module != WIRE:
            name = f"{module.removeprefix(PACKAGE)}.{frame.f_code.co_qualname}"
            if not module.startswith(FOR_OTHERS):
                return f"{name} > {inner}" if inner else name
            inner = inner or frame.f_code.co_qualname
        frame = frame.f_back
    return inner or "the host"
