"""What gateways have said in their own words is forgotten in time; what we understood of it is not."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Callback, TransactionEvent
from django_gatewaypay.services import purging
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import CallbackRequest
from tests.factories import make_order
from tests.invariants import check_books

pytestmark = pytest.mark.django_db(transaction=True)


def processed(hosted: GatewayServer, days: float) -> Callback:
    """A callback of so many days ago."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    [pk] = services.receive_callback("hosted", CallbackRequest(*hosted.callback(row.gateway_reference)))
    services.process_callback(pk)
    Callback.objects.filter(pk=pk).update(received_at=timezone.now() - timedelta(days=days))
    return Callback.objects.get(pk=pk)


def test_old_content_is_cleared_and_what_was_understood_stays(hosted: GatewayServer) -> None:
    """By KEEP_PAYLOADS; the row, its digest, its state and its amounts are as they were."""
    old, young = processed(hosted, 401), processed(hosted, 399)
    count = services.purge()

    after = Callback.objects.get(pk=old.pk)
    assert count == 1
    assert old.update["raw"]["status"] == "success"
    assert after.update == {name: value for name, value in old.update.items() if name != "raw"}
    assert (after.body_sha256, after.state, after.transaction_id) == (old.body_sha256, old.state, old.transaction_id)
    assert Callback.objects.get(pk=young.pk).update == young.update
    check_books()


def test_the_ledger_keeps_its_evidence(hosted: GatewayServer) -> None:
    """It is append-only, for everybody."""
    processed(hosted, 500)
    before = list(TransactionEvent.objects.order_by("pk").values())
    services.purge()

    assert list(TransactionEvent.objects.order_by("pk").values()) == before
    assert any("raw" in event["evidence"] for event in before)


def test_a_purged_callback_is_still_known_and_can_be_replayed(hosted: GatewayServer) -> None:
    """A redelivery adds no row, and working on it again changes nothing."""
    row = processed(hosted, 500)
    services.purge()
    headers, body = hosted.callback(row.gateway_reference, event_id=row.event_id)
    again = services.receive_callback("hosted", CallbackRequest(headers, body))
    done = services.replay([row.pk])

    assert (again, done.became, Callback.objects.count()) == ([], {"processed": 1}, 1)
    check_books()


def test_what_waits_for_somebody_is_kept(hosted: GatewayServer) -> None:
    """Unprocessed content is needed, however old it is."""
    row = processed(hosted, 500)
    for state in ("received", "unmatched", "dead"):
        Callback.objects.filter(pk=row.pk).update(state=state)
        assert services.purge() == 0

    assert "raw" in Callback.objects.get().update


def test_a_dry_run_counts(hosted: GatewayServer) -> None:
    """And clears nothing."""
    processed(hosted, 500)

    assert (services.purge(dry_run=True), services.purge(), services.purge()) == (1, 1, 0)


def test_it_goes_chunk_by_chunk(hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is cleared once, also those that arrived in the same moment."""
    monkeypatch.setattr(purging, "CHUNK", 2)
    for _ in range(5):
        processed(hosted, 500)
    Callback.objects.update(received_at=timezone.now() - timedelta(days=500))
    heard: list[int] = []
    dry = services.purge(dry_run=True)
    count = services.purge(progress=heard.append)

    assert (dry, count, heard) == (5, 5, [2, 4, 5])
    assert not Callback.objects.filter(update__has_key="raw").exists()


@pytest.mark.parametrize(("age", "cleared"), [(timedelta(days=1), 1), (timedelta(days=3), 0), (timedelta(0), 1)])
def test_another_age_may_be_named(hosted: GatewayServer, age: timedelta, cleared: int) -> None:
    """For once."""
    processed(hosted, 2)

    assert services.purge(age) == cleared


def test_the_age_is_the_hosts(hosted: GatewayServer, settings: Any) -> None:
    """KEEP_PAYLOADS is read live; a negative age is an error and no purge of everything."""
    processed(hosted, 2)
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"KEEP_PAYLOADS": timedelta(days=1)}

    with pytest.raises(ValueError, match="negative"):
        services.purge(timedelta(days=-1))
    assert services.purge() == 1
