"""Asking the gateway: what it says becomes true, and what it does not say stays unknown."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.utils import timezone
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.exceptions import GatewayRejected, GatewayUnavailable, InvalidTransition
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.lifecycle import apply_update
from django_gatewaypay.models import Fulfilment, Transaction
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import PaymentRef, PaymentUpdate, Source, State
from tests.factories import make_order, make_transaction

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not sleep."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


@pytest.fixture
def row(hosted: GatewayServer) -> Transaction:
    """A pending payment."""
    return services.initiate(str(make_order().pk)).transaction


def test_a_refresh_finds_a_payment_that_was_never_called_back(hosted: GatewayServer, row: Transaction) -> None:
    """An authenticated read is evidence like a callback."""
    hosted.pay(row.gateway_reference)
    fresh = services.refresh(row.pk)

    assert fresh.state == "success"
    assert fresh.events.last().evidence["captured"] == "19.99 EUR"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer.html(), GatewayUnavailable),
        (Answer.error(500), GatewayUnavailable),
        (Answer.closed(), GatewayUnavailable),
        (Answer.error(404), GatewayRejected),
    ],
)
def test_no_answer_changes_nothing(hosted: GatewayServer, row: Transaction, answer: Answer, error: Any) -> None:
    """A gateway that cannot tell is no reason to conclude anything."""
    hosted.script(*[answer] * 3)
    with pytest.raises(error):
        services.refresh(row.pk)

    row.refresh_from_db()
    assert (row.state, row.version) == ("pending", 1)


def test_an_unknown_word_is_flagged(hosted: GatewayServer, row: Transaction) -> None:
    """A state that the adapter does not know waits for staff."""
    hosted.set_status(row.gateway_reference, "on_hold_by_robot")

    assert services.refresh(row.pk).attention == "unknown_state"


def test_a_returning_shopper_asks_at_most_every_few_seconds(hosted: GatewayServer, row: Transaction) -> None:
    """Reloading the page does not hammer the gateway."""
    before = len(hosted.requests)
    with time_machine.travel(timezone.now(), tick=False):
        for _ in range(5):
            services.refresh_for_shopper(Transaction.objects.get(pk=row.pk))
    asked = len(hosted.requests) - before
    Transaction.objects.update(refreshed_at=timezone.now() - timedelta(seconds=4))
    services.refresh_for_shopper(Transaction.objects.get(pk=row.pk))

    assert (asked, len(hosted.requests) - before) == (1, 2)


def test_a_waiting_shopper_is_asked_for_in_seconds(hosted: GatewayServer, row: Transaction) -> None:
    """Once the shopper is back and the answer is open, the next question is two seconds away."""
    with time_machine.travel(timezone.now(), tick=False):
        services.refresh_for_shopper(row)
        soon = Transaction.objects.get().next_poll_at - timezone.now()

    assert Transaction.objects.get().waiting_since is not None
    assert timedelta(seconds=1) < soon < timedelta(seconds=3)


def test_a_returning_shopper_sees_the_page_although_the_gateway_is_away(
    hosted: GatewayServer, row: Transaction
) -> None:
    """No answer is "still confirming", not an error."""
    hosted.script(*[Answer.error(503)] * 3)
    shown = services.refresh_for_shopper(row)

    assert shown.state == "pending"
    assert Transaction.objects.get().waiting_since is not None


def test_cancel_closes_the_session_first(hosted: GatewayServer, row: Transaction) -> None:
    """Afterwards nobody can pay it."""
    canceled = services.cancel(row.pk)

    assert canceled.state == "canceled"
    assert hosted.sessions[row.gateway_reference]["status"] == "canceled"


def test_a_cancel_that_comes_too_late_finds_the_money(hosted: GatewayServer, row: Transaction) -> None:
    """The gateway's answer wins over our wish."""
    hosted.pay(row.gateway_reference)

    assert services.cancel(row.pk).state == "success"
    assert Fulfilment.objects.get().kind == "fulfil"


def test_a_cancel_without_an_answer_changes_nothing(hosted: GatewayServer, row: Transaction) -> None:
    """Unknown is unknown: the shopper may try again."""
    hosted.script(*[Answer.error(503)] * 3)
    with pytest.raises(GatewayUnavailable):
        services.cancel(row.pk)

    assert Transaction.objects.get().state == "pending"


@pytest.mark.parametrize("state", [State.PROCESSING, State.HELD, State.SUCCESS, State.FAILED, State.EXPIRED])
def test_what_is_decided_or_with_the_bank_cannot_be_canceled(state: State) -> None:
    """The error says in which state it is."""
    with pytest.raises(InvalidTransition, match=str(state)):
        services.cancel(make_transaction(state).pk)


def test_expiry_asks_once_more_and_finds_the_money(hosted: GatewayServer, row: Transaction) -> None:
    """A payment made in the last second is a payment."""
    hosted.pay(row.gateway_reference)
    fresh = services.expire(row.pk)

    assert (fresh.state, fresh.late) == ("success", False)


def test_expiry_lets_go_of_nothing_that_was_reserved(hosted: GatewayServer, row: Transaction) -> None:
    """Reserved in the last second is reserved; the gateway says when that ends."""
    hosted.set_status(row.gateway_reference, "authorized", authorized="19.99")
    fresh = services.expire(row.pk)

    assert (fresh.state, hosted.sessions[row.gateway_reference]["status"]) == ("authorized", "authorized")


def test_why_it_was_canceled_is_in_the_ledger(hosted: GatewayServer, row: Transaction) -> None:
    """Where somebody has said so."""
    services.cancel(row.pk, reason=" ordered twice ")

    assert row.events.last().note == "ordered twice"


def test_a_shopper_does_not_let_go_of_what_the_shop_has_reserved(hosted: GatewayServer, row: Transaction) -> None:
    """The goods may be on their way; an open payment is theirs to cancel."""
    reserved = make_transaction(State.AUTHORIZED)
    with pytest.raises(InvalidTransition, match="shop's"):
        services.cancel_for_shopper(reserved)

    assert services.cancel_for_shopper(row).state == "canceled"


def test_expiry_closes_the_session_and_the_transaction(hosted: GatewayServer, row: Transaction) -> None:
    """The reason is ours: it expired, although the gateway calls it canceled."""
    fresh = services.expire(row.pk)

    assert (fresh.state, fresh.shopper_reason) == ("expired", "expired")
    assert hosted.sessions[row.gateway_reference]["status"] == "canceled"
    assert Fulfilment.objects.get().kind == "release"


@pytest.mark.parametrize("answer", [Answer.error(503), Answer.html(), Answer.closed()])
def test_expiry_does_not_wait_for_a_gateway_that_is_away(
    hosted: GatewayServer, row: Transaction, answer: Answer
) -> None:
    """The shopper is not kept pending; the gateway is asked again later."""
    hosted.script(*[answer] * 3)
    fresh = services.expire(row.pk)

    assert fresh.state == "expired"
    assert fresh.next_poll_at is not None
    assert fresh.events.last().note == "the gateway gave no answer"


def test_expiry_never_touches_what_the_bank_decides(hosted: GatewayServer, row: Transaction) -> None:
    """Processing does not expire."""
    hosted.set_status(row.gateway_reference, "processing")

    assert services.expire(row.pk).state == "processing"


def test_an_account_that_was_taken_out_of_the_settings_still_expires(row: Transaction, settings: Any) -> None:
    """Old rows of a gateway that the host has left do not stay open for ever."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {}}

    assert services.expire(row.pk).state == "expired"
    with pytest.raises(GatewayUnavailable, match="not in GATEWAYS"):
        services.refresh(row.pk)


class ReservingGateway(HostedGateway):
    """A hosted gateway that authorizes."""

    released: list[PaymentRef] = []

    def cancel_payment(self, payment: PaymentRef, *, idempotency_key: str) -> PaymentUpdate:
        self.released.append(payment)
        return PaymentUpdate(state=State.CANCELED, gateway_reference=payment.gateway_reference)


def test_an_authorization_after_the_end_is_released_at_the_gateway(settings: Any) -> None:
    """Money is not reserved for nothing."""
    options = settings.GATEWAYPAY["GATEWAYS"]["hosted"]["OPTIONS"]
    backend = f"{__name__}.ReservingGateway"
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {"hosted": {"BACKEND": backend, "OPTIONS": options}}}
    row = make_transaction(State.EXPIRED)
    reserved = PaymentUpdate(state=State.AUTHORIZED, authorized=Money("19.99", "EUR"))
    services.refreshing.follow_up(apply_update(row.pk, reserved, source=Source.CALLBACK))

    row.refresh_from_db()
    assert [payment.transaction_id for payment in ReservingGateway.released] == [str(row.pk)]
    assert (row.state, row.attention) == ("expired", "late")


class MuteGateway(HostedGateway):
    """A gateway that can neither be asked nor told."""

    supports_fetch = supports_cancel = False


class StubbornGateway(HostedGateway):
    """A gateway that keeps a session open whatever it is told, and lets go of nothing."""

    def cancel_payment(self, payment: PaymentRef, *, idempotency_key: str) -> PaymentUpdate:
        if idempotency_key.endswith("release"):
            raise GatewayUnavailable
        return PaymentUpdate(state=State.PENDING, gateway_reference=payment.gateway_reference)


def speak_through(settings: Any, kind: type[HostedGateway]) -> None:
    options = settings.GATEWAYPAY["GATEWAYS"]["hosted"]["OPTIONS"]
    backend = f"{__name__}.{kind.__name__}"
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {"hosted": {"BACKEND": backend, "OPTIONS": options}}}


def test_a_gateway_that_cannot_be_asked_changes_nothing(settings: Any) -> None:
    """Refreshing is then no error; the callback decides."""
    speak_through(settings, MuteGateway)
    row = make_transaction(State.PENDING)

    assert services.refresh(row.pk).version == row.version
    assert services.refresh_for_shopper(row).state == "pending"


def test_a_gateway_without_a_cancel_call_is_canceled_here(settings: Any) -> None:
    """Its session ends by itself; money that still comes is late money."""
    speak_through(settings, MuteGateway)

    assert services.cancel(make_transaction(State.PENDING).pk).state == "canceled"


def test_a_session_that_the_gateway_keeps_open_ends_here_with_a_note(settings: Any) -> None:
    """The shopper's wish counts, and the ledger says what the gateway said."""
    speak_through(settings, StubbornGateway)
    row = services.cancel(make_transaction(State.PENDING).pk)

    assert (row.state, row.events.last().note) == ("canceled", "the gateway keeps its session open")


def test_an_authorization_that_cannot_be_released_now_is_logged(settings: Any, caplog: Any) -> None:
    """The flag stays, and nothing breaks."""
    speak_through(settings, StubbornGateway)
    row = make_transaction(State.EXPIRED)
    reserved = PaymentUpdate(state=State.AUTHORIZED, authorized=Money("19.99", "EUR"))
    services.refreshing.follow_up(apply_update(row.pk, reserved, source=Source.CALLBACK))

    assert f"not released transaction={row.pk}" in caplog.text


def test_a_waiting_shopper_is_not_scheduled_over_a_payment_that_has_just_ended(
    hosted: GatewayServer, row: Transaction
) -> None:
    """The row moved on while the page was made: its own schedule counts."""
    hosted.pay(row.gateway_reference)
    services.refresh(row.pk)
    services.refreshing._await_answer(row)

    assert Transaction.objects.get().waiting_since is None


@pytest.mark.parametrize("state", State)
def test_an_adapter_is_told_when_no_more_money_may_be_taken(state: State) -> None:
    """Watching a payment that is over asks, and captures nothing."""
    row = make_transaction(state)
    over = state in {State.EXPIRED, State.CANCELED, State.FAILED, State.HELD, State.SUCCESS}

    assert services.refreshing.payment_ref(row).closed is over


# --- Why, for who says so.


def start() -> Transaction:
    return services.initiate(str(make_order().pk)).transaction


def member() -> Any:
    return get_user_model().objects.create_user("night")


def test_why_somebody_asked_is_kept_also_where_nothing_is_new(hosted: GatewayServer) -> None:
    """With a name, in a line of its own; who says nothing leaves no line."""
    row, ann = start(), member()
    services.refresh(row.pk, source=Source.STAFF, actor=ann)
    quiet = row.events.count()
    services.refresh(row.pk, source=Source.STAFF, actor=ann, reason=" the shopper calls ")
    line = row.events.last()

    assert quiet + 1 == row.events.count()
    assert (line.kind, line.source, line.actor, line.note) == ("noted", "staff", ann, "the shopper calls")


def test_why_a_payment_was_expired_is_kept(hosted: GatewayServer) -> None:
    """Also where the gateway gives no answer, and where the shopper was faster."""
    rows, ann = [start() for _ in range(3)], member()
    hosted.pay(rows[1].gateway_reference)
    for row in rows[:2]:
        services.expire(row.pk, actor=ann, reason="by telephone")
    hosted.script(*[Answer.error(503)] * 9)
    services.expire(rows[2].pk, actor=ann, reason="by telephone")
    notes = [row.events.last().note for row in rows]

    assert notes == ["by telephone", "by telephone", "by telephone · the gateway gave no answer"]
    assert [row.events.last().to_state for row in rows] == ["expired", "success", "expired"]
