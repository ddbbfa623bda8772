"""Kills the process at a commit: everything after it in the call is lost, as with kill -9."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Self

from django.db import connection

__all__ = ["Crash", "Killed"]

WRITES = ("INSERT", "UPDATE", "DELETE")


class Killed(BaseException):
    """The process is gone. Nobody catches this, and nothing is written any more."""


class Crash(AbstractContextManager["Crash"]):
    """Counts the commits of this process, also of single statements, and ends it at the one that it is told.

    Args:
        writes: how many statements that write there were, committed or not.
        written: the tables that they named, until somebody clears it.
    """

    def __init__(self) -> None:
        self.writes = 0
        self.written: set[str] = set()
        self.disarm()

    def arm(self, commit: int, *, after: bool) -> None:
        """Die at the next commit of this number, just before it or just after."""
        self._left, self._after = commit, after

    def disarm(self) -> None:
        """Live; also again."""
        self._left, self._after, self._dead = 0, False, False

    @property
    def armed(self) -> bool:
        return self._left > 0

    def __enter__(self) -> Self:
        self._real_commit = connection.commit
        connection.commit = self._commit  # type: ignore[method-assign]
        connection.execute_wrappers.append(self._execute)
        return self

    def __exit__(self, *_: object) -> None:
        connection.execute_wrappers.remove(self._execute)
        connection.commit = self._real_commit  # type: ignore[method-assign]

    def _commit(self) -> None:
        try:
            self._at_boundary(self._real_commit)
        except Killed:
            # Neither what was not committed nor what waits for the commit outlives the process.
            connection.rollback()
            connection.run_on_commit = []
            raise

    def _execute(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if self._dead:
            raise Killed
        if not sql.startswith(WRITES):
            return execute(sql, params, many, context)
        self.writes += 1
        self.written.add(sql.split('"', 2)[1])
        if connection.in_atomic_block:
            return execute(sql, params, many, context)
        return self._at_boundary(lambda: execute(sql, params, many, context))

    def _at_boundary(self, commit: Callable[[], Any]) -> Any:
        self._left -= 1
        fatal = self._left == 0
        if self._dead or (fatal and not self._after):
            self._dead = True
            raise Killed
        done = commit()
        if fatal:
            self._dead = True
            raise Killed
        return done
