"""The page about very many payments is followed to the letter, and the door works on."""

import re
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction
from django.utils.timezone import now

from django_gatewaypay.lifecycle import apply_update
from django_gatewaypay.models import Transaction, TransactionEvent
from django_gatewaypay.types import PaymentUpdate, Source, State

from ..conftest import REPOSITORY
from ..factories import make_transaction

PAGE = (REPOSITORY / "docs" / "how-to" / "partition.md").read_text()
DIVIDE, MONTH, LET_GO = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]


def run(sql: str) -> list[Any]:
    """Some statements of the page; the answer to the last one, where there is any."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def lines() -> list[tuple[str, str, int]]:
    """Each line of the ledger with the table that it is in."""
    return run("SELECT tableoid::regclass::text, to_state, version FROM gatewaypay_transactionevent ORDER BY id")


@pytest.fixture
def old(db: None) -> Transaction:
    """A payment of December, whose ledger was divided by month afterwards; all is undone after the test."""
    if connection.pg_version < 170000:
        pytest.skip("PostgreSQL divides identity columns from 17 on")
    with time_machine.travel("2026-12-20", tick=False):
        row = make_transaction(State.PENDING)
    for statements in ("SET CONSTRAINTS ALL IMMEDIATE", DIVIDE, MONTH):
        run(statements)
    return row


def test_lines_go_into_their_month(old: Transaction) -> None:
    """Those that were there stay readable; what the door writes later is in the month of its moment, or in the rest."""
    with time_machine.travel("2027-01-09", tick=False):
        apply_update(old.pk, PaymentUpdate(state=State.PROCESSING), source=Source.POLL)
    with time_machine.travel("2027-02-02", tick=False):
        apply_update(old.pk, PaymentUpdate(state=State.SUCCESS, captured=old.amount), source=Source.POLL)

    assert lines() == [
        ("gatewaypay_ledger_before", "created", 0),
        ("gatewaypay_ledger_before", "pending", 1),
        ("gatewaypay_ledger_2027_01", "processing", 2),
        ("gatewaypay_ledger_rest", "success", 3),
    ]
    assert [line.to_state for line in old.events.all()] == ["created", "pending", "processing", "success"]


def test_a_version_is_written_once_by_the_door(old: Transaction) -> None:
    """What the database does not refuse any more, the door does not do; in the old table it is refused as before."""
    with time_machine.travel("2027-01-09", tick=False):
        apply_update(old.pk, PaymentUpdate(state=State.PROCESSING), source=Source.POLL)
        apply_update(old.pk, PaymentUpdate(state=State.PROCESSING), source=Source.CALLBACK)

    assert [version for _, _, version in lines()] == [0, 1, 2]
    with time_machine.travel("2026-12-21"), pytest.raises(IntegrityError), transaction.atomic():
        again(old, version=1)


def test_a_line_still_needs_its_payment(old: Transaction) -> None:
    """The foreign keys hold in a month as they did before."""
    with time_machine.travel("2027-01-09"), pytest.raises(IntegrityError, match="2027_01"), transaction.atomic():
        again(old, transaction_id="00000000-0000-0000-0000-000000000000", version=9)


def test_a_month_that_is_let_go_still_keeps_its_payments(old: Transaction) -> None:
    """Its lines are out of the ledger; until its table is dropped the payment cannot be deleted."""
    with time_machine.travel("2027-01-09", tick=False):
        new = make_transaction(State.PENDING)
    run("SET CONSTRAINTS ALL IMMEDIATE")
    run(LET_GO)

    assert not new.events.exists()
    assert old.events.count() == 2
    gone = f"DELETE FROM gatewaypay_transaction WHERE id = '{new.pk}'"  # noqa: S608 - a key of ours
    with pytest.raises(IntegrityError), transaction.atomic():
        run(gone)
    run("DROP TABLE gatewaypay_ledger_2027_01")
    run(gone)


def again(row: Transaction, **changes: Any) -> None:
    """A line as somebody would write it who goes past the door."""
    known = {"transaction_id": row.pk, "kind": "moved", "to_state": "pending", "source": "poll", "created_at": now()}
    TransactionEvent.objects.create(**known | changes)
