"""Our books and the gateways', payment by payment, in both directions.

Nothing is locked, and nothing is kept but a day's ids and what differs: the gateway's list is read page by page, our
rows batch by batch.
"""

import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from moneyed import Money

from ..exceptions import GatewayError, GatewayRejected, PaymentInProgress, UnknownGateway, UnsupportedOperation
from ..lifecycle import apply_update
from ..models import Transaction
from ..registry import gateways as registry
from ..types import CLOSED_STATES, ListedPayment, PaymentUpdate, Source, State
from . import access, matching
from .comparing import Finding, Kind, compare, ended_unpaid, has_money, is_other_session
from .matching import batches, finder
from .moments import as_theirs
from .recovering import recover
from .refreshing import ask_gateway, asked_nothing, is_other_mode, refresh
from .reporting import Account, Difference, Report
from .sweeping import poll_one

__all__ = ["reconcile"]

logger = logging.getLogger("gatewaypay.reconcile")

#: How much is compared at once: the ids of so much time are kept.
WINDOW = timedelta(days=1)
UNKNOWN_THERE = frozenset({404, 410})
Progress = Callable[[Account], None]


def reconcile(
    since: datetime,
    until: datetime | None = None,
    *,
    gateways: Collection[str] = (),
    apply: bool = False,
    flag: bool = False,
    actor: Any = None,
    reason: str = "",
    progress: Progress | None = None,
) -> Report:
    """Compare our payments of a time with the gateways'.

    Args:
        since, until: when the payments were made; until now, when None.
        gateways: aliases; all of `GATEWAYS` when empty.
        apply: what differs is refreshed, and what is missing here is written again and held for staff.
        flag: what (still) differs gets the attention code `unreconciled`; goes without saying with `apply`.
        actor: who wants it, for the ledger of what is mended.
        reason: why, likewise.
        progress: is called now and then with the account that is being compared.

    Raises:
        UnknownGateway: no such alias.
        ValueError: the time ends before it begins.
    """
    until = until or timezone.now()
    if since >= until:
        raise ValueError("The time ends before it begins.")
    unknown = [alias for alias in gateways if alias not in registry]
    if unknown:
        raise UnknownGateway(f"There is no gateway {unknown[0]!r}.")
    report = Report(since, until, applied=apply)
    wish = Wish(apply, flag or apply, actor, reason)
    for alias in gateways or registry:
        account = Account(alias)
        report.accounts.append(account)
        Run(report, account, wish, progress).go()
    logger.info("reconciled since=%s until=%s %s", since.isoformat(), until.isoformat(), report.summary)
    return report


@dataclass(frozen=True)
class Wish:
    """What is to be done about what differs, and on whose word."""

    apply: bool
    flag: bool
    actor: Any
    reason: str

    def source(self, otherwise: Source) -> Source:
        return Source.STAFF if self.actor else otherwise

    def note(self, words: str) -> str:
        return " · ".join(filter(None, (self.reason, words)))


class Run:
    """One account, compared once."""

    def __init__(self, report: Report, account: Account, wish: Wish, progress: Progress | None) -> None:
        self.report, self.account, self.wish = report, account, wish
        self.progress = progress or (lambda _: None)
        self.gateway = registry[account.alias]
        #: What was asked for on the day before: our clock and the gateway's may put a payment into two days.
        self.asked = set[uuid.UUID]()

    def go(self) -> None:
        """Day after day; a gateway that does not answer ends it, and the account says so."""
        account, start = self.account, self.report.since
        account.listed, account.asked = self.gateway.supports_list, self.gateway.supports_fetch
        try:
            while start < self.report.until:
                end = min(start + WINDOW, self.report.until)
                seen = self._read_theirs(start, end)
                if account.asked:
                    self._read_ours(start, end, seen)
                start = end
        except GatewayError as error:
            account.trouble = f"{type(error).__name__}: {error}"
            logger.warning("not compared to the end gateway=%s error=%s", account.alias, type(error).__name__)

    # --- Theirs: is it here?

    def _read_theirs(self, start: datetime, end: datetime) -> set[uuid.UUID]:
        """Compare everything that the gateway lists; the payments of ours that are in it."""
        seen = set[uuid.UUID]()
        if not self.account.listed:
            return seen
        try:
            for page in batches(self.gateway.list_payments(as_theirs(start), as_theirs(end))):
                seen |= self._compare_page(page)
                self.progress(self.account)
        except UnsupportedOperation:
            self.account.listed = False
        return seen

    def _compare_page(self, page: Sequence[ListedPayment]) -> set[uuid.UUID]:
        find, seen = finder(self.account.alias, page), set[uuid.UUID]()
        for listed in page:
            self.account.theirs += 1
            row = find(listed)
            if row is not None and row.gateway == self.account.alias:
                seen.add(row.pk)
                self._meet(row, listed)
            elif row is None and (pk := self._named(listed.update)):
                seen.add(pk)
                self._miss(listed)
            else:
                self.account.foreign += 1
        return seen

    def _named(self, update: PaymentUpdate) -> uuid.UUID | None:
        """An id such as ours that it carries; not that of play money where we take real, or the reverse."""
        other_mode = update.test is not None and update.test is not self.gateway.test_mode
        return None if other_mode else access.parse_id(update.transaction_id)

    def _meet(self, row: Transaction, listed: ListedPayment) -> None:
        if row.pk in self.asked:
            return
        self.account.ours += 1
        if is_other_session(row, listed.update):
            self._note_session(row, listed.update)
        elif any(compare(row, listed.update, listed.amount)):
            # The list is older than the row may be by now: both are read again before anything is said.
            row = Transaction.objects.get(pk=row.pk)
            self._settle(row, self._ask(row) or listed.update, listed.amount)

    def _note_session(self, row: Transaction, update: PaymentUpdate) -> None:
        """Money on another session than ours is the shopper's second payment, or a stranger's."""
        if not has_money(update) or is_other_mode(row, update):
            return
        if self.wish.flag:
            wish, note = self.wish, self.wish.note("found in the gateway's list")
            apply_update(row.pk, update, source=wish.source(Source.POLL), actor=wish.actor, note=note)
        self._report(row, Finding(Kind.SESSION, row.gateway_reference, update.gateway_reference))

    def _miss(self, listed: ListedPayment) -> None:
        """Nobody here knows a payment that names us."""
        update, unpaid = listed.update, ended_unpaid(listed.update)
        done = self._recover(listed) if self.wish.apply and not unpaid else ""
        money = listed.amount or update.captured or update.authorized
        words = [str(update.state or "unknown"), f"{money.amount:f} {money.currency.code}" if money else ""]
        difference = Difference(
            kind=Kind.MISSING_UNPAID if unpaid else Kind.MISSING_HERE,
            gateway=self.account.alias,
            transaction_id=update.transaction_id,
            order_id=listed.order_id,
            reference=update.gateway_reference,
            ours="",
            theirs=" ".join(words).strip(),
            done=done,
            mended=done.startswith("recovered"),
        )
        self.report.add(difference)
        if difference.matters:
            logger.error("missing here gateway=%s transaction=%r", self.account.alias, update.transaction_id)

    def _recover(self, listed: ListedPayment) -> str:
        try:
            row = recover(self.account.alias, listed, actor=self.wish.actor, reason=self.wish.reason)
        except PaymentInProgress:
            return "not written: another payment of its order is open"
        return f"recovered as {row.state}" if row else "not written: the gateway does not say enough"

    # --- Ours: is it there?

    def _read_ours(self, start: datetime, end: datetime, seen: set[uuid.UUID]) -> None:
        """Ask about every payment of ours that was in no list."""
        asked = set[uuid.UUID]()
        for rows in batches(self._ours(start, end)):
            for row in rows:
                if row.pk not in seen and row.pk not in self.asked and self._is_expected(row):
                    asked.add(row.pk)
                    self._look_for(row)
            self.progress(self.account)
        self.asked = asked

    def _ours(self, start: datetime, end: datetime) -> Iterator[Transaction]:
        """Our payments that the gateway has, by keyset: no cursor stays open while a gateway is asked."""
        rows = Transaction.objects.filter(gateway=self.account.alias, created_at__gte=start, created_at__lt=end)
        rows = rows.exclude(gateway_reference="").order_by("created_at", "pk")
        batch = list(rows[: matching.BATCH])
        while batch:
            yield from batch
            last = batch[-1]
            later = Q(created_at__gt=last.created_at) | Q(created_at=last.created_at, pk__gt=last.pk)
            batch = list(rows.filter(later, created_at__gte=last.created_at)[: matching.BATCH])

    def _is_expected(self, row: Transaction) -> bool:
        """A list of payments need not have what was never paid."""
        self.account.ours += 1
        return not (self.account.listed and row.state in CLOSED_STATES and not row.captured_minor)

    def _look_for(self, row: Transaction) -> None:
        try:
            update = self._ask(row)
        except GatewayRejected:
            finding = Finding(Kind.MISSING_THERE, f"{row.state} {row.amount_text} {row.currency}", "")
            self._flag(row, [finding])
            self._report(row, finding)
            return
        if update is not None:
            self._settle(Transaction.objects.get(pk=row.pk), update)

    def _ask(self, row: Transaction) -> PaymentUpdate | None:
        """The gateway's word; None when it gives no answer this once.

        Raises:
            GatewayRejected: it knows of no such payment.
            GatewayUnavailable: it is down, and left alone.
        """
        try:
            return ask_gateway(row)
        except GatewayError as error:
            unknown = isinstance(error, GatewayRejected) and error.status in UNKNOWN_THERE
            if unknown or asked_nothing(error):
                raise
            self.account.unanswered += 1
            return None

    # --- What differs.

    def _settle(self, row: Transaction, update: PaymentUpdate, asked: Money | None = None) -> None:
        """Mend what can be mended, flag the rest, and tell of all."""
        if is_other_mode(row, update):
            return
        found = list(compare(row, update, asked))
        if found and self.wish.apply:
            row = self._refresh(row)
        left = {finding.kind for finding in compare(row, update, asked)}
        self._flag(row, [finding for finding in found if finding.kind in left])
        for finding in found:
            done = ("still differs" if finding.kind in left else "refreshed") if self.wish.apply else ""
            self._report(row, finding, done, mended=finding.kind not in left)

    def _refresh(self, row: Transaction) -> Transaction:
        if row.state == State.CREATED:
            # Its session was opened, and we never heard of it: the clock opens it again under the same key.
            Transaction.objects.filter(pk=row.pk).update(next_poll_at=timezone.now())
            poll_one(row.pk)
        try:
            source = self.wish.source(Source.POLL)
            return refresh(row.pk, source=source, actor=self.wish.actor, reason=self.wish.reason)
        except GatewayError:
            self.account.unanswered += 1
            return row

    def _flag(self, row: Transaction, findings: Iterable[Finding]) -> None:
        words = ", ".join(f"{finding.kind}: {finding.ours or '-'} / {finding.theirs or '-'}" for finding in findings)
        if words and self.wish.flag:
            source, note = self.wish.source(Source.SYSTEM), self.wish.note(words)
            nothing, actor = PaymentUpdate(), self.wish.actor
            apply_update(row.pk, nothing, source=source, actor=actor, flags=("unreconciled",), note=note)

    def _report(self, row: Transaction, finding: Finding, done: str = "", *, mended: bool = False) -> None:
        self.report.add(
            Difference(
                kind=finding.kind,
                gateway=row.gateway,
                transaction_id=str(row.pk),
                order_id=row.order_id,
                reference=row.gateway_reference,
                ours=finding.ours,
                theirs=finding.theirs,
                done=done,
                mended=mended,
            )
        )
