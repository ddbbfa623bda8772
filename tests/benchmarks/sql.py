"""A statement, short enough for a page."""

import re

__all__ = ["shortened"]


def shortened(sql: str) -> str:
    """A statement without its quotes, and with the number of columns where they are many."""
    plain = re.sub(r"\s+", " ", sql.replace('"', "")).strip()
    if plain.startswith("SELECT "):
        listed, rest = _split_select(plain.removeprefix("SELECT "))
        plain = f"SELECT {_columns(listed)}{rest}"
    plain = re.sub(r"\((?:\w+, ){3,}\w+\)", "(…)", plain)
    plain = re.sub(r"VALUES \(.*?\)(?= |$)", "VALUES (…)", plain)
    plain = re.sub(r"SET (\w+) = .+ WHERE", lambda found: f"SET {found[1]}, … WHERE", plain)
    return re.sub(r"\b[a-z]+_[a-z]+\.(?=\w)", "", plain)


def _split_select(text: str) -> tuple[str, str]:
    """What is selected, and the rest from its own FROM on: those of subqueries are inside of brackets."""
    depth = 0
    for place, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0 and text.startswith(" FROM ", place):
            return text[:place], text[place:]
    return text, ""


def _columns(listed: str) -> str:
    """What is read, or how many columns and subqueries that are."""
    inside = len(re.findall(r"\(SELECT ", listed))
    count = len(re.findall(r"\w+\.\w+(?=,|$)", listed))
    if count + inside < 4:
        return listed
    return f"({count} columns{f', {inside} EXISTS' if inside else ''})"
