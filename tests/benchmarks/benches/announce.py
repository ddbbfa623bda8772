"""P6: what it costs to tell the open pages that a payment has changed."""

from collections.abc import Mapping
from typing import ClassVar

from ..frame import Entrant, Line, Result, Rounds, at_most, typical

__all__ = ["AnnounceBench"]

HERE = "tests.benchmarks.sides.announcing"


class AnnounceBench(Rounds):
    """CPU time is that of the whole process: the thread that sends for the caller is no secret place."""

    name = "announce"
    title = "A change is announced from synchronous code"
    base = "publish"
    calls = 300
    entrants: ClassVar[Mapping[str, Entrant]] = {
        "publish": Entrant(f"{HERE}:Publish", "a plain PUBLISH each, with redis-py"),
        "pipeline": Entrant(f"{HERE}:Pipeline", "all of a round in one pipeline of PUBLISH"),
        "ours": Entrant(f"{HERE}:Announcer", "ours, one after another", ours=True),
        "async_to_sync": Entrant(f"{HERE}:Bridge", "`async_to_sync(group_send)` over `RedisChannelLayer`"),
    }

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        counts = {name: side["counts"] for name, side in result["sides"].items()}
        ours, theirs = counts["ours"], counts["async_to_sync"]
        bridge, many = typical(result, "async_to_sync", self.base), typical(result, "ours", "pipeline")
        opened = f"{theirs['opened']} new connections in {theirs['calls']} announcements"
        return [
            at_most("P6", "CPU, one PUBLISH = 1", typical(result, "ours", self.base), 2.5),
            at_most("P6", f"new connections in {ours['calls']} announcements", ours["opened"], 0),
            Line("P6", "CPU of `async_to_sync(group_send)`, one PUBLISH = 1", f"{bridge:.2f}", note=opened),
            Line("P6", "CPU of one of many, in one pipeline of PUBLISH = 1", f"{many:.2f}", note=MANY),
        ]


MANY = "each change is announced after its own commit, one by one: there is no form for many"
