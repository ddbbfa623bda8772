"""The same attacks on this package and on its rivals, each installed from the registry in an environment of its own."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..frame import REPOSITORY, Chunk, Figure, Part, Progress

__all__ = ["Rivals"]

HERE = Path(__file__).parent
#: What is installed for each, and its attack. Stripe's SDK is the newest with which django-payments answers 200 at all.
RIVALS = {
    "django-payments": (["django-payments[stripe]", "stripe>=12,<13"], "attack_payments.py"),
    "django-getpaid": (["django-getpaid>=3", "python-getpaid-payu"], "attack_getpaid.py"),
}
ATTACKS = {
    "late_expired": "a late `expired` after the paid callback",
    "wrong_currency": "100 JPY for a bill of 20.00 USD, well signed",
    "bad_signature": "a callback signed by a stranger",
    "two_starts": "two starts of one payment at once",
    "double_refund": "two refunds of 15.00 of 20.00 at once",
    "stale_poll": "a poll that began before the paid callback",
}


class Rivals(Part):
    """A table for the documentation: what each package did under the same attacks."""

    name = "rivals"
    title = "Attacks that move money in other packages move none here."

    def chunks(self, *, quick: bool) -> Sequence[Chunk]:
        """Ours alone when quick; the rivals have to be fetched."""
        return [{"package": name} for name in (["ours"] if quick else ["ours", *RIVALS])]

    def run(self, chunk: Chunk, progress: Progress) -> dict[str, Any]:
        """Attack one package; what was seen."""
        if chunk["package"] == "ours":
            return self.attack_ours()
        packages, script = RIVALS[chunk["package"]]
        python = environment(chunk["package"], [*packages, "Django>=5.2,<5.3"])
        progress(0.5)
        done = subprocess.run([python, str(HERE / script)], capture_output=True, text=True, check=True, timeout=300)
        versions = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True)
        wanted = ("django-payments==", "django-getpaid==", "python-getpaid", "stripe==", "Django==")
        return {
            "package": chunk["package"],
            "seen": json.loads(done.stdout.splitlines()[-1]),
            "versions": [line for line in versions.stdout.splitlines() if line.startswith(wanted)],
        }

    def attack_ours(self) -> dict[str, Any]:
        from django_gatewaypay import __version__

        from ..database import empty_database
        from .ours import attack

        with empty_database():
            return {"package": "ours", "seen": attack(), "versions": [f"django-gatewaypay=={__version__}"]}

    def figures(self, results: Sequence[Mapping[str, Any]], *, quick: bool) -> list[Figure]:
        """A row for every attack and package; the bar is ours alone."""
        rows = []
        for result in results:
            for attack, words in ATTACKS.items():
                held, saw = result["seen"][attack]
                ours, value = result["package"] == "ours", "withstood" if held else "FELL"
                bar = "withstood" if ours else ""
                rows.append(Figure(f"{result['package']}: {words}", value, bar, held or not ours, saw))
            rows.append(Figure(f"{result['package']}: versions", " ".join(result["versions"])))
        return rows


def environment(name: str, packages: Sequence[str]) -> str:
    """An interpreter that has the packages; made once."""
    folder = REPOSITORY / ".prove" / "venvs" / name
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True, stdout=sys.stderr)
    return str(python)
