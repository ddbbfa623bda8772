"""Work on stored callbacks once more."""

import uuid
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ... import services
from ...conf import settings
from ...models import Callback
from ..moments import read_moment

__all__ = ["Command"]

STATES = [str(state) for state in Callback.State]


class Command(BaseCommand):
    """`gatewaypay_replay --since 2026-11-01`: for callbacks that a bug or an outage has left undone."""

    help = "Work on stored callbacks again; those that were given up or matched nothing, unless others are named."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("callbacks", nargs="*", metavar="ID", help="these, whatever their state")
        parser.add_argument("--since", default="", metavar="TIME", help="received from this day or ISO 8601 time on")
        parser.add_argument("--until", default="", metavar="TIME", help="received before")
        parser.add_argument("--gateway", action="append", default=[], metavar="ALIAS", help="repeatable")
        parser.add_argument("--state", action="append", default=[], choices=STATES, help="default: dead and unmatched")
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *args: Any, callbacks: list[str], dry_run: bool, **options: Any) -> None:
        since, until = options["since"], options["until"]
        unknown = [alias for alias in options["gateway"] if alias not in settings.GATEWAYS]
        if unknown:
            raise CommandError(f"There is no gateway {unknown[0]!r}.")
        try:
            done = services.replay(
                [read_id(text) for text in callbacks],
                since=read_moment("--since", since) if since else None,
                until=read_moment("--until", until) if until else None,
                gateways=options["gateway"],
                states=options["state"],
                dry_run=dry_run,
                progress=lambda so_far: self.stderr.write(str(so_far)),
            )
        except Callback.DoesNotExist as error:
            raise CommandError(f"{error} Nothing was done.") from error
        self.stdout.write(f"would replay {done}" if dry_run else f"replayed {done}")


def read_id(text: str) -> uuid.UUID:
    """The id of a callback.

    Raises:
        CommandError: it is none.
    """
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is no id of a callback.") from error
