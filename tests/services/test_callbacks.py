"""The inbox: verified, stored, acknowledged, and then worked on until it is done or visibly dead."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.exceptions import InvalidSignature, MalformedCallback, UnknownGateway
from django_gatewaypay.gateways.circuit import Circuit
from django_gatewaypay.lifecycle import apply_update
from django_gatewaypay.models import Callback, Fulfilment, Transaction, TransactionEvent
from django_gatewaypay.registry import gateways
from django_gatewaypay.services import callbacks
from django_gatewaypay.services.callbacks import dump_update, load_update
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer, sign
from django_gatewaypay.types import CallbackRequest, PaymentUpdate, RefundState, RefundUpdate, Source, State
from tests.factories import make_order, make_transaction
from tests.invariants import check_books

pytestmark = pytest.mark.django_db(transaction=True)


def pending(hosted: GatewayServer, **order: Any) -> Transaction:
    return services.initiate(str(make_order(**order).pk)).transaction


def deliver(hosted: GatewayServer, row: Transaction, **said: Any) -> list[str]:
    headers, body = hosted.callback(row.gateway_reference, **said)
    return [services.process_callback(pk) for pk in services.receive_callback("hosted", CallbackRequest(headers, body))]


@pytest.mark.parametrize("word", ["success", "failed", "canceled", "expired", "processing"])
def test_a_callback_moves_its_transaction(hosted: GatewayServer, word: str) -> None:
    """What the gateway signs is what becomes true, with the inbox row as its evidence."""
    row = pending(hosted)
    said = deliver(hosted, row, status=word)

    row.refresh_from_db()
    event = row.events.last()
    assert (said, row.state) == (["processed"], word)
    assert event.callback == Callback.objects.get()
    assert event.callback.transaction == row


def test_a_duplicate_is_known_and_kept_out(hosted: GatewayServer) -> None:
    """The same event twice is one inbox row, one move and one fulfilment."""
    row = pending(hosted)
    hosted.pay(row.gateway_reference)
    first = deliver(hosted, row, event_id="evt_1")
    second = deliver(hosted, row, event_id="evt_1")

    assert (first, second) == (["processed"], [])
    assert Callback.objects.count() == 1
    assert Fulfilment.objects.count() == 1


def test_the_same_fact_under_two_event_ids_has_one_effect(hosted: GatewayServer) -> None:
    """A gateway that sends two events for one change changes nothing twice."""
    row = pending(hosted)
    hosted.pay(row.gateway_reference)
    deliver(hosted, row)
    deliver(hosted, row)

    row.refresh_from_db()
    assert row.version == 2
    assert Fulfilment.objects.count() == 1


def test_disorder_ends_where_order_would_have_ended(hosted: GatewayServer) -> None:
    """Success first and the older news after it is still success."""
    row = pending(hosted)
    hosted.pay(row.gateway_reference)
    deliver(hosted, row)
    for older in ("processing", "pending", "expired", "failed"):
        deliver(hosted, row, status=older)

    row.refresh_from_db()
    assert row.state == "success"
    assert row.events.filter(kind="noted").count() == 4


@pytest.mark.parametrize(
    "said",
    [
        {"amount": "19.98"},
        {"amount": "20.00"},
        {"amount": "1999.00"},
        {"amount": "-19.99"},
        {"amount": 19.99},
        {"amount": "1999e-2"},
        {"amount": None},
        {"amount": ["19.99"]},
        {"amount": "19.99", "currency": "USD"},
        {"amount": "1999", "currency": "JPY"},
        {"currency": None},
    ],
    ids=str,
)
def test_signed_but_wrong_money_is_held(hosted: GatewayServer, said: dict[str, Any]) -> None:
    """A valid signature is not a valid payment: nothing is fulfilled, nothing is dropped, staff see it."""
    row = pending(hosted)
    hosted.pay(row.gateway_reference)
    deliver(hosted, row, **said)

    row.refresh_from_db()
    assert (row.state, row.attention, row.shopper_reason) == ("held", "mismatch", "under_review")
    assert not Fulfilment.objects.exists()


def test_a_message_about_nothing_of_ours_waits_and_touches_nothing(hosted: GatewayServer) -> None:
    """An unknown transaction is kept as unmatched; no row tells that it does not exist."""
    row = pending(hosted)
    hosted.pay(row.gateway_reference)
    said = deliver(hosted, row, transaction_id="5c0cbd9c-0000-4000-8000-000000000000")

    row.refresh_from_db()
    assert (said, row.state) == (["unmatched"], "pending")


def test_another_accounts_secret_cannot_touch_our_transaction(hosted: GatewayServer, settings: Any) -> None:
    """An event that account B signed is about B's transactions only."""
    row = pending(hosted)
    settings.GATEWAYPAY["GATEWAYS"]["other"] = settings.GATEWAYPAY["GATEWAYS"]["hosted"]
    hosted.pay(row.gateway_reference)
    headers, body = hosted.callback(row.gateway_reference)
    [pk] = services.receive_callback("other", CallbackRequest(headers, body))

    assert services.process_callback(pk) == "unmatched"
    assert Transaction.objects.get().state == "pending"


def test_another_session_that_names_our_transaction_is_held(hosted: GatewayServer) -> None:
    """The reference must be the one that we opened."""
    row = pending(hosted)
    hosted.pay(row.gateway_reference)
    hosted.sessions["ps_stranger"] = {**hosted.sessions[row.gateway_reference], "reference": "ps_stranger"}
    headers, body = hosted.callback("ps_stranger")
    [pk] = services.receive_callback("hosted", CallbackRequest(headers, body))
    services.process_callback(pk)

    row.refresh_from_db()
    assert (row.state, row.reason) == ("held", "reference_mismatch")


@pytest.mark.parametrize("word", ["chargeback_lost", "", None, 7, {"a": 1}])
def test_an_unknown_word_makes_the_core_ask_the_gateway(hosted: GatewayServer, word: Any) -> None:
    """What the adapter does not know is no state; the gateway's own record decides."""
    row = pending(hosted)
    hosted.pay(row.gateway_reference)
    deliver(hosted, row, status=word)

    row.refresh_from_db()
    assert row.state == "success"


def test_a_word_that_the_gateway_keeps_using_goes_to_staff(hosted: GatewayServer) -> None:
    """Unknown twice is flagged, and never success."""
    row = pending(hosted)
    hosted.set_status(row.gateway_reference, "chargeback_lost")
    deliver(hosted, row)

    row.refresh_from_db()
    assert (row.state, row.attention) == ("pending", "unknown_state")


def test_what_came_true_while_the_gateway_was_asked_counts(hosted: GatewayServer, monkeypatch: Any) -> None:
    """The order's other payment is paid during the call: this one is the second, and staff are told."""
    order = make_order()
    late = make_transaction(State.EXPIRED, order=order, created_at=timezone.now() - timedelta(hours=1))
    row = services.initiate(str(order.pk)).transaction
    hosted.pay(row.gateway_reference)
    ask = callbacks.ask_gateway

    def take_time(found: Transaction) -> PaymentUpdate | None:
        apply_update(late.pk, PaymentUpdate(state=State.SUCCESS, captured=late.amount), source=Source.POLL)
        return ask(found)

    monkeypatch.setattr(callbacks, "ask_gateway", take_time)
    deliver(hosted, row, status="a word of tomorrow", captured="19.99")

    row.refresh_from_db()
    assert (row.state, "duplicate_payment" in row.attention_codes) == ("success", True)


def test_a_thin_callback_waits_while_the_gateway_is_away(hosted: GatewayServer, monkeypatch: Any) -> None:
    """Nothing is lost: the row says why and comes up again."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)
    row = pending(hosted)
    hosted.pay(row.gateway_reference)
    hosted.script(*[Answer.error(503)] * 3)
    said = deliver(hosted, row, status="news")
    stored = Callback.objects.get()
    Callback.objects.update(next_attempt_at=timezone.now())
    swept = services.sweep()

    row.refresh_from_db()
    assert (said, stored.attempts) == (["received"], 1)
    assert "GatewayUnavailable" in stored.last_error
    assert (swept, row.state) == ((1, 0, 0), "success")


def test_a_callback_that_never_works_out_is_given_up_visibly(hosted: GatewayServer, monkeypatch: Any) -> None:
    """Every bounded retry ends in a row that staff can see."""
    monkeypatch.setattr("django_gatewaypay.services.callbacks.apply_update", lambda *_, **__: 1 / 0)
    row = pending(hosted)
    deliver(hosted, row)
    for _ in range(12):
        Callback.objects.exclude(next_attempt_at=None).update(next_attempt_at=timezone.now())
        services.sweep()

    stored = Callback.objects.get()
    assert (stored.state, stored.attempts, stored.next_attempt_at) == ("dead", 10, None)
    assert "ZeroDivisionError" in stored.last_error


def test_a_callback_that_was_given_up_is_shown_at_its_payment_and_worked_on_again(
    hosted: GatewayServer, monkeypatch: Any, settings: Any
) -> None:
    """Staff see it where they look; when the cause is gone, one retry ends it."""
    settings.GATEWAYPAY["MAX_ATTEMPTS"] = 1
    row = pending(hosted)
    hosted.pay(row.gateway_reference)
    with monkeypatch.context() as broken:
        broken.setattr("django_gatewaypay.services.callbacks.load_update", lambda _: 1 / 0)
        said = deliver(hosted, row)
    row.refresh_from_db()
    flagged = row.attention, row.state
    retried = services.retry_callback(Callback.objects.get().pk)

    row.refresh_from_db()
    assert (said, flagged) == (["dead"], ("unmatched", "pending"))
    assert (retried, row.state) == ("processed", "success")
    assert Callback.objects.get().last_error == ""
    check_books()


def test_an_open_circuit_does_not_use_up_the_attempts(hosted: GatewayServer) -> None:
    """Nobody was asked, so nothing was tried; it comes up again within a minute after the pause."""
    row = pending(hosted)
    # For the circuit the time stands still: after its first pause, of four seconds, it would let one through.
    gateways["hosted"].client.circuit = circuit = Circuit(clock=lambda: 1000.0)
    for _ in range(5):
        circuit.failed()
    began = timezone.now()
    deliver(hosted, row, status="a new word")
    kept = Callback.objects.get()
    again = services.process_callback(kept.pk)

    assert (again, kept.state, kept.attempts) == ("received", "received", 0)
    assert began + timedelta(seconds=3) < kept.next_attempt_at < timezone.now() + timedelta(seconds=90)


def test_an_unmatched_callback_is_matched_for_three_days_and_then_given_up(hosted: GatewayServer) -> None:
    """A stranger's message does not stay in the queue for ever."""
    row = pending(hosted)
    deliver(hosted, row, transaction_id="nobody", event_id="evt_1")
    Callback.objects.update(received_at=timezone.now() - timedelta(hours=73), next_attempt_at=timezone.now())
    services.sweep()

    assert Callback.objects.get().state == "dead"


def test_a_bad_signature_writes_nothing(hosted: GatewayServer) -> None:
    """Who cannot sign cannot write."""
    row = pending(hosted)
    headers, body = hosted.callback(row.gateway_reference, status="success")
    before = snapshot()

    with pytest.raises(InvalidSignature):
        services.receive_callback("hosted", CallbackRequest(headers, body.replace(b"success", b"succesS")))
    assert snapshot() == before


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b"{}", b'{"event_id": 5}', b"[" * 60000])
def test_signed_nonsense_writes_nothing(hosted: GatewayServer, body: bytes) -> None:
    """A body that cannot be read is refused, whoever signed it."""
    before = snapshot()

    with pytest.raises(MalformedCallback):
        services.receive_callback("hosted", CallbackRequest(sign(hosted.secret, "evt", body), body))
    assert snapshot() == before


def test_an_unknown_alias_is_no_gateway(hosted: GatewayServer) -> None:
    """There is nobody to verify for."""
    with pytest.raises(UnknownGateway):
        services.receive_callback("nowhere", CallbackRequest({}, b"{}"))


def test_processing_again_changes_nothing(hosted: GatewayServer) -> None:
    """Celery may deliver a task twice."""
    row = pending(hosted)
    hosted.pay(row.gateway_reference)
    deliver(hosted, row)
    before = snapshot()
    said = services.process_callback(Callback.objects.get().pk)

    assert said == "processed"
    assert snapshot() == before


def test_a_late_callback_finds_an_expired_transaction(hosted: GatewayServer) -> None:
    """Money that arrives after the end is a late success, and the order waits for staff."""
    row = pending(hosted)
    services.expire(row.pk)
    hosted.pay(row.gateway_reference)
    deliver(hosted, row)

    row.refresh_from_db()
    assert (row.state, row.late, row.attention) == ("success", True, "late")
    assert not Fulfilment.objects.filter(kind="fulfil").exists()


def test_an_early_callback_is_matched_however_the_commits_interleave(hosted: GatewayServer) -> None:
    """Whoever comes second, the session's landing or the callback's waiting, finds the other."""
    row = make_transaction("created")
    said = {"transaction_id": str(row.pk), "reference": "ps_1", "amount": "19.99", "currency": "EUR"}
    hosted.sessions["ps_1"] = {"status": "success", **said}
    headers, body = hosted.callback("ps_1")
    [pk] = services.receive_callback("hosted", CallbackRequest(headers, body))
    early = services.process_callback(pk)
    services.poll_due()
    Transaction.objects.update(next_poll_at=timezone.now(), claimed_until=None)
    hosted.script(Answer.json({"reference": "ps_1", "payment_url": f"{hosted.url}pay/ps_1"}, 201))
    services.poll_due()

    row.refresh_from_db()
    assert (early, row.state) == ("unmatched", "success")


def test_a_session_that_lands_while_its_callback_begins_to_wait_is_noticed(
    hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The landing looked for waiting callbacks a moment too early, so the callback looks again."""
    row = make_transaction("created")
    said = {"transaction_id": str(row.pk), "reference": "ps_1", "amount": "19.99", "currency": "EUR"}
    hosted.sessions["ps_1"] = {"status": "success", **said}
    hosted.script(Answer.json({"reference": "ps_1", "payment_url": f"{hosted.url}pay/ps_1"}, 201))
    headers, body = hosted.callback("ps_1")
    [pk] = services.receive_callback("hosted", CallbackRequest(headers, body))
    put_off = services.callbacks._put_off

    def land_first(*args: Any) -> Any:
        services.sessions.open_session(row)
        return put_off(*args)

    monkeypatch.setattr("django_gatewaypay.services.callbacks._put_off", land_first)
    said_of_it = services.process_callback(pk)

    row.refresh_from_db()
    assert (said_of_it, row.state) == ("processed", "success")


def test_a_message_that_names_only_the_gateways_reference_is_matched(hosted: GatewayServer) -> None:
    """Not every gateway echoes our id."""
    row = pending(hosted)
    hosted.pay(row.gateway_reference)

    assert deliver(hosted, row, transaction_id=None) == ["processed"]
    assert Transaction.objects.get().state == "success"


def test_a_message_that_stays_unmatched_is_told_to_staff(hosted: GatewayServer, caplog: Any) -> None:
    """After five minutes it is more than a race."""
    row = pending(hosted)
    deliver(hosted, row, transaction_id="nobody")
    Callback.objects.update(received_at=timezone.now() - timedelta(minutes=6), next_attempt_at=timezone.now())
    services.sweep()

    assert "unmatched callback=" in caplog.text


def test_a_dispute_that_names_only_the_payment_reaches_its_transaction(hosted: GatewayServer) -> None:
    """A vendor's dispute knows its payment, not our id and not the session; the state stays, staff are told."""
    row = make_transaction(State.SUCCESS)
    Transaction.objects.update(payment_reference="pi_1")
    update = PaymentUpdate(event_id="evt_1", payment_reference="pi_1", flags=frozenset({"disputed"}))
    strange = PaymentUpdate(event_id="evt_2", payment_reference="pi_2", flags=frozenset({"disputed"}))
    hosted.sessions[row.gateway_reference] = {"reference": row.gateway_reference, "status": "success"}
    stored = [services.callbacks._store("hosted", said, "", 0).pk for said in (update, strange)]
    said = [services.process_callback(pk) for pk in stored]

    row.refresh_from_db()
    assert said == ["processed", "processed"]
    assert (row.state, "disputed" in row.attention) == ("success", True)
    assert Callback.objects.get(event_id="evt_2").transaction is None


def test_a_message_about_no_payment_is_kept_and_set_aside(hosted: GatewayServer) -> None:
    """A payout's news is answered 200, stored, and no work for anybody."""
    row = pending(hosted)
    body = b'{"event_id": "evt_1", "status": "payout.paid"}'
    [pk] = services.receive_callback("hosted", CallbackRequest(sign(hosted.secret, "evt_1", body), body))
    said = services.process_callback(pk)

    assert said == "processed"
    assert Callback.objects.get().last_error == "It is about no payment of ours."
    assert Transaction.objects.get().version == row.version


def test_an_update_survives_its_time_in_the_inbox() -> None:
    """What is stored is what was said."""
    update = PaymentUpdate(
        transaction_id="t",
        gateway_reference="r",
        state=State.SUCCESS,
        captured=Money("1.234", "KWD"),
        refunded=Money(0, "KWD"),
        event_id="e",
        decline_code="",
        refund=RefundUpdate(refund_reference="re", state=RefundState.FAILED, amount=Money("0.500", "KWD")),
        flags=frozenset({"disputed"}),
        raw={"status": "success"},
    )

    assert load_update(dump_update(update)) == update


def snapshot() -> list[Any]:
    tables = (Transaction, TransactionEvent, Callback, Fulfilment)
    return [list(table.objects.order_by("pk").values()) for table in tables]
