"""P1 and P2: what a callback costs."""

from collections.abc import Mapping
from typing import ClassVar

from ..frame import Entrant, Line, Result, Rounds, absent, at_most, counted, typical

__all__ = ["CallbackBench"]

HERE = "tests.benchmarks.sides"
RIVALS = ("django-payments", "django-getpaid", "dj-stripe")


class CallbackBench(Rounds):
    """Floors, rivals and us, each with one signed message about one payment."""

    name = "callback"
    title = "A callback: verified, applied, written down"
    base = "floor_orm"
    entrants: ClassVar[Mapping[str, Entrant]] = {
        "floor_raw": Entrant(f"{HERE}.floor:Raw", "a Django view with one raw statement"),
        "floor_orm": Entrant(f"{HERE}.floor:Orm", "`select_for_update`, `create`, `save`"),
        "intake": Entrant(f"{HERE}.ours:Intake", "ours, up to the 200: verified and kept for a worker", ours=True),
        "queued": Entrant(f"{HERE}.ours:QueuedIntake", "the same, with Celery's sending to Valkey", ours=True),
        "whole": Entrant(f"{HERE}.ours:Whole", "ours, without a worker: ledger, order, announcement", ours=True),
        "django-payments": Entrant(f"{HERE}.payments:Payments", "whole path", rival="django-payments"),
        "django-getpaid": Entrant(f"{HERE}.getpaid:Getpaid", "whole path", rival="django-getpaid"),
        "dj-stripe": Entrant(f"{HERE}.djstripe:DjStripe", "whole path, with its question to Stripe", rival="dj-stripe"),
    }

    def lines(self, result: Result) -> list[Line]:
        """See `Bench`."""
        base = self.base
        return [
            at_most("P1", "CPU of an intake, floor_orm = 1", typical(result, "intake", base), 0.65),
            at_most("P1", "SQL of an intake", counted(result, "intake", "fresh"), 2),
            at_most("P1", "SQL of a duplicate", counted(result, "intake", "again"), 1),
            at_most("P2", "CPU of the whole path, floor_orm = 1", typical(result, "whole", base), 1.0),
            at_most("P2", "SQL of the whole path", counted(result, "whole", "fresh"), 6, hook_statements(result)),
            *self._against_rivals(result),
        ]

    def _against_rivals(self, result: Result) -> list[Line]:
        return [
            at_most("P2", f"CPU of the whole path, {rival} = 1", typical(result, "whole", rival), 1.0)
            if rival in result["sides"]
            else absent(result, "P2", f"CPU of the whole path, {rival} = 1", "≤ 1.0", rival)
            for rival in RIVALS
        ]


def hook_statements(result: Result) -> str:
    """How many statements are not ours to save."""
    asked = result["sides"]["whole"]["fresh"]
    return f"{sum('shop_order' in sql for sql in asked)} of them are the shop's own, in its hook"
