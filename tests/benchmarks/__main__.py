"""Measures, and writes the page: `python -m tests.benchmarks [NAME ...] [--quick] [--profile NAME]`."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from ..proof.frame import commit, machine
from .benches import BENCHES
from .frame import Rounds
from .report import FULL, QUICK, Place, keep, verdict
from .rounds import profile
from .servers import versions

__all__ = ["main"]


def main() -> None:
    """Run the named benches, or all; or look where one of them spends its time."""
    given = _asked_for()
    place = QUICK if given.quick else FULL
    if given.profile:
        bench = BENCHES[given.profile]
        keep(place, "profiles", {bench.name: _told(lambda: profile(bench, quick=given.quick))})
        return
    for name in given.names or BENCHES:
        bench = BENCHES[name]
        kept = _told(lambda bench=bench: bench.run(quick=given.quick))
        keep(place, "benches", {name: kept})
        _tell(place, name, kept)


def _asked_for() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    measured = [name for name, bench in BENCHES.items() if isinstance(bench, Rounds)]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all when left out")
    parser.add_argument("--quick", action="store_true", help="a handful of calls, no rivals; the page is in .bench")
    parser.add_argument("--profile", choices=measured, help="where one call of ours goes, instead of a measurement")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(BENCHES))
    if unknown:
        parser.error(f"no such bench: {', '.join(unknown)}")
    return given


def _told(measure: Callable[[], Any]) -> dict[str, Any]:
    """What was measured, and on what."""
    began = time.monotonic()
    said = {"commit": commit(), "machine": machine(), "servers": versions(), "result": measure()}
    return said | {"seconds": round(time.monotonic() - began)}


def _tell(place: Place, name: str, kept: dict[str, Any]) -> None:
    print(f"\n{name}: {BENCHES[name].title}")
    for line in BENCHES[name].lines(kept["result"]):
        bar = f" (target: {line.bar})" if line.bar else ""
        print(f"  {verdict(line).strip('*')}: {line.target}, {line.what}: {line.figure}{bar}")
    print(f"  the page: {place.page}", file=sys.stderr)


if __name__ == "__main__":
    main()
