"""A comparison that a page shows while it runs: a row that is gone through step by step, each within one request.

A comparison may take an hour, and a request may not. So a page works for some seconds, writes down how far it has come,
and shows itself again; that needs no worker, no open connection and no JavaScript. Whoever dies loses one step.
"""

import logging
import time
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from ..exceptions import UnknownGateway
from ..models import Comparison
from ..registry import gateways as registry
from .reconciling import WINDOW, reconcile
from .reporting import Account, Report

__all__ = ["SHOWN", "begin_comparison", "go_on", "keep_report", "report_of"]

logger = logging.getLogger("gatewaypay.reconcile")

#: How long one request works before it shows what it has.
WORK_SECONDS = 4.0
#: A step that takes less is followed by a longer one, one that takes more by a shorter one.
SHORT, LONG = 1.0, 3.0
SHORTEST_STEP, LONGEST_STEP = 15 * 60, int(WINDOW.total_seconds())
#: How long nobody else goes on after one who has died.
LEASE = timedelta(minutes=10)
#: So many comparisons are kept, each with so many of its differences: the row is written at every step.
KEPT, SHOWN = 50, 2000


def begin_comparison(
    since: datetime,
    until: datetime,
    gateways: Collection[str] = (),
    *,
    actor: Any,
    apply: bool = False,
    reason: str = "",
) -> Comparison:
    """Write down what is to be compared; `go_on` does it. See `reconcile`; an alias that there is not is told of.

    Raises:
        ValueError: the time ends before it begins.
    """
    if since >= until:
        raise ValueError("The time ends before it begins.")
    report = Report(since, until, applied=apply)
    aliases = list(gateways or registry)
    return _keep(report, gateways=aliases, actor=actor, reason=reason.strip(), created_at=timezone.now())


def keep_report(report: Report) -> Comparison:
    """A comparison that is over, for staff to look at."""
    now = timezone.now()
    return _keep(report, gateways=[account.alias for account in report.accounts], created_at=now, finished_at=now)


def _keep(report: Report, **fields: Any) -> Comparison:
    span = {"since": report.since, "until": report.until, "applied": report.applied}
    kept = Comparison.objects.create(**span, report=report.as_dict(most=SHOWN), **fields)
    newest = Comparison.objects.values_list("pk", flat=True)[:KEPT]
    Comparison.objects.exclude(pk__in=list(newest)).delete()
    return kept


def report_of(comparison: Comparison) -> Report:
    """What it has found so far."""
    return Report.from_dict(comparison.report)


def go_on(comparison_id: UUID) -> Comparison:
    """Compare for some seconds, unless somebody else does; the row as it is then.

    Raises:
        Comparison.DoesNotExist: there is no such row.
    """
    now = timezone.now()
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    mine = Comparison.objects.filter(free, pk=comparison_id, finished_at=None)
    if mine.update(claimed_until=now + LEASE):
        try:
            _work(Comparison.objects.select_related("actor").get(pk=comparison_id))
        finally:
            Comparison.objects.filter(pk=comparison_id).update(claimed_until=None)
    return Comparison.objects.select_related("actor").get(pk=comparison_id)


def _work(row: Comparison) -> None:
    end = time.monotonic() + WORK_SECONDS
    while row.finished_at is None:
        _step(row)
        if time.monotonic() > end:
            return


def _step(row: Comparison) -> None:
    """Some time of one gateway; then it is written down how far that was."""
    alias, start, begun = row.gateways[row.place], row.reached or row.since, time.monotonic()
    end = min(start + timedelta(seconds=row.step_seconds), row.until)
    found = _compare(row, alias, start, end)
    report = report_of(row)
    report.take(found)
    took = time.monotonic() - begun
    longer, shorter = row.step_seconds * 2, row.step_seconds // 2
    paced = longer if took < SHORT else shorter if took > LONG else row.step_seconds
    row.step_seconds = min(max(paced, SHORTEST_STEP), LONGEST_STEP)
    row.reached = end
    if end >= row.until or found.accounts[0].trouble:
        row.place, row.reached = row.place + 1, None
    row.finished_at = timezone.now() if row.place == len(row.gateways) else None
    row.report = report.as_dict(most=SHOWN)
    row.claimed_until = timezone.now() + LEASE
    row.save(update_fields=("step_seconds", "place", "reached", "finished_at", "report", "claimed_until"))


def _compare(row: Comparison, alias: str, start: datetime, end: datetime) -> Report:
    try:
        return reconcile(start, end, gateways=[alias], apply=row.applied, actor=row.actor, reason=row.reason)
    except UnknownGateway as error:
        # Taken out of the settings since.
        trouble = Account(alias, trouble=f"{type(error).__name__}: {error}")
        return Report(start, end, applied=row.applied, accounts=[trouble])
