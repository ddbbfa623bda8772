"""A comparison that is gone through step by step: it ends where one in one go ends, and nobody goes on twice."""

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from django_gatewaypay import services, tasks
from django_gatewaypay.gateways.circuit import FAILURES
from django_gatewaypay.models import Comparison, Transaction
from django_gatewaypay.services import stepping
from django_gatewaypay.services.reporting import Report
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from tests.factories import make_order
from tests.invariants import check_books
from tests.services.test_reconciling import forget
from tests.test_races import together

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not sleep."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


@pytest.fixture
def ann() -> Any:
    return get_user_model().objects.create_user("ann")


def pay(hosted: GatewayServer) -> Transaction:
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    return services.refresh(row.pk)


def begin(actor: Any = None, days: int = 2, **details: Any) -> Comparison:
    now = timezone.now()
    return services.begin_comparison(now - days * DAY, now, ["hosted"], actor=actor, **details)


def finish(comparison: Comparison) -> tuple[Comparison, int]:
    """Go on until it is over; how often that took."""
    for number in range(1, 200):
        comparison = services.go_on(comparison.pk)
        if comparison.finished_at:
            return comparison, number
    raise AssertionError("It does not end.")


def differing(hosted: GatewayServer) -> list[Transaction]:
    """A payment that agrees, one that was paid without a word to us, and one that a backup has lost."""
    agreed, untold, lost = pay(hosted), services.initiate(str(make_order().pk)).transaction, pay(hosted)
    hosted.pay(untold.gateway_reference)
    forget(lost)
    return [agreed, untold, lost]


def told(report: Report) -> set[tuple[str, str]]:
    return {(str(one.kind), one.transaction_id) for one in report.differences}


def test_step_by_step_it_finds_what_one_go_finds(
    hosted: GatewayServer, ann: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step a request, each written down; at the end the same differences, and the share has only risen."""
    _, untold, lost = differing(hosted)
    now = timezone.now()
    whole = services.reconcile(now - 2 * DAY, now, gateways=["hosted"])
    monkeypatch.setattr(stepping, "WORK_SECONDS", 0)
    row, shares = begin(ann), [0]
    while row.finished_at is None:
        row = services.go_on(row.pk)
        shares.append(row.share)
    report = services.report_of(row)

    assert (
        told(report)
        == told(whole)
        == {
            ("state", str(untold.pk)),
            ("amount", str(untold.pk)),
            ("missing_here", str(lost.pk)),
        }
    )
    assert (report.left, report.complete, report.summary) == (3, True, whole.summary)
    assert len(shares) > 3
    assert (shares == sorted(shares), shares[-1]) == (True, 100)


def test_several_steps_fit_into_one_request(hosted: GatewayServer, ann: Any) -> None:
    """As long as there is time; an idle shop is compared at once."""
    differing(hosted)
    row, times = finish(begin(ann))

    assert times == 1
    assert services.report_of(row).left == 3


def test_it_looks_and_changes_nothing(hosted: GatewayServer, ann: Any) -> None:
    """Not a row, not a line."""
    differing(hosted)
    before = list(Transaction.objects.values())
    finish(begin(ann))

    assert list(Transaction.objects.values()) == before


def test_what_is_mended_says_who_and_why(hosted: GatewayServer, ann: Any) -> None:
    """In the ledger of what follows the gateway, and of what is written again."""
    _, untold, lost = differing(hosted)
    row, _ = finish(begin(ann, apply=True, reason="after the restore"))
    report = services.report_of(row)
    lines = [Transaction.objects.get(pk=one.pk).events.last() for one in (untold, lost)]

    assert [(line.source, line.actor) for line in lines] == [("staff", ann)] * 2
    assert [line.note for line in lines] == ["after the restore", "found again at the gateway · after the restore"]
    assert {one.done for one in report.differences} == {"refreshed", "recovered as held"}
    check_books(hosted)


def test_two_pages_at_once_go_on_once(hosted: GatewayServer, ann: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds it claimed shows how far it is; who comes after that takes the next step."""
    monkeypatch.setattr(stepping, "WORK_SECONDS", 0)
    compared: list[datetime] = []
    compare, returned = stepping.reconcile, threading.Semaphore(0)

    def slowly(start: datetime, *args: Any, **more: Any) -> Report:
        compared.append(start)
        for _ in range(2):  # until the others have come and gone
            returned.acquire(timeout=20)
        return compare(start, *args, **more)

    def go_on() -> Any:
        try:
            return services.go_on(row.pk)
        finally:
            returned.release()

    monkeypatch.setattr(stepping, "reconcile", slowly)
    row = begin(ann)
    results = together(*[go_on] * 3)

    assert not [one for one in results if isinstance(one, Exception)], results
    assert len(compared) == 1, "a step was taken twice"


def test_who_dies_loses_one_step(hosted: GatewayServer, ann: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on from what is written down: at once, or after a lease where the process was killed."""
    differing(hosted)
    row = begin(ann)
    with monkeypatch.context() as dying:
        dying.setattr(stepping, "_compare", die)
        with pytest.raises(KeyboardInterrupt):
            services.go_on(row.pk)
    Comparison.objects.filter(pk=row.pk).update(claimed_until=timezone.now() + stepping.LEASE)
    waits = services.go_on(row.pk).share
    Comparison.objects.filter(pk=row.pk).update(claimed_until=timezone.now() - DAY)
    row, _ = finish(row)

    assert (waits, services.report_of(row).left) == (0, 3)


def die(*_: Any) -> Report:
    raise KeyboardInterrupt


def test_the_pace_follows_the_gateway(hosted: GatewayServer, ann: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow one is asked about less at once, a fast one about more; neither without end."""
    monkeypatch.setattr(stepping, "WORK_SECONDS", 0)
    fast = begin(ann, days=40)
    steps = []
    for _ in range(8):
        steps.append(services.go_on(fast.pk).step_seconds)
    monkeypatch.setattr(stepping, "LONG", 0.0)
    monkeypatch.setattr(stepping, "SHORT", 0.0)
    slow = begin(ann)
    Comparison.objects.filter(pk=slow.pk).update(step_seconds=3600)
    paced = [services.go_on(slow.pk).step_seconds for _ in range(4)]

    assert (steps[0], steps[-1]) == (1800, 86400)
    assert paced == [1800, 900, 900, 900]


def test_a_gateway_that_is_down_ends_its_part_and_the_page_says_so(hosted: GatewayServer, ann: Any) -> None:
    """No step is tried for ever."""
    pay(hosted)
    hosted.script(*[Answer.error(503)] * 3 * FAILURES)
    row, _ = finish(begin(ann))
    report = services.report_of(row)

    assert (report.complete, "GatewayUnavailable" in report.accounts[0].trouble) == (False, True)


def test_an_account_that_is_gone_meanwhile_is_told(ann: Any) -> None:
    """And the others are compared all the same."""
    now = timezone.now()
    row = services.begin_comparison(now - DAY, now, ["gone"], actor=ann)
    row, _ = finish(row)

    assert services.report_of(row).accounts[0].trouble.startswith("UnknownGateway")


def test_a_payment_at_the_seam_is_told_once(hosted: GatewayServer, ann: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What both steps find differs once."""
    differing(hosted)
    compare = stepping.reconcile

    def all_each_time(start: datetime, end: datetime, **more: Any) -> Report:
        now = timezone.now()
        return compare(now - DAY, now, **more)

    monkeypatch.setattr(stepping, "reconcile", all_each_time)
    row, _ = finish(begin(ann))

    assert services.report_of(row).total == 3


def test_only_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch, ann: Any) -> None:
    """They are no books: nobody has to clean up."""
    monkeypatch.setattr(stepping, "KEPT", 3)
    made = [begin(ann).pk for _ in range(5)]

    assert set(Comparison.objects.values_list("pk", flat=True)) == set(made[-3:])


def test_a_time_that_ends_before_it_begins_is_none(ann: Any) -> None:
    """Nothing is written."""
    now = timezone.now()
    with pytest.raises(ValueError, match="ends before it begins"):
        services.begin_comparison(now, now - DAY, actor=ann)

    assert not Comparison.objects.exists()


def test_what_the_night_has_found_is_kept(hosted: GatewayServer) -> None:
    """For who looks in the morning; nobody has begun it, and it is over."""
    row = pay(hosted)
    Transaction.objects.filter(pk=row.pk).update(created_at=timezone.now() - DAY)
    hosted.sessions[row.gateway_reference]["amount"] = "5.00"
    tasks.reconcile()
    kept = Comparison.objects.get()

    assert (kept.actor, kept.finished_at is not None, kept.applied) == (None, True, False)
    assert [account.alias for account in services.report_of(kept).accounts][:1] == kept.gateways[:1]
