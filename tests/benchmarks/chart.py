"""Bars as SVG."""

from collections.abc import Iterator, Mapping, Set
from html import escape

__all__ = ["draw"]

WIDTH, ROW, LABEL, FIGURE, TOP = 720, 30, 170, 60, 34
#: Readable on white and on black: a picture does not know which theme its reader has chosen.
STYLE = """
    text { font: 14px system-ui, sans-serif; fill: #727b87 }
    .theirs { fill: #9aa4b2 } .ours { fill: #4c7dff } .one { stroke: #727b87; stroke-dasharray: 3 4 }
"""


def draw(title: str, bars: Mapping[str, float], ours: Set[str]) -> str:
    """A bar for each, the shorter the better; the dashed line is 1."""
    height = TOP + ROW * len(bars) + 6
    scale = (WIDTH - LABEL - FIGURE) / max(*bars.values(), 1.0)
    one = LABEL + scale
    body = "\n".join(_rows(bars, ours, scale))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        f"  <title>{escape(title)}</title>\n  <style>{STYLE}  </style>\n"
        f'  <text x="0" y="18">{escape(title)} (shorter is better)</text>\n{body}\n'
        f'  <line class="one" x1="{one:.1f}" x2="{one:.1f}" y1="{TOP - 6}" y2="{height - 4}"/>\n</svg>\n'
    )


def _rows(bars: Mapping[str, float], ours: Set[str], scale: float) -> Iterator[str]:
    for number, (name, figure) in enumerate(bars.items()):
        top, long = TOP + ROW * number, figure * scale
        kind = "ours" if name in ours else "theirs"
        yield f'  <text x="{LABEL - 10}" y="{top + 17}" text-anchor="end">{escape(name)}</text>'
        yield f'  <rect class="{kind}" x="{LABEL}" y="{top}" width="{long:.1f}" height="{ROW - 8}" rx="3"/>'
        yield f'  <text x="{LABEL + long + 8:.1f}" y="{top + 17}">{figure:.2f}</text>'
