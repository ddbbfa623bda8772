"""`gatewaypay_tick`: what Celery's beat does, without Celery."""

import io
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone

import django_gatewaypay
from django_gatewaypay.management.commands.gatewaypay_tick import Command
from django_gatewaypay.models import Transaction
from django_gatewaypay.testing.gateway_server import GatewayServer
from tests.factories import make_transaction

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(django_gatewaypay.__file__).parent.parent


def test_one_round_does_what_is_due_and_says_so(hosted: GatewayServer) -> None:
    """A payment past its time is expired, and the host is told to give the stock back."""
    make_transaction(expires_at=timezone.now() - timedelta(minutes=1))
    first, second = io.StringIO(), io.StringIO()
    call_command("gatewaypay_tick", stdout=first)
    call_command("gatewaypay_tick", stdout=second)

    assert Transaction.objects.get().state == "expired"
    assert first.getvalue().split() == ["polled=0", "expired=1", "callbacks=0", "fulfilments=0", "movements=0"]
    assert second.getvalue().split() == ["polled=0", "expired=0", "callbacks=0", "fulfilments=0", "movements=0"]


def test_a_round_has_a_limit(hosted: GatewayServer) -> None:
    """No more rows of each kind than asked for; the rest comes in the next round."""
    for _ in range(3):
        make_transaction(expires_at=timezone.now() - timedelta(minutes=1))
    call_command("gatewaypay_tick", limit=2, stdout=io.StringIO())

    assert Transaction.objects.filter(state="expired").count() == 2


def test_a_database_that_is_away_does_not_end_the_loop() -> None:
    """The round is lost, the next one is not."""
    command = Command(stdout=io.StringIO(), stderr=io.StringIO())
    row = make_transaction(expires_at=timezone.now() - timedelta(minutes=1))

    def fail(*_: Any) -> None:
        raise OperationalError("the server is restarting")

    with connection.execute_wrapper(fail):
        command.next_round(10)
    command.next_round(10)

    row.refresh_from_db()
    assert row.state == "expired"
    assert "database unavailable" in command.stderr._out.getvalue()
    assert command.stdout._out.getvalue().split()[1] == "expired=1"


@pytest.mark.parametrize("loop", [False, True])
def test_staff_are_mailed_by_a_round(settings: Any, mailoutbox: list[Any], loop: bool) -> None:
    """Once, in a thread of its own; a single round waits for it."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"STAFF_EMAILS": ["ann@shop.example"]}
    make_transaction("held")
    command = Command(stdout=io.StringIO(), stderr=io.StringIO())
    if loop:
        command.next_round(10)
        assert command.mailing is not None
        command.mailing.join(60)
        command.next_round(10)
    else:
        call_command(command)

    assert [mail.subject for mail in mailoutbox] == ["shop.example: 1 payment waits for a person"]


def test_a_mail_server_that_hangs_does_not_stop_the_clock(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds go on, and no second mail is tried beside it."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"STAFF_EMAILS": ["ann@shop.example"]}
    answered, tries = threading.Event(), []

    def hang(self: Any, messages: Any) -> int:
        tries.append(messages)
        answered.wait(60)
        return 1

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", hang)
    make_transaction("held")
    command = Command(stdout=io.StringIO(), stderr=io.StringIO())
    for _ in range(3):
        command.next_round(10)
        cache.clear()
    row = make_transaction(expires_at=timezone.now() - timedelta(minutes=1))
    command.next_round(10)
    answered.set()
    assert command.mailing is not None
    command.mailing.join(60)

    row.refresh_from_db()
    assert (row.state, len(tries)) == ("expired", 1)


LOOP = """
import os
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = os.environ["NAME_OF_THE_TEST_DATABASE"]
settings.CHANNEL_LAYERS = {}
django.setup()
from django.core.cache import cache
from django.core.management import call_command
from django_gatewaypay import services
tick = services.tick
def say_so(limit):
    done = tick(limit)
    print("ready", flush=True)
    services.tick = tick
    return done
services.tick = say_so
call_command("gatewaypay_tick", loop=True, every=0.05)
"""


@pytest.mark.parametrize(("after", "stop"), [(0, signal.SIGINT), (0.3, signal.SIGINT), (0.3, signal.SIGTERM)])
def test_the_loop_works_until_it_is_stopped(hosted: GatewayServer, after: float, stop: signal.Signals) -> None:
    """A process of its own expires what falls due while it runs, and leaves quietly, on Ctrl-C as for systemd."""
    import os

    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "NAME_OF_THE_TEST_DATABASE": str(connection.settings_dict["NAME"]),
    }
    command = [sys.executable, "-u", "-c", LOOP]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as loop:
        assert loop.stdout is not None
        assert loop.stdout.readline() == "ready\n"
        if after:
            row = make_transaction(expires_at=timezone.now() + timedelta(seconds=after))
            end = time.monotonic() + 60
            while row.state != "expired" and time.monotonic() < end:
                time.sleep(0.05)
                row.refresh_from_db()
            assert row.state == "expired"
        loop.send_signal(stop)
        said, complained = loop.communicate(timeout=60)

    assert (loop.returncode, said.splitlines()[-1]) == (0, "stopped")
    assert "Traceback" not in complained


def test_two_loops_do_each_thing_once(hosted: GatewayServer) -> None:
    """Whoever starts a second one by mistake gets no second effect."""
    for _ in range(5):
        make_transaction(expires_at=timezone.now() - timedelta(minutes=1))
    threads = [threading.Thread(target=run_and_hang_up) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [row.events.filter(to_state="expired").count() for row in Transaction.objects.all()] == [1] * 5


def run_and_hang_up() -> None:
    try:
        call_command("gatewaypay_tick", stdout=io.StringIO())
    finally:
        connection.close()
