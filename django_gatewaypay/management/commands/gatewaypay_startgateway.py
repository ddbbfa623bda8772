"""Writes the skeleton of a new gateway: adapter, tests, fixtures, docs page."""

import keyword
import os
import re
from argparse import ArgumentParser
from pathlib import Path
from string import Template
from typing import Any

from django.core.management.base import BaseCommand, CommandError

__all__ = ["Command"]

SCAFFOLD = Path(__file__).resolve().parent.parent / "scaffold"
NAME = re.compile(r"[A-Z][A-Za-z0-9]{0,39}", re.ASCII)


class Command(BaseCommand):
    """`gatewaypay_startgateway AcmePay`: see docs/how-to/add-a-gateway."""

    help = "Write an adapter for another gateway, its tests on the contract battery, a fixture and a docs page."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the vendor in CamelCase, such as AcmePay")
        parser.add_argument("--code", default=".", metavar="FOLDER", help="for the adapter; default: here")
        parser.add_argument("--tests", default=".", metavar="FOLDER", help="for its tests and fixtures; default: here")
        parser.add_argument("--docs", default=".", metavar="FOLDER", help="for its page; default: here")

    def handle(self, *args: Any, name: str, code: str, tests: str, docs: str, **options: Any) -> None:
        module = read_name(name)
        page = Path(docs, f"{module}.md")
        words = {
            "Name": name,
            "NAME": module.upper(),
            "module": module,
            "adapter": ".".join([*read_package(code), module]),
            "page": Path(os.path.relpath(page, tests)).as_posix(),
        }
        files = {
            Path(code, f"{module}.py"): "adapter.py.txt",
            Path(tests, f"test_{module}.py"): "tests.py.txt",
            Path(tests, "fixtures", module, "callback_paid.json"): "callback_paid.json.txt",
            page: "page.md.txt",
        }
        there = [str(path) for path in files if path.exists()]
        if there:
            raise CommandError(f"Nothing was written, because this is there already: {', '.join(there)}")
        for path, template in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(Template((SCAFFOLD / template).read_text(encoding="utf-8")).substitute(words))
            self.stdout.write(f"wrote {path}")
        self.stdout.write(f"Now run: python -m pytest {Path(tests, f'test_{module}.py')}")


def read_name(name: str) -> str:
    """The module of a vendor: "AcmePay" is acme_pay.

    Raises:
        CommandError: it is no name for a class, or none for a module.
    """
    if not NAME.fullmatch(name) or name.endswith("Gateway"):
        raise CommandError(f"{name!r} is no name for a gateway: use the vendor's in CamelCase, such as AcmePay.")
    module = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    if keyword.iskeyword(module) or module == "test":
        raise CommandError(f"{name!r} is no name for a gateway: no module can be called {module!r}.")
    return module


def read_package(folder: str) -> list[str]:
    """The dotted path of a folder below this one.

    Raises:
        CommandError: Python could not import from there.
    """
    parts = Path(os.path.relpath(folder)).parts
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise CommandError(f"--code {folder}: this is not a package below the current folder.")
    return list(parts)
