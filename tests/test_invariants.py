"""The checkers see what they are for: each invariant is broken by hand, and its own number is raised."""

import importlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone
from moneyed import Money

from django_gatewaypay import announcer, dispatch, services
from django_gatewaypay.models import Callback, Fulfilment, Refund, Transaction, TransactionEvent
from django_gatewaypay.sandbox.models import SandboxDelivery, SandboxPayment
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import CallbackRequest, State
from tests.factories import make_order, make_transaction
from tests.invariants import (
    INVARIANTS,
    Books,
    GatewayBooks,
    SandboxBooks,
    ServerBooks,
    Violation,
    Watch,
    check_books,
    check_inbox,
    check_settled,
    in_transaction,
    nothing_written,
)
from tests.invariants.ours import OURS
from tests.invariants.passing import check_since
from tests.invariants.theirs import THEIRS, check_convergence
from tests.shop.models import Order

pytestmark = pytest.mark.django_db

NOW = timezone.now


def broken(gateway: GatewayBooks | None = None, since: Books | None = None) -> set[int]:
    """The numbers of all invariants that do not hold."""
    books = Books.read()
    checks: list[Callable[[], None]] = [lambda check=check: check(books) for check in OURS]  # type: ignore[misc]
    if gateway is not None:
        checks += [lambda check=check: check(books, gateway) for check in THEIRS]  # type: ignore[misc]
    if since is not None:
        checks.append(lambda: check_since(since, books))
    return {number for check in checks if (number := number_of(check))}


def number_of(check: Callable[[], Any]) -> int:
    """Which invariant a check finds broken; 0 when it finds none."""
    try:
        check()
    except Violation as violation:
        return violation.number
    return 0


def unsettled(gateway: GatewayBooks | None = None) -> int:
    return number_of(lambda: check_convergence(Books.read(), gateway))


@pytest.fixture
def row(hosted: GatewayServer) -> Transaction:
    """A payment that was started, paid, told by a callback, and delivered to its order."""
    started = services.initiate(str(make_order().pk)).transaction
    hosted.pay(started.gateway_reference)
    [pk] = services.receive_callback("hosted", message(hosted, started))
    services.process_callback(pk)
    for owed in Fulfilment.objects.all():
        dispatch.deliver(owed.pk)
    started.refresh_from_db()
    return started


def message(hosted: GatewayServer, row: Transaction, **said: Any) -> CallbackRequest:
    return CallbackRequest(*hosted.callback(row.gateway_reference, **said))


def change(row: Any, **values: Any) -> None:
    """What no code of ours does: an UPDATE that goes round the door."""
    type(row)._default_manager.filter(pk=row.pk).update(**values)


def last_move(row: Transaction) -> TransactionEvent:
    return row.events.filter(kind="moved").order_by("version")[row.events.filter(kind="moved").count() - 1]


def evidence(row: Transaction, **values: Any) -> None:
    event = last_move(row)
    change(event, evidence={**event.evidence, **values})


def write_event(row: Transaction, **values: Any) -> TransactionEvent:
    known = {"transaction": row, "kind": "noted", "version": row.version, "from_state": row.state}
    known |= {"to_state": row.state, "source": "poll", "created_at": NOW()}
    return TransactionEvent.objects.create(**{**known, **values})


def write_callback(**values: Any) -> Callback:
    known = {"gateway": "hosted", "event_id": "evt_planted", "update": {"state": "success"}, "received_at": NOW()}
    return Callback.objects.create(**{**known, "next_attempt_at": NOW(), **values})


def write_second_payment(row: Transaction) -> None:
    """The order was paid twice, and nobody is told."""
    second = make_transaction(State.SUCCESS, order=Order.objects.get(pk=row.order_id), gateway="wallet")
    change(second, attention="")
    second.events.update(attention="")


def give_back(row: Transaction) -> Refund:
    """A refund of 5.00, done."""
    return services.refund(row.pk, Money("5.00", "EUR"), reason="returned")


PLANTS: dict[str, tuple[int, Callable[[Transaction], Any]]] = {
    "success without a callback": (1, lambda row: change(last_move(row), callback=None)),
    "success by the shop's own word": (1, lambda row: change(last_move(row), source="system", callback=None)),
    "success because of a failure": (1, lambda row: evidence(row, state="failed")),
    "success was left": (3, lambda row: change(row, state="failed")),
    "success was left, with an entry": (
        3,
        lambda row: write_event(row, kind="moved", version=row.version + 1, to_state="held"),
    ),
    "a move without an entry": (4, lambda row: change(row, version=row.version + 1)),
    "an entry too many": (4, lambda row: write_event(row, kind="amended", version=row.version + 1)),
    "a move down the ladder": (4, lambda row: change(last_move(row), from_state="success", to_state="pending")),
    "money beside the ledger": (4, lambda row: change(row, captured_minor=5000, attention="mismatch")),
    "a flag that was wiped away": (4, lambda row: change(row, attention="late")),
    "a total that fell": (5, lambda row: change(row, captured_minor=1)),
    "no currency": (5, lambda row: change(row, currency="XXQ")),
    "success for a cent": (6, lambda row: evidence(row, captured="0.01 EUR")),
    "success in another currency": (6, lambda row: evidence(row, captured="19.99 USD")),
    "success without money": (6, lambda row: evidence(row, captured="")),
    "success on another session": (6, lambda row: evidence(row, gateway_reference="ps_other")),
    "success with less than the amount": (6, lambda row: change(row, captured_minor=1998)),
    "overpaid in silence": (6, lambda row: change(row, captured_minor=2000)),
    "a part for the whole, and nobody agreed": (6, lambda row: change(row, captured_minor=1500, agreed_minor=1500)),
    "held in silence": (6, lambda row: change(row, state="held")),
    "more given back than taken": (7, lambda row: change(row, refunded_minor=2000)),
    "a refund whose money is not set aside": (7, lambda row: [give_back(row), change(row, refunding_minor=0)]),
    "money set aside for no refund": (7, lambda row: change(row, refunding_minor=1)),
    "money set aside for no capture": (7, lambda row: change(row, authorized_minor=1, capturing_minor=1)),
    "more refunded than taken": (7, lambda row: change(give_back(row), amount_minor=2000)),
    "gone, and not counted": (7, lambda row: [give_back(row), change(row, returned_minor=0)]),
    "come back, and not counted": (7, lambda row: change(give_back(row), state="failed")),
    "a refund that nobody has begun": (4, lambda row: give_back(row).transaction.events.filter(kind="refund").delete()),
    "a refund that fell": (4, lambda row: change(give_back(row), state="submitted", next_attempt_at=NOW())),
    "over, and tried again": (23, lambda row: change(give_back(row), next_attempt_at=NOW())),
    "a refund that is never tried again": (23, lambda row: change(give_back(row), state="unknown")),
    "a refund that is tried for ever": (
        23,
        lambda row: change(give_back(row), state="unknown", next_attempt_at=NOW(), attempts=17),
    ),
    "for a person and for the clock": (
        23,
        lambda row: change(give_back(row), state="requested", needs_approval=True, next_attempt_at=NOW()),
    ),
    "a refund without a reason": (24, lambda row: change(give_back(row), reason="")),
    "a refund that nobody else has seen": (24, lambda row: change(give_back(row), needs_approval=True)),
    "fulfilled twice": (8, lambda row: Order.objects.filter(pk=row.order_id).update(fulfilments=2)),
    "fulfilled and forgotten": (8, lambda row: row.fulfilments.update(state="owed", next_attempt_at=NOW())),
    "fulfilled under another key": (8, lambda row: row.fulfilments.update(key="fulfil:other")),
    "fulfilled for a failure": (8, lambda row: change(row, state="failed")),
    "released without a release": (8, lambda row: Order.objects.filter(pk=row.order_id).update(releases=1)),
    "paid, and nothing is owed": (9, lambda row: row.fulfilments.all().delete()),
    "a release of a payment that never ended": (
        9,
        lambda row: Fulfilment.objects.create(
            key=f"release:{row.pk}", kind="release", order_id=row.order_id, transaction=row, created_at=NOW()
        ),
    ),
    "a callback that nobody will work on": (10, lambda row: row.callbacks.update(state="received")),
    "a callback that was done without being done": (10, lambda row: row.callbacks.update(processed_at=None)),
    "one callback, two effects": (
        11,
        lambda row: write_event(row, kind="amended", version=row.version + 1, callback=row.callbacks.get()),
    ),
    "the gateway's word was passed over": (12, lambda row: change(row, state="pending")),
    "paid twice in silence": (13, write_second_payment),
    "late in silence": (17, lambda row: change(row, late=True)),
    "money taken and told as a failure": (17, lambda row: change(row, state="expired")),
    "a callback of another account": (20, lambda row: row.callbacks.update(gateway="wallet")),
    "open, and never asked about": (23, lambda row: change(row, state="pending", next_poll_at=None)),
    "owed, and never tried again": (23, lambda row: row.fulfilments.update(state="owed", next_attempt_at=None)),
    "given up without a word": (23, lambda row: row.fulfilments.update(state="dead", last_error="")),
    "tried for ever": (23, lambda row: write_callback(attempts=10)),
    "staff without a name": (24, lambda row: write_event(row, source="staff")),
    "staff without a before": (24, lambda row: write_event(row, from_state="")),
}


@pytest.mark.checker
@pytest.mark.parametrize("name", PLANTS)
def test_a_broken_book_is_seen(row: Transaction, hosted: GatewayServer, name: str) -> None:
    """Whatever is planted raises its own number, and nothing was raised before."""
    number, plant = PLANTS[name]
    assert broken(ServerBooks(hosted)) == set()
    plant(row)

    assert number in broken(ServerBooks(hosted))
    with pytest.raises(Violation):
        check_books()


@pytest.fixture
def accepted(hosted: GatewayServer) -> Transaction:
    """A payment of too little that a person has taken as it is, delivered to its order."""
    started = services.initiate(str(make_order().pk)).transaction
    hosted.pay(started.gateway_reference, "5.00")
    services.refresh(started.pk)
    staff = get_user_model().objects.create_user("night")
    services.accept(started.pk, reason="a regular customer", actor=staff)
    for owed in Fulfilment.objects.all():
        dispatch.deliver(owed.pk)
    started.refresh_from_db()
    return started


def forget(row: Transaction, name: str) -> None:
    event = last_move(row)
    change(event, evidence={key: value for key, value in event.evidence.items() if key != name})


FORGED: dict[str, tuple[int, Callable[[Transaction], Any]]] = {
    "taken for the whole by nobody": (1, lambda row: change(last_move(row), actor=None)),
    "taken for the whole by the shop": (1, lambda row: change(last_move(row), source="system")),
    "taken for the whole without a reason": (1, lambda row: change(last_move(row), note=" ")),
    "nobody has agreed to it": (1, lambda row: forget(row, "agreed_minor")),
    "another total was agreed to": (6, lambda row: evidence(row, agreed_minor=400)),
    "agreed to beside the ledger": (6, lambda row: change(row, agreed_minor=400)),
}


@pytest.mark.checker
@pytest.mark.parametrize("name", FORGED)
def test_a_decision_that_nobody_has_taken_is_seen(accepted: Transaction, hosted: GatewayServer, name: str) -> None:
    """A success of another total needs a person, a reason, and that very total in the ledger."""
    number, plant = FORGED[name]
    check_settled(hosted)
    plant(accepted)

    assert number in broken()


@pytest.mark.checker
def test_a_flag_that_went_by_itself_is_seen(row: Transaction) -> None:
    """A second payment leaves the queue because somebody has said so, or not at all."""
    second = make_transaction(State.SUCCESS, order=Order.objects.get(pk=row.order_id), gateway="wallet")
    staff = get_user_model().objects.create_user("night")
    services.accept(second.pk, reason="a gift", actor=staff)
    check_settled()
    change(second.events.get(actor=staff), evidence={})

    assert broken() == {13}


REWRITES: dict[str, tuple[int, Callable[[Transaction], Any]]] = {
    "success was taken back": (3, lambda row: change(row, state="pending")),
    "an older version": (4, lambda row: change(row, version=row.version - 1)),
    "an entry was edited": (4, lambda row: change(row.events.latest("pk"), note="nothing happened")),
    "an entry was deleted": (4, lambda row: row.events.filter(pk=row.events.latest("pk").pk).delete()),
    "another price": (5, lambda row: change(row, amount_minor=1)),
    "another currency": (5, lambda row: change(row, currency="USD")),
    "another account": (5, lambda row: change(row, gateway="wallet")),
    "another order": (5, lambda row: change(row, order_id="1000000")),
    "another session": (5, lambda row: change(row, gateway_reference="ps_other")),
    "a fulfilment is owed again": (8, lambda row: row.fulfilments.update(state="owed")),
    "an outbox row is gone": (9, lambda row: row.fulfilments.all().delete()),
    "an event says something else": (10, lambda row: row.callbacks.update(update={"state": "failed"})),
    "an event is new again": (10, lambda row: row.callbacks.update(state="received")),
}


@pytest.mark.checker
@pytest.mark.parametrize("name", REWRITES)
def test_what_was_written_stays_written(row: Transaction, name: str) -> None:
    """A later reading that contradicts an earlier one is seen."""
    number, plant = REWRITES[name]
    earlier = check_books()
    check_books(since=earlier)
    plant(row)

    assert number_of(lambda: check_since(earlier, Books.read())) == number
    with pytest.raises(Violation):
        check_books(since=earlier)


# --- Beside the gateway's own books.


def open_again(hosted: GatewayServer, row: Transaction, key: str, **fields: Any) -> None:
    """The gateway is asked for a session once more, in another way."""
    asked = next(request.json for request in hosted.requests if request.path == "/create-session")
    body = json.dumps({**asked, **fields})
    requests.post(f"{hosted.url}create-session", data=body, headers={"Idempotency-Key": key}, timeout=60)


def tell_again(hosted: GatewayServer, row: Transaction, **said: Any) -> None:
    """The gateway has a refund of ours, and a second one."""
    refund = give_back(row)
    reference = hosted.refund_at_the_console(row.gateway_reference, "5.00")
    hosted.refunds[reference].update(refund_id=str(refund.pk), **said)


def give_too_much(hosted: GatewayServer, row: Transaction) -> None:
    give_back(row)
    hosted.refunds[next(iter(hosted.refunds))].update(amount="20.00", refund_id="R-77")


LIES: dict[str, tuple[int, Callable[[GatewayServer, Transaction], Any]]] = {
    "asked for less": (5, lambda server, row: open_again(server, row, "k", amount="0.01")),
    "asked in another currency": (5, lambda server, row: open_again(server, row, "k", currency="USD")),
    "paid here and not there": (6, lambda server, row: server.set_status(row.gateway_reference, "failed")),
    "paid in part there": (6, lambda server, row: server.pay(row.gateway_reference, "19.98")),
    "paid in dollars there": (6, lambda server, row: server.pay(row.gateway_reference, currency="USD")),
    "paid for somebody else": (
        6,
        lambda server, row: server.set_status(row.gateway_reference, "success", transaction_id="other"),
    ),
    "an unknown session": (6, lambda server, row: server.sessions.pop(row.gateway_reference)),
    "given back twice": (14, tell_again),
    "given back another amount": (14, lambda server, row: tell_again(server, row, amount="1.00")),
    "given back, and called a failure": (
        14,
        lambda server, row: change(give_back(row), state="failed", gateway_reference=""),
    ),
    "given back more than taken": (7, give_too_much),
    "two sessions": (13, lambda server, row: [open_again(server, row, key) for key in ("one", "two")]),
    "a new key": (14, lambda server, row: open_again(server, row, "another key")),
    "other bytes": (14, lambda server, row: open_again(server, row, f"gatewaypay-{row.pk}", description="other")),
}


@pytest.mark.checker
@pytest.mark.parametrize("name", LIES)
def test_a_gateway_that_tells_another_story_is_seen(row: Transaction, hosted: GatewayServer, name: str) -> None:
    """Its own books are compared with ours."""
    number, plant = LIES[name]
    plant(hosted, row)

    assert number in broken(ServerBooks(hosted))
    with pytest.raises(Violation):
        check_books(hosted)


def test_an_acknowledged_event_that_is_not_in_the_inbox_is_seen(row: Transaction, hosted: GatewayServer) -> None:
    """Each 2xx is a promise."""
    kept = row.callbacks.get().event_id
    check_books(ServerBooks(hosted, answered=[kept]))

    assert broken(ServerBooks(hosted, answered=[kept, "evt_lost"])) == {10}


def test_other_accounts_rows_are_not_this_gateways(row: Transaction, hosted: GatewayServer) -> None:
    """A payment of another account is not looked for in these books."""
    make_transaction(State.SUCCESS, gateway="wallet")

    assert broken(ServerBooks(hosted)) == {6}
    check_books(ServerBooks(hosted, aliases={"hosted"}))


# --- When all has settled.


UNSETTLED: dict[str, tuple[int, Callable[[GatewayServer, Transaction], Any]]] = {
    "a callback that waits": (16, lambda server, row: write_callback()),
    "a callback of ours that was never matched": (
        16,
        lambda server, row: write_callback(state="unmatched", transaction_ref=str(row.pk)),
    ),
    "a fulfilment that waits": (16, lambda server, row: row.fulfilments.update(state="owed", next_attempt_at=NOW())),
    "a dead hook that staff do not see": (16, lambda server, row: row.fulfilments.update(state="dead")),
    "a payment that was never opened": (16, lambda server, row: change(row, state="created")),
    "a payment after its time": (
        17,
        lambda server, row: change(row, state="pending", expires_at=NOW() - timedelta(seconds=1)),
    ),
    "paid, and the order is not": (8, lambda server, row: Order.objects.update(fulfilments=0)),
    "money that is not seen here": (16, lambda server, row: change(row, state="canceled")),
    "an end that is not seen here": (
        16,
        lambda server, row: [server.set_status(row.gateway_reference, "failed"), change(row, state="processing")],
    ),
    "other money, and nobody is told": (16, lambda server, row: server.pay(row.gateway_reference, "19.98")),
    "money of a transaction that we do not have": (
        16,
        lambda server, row: server.set_status(row.gateway_reference, "success", transaction_id="other"),
    ),
}


@pytest.mark.checker
@pytest.mark.parametrize("name", UNSETTLED)
def test_what_has_not_settled_is_seen(row: Transaction, hosted: GatewayServer, name: str) -> None:
    """After the faults nothing may be stuck, lost or owed."""
    number, plant = UNSETTLED[name]
    check_settled(hosted)
    plant(hosted, row)

    assert unsettled(ServerBooks(hosted)) == number
    with pytest.raises(Violation):
        check_settled(hosted)


def test_held_money_and_late_money_are_settled_when_staff_are_told() -> None:
    """Who waits for a person is not stuck."""
    make_transaction(State.HELD)
    late = make_transaction(State.EXPIRED)
    for owed in Fulfilment.objects.all():
        dispatch.deliver(owed.pk)
    assert unsettled() == 0
    change(late, state="success", attention="late")

    assert unsettled() == 0


def test_the_sandboxs_tables_are_a_gateways_books() -> None:
    """Its payments, what it was asked for, and what was acknowledged."""
    row = make_transaction(State.SUCCESS)
    for owed in Fulfilment.objects.all():
        dispatch.deliver(owed.pk)
    payment = SandboxPayment.objects.create(
        reference=row.gateway_reference, idempotency_key="k", transaction_id=str(row.pk), amount_minor=1999,
        reported_minor=1999, currency="EUR", status="success", expires_at=NOW(),
    )  # fmt: skip
    check_settled(SandboxBooks())
    SandboxDelivery.objects.create(payment=payment, event_id="evt_lost", body="{}", due_at=NOW(), delivered_at=NOW())

    assert broken(SandboxBooks()) == {10}
    SandboxDelivery.objects.update(flavour="forged")
    SandboxPayment.objects.update(reported_minor=1998)
    assert broken(SandboxBooks()) == {6}


# --- What is watched.


@pytest.mark.django_db(transaction=True)
def test_a_call_inside_a_transaction_is_seen(hosted: GatewayServer) -> None:
    """A gateway call and a nudge under a lock are caught; a whole payment makes neither."""
    with Watch() as watch:
        row = services.initiate(str(make_order().pk)).transaction
        hosted.pay(row.gateway_reference)
        services.refresh(row.pk)
    assert watch.calls["http"] >= 2
    assert watch.calls["nudge"] >= 2

    def under_a_lock() -> None:
        with Watch(), transaction.atomic():
            services.refresh(row.pk)
            announcer.announce(row.pk)

    with pytest.raises(Violation, match=r"http .*nudge"):
        under_a_lock()


def test_the_transaction_around_a_test_is_not_counted() -> None:
    """What pytest-django wraps around a test is no transaction of ours."""
    assert not in_transaction()
    with transaction.atomic():
        assert in_transaction()


def test_a_write_where_nothing_may_be_written_is_seen(row: Transaction) -> None:
    """Also one that changes a single column, and one that adds a row."""
    with nothing_written():
        check_books()
    with pytest.raises(Violation, match="invariant 2: transactions"), nothing_written():
        change(row, poll_attempts=9)
    with pytest.raises(Violation, match="invariant 2: inbox"), nothing_written():
        write_callback()


def test_the_inbox_can_be_checked_alone(row: Transaction) -> None:
    """For tests whose ledger is not ours."""
    check_inbox()
    row.callbacks.update(state="received")

    assert number_of(check_inbox) == 10


# --- The table.


def test_each_of_the_24_is_held_by_something() -> None:
    """A function that is run by the calls above, or a test that exists."""
    assert sorted(INVARIANTS) == list(range(1, 25))
    for number, holders in INVARIANTS.items():
        assert holders, number
        for holder in holders:
            assert exists(holder) if isinstance(holder, str) else number in numbers_in(holder)


def numbers_in(check: Any) -> set[int]:
    """The invariants that a check's docstring names before its colon."""
    return {int(number) for number in re.findall(r"\d+", check.__doc__.partition(":")[0])}


def exists(node: str) -> bool:
    """Whether a test id names a function that pytest would find."""
    path, _, name = node.partition("::")
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    return callable(getattr(module, name, None))


def test_every_check_that_is_run_is_in_the_table() -> None:
    """No check is left out of the account, and none in the account is never run."""
    named = {holder for holders in INVARIANTS.values() for holder in holders if not isinstance(holder, str)}

    assert {*OURS, *THEIRS} <= named
    assert named - {*OURS, *THEIRS} == {check_since, check_convergence, nothing_written, Watch}
