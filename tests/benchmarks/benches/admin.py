"""P12: what the admin asks the database at a million payments."""

from collections.abc import Mapping
from typing import ClassVar

from ..admin_million import RUNS, measured
from ..frame import Bench, Line, Result, at_most

__all__ = ["AdminBench"]

BUDGET_MS = 50


class AdminBench(Bench):
    """The measurements of `admin_million`, against the smaller budget of the target."""

    name = "admin"
    title = "The admin's lists, filters and searches"
    judged: ClassVar[Mapping[str, str]] = {
        "change list": "change lists",
        "filter": "change lists with a filter",
        "search": "searches",
    }

    def run(self, *, quick: bool) -> Result:
        """See `Bench`. Quick: a small shop, each page once."""
        count, runs = (1_000, 1) if quick else (1_000_000, RUNS)
        # The plans are those of the other page.
        pages = [{name: one[name] for name in one if name != "plan"} for one in measured(count, runs)]
        return {"payments": count, "pages": pages}

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        counting = [one["name"] for one in result["pages"] if one["counts"]]
        total = sum(one["counts"] for one in result["pages"])
        return [
            *(self._slowest(result, kind) for kind in self.judged),
            at_most("P12", "statements that count most of a table", total, 0, ", ".join(counting)),
            *(
                Line("P12", f"SQL of the page, ms: {one['name']}", f"{one['milliseconds']:.1f}")
                for one in result["pages"]
                if one["kind"] not in self.judged
            ),
        ]

    def _slowest(self, result: Result, kind: str) -> Line:
        pages = [one for one in result["pages"] if one["kind"] == kind]
        slowest = max(pages, key=lambda one: one["milliseconds"])
        what = f"SQL, ms, the slowest of {len(pages)} {self.judged[kind]}"
        return at_most("P12", what, float(slowest["milliseconds"]), BUDGET_MS, slowest["name"])

    def table(self, result: Result) -> str:
        """See `Bench`."""
        return (
            f"What the statements of a page took on the wall, added up, among {result['payments']:,} payments: the "
            "median of some runs. Session and permissions are left out. Every page and its plans: "
            "[how fast the admin is](admin-speed.md)."
        )
