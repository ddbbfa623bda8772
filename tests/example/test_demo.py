"""`make demo`, used over the network only."""

import os
import signal
import time
from pathlib import Path

import pytest
import requests

from .running import LONG_PATIENCE, MARKS, PATIENCE, READY, Demo, Shopper, processes, read, running_demo, until

pytestmark = MARKS

#: `gatewaypay_tick`, when POLL_AFTER is over.
LATE_TICK = """
from datetime import timedelta
from unittest.mock import patch
from django.core.management import call_command
from django.utils import timezone

later = timezone.now() + timedelta(seconds=901)
with patch.object(timezone, "now", lambda: later):
    call_command("gatewaypay_tick")
"""
ENDINGS = [
    ("pay", "success", "", 1),
    ("decline", "failure", "declined", 0),
    ("cancel", "failure", "canceled", 0),
]


@pytest.mark.parametrize(("action", "status", "reason", "fulfilments"), ENDINGS)
def test_live_answer(shopper: Shopper, action: str, status: str, reason: str, fulfilments: int) -> None:
    """The socket tells the end of a payment by itself, and the order is fulfilled once or not at all."""
    order_id = shopper.order()
    payment = shopper.initiate(order_id)
    with shopper.live(payment) as live:
        first = read(live)
        shopper.decide(payment, action)
        last = read(live)

    assert (first["status"], first["version"]) == ("pending", 1)
    assert (last["status"], last["reason"]) == (status, reason)
    assert shopper.facts(order_id) == {"order_id": order_id, "paid": fulfilments == 1, "fulfilments": fulfilments}


def test_repeated_callback(shopper: Shopper) -> None:
    """A callback that comes twice fulfils once."""
    order_id = shopper.order("sencha")
    payment = shopper.initiate(order_id)
    shopper.decide(payment, "pay", callback="twice")
    until(lambda: shopper.facts(order_id)["paid"])
    time.sleep(0.5)

    assert shopper.facts(order_id)["fulfilments"] == 1


def test_lost_callback_return_page(shopper: Shopper) -> None:
    """When the callback is lost, the shopper's return finds the payment."""
    order_id = shopper.order("coffee-pot")
    back = shopper.decide(shopper.initiate(order_id), "pay", callback="never")
    before = shopper.facts(order_id)
    page = shopper.session.get(back, timeout=PATIENCE)

    assert not before["paid"]
    assert "Payment received" in page.text
    assert shopper.facts(order_id)["fulfilments"] == 1


def test_lost_callback_tick(demo: Demo, shopper: Shopper) -> None:
    """When the callback is lost and the shopper does not return, the tick finds the payment."""
    order_id = shopper.order("sardines")
    shopper.decide(shopper.initiate(order_id), "pay", callback="never")
    before = shopper.facts(order_id)
    demo.manage("shell", "-c", LATE_TICK)

    assert not before["paid"]
    assert shopper.facts(order_id) == {"order_id": order_id, "paid": True, "fulfilments": 1}


def test_same_key(shopper: Shopper) -> None:
    """A repeated initiation finds the same payment."""
    order_id = shopper.order()

    assert shopper.initiate(order_id, "again")["id"] == shopper.initiate(order_id, "again")["id"]


def test_wrong_amount(shopper: Shopper) -> None:
    """Money that does not match is held: never paid, never failed."""
    order_id = shopper.order("storm-lantern")
    payment = shopper.initiate(order_id)
    with shopper.live(payment) as live:
        read(live)
        shopper.decide(payment, "pay", callback="wrong_amount")
        told = read(live)

    assert (told["status"], told["reason"]) == ("pending", "under_review")
    assert not shopper.facts(order_id)["paid"]


def test_says_where_everything_is(demo: Demo) -> None:
    """The terminal shows the addresses and the password of the staff, and no warning."""
    password = (demo.folder / "admin-password").read_text()
    block = demo.output.partition(READY)[0]

    assert f"{demo.url}/" in block
    assert f"{demo.url}/admin/" in block
    assert f"{demo.url}/sandbox/" in block
    assert f"password {password}" in block
    assert "Warning" not in block


def test_staff_signs_in(demo: Demo, shopper: Shopper) -> None:
    """The printed password opens the admin."""
    shopper.sign_in((demo.folder / "admin-password").read_text())
    page = shopper.get("/admin/gatewaypay/transaction/")

    assert page.status_code == 200


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_stops(tmp_path: Path, ending: signal.Signals) -> None:
    """Ctrl-C and a plain kill end every process within seconds, and the terminal says so."""
    for _ in range(3):  # a machine that stands still spoils one of them
        with running_demo(tmp_path / "data") as demo:
            started = demo.descendants()
            asked = time.monotonic()
            demo.process.send_signal(ending)
            code = demo.wait_until_ended()
            waited = time.monotonic() - asked
        if waited < 8:
            break

    assert len(started) >= 4
    assert code == 0, demo.output
    assert waited < 8
    until(lambda: started.isdisjoint(processes()))  # who was killed may still be on its way out
    assert "Traceback" not in demo.output


def test_second_start(tmp_path: Path) -> None:
    """What was ordered and who may sign in outlives a restart."""
    with running_demo(tmp_path / "data") as demo, Shopper(demo.url) as shopper:
        order_id = shopper.order()
        password = (demo.folder / "admin-password").read_text()
    with running_demo(tmp_path / "data") as demo, Shopper(demo.url) as shopper:
        kept = shopper.facts(order_id)
        shopper.sign_in(password)

    assert kept == {"order_id": order_id, "paid": False, "fulfilments": 0}


def test_port_taken(demo: Demo, tmp_path: Path) -> None:
    """A taken port is said at once, and nothing is left running."""
    with Demo(tmp_path / "data", port=demo.port) as second:
        code = second.wait_until_ended()

    assert code == 1
    assert f"port {demo.port} cannot be used" in second.output
    assert "Traceback" not in second.output


def test_broker_missing(tmp_path: Path) -> None:
    """A REDIS_URL that nobody answers at is said in one line, and nothing is left running."""
    with Demo(tmp_path / "data", REDIS_URL="redis://127.0.0.1:1/0") as demo:
        code = demo.wait_until_ended(LONG_PATIENCE)

    assert code == 1
    assert "REDIS_URL did not answer" in demo.output
    assert "Traceback" not in demo.output


def test_a_child_dies(tmp_path: Path) -> None:
    """When a part dies, the rest ends too, with a reason and a code."""
    with running_demo(tmp_path / "data") as demo:
        started = demo.descendants()
        table = processes()
        web = next(pid for pid in started & table.keys() if "uvicorn" in table[pid][1])
        os.kill(web, signal.SIGKILL)
        code = demo.wait_until_ended()

    assert code == 1
    assert "The web server ended with code -9" in demo.output
    until(lambda: started.isdisjoint(processes()))
    with pytest.raises(requests.ConnectionError):
        requests.get(demo.url, timeout=PATIENCE)
