"""The way back in: what a row that was written again may become, and on whose word."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from moneyed import Money

from django_gatewaypay.lifecycle import Facts, Verdict, decide, write_recovered
from django_gatewaypay.models import Transaction
from django_gatewaypay.signals import transaction_changed
from django_gatewaypay.types import PaymentUpdate, State
from tests.factories import make_order, make_transaction
from tests.invariants import check_books

FULL, SHORT = Money("19.99", "EUR"), Money("5.00", "EUR")
PAID = PaymentUpdate(state=State.SUCCESS, captured=FULL, gateway_reference="ps_lost")


def facts(state: State, **known: Any) -> Facts:
    return Facts(**{"state": state, "amount": 1999, "currency": "EUR", "attention": frozenset({"recovered"}), **known})


# --- What is decided.


@pytest.mark.parametrize("state", [State.CREATED, State.PENDING, State.PROCESSING, State.AUTHORIZED, State.EXPIRED])
def test_the_gateways_word_alone_does_not_make_it_a_success(state: State) -> None:
    """Its price is the gateway's word as well, so the exact amount proves nothing: held, and nothing is owed."""
    decision = decide(facts(state), PAID)

    assert (decision.facts.state, decision.facts.reason) == (State.HELD, "recovered")
    assert (decision.facts.attention, decision.owed) == ({"recovered"}, None)


def test_however_often_it_is_repeated() -> None:
    """Also after somebody has resolved the code of one that is held, and done nothing else."""
    held = decide(facts(State.PENDING), PAID).facts
    again = decide(held, PAID)
    resolved = decide(held, PaymentUpdate(), verdict=Verdict(resolved=frozenset({"recovered"}))).facts

    assert again.facts == held
    assert resolved.attention == frozenset()
    assert decide(resolved, PAID).facts.state is State.HELD


def test_a_person_who_accepts_it_makes_it_a_success() -> None:
    """What was taken is the whole from then on, and the order is fulfilled."""
    held = decide(facts(State.PENDING), PAID).facts
    verdict = Verdict(resolved=frozenset({"recovered"}), agreed=1999, fulfil=True)
    decision = decide(held, PaymentUpdate(), verdict=verdict)

    assert (decision.facts.state, decision.owed, decision.facts.attention) == (State.SUCCESS, "fulfil", frozenset())


def test_one_that_is_open_is_trusted_once_a_person_has_resolved_its_code() -> None:
    """Before it is paid there is nothing to accept."""
    resolved = decide(facts(State.PENDING), PaymentUpdate(), verdict=Verdict(resolved=frozenset({"recovered"}))).facts

    assert decide(resolved, PAID).facts.state is State.SUCCESS


def test_a_wrong_amount_is_told_as_such() -> None:
    """Both codes, and the reason that says more."""
    decision = decide(facts(State.PENDING), PaymentUpdate(state=State.SUCCESS, captured=SHORT))

    assert (decision.facts.state, decision.facts.reason) == (State.HELD, "amount_mismatch")
    assert decision.facts.attention == {"recovered", "mismatch"}


def test_no_other_row_is_held_for_it() -> None:
    """Without code and reason the exact amount is a success."""
    assert decide(facts(State.PENDING, attention=frozenset()), PAID).facts.state is State.SUCCESS


# --- What is written.


@pytest.fixture
def books(transactional_db: None) -> Iterator[None]:
    yield
    check_books()


def lost(**fields: Any) -> Transaction:
    """What the list tells of a payment, not written yet."""
    order, now = make_order(), timezone.now()
    known = {"order_id": str(order.pk), "gateway": "hosted", "amount_minor": 1999, "currency": "EUR"}
    times = {"created_at": now, "updated_at": now, "expires_at": now}
    return Transaction(**{**known, **times, "owner_key": "guest", "fingerprint": "", "token_hash": "h", **fields})


STATES = [
    (PAID, "held", False),
    (PaymentUpdate(state=State.PENDING, gateway_reference="ps_lost"), "pending", True),
    (PaymentUpdate(state=State.PROCESSING, gateway_reference="ps_lost"), "processing", True),
    (PaymentUpdate(state=State.AUTHORIZED, authorized=FULL, gateway_reference="ps_lost"), "authorized", True),
    (PaymentUpdate(gateway_reference="ps_lost"), "pending", True),
    (PaymentUpdate(state=State.FAILED, captured=FULL, gateway_reference="ps_lost"), "held", False),
]


@pytest.mark.parametrize(("update", "state", "asked"), STATES, ids=range(len(STATES)))
def test_a_row_is_written_as_the_gateway_has_it(books: None, update: PaymentUpdate, state: str, asked: bool) -> None:
    """With a ledger that tells how, and a time to be asked about if it is open."""
    write_recovered(lost(), update)

    row = Transaction.objects.get()
    assert (row.state, row.version, row.gateway_reference) == (state, 1, "ps_lost")
    assert (row.next_poll_at is not None) is asked
    assert "recovered" in row.attention_codes
    assert [(event.from_state, event.to_state, event.source) for event in row.events.all()] == [
        ("", "created", "system"),
        ("created", state, "poll"),
    ]


def test_who_listens_hears_of_it(books: None) -> None:
    """After the commit, like of any change."""
    heard: list[tuple[str, str]] = []

    def listen(transaction: Transaction, previous: State, state: State, **_: Any) -> None:
        heard.append((previous, state))

    transaction_changed.connect(listen)
    try:
        write_recovered(lost(), PAID)
    finally:
        transaction_changed.disconnect(listen)

    assert heard == [("created", "held")]


def test_a_row_that_is_there_is_left(books: None) -> None:
    """Its id is taken; nothing of it changes."""
    row = make_transaction("success")
    before = Transaction.objects.values().get()

    with pytest.raises(IntegrityError):
        write_recovered(lost(pk=row.pk), PAID)
    assert Transaction.objects.values().get() == before
    assert row.events.count() == 3


def test_it_is_never_written_inside_somebodys_transaction(transactional_db: None) -> None:
    """Its commit must be one."""
    with pytest.raises(RuntimeError), transaction.atomic():
        write_recovered(lost(), PAID)
    assert not Transaction.objects.exists()
