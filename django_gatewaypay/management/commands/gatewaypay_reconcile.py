"""Compare our books with the gateways'."""

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ... import services
from ...exceptions import UnknownGateway
from ...services.reporting import as_csv, as_json
from ..moments import read_moment

__all__ = ["Command"]

TELL_EVERY_SECONDS = 2.0
DIRECTIONS = {
    "both": "both ways",
    "ours": "only ours against theirs: this gateway lists nothing",
    "theirs": "only theirs against ours: this gateway cannot be asked",
    "none": "not at all: this gateway tells nothing",
}


class Command(BaseCommand):
    """`gatewaypay_reconcile --since 2026-11-01`: see docs/how-to/reconcile."""

    help = "Compare our payments with the gateways', and tell what differs; with --apply, mend what can be mended."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", required=True, metavar="TIME", help="a day or an ISO 8601 time")
        parser.add_argument("--until", default="", metavar="TIME", help="default: now")
        parser.add_argument("--gateway", action="append", default=[], metavar="ALIAS", help="default: all; repeatable")
        parser.add_argument("--apply", action="store_true", help="refresh what differs, write again what was lost")
        parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
        parser.add_argument("--output", default="", metavar="FILE", help="for the differences; default: here")

    def handle(
        self, *args: Any, since: str, until: str, gateway: list[str], apply: bool, output: str, **options: Any
    ) -> None:
        self.told = time.monotonic()
        if output and not Path(output).parent.is_dir():
            raise CommandError(f"--output {output}: there is no such folder.")
        start, end = read_moment("--since", since), read_moment("--until", until) if until else None
        try:
            report = services.reconcile(start, end, gateways=gateway, apply=apply, progress=self.tell)
        except (UnknownGateway, ValueError) as error:
            raise CommandError(str(error)) from error
        self.write(WRITERS[options["format"]](report), output)
        for account in report.accounts:
            self.stderr.write(describe(account))
        self.stderr.write(report.summary)
        if not report.complete:
            raise CommandError("Not everything was compared: see above. Run it again later.")

    def tell(self, account: services.Account) -> None:
        """A line now and then, so that nobody thinks it hangs."""
        if time.monotonic() - self.told >= TELL_EVERY_SECONDS:
            self.told = time.monotonic()
            self.stderr.write(f"{account.alias}: {account.theirs} of theirs, {account.ours} of ours ...")

    def write(self, text: str, output: str) -> None:
        """To a file or to the screen."""
        if not output:
            self.stdout.write(text, ending="")
            return
        try:
            Path(output).write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise CommandError(f"--output {output}: {error.strerror}.") from error
        self.stderr.write(f"wrote {output}")


def describe(account: services.Account) -> str:
    """How far an account was compared, in words."""
    told = f"{account.alias}: compared {DIRECTIONS[account.directions]}; {account.theirs} of theirs"
    told += f" ({account.foreign} not ours), {account.ours} of ours"
    told += f", {account.unanswered} without an answer" if account.unanswered else ""
    return told + (f"; broken off: {account.trouble}" if account.trouble else "")


def as_table(report: services.Report) -> str:
    """Aligned columns; a word when there is nothing."""
    if not report.differences:
        return "Nothing differs.\n"
    columns = ["kind", "gateway", "order_id", "transaction_id", "ours", "theirs", "done"]
    rows = [columns, *([printable(getattr(one, name)) for name in columns] for one in report.differences)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    missing = report.total - len(report.differences)
    return "\n".join([*lines, *([f"and {missing} more"] if missing else []), ""])


WRITERS = {"table": as_table, "csv": as_csv, "json": as_json}


def printable(text: str) -> str:
    """One line, whatever an order is called."""
    return "".join(char if char.isprintable() else "?" for char in text)
