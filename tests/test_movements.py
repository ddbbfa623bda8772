"""The small door: what a refund's row may become, what that does to the totals, and that no cent goes back twice."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from moneyed import Money

from django_gatewaypay.exceptions import AmountNotLeft, InvalidTransition, MovementInProgress, SecondPersonNeeded
from django_gatewaypay.lifecycle import (
    apply_movement,
    apply_update,
    approve_movement,
    conclude_movement,
    hear_refund,
    left_to_refund,
    open_movement,
    withdraw_movement,
)
from django_gatewaypay.models import Capture, Refund, Transaction, TransactionEvent
from django_gatewaypay.schedule import CLAIM_LEASE
from django_gatewaypay.signals import movement_changed
from django_gatewaypay.types import MovementState, PaymentUpdate, RefundState, RefundUpdate, Source, State
from tests.factories import make_transaction
from tests.invariants import check_books

pytestmark = pytest.mark.django_db(transaction=True)

REQUESTED, UNKNOWN, SUBMITTED, SUCCEEDED, FAILED = MovementState
DUE = timezone.now() + timedelta(hours=1)


@pytest.fixture
def row() -> Transaction:
    """19.99 EUR, paid."""
    return make_transaction(State.SUCCESS)


@pytest.fixture
def ann() -> Any:
    return get_user_model().objects.create_user("ann")


@pytest.fixture
def bob() -> Any:
    return get_user_model().objects.create_user("bob")


def ask(row: Transaction, minor: int = 1999, **fields: Any) -> Refund:
    """An intent that is written down."""
    wanted = Refund(transaction=row, amount_minor=minor, **{"reason": "broken", **fields})
    return open_movement(wanted, source=Source.STAFF if wanted.actor else Source.SYSTEM)


def climb(refund: Refund, state: MovementState, **details: Any) -> Refund:
    return apply_movement(Refund, refund.pk, state, source=Source.POLL, **details)


def told(refund: Refund, **fields: Any) -> Refund:
    """As if the gateway had been called."""
    Refund.objects.filter(pk=refund.pk).update(submitted_at=timezone.now(), attempts=1, **fields)
    refund.refresh_from_db()
    return refund


def news(state: RefundState = RefundState.SUCCEEDED, amount: str | None = "19.99", **fields: Any) -> RefundUpdate:
    money = None if amount is None else Money(amount, "EUR")
    return RefundUpdate(**{"refund_reference": "re_1", "state": state, "amount": money, **fields})


def hear(row: Transaction, update: RefundUpdate) -> set[str]:
    return set(hear_refund(row.pk, update, source=Source.POLL, due=DUE))


def totals(row: Transaction) -> tuple[int, int, int]:
    """What is set aside, what went back, what came back again."""
    row.refresh_from_db()
    return row.refunding_minor, row.returned_minor, row.undone_minor


def together(*jobs: Callable[[], Any]) -> list[Any]:
    """Run the jobs at the same instant, each in a thread of its own; what they returned or raised."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return job()
        except Exception as error:  # noqa: BLE001 - returned, and asserted by the caller
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


# --- An intent.


def test_an_intent_is_a_row_its_money_and_a_line_in_one_commit(row: Transaction, ann: Any) -> None:
    """Nobody has told the gateway; whoever dies now leaves a row that the sweep finds."""
    before = timezone.now()
    refund = ask(row, 500, actor=ann, idempotency_key="k")

    refund.refresh_from_db()
    event = row.events.last()
    assert (refund.state, refund.attempts, refund.submitted_at, refund.version) == ("requested", 0, None, 0)
    assert before + CLAIM_LEASE <= refund.next_attempt_at <= timezone.now() + CLAIM_LEASE
    assert totals(row) == (500, 0, 0)
    assert (event.kind, event.reason, event.note, event.actor, event.source) == (
        "refund",
        "requested",
        "broken",
        ann,
        "staff",
    )
    assert event.evidence == {"id": str(refund.pk), "amount": "5.00 EUR", "state": "requested", "reference": ""}
    check_books()


def test_a_commit_that_fails_leaves_nothing_behind(row: Transaction, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row, money and ledger, or none of them."""
    monkeypatch.setattr("django_gatewaypay.lifecycle.intents.write_event", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ask(row)

    assert not Refund.objects.exists()
    assert totals(row) == (0, 0, 0)


def test_it_is_never_written_inside_somebodys_transaction(row: Transaction) -> None:
    """Its commit would not be one, and the gateway would be told of what is rolled back."""
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        ask(row)

    assert not Refund.objects.exists()


@pytest.mark.parametrize("minor", [2000, 0, -1])
def test_more_than_is_left_and_less_than_something_is_refused(row: Transaction, minor: int) -> None:
    """Nothing is written."""
    with pytest.raises(AmountNotLeft):
        ask(row, minor)

    assert not Refund.objects.exists()
    assert totals(row) == (0, 0, 0)


@pytest.mark.parametrize("state", [REQUESTED, UNKNOWN])
def test_until_the_last_one_is_known_nobody_starts_another(row: Transaction, state: MovementState) -> None:
    """Also where money is left; of another payment, it is nobody's business."""
    climb(ask(row, 500), state)
    with pytest.raises(MovementInProgress):
        ask(row, 1)

    assert ask(make_transaction(State.SUCCESS), 1).state == "requested"
    assert Refund.objects.filter(transaction=row).count() == 1


@pytest.mark.parametrize("state", [SUBMITTED, SUCCEEDED, FAILED])
def test_one_that_was_answered_keeps_nobody_waiting(row: Transaction, state: MovementState) -> None:
    """Banks take days, and the shopper may have more to get."""
    climb(ask(row, 500), state, reference="re_1")

    assert ask(row, 500).state == "requested"
    check_books()


def test_one_key_is_one_intent(row: Transaction) -> None:
    """The database says so, whoever has looked before; on another payment it is another intent."""
    climb(ask(row, 500, idempotency_key="k"), SUCCEEDED)
    with pytest.raises(MovementInProgress):
        ask(row, 500, idempotency_key="k")
    ask(make_transaction(State.SUCCESS), 500, idempotency_key="k")

    assert totals(row) == (500, 500, 0)
    assert Refund.objects.filter(transaction=row).count() == 1


# --- Two at once.


def test_two_who_ask_at_once_cannot_both_have_it() -> None:
    """Fifteen of twenty, twice, at the same instant: one is written, the other one hears why not."""
    ends: Counter[str] = Counter()
    for _ in range(25):
        row = make_transaction(State.SUCCESS)
        stale = [Transaction.objects.get(pk=row.pk) for _ in range(2)]
        results = together(*[lambda one=one: ask(one, 1500) for one in stale])  # type: ignore[misc]
        ends.update(type(result).__name__ for result in results)
        assert totals(row) == (1500, 0, 0)

    assert ends == {"Refund": 25, "MovementInProgress": 25}
    check_books()


def test_two_who_ask_at_once_cannot_both_have_the_last_cent() -> None:
    """Where the first one is answered in between, the second one meets the amount."""
    ends: Counter[str] = Counter()
    for _ in range(25):
        row = make_transaction(State.SUCCESS)
        stale = [Transaction.objects.get(pk=row.pk) for _ in range(2)]
        results = together(*[lambda one=one: climb(ask(one, 1500), SUCCEEDED) for one in stale])  # type: ignore[misc]
        ends.update(type(result).__name__ for result in results)
        assert totals(row) == (1500, 1500, 0)

    assert ends["Refund"] == 25
    assert set(ends) <= {"Refund", "AmountNotLeft", "MovementInProgress"}
    check_books()


def test_who_asks_and_who_answers_do_not_wait_for_each_other() -> None:
    """The payment's row is held first by both: no deadlock, however they meet."""
    for _ in range(25):
        row = make_transaction(State.SUCCESS)
        first = ask(row, 500)
        results = together(
            lambda first=first: climb(first, SUBMITTED, reference="re_1"),  # type: ignore[misc]
            lambda row=row: ask(row, 500),  # type: ignore[misc]
            lambda row=row: hear(row, news(amount="1.00", refund_reference="re_console")),  # type: ignore[misc]
        )
        expected = (MovementInProgress,)
        assert [one for one in results if isinstance(one, Exception) and not isinstance(one, expected)] == []
    check_books()


@pytest.mark.parametrize("name", ["refunding_minor", "capturing_minor"])
def test_the_database_keeps_the_cap(row: Transaction, name: str) -> None:
    """Whatever Python believes, no more is set aside than there is, and no less than nothing."""
    Transaction.objects.filter(pk=row.pk).update(authorized_minor=1999)
    for minor in (2000, -1):
        with pytest.raises(IntegrityError):
            Transaction.objects.filter(pk=row.pk).update(**{name: minor})


def test_the_database_keeps_one_unanswered(row: Transaction) -> None:
    """Also against who goes round the door."""
    ask(row, 500)
    now = timezone.now()
    with pytest.raises(IntegrityError):
        Refund.objects.create(transaction=row, amount_minor=1, created_at=now, updated_at=now)


# --- The ladder.


WORDS = (UNKNOWN, SUBMITTED, SUCCEEDED, FAILED)
ORDERS = [order for count in range(1, 5) for order in itertools.permutations(WORDS, count)]


def test_order_is_no_matter() -> None:
    """Each order of each set of words: the highest holds, the totals follow from the set, the database is content."""
    for words in ORDERS:
        row = make_transaction(State.SUCCESS)
        refund = ask(row, 1500)
        for word in (*words, *words):
            refund = climb(refund, word, reference="re_1" if word is not UNKNOWN else "", due=DUE)

        failed, gone = FAILED in words, SUCCEEDED in words and FAILED not in words
        assert refund.state == max(words, key=lambda word: word.rank)
        assert totals(row) == (0 if failed else 1500, 1500 if gone else 0, 1500 if failed else 0), words
        assert row.given_back_minor == (1500 if gone else 0)
    check_books()


def test_one_rung_is_one_line_in_the_ledger(row: Transaction) -> None:
    """Version, reference, error and times; a duplicate and a lower word write nothing."""
    refund = climb(ask(row), SUBMITTED, reference="re_1", due=DUE)
    assert (refund.version, refund.next_attempt_at, refund.gateway_reference) == (1, DUE, "re_1")
    climb(refund, SUBMITTED, reference="re_2", due=DUE + timedelta(days=1))
    climb(refund, UNKNOWN, error="who knows")
    refund = climb(refund, FAILED, error="account closed", note="for staff")

    refund.refresh_from_db()
    lines = list(row.events.filter(kind="refund"))
    assert [line.reason for line in lines] == ["requested", "submitted", "failed"]
    assert (lines[-1].note, lines[-1].version, lines[-1].from_state) == ("for staff", row.version, "success")
    assert (refund.version, refund.last_error, refund.next_attempt_at) == (2, "account closed", None)
    assert refund.gateway_reference == "re_1"


def test_the_state_of_the_payment_never_moves(row: Transaction) -> None:
    """Neither state nor version: a refund is a row of its own."""
    row.refresh_from_db()
    before = (row.state, row.version, row.attention)
    climb(climb(ask(row), SUCCEEDED), FAILED)

    row.refresh_from_db()
    assert (row.state, row.version, row.attention) == before
    assert TransactionEvent.objects.filter(transaction=row, kind__in=["moved", "amended"]).count() == row.version + 1


def test_a_word_for_a_row_that_is_not_there() -> None:
    """It says so."""
    with pytest.raises(Refund.DoesNotExist):
        climb(Refund(), SUCCEEDED)


def test_a_reference_that_is_counted_already_is_not_counted_again(row: Transaction) -> None:
    """A gateway that answers with an earlier refund has made none: the money is free again."""
    climb(ask(row, 500), SUCCEEDED, reference="re_1")
    second = climb(ask(row, 500), SUBMITTED, reference="re_1")

    assert (second.state, second.gateway_reference) == ("failed", "")
    assert second.last_error == "The gateway names re_1, which is known already."
    assert totals(row) == (500, 500, 0)
    check_books()


# --- What is left.


def see(row: Transaction, refunded: int) -> None:
    """The gateway's own total."""
    apply_update(row.pk, PaymentUpdate(refunded=Money(refunded, "EUR") / 100), source=Source.POLL)
    row.refresh_from_db()


def test_what_went_back_elsewhere_is_gone_too(row: Transaction) -> None:
    """By its row, by the gateway's total, or by both: counted once."""
    left = []
    for refunded in (300, 500, 700):
        see(row, refunded)
        left.append(left_to_refund(row))
    hear(row, news(amount="7.00", refund_reference="re_console"))
    row.refresh_from_db()

    assert left == [1699, 1499, 1299]
    assert left_to_refund(row) == 1299
    with pytest.raises(AmountNotLeft):
        ask(row, 1300)
    assert climb(ask(row, 1299), SUCCEEDED).state == "succeeded"
    see(row, 1999)
    assert (left_to_refund(row), row.refund_status, totals(row)) == (0, "full", (1299, 1999, 0))
    check_books()


def test_a_stale_reader_does_not_count(row: Transaction) -> None:
    """What is left is read while the row is held, not from what somebody once loaded."""
    stale = Transaction.objects.get(pk=row.pk)
    see(row, 1500)
    with pytest.raises(AmountNotLeft):
        ask(stale, 500)


@pytest.mark.parametrize("words", [(SUBMITTED, FAILED), (SUBMITTED, SUCCEEDED, FAILED), (FAILED,)])
def test_money_that_came_back_is_there_again(row: Transaction, words: tuple[MovementState, ...]) -> None:
    """Also where the gateway's total has counted it, early or late: totals only rise, and must not hide it."""
    refund = ask(row, 1500)
    for word in words:
        climb(refund, word, reference="re_1", due=DUE)
    see(row, 1500)

    assert (left_to_refund(row), row.given_back_minor, row.refund_status) == (1999, 0, "none")
    second = climb(ask(row, 1999), SUCCEEDED, reference="re_2")
    see(row, 1999)
    assert (second.state, left_to_refund(row), row.refund_status) == ("succeeded", 0, "full")
    check_books()


def test_a_definite_no_was_never_in_a_total(row: Transaction) -> None:
    """The gateway has no name for it: a total that it tells later is somebody else's refund."""
    climb(ask(row, 1500), FAILED, error="declined")
    see(row, 1500)

    assert (left_to_refund(row), row.refund_status) == (499, "partial")


# --- A second person.


@pytest.fixture
def limit(settings: Any) -> None:
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "REFUND_APPROVAL_ABOVE": {"EUR": "10.00", "JPY": "1"}}


@pytest.mark.usefixtures("limit")
def test_above_the_limit_it_waits(row: Transaction, ann: Any) -> None:
    """The money is set aside, and the clock does not look at it."""
    at, above = ask(row, 1000, actor=ann), ask(make_transaction(State.SUCCESS), 1001, actor=ann)

    assert (at.needs_approval, at.waits_for_approval, bool(at.next_attempt_at)) == (False, False, True)
    assert (above.needs_approval, above.waits_for_approval, above.next_attempt_at) == (True, True, None)
    assert totals(above.transaction) == (1001, 0, 0)
    check_books()


@pytest.mark.usefixtures("limit")
def test_small_refunds_add_up(row: Transaction, ann: Any, bob: Any) -> None:
    """Nobody gets round the limit in slices; what a second person has seen, or what failed, does not count."""
    climb(ask(row, 300, actor=ann), FAILED)
    climb(ask(row, 600, actor=ann), SUCCEEDED)
    second = ask(row, 500, actor=ann)
    climb(approve_movement(second.pk, actor=bob), SUCCEEDED)
    third, fourth = ask(row, 400, actor=ann), None
    climb(third, SUBMITTED)
    fourth = ask(row, 1, actor=ann)

    assert [one.needs_approval for one in (second, third, fourth)] == [True, False, True]


@pytest.mark.usefixtures("limit")
def test_a_currency_without_a_limit_needs_nobody() -> None:
    """Each has its own."""
    row = make_transaction(State.SUCCESS, currency="USD")

    assert not ask(row, 1999).needs_approval


@pytest.mark.usefixtures("limit")
def test_the_second_person_is_another_one(row: Transaction, ann: Any, bob: Any) -> None:
    """Neither the one who asked nor nobody; then it is the gateway's turn, and the ledger has both names."""
    refund = ask(row, actor=ann)
    for nobody in (ann, None):
        with pytest.raises(SecondPersonNeeded):
            approve_movement(refund.pk, actor=nobody)
    approved = approve_movement(refund.pk, actor=bob)

    assert (approved.approver, approved.waits_for_approval, approved.state) == (bob, False, "requested")
    assert approved.next_attempt_at > timezone.now()
    assert [(line.actor, line.note) for line in row.events.filter(kind="refund")] == [
        (ann, "broken"),
        (bob, "approved"),
    ]
    for again in (approve_movement, withdraw):
        with pytest.raises(InvalidTransition):
            again(refund.pk, actor=bob)
    check_books()


def withdraw(refund_id: Any, *, actor: Any) -> Refund:
    return withdraw_movement(refund_id, source=Source.STAFF, actor=actor, note="not any more")


@pytest.mark.usefixtures("limit")
def test_what_waits_can_be_withdrawn(row: Transaction, ann: Any) -> None:
    """The money is free again, and the gateway never hears of it."""
    refund = withdraw(ask(row, actor=ann).pk, actor=ann)

    assert (refund.state, refund.last_error, totals(row)) == ("failed", "withdrawn", (0, 0, 0))
    assert row.events.last().note == "not any more"
    with pytest.raises(InvalidTransition):
        approve_movement(refund.pk, actor=ann)
    check_books()


@pytest.mark.usefixtures("limit")
def test_approved_and_withdrawn_at_once_is_one_of_them(ann: Any, bob: Any) -> None:
    """Never a refund that the gateway is told of although it was withdrawn."""
    for _ in range(20):
        row = make_transaction(State.SUCCESS)
        refund = ask(row, actor=ann)
        results = together(
            lambda pk=refund.pk: approve_movement(pk, actor=bob),  # type: ignore[misc]
            lambda pk=refund.pk: withdraw(pk, actor=ann),  # type: ignore[misc]
        )
        lost = [one for one in results if isinstance(one, Exception)]
        refund.refresh_from_db()
        assert [type(one) for one in lost] == [InvalidTransition]
        assert (refund.state == "failed") == (refund.approver is None)
    check_books()


# --- What only a person can say.


def give_up(refund: Refund) -> Refund:
    climb(told(refund), UNKNOWN)
    apply_update(refund.transaction_id, PaymentUpdate(), source=Source.SYSTEM, flags=("refund_unknown",))
    Refund.objects.filter(pk=refund.pk).update(next_attempt_at=None)
    return refund


def conclude(refund: Refund, state: MovementState, actor: Any) -> Refund:
    resolved = frozenset({"refund_unknown"})
    return conclude_movement(
        Refund, refund.pk, state, source=Source.STAFF, actor=actor, note="seen at the console", resolved=resolved
    )


@pytest.mark.parametrize(("state", "aside"), [(SUCCEEDED, 1999), (FAILED, 0)])
def test_a_person_says_what_became_of_it(row: Transaction, ann: Any, state: MovementState, aside: int) -> None:
    """Row, money, ledger and the flag in one commit; once."""
    refund = conclude(give_up(ask(row)), state, ann)

    row.refresh_from_db()
    assert (refund.state, row.refunding_minor, row.attention) == (state, aside, "")
    assert [(line.actor, line.note) for line in row.events.filter(kind="refund", reason=state)] == [
        (ann, "seen at the console")
    ]
    with pytest.raises(InvalidTransition):
        conclude(refund, state, ann)
    check_books()


def test_a_person_does_not_say_what_the_gateway_is_asked_about(row: Transaction, ann: Any) -> None:
    """Nor anything but an end."""
    refund = climb(told(ask(row)), UNKNOWN)
    with pytest.raises(InvalidTransition):
        conclude(refund, FAILED, ann)
    give_up(refund)
    with pytest.raises(InvalidTransition):
        conclude(refund, SUBMITTED, ann)

    refund.refresh_from_db()
    assert refund.state == "unknown"


def test_the_flag_stays_while_another_one_waits(row: Transaction, ann: Any) -> None:
    """One of two was looked at."""
    first = climb(ask(row, 500), SUBMITTED, reference="re_1")
    Refund.objects.filter(pk=first.pk).update(next_attempt_at=None)
    second = give_up(ask(row, 500))
    conclude(second, FAILED, ann)

    row.refresh_from_db()
    assert row.attention == "refund_unknown"
    conclude(first, SUCCEEDED, ann)
    row.refresh_from_db()
    assert row.attention == ""


# --- What the gateway tells.


@pytest.mark.parametrize("by", ["refund_id", "refund_reference"])
def test_it_is_ours_by_its_id_or_by_its_name_there(row: Transaction, by: str) -> None:
    """Our id where it is echoed, else the reference that we were answered."""
    refund = climb(told(ask(row)), SUBMITTED, reference="re_1")
    named = {"refund_id": str(refund.pk), "refund_reference": "re_other"} if by == "refund_id" else {}
    flags = hear(row, news(**named))

    refund.refresh_from_db()
    assert (refund.state, refund.gateway_reference, flags) == ("succeeded", "re_1", set())
    assert Refund.objects.count() == 1
    check_books()


@pytest.mark.parametrize("refund_id", ["", "R-77", "5c0cbd9c-0000-4000-8000-000000000000"])
def test_what_we_have_never_asked_for_is_foreign(row: Transaction, refund_id: str) -> None:
    """Made at the console: a row of its own, whose money is not set aside, and which climbs like ours."""
    hear(row, news(RefundState.SUBMITTED, "5.00", refund_id=refund_id))
    row.refresh_from_db()
    pending = (left_to_refund(row), row.refund_status)
    hear(row, news(RefundState.SUCCEEDED, "5.00", refund_id=refund_id))

    refund = Refund.objects.get()
    assert (refund.foreign, refund.amount_minor, refund.state, refund.reason) == (True, 500, "succeeded", "")
    assert (pending, totals(row)) == ((1499, "none"), (0, 500, 0))
    assert (row.refund_status, left_to_refund(row)) == ("partial", 1499)
    assert [line.reason for line in row.events.filter(kind="refund")] == ["submitted", "succeeded"]
    check_books()


def test_a_foreign_one_is_asked_about_while_it_is_open(row: Transaction) -> None:
    """Until it ends; one that has failed before we heard of it is kept for the record."""
    hear(row, news(RefundState.SUBMITTED, "5.00"))
    hear(row, news(RefundState.FAILED, "6.00", refund_reference="re_2", reason="closed"))

    found = {one.gateway_reference: one for one in Refund.objects.all()}
    assert (found["re_1"].next_attempt_at, found["re_2"].next_attempt_at) == (DUE, None)
    assert (found["re_2"].state, found["re_2"].last_error) == ("failed", "closed")
    assert totals(row) == (0, 0, 600)
    check_books()


@pytest.mark.parametrize(
    ("update", "flags"),
    [
        (news(amount=None), set()),
        (news(refund_reference=""), set()),
        (news(amount="0.001"), {"mismatch"}),
        (news(amount="0"), {"mismatch"}),
        (RefundUpdate(refund_reference="re", state=RefundState.SUCCEEDED, amount=Money(5, "USD")), {"mismatch"}),
    ],
    ids=["no amount", "no name", "half a cent", "nothing", "dollars"],
)
def test_what_cannot_be_written_down_is_left_to_totals_or_staff(
    row: Transaction, update: RefundUpdate, flags: set[str]
) -> None:
    """No row without an amount of this payment's currency."""
    assert hear(row, update) == flags
    assert not Refund.objects.exists()


def test_news_before_our_own_answer_waits_for_it(row: Transaction) -> None:
    """It may be ours: no second row is made, and nothing is written until it has a name."""
    refund = told(ask(row, 500))
    for update in (news(amount="5.00"), news(amount=None)):
        with pytest.raises(MovementInProgress):
            hear(row, update)
    climb(refund, SUBMITTED, reference="re_1")
    hear(row, news(amount="5.00"))

    refund.refresh_from_db()
    assert (Refund.objects.count(), refund.state) == (1, "succeeded")
    check_books()


def test_news_of_another_amount_and_of_another_id_do_not_wait(row: Transaction) -> None:
    """They cannot be about the one that is on its way; nor can anything, before the gateway was told."""
    refund = ask(row, 500)
    hear(row, news(amount="5.00", refund_reference="re_before"))
    told(refund)
    hear(row, news(amount="4.00", refund_reference="re_amount"))
    hear(row, news(amount="5.00", refund_reference="re_id", refund_id="R-77"))

    refund.refresh_from_db()
    assert refund.state == "requested"
    assert Refund.objects.filter(foreign=True).count() == 3
    check_books()


def test_one_that_was_given_up_is_known_by_its_amount(row: Transaction) -> None:
    """Nothing else can tell; without an amount it is not guessed."""
    refund = give_up(ask(row, 500))
    hear(row, news(amount=None))
    refund.refresh_from_db()
    assert refund.state == "unknown"
    hear(row, news(amount="5.00"))

    refund.refresh_from_db()
    assert (refund.state, refund.gateway_reference, Refund.objects.count()) == ("succeeded", "re_1", 1)
    check_books()


@pytest.mark.parametrize("state", [SUBMITTED, SUCCEEDED, UNKNOWN])
def test_a_refund_that_fails_later_is_told_to_staff(row: Transaction, state: MovementState) -> None:
    """Once; the gateway's word for why is kept, and the money is there again."""
    refund = climb(told(ask(row)), state, reference="re_1")
    failing = news(RefundState.FAILED, refund_id=str(refund.pk), reason="lost_or_stolen_card")
    first, second = hear(row, failing), hear(row, failing)

    refund.refresh_from_db()
    assert (first, second) == ({"refund_failed"}, set())
    assert (refund.state, refund.last_error, totals(row)) == ("failed", "lost_or_stolen_card", (0, 0, 1999))
    check_books()


def test_another_amount_than_ours_is_told_to_staff(row: Transaction) -> None:
    """Our row says what was asked for."""
    refund = climb(told(ask(row, 500)), SUBMITTED, reference="re_1")

    assert hear(row, news(amount="6.00")) == {"mismatch"}
    refund.refresh_from_db()
    assert (refund.state, refund.amount_minor) == ("succeeded", 500)


def test_what_we_took_for_failed_and_was_not_is_kept_and_told(row: Transaction) -> None:
    """The money counts as gone, beside our row: nobody gives it back a second time without knowing."""
    refund = climb(told(ask(row)), FAILED, error="The gateway has never got it.")
    done = news(refund_id=str(refund.pk))
    flags, again = hear(row, done), hear(row, done)

    row.refresh_from_db()
    assert (flags, again) == ({"refund_unknown"}, set())
    assert Refund.objects.get(foreign=True).state == "succeeded"
    assert (row.refund_status, left_to_refund(row)) == ("full", 0)
    check_books()


def test_a_failure_that_is_told_twice_is_no_contradiction(row: Transaction) -> None:
    """Refused at once, and a callback about the same."""
    refund = climb(told(ask(row)), FAILED)

    assert hear(row, news(RefundState.FAILED, refund_id=str(refund.pk))) == set()
    assert Refund.objects.count() == 1


def test_the_same_news_at_once_is_one_row() -> None:
    """Ten copies of a console refund."""
    row = make_transaction(State.SUCCESS)
    results = together(*[lambda: hear(row, news(amount="5.00"))] * 10)

    assert results == [set()] * 10
    assert (Refund.objects.count(), totals(row)) == (1, (0, 500, 0))
    check_books()


# --- What follows the commit.


@pytest.fixture
def heard() -> Iterator[list[tuple[str, str]]]:
    """What a listening host hears."""
    seen: list[tuple[str, str]] = []

    def receive(sender: type[Any], *, movement: Any, previous: str, state: MovementState, **_: Any) -> None:
        assert isinstance(movement, sender)
        assert not connection.in_atomic_block
        seen.append((str(previous), str(state)))

    movement_changed.connect(receive)
    yield seen
    movement_changed.disconnect(receive)


def test_the_signal_follows_the_commit(row: Transaction, heard: list[tuple[str, str]]) -> None:
    """Each rung once, foreign rows too; what is rolled back is not told."""
    refund = climb(ask(row, 500), SUBMITTED, reference="re_1")
    climb(refund, SUBMITTED)
    with transaction.atomic():
        climb(refund, FAILED)
        transaction.set_rollback(True)
    hear(row, news(amount="1.00", refund_reference="re_2"))

    assert heard == [("requested", "submitted"), ("", "succeeded")]


def test_a_receiver_that_breaks_undoes_nothing(row: Transaction, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the refund is what it is."""

    def break_down(**_: Any) -> None:
        raise ValueError("no statsd")

    movement_changed.connect(break_down)
    refund = climb(ask(row), SUCCEEDED)
    movement_changed.disconnect(break_down)

    refund.refresh_from_db()
    assert refund.state == "succeeded"
    assert f"receiver failed refund={refund.pk}" in caplog.text
    assert "no statsd" in caplog.text


def test_a_capture_has_the_same_ladder() -> None:
    """Its money is of what was reserved, and it knows what had been captured before."""
    row = make_transaction(State.AUTHORIZED)
    apply_update(row.pk, PaymentUpdate(authorized=row.amount, captured=Money(1, "EUR")), source=Source.POLL)
    capture = open_movement(Capture(transaction=row, amount_minor=1899), source=Source.SYSTEM)
    with pytest.raises(MovementInProgress):
        open_movement(Capture(transaction=row, amount_minor=1), source=Source.SYSTEM)
    failed = apply_movement(Capture, capture.pk, FAILED, source=Source.POLL)

    row.refresh_from_db()
    assert (capture.before_minor, capture.waits_for_approval, str(capture)) == (100, False, "capture 18.99 · requested")
    assert (failed.state, row.capturing_minor, totals(row)) == ("failed", 0, (0, 0, 0))
    with pytest.raises(AmountNotLeft):
        open_movement(Capture(transaction=row, amount_minor=1900), source=Source.SYSTEM)
    check_books()
