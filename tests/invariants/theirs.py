"""What our books and the gateway's own books show together, at any moment and when all is settled."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from django.utils import timezone

from django_gatewaypay.lifecycle.late import is_automatic
from django_gatewaypay.models import Transaction
from django_gatewaypay.money import InvalidAmount, parse_amount, to_minor
from django_gatewaypay.sandbox.models import SandboxDelivery, SandboxPayment, SandboxRefund
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import OPEN_STATES, State

from .books import Books, hold
from .ours import told_to_staff

__all__ = [
    "THEIRS",
    "GatewayBooks",
    "GatewayPayment",
    "GivenBack",
    "Opening",
    "SandboxBooks",
    "ServerBooks",
    "check_convergence",
]

ENDED = frozenset({"success", "failed", "canceled", "expired"})


@dataclass(frozen=True, kw_only=True)
class GatewayPayment:
    """What is true about a payment session, in the gateway's own books; `state` is a word of the hosted protocol."""

    reference: str
    transaction_id: str
    state: str
    currency: str
    captured_minor: int = 0


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What the gateway was asked to open: under which key, for whom, for how much, and in which bytes."""

    key: str
    transaction_id: str
    amount_minor: int
    currency: str
    body: str


@dataclass(frozen=True, kw_only=True)
class GivenBack:
    """One refund in the gateway's own books; `refund_id` is the id that it was asked for with."""

    reference: str
    refund_id: str
    payment: str
    amount_minor: int
    failed: bool


@runtime_checkable
class RefundBooks(Protocol):
    """A gateway whose refunds can be read too."""

    def refunds(self) -> Iterable[GivenBack]:
        """Every refund."""


class GatewayBooks(Protocol):
    """A gateway's own books.

    Args:
        aliases: whose transactions these are; all when empty.
    """

    aliases: Collection[str]

    def payments(self) -> Iterable[GatewayPayment]:
        """Every session."""

    def openings(self) -> Iterable[Opening]:
        """Every request for a session that the gateway has seen, retries too."""

    def acknowledged(self) -> Iterable[str]:
        """The ids of the genuine events that were answered 2xx."""


@dataclass
class ServerBooks:
    """The books of a `GatewayServer`. What it was answered, only the test knows: `answered` is for that."""

    server: GatewayServer
    aliases: Collection[str] = ()
    answered: list[str] = field(default_factory=list)

    def payments(self) -> Iterable[GatewayPayment]:
        for reference, session in list(self.server.sessions.items()):
            paid = session["status"] == "success"
            yield GatewayPayment(
                reference=reference,
                transaction_id=str(session.get("transaction_id") or ""),
                state=session["status"],
                currency=session["currency"],
                captured_minor=read_minor(session if paid else {**session, "amount": session.get("captured")}),
            )

    def openings(self) -> Iterable[Opening]:
        for request in list(self.server.requests):
            wanted = request.json
            if request.path.strip("/") == "create-session" and isinstance(wanted, dict):
                yield Opening(
                    key=request.key,
                    transaction_id=str(wanted.get("transaction_id")),
                    amount_minor=read_minor(wanted),
                    currency=str(wanted.get("currency")),
                    body=json.dumps(wanted, sort_keys=True),
                )

    def acknowledged(self) -> Iterable[str]:
        return list(self.answered)

    def refunds(self) -> Iterable[GivenBack]:
        for reference, refund in list(self.server.refunds.items()):
            yield GivenBack(
                reference=reference,
                refund_id=refund["refund_id"],
                payment=self.server._refunded[reference],
                amount_minor=read_minor(refund),
                failed=refund["status"] == "failed",
            )


@dataclass
class SandboxBooks:
    """The tables of the sandbox app."""

    aliases: Collection[str] = ()

    def payments(self) -> Iterable[GatewayPayment]:
        for payment in SandboxPayment.objects.all():
            paid = payment.status == State.SUCCESS
            yield GatewayPayment(
                reference=payment.reference,
                transaction_id=payment.transaction_id,
                state=str(payment.told_status),
                currency=payment.currency,
                captured_minor=payment.reported_minor if paid else 0,
            )

    def openings(self) -> Iterable[Opening]:
        for payment in SandboxPayment.objects.all():
            yield Opening(
                key=payment.idempotency_key,
                transaction_id=payment.transaction_id,
                amount_minor=payment.amount_minor,
                currency=payment.currency,
                body=payment.fingerprint,
            )

    def acknowledged(self) -> Iterable[str]:
        good = SandboxDelivery.objects.filter(flavour=SandboxDelivery.Flavour.GOOD)
        return list(good.exclude(delivered_at=None).values_list("event_id", flat=True))

    def refunds(self) -> Iterable[GivenBack]:
        for refund in SandboxRefund.objects.select_related("payment"):
            yield GivenBack(
                reference=refund.reference,
                refund_id=refund.refund_id,
                payment=refund.payment.reference,
                amount_minor=refund.amount_minor,
                failed=refund.status == "failed",
            )


def read_minor(facts: dict[str, Any]) -> int:
    """The amount on the wire in minor units; 0 where it is none."""
    try:
        return to_minor(parse_amount(facts.get("amount"), facts.get("currency")))
    except InvalidAmount:
        return 0


# --- At any moment.


def check_asked(books: Books, gateway: GatewayBooks) -> None:
    """5: the gateway was asked for exactly our amount in our currency."""
    for asked in gateway.openings():
        row = books.find(asked.transaction_id)
        exact = row and (asked.amount_minor, asked.currency) == (row.amount_minor, row.currency)
        hold(5, exact, f"{asked.transaction_id} was asked for as {asked.amount_minor} {asked.currency}")


def check_taken(books: Books, gateway: GatewayBooks) -> None:
    """6: what is success here was captured in full there, in our currency and on our session."""
    known = {payment.reference: payment for payment in gateway.payments()}
    for row in ours(books, gateway):
        if row.state != State.SUCCESS:
            continue
        payment = known.get(row.gateway_reference)
        hold(6, payment, f"{row.pk} is success; the gateway knows no session {row.gateway_reference}")
        told = payment and (payment.transaction_id, payment.captured_minor, payment.currency)
        due = (str(row.pk), row.whole_minor, row.currency)
        hold(6, told == due, f"{row.pk} is success; the gateway has {payment}")


def check_acknowledged(books: Books, gateway: GatewayBooks) -> None:
    """10: whatever was answered 2xx is in the inbox."""
    lost = set(gateway.acknowledged()) - {row.event_id for row in books.callbacks.values()}
    hold(10, not lost, f"acknowledged and lost: {sorted(lost)}")


def check_one_session(_: Books, gateway: GatewayBooks) -> None:
    """13: a transaction has at most one session that can be paid."""
    payable = [payment.transaction_id for payment in gateway.payments() if payment.state == "pending"]
    twice = [pk for pk, count in Counter(payable).items() if count > 1 and pk]
    hold(13, not twice, f"more than one open session: {twice}")


def check_same_key(books: Books, gateway: GatewayBooks) -> None:
    """14: a retry has the key and the bytes of the first try; a new key was written down before it was used."""
    keys: dict[str, dict[str, set[str]]] = {}
    for asked in gateway.openings():
        keys.setdefault(asked.transaction_id, {}).setdefault(asked.key, set()).add(asked.body)
    for pk, bodies in keys.items():
        row = books.find(pk)
        hold(14, row and len(bodies) <= row.key_number + 1, f"{pk} was asked for under the keys {sorted(bodies)}")
        hold(14, all(len(asked) == 1 for asked in bodies.values()), f"{pk} was asked for in other words: {bodies}")


def check_one_refund(books: Books, gateway: GatewayBooks) -> None:
    """14: however often it was told, the gateway has given back once for each refund, and the amount that it says."""
    given = gateway.refunds() if isinstance(gateway, RefundBooks) else ()
    known = {str(refund.pk): refund for refund in books.refunds.values()}
    seen: Counter[str] = Counter()
    for there in given:
        ours_of_it = known.get(there.refund_id)
        if ours_of_it is None:
            continue
        seen[there.refund_id] += 1
        hold(14, there.amount_minor == ours_of_it.amount_minor, f"{ours_of_it.pk} is {there} there")
        kept = {ours_of_it.gateway_reference, *(one.gateway_reference for one in known.values() if one.foreign)}
        forgotten = ours_of_it.state == "failed" and not there.failed and there.reference not in kept
        hold(14, not forgotten, f"{ours_of_it.pk} has failed, and there is {there}")
    hold(14, max(seen.values(), default=1) == 1, f"given back more than once: {seen.most_common(1)}")


def check_given_back(_: Books, gateway: GatewayBooks) -> None:
    """7: the gateway has never given back more than it took."""
    given: Counter[str] = Counter()
    for there in gateway.refunds() if isinstance(gateway, RefundBooks) else ():
        given[there.payment] += 0 if there.failed else there.amount_minor
    taken = {payment.reference: payment.captured_minor for payment in gateway.payments()}
    over = [reference for reference, minor in given.items() if minor > taken.get(reference, 0)]
    hold(7, not over, f"more given back than taken: {over}")


THEIRS: tuple[Callable[[Books, GatewayBooks], None], ...] = (
    check_asked, check_taken, check_acknowledged, check_one_session, check_same_key, check_one_refund, check_given_back,
)  # fmt: skip


# --- When the faults have stopped and the clocks have run.


def check_convergence(books: Books, gateway: GatewayBooks | None = None) -> None:
    """8, 16 and 17: everything has ended or waits for staff, nothing is owed, and both sides tell the same story."""
    for callback in books.callbacks.values():
        hold(16, callback.state != "received", f"callback {callback} was never worked on: {callback.last_error}")
        stuck = callback.state == "unmatched" and books.find(callback.transaction_ref)
        hold(16, not stuck, f"callback {callback} names {callback.transaction_ref} and was never matched")
    for owed in books.fulfilments.values():
        row = books.transactions[owed.transaction_id]
        told = owed.state == "dead" and "hook_dead" in told_to_staff(row, books.ledger[row.pk])
        hold(16, owed.state == "done" or told, f"{owed} of {row.pk} is {owed.state}, flagged {row.attention!r}")
    for row in books.transactions.values():
        _check_settled_row(books, row)
    if gateway:
        _check_same_story(books, gateway)


def _check_settled_row(books: Books, row: Transaction) -> None:
    overdue = row.state in {State.CREATED, State.PENDING} and row.expires_at <= timezone.now()
    hold(17, not overdue, f"{row.pk} is {row.state} after its time")
    hold(16, row.state != State.CREATED, f"{row.pk} was never opened")
    reviewed = told_to_staff(row, books.ledger[row.pk]) & {"late", "duplicate_payment", "hook_dead"}
    went_back = any(is_automatic(one) for one in books.refunds.values() if one.transaction_id == row.pk)
    if row.state == State.SUCCESS and not reviewed and not went_back:
        order = books.orders.get(row.order_id)
        hold(8, order and order.fulfilments == 1, f"order {row.order_id} is paid by {row.pk} and not fulfilled")


def _check_same_story(books: Books, gateway: GatewayBooks) -> None:
    for payment in gateway.payments():
        row = books.find(payment.transaction_id)
        if payment.captured_minor:
            hold(16, row, f"{payment} is paid there and unknown here")
        if row is None:
            continue
        if payment.captured_minor:
            _check_money_is_seen(books, row, payment)
        mine = payment.reference == row.gateway_reference
        stuck = mine and payment.state in ENDED and row.state in OPEN_STATES
        hold(16, not stuck, f"{row.pk} is {row.state}; the gateway has {payment.state}")


def _check_money_is_seen(books: Books, row: Transaction, payment: GatewayPayment) -> None:
    right = (payment.reference, payment.captured_minor, payment.currency)
    if payment.state == "authorized":
        hold(16, row.captured_minor == payment.captured_minor, f"{row.pk}: {payment} was captured in part there")
    elif right == (row.gateway_reference, row.whole_minor, row.currency):
        hold(16, row.state == State.SUCCESS, f"{row.pk} is {row.state}; it was paid in full there")
    else:
        hold(16, told_to_staff(row, books.ledger[row.pk]), f"{row.pk}: nobody is told of {payment}")


def ours(books: Books, gateway: GatewayBooks) -> list[Transaction]:
    """The transactions of a gateway's account."""
    return [row for row in books.transactions.values() if not gateway.aliases or row.gateway in gateway.aliases]
