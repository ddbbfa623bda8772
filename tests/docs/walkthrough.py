"""Reads what a page tells its reader to do: files to write, commands to type."""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Command", "Edit", "Step", "count_lines", "do_edit", "read_steps", "section"]

# A file is named in bold, with how it is to be edited; commands stand in a block of their own.
BLOCK = re.compile(
    r"^\*\*(?P<path>[\w./-]+)\*\*, (?P<how>at the end|a new file)[^\n]*:\n\n```\w+\n(?P<text>.*?)^```$"
    r"|^```sh\n(?P<commands>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Edit:
    """Text to write at the end of a file, or into a new one."""

    path: str
    text: str
    new: bool


@dataclass(frozen=True)
class Command:
    """A line to type."""

    line: str


Step = Edit | Command


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", _hide_comments(text), re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return found.group(1).replace("\0", "#")


def _hide_comments(text: str) -> str:
    """The same text, where a `#` inside a fenced block does not look like a heading."""
    return re.sub(r"^```.*?^```$", lambda block: block.group().replace("#", "\0"), text, flags=re.MULTILINE | re.DOTALL)


def read_steps(text: str) -> list[Step]:
    """Everything that the reader is told to do, in order."""
    steps: list[Step] = []
    for block in BLOCK.finditer(text):
        if block["path"]:
            steps.append(Edit(block["path"], block["text"], new=block["how"] == "a new file"))
        else:
            lines = (line.split("  #")[0].strip() for line in block["commands"].splitlines())
            steps += [Command(line) for line in lines if line]
    return steps


def count_lines(steps: list[Step]) -> int:
    """How many lines the reader writes; blank ones and comments are free."""
    lines = [line.strip() for step in steps if isinstance(step, Edit) for line in step.text.splitlines()]
    return sum(1 for line in lines if line and not line.startswith("#"))


def do_edit(folder: Path, edit: Edit) -> None:
    """What the reader's editor does."""
    path = folder / edit.path
    path.parent.mkdir(parents=True, exist_ok=True)
    before = "" if edit.new else path.read_text()
    assert edit.new != path.exists(), f"{edit.path}: new={edit.new}"
    path.write_text(before + edit.text)
