"""Whether all is right, read from the database, the gateway's books and what the shoppers were told."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Q
from django.utils import timezone

from django_gatewaypay.models import Callback, Fulfilment, Refund, Transaction
from django_gatewaypay.types import OPEN_STATES, MovementState, State
from tests.invariants import ServerBooks, Violation, check_settled
from tests.shop.models import Order

__all__ = ["judge", "stuck", "unseen"]

OPEN = [str(state) for state in OPEN_STATES]
ENDED = [MovementState.SUCCEEDED.value, MovementState.FAILED.value]
REVIEWED = frozenset({"late", "duplicate_payment"})
EXAMPLES = 5


def stuck() -> dict[str, int]:
    """What has not come to its end, by kind."""
    unfinished = Q(state=Callback.State.RECEIVED) | Q(state=Callback.State.UNMATCHED, next_attempt_at__isnull=False)
    counts = Counter({
        f"payment {state}": Transaction.objects.filter(state=state).count() for state in OPEN
    })  # fmt: skip
    counts["callback"] = Callback.objects.filter(unfinished).count()
    counts["refund"] = Refund.objects.exclude(state__in=ENDED).count()
    counts["fulfilment"] = Fulfilment.objects.filter(state=Fulfilment.State.OWED).count()
    return {kind: count for kind, count in counts.items() if count}


def unseen(sessions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Payments that were captured there and are neither success here nor before the eyes of staff."""
    rows = {str(row.pk): row for row in Transaction.objects.all()}
    return [
        f"{session['transaction_id']} ({reference}) is paid at the gateway and {state_of(row)} here"
        for reference, session in list(sessions.items())
        if session["status"] == "success"
        for row in [rows.get(str(session["transaction_id"]))]
        if row is None or (row.state != State.SUCCESS and not row.attention)
    ]


def state_of(row: Transaction | None) -> str:
    return "unknown" if row is None else str(row.state)


def judge(
    gateway: Any, acknowledged: Iterable[str], told: Mapping[str, str], odd: Iterable[str]
) -> dict[str, list[str]]:
    """What is wrong, by kind; every list should be empty."""
    rows = list(Transaction.objects.all())
    effects = {str(order.pk): order.fulfilments for order in Order.objects.all()}
    known = set(Callback.objects.values_list("event_id", flat=True))
    wrong = {
        "lost": unseen(gateway.sessions),
        "double": [f"order {pk} was fulfilled {count} times" for pk, count in effects.items() if count > 1],
        "unfulfilled": [
            f"order {row.order_id} is paid by {row.pk} and not fulfilled"
            for row in rows
            if row.state == State.SUCCESS and not row.attention_codes & REVIEWED and not effects[row.order_id]
        ],
        "over_refunded": [*over_refunded(gateway), *unlike(gateway)],
        "stuck": [f"{count} {kind}" for kind, count in stuck().items()],
        "overdue": [
            f"{row.pk} is {row.state}" for row in rows if row.state in OPEN and row.expires_at < timezone.now()
        ],
        "acknowledged_missing": [f"event {event}" for event in sorted(set(acknowledged) - known)],
        "told": [
            f"{row.pk} was told as success and is {row.state}"
            for row in rows
            if told.get(str(row.pk)) == "success" != row.state
        ],
        "odd": list(odd),
    }
    return {**wrong, "invariant": list(broken(gateway, acknowledged))}


def over_refunded(gateway: Any) -> Iterable[str]:
    """More given back than was taken, or twice for one intent."""
    given: Counter[str] = Counter()
    books = ServerBooks(gateway)
    for refund in books.refunds():
        given[refund.payment] += 0 if refund.failed else refund.amount_minor
    taken = {payment.reference: payment.captured_minor for payment in books.payments()}
    for reference, minor in given.items():
        if minor > taken[reference]:
            yield f"{minor} of {taken[reference]} was given back of {reference}"
    for refund_id, count in Counter(refund.refund_id for refund in books.refunds()).items():
        if count > 1:
            yield f"refund {refund_id} was made {count} times"


def unlike(gateway: Any) -> Iterable[str]:
    """Refunds that ended otherwise here than there: what counts as failed, and is not, would be given back again."""
    there = {refund["refund_id"]: refund["status"] for refund in list(gateway.refunds.values())}
    here = {str(refund.pk): str(refund.state) for refund in Refund.objects.filter(foreign=False)}
    for pk in there.keys() | here.keys():
        ended = here.get(pk, "unknown"), there.get(pk, "failed")
        if ended[0] != ended[1]:
            yield f"refund {pk} is {ended[0]} here and {ended[1]} at the gateway"


def broken(gateway: Any, acknowledged: Iterable[str]) -> Iterable[str]:
    """The first of the 24 invariants that does not hold."""
    try:
        check_settled(ServerBooks(gateway, answered=list(acknowledged)))
    except Violation as violation:
        yield str(violation)
