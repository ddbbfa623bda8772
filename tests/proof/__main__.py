"""Runs the parts, two pieces at a time, resuming where it was stopped: `python -m tests.proof [--quick] [PART ...]`."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import django
from tqdm import tqdm

from . import report
from .frame import REPOSITORY, Chunk, Part
from .parts import NAMES, find

__all__ = ["main"]

CORES = 2


class Run:
    """One part at one size, with the folder that keeps what is done.

    Args:
        folder: one JSON file a piece; a piece that has one is not run again.
    """

    def __init__(self, part: Part, folder: Path, *, quick: bool) -> None:
        self.part = part
        self.folder = folder
        self.chunks = list(enumerate(part.chunks(quick=quick)))

    def file(self, number: int) -> Path:
        return self.folder / f"{number:04}.json"

    def left(self) -> Iterator[tuple[int, Chunk]]:
        """What is still to be done: missing, or left over from pieces that were cut otherwise."""
        for number, chunk in self.chunks:
            file = self.file(number)
            if not file.exists() or json.loads(file.read_text())["chunk"] != chunk:
                yield number, chunk

    def go(self) -> list[str]:
        """Run what is left; what went wrong, in words."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # What takes longest comes first, so that no core waits for the other one's last piece.
        left = sorted(self.left(), key=lambda piece: piece[1].get("db") != "postgres")
        done = len(self.chunks) - len(left)
        with (
            tqdm(total=len(self.chunks), initial=done, desc=self.part.name, unit="piece", mininterval=2) as bar,
            ThreadPoolExecutor(1 if self.part.alone else CORES) as pool,
        ):
            return [trouble for trouble in pool.map(lambda one: self.run_piece(*one, bar), left) if trouble]

    def run_piece(self, number: int, chunk: Chunk, bar: "tqdm[None]") -> str:
        log = self.file(number).with_suffix(".log")
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.proof.chunk", self.part.name, str(self.file(number))],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(chunk))
            process.stdin.close()
            shown = 0.0
            for line in process.stdout:
                if line.startswith("share "):
                    share = float(line.split()[1])
                    bar.update(share - shown)
                    shown = share
            code = process.wait()
        bar.update(1 - shown)
        return f"{self.part.name} piece {number} ended with {code}; see {log.relative_to(REPOSITORY)}" if code else ""


def main() -> None:
    """Run the named parts, or all; end with 1 when a bar is not met."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(NAMES)}; all when left out")
    parser.add_argument("--quick", action="store_true", help="the small size, within five minutes")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run has done")
    given = parser.parse_args()
    unknown = set(given.parts) - set(NAMES)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    size = "quick" if given.quick else "full"
    home = REPOSITORY / ".prove" / size
    troubles = []
    for name in given.parts or NAMES:
        run = Run(find(name), home / name, quick=given.quick)
        if given.fresh:
            for file in home.glob(f"{name}/*.json"):
                file.unlink()
        troubles += run.go()
    met = report.write(home, quick=given.quick, shown=given.parts or list(NAMES))
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    sys.exit(0 if met and not troubles else 1)


if __name__ == "__main__":
    main()
