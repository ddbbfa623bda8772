"""What must hold in the books after anything: read from the database, asserted in one call."""

from django_gatewaypay.lifecycle import TRANSITIONS
from django_gatewaypay.models import Callback, Fulfilment, Transaction, TransactionEvent
from django_gatewaypay.types import State
from tests.shop.models import Order

REPLAYED = ("late", "attention", "captured_minor", "authorized_minor", "refunded_minor", "reason")


def check_books() -> None:
    """Every invariant that can be read from the database alone (reliability.md, list A)."""
    for row in Transaction.objects.all():
        check_ledger(row)
        check_money(row)
    check_fulfilments()


def check_ledger(row: Transaction) -> None:
    """Replaying the ledger gives the row; every move is legal and every version has one event."""
    changes = list(row.events.exclude(kind="noted").order_by("version"))
    assert [event.version for event in changes] == list(range(row.version + 1))
    for event in changes[1:]:
        legal = TRANSITIONS[State(event.from_state)]
        assert (event.kind == "moved") == (event.from_state != event.to_state)
        assert event.kind == "amended" or State(event.to_state) in legal
    assert [event.from_state for event in changes[1:]] == [event.to_state for event in changes[:-1]]
    assert changes[-1].to_state == row.state
    assert {name: getattr(changes[-1], name) for name in REPLAYED} == {name: getattr(row, name) for name in REPLAYED}


def check_money(row: Transaction) -> None:
    """Success is paid in full, with evidence; the order's fulfilment is owed only then."""
    if row.state != State.SUCCESS:
        assert not row.fulfilments.filter(kind="fulfil").exists()
        return
    assert row.captured_minor >= row.amount_minor
    move = TransactionEvent.objects.get(transaction=row, kind="moved", to_state=State.SUCCESS)
    assert move.callback_id is not None or move.source in {"poll", "return", "expiry", "cancel", "staff"}
    assert move.evidence["captured"].split()[1] == row.currency


def check_fulfilments() -> None:
    """Paid orders were fulfilled once or wait for staff; unpaid ones never."""
    for order in Order.objects.all():
        paid = Transaction.objects.filter(order_id=str(order.pk), state=State.SUCCESS)
        done = Fulfilment.objects.filter(order_id=str(order.pk), kind="fulfil", state="done").count()
        assert order.fulfilments == done <= 1
        assert done == 0 or paid.exists()
        assert done == 1 or all(row.attention for row in paid)
        assert paid.count() <= 1 or any("duplicate_payment" in row.attention for row in paid)


def check_inbox() -> None:
    """Nothing that was acknowledged is forgotten."""
    assert not Callback.objects.filter(state="received", next_attempt_at=None).exists()
