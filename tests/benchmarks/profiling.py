"""Where the time of a call goes, by group of packages."""

import cProfile
import pstats
import re
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["profiled"]

#: The first that a file's path matches is its group.
GROUPS = (
    ("PostgreSQL, and psycopg", r"/psycopg"),
    ("Django's ORM", r"/django/db/"),
    ("Django's plumbing", r"/django/"),
    ("this package", r"/django_gatewaypay/"),
    ("signature and JSON", r"/(hmac|hashlib|base64|json/\w+)\.py|/standardwebhooks/"),
    (
        "Channels, the Redis client, waiting for a thread",
        r"/(channels|channels_redis|asgiref|asyncio|concurrent|redis)/|/threading\.py",
    ),
    ("the broker's client", r"/(celery|kombu|amqp|vine|billiard)/"),
    ("Django REST framework", r"/rest_framework/"),
    ("HTTP client", r"/(requests|urllib3|http)/|/socket\.py|/ssl\.py"),
    ("the shop's hook, and the bench", r"/tests/"),
    ("money", r"/moneyed/|/babel/"),
)
REST = "the rest of Python and its library"
Function = tuple[str, int, str]


def profiled(calls: Sequence[Callable[[], None]], clock: Callable[[], float]) -> dict[str, float]:
    """Milliseconds of one call by group: its own time, and that of the built-in functions that it calls."""
    profiler = cProfile.Profile(clock)
    profiler.enable()
    for call in calls:
        call()
    profiler.disable()
    spent: dict[str, float] = {}
    for function, taken in own_times(pstats.Stats(profiler).stats):  # type: ignore[attr-defined]  # typeshed has none
        spent[group_of(function)] = spent.get(group_of(function), 0) + taken / len(calls) * 1000
    return dict(sorted(spent.items(), key=lambda one: -one[1]))


def own_times(stats: dict[Function, Any]) -> list[tuple[Function, float]]:
    """Each function with its own seconds; those of a built-in one count where it was called."""
    found = []
    for function, (_, _, taken, _, callers) in stats.items():
        if function[0] != "~" or not callers:
            found.append((function, taken))
            continue
        found += [(caller, part[2]) for caller, part in callers.items()]
    return found


def group_of(function: Function) -> str:
    """The group that a function's file belongs to."""
    return next((name for name, pattern in GROUPS if re.search(pattern, function[0])), REST)
