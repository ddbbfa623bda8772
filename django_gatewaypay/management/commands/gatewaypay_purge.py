"""Forget what gateways have said in their own words, once it is old enough."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ... import services

__all__ = ["Command"]


class Command(BaseCommand):
    """`gatewaypay_purge`: see docs/how-to/retention."""

    help = "Clear the gateway's own fields of callbacks that are processed and older than KEEP_PAYLOADS."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, metavar="NUMBER", help="another age than KEEP_PAYLOADS")
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *args: Any, days: int | None, dry_run: bool, **options: Any) -> None:
        try:
            age = None if days is None else timedelta(days=days)
            count = services.purge(age, dry_run=dry_run, progress=self.tell)
        except (ValueError, OverflowError) as error:
            raise CommandError(f"--days {days}: {error}") from error
        self.stdout.write(f"{'would clear' if dry_run else 'cleared'} callbacks={count}")

    def tell(self, count: int) -> None:
        """A line after each chunk."""
        self.stderr.write(f"{count} callbacks ...")
