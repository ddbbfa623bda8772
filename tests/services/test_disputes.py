"""Disputes: kept in rows of their own, in any order, shown to staff, and never a move."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.models import Dispute, Transaction
from django_gatewaypay.services.disputes import dump_dispute, hear_dispute, load_dispute
from django_gatewaypay.signals import dispute_changed
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import CallbackRequest, DisputeState, DisputeUpdate, PaymentUpdate, Source, State
from tests.factories import make_order, make_transaction
from tests.invariants import check_books
from tests.test_races import no_errors, together

pytestmark = pytest.mark.django_db(transaction=True)

DUE = datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def row(hosted: GatewayServer) -> Transaction:
    """A paid order."""
    started = services.initiate(str(make_order().pk)).transaction
    hosted.pay(started.gateway_reference)
    return services.refresh(started.pk)


def told(hosted: GatewayServer, row: Transaction, **said: Any) -> str:
    """The gateway tells of the session as it is now; what became of the message."""
    [pk] = services.receive_callback("hosted", CallbackRequest(*hosted.callback(row.gateway_reference, **said)))
    return str(services.process_callback(pk))


def news(state: DisputeState = DisputeState.OPEN, **more: Any) -> DisputeUpdate:
    return DisputeUpdate(**{"dispute_reference": "dp_1", "state": state, **more})


def hear(row: Transaction, *said: DisputeUpdate) -> None:
    for dispute in said:
        hear_dispute(row, PaymentUpdate(dispute=dispute), source=Source.POLL)


def test_a_dispute_is_kept_and_shown_and_moves_nothing(hosted: GatewayServer, row: Transaction) -> None:
    """A row, a ledger line with the message behind it, and a flag; the payment stays paid."""
    hosted.dispute(row.gateway_reference, dispute_amount="5.00", dispute_due_at="2030-01-31T12:00:00Z")
    state = told(hosted, row)

    row.refresh_from_db()
    dispute, line = Dispute.objects.get(), row.events.get(kind="dispute")
    assert (state, row.state, row.attention) == ("processed", "success", "disputed")
    assert (dispute.transaction, dispute.gateway_reference) == (row, f"dp_{row.gateway_reference}")
    assert (dispute.state, dispute.amount, dispute.reason) == ("open", Money("5.00", "EUR"), "fraudulent")
    assert dispute.due_at == DUE
    assert (line.from_state, line.to_state, line.reason, line.callback) == (
        "success",
        "success",
        "open",
        row.callbacks.get(),
    )
    assert line.evidence["amount"] == "5.00 EUR"
    check_books(hosted)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_in_any_order_the_highest_word_holds(hosted: GatewayServer, row: Transaction, order: tuple[int, ...]) -> None:
    """State, amount and due date end the same; so they do when each is said twice."""
    said = [
        news(amount=Money("5.00", "EUR"), due_at=DUE),
        news(DisputeState.UNDER_REVIEW, reason="fraudulent"),
        news(DisputeState.LOST, amount=Money("6.00", "EUR")),
        news(DisputeState.WON),
    ]
    hear(row, *(said[number] for number in order), *(said[number] for number in order))

    dispute = Dispute.objects.get()
    assert (dispute.state, dispute.amount, dispute.due_at, dispute.reason) == (
        "lost",
        Money("6.00", "EUR"),
        DUE,
        "fraudulent",
    )
    check_books()


def test_of_the_same_word_the_newest_amount_and_due_date_count(row: Transaction) -> None:
    """The bank asks for more, or gives more time."""
    later = DUE + timedelta(days=7)
    hear(row, news(amount=Money("5.00", "EUR"), due_at=DUE), news(amount=Money("6.00", "EUR"), due_at=later), news())

    dispute = Dispute.objects.get()
    assert (dispute.amount, dispute.due_at) == (Money("6.00", "EUR"), later)


def test_two_disputes_of_one_payment_are_two(row: Transaction) -> None:
    """Each has its own reference, and its own end."""
    hear(row, news(), replace(news(DisputeState.LOST), dispute_reference="dp_2"), news(DisputeState.WON))

    ends = dict(Dispute.objects.values_list("gateway_reference", "state"))
    assert ends == {"dp_1": "won", "dp_2": "lost"}


def test_what_is_known_is_not_raised_again_and_news_is(hosted: GatewayServer, row: Transaction) -> None:
    """A person has dealt with it: another message about the payment, or a refresh, does not bring it back."""
    hosted.dispute(row.gateway_reference)
    told(hosted, row)
    services.resolve(row.pk, ["disputed"], reason="answered at the bank", actor=None)
    lines = row.events.count()
    told(hosted, row)
    after_repeats = services.refresh(row.pk).attention
    written = row.events.count() - lines
    hosted.dispute(row.gateway_reference, "lost")

    assert (after_repeats, written) == ("", 0)
    assert services.refresh(row.pk).attention == "disputed"


def test_news_is_signalled_once_after_its_commit(row: Transaction) -> None:
    """The host hears of it when it can be read; a repetition is no news."""
    heard = []

    def listen(dispute: Dispute, state: DisputeState, **_: Any) -> None:
        heard.append((Dispute.objects.get(pk=dispute.pk).state, state))

    dispute_changed.connect(listen)
    hear(row, news(), news(), news(DisputeState.WON))
    dispute_changed.disconnect(listen)

    assert heard == [("open", "open"), ("won", "won")]


def test_a_receiver_that_fails_costs_nothing(row: Transaction, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the dispute stays."""

    def fail(**_: Any) -> None:
        raise LookupError("no such department")

    dispute_changed.connect(fail)
    hear(row, news())
    dispute_changed.disconnect(fail)

    assert Dispute.objects.get().state == "open"
    assert "receiver failed dispute='dp_1'" in caplog.text


def test_told_twice_at_once_it_is_one_dispute(hosted: GatewayServer, row: Transaction) -> None:
    """Whoever loses looks again."""
    states = [DisputeState.OPEN, DisputeState.UNDER_REVIEW, DisputeState.LOST, DisputeState.OPEN]
    no_errors(together(*(lambda state=state: hear(row, news(state)) for state in states)))

    assert Dispute.objects.get().state == "lost"
    assert Transaction.objects.get().attention == "disputed"
    check_books(hosted)


def test_a_rival_between_reading_and_writing_is_noticed(row: Transaction, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says the same a moment later writes nothing, and raises nothing."""
    real, rival = services.disputes._keep, []

    def keep(*said: Any) -> None:
        if not rival:
            rival.append(True)
            hear(row, news())
        real(*said)

    monkeypatch.setattr(services.disputes, "_keep", keep)
    hear(row, news())

    assert Dispute.objects.get().state == "open"
    assert [line.reason for line in row.events.filter(kind="dispute")] == ["open"]


def test_a_crash_after_the_dispute_is_kept_loses_nothing(
    hosted: GatewayServer, row: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag is in the same commit; the message is worked on again."""
    hosted.dispute(row.gateway_reference)
    real = services.callbacks.apply_update

    def die(*_: Any, **__: Any) -> None:
        raise ConnectionError("the process dies here")

    monkeypatch.setattr(services.callbacks, "apply_update", die)
    first = told(hosted, row)
    flagged = Transaction.objects.get().attention
    monkeypatch.setattr(services.callbacks, "apply_update", real)
    again = services.process_callback(row.callbacks.model.objects.get().pk)

    assert (first, flagged, again) == ("received", "disputed", "processed")
    assert row.events.filter(kind="dispute").count() == 1


def test_money_that_cannot_be_counted_is_still_a_dispute(row: Transaction) -> None:
    """The amount stays empty; the news is kept."""
    hear(row, news(amount=Money("5.001", "EUR")))

    dispute = Dispute.objects.get()
    assert (dispute.amount, dispute.amount_text, dispute.currency) == (None, "", "")


@pytest.mark.parametrize("state", [State.PENDING, State.FAILED, State.HELD, State.SUCCESS])
def test_no_state_is_moved_by_a_dispute(state: State) -> None:
    """Whatever the payment was, it is that still."""
    row = make_transaction(state)
    hear(row, news(DisputeState.LOST))

    row.refresh_from_db()
    assert row.state == state
    assert "disputed" in row.attention_codes


class ThinDisputes(HostedGateway):
    """A gateway whose message says only that there is a dispute, and whose record says nothing of it."""

    def parse_callback(self, request: CallbackRequest) -> list[PaymentUpdate]:
        return [
            PaymentUpdate(gateway_reference=update.gateway_reference, event_id=update.event_id, dispute=update.dispute)
            for update in super().parse_callback(request)
        ]

    def fetch_payment(self, payment: Any) -> PaymentUpdate:
        return replace(super().fetch_payment(payment), dispute=None)


class FlaggingOnly(HostedGateway):
    """A gateway that knows of disputes and tells nothing more."""

    def fetch_payment(self, payment: Any) -> PaymentUpdate:
        return replace(super().fetch_payment(payment), dispute=None, flags=frozenset({"disputed"}))


def speak_through(settings: Any, kind: type[HostedGateway]) -> None:
    one = {**settings.GATEWAYPAY["GATEWAYS"]["hosted"], "BACKEND": f"{__name__}.{kind.__name__}"}
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {"hosted": one}}


def test_a_message_without_a_state_is_asked_about_and_its_dispute_is_kept(
    hosted: GatewayServer, row: Transaction, settings: Any
) -> None:
    """What the record does not repeat is not lost, and is no unknown state."""
    speak_through(settings, ThinDisputes)
    hosted.dispute(row.gateway_reference)
    told(hosted, row)

    row.refresh_from_db()
    assert Dispute.objects.get().state == "open"
    assert row.attention == "disputed"


def test_a_bare_flag_counts_until_there_is_a_dispute_to_look_at(
    hosted: GatewayServer, row: Transaction, settings: Any
) -> None:
    """A gateway that only says "disputed" is heard; where a dispute's own row is known, that row decides."""
    speak_through(settings, FlaggingOnly)
    first = services.refresh(row.pk).attention
    hear(row, news())
    services.resolve(row.pk, ["disputed"], reason="it is ours to win", actor=None)

    assert first == "disputed"
    assert services.refresh(row.pk).attention == ""


@pytest.mark.parametrize(
    "said", [None, news(), news(DisputeState.LOST, amount=Money("5.00", "EUR"), due_at=DUE, reason="fraudulent")]
)
def test_the_inbox_gives_back_what_it_was_given(said: DisputeUpdate | None) -> None:
    """Nothing of the news is lost on the way through JSON."""
    assert load_dispute(dump_dispute(said)) == said


def test_a_host_without_time_zones_keeps_its_own_time(row: Transaction, settings: Any) -> None:
    """USE_TZ off: the due date is naive, in the host's zone."""
    settings.USE_TZ = False

    assert services.disputes._columns(news(due_at=DUE))["due_at"] == datetime(2030, 1, 31, 12)  # noqa: DTZ001


def test_what_anybody_could_have_sent_is_no_dispute(hosted: GatewayServer, row: Transaction, settings: Any) -> None:
    """Of a gateway that signs nothing only the record counts: neither a row nor a flag comes from a hint."""
    account = {**settings.GATEWAYPAY["GATEWAYS"]["hosted"], "BACKEND": "tests.services.test_trips.SignsNothing"}
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {"hosted": account}}
    forged = told(hosted, row, dispute_reference="dp_1", dispute_status="lost", dispute_amount="19.99")
    row.refresh_from_db()
    hinted = (forged, Dispute.objects.count(), row.attention)
    hosted.dispute(row.gateway_reference)
    told(hosted, row)

    row.refresh_from_db()
    assert hinted == ("processed", 0, "")
    assert (Dispute.objects.get().state, row.attention) == ("open", "disputed")
