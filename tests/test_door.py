"""The door: what one call writes in one commit, and what it never writes."""

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.utils import timezone
from moneyed import Money

from django_gatewaypay.lifecycle import Verdict, apply_update, door
from django_gatewaypay.models import Callback, Fulfilment, Transaction, TransactionEvent
from django_gatewaypay.types import NextAction, PaymentSession, PaymentUpdate, Source, State
from tests.factories import make_order, make_transaction

pytestmark = pytest.mark.django_db(transaction=True)

Kind = TransactionEvent.Kind


def says(state: State | None, **more: Any) -> PaymentUpdate:
    return PaymentUpdate(**{"state": state, **more})


def test_a_move_writes_the_row_the_ledger_and_the_outbox_together() -> None:
    """One version up, one event, one fulfilment; replaying the ledger gives the row."""
    row = make_transaction(State.PENDING)
    paid = says(State.SUCCESS, captured=row.amount, gateway_reference=row.gateway_reference)
    outcome = apply_update(row.pk, paid, source=Source.POLL)

    row.refresh_from_db()
    event = row.events.last()
    assert outcome.moved
    assert (row.state, row.version) == ("success", 2)
    assert (event.version, event.from_state, event.to_state, event.source) == (2, "pending", "success", "poll")
    assert (event.captured_minor, event.evidence["captured"]) == (1999, "19.99 EUR")
    assert Fulfilment.objects.get().key == f"fulfil:{row.order_id}"


def test_saying_it_again_writes_nothing() -> None:
    """A duplicate changes no row and adds no event."""
    row = make_transaction(State.PENDING)
    paid = says(State.SUCCESS, captured=row.amount)
    apply_update(row.pk, paid, source=Source.POLL)
    events = TransactionEvent.objects.count()
    outcome = apply_update(row.pk, paid, source=Source.CALLBACK)

    assert not outcome.moved
    assert TransactionEvent.objects.count() == events
    assert Transaction.objects.get().version == 2


def test_a_contradicting_callback_is_kept_as_a_note() -> None:
    """The loser of a race stays readable, and changes nothing."""
    row = make_transaction(State.SUCCESS)
    apply_update(row.pk, says(State.EXPIRED), source=Source.CALLBACK)

    row.refresh_from_db()
    assert row.state == "success"
    assert row.events.last().kind == Kind.NOTED
    assert row.events.last().note == "ignored expired"


def test_success_stops_the_polling_and_expiry_goes_on_watching() -> None:
    """The gateway is asked about what may still change, and about nothing else."""
    paid, expired = make_transaction(State.PENDING), make_transaction(State.PENDING)
    apply_update(paid.pk, says(State.SUCCESS, captured=paid.amount), source=Source.POLL)
    apply_update(expired.pk, says(State.EXPIRED), source=Source.EXPIRY, local=True)

    assert Transaction.objects.get(pk=paid.pk).next_poll_at is None
    assert Transaction.objects.get(pk=expired.pk).next_poll_at is not None


def test_a_failed_commit_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row, ledger and outbox commit together or not at all."""
    row = make_transaction(State.PENDING)

    def crash(*_: Any, **__: Any) -> None:
        raise RuntimeError("the process dies here")

    monkeypatch.setattr(door.Entry, "_write_owed", crash)
    with pytest.raises(RuntimeError):
        apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL)

    row.refresh_from_db()
    assert (row.state, row.version, row.events.count()) == ("pending", 1, 2)
    assert not Fulfilment.objects.exists()


def test_the_actor_and_the_note_are_in_the_ledger() -> None:
    """Staff are named where they acted."""
    row = make_transaction(State.PENDING)
    staff = get_user_model().objects.create_user("night")
    apply_update(row.pk, says(State.CANCELED), source=Source.STAFF, actor=staff, note="asked by telephone")

    event = row.events.last()
    assert (event.actor, event.note, event.source) == (staff, "asked by telephone", "staff")


def test_who_asked_and_why_is_kept_where_nothing_is_new() -> None:
    """A reason that a person has typed is a line of its own; a question without one is not."""
    row = make_transaction(State.PENDING)
    staff = get_user_model().objects.create_user("night")
    for note in ("the shopper rang", ""):
        apply_update(row.pk, says(None), source=Source.POLL, actor=staff, note=note)

    assert [(event.kind, event.note) for event in row.events.all()][2:] == [("noted", "the shopper rang")]


def test_the_ledger_cannot_be_edited_or_deleted() -> None:
    """History is append-only through the ORM's instances."""
    event = make_transaction(State.PENDING).events.last()

    with pytest.raises(TypeError):
        event.save()
    with pytest.raises(TypeError):
        event.delete()


def test_every_column_of_the_ledger_says_what_the_row_became() -> None:
    """An event alone tells the whole story, evidence included."""
    row = make_transaction(State.PENDING)
    said = says(
        State.FAILED,
        captured=Money("10.00", "EUR"),
        authorized=row.amount,
        refunded=Money("1.00", "EUR"),
        gateway_reference=row.gateway_reference,
        payment_reference="py_1",
        event_id="evt_1",
        decline_code="expired_card",
        flags=frozenset({"disputed"}),
        raw={"method": "card"},
    )
    before = timezone.now()
    apply_update(row.pk, said, source=Source.POLL, flags=["overheard"], note="n" * 300)

    row.refresh_from_db()
    event = row.events.last()
    assert (event.kind, event.from_state, event.to_state, event.version) == ("moved", "pending", "held", 2)
    assert (event.captured_minor, event.authorized_minor, event.refunded_minor) == (1000, 1999, 100)
    assert (event.reason, event.late, event.attention) == (row.reason, False, "disputed mismatch overheard")
    assert (event.note, event.callback, event.actor) == ("n" * 255, None, None)
    assert before <= event.created_at <= timezone.now()
    assert event.evidence == {
        "state": "failed",
        "gateway_reference": row.gateway_reference,
        "payment_reference": "py_1",
        "event_id": "evt_1",
        "decline_code": "expired_card",
        "captured": "10.00 EUR",
        "authorized": "19.99 EUR",
        "refunded": "1.00 EUR",
        "raw": {"method": "card"},
    }


def test_the_row_that_is_returned_is_the_row_in_the_database() -> None:
    """Nobody has to read again what the door has just written."""
    row = make_transaction(State.EXPIRED)
    Transaction.objects.update(poll_attempts=3, claimed_until=timezone.now())
    known = Transaction.objects.get()
    paid = says(State.SUCCESS, captured=row.amount, authorized=row.amount, refunded=row.amount)
    outcome = apply_update(row.pk, replace(paid, payment_reference="py_1"), source=Source.POLL)

    fresh, told = Transaction.objects.get(), outcome.transaction
    names = [field.attname for field in Transaction._meta.concrete_fields]
    assert {name: getattr(told, name) for name in names} == {name: getattr(fresh, name) for name in names}
    assert (fresh.version, fresh.late, fresh.payment_reference) == (known.version + 1, True, "py_1")
    assert (fresh.captured_minor, fresh.authorized_minor, fresh.refunded_minor) == (1999, 1999, 1999)
    assert (fresh.poll_attempts, fresh.claimed_until, fresh.next_poll_at) == (0, None, None)
    assert fresh.updated_at > known.updated_at
    assert TransactionEvent.objects.last().late


def test_what_is_known_stays_known() -> None:
    """An update that is silent about money, reason and references takes none of them back."""
    row = make_transaction(State.PENDING)
    some = {"captured": Money("3.00", "EUR"), "authorized": Money("2.00", "EUR"), "refunded": Money("1.00", "EUR")}
    apply_update(row.pk, says(State.FAILED, payment_reference="py_1", **some), source=Source.POLL)
    apply_update(row.pk, says(None, flags=frozenset({"disputed"})), source=Source.POLL)

    fresh = Transaction.objects.get()
    assert (fresh.captured_minor, fresh.authorized_minor, fresh.refunded_minor) == (300, 200, 100)
    assert (fresh.payment_reference, fresh.gateway_reference) == ("py_1", row.gateway_reference)
    assert (fresh.reason, fresh.attention, fresh.version) == ("unexpected_capture", "disputed mismatch", 3)


def test_what_is_amended_keeps_its_turn_in_the_polling() -> None:
    """Only a move starts the polling anew."""
    row = make_transaction(State.PENDING)
    Transaction.objects.update(poll_attempts=3)
    outcome = apply_update(row.pk, says(None, refunded=Money("1.00", "EUR")), source=Source.POLL)

    fresh = Transaction.objects.get()
    assert (outcome.moved, fresh.version, fresh.refunded_minor) == (False, 2, 100)
    assert (fresh.poll_attempts, fresh.next_poll_at) == (3, row.next_poll_at)
    assert row.events.last().kind == Kind.AMENDED


def test_a_transaction_that_is_not_there_is_said_to_be_missing() -> None:
    """And nothing is written for it."""
    make_transaction(State.PENDING)
    events = TransactionEvent.objects.count()
    with pytest.raises(Transaction.DoesNotExist):
        apply_update(uuid.uuid4(), says(State.FAILED), source=Source.POLL)

    assert TransactionEvent.objects.count() == events


def test_another_row_of_the_same_version_is_left_alone() -> None:
    """One update, one row."""
    row, other = make_transaction(State.PENDING), make_transaction(State.PENDING)
    apply_update(row.pk, says(State.FAILED), source=Source.POLL)

    other.refresh_from_db()
    assert (other.state, other.version) == ("pending", 1)


def test_a_contradiction_from_our_own_asking_is_not_noted() -> None:
    """Only what a gateway sent by itself is kept as a note."""
    row = make_transaction(State.SUCCESS)
    events = row.events.count()
    outcome = apply_update(row.pk, says(State.EXPIRED), source=Source.POLL)

    assert (row.events.count(), outcome.decision.kind) == (events, None)


def test_a_note_of_ours_goes_before_the_decisions_own() -> None:
    """And the decision's own is kept when we have none."""
    row = make_transaction(State.SUCCESS)
    apply_update(row.pk, says(State.EXPIRED), source=Source.CALLBACK, note="said by telephone")

    assert row.events.last().note == "said by telephone"


def test_the_callback_behind_it_is_marked_in_the_same_commit() -> None:
    """The inbox row is done, names its transaction and is behind the event; others stay as they are."""
    row = make_transaction(State.PENDING)
    mine, other = (
        Callback.objects.create(
            gateway="hosted", event_id=event, update={}, body_sha256="", received_at=timezone.now(),
            next_attempt_at=timezone.now(), last_error="before",
        )
        for event in ("evt_1", "evt_2")
    )  # fmt: skip
    before = timezone.now()
    apply_update(row.pk, says(State.FAILED), source=Source.CALLBACK, callback=mine)

    mine.refresh_from_db()
    other.refresh_from_db()
    assert (mine.state, mine.transaction, mine.next_attempt_at, mine.last_error) == ("processed", row, None, "")
    assert before <= mine.processed_at <= timezone.now()
    assert (other.state, other.transaction, other.last_error) == ("received", None, "before")
    assert row.events.last().callback == mine


def test_the_session_is_kept_when_it_lands_and_is_not_replaced() -> None:
    """The way to the payment page comes with the first session, also when nothing moves."""
    row = make_transaction(State.CREATED)
    first, second = (
        PaymentSession(gateway_reference="ps_1", next_action=NextAction(url=f"http://127.0.0.1:9/{page}"))
        for page in ("first", "second")
    )
    apply_update(row.pk, says(State.EXPIRED), source=Source.EXPIRY, local=True)
    opened = says(State.PENDING, gateway_reference="ps_1")
    landed = apply_update(row.pk, opened, source=Source.INITIATE, session=first)
    again = apply_update(row.pk, opened, source=Source.INITIATE, session=second)

    row.refresh_from_db()
    assert (row.state, row.next_action["url"]) == ("expired", "http://127.0.0.1:9/first")
    assert (landed.decision.kind, again.decision.kind) == (Kind.AMENDED, None)


def test_a_session_that_moves_nothing_new_is_still_written() -> None:
    """A row that knows its reference but not its page gets the page."""
    row = make_transaction(State.PENDING)
    Transaction.objects.update(next_action=None)
    session = PaymentSession(gateway_reference=row.gateway_reference, next_action=NextAction(url="http://127.0.0.1:9/"))
    outcome = apply_update(row.pk, says(State.PENDING), source=Source.INITIATE, session=session)

    row.refresh_from_db()
    assert row.next_action["url"] == outcome.transaction.next_action["url"] == "http://127.0.0.1:9/"
    assert (outcome.moved, row.events.last().kind) == (False, Kind.AMENDED)


def test_polling_begins_when_the_setting_says_and_sooner_for_who_waits() -> None:
    """An open session is asked about after POLL_AFTER; one that a shopper waits for, in seconds."""
    row = make_transaction(State.PENDING)
    assert row.next_poll_at == row.created_at + timedelta(minutes=15)

    now = timezone.now()
    apply_update(row.pk, says(State.PROCESSING), source=Source.POLL)
    alone = Transaction.objects.get().next_poll_at - now
    Transaction.objects.update(waiting_since=now)
    now = timezone.now()
    apply_update(row.pk, says(State.AUTHORIZED), source=Source.POLL)
    waited_for = Transaction.objects.get().next_poll_at - now

    assert timedelta(seconds=60) <= alone <= timedelta(seconds=70)
    assert timedelta(seconds=2) <= waited_for <= timedelta(seconds=10)


@pytest.mark.parametrize(("left", "state"), [(-60_000_000, "expired"), (0, "expired"), (1, "canceled")])
@pytest.mark.parametrize("word", [State.CANCELED, State.EXPIRED, State.FAILED])
def test_a_session_canceled_after_its_time_has_expired(word: State, left: int, state: str) -> None:
    """To the microsecond. The gateway's `canceled` then echoes our own request; its other words mean what they say."""
    with time_machine.travel(timezone.now(), tick=False):
        row = make_transaction(State.PENDING, expires_at=timezone.now() + timedelta(microseconds=left))
        apply_update(row.pk, says(word), source=Source.CALLBACK)

    row.refresh_from_db()
    assert row.state == (state if word is State.CANCELED else word)


# --- What a person decides.


def test_a_verdict_is_in_the_ledger_with_who_and_why() -> None:
    """Actor, reason, state before and after, the total that was agreed to, and which flags were dealt with."""
    row = make_transaction(State.PENDING)
    apply_update(row.pk, says(State.SUCCESS, captured=Money("5.00", "EUR")), source=Source.POLL)
    staff = get_user_model().objects.create_user("night")
    verdict = Verdict(resolved=frozenset({"mismatch", "unmatched"}), agreed=500, fulfil=True)
    outcome = apply_update(
        row.pk, says(None), source=Source.STAFF, actor=staff, verdict=verdict, note="a regular customer"
    )

    row.refresh_from_db()
    event = row.events.last()
    assert (row.state, row.agreed_minor, row.captured_minor, row.attention) == ("success", 500, 500, "")
    assert (event.from_state, event.to_state, event.kind) == ("held", "success", "moved")
    assert (event.actor, event.note, event.source) == (staff, "a regular customer", "staff")
    assert event.evidence == {"agreed_minor": 500, "resolved": ["mismatch"]}
    assert outcome.transaction.agreed_minor == row.agreed_minor
    assert Fulfilment.objects.get().key == f"fulfil:{row.order_id}"


def test_the_agreed_total_stays_in_the_ledger() -> None:
    """Each later line says what counted as the whole then; one that was taken back says nothing."""
    row = make_transaction(State.AUTHORIZED)
    for verdict in (Verdict(agreed=500), Verdict(revoked=500)):
        apply_update(row.pk, says(None), source=Source.SYSTEM, verdict=verdict)

    row.refresh_from_db()
    assert row.agreed_minor is None
    assert [event.evidence.get("agreed_minor") for event in row.events.all()][-2:] == [500, None]


def test_the_end_that_makes_a_part_the_whole_looks_at_the_order_too() -> None:
    """Another payment has paid it meanwhile: this one is a second payment, and nothing is fulfilled twice."""
    order = make_order()
    row = make_transaction(State.AUTHORIZED, order=order)
    apply_update(row.pk, says(None, captured=Money("5.00", "EUR")), source=Source.POLL, verdict=Verdict(agreed=500))
    make_transaction(State.SUCCESS, order=order, gateway="wallet")
    apply_update(row.pk, says(State.CANCELED), source=Source.POLL)

    row.refresh_from_db()
    order.refresh_from_db()
    assert (row.state, row.attention, order.fulfilments) == ("success", "duplicate_payment", 1)


def test_two_late_payments_of_one_order_are_not_both_fulfilled() -> None:
    """Whoever says so second is not heard, and that payment's flag stays."""
    order = make_order()
    first, second = (make_transaction(State.EXPIRED, order=order, gateway=alias) for alias in ("hosted", "wallet"))
    for row in (first, second):
        apply_update(row.pk, says(State.SUCCESS, captured=row.amount), source=Source.POLL)
    verdict = Verdict(resolved=frozenset({"late"}), fulfil=True)
    outcomes = [apply_update(row.pk, says(None), source=Source.SYSTEM, verdict=verdict) for row in (first, second)]

    order.refresh_from_db()
    second.refresh_from_db()
    assert [outcome.decision.owed for outcome in outcomes] == ["fulfil", None]
    assert (order.fulfilments, second.attention_codes) == (1, {"late", "duplicate_payment"})


def test_a_payment_that_has_fulfilled_its_order_does_not_do_so_again() -> None:
    """Whoever says so once more has decided nothing, and nobody is in anybody's way."""
    row = make_transaction(State.SUCCESS)
    outcome = apply_update(row.pk, says(None), source=Source.SYSTEM, verdict=Verdict(fulfil=True))

    assert (outcome.decision.kind, outcome.decision.owed) == (None, None)
    assert Fulfilment.objects.get().key == f"fulfil:{row.order_id}"


def test_an_authorization_that_is_let_go_after_its_time_was_canceled() -> None:
    """How long it lives is the gateway's business; EXPIRE_AFTER was the shopper's time."""
    row = make_transaction(State.AUTHORIZED, expires_at=timezone.now() - timedelta(days=2))
    apply_update(row.pk, says(State.CANCELED), source=Source.CANCEL)

    row.refresh_from_db()
    assert (row.state, row.shopper_reason) == ("canceled", "canceled")
