"""Authorize and capture: in one go, in parts, or not at all; and what the gateway says about it, whenever it does."""

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.exceptions import (
    AmountNotLeft,
    GatewayRejected,
    GatewayUnavailable,
    IdempotencyConflict,
    InvalidTransition,
    MovementInProgress,
    ReasonMissing,
    UnsupportedOperation,
)
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.lifecycle import apply_update, is_covered, open_movement
from django_gatewaypay.models import Capture, Fulfilment, Transaction
from django_gatewaypay.money import InvalidAmount
from django_gatewaypay.services.movements import drive_movement
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer, RecordedRequest
from django_gatewaypay.types import CallbackRequest, MovementState, PaymentRef, PaymentUpdate, Source, State
from tests.factories import make_order, make_transaction
from tests.invariants import Watch, check_books, check_settled
from tests.shop.models import Order
from tests.test_races import together

pytestmark = pytest.mark.django_db(transaction=True)

UNKNOWN = [Answer.error(503)] * 3


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not sleep."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


@pytest.fixture
def staff() -> Any:
    return get_user_model().objects.create_user("night")


@pytest.fixture(autouse=True)
def manual(hosted: GatewayServer, settings: Any) -> None:
    """The alias only reserves."""
    change_alias(settings, CAPTURE="manual")


@pytest.fixture
def row(hosted: GatewayServer) -> Transaction:
    """19.99 EUR, reserved."""
    return authorize(hosted)


def authorize(hosted: GatewayServer) -> Transaction:
    started = services.initiate(str(make_order().pk)).transaction
    hosted.pay(started.gateway_reference)
    return services.refresh(started.pk)


def change_alias(settings: Any, **changes: Any) -> None:
    one = {**settings.GATEWAYPAY["GATEWAYS"]["hosted"], **changes}
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {"hosted": one}}


def speak_through(settings: Any, kind: type[HostedGateway]) -> None:
    change_alias(settings, BACKEND=f"{__name__}.{kind.__name__}")


def euros(text: str) -> Money:
    return Money(text, "EUR")


def tell(hosted: GatewayServer, row: Transaction, **said: Any) -> str:
    """The gateway calls back about the session as it is now."""
    [pk] = services.receive_callback("hosted", CallbackRequest(*hosted.callback(row.gateway_reference, **said)))
    return str(services.process_callback(pk))


def again(capture: Capture) -> Capture:
    """The sweep comes by once more."""
    return drive_movement(Capture, capture.pk)


def fresh(row: Transaction) -> Transaction:
    return Transaction.objects.get(pk=row.pk)


def fulfilments(row: Transaction) -> int:
    return Order.objects.get(pk=row.order_id).fulfilments


# --- In one go.


def test_what_was_reserved_is_taken_and_the_order_fulfilled(hosted: GatewayServer, row: Transaction) -> None:
    """Reserved is not paid; captured in full is."""
    assert (row.state, row.authorized_minor, row.captured_minor, fulfilments(row)) == ("authorized", 1999, 0, 0)
    with Watch() as watch:
        capture = services.capture(row.pk)

    paid = fresh(row)
    assert (capture.state, capture.amount_minor, capture.final) == ("succeeded", 1999, True)
    assert (paid.state, paid.captured_minor, paid.agreed_minor, paid.attention) == ("success", 1999, None, "")
    assert fulfilments(row) == 1
    assert hosted.requests[-1].json == {"amount": "19.99", "currency": "EUR", "final": True}
    assert hosted.requests[-1].key == f"gatewaypay-capture-{capture.pk}"
    assert watch.calls["http"] == 1
    check_settled(hosted)


def test_the_history_says_who_captured_what_and_why(row: Transaction, staff: Any) -> None:
    """The intent is written before the gateway hears of it, the outcome after."""
    services.capture(row.pk, euros("15.00"), reason=" one is out of stock ", actor=staff)

    lines = list(row.events.filter(actor=staff))
    assert [(line.kind, line.reason, line.note) for line in lines] == [
        ("capture", "requested", "one is out of stock"),
        ("amended", "", "one is out of stock"),
        ("capture", "succeeded", ""),
        ("moved", "", ""),
    ]
    assert {line.source for line in lines} == {"staff"}
    assert lines[1].evidence["agreed_minor"] == 1500
    check_books()


def test_the_hosts_own_code_captures_without_a_person(row: Transaction) -> None:
    """A shop that ships captures by itself; the books say that nobody else did."""
    capture = services.capture(row.pk, euros("15.00"))

    assert capture.state == "succeeded"
    assert row.events.filter(kind="capture").first().source == "system"
    check_settled()


# --- In parts.


def test_several_parts_come_to_the_whole(hosted: GatewayServer, row: Transaction) -> None:
    """Each is a row; the last one makes it a success, and nothing but the amount was ever the whole."""
    for text in ("5.00", "4.99"):
        part = services.capture(row.pk, euros(text), final=False)
        assert (part.state, part.final, fresh(row).state, fulfilments(row)) == ("succeeded", False, "authorized", 0)
    last = services.capture(row.pk, euros("10.00"), final=False)

    paid = fresh(row)
    assert (last.state, last.final) == ("succeeded", True)
    assert (paid.state, paid.captured_minor, paid.capturing_minor, paid.agreed_minor) == ("success", 1999, 1999, None)
    assert fulfilments(row) == 1
    check_settled(hosted)


def test_all_that_is_left_needs_no_amount(hosted: GatewayServer, row: Transaction) -> None:
    """A part first, then the rest."""
    services.capture(row.pk, euros("5.00"), final=False)
    rest = services.capture(row.pk)

    assert (rest.amount_minor, rest.state, fresh(row).state) == (1499, "succeeded", "success")
    check_settled(hosted)


def test_a_final_part_is_the_whole_and_the_rest_is_let_go(hosted: GatewayServer, row: Transaction) -> None:
    """Success of what was captured; the agreed total is there before the gateway is told."""
    services.capture(row.pk, euros("5.00"), final=False)
    capture = services.capture(row.pk, euros("7.00"))

    paid = fresh(row)
    assert (capture.state, capture.before_minor) == ("succeeded", 500)
    assert (paid.state, paid.captured_minor, paid.agreed_minor, paid.attention) == ("success", 1200, 1200, "")
    assert hosted.sessions[row.gateway_reference]["status"] == "success"
    assert fulfilments(row) == 1
    check_settled(hosted)


def test_a_callback_that_is_faster_than_the_answer_finds_the_agreed_total(
    hosted: GatewayServer, row: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less than was asked for is a success at once, not a case for review."""
    real = HostedGateway.capture
    told = []

    def capture(self: HostedGateway, *given: Any, **more: Any) -> PaymentUpdate:
        answer = real(self, *given, **more)
        told.append((tell(hosted, row), fresh(row).state, Capture.objects.get().state))
        return answer

    monkeypatch.setattr(HostedGateway, "capture", capture)
    done = services.capture(row.pk, euros("15.00"))

    assert told == [("processed", "success", "succeeded")]
    assert (done.state, fresh(row).attention, fulfilments(row)) == ("succeeded", "", 1)
    check_settled(hosted)


def test_the_rest_is_let_go_by_canceling_after_a_part(hosted: GatewayServer, row: Transaction, staff: Any) -> None:
    """A success of what was captured, with the person who said so."""
    services.capture(row.pk, euros("5.00"), final=False)
    with pytest.raises(ReasonMissing):
        services.cancel(row.pk, actor=staff)
    done = services.cancel(row.pk, actor=staff, reason="the rest is out of stock")

    agreed = row.events.get(kind="amended", actor=staff)
    assert (done.state, done.captured_minor, done.agreed_minor, fulfilments(row)) == ("success", 500, 500, 1)
    assert (agreed.note, agreed.evidence["agreed_minor"]) == ("the rest is out of stock", 500)
    assert hosted.sessions[row.gateway_reference]["status"] == "success"
    check_settled(hosted)


@pytest.mark.parametrize("word", ["canceled", "expired"])
def test_a_gateway_that_calls_the_end_of_the_rest_by_another_name_is_understood(
    hosted: GatewayServer, row: Transaction, staff: Any, word: str
) -> None:
    """Its callback may come before its answer, and may say "canceled": agreed is agreed."""
    services.capture(row.pk, euros("5.00"), final=False)
    hosted.script(Answer.json({"reference": row.gateway_reference, "status": "authorized"}))
    waiting = services.cancel(row.pk, actor=staff, reason="out of stock")
    tell(hosted, row, status=word, captured="5.00")

    assert (waiting.state, waiting.agreed_minor) == ("authorized", 500)
    assert (fresh(row).state, fresh(row).attention, fulfilments(row)) == ("success", "", 1)
    check_books()


def test_a_rest_that_goes_without_our_word_is_held(hosted: GatewayServer, row: Transaction) -> None:
    """A part was taken and nobody has agreed to it: a person looks."""
    services.capture(row.pk, euros("5.00"), final=False)
    tell(hosted, row, status="expired", captured="5.00")

    held = fresh(row)
    assert (held.state, held.reason, held.attention) == ("held", "unexpected_capture", "mismatch")
    assert fulfilments(row) == 0
    check_books()


# --- Not more than there is.


@pytest.mark.parametrize("text", ["20.00", "19.995", "0", "-1"])
def test_no_more_is_taken_than_was_reserved(hosted: GatewayServer, row: Transaction, text: str) -> None:
    """Nor what is no amount; the gateway is not asked."""
    asked = len(hosted.requests)
    with pytest.raises((AmountNotLeft, InvalidAmount)):
        services.capture(row.pk, euros(text))
    with pytest.raises(InvalidAmount):
        services.capture(row.pk, Money("5.00", "USD"))

    assert (len(hosted.requests), Capture.objects.count()) == (asked, 0)


def test_no_more_is_taken_than_is_left(hosted: GatewayServer, row: Transaction) -> None:
    """Parts count, whoever made them."""
    services.capture(row.pk, euros("5.00"), final=False)
    with pytest.raises(AmountNotLeft):
        services.capture(row.pk, euros("15.00"))
    hosted.set_status(row.gateway_reference, "authorized", captured="12.00")
    services.refresh(row.pk)
    with pytest.raises(AmountNotLeft):
        services.capture(row.pk, euros("8.00"))

    assert services.capture(row.pk).amount_minor == 799


def test_more_may_be_reserved_than_asked_for_and_is_not_taken(hosted: GatewayServer) -> None:
    """The price is what the quote said."""
    started = services.initiate(str(make_order().pk)).transaction
    hosted.pay(started.gateway_reference, "30.00")
    row = services.refresh(started.pk)
    with pytest.raises(AmountNotLeft):
        services.capture(row.pk, euros("20.00"))

    assert (row.authorized_minor, services.capture(row.pk).amount_minor) == (3000, 1999)
    assert fresh(row).state == "success"


def test_less_may_be_reserved_and_all_of_it_is_the_whole_when_somebody_takes_it(hosted: GatewayServer) -> None:
    """A card with too little on it: what is left of the authorization, and no more."""
    started = services.initiate(str(make_order().pk)).transaction
    hosted.pay(started.gateway_reference, "15.00")
    row = services.refresh(started.pk)
    services.capture(row.pk)

    paid = fresh(row)
    assert (paid.state, paid.captured_minor, paid.agreed_minor) == ("success", 1500, 1500)
    check_settled(hosted)


def test_two_at_once_take_it_once(hosted: GatewayServer, row: Transaction) -> None:
    """Whoever is second is told so; the money moves once."""
    results = together(*[lambda: services.capture(row.pk, euros("12.00"), final=False)] * 4)

    done = [result for result in results if isinstance(result, Capture)]
    refused = [result for result in results if not isinstance(result, Capture)]
    assert [capture.state for capture in done] == ["succeeded"]
    assert all(isinstance(error, AmountNotLeft | MovementInProgress) for error in refused)
    assert (fresh(row).captured_minor, fresh(row).capturing_minor) == (1200, 1200)
    check_books()


def test_the_same_key_is_one_capture(hosted: GatewayServer, row: Transaction) -> None:
    """A form that is sent twice; another amount under it is a conflict."""
    first = services.capture(row.pk, euros("5.00"), final=False, idempotency_key="k")
    second = services.capture(row.pk, euros("5.00"), final=False, idempotency_key="k")
    at_once = together(*[lambda: services.capture(row.pk, euros("2.00"), final=False, idempotency_key="j")] * 3)
    with pytest.raises(IdempotencyConflict):
        services.capture(row.pk, euros("6.00"), final=False, idempotency_key="k")

    assert second.pk == first.pk
    assert len({capture.pk for capture in at_once}) == 1
    assert (Capture.objects.count(), fresh(row).captured_minor) == (2, 700)


# --- No answer, and a no.


def test_a_capture_without_an_answer_is_unknown_until_it_is_told_again(hosted: GatewayServer, row: Transaction) -> None:
    """Nothing is concluded; the same key at every try, so that the money is taken once."""
    hosted.script(*[Answer.lost()] * 3)
    capture = services.capture(row.pk, euros("15.00"))
    assert (capture.state, fresh(row).state, fresh(row).agreed_minor) == ("unknown", "authorized", 1500)
    with pytest.raises(MovementInProgress):
        services.capture(row.pk, euros("1.00"), final=False)
    with pytest.raises(MovementInProgress):
        services.cancel(row.pk, reason="never mind")
    done = again(capture)

    keys = {request.key for request in hosted.requests if request.path.startswith("/capture/")}
    assert (done.state, fresh(row).state, fresh(row).captured_minor) == ("succeeded", "success", 1500)
    assert keys == {capture.gateway_key}
    check_settled(hosted)


def test_the_sweep_finishes_what_a_crash_left_undone(
    hosted: GatewayServer, row: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intent was committed before the call: whoever comes by tells the gateway."""

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(HostedGateway, "capture", die)
    with pytest.raises(KeyboardInterrupt):
        services.capture(row.pk, euros("15.00"))
    left = Capture.objects.get()
    monkeypatch.undo()
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)
    Capture.objects.update(next_attempt_at=timezone.now(), submitted_at=timezone.now() - timedelta(minutes=2))
    services.tick()

    assert left.state == "requested"
    assert (Capture.objects.get().state, fresh(row).state) == ("succeeded", "success")
    check_settled(hosted)


def test_a_no_fails_the_capture_and_takes_the_agreement_back(hosted: GatewayServer, row: Transaction) -> None:
    """What was not captured is not the whole; it may be tried again."""
    hosted.script(Answer.error(402, "insufficient_funds"))
    failed = services.capture(row.pk, euros("15.00"))
    after = fresh(row)
    done = services.capture(row.pk)

    assert (failed.state, after.state, after.agreed_minor, after.capturing_minor) == ("failed", "authorized", None, 0)
    assert ("insufficient_funds" in failed.last_error, after.attention) == (True, "")
    assert (done.state, done.amount_minor, fresh(row).state) == ("succeeded", 1999, "success")
    check_settled(hosted)


def test_a_no_to_the_second_try_is_looked_into(hosted: GatewayServer, row: Transaction) -> None:
    """The first one may have been heard: the totals say so."""
    hosted.script(*[Answer.lost()] * 3)
    capture = services.capture(row.pk)
    hosted.script(Answer.error(422, "not_authorized"))

    assert again(capture).state == "succeeded"
    assert fresh(row).state == "success"


def test_a_no_to_the_second_try_that_was_never_heard_is_a_no(hosted: GatewayServer, row: Transaction) -> None:
    """And because nobody is looking any more, staff are told."""
    hosted.script(*UNKNOWN)
    capture = services.capture(row.pk, euros("15.00"))
    hosted.script(Answer.error(422, "too_late"))
    failed = again(capture)

    assert (failed.state, "too_late" in failed.last_error) == ("failed", True)
    assert (fresh(row).state, fresh(row).agreed_minor, fresh(row).attention) == ("authorized", None, "capture_failed")
    check_books()


def test_a_capture_that_was_never_heard_has_failed_where_the_gateway_closes_without_it(
    hosted: GatewayServer, row: Transaction
) -> None:
    """What was captured before is all there will be: it is not waited for, and staff are told of both."""
    services.capture(row.pk, euros("5.00"), final=False)
    hosted.script(*UNKNOWN)
    capture = services.capture(row.pk)
    hosted.set_status(row.gateway_reference, "success", amount="5.00")
    hosted.script(Answer.error(422, "not_authorized"))
    failed = again(capture)

    assert (failed.state, failed.next_attempt_at, "closed" in failed.last_error) == ("failed", None, True)
    assert (fresh(row).state, fresh(row).captured_minor) == ("held", 500)
    assert fresh(row).attention_codes == {"mismatch", "capture_failed"}
    check_books()


@pytest.mark.parametrize(("captured", "state"), [("15.00", "succeeded"), ("0", "failed")])
def test_once_the_key_is_forgotten_the_totals_decide_and_none_is_told_again(
    hosted: GatewayServer, row: Transaction, captured: str, state: str
) -> None:
    """A second call could take the money twice."""
    hosted.script(*UNKNOWN)
    capture = services.capture(row.pk, euros("15.00"), final=False)
    calls = len(hosted.requests)
    Capture.objects.update(submitted_at=timezone.now() - timedelta(days=2))
    hosted.set_status(row.gateway_reference, "authorized", captured=captured)

    assert again(capture).state == state
    assert [request.method for request in hosted.requests[calls:]] == ["GET"]
    assert fresh(row).attention == ("" if state == "succeeded" else "capture_failed")


class PonderingGateway(HostedGateway):
    """It has got the capture, and its totals do not know it yet."""

    def is_capturing(self, payment: PaymentRef) -> bool:
        return True


@pytest.mark.parametrize("changes", [{"submitted_at": timedelta(days=2)}, {"attempts": 10}])
def test_a_capture_that_is_on_its_way_there_is_waited_for(
    hosted: GatewayServer, row: Transaction, settings: Any, changes: dict[str, Any]
) -> None:
    """Neither a forgotten key nor many tries in vain make it a failure, and it is not told again."""
    speak_through(settings, PonderingGateway)
    hosted.script(*UNKNOWN)
    capture, calls = services.capture(row.pk), len(hosted.requests)
    now = timezone.now()
    Capture.objects.update(**{name: now - one if name == "submitted_at" else one for name, one in changes.items()})
    waiting = again(capture)
    hosted.set_status(row.gateway_reference, "success", amount="19.99")
    services.refresh(row.pk)

    assert (waiting.state, waiting.next_attempt_at is not None) == ("submitted", True)
    assert {request.method for request in hosted.requests[calls:]} == {"GET"}
    assert (Capture.objects.get().state, fresh(row).state, fresh(row).attention) == ("succeeded", "success", "")
    check_books()


def test_a_gateway_that_takes_the_capture_elsewhere_is_no_capture(hosted: GatewayServer, settings: Any) -> None:
    """What the gateway does not offer for this payment fails, and says so."""
    row = authorize(hosted)
    hosted.script(Answer.error(404))
    failed = services.capture(row.pk)

    assert (failed.state, "does not offer" in failed.last_error) == ("failed", True)
    assert fresh(row).state == "authorized"


# --- A gateway that takes the order, and tells later.


class SlowGateway(HostedGateway):
    """It says only that it has taken the order; the outcome is in a callback, and it cannot be asked."""

    supports_fetch = False
    supports_several_captures = False

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        super().capture(payment, idempotency_key=idempotency_key, final=final)
        return PaymentUpdate(state=State.AUTHORIZED)

    def parse_callback(self, request: CallbackRequest) -> list[PaymentUpdate]:
        return [
            replace(update, flags=frozenset({"capture_failed"})) if update.state is State.FAILED else update
            for update in super().parse_callback(request)
        ]


@pytest.fixture
def slow(hosted: GatewayServer, row: Transaction, settings: Any) -> Transaction:
    speak_through(settings, SlowGateway)
    return row


def test_a_capture_that_was_taken_succeeds_when_the_money_is_told(hosted: GatewayServer, slow: Transaction) -> None:
    """Until then it is on its way, and nobody starts another."""
    capture = services.capture(slow.pk, euros("15.00"))
    assert (capture.state, fresh(slow).state, fresh(slow).agreed_minor) == ("submitted", "authorized", 1500)
    with pytest.raises(MovementInProgress):
        services.capture(slow.pk)
    tell(hosted, slow)

    capture.refresh_from_db()
    assert (capture.state, fresh(slow).state, fresh(slow).captured_minor) == ("succeeded", "success", 1500)
    assert row_of_callback(slow) == "succeeded"
    check_settled(hosted)


def row_of_callback(row: Transaction) -> str:
    return str(row.events.filter(kind="capture", callback=row.callbacks.get()).get().reason)


def test_a_capture_that_fails_after_it_was_taken_is_shown_to_staff(hosted: GatewayServer, slow: Transaction) -> None:
    """The gateway's word ends the payment; the money is free again, and the agreement off."""
    services.capture(slow.pk, euros("15.00"))
    tell(hosted, slow, status="failed", captured=None)

    capture, row = Capture.objects.get(), fresh(slow)
    assert (capture.state, capture.last_error) == ("failed", "The gateway says that it failed.")
    assert (row.state, row.attention, row.agreed_minor, row.capturing_minor) == ("failed", "capture_failed", None, 0)
    check_books()


def test_a_capture_that_fails_after_it_succeeded_leaves_a_success_that_staff_see(
    hosted: GatewayServer, slow: Transaction
) -> None:
    """Success is final; that its money went away again is a flag."""
    services.capture(slow.pk, euros("15.00"))
    tell(hosted, slow)
    tell(hosted, slow, status="failed")

    row = fresh(slow)
    assert (Capture.objects.get().state, row.state, row.attention) == ("failed", "success", "capture_failed")
    assert (row.agreed_minor, row.captured_minor) == (1500, 1500)
    check_books()


def test_a_capture_whose_payment_ends_without_it_has_failed(hosted: GatewayServer, slow: Transaction) -> None:
    """The authorization expired while the capture was on its way."""
    capture = services.capture(slow.pk)
    tell(hosted, slow, status="expired", captured=None)

    capture.refresh_from_db()
    assert (capture.state, fresh(slow).state, fresh(slow).attention) == ("failed", "expired", "capture_failed")
    check_books()


def test_a_crash_between_the_news_and_the_capture_is_mended_by_the_clock(
    hosted: GatewayServer, slow: Transaction
) -> None:
    """What our own books cover has come through, also where the gateway cannot be asked."""
    capture = services.capture(slow.pk)
    apply_update(slow.pk, PaymentUpdate(state=State.SUCCESS, captured=slow.amount), source=Source.POLL)
    Capture.objects.update(next_attempt_at=timezone.now())
    services.tick()

    capture.refresh_from_db()
    assert capture.state == "succeeded"


def test_a_capture_of_which_nobody_can_tell_is_concluded_by_a_person(
    hosted: GatewayServer, slow: Transaction, staff: Any
) -> None:
    """The gateway cannot be asked, and has forgotten the key: staff are told, look, and free the money."""
    hosted.script(*UNKNOWN)
    capture = services.capture(slow.pk, euros("15.00"))
    with pytest.raises(InvalidTransition):
        services.conclude_capture(capture.pk, reason="not there", actor=staff)
    Capture.objects.update(submitted_at=timezone.now() - timedelta(days=2))
    given_up, flagged = again(capture), fresh(slow).attention
    with pytest.raises(ReasonMissing):
        services.conclude_capture(capture.pk, reason=" ", actor=staff)
    concluded = services.conclude_capture(capture.pk, reason="not there", actor=staff)

    row = fresh(slow)
    assert (given_up.state, given_up.next_attempt_at, flagged) == ("unknown", None, "capture_failed")
    assert (concluded.state, row.attention, row.agreed_minor, row.capturing_minor) == ("failed", "", None, 0)
    assert row.events.filter(kind="capture").last().actor == staff
    check_books()


def test_a_gateway_that_captures_once_is_not_asked_for_a_part_more(slow: Transaction) -> None:
    """Its first capture is its last, and says so beforehand."""
    with pytest.raises(UnsupportedOperation, match="captures once"):
        services.capture(slow.pk, euros("5.00"), final=False)
    assert not Capture.objects.exists()


class DecliningGateway(HostedGateway):
    """It answers a capture with the word "failed"."""

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        return PaymentUpdate(state=State.FAILED, decline_code="insufficient_funds")


class MixingGateway(HostedGateway):
    """It speaks of play money."""

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        told = super().capture(payment, idempotency_key=idempotency_key, final=final)
        return replace(told, test=True)


class PlainGateway(HostedGateway):
    """It can do neither."""

    supports_capture = supports_cancel = False


def test_a_declined_capture_leaves_the_authorization_alone(row: Transaction, settings: Any) -> None:
    """The word is about the capture; what the payment is, its own record says."""
    speak_through(settings, DecliningGateway)
    failed = services.capture(row.pk, euros("15.00"))

    assert (failed.state, failed.last_error) == ("failed", "insufficient_funds")
    assert (fresh(row).state, fresh(row).agreed_minor) == ("authorized", None)
    check_books()


def test_play_money_is_no_capture(row: Transaction, settings: Any) -> None:
    """The books take nothing of it; nobody knows what became of ours."""
    speak_through(settings, MixingGateway)
    capture = services.capture(row.pk)

    assert (capture.state, fresh(row).state, fresh(row).captured_minor) == ("unknown", "authorized", 0)


def test_what_a_gateway_cannot_do_is_said_before_it_is_asked(row: Transaction, settings: Any) -> None:
    """Neither capture nor letting go; it ends by itself."""
    speak_through(settings, PlainGateway)

    with pytest.raises(UnsupportedOperation, match="cannot capture"):
        services.capture(row.pk)
    with pytest.raises(UnsupportedOperation, match="ends by itself"):
        services.cancel(row.pk, reason="never mind")


# --- Letting go, and the end of an authorization.


def test_an_authorization_is_let_go(hosted: GatewayServer, row: Transaction, staff: Any) -> None:
    """Canceled here and there; the order is released, and the ledger has the reason."""
    Transaction.objects.update(expires_at=timezone.now() - timedelta(days=1))
    done = services.cancel(row.pk, actor=staff, reason="the shopper has changed their mind")

    event = row.events.filter(kind="moved").last()
    assert (done.state, hosted.sessions[row.gateway_reference]["status"]) == ("canceled", "canceled")
    assert (event.actor, event.note) == (staff, "the shopper has changed their mind")
    assert Fulfilment.objects.get().kind == "release"
    check_settled(hosted)


def test_no_answer_to_letting_the_rest_go_is_settled_by_asking(
    hosted: GatewayServer, row: Transaction, staff: Any
) -> None:
    """Whether the gateway has done it, its record says; either way it is no case for review."""
    services.capture(row.pk, euros("5.00"), final=False)
    hosted.script(*[Answer.lost()] * 3)
    with pytest.raises(GatewayUnavailable):
        services.cancel(row.pk, actor=staff, reason="out of stock")
    waiting = fresh(row).state
    done = services.refresh(row.pk)

    assert (waiting, done.state, done.agreed_minor, done.attention) == ("authorized", "success", 500, "")
    check_settled(hosted)


class RefusingGateway(HostedGateway):
    """It lets nothing go."""

    def cancel_payment(self, payment: PaymentRef, *, idempotency_key: str) -> PaymentUpdate:
        raise GatewayRejected(code="too_late")


def test_a_rest_that_is_not_let_go_is_not_agreed_to(row: Transaction, settings: Any, staff: Any) -> None:
    """Then the whole is the amount again, and the rest can still be taken."""
    services.capture(row.pk, euros("5.00"), final=False)
    speak_through(settings, RefusingGateway)
    with pytest.raises(GatewayRejected):
        services.cancel(row.pk, actor=staff, reason="out of stock")
    agreed = fresh(row).agreed_minor
    services.capture(row.pk)

    assert (agreed, fresh(row).state, fresh(row).captured_minor) == (None, "success", 1999)
    check_books()


def test_after_letting_the_rest_go_was_asked_for_it_may_still_be_taken(
    hosted: GatewayServer, row: Transaction, staff: Any
) -> None:
    """The gateway has not done it yet, and somebody changes their mind: the amount is the whole again."""
    services.capture(row.pk, euros("5.00"), final=False)
    hosted.script(Answer.json({"reference": row.gateway_reference, "status": "authorized"}))
    services.cancel(row.pk, actor=staff, reason="out of stock")
    services.capture(row.pk, reason="found another one", actor=staff)

    paid = fresh(row)
    assert (paid.state, paid.captured_minor, paid.agreed_minor, paid.attention) == ("success", 1999, None, "")
    check_settled(hosted)


def test_an_authorization_does_not_expire_by_our_clock(hosted: GatewayServer, row: Transaction) -> None:
    """EXPIRE_AFTER was the shopper's time; the gateway says when the reservation ends, and is asked calmly."""
    Transaction.objects.update(expires_at=timezone.now() - timedelta(days=3))
    services.tick()
    asked = services.expire(row.pk)
    assert (asked.state, hosted.sessions[row.gateway_reference]["status"]) == ("authorized", "authorized")
    hosted.set_status(row.gateway_reference, "expired")
    Transaction.objects.update(next_poll_at=timezone.now())
    services.tick()

    assert (fresh(row).state, fresh(row).attention) == ("expired", "")
    assert Fulfilment.objects.get().kind == "release"
    check_settled(hosted)


def test_an_authorization_of_the_last_second_is_kept(hosted: GatewayServer) -> None:
    """The clock asks once more before it expires anything, and does not let go of what it finds."""
    started = services.initiate(str(make_order().pk)).transaction
    hosted.pay(started.gateway_reference)
    Transaction.objects.update(expires_at=timezone.now())
    services.tick()

    assert fresh(started).state == "authorized"
    assert hosted.sessions[started.gateway_reference]["status"] == "authorized"


def test_an_authorization_that_comes_after_the_end_is_let_go(hosted: GatewayServer) -> None:
    """Money is not reserved for nothing; staff see that it was."""
    started = services.initiate(str(make_order().pk)).transaction
    services.cancel(started.pk)
    hosted.set_status(started.gateway_reference, "pending")
    hosted.pay(started.gateway_reference)
    services.refresh(started.pk)

    assert (fresh(started).state, fresh(started).attention) == ("canceled", "late")
    assert hosted.sessions[started.gateway_reference]["status"] == "canceled"


def test_nothing_is_captured_that_is_not_reserved() -> None:
    """Neither what is open, nor what is over, nor what is paid; nor what is not there."""
    for state in sorted(set(State) - {State.AUTHORIZED}):
        with pytest.raises(InvalidTransition, match=str(state)):
            services.capture(make_transaction(state).pk)
    with pytest.raises(Transaction.DoesNotExist):
        services.capture(uuid.uuid4())


def test_after_the_final_capture_there_is_no_other(hosted: GatewayServer, row: Transaction) -> None:
    """Also while the gateway has not said yet that the rest is gone."""
    told = {"reference": row.gateway_reference, "status": "authorized", "captured": "5.00", "currency": "EUR"}
    hosted.script(Answer.json(told))
    first = services.capture(row.pk, euros("5.00"))
    with pytest.raises(InvalidTransition, match="let go already"):
        services.capture(row.pk)

    assert (first.state, fresh(row).state, fresh(row).agreed_minor) == ("succeeded", "authorized", 500)


def test_a_capture_at_the_gateways_own_console_is_heard_of(hosted: GatewayServer, row: Transaction) -> None:
    """In full it is a success; no capture of ours is made up for it."""
    hosted.set_status(row.gateway_reference, "success")
    services.refresh(row.pk)

    assert (fresh(row).state, Capture.objects.count()) == ("success", 0)
    check_settled(hosted)


def test_a_capture_that_was_never_told_is_not_taken_for_one_that_was(hosted: GatewayServer, row: Transaction) -> None:
    """News that cover it came from somewhere else: the gateway is told first, and says what it did."""
    capture = open_movement(Capture(transaction=row, amount_minor=500, final=False), source=Source.SYSTEM)
    hosted.set_status(row.gateway_reference, "authorized", captured="6.00")
    services.refresh(row.pk)
    capture.refresh_from_db()

    assert (capture.state, fresh(row).captured_minor) == (MovementState.REQUESTED, 600)


def test_requests_are_recorded(hosted: GatewayServer, row: Transaction) -> None:
    """A session that only reserves is opened as one."""
    opened: RecordedRequest = hosted.requests[0]

    assert opened.json["capture"] == "manual"
    assert row.manual_capture


def test_news_that_say_nothing_of_a_capture_leave_it_on_its_way(hosted: GatewayServer, slow: Transaction) -> None:
    """Still reserved, nothing taken yet."""
    capture = services.capture(slow.pk)
    tell(hosted, slow, status="authorized", captured=None)

    capture.refresh_from_db()
    assert (capture.state, fresh(slow).state) == ("submitted", "authorized")


def test_a_failure_is_not_laid_on_a_capture_that_was_never_told(hosted: GatewayServer, slow: Transaction) -> None:
    """The payment is over, staff see the flag, and the intent finds its own end."""
    intent = open_movement(Capture(transaction=slow, amount_minor=500, final=True), source=Source.SYSTEM)
    tell(hosted, slow, status="failed", captured=None)

    intent.refresh_from_db()
    assert (intent.state, fresh(slow).state, fresh(slow).attention) == ("requested", "failed", "capture_failed")


@pytest.mark.parametrize(
    ("captured", "is_it"),
    [(None, False), (euros("4.99"), False), (euros("5.00"), True), (euros("5.001"), False), (Money(9, "USD"), False)],
)
def test_a_capture_has_come_through_when_a_total_of_its_own_currency_covers_it(
    row: Transaction, captured: Money | None, is_it: bool
) -> None:
    """What cannot be counted covers nothing."""
    assert is_covered(Capture(transaction=row, amount_minor=300, before_minor=200), captured) is is_it
