"""The chaos in its CI form, and the proof that its verdict would see each kind of wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.dispatch import deliver
from django_gatewaypay.models import Fulfilment, Refund, Transaction
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import State
from tests.factories import make_transaction
from tests.plant import verdict
from tests.proof.chaos import mischief
from tests.proof.chaos.part import SETTLED_WITHIN, Chaos, run_chaos, shape, verdicts
from tests.proof.chaos.shoppers import Plan
from tests.proof.frame import REPOSITORY
from tests.shop.models import Order

# 2,000 and 40 take four minutes on two idle cores; what passes before every merge has to be quicker.
PAYMENTS, MISCHIEFS = map(int, os.environ.get("GATEWAYPAY_TEST_CHAOS", "250 10").split())


@pytest.mark.slow
@pytest.mark.postgres  # it brings a PostgreSQL of its own; one run of it is enough
@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_or_stuck_while_everything_is_killed() -> None:
    """Real processes under random kills: all payments are right within five minutes, and nobody lends a hand."""
    # Beside other tests a web process may need half a minute to be back.
    chunk = shape(2026, PAYMENTS, MISCHIEFS, "celery", "early", expire_after=30, patience=120)
    result = run_chaos(chunk, lambda share: None)

    assert result["wrong"] == dict.fromkeys(result["wrong"], 0), json.dumps(result, indent=1)
    assert result["seconds_to_settle"] <= SETTLED_WITHIN
    assert result["payments"] >= PAYMENTS * 0.99
    assert result["kills"] >= MISCHIEFS * 0.6
    assert sum(result["refunds"].values()) >= PAYMENTS * 0.02


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.skipif(
    "GATEWAYPAY_TEST_CHAOS" not in os.environ,
    reason="three minutes: set GATEWAYPAY_TEST_CHAOS, or make prove PART=chaos",
)
def test_the_loop_of_the_command_is_clock_enough() -> None:
    """Without Celery, two loops of gatewaypay_tick that are killed at random do the same."""
    result = run_chaos(shape(2027, 150, 12, "tick", "early", threads=16, expire_after=20), lambda share: None)

    assert result["wrong"] == dict.fromkeys(result["wrong"], 0), json.dumps(result, indent=1)
    assert result["seconds_to_settle"] <= SETTLED_WITHIN
    assert result["mischief"]["clock"] >= 1


def judged(gateway: GatewayServer, **given: Any) -> set[str]:
    """The kinds of wrong that the verdict finds."""
    wrong = verdict.judge(gateway, given.get("acknowledged", []), given.get("told", {}), given.get("odd", []))
    return {kind for kind, found in wrong.items() if found}


@pytest.fixture
def paid(hosted: GatewayServer, db: None) -> Transaction:
    """A payment that is right on both sides."""
    row = make_transaction(State.PENDING)
    hosted.sessions[row.gateway_reference] = {
        "reference": row.gateway_reference,
        "status": "success",
        "transaction_id": str(row.pk),
        "amount": "19.99",
        "currency": "EUR",
    }
    services.refresh(row.pk)
    for owed in Fulfilment.objects.filter(state="owed"):
        deliver(owed.pk)
    row.refresh_from_db()
    return row


def test_the_verdict_on_a_right_payment_is_clean(paid: Transaction, hosted: GatewayServer) -> None:
    """Paid there, success here, fulfilled once: nothing is wrong."""
    assert judged(hosted, told={str(paid.pk): "success"}) == set()


def test_the_verdict_sees_lost_money(paid: Transaction, hosted: GatewayServer) -> None:
    """Captured at the gateway and expired here is lost."""
    Transaction.objects.filter(pk=paid.pk).update(state="expired")
    assert "lost" in judged(hosted)


def test_the_verdict_sees_money_of_an_unknown_payment(paid: Transaction, hosted: GatewayServer) -> None:
    """Captured for a transaction that is not there is lost."""
    hosted.sessions["ps_other"] = {**hosted.sessions[paid.gateway_reference], "transaction_id": "gone"}
    assert "lost" in judged(hosted)


def give_back(paid: Transaction) -> str:
    """A refund of the whole that is right on both sides; its reference at the gateway."""
    return services.refund(paid.pk, reason="sent back").gateway_reference


def test_the_verdict_on_a_right_refund_is_clean(paid: Transaction, hosted: GatewayServer) -> None:
    """Given back there and here: nothing is wrong."""
    give_back(paid)

    assert judged(hosted) == set()


def test_the_verdict_sees_what_went_back_twice(paid: Transaction, hosted: GatewayServer) -> None:
    """One intent has one effect."""
    hosted.refunds["re_again"] = hosted.refunds[give_back(paid)]
    hosted._refunded["re_again"] = paid.gateway_reference

    assert "over_refunded" in judged(hosted)


def test_the_verdict_sees_more_than_was_taken(paid: Transaction, hosted: GatewayServer) -> None:
    """No more goes back than was captured."""
    hosted.refunds[give_back(paid)]["amount"] = "20.00"

    assert "over_refunded" in judged(hosted)


def test_the_verdict_sees_a_refund_that_was_forgotten(paid: Transaction, hosted: GatewayServer) -> None:
    """What went back there, and is failed or unknown here, would go back again."""
    give_back(paid)
    Refund.objects.update(state="failed")

    assert "over_refunded" in judged(hosted)


def test_the_verdict_sees_a_refund_without_an_end(paid: Transaction, hosted: GatewayServer) -> None:
    """A refund that nobody finishes is stuck."""
    give_back(paid)
    Refund.objects.update(state="unknown")

    assert "stuck" in judged(hosted)


@pytest.mark.parametrize(("count", "kind"), [(0, "unfulfilled"), (2, "double")])
def test_the_verdict_counts_fulfilments(paid: Transaction, hosted: GatewayServer, count: int, kind: str) -> None:
    """Exactly one effect is right."""
    Order.objects.filter(pk=paid.order_id).update(fulfilments=count)
    assert kind in judged(hosted)


def test_the_verdict_sees_a_lost_event(paid: Transaction, hosted: GatewayServer) -> None:
    """An event that was answered 2xx has to be in the inbox."""
    assert "acknowledged_missing" in judged(hosted, acknowledged=["evt_gone"])


def test_the_verdict_sees_what_is_stuck(hosted: GatewayServer, db: None) -> None:
    """A payment that is open after its time is stuck and overdue."""
    make_transaction(State.PENDING, expires_at=timezone.now() - timedelta(minutes=1))
    assert {"stuck", "overdue"} <= judged(hosted)


def test_the_verdict_remembers_what_the_shopper_was_told(hosted: GatewayServer, db: None) -> None:
    """Who has read "success" has paid."""
    row = make_transaction(State.FAILED)
    assert "told" in judged(hosted, told={str(row.pk): "success"})


def test_a_wrong_run_is_red() -> None:
    """Every count has a bar of nought, and the time has one too."""
    right = {"wrong": dict.fromkeys(WRONG, 0), "seconds_to_settle": 12.0}
    assert all(figure.met for figure in verdicts([right]))
    for kind in WRONG:
        assert not all(figure.met for figure in verdicts([{**right, "wrong": {**right["wrong"], kind: 1}}]))
    assert not all(figure.met for figure in verdicts([{**right, "seconds_to_settle": SETTLED_WITHIN + 1}]))


WRONG = (
    "lost",
    "double",
    "unfulfilled",
    "over_refunded",
    "stuck",
    "overdue",
    "acknowledged_missing",
    "told",
    "odd",
    "invariant",
)


def test_who_expired_unasked_is_asked_about_within_the_five_minutes(hosted: GatewayServer, db: None) -> None:
    """A payment that expired during an outage may be paid: it has to be right five minutes after the outage."""
    row = make_transaction(State.PENDING, expires_at=timezone.now() - timedelta(seconds=1))
    hosted.script(*[Answer.closed()] * 6)

    services.expire(row.pk)

    row.refresh_from_db()
    assert row.state == State.EXPIRED
    assert row.next_poll_at < timezone.now() + timedelta(minutes=4)


OWNER = """
import sys, time
from pathlib import Path
from tests.plant.processes import Plant, Service
with Plant(Path(sys.argv[1])) as plant:
    plant.add(Service("sleeper", ["sleep", "600"]))
    print(plant.services["sleeper"].pid, plant.scratch, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nobody_survives_the_run(tmp_path: Path, number: int) -> None:
    """However the run ends, its processes are gone, and so is its folder."""
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        assert owner.stdout
        pid, scratch = owner.stdout.readline().split()
        owner.send_signal(number)
    end = time.monotonic() + 60
    while (Path(f"/proc/{pid}").exists() or Path(scratch).exists()) and time.monotonic() < end:
        time.sleep(0.05)

    assert not Path(f"/proc/{pid}").exists()
    assert not Path(scratch).exists()


def test_the_seed_picks_the_schedule() -> None:
    """The same seed does the same things in the same order, and plans the same shoppers."""
    assert mischief.schedule(3, 84, clock="celery") == mischief.schedule(3, 84, clock="celery")
    assert mischief.schedule(3, 84, clock="celery") != mischief.schedule(4, 84, clock="celery")
    assert Plan.draw(3, 7) == Plan.draw(3, 7)


def test_the_full_size_is_what_the_bar_asks_for() -> None:
    """Ten thousand payments and three hundred kills are planned, also without Celery."""
    chunks = Chaos().chunks(quick=False)
    kinds = [
        kind for chunk in chunks for kind in mischief.schedule(chunk["seed"], chunk["mischiefs"], clock=chunk["clock"])
    ]
    assert sum(chunk["payments"] for chunk in chunks) > 10_000
    assert sum(kind in mischief.KILLS for kind in kinds) > 300
    assert {*mischief.KILLS, *mischief.PAINS} == set(kinds)
    assert {chunk["clock"] for chunk in chunks} == {"celery", "tick"}
