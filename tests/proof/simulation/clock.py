"""Time that only the world moves."""

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Self
from unittest.mock import patch

import time_machine

__all__ = ["Clock"]

START = datetime(2026, 11, 2, 9, tzinfo=UTC).timestamp()


class Clock:
    """The shop's clock, in seconds since the world began. It never goes back.

    Args:
        sleep: what `time.sleep` does meanwhile: in this world, others go on.
    """

    def __init__(self, sleep: Any) -> None:
        self.now = 0.0
        self._sleep = sleep
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._hands = self._stack.enter_context(time_machine.travel(START, tick=False))
        self._stack.enter_context(patch.object(time, "sleep", self._sleep))
        self._stack.enter_context(patch.object(time, "monotonic", lambda: self.now))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def to(self, moment: float) -> None:
        """It is that late now, if it was not later already."""
        if moment > self.now:
            self.now = moment
            self._hands.move_to(START + moment)

    @staticmethod
    def unix(moment: float) -> int:
        """Whole Unix seconds of a moment of this world."""
        return int(START + moment)
