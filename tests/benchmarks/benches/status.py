"""P5: what a look at the status costs."""

from collections.abc import Mapping
from typing import ClassVar

from ..frame import Entrant, Line, Result, Rounds, at_most, counted, typical

__all__ = ["StatusBench"]

HERE = "tests.benchmarks.sides"


class StatusBench(Rounds):
    """The plain view asks nobody who they are, and limits nobody."""

    name = "status"
    title = "The status of a payment is read"
    base = "plain"
    calls = 200
    entrants: ClassVar[Mapping[str, Entrant]] = {
        "plain": Entrant(f"{HERE}.floor:Status", "a Django view, `values_list` of six columns"),
        "ours": Entrant(f"{HERE}.ours:Status", "ours, by the owner's token, limited by address", ours=True),
    }

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        return [
            at_most("P5", "CPU, a plain view = 1", typical(result, "ours", self.base), 1.3),
            at_most("P5", "SQL", counted(result, "ours", "fresh"), 1),
        ]
