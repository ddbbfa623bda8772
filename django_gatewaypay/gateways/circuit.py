"""Leaves a gateway alone that does not answer, and looks now and then whether it is back (docs/adr/0006)."""

import random
import threading
import time
from collections.abc import Callable

__all__ = ["Circuit"]

#: So many calls in a row without an answer, and the gateway is down.
FAILURES = 5
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 30.0


class Circuit:
    """One gateway account as this process sees it; threads share it.

    Closed, every call may pass. Open, none may, until a pause is over; then one call is let through
    as a probe. Its answer closes the circuit, its silence doubles the pause.

    Args:
        clock: seconds that only ever grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._closed_until = 0.0  # before that time nothing may pass
        self._probe_ends = 0.0

    def enter(self, probe_seconds: float) -> float:
        """0 when a call may be made now; otherwise the seconds until it is worth trying again.

        Args:
            probe_seconds: how long a call may take; a probe that tells nothing by then is forgotten.
        """
        with self._lock:
            if self._failures < FAILURES:
                return 0.0
            now = self._clock()
            wait = max(self._closed_until, self._probe_ends) - now
            if wait > 0:
                return wait
            self._probe_ends = now + probe_seconds
            return 0.0

    def answered(self) -> None:
        """The gateway is there, whatever it said."""
        with self._lock:
            self._failures = 0
            self._pause = FIRST_PAUSE_SECONDS
            self._probe_ends = 0.0

    def failed(self) -> bool:
        """No answer; whether this opened the circuit."""
        with self._lock:
            self._failures += 1
            opens, probed = self._failures == FAILURES, self._probe_ends > 0
            # A call that was under way when it opened tells nothing new, and must not double the pause.
            if not (opens or probed):
                return False
            jitter = random.uniform(0.8, 1.2)  # noqa: S311 - spreads the probes of many processes
            self._closed_until = self._clock() + self._pause * jitter
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
            self._probe_ends = 0.0
            return opens
