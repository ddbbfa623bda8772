"""Stored callbacks are worked on once more, and say nothing new when they said it before."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Callback, Transaction
from django_gatewaypay.services import replaying
from django_gatewaypay.services.replaying import Replayed
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import CallbackRequest
from tests.factories import make_order
from tests.invariants import check_books
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)


def told(hosted: GatewayServer, state: str = "received", **fields: Any) -> Callback:
    """A callback about a paid payment, kept and left in `state`."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    [pk] = services.receive_callback("hosted", CallbackRequest(*hosted.callback(row.gateway_reference)))
    if state == "processed":
        services.process_callback(pk)
    waits = None if state in {"dead", "processed"} else timezone.now()
    error = "a bug" if state == "dead" else ""
    Callback.objects.filter(pk=pk).update(state=state, next_attempt_at=waits, last_error=error, **fields)
    return Callback.objects.get(pk=pk)


def states() -> list[str]:
    return sorted(Callback.objects.values_list("state", flat=True))


def test_what_was_given_up_or_matched_nothing_is_worked_on(hosted: GatewayServer) -> None:
    """By default those and no others; the orders are fulfilled."""
    told(hosted, "dead", attempts=10)
    told(hosted, "unmatched")
    told(hosted, "received")
    done = services.replay()

    assert (done.found, done.became) == (2, {"processed": 2})
    assert states() == ["processed", "processed", "received"]
    assert Order.objects.filter(fulfilments=1).count() == 2
    check_books()


def test_a_dry_run_counts_by_the_state_of_today(hosted: GatewayServer) -> None:
    """And does nothing."""
    told(hosted, "dead")
    told(hosted, "unmatched")
    done = services.replay(dry_run=True)

    assert str(done) == "found=2 dead=1 unmatched=1"
    assert states() == ["dead", "unmatched"]
    assert not Transaction.objects.filter(state="success").exists()


def test_a_processed_one_says_nothing_new(hosted: GatewayServer) -> None:
    """It is worked on when it is asked for by name, and neither state nor order moves."""
    row = told(hosted, "processed")
    before = Transaction.objects.values().get()
    done = services.replay([row.pk])

    after = Callback.objects.get()
    assert (done.found, done.became) == (1, {"processed": 1})
    assert (after.state, after.next_attempt_at) == ("processed", None)
    assert after.processed_at > row.processed_at
    assert (Transaction.objects.values().get(), Order.objects.get().fulfilments) == (before, 1)
    check_books()


def test_ids_that_do_not_exist_stop_everything(hosted: GatewayServer) -> None:
    """A typo among many is told before anything is done."""
    row = told(hosted, "dead")
    unknown = uuid.uuid4()

    with pytest.raises(Callback.DoesNotExist, match=str(unknown)):
        services.replay([row.pk, unknown])
    assert states() == ["dead"]


def test_a_choice_is_the_meeting_of_all_that_is_named(hosted: GatewayServer) -> None:
    """Time, gateway, state and ids."""
    now = timezone.now()
    old = told(hosted, "dead", received_at=now - timedelta(days=2))
    new = told(hosted, "dead")
    done = told(hosted, "processed")
    twin = told(hosted, "dead", gateway="twin")

    def count(*args: Any, **options: Any) -> int:
        return services.replay(*args, dry_run=True, **options).found

    assert count(since=now - timedelta(days=1)) == 2
    assert count(until=now - timedelta(days=1)) == 1
    assert count(since=old.received_at, until=old.received_at) == 0
    assert count(gateways=["twin"]) == 1
    assert count(states=["processed"]) == 1
    assert count(states=["processed", "dead"], gateways=["hosted"]) == 3
    assert count([old.pk, done.pk]) == 2
    assert count([old.pk, done.pk], states=["dead"]) == 1
    assert count([new.pk, twin.pk], gateways=["hosted"]) == 1


def test_each_is_worked_on_once_in_order_of_arrival(hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches, also where many arrived in the same moment and stay in the state that was asked for."""
    monkeypatch.setattr(replaying, "BATCH", 2)
    moment = timezone.now() - timedelta(minutes=1)
    rows = [told(hosted, "unmatched", received_at=moment, transaction_ref=str(uuid.uuid4())) for _ in range(5)]
    heard: list[int] = []
    done = services.replay(progress=lambda so_far: heard.append(so_far.found))

    assert isinstance(done, Replayed)
    assert (done.found, done.became, heard) == (5, {"unmatched": 5}, [2, 4, 5])
    assert set(Callback.objects.filter(attempts=1)) == set(rows)
