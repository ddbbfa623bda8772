"""Do what the clock asks for, without Celery."""

import signal
import threading
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import OperationalError, close_old_connections, connections

from ... import services

__all__ = ["Command"]

#: How long a single round waits for its mail to go out.
MAIL_SECONDS = 30


class Command(BaseCommand):
    """Polls, expires and re-drives what is due; once, or for ever with --loop."""

    help = "Ask gateways about pending payments, expire old ones, re-drive callbacks and fulfilments."
    mailing: threading.Thread | None = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until stopped")
        parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="pause between two rounds")
        parser.add_argument("--limit", type=int, default=200, help="rows of each kind in one round")

    def handle(self, *args: Any, loop: bool, every: float, limit: int, **options: Any) -> None:
        if not loop:
            self.stdout.write(str(services.tick(limit)))
            self.send_notices()
            if self.mailing:
                self.mailing.join(MAIL_SECONDS)
            return
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # systemd and containers stop a program with it
        try:
            while True:
                self.next_round(limit)
                time.sleep(every)
        except KeyboardInterrupt:
            self.stdout.write("stopped")

    def next_round(self, limit: int) -> None:
        """One round; a database that is away for a while does not end the loop."""
        close_old_connections()
        try:
            done = services.tick(limit)
            self.send_notices()
        except OperationalError as error:
            self.stderr.write(f"database unavailable, trying again: {error}")
            return
        if done.anything:
            self.stdout.write(str(done))

    def send_notices(self) -> None:
        """Aside, because a mail server that hangs must not stop the clock."""
        busy = self.mailing is not None and self.mailing.is_alive()
        if not busy and services.notices_are_due():
            self.mailing = threading.Thread(target=send_and_hang_up, name="gatewaypay-notices", daemon=True)
            self.mailing.start()


def send_and_hang_up() -> None:
    """Mail staff, in a thread of its own."""
    try:
        services.send_notices()
    finally:
        connections.close_all()
