"""What the overview shows to one member of staff: what needs a person first, then the figures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.formats import date_format, time_format
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from .. import services
from ..models import Callback, Fulfilment
from . import figures
from .charts import Chart, draw
from .figures import Amount
from .words import ATTENTION

__all__ = ["Overview"]

NEEDS = {
    "attention": ngettext_lazy("%(shown)s payment needs a person", "%(shown)s payments need a person", "number"),
    "approval": ngettext_lazy(
        "%(shown)s refund waits for a second person", "%(shown)s refunds wait for a second person", "number"
    ),
    "disputes": ngettext_lazy("%(shown)s dispute is open", "%(shown)s disputes are open", "number"),
    "callbacks": ngettext_lazy("%(shown)s callback was given up", "%(shown)s callbacks were given up", "number"),
    "fulfilments": ngettext_lazy("%(shown)s fulfilment was given up", "%(shown)s fulfilments were given up", "number"),
}


@dataclass(frozen=True)
class Need:
    """Something that needs a person, and where it is."""

    text: str
    url: str = ""


@dataclass(frozen=True)
class Line:
    """A figure with its name, and the list behind it."""

    label: str
    amount: Amount
    url: str
    grave: bool = False
    detail: str = ""


class Overview:
    """The figures, of what a user may see; what needs a person is collected on the way.

    Args:
        sees: whether the user may see a model.
        list_of: the address of a model's list.
    """

    def __init__(self, sees: Callable[[str], bool], list_of: Callable[[str, str], str]) -> None:
        self.sees, self.list_of = sees, list_of
        self.needs: list[Need] = []

    def context(self) -> dict[str, Any]:
        """Everything that the page shows."""
        self.clock()
        queue = self.queue()
        lines = [*self.refunds(), *self.disputes(), *self.letters()]
        return {
            "needs": self.needs,
            "queue": queue,
            "lines": lines,
            "lag": figures.lag() if self.sees("callback") else None,
            "oldest": figures.oldest(),
            "charts": self.charts(),
        }

    def need(self, name: str, amount: Amount, url: str) -> None:
        if amount:
            self.needs.append(Need(NEEDS[name] % {"shown": amount, "number": amount.number}, url))

    def clock(self) -> None:
        found = services.health()
        if found.late:
            text = gettext(
                "Nothing has been asked, expired or tried again for %d minutes: neither beat nor gatewaypay_tick runs."
            )
            self.needs.append(Need(text % (found.waiting.total_seconds() // 60)))

    def queue(self) -> list[tuple[Any, str, int, str]]:
        """By attention code: its words, how many payments have it, and where they are."""
        amount, codes = figures.attention()
        self.need("attention", amount, self.list_of("transaction", "attention=any"))
        return [
            (ATTENTION.get(code), code, number, self.list_of("transaction", f"attention={code}"))
            for code, number in codes.items()
        ]

    def refunds(self) -> list[Line]:
        if not self.sees("refund"):
            return []
        waiting, unknown = figures.refunds()
        waiting_url = self.list_of("refund", "approval=waiting")
        self.need("approval", waiting, waiting_url)
        asked = gettext("asked again by itself")
        return [
            Line(gettext("Refunds that wait for a second person"), waiting, waiting_url, grave=True),
            Line(gettext("Refunds without an answer"), unknown, self.list_of("refund", UNKNOWN), detail=asked),
        ]

    def disputes(self) -> list[Line]:
        if not self.sees("dispute"):
            return []
        amount, following = figures.disputes()
        url = self.list_of("dispute", "answer=due" if following else "state__exact=open")
        self.need("disputes", amount, url)
        due = date_format(following.due_at, "DATETIME_FORMAT") if following and following.due_at else ""
        detail = gettext("the next answer is due on %s") % due if due else ""
        return [Line(gettext("Open disputes"), amount, url, grave=True, detail=detail)]

    def letters(self) -> list[Line]:
        """What was given up, in and out."""
        found = []
        for name, model, label in LETTERS:
            if self.sees(name):
                amount, url = figures.dead(model), self.list_of(name, "state__exact=dead")
                self.need(f"{name}s", amount, url)
                found.append(Line(str(label), amount, url, grave=True))
        return found

    def charts(self) -> list[Chart]:
        return draw(figures.last_day(), lambda start: time_format(start, "H:i"))


UNKNOWN = "state__exact=unknown"
LETTERS: tuple[tuple[str, type[Callback | Fulfilment], Any], ...] = (
    ("callback", Callback, _("Callbacks given up")),
    ("fulfilment", Fulfilment, _("Fulfilments given up")),
)
