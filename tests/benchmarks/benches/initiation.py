"""P4: what starting a payment costs beside the gateway's own time."""

from collections.abc import Mapping
from typing import ClassVar

from ..frame import Entrant, Line, Result, Rounds, at_most, typical

__all__ = ["InitiationBench"]

HERE = "tests.benchmarks.sides"


class InitiationBench(Rounds):
    """The gateway is in a process of its own, and CPU time is that of the shop's process alone."""

    name = "initiation"
    title = "A payment is started, without the gateway's time"
    base = "floor_session"
    entrants: ClassVar[Mapping[str, Entrant]] = {
        "floor_bare": Entrant(f"{HERE}.floor:Bare", "INSERT and UPDATE, nobody is asked"),
        "floor_session": Entrant(f"{HERE}.floor:Session", "INSERT, a call over `requests.Session`, UPDATE"),
        "ours": Entrant(f"{HERE}.ours:Initiation", "ours, over JSON", ours=True),
    }

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        seen = result["sides"]["ours"]["counts"]
        # The first connection is no new one.
        per_hundred = (seen["connections"] - 1) * 100 / seen["calls"]
        bare, session = (typical(result, "ours", floor) for floor in ("floor_bare", "floor_session"))
        return [
            at_most("P4", "CPU, a floor that asks nobody = 1", bare, 2.0),
            Line("P4", "CPU, a floor with the same call = 1", f"{session:.2f}"),
            at_most("P4", "new connections in 100 calls", per_hundred, 0.0),
        ]
