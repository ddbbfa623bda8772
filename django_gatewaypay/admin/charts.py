"""The geometry of the overview's charts: whole numbers for an SVG that the server writes, without a script."""

from dataclasses import dataclass, field
from typing import Any

from .figures import Day, Hour

__all__ = ["Chart", "draw"]

STEP, BAR = 20, 14
LEFT, TOP, TALL = 46, 10, 96
RATE_TOP, RATE_TALL = 140, 36
#: Every sixth hour has its name written under it.
NAMED = 6


@dataclass(frozen=True)
class Bar:
    """One piece of a column."""

    kind: str
    x: int
    y: int
    height: int
    width: int = BAR


@dataclass(frozen=True)
class Mark:
    """A word at a place."""

    x: int
    y: int
    text: str


@dataclass(frozen=True)
class Column:
    """One hour: its pieces, and where the point of its rate is."""

    hour: Hour
    bars: list[Bar]
    x: int
    rate_y: int | None


@dataclass
class Chart:
    """One gateway's day."""

    day: Day
    number: int
    top: int
    columns: list[Column]
    width: int = LEFT + STEP * 24 + 6
    height: int = RATE_TOP + RATE_TALL + 8
    left: int = LEFT
    base: int = TOP + TALL
    rate_top: int = RATE_TOP
    rate_base: int = RATE_TOP + RATE_TALL
    marks: list[Mark] = field(default_factory=list)

    @property
    def right(self) -> int:
        return self.width - 6

    @property
    def lines(self) -> list[str]:
        """The rate as lines, broken where an hour has none."""
        found: list[list[str]] = [[]]
        for column in self.columns:
            if column.rate_y is None:
                found.append([])
            else:
                found[-1].append(f"{column.x},{column.rate_y}")
        return [" ".join(points) for points in found if len(points) > 1]


def draw(days: list[Day], clock: Any) -> list[Chart]:
    """A chart for each gateway, all of them to one scale.

    Args:
        clock: how an hour is written, as its reader does.
    """
    top = scale(max((hour.total for day in days for hour in day.hours), default=1))
    return [chart(day, number, top, clock) for number, day in enumerate(days, 1)]


def chart(day: Day, number: int, top: int, clock: Any) -> Chart:
    columns = [column(hour, LEFT + STEP * place, top) for place, hour in enumerate(day.hours)]
    named = [one for place, one in enumerate(columns) if place % NAMED == 0]
    marks = [Mark(one.x, TOP + TALL + 14, clock(one.hour.start)) for one in named]
    return Chart(day, number, top, columns, marks=marks)


def column(hour: Hour, x: int, top: int) -> Column:
    """Paid at the bottom, then what was not paid, then what is still open."""
    bars, y = [], TOP + TALL
    for kind in ("paid", "unpaid", "open"):
        number = getattr(hour, kind)
        if number:
            height = max(number * TALL // top, 1)
            y -= height
            bars.append(Bar(kind, x + (STEP - BAR) // 2, y, height))
    rate = None if hour.rate is None else RATE_TOP + RATE_TALL - hour.rate * RATE_TALL // 100
    return Column(hour, bars, x + STEP // 2, rate)


def scale(most: int) -> int:
    """The first number of one digit and noughts that is enough."""
    power = int("1" + "0" * (len(str(max(most, 1))) - 1))
    return -(-most // power) * power or 1
