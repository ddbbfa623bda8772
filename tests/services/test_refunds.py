"""Money back: in full and in part, once for each intent, and never more than was taken."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.exceptions import (
    AmountNotLeft,
    IdempotencyConflict,
    InvalidTransition,
    MovementInProgress,
    ReasonMissing,
    SecondPersonNeeded,
)
from django_gatewaypay.lifecycle import open_movement
from django_gatewaypay.models import Refund, Transaction
from django_gatewaypay.money import InvalidAmount
from django_gatewaypay.services.movements import drive_movement
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import CallbackRequest, Source
from tests.factories import make_order
from tests.invariants import check_books
from tests.test_races import together

pytestmark = pytest.mark.django_db(transaction=True)

WHY = "returned"
SILENCE = [Answer.error(503)] * 3


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not sleep."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


@pytest.fixture
def row(hosted: GatewayServer) -> Transaction:
    """19.99 EUR, paid."""
    return pay(hosted)


@pytest.fixture
def staff() -> list[Any]:
    """Two people."""
    return [get_user_model().objects.create_user(name) for name in ("night", "day")]


def pay(hosted: GatewayServer) -> Transaction:
    started = services.initiate(str(make_order().pk)).transaction
    hosted.pay(started.gateway_reference)
    return services.refresh(started.pk)


def euros(text: str) -> Money:
    return Money(text, "EUR")


def fresh(row: Transaction) -> Transaction:
    return Transaction.objects.get(pk=row.pk)


def tell(reference: str, hosted: GatewayServer, **details: Any) -> str:
    """The gateway calls back about a refund as it is now."""
    [pk] = services.receive_callback("hosted", CallbackRequest(*hosted.refund_callback(reference, **details)))
    return str(services.process_callback(pk))


def asked(hosted: GatewayServer) -> list[Any]:
    """The orders to give money back that reached the gateway."""
    return [one for one in hosted.requests if one.method == "POST" and one.path.startswith("/refund/")]


# --- One after the other.


def test_all_that_is_left_goes_back(hosted: GatewayServer, row: Transaction, staff: list[Any]) -> None:
    """One row, one call, one key; the state of the payment does not move."""
    refund = services.refund(row.pk, reason=WHY, actor=staff[0])
    found = fresh(row)

    assert (refund.state, refund.amount_minor, refund.reason, refund.actor) == ("succeeded", 1999, WHY, staff[0])
    assert (found.state, str(found.refund_status), found.refunding_minor) == ("success", "full", 1999)
    assert [one.key for one in asked(hosted)] == [f"gatewaypay-refund-{refund.pk}"]
    check_books(hosted)


def test_parts_add_up_and_more_is_refused(hosted: GatewayServer, row: Transaction) -> None:
    """Several refunds of one payment, until nothing is left; the gateway never hears of the one too many."""
    services.refund(row.pk, euros("5.00"), reason=WHY)
    services.refund(row.pk, euros("14.00"), reason=WHY)
    with pytest.raises(AmountNotLeft):
        services.refund(row.pk, euros("1.00"), reason=WHY)

    assert str(fresh(row).refund_status) == "partial"
    assert len(asked(hosted)) == 2
    assert services.refund(row.pk, reason=WHY).amount_minor == 99
    check_books(hosted)


@pytest.mark.parametrize("amount", [euros("0"), euros("-1"), euros("1.001"), Money("1.00", "USD")])
def test_what_is_no_amount_of_this_payment_is_refused(row: Transaction, amount: Money) -> None:
    """Nothing is written."""
    with pytest.raises(InvalidAmount):
        services.refund(row.pk, amount, reason=WHY)

    assert not Refund.objects.exists()


def test_a_reason_and_money_are_needed(hosted: GatewayServer, row: Transaction) -> None:
    """The books keep why; and what was never taken cannot go back."""
    open_payment = services.initiate(str(make_order().pk)).transaction
    with pytest.raises(ReasonMissing):
        services.refund(row.pk, reason="  ")
    with pytest.raises(InvalidTransition):
        services.refund(open_payment.pk, reason=WHY)

    assert not Refund.objects.exists()


def test_the_same_key_is_the_same_refund(hosted: GatewayServer, row: Transaction) -> None:
    """A form that is sent twice; with another amount it is a conflict."""
    first, again = (services.refund(row.pk, euros("5.00"), reason=WHY, idempotency_key="k") for _ in range(2))
    with pytest.raises(IdempotencyConflict):
        services.refund(row.pk, euros("6.00"), reason=WHY, idempotency_key="k")

    assert first.pk == again.pk
    assert len(asked(hosted)) == 1


# --- At once.


@pytest.mark.parametrize("text", ["15.00", "19.99"])
def test_two_staff_at_once_never_give_back_too_much(hosted: GatewayServer, row: Transaction, text: str) -> None:
    """One of them wins; the other is told, whoever it is."""
    jobs = [lambda: services.refund(row.pk, euros(text), reason=WHY)] * 4
    results = together(*jobs)
    won = [one for one in results if isinstance(one, Refund)]

    assert len(won) == 1, results
    assert all(isinstance(one, AmountNotLeft | MovementInProgress) for one in results if one not in won), results
    assert len(asked(hosted)) == 1
    check_books(hosted)


def test_one_who_clicks_twice_at_once_has_one_refund(hosted: GatewayServer, row: Transaction) -> None:
    """The form's key makes both the same."""
    click = [lambda: services.refund(row.pk, euros("5.00"), reason=WHY, idempotency_key="form")] * 3
    results = together(*click)

    assert {one.pk for one in results} == {Refund.objects.get().pk}, results
    assert hosted.sessions[row.gateway_reference]["refunded"] == "5.00"
    check_books(hosted)


# --- No answer, and a no.


@pytest.mark.parametrize("lost", [[Answer.lost()] * 3, SILENCE], ids=["after the effect", "before it"])
def test_no_answer_is_unknown_until_it_is_told_again(
    hosted: GatewayServer, row: Transaction, lost: list[Answer]
) -> None:
    """The same key each time: one refund at the gateway, and nobody starts another meanwhile."""
    hosted.script(*lost)
    refund = services.refund(row.pk, euros("5.00"), reason=WHY)
    with pytest.raises(MovementInProgress):
        services.refund(row.pk, euros("5.00"), reason=WHY)
    ended = drive_movement(Refund, refund.pk)

    assert refund.state == "unknown"
    assert refund.next_attempt_at > timezone.now()
    assert ended.state == "succeeded"
    assert {one.key for one in asked(hosted)} == {f"gatewaypay-refund-{refund.pk}"}
    assert hosted.sessions[row.gateway_reference]["refunded"] == "5.00"
    check_books(hosted)


def test_a_forgotten_key_is_looked_up_first(hosted: GatewayServer, row: Transaction) -> None:
    """What an old call may have done is found by our id; it is not done twice."""
    hosted.script(*[Answer.lost()] * 3)
    refund = services.refund(row.pk, euros("5.00"), reason=WHY)
    hosted._keys.clear()
    Refund.objects.update(submitted_at=timezone.now() - timedelta(days=8))
    ended = drive_movement(Refund, refund.pk)

    assert (ended.state, len(hosted.refunds)) == ("succeeded", 1)
    assert hosted.sessions[row.gateway_reference]["refunded"] == "5.00"


def test_a_crash_before_the_call_is_finished_by_the_sweep(hosted: GatewayServer, row: Transaction) -> None:
    """The intent was written; whoever died did not tell the gateway."""
    intent = Refund(transaction=row, amount_minor=500, reason=WHY)
    open_movement(intent, source=Source.STAFF)
    Refund.objects.update(next_attempt_at=timezone.now())
    services.sweep()

    assert Refund.objects.get().state == "succeeded"
    assert len(asked(hosted)) == 1


def test_a_no_sets_the_money_free(hosted: GatewayServer, row: Transaction) -> None:
    """The reason is kept, and another try is another refund."""
    hosted.script(Answer.error(422))
    refused = services.refund(row.pk, reason=WHY)

    assert (refused.state, bool(refused.last_error), fresh(row).refunding_minor) == ("failed", True, 0)
    assert services.refund(row.pk, reason=WHY).state == "succeeded"


# --- What the gateway tells later.


def test_the_outcome_comes_by_callback(hosted: GatewayServer, row: Transaction) -> None:
    """Taken now, done later; the message is linked and changes the row once."""
    hosted.next_refund = "submitted"
    refund = services.refund(row.pk, euros("5.00"), reason=WHY)
    hosted.set_refund(refund.gateway_reference, "succeeded")
    tell(refund.gateway_reference, hosted)
    tell(refund.gateway_reference, hosted)

    assert refund.state == "submitted"
    assert Refund.objects.get().state == "succeeded"
    assert fresh(row).returned_minor == 500
    check_books(hosted)


@pytest.mark.parametrize("before", ["submitted", "succeeded"])
def test_a_refund_that_fails_later_is_undone_visibly(hosted: GatewayServer, row: Transaction, before: str) -> None:
    """Staff are told, and the money can be given back anew."""
    hosted.next_refund = before
    refund = services.refund(row.pk, euros("5.00"), reason=WHY)
    hosted.set_refund(refund.gateway_reference, "failed", "account_closed")
    tell(refund.gateway_reference, hosted)
    found = fresh(row)

    assert Refund.objects.get().state == "failed"
    assert (found.attention, found.refunding_minor, found.given_back_minor) == ("refund_failed", 0, 0)
    assert found.state == "success"


def test_a_refund_made_at_the_console_is_a_row_and_counts(hosted: GatewayServer, row: Transaction) -> None:
    """Heard of, never asked for; what it gave back is gone."""
    reference = hosted.refund_at_the_console(row.gateway_reference, "15.00")
    tell(reference, hosted)
    with pytest.raises(AmountNotLeft):
        services.refund(row.pk, euros("5.00"), reason=WHY)

    assert [(one.foreign, one.amount_minor, one.state) for one in Refund.objects.all()] == [(True, 1500, "succeeded")]
    assert services.refund(row.pk, reason=WHY).amount_minor == 499


# --- A second person.


def test_above_the_limit_a_second_person_decides(
    hosted: GatewayServer, row: Transaction, staff: list[Any], settings: Any
) -> None:
    """Nobody approves what they have asked for; the gateway hears of it after that."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "REFUND_APPROVAL_ABOVE": {"EUR": "10.00"}}
    refund = services.refund(row.pk, euros("15.00"), reason=WHY, actor=staff[0])
    heard = len(asked(hosted))
    with pytest.raises(SecondPersonNeeded):
        services.approve_refund(refund.pk, actor=staff[0])
    approved = services.approve_refund(refund.pk, actor=staff[1])

    assert (refund.state, heard) == ("requested", 0)
    assert (approved.state, approved.approver, len(asked(hosted))) == ("succeeded", staff[1], 1)
    with pytest.raises(InvalidTransition):
        services.approve_refund(refund.pk, actor=staff[1])


def test_what_waits_for_a_second_person_can_be_withdrawn(
    hosted: GatewayServer, row: Transaction, staff: list[Any], settings: Any
) -> None:
    """Its money is free again, and the gateway never heard of it."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "REFUND_APPROVAL_ABOVE": {"EUR": "10.00"}}
    refund = services.refund(row.pk, reason=WHY, actor=staff[0])
    withdrawn = services.withdraw_refund(refund.pk, actor=staff[0], reason="a mistake")

    assert (withdrawn.state, asked(hosted), fresh(row).refunding_minor) == ("failed", [], 0)
    check_books(hosted)
