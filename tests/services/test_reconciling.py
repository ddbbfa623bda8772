"""Our books and the gateway's: what is missing, what differs, and what may be mended."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.exceptions import UnknownGateway
from django_gatewaypay.gateways.circuit import FAILURES
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.models import Callback, Fulfilment, Refund, Transaction, TransactionEvent
from django_gatewaypay.registry import gateways
from django_gatewaypay.services import matching, reconciling
from django_gatewaypay.services.comparing import Kind
from django_gatewaypay.services.reporting import Report
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import CallbackRequest
from tests.factories import make_order, make_transaction
from tests.invariants import check_books
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)


class UnlistedGateway(HostedGateway):
    """A gateway that lists nothing."""

    supports_list = False


class SilentGateway(UnlistedGateway):
    """A gateway that can be asked for nothing."""

    supports_fetch = False


class ListedGateway(HostedGateway):
    """A gateway that lists its payments, and tells no more about one."""

    supports_fetch = False


class TestGateway(HostedGateway):
    """A gateway that says of each payment that its money is no real one."""

    __test__ = False

    def _update(self, data: Any) -> Any:
        from dataclasses import replace

        return replace(super()._update(data), test=True)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not sleep."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


@pytest.fixture(autouse=True)
def sound_books(transactional_db: None) -> Iterator[None]:
    """Whatever happens here, the invariants hold."""
    yield
    check_books()


def start(**order: Any) -> Transaction:
    return services.initiate(str(make_order(**order).pk)).transaction


def pay(hosted: GatewayServer, **order: Any) -> Transaction:
    """A payment that both sides know to be paid."""
    row = start(**order)
    hosted.pay(row.gateway_reference)
    return services.refresh(row.pk)


def forget(*rows: Transaction) -> None:
    """What a backup of an hour ago does to the payments of this hour, and to their orders."""
    pks = [row.pk for row in rows]
    Order.objects.filter(pk__in=[row.order_id for row in rows]).update(paid=False, fulfilments=0)
    for model in (TransactionEvent, Callback, Fulfilment, Refund):
        model.objects.filter(transaction__in=pks).delete()
    Transaction.objects.filter(pk__in=pks).delete()


def compare(**options: Any) -> Report:
    return services.reconcile(timezone.now() - timedelta(hours=1), **options)


def kinds(report: Report) -> list[tuple[str, str, str]]:
    return [(str(one.kind), one.ours, one.theirs) for one in report.differences]


def use(settings: Any, **gateways: str) -> None:
    """The accounts of the host, all of them at the one scripted gateway."""
    options = settings.GATEWAYPAY["GATEWAYS"]["hosted"]["OPTIONS"]
    settings.GATEWAYPAY = settings.GATEWAYPAY | {
        "GATEWAYS": {alias: {"BACKEND": backend, "OPTIONS": options} for alias, backend in gateways.items()}
    }


# --- What is found.


def test_books_that_agree_are_not_talked_about(hosted: GatewayServer) -> None:
    """Paid, open, held, refunded and expired payments of both sides: compared both ways, and nothing differs."""
    rows = [pay(hosted), start(), start()]
    short = start()
    hosted.pay(short.gateway_reference, amount="5.00")
    services.refresh(short.pk)
    hosted.refund_at_the_console(rows[0].gateway_reference, "4.00")
    services.refresh(rows[0].pk)
    services.cancel(rows[2].pk)
    before = list(Transaction.objects.order_by("pk").values())
    report = compare()

    [account] = report.accounts
    assert report.differences == []
    assert (account.theirs, account.ours, account.directions, account.complete) == (4, 4, "both", True)
    assert list(Transaction.objects.order_by("pk").values()) == before
    assert report.summary == "compared=4 left=0 unanswered=0"


def test_a_state_that_differs_is_told_and_left(hosted: GatewayServer) -> None:
    """Without `apply` nothing is written."""
    row = start()
    hosted.pay(row.gateway_reference)
    before = Transaction.objects.values().get()
    report = compare()

    assert kinds(report) == [("amount", "captured 0.00 EUR", "captured 19.99 EUR"), ("state", "pending", "success")]
    assert {(one.transaction_id, one.order_id, one.reference, one.done) for one in report.differences} == {
        (str(row.pk), row.order_id, row.gateway_reference, "")
    }
    assert (report.left, Transaction.objects.values().get()) == (2, before)


def test_what_differs_is_refreshed_through_the_door(hosted: GatewayServer) -> None:
    """With `apply` it is what the gateway says, and the order is fulfilled as by any other way."""
    row = start()
    hosted.pay(row.gateway_reference)
    first, second = compare(apply=True), compare(apply=True)

    row.refresh_from_db()
    assert (row.state, row.attention, Order.objects.get(pk=row.order_id).fulfilments) == ("success", "", 1)
    assert {one.done for one in first.differences} == {"refreshed"}
    assert (first.left, second.differences) == (0, [])


def test_refunds_that_differ_are_told_and_mended(hosted: GatewayServer) -> None:
    """Money that went back at the gateway's own console."""
    row = pay(hosted)
    hosted.refund_at_the_console(row.gateway_reference, "5.00")
    told = kinds(compare())
    compare(apply=True)

    row.refresh_from_db()
    assert told == [("refunds", "refunded 0.00 EUR", "refunded 5.00 EUR")]
    assert (row.given_back_minor, kinds(compare())) == (500, [])


def test_money_that_cannot_be_counted_is_what_a_payment_is_held_for(hosted: GatewayServer) -> None:
    """Dollars for euros: known, and told once. On a payment that is not held they are a difference."""
    row, other = start(), start()
    hosted.pay(row.gateway_reference, currency="USD")
    services.refresh(row.pk)
    for one in (row, other):
        hosted.sessions[one.gateway_reference]["currency"] = "USD"
        hosted.sessions[one.gateway_reference]["captured"] = "19.99"
    listed = hosted._listed
    hosted._listed = lambda reference: {**listed(reference), "asked_amount": None}  # type: ignore[method-assign]

    assert Transaction.objects.get(pk=row.pk).state == "held"
    assert kinds(compare()) == [("amount", "captured 0.00 EUR", "captured 19.99 USD")]


def test_a_refund_in_flight_is_no_difference(hosted: GatewayServer) -> None:
    """A gateway may count it before it has come through."""
    row = pay(hosted)
    hosted.next_refund = "submitted"
    services.refund(row.pk, Money("5.00", "EUR"), reason="broken")
    hosted.set_status(row.gateway_reference, "success", refunded="5.00")
    counted = kinds(compare())
    hosted.set_status(row.gateway_reference, "success", refunded="5.01")

    assert counted == []
    assert kinds(compare()) == [("refunds", "refunded 0.00 EUR", "refunded 5.01 EUR")]


def test_an_amount_that_differs_cannot_be_mended_and_is_flagged(hosted: GatewayServer) -> None:
    """The gateway was asked for another amount than ours: a person has to look."""
    row = pay(hosted)
    hosted.asked[row.gateway_reference] = hosted.asked[row.gateway_reference].__class__("1.00", row.order_id)
    report = compare(apply=True)

    row.refresh_from_db()
    assert kinds(report) == [("amount", "asked 19.99 EUR", "asked 1.00 EUR")]
    assert [(one.done, one.mended) for one in report.differences] == [("still differs", False)]
    assert (row.state, row.attention) == ("success", "unreconciled")


def test_our_success_against_the_gateways_failure_is_flagged_and_stays(hosted: GatewayServer) -> None:
    """A success is final; that the gateway takes it back is for a person to see, with both words in the ledger."""
    row = pay(hosted)
    hosted.set_status(row.gateway_reference, "failed")
    report = compare(flag=True)

    row.refresh_from_db()
    [event] = row.events.filter(source="system")
    assert [one[:3] for one in kinds(report)] == [("state", "success", "failed")]
    assert (row.state, row.attention, event.note) == ("success", "unreconciled", "state: success / failed")


def test_what_the_gateway_does_not_know_is_missing_there(hosted: GatewayServer) -> None:
    """A payment of ours that is in no list, and that it has never heard of when asked."""
    row = pay(hosted)
    del hosted.sessions[row.gateway_reference], hosted.asked[row.gateway_reference]
    told, flagged = compare(), compare(apply=True)

    row.refresh_from_db()
    assert kinds(told) == kinds(flagged) == [("missing_there", "success 19.99 EUR", "")]
    assert (row.state, row.attention) == ("success", "unreconciled")


def test_what_was_never_paid_is_not_looked_for(hosted: GatewayServer) -> None:
    """A list of payments need not have it, so the gateway is not asked about each of them."""
    row = start()
    services.cancel(row.pk)
    del hosted.sessions[row.gateway_reference], hosted.asked[row.gateway_reference]
    hosted.requests.clear()

    assert kinds(compare()) == []
    assert [request.path for request in hosted.requests] == ["/list"]


def test_money_on_another_session_of_ours_is_told(hosted: GatewayServer) -> None:
    """It names our payment, and is not the session that we opened: held, as when a callback tells of it."""
    row = start()
    session, other = hosted.sessions[row.gateway_reference], f"ps_{uuid.uuid4().hex}"
    hosted.sessions[other] = {**session, "reference": other, "status": "success"}
    hosted.asked[other] = hosted.asked[row.gateway_reference]
    told = compare()
    before = Transaction.objects.get().state
    compare(apply=True)

    row.refresh_from_db()
    assert kinds(told) == [("session", row.gateway_reference, other)]
    assert (before, row.state, row.reason) == ("pending", "held", "reference_mismatch")


def test_an_unpaid_second_session_is_nobodys_business(hosted: GatewayServer) -> None:
    """A key that was renewed leaves one behind."""
    row = start()
    other = f"ps_{uuid.uuid4().hex}"
    hosted.sessions[other] = {**hosted.sessions[row.gateway_reference], "reference": other}
    hosted.asked[other] = hosted.asked[row.gateway_reference]

    assert kinds(compare(apply=True)) == []


def test_payments_of_others_in_the_same_account_are_counted_and_left(hosted: GatewayServer) -> None:
    """A till in the shop uses the account too; its payments name nothing of ours."""
    row = pay(hosted)
    for name in ("", "till-7"):
        other = f"ps_{uuid.uuid4().hex}"
        hosted.sessions[other] = {**hosted.sessions[row.gateway_reference], "reference": other, "transaction_id": name}
        hosted.asked[other] = hosted.asked[row.gateway_reference]
    report = compare(apply=True)

    assert (report.accounts[0].foreign, kinds(report), Transaction.objects.count()) == (2, [], 1)


def test_a_payment_is_known_by_the_gateways_own_reference_too(hosted: GatewayServer) -> None:
    """A list that does not echo our id is matched by the session."""
    row = start()
    hosted.pay(row.gateway_reference)
    hosted.sessions[row.gateway_reference]["transaction_id"] = ""

    assert [one[0] for one in kinds(compare())] == ["amount", "state"]


def test_two_aliases_of_one_account_do_not_disturb_each_other(hosted: GatewayServer, settings: Any) -> None:
    """The payment of the one is foreign to the other, and is not written again under it."""
    backend = "django_gatewaypay.gateways.hosted.HostedGateway"
    use(settings, hosted=backend, twin=backend)
    pay(hosted)
    report = compare(apply=True)

    assert [(account.alias, account.ours, account.foreign) for account in report.accounts] == [
        ("hosted", 1, 0),
        ("twin", 0, 1),
    ]
    assert (report.differences, Transaction.objects.count()) == ([], 1)


def test_play_money_on_a_live_account_is_not_compared(hosted: GatewayServer, settings: Any) -> None:
    """It is counted as somebody else's, whether we have a row for it or not."""
    use(settings, hosted=f"{__name__}.TestGateway")
    known, lost = start(), start()
    for row in (known, lost):
        hosted.pay(row.gateway_reference)
    forget(lost)
    report = compare(apply=True)

    assert (kinds(report), report.accounts[0].foreign) == ([], 1)
    assert Transaction.objects.get().state == "pending"


# --- Which way, and how far.


def test_a_gateway_without_a_list_is_asked_about_each_of_ours(hosted: GatewayServer, settings: Any) -> None:
    """One direction, and the report says which."""
    use(settings, hosted=f"{__name__}.UnlistedGateway")
    row, lost = start(), pay(hosted)
    hosted.pay(row.gateway_reference)
    forget(lost)
    report = compare(apply=True)

    assert [(one.kind, one.mended) for one in report.differences] == [(Kind.AMOUNT, True), (Kind.STATE, True)]
    assert report.accounts[0].directions == "ours"


def test_a_list_that_turns_out_to_be_missing_is_no_trouble(hosted: GatewayServer) -> None:
    """A gateway of the plain protocol may lack the call."""
    row = start()
    hosted.pay(row.gateway_reference)
    hosted.script(Answer.error(404))
    report = compare()

    assert [one[0] for one in kinds(report)] == ["amount", "state"]
    assert (report.accounts[0].directions, report.complete) == ("ours", True)


def test_a_gateway_that_can_be_asked_for_nothing_is_said_to_be_uncompared(hosted: GatewayServer, settings: Any) -> None:
    """No difference is not the same as no comparison."""
    use(settings, hosted=f"{__name__}.SilentGateway")
    start()
    report = compare()

    assert (report.accounts[0].directions, report.accounts[0].ours, report.differences) == ("none", 0, [])


def test_a_list_that_breaks_off_is_said_to_be_incomplete(hosted: GatewayServer) -> None:
    """What was read counts; what was not is not called missing."""
    for _ in range(3):
        hosted.pay(start().gateway_reference)
    hosted.shown_at_once = 2
    hosted.script(Answer(works=True), *[Answer.error(503)] * gateways["hosted"].client.tries)
    report = compare()

    assert not report.complete
    assert report.accounts[0].trouble.startswith("GatewayUnavailable")
    assert (report.accounts[0].theirs, report.counts) == (2, {Kind.AMOUNT: 2, Kind.STATE: 2})


def test_one_payment_without_an_answer_does_not_end_it(hosted: GatewayServer, settings: Any) -> None:
    """It is counted, and the next one is asked about."""
    use(settings, hosted=f"{__name__}.UnlistedGateway")
    rows = [start(), start()]
    for row in rows:
        hosted.pay(row.gateway_reference)
    hosted.script(Answer.error(422))
    report = compare()

    assert (report.accounts[0].unanswered, report.complete) == (1, False)
    assert {one.transaction_id for one in report.differences} == {str(rows[1].pk)}


def test_a_gateway_that_is_down_is_left_alone(hosted: GatewayServer, settings: Any) -> None:
    """An open circuit ends the comparison of its account at once."""
    use(settings, hosted=f"{__name__}.UnlistedGateway")
    for _ in range(FAILURES + 3):
        start()
    hosted.script(*[Answer.error(503)] * 99)
    hosted.requests.clear()
    report = compare()

    assert "GatewayUnavailable" in report.accounts[0].trouble
    assert report.accounts[0].unanswered <= FAILURES
    assert report.differences == []


def test_a_refresh_without_an_answer_is_told(hosted: GatewayServer, settings: Any) -> None:
    """The difference stays, and says so."""
    use(settings, hosted=f"{__name__}.UnlistedGateway")
    row = start()
    hosted.pay(row.gateway_reference)
    hosted.script(Answer(works=True), Answer.error(422))
    report = compare(apply=True)

    assert {one.done for one in report.differences} == {"still differs"}
    assert report.accounts[0].unanswered == 1


def test_only_the_named_gateways_and_the_named_time_are_compared(hosted: GatewayServer, settings: Any) -> None:
    """Anything else is a clear error."""
    use(settings, hosted=f"{__name__}.UnlistedGateway", other=f"{__name__}.UnlistedGateway")
    make_transaction(gateway="other")
    now = timezone.now()
    older = start()
    Transaction.objects.filter(pk=older.pk).update(created_at=now - timedelta(hours=3))
    report = services.reconcile(now - timedelta(hours=2), now, gateways=["hosted"])

    assert [(account.alias, account.ours) for account in report.accounts] == [("hosted", 0)]
    with pytest.raises(UnknownGateway, match="nowhere"):
        compare(gateways=["nowhere"])
    with pytest.raises(ValueError, match="ends before it begins"):
        services.reconcile(now, now)


def test_a_payment_on_the_border_of_two_days_is_told_once(
    hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours was written just before the gateway opened it: the one is of the first day, the other of the second."""
    row = start()
    hosted.pay(row.gateway_reference)
    monkeypatch.setattr(reconciling, "WINDOW", timedelta(minutes=30))
    opened = hosted.asked[row.gateway_reference].created_at
    Transaction.objects.filter(pk=row.pk).update(created_at=opened - timedelta(seconds=2))
    since = opened - timedelta(seconds=1) - timedelta(minutes=30)
    report = services.reconcile(since, opened + timedelta(minutes=10))

    assert [one[0] for one in kinds(report)] == ["amount", "state"]


def test_many_payments_are_read_in_batches(hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many payments cost the same number of queries for each batch, and no transaction stays open."""
    monkeypatch.setattr(matching, "BATCH", 5)
    told: list[tuple[int, int]] = []
    for _ in range(10):
        start()
    with CaptureQueriesContext(connection) as ten:
        compare(progress=lambda account: told.append((account.theirs, account.ours)))
    for _ in range(10):
        start()
    with CaptureQueriesContext(connection) as twenty:
        compare()

    assert told[:2] == [(5, 5), (10, 10)]
    assert len(twenty) <= 2 * len(ten) <= 12
    assert not [query for query in twenty.captured_queries if "FOR UPDATE" in query["sql"] or "BEGIN" in query["sql"]]


def test_a_report_keeps_no_more_than_its_limit(hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are counted."""
    monkeypatch.setattr(Report, "KEPT", 3)
    for _ in range(4):
        hosted.pay(start().gateway_reference)
    report = compare()

    assert (len(report.differences), report.total, report.left) == (3, 8, 8)
    assert report.counts == {Kind.AMOUNT: 4, Kind.STATE: 4}


def test_a_session_that_we_never_heard_of_is_opened_again(hosted: GatewayServer) -> None:
    """The row was written, the gateway was told, and its answer was lost with the process."""
    row = start()
    hosted.pay(row.gateway_reference)
    row.events.filter(version=1).delete()
    Transaction.objects.filter(pk=row.pk).update(
        state="created", version=0, gateway_reference="", next_action=None, next_poll_at=timezone.now(),
        claimed_until=None,
    )  # fmt: skip
    compare(apply=True)

    row.refresh_from_db()
    assert (row.state, len(hosted.sessions)) == ("success", 1)


# --- What was lost is found again.


def test_a_lost_payment_is_told(hosted: GatewayServer, caplog: pytest.LogCaptureFixture) -> None:
    """Its order and its money, in the report and in the log; nothing is written."""
    row = pay(hosted)
    forget(row)
    report = compare()

    assert kinds(report) == [("missing_here", "", "success 19.99 EUR")]
    assert (report.differences[0].order_id, report.differences[0].transaction_id) == (row.order_id, str(row.pk))
    assert (report.left, Transaction.objects.exists()) == (1, False)
    assert f"missing here gateway=hosted transaction='{row.pk}'" in caplog.text


def test_a_lost_payment_is_written_again_and_held(hosted: GatewayServer) -> None:
    """Under its own id, with what the gateway tells of it; nobody has said that the price was ours, so it waits."""
    order = make_order()
    row = services.initiate(str(order.pk)).transaction
    hosted.pay(row.gateway_reference)
    forget(row)
    report = compare(apply=True)
    services.refresh(row.pk)

    found = Transaction.objects.get()
    order.refresh_from_db()
    assert (found.pk, found.order_id, found.amount_text, found.gateway_reference) == (
        row.pk, str(order.pk), "19.99", row.gateway_reference
    )  # fmt: skip
    assert (found.state, found.reason, found.attention) == ("held", "recovered", "recovered")
    assert (found.captured_minor, found.token_hash, found.next_poll_at) == (1999, row.token_hash, None)
    assert (order.fulfilments, Fulfilment.objects.count()) == (0, 0)
    assert [(one.done, one.mended) for one in report.differences] == [("recovered as held", True)]
    assert [event.note for event in found.events.all()] == ["found again at the gateway"] * 2


def test_finding_again_twice_changes_nothing(hosted: GatewayServer) -> None:
    """The second comparison agrees."""
    forget(pay(hosted))
    compare(apply=True)
    before = Transaction.objects.values().get()

    assert compare(apply=True).differences == []
    assert Transaction.objects.values().get() == before


def test_a_callback_that_waited_for_a_lost_payment_is_matched(hosted: GatewayServer) -> None:
    """It is processed, and does not fulfil the order either."""
    row = pay(hosted)
    forget(row)
    [pk] = services.receive_callback("hosted", CallbackRequest(*hosted.callback(row.gateway_reference)))
    waited = services.process_callback(pk)
    compare(apply=True)

    assert (waited, Callback.objects.get().state) == ("unmatched", "processed")
    assert Transaction.objects.get().state == "held"


def test_a_lost_payment_that_is_still_open_goes_on(hosted: GatewayServer) -> None:
    """The clock asks about it at once; once it is paid it is held, because its price is nobody's word."""
    row = start()
    forget(row)
    compare(apply=True)
    found = Transaction.objects.get()
    hosted.pay(row.gateway_reference)
    polled = services.poll_due()
    paid = Transaction.objects.get()

    assert (found.state, found.attention, polled) == ("pending", "recovered", 1)
    assert (paid.state, paid.reason, Fulfilment.objects.count()) == ("held", "recovered", 0)


def test_a_lost_payment_that_ended_unpaid_is_told_and_left(hosted: GatewayServer) -> None:
    """Nobody has to look at it."""
    row = start()
    hosted.set_status(row.gateway_reference, "expired")
    forget(row)
    report = compare(apply=True)

    assert kinds(report) == [("missing_unpaid", "", "expired 19.99 EUR")]
    assert (report.left, Transaction.objects.exists()) == (0, False)


def test_a_lost_payment_with_another_amount_is_held_for_that_too(hosted: GatewayServer) -> None:
    """What was asked for and what was taken are both the gateway's to tell, and they differ."""
    row = start()
    hosted.pay(row.gateway_reference, amount="5.00")
    forget(row)
    compare(apply=True)

    found = Transaction.objects.get()
    assert (found.state, found.reason) == ("held", "amount_mismatch")
    assert (found.amount_minor, found.captured_minor) == (1999, 500)
    assert found.attention_codes == {"mismatch", "recovered"}


def test_a_lost_payment_is_asked_about_before_it_is_written(hosted: GatewayServer) -> None:
    """A list may be coarser, and is older; where the gateway does not answer, the list's word is taken."""
    fine, mute, over = start(), start(), start()
    for row in (fine, mute):
        hosted.pay(row.gateway_reference)
    forget(fine, mute, over)
    listed = hosted._listed
    hosted._listed = lambda reference: {**listed(reference), "status": "processing"}  # type: ignore[method-assign]
    hosted.set_status(over.gateway_reference, "expired")
    hosted.script(Answer(works=True), Answer(works=True), Answer.error(422))
    report = compare(apply=True)

    assert dict(Transaction.objects.values_list("pk", "state")) == {fine.pk: "held", mute.pk: "processing"}
    assert [one.done for one in report.differences] == [
        "recovered as held",
        "recovered as processing",
        "not written: the gateway does not say enough",
    ]


def test_a_gateway_that_only_lists_gives_back_what_was_lost(hosted: GatewayServer, settings: Any) -> None:
    """On its list's word; what it does not list cannot be seen, and the report says so."""
    gone, lost = pay(hosted), pay(hosted)
    use(settings, hosted=f"{__name__}.ListedGateway")
    del hosted.sessions[gone.gateway_reference], hosted.asked[gone.gateway_reference]
    forget(lost)
    report = compare(apply=True)

    assert Transaction.objects.get(pk=lost.pk).state == "held"
    assert (report.accounts[0].directions, [str(one.kind) for one in report.differences]) == (
        "theirs",
        ["missing_here"],
    )


def test_a_lost_authorization_is_written_again(hosted: GatewayServer, settings: Any) -> None:
    """Its funds can still be captured or let go."""
    row = start()
    hosted.set_status(row.gateway_reference, "authorized", authorized="19.99")
    forget(row)
    compare(apply=True)

    found = Transaction.objects.get()
    assert (found.state, found.authorized_minor, found.manual_capture) == ("authorized", 1999, True)


def test_an_order_that_is_being_paid_again_keeps_its_one_open_payment(hosted: GatewayServer) -> None:
    """The lost one is told until it is paid, and then written; the order is never open twice."""
    order = make_order()
    lost = services.initiate(str(order.pk)).transaction
    forget(lost)
    services.initiate(str(order.pk))
    first = compare(apply=True)
    hosted.pay(lost.gateway_reference)
    compare(apply=True)

    assert [(one.done, one.mended) for one in first.differences] == [
        ("not written: another payment of its order is open", False)
    ]
    assert sorted(Transaction.objects.values_list("state", flat=True)) == ["held", "pending"]


@pytest.mark.parametrize("said", [{"order_id": ""}, {"asked_amount": None, "amount": "x"}, {"asked_amount": "0.00"}])
def test_what_the_list_does_not_say_is_not_made_up(hosted: GatewayServer, said: dict[str, Any]) -> None:
    """Without an order or an amount there is no transaction to write."""
    row = pay(hosted)
    forget(row)
    listed = hosted._listed
    hosted._listed = lambda reference: {**listed(reference), **said}  # type: ignore[method-assign]
    report = compare(apply=True)

    assert [one.done for one in report.differences] == ["not written: the gateway does not say enough"]
    assert not Transaction.objects.exists()


def test_a_list_that_names_a_payment_twice_writes_it_once(hosted: GatewayServer) -> None:
    """Pages of some gateways overlap."""
    row = pay(hosted)
    forget(row)
    listed = hosted._list
    hosted._list = lambda query: {  # type: ignore[method-assign]
        **(page := listed(query)),
        "payments": page["payments"] * 2,
    }
    compare(apply=True)

    assert Transaction.objects.count() == 1


def test_a_host_without_time_zones_finds_its_payments_too(hosted: GatewayServer, settings: Any) -> None:
    """Its times are naive, the gateway's are not."""
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Kolkata"
    stale, lost = start(), pay(hosted)
    hosted.pay(stale.gateway_reference)
    forget(lost)
    report = compare(apply=True)

    found = Transaction.objects.get(pk=lost.pk)
    assert (report.left, report.counts[Kind.MISSING_HERE], found.state) == (0, 1, "held")
    assert abs(found.created_at - lost.created_at) < timedelta(seconds=5)
    assert Transaction.objects.get(pk=stale.pk).state == "success"


def test_the_guest_who_paid_sees_the_payment_again(hosted: GatewayServer, client: Any) -> None:
    """The token and the cookie follow from the id."""
    order = make_order()
    said = client.post("/payments/initiate/", {"order_id": str(order.pk)}, content_type="application/json").json()
    row = Transaction.objects.get()
    hosted.pay(row.gateway_reference)
    forget(row)
    compare(apply=True)
    by_cookie = client.get(f"/payments/status/{row.pk}/").json()
    by_token = client.__class__().get(
        f"/payments/status/{row.pk}/", headers={"Authorization": f"Bearer {said['token']}"}
    )

    assert (by_cookie["state"], by_cookie["reason"], by_token.status_code) == ("held", "under_review", 200)


def test_an_hour_is_found_again_after_a_restore(hosted: GatewayServer) -> None:
    """C13: the rows of some payments are gone, others are pending again; every one of them is found at the gateway."""
    gone = [pay(hosted) for _ in range(12)]
    stale = [start() for _ in range(12)]
    open_ones = [start() for _ in range(3)]
    for row in stale:
        hosted.pay(row.gateway_reference)
    forget(*gone)
    report = compare(apply=True)

    states = dict(Transaction.objects.values_list("pk", "state"))
    assert {states[row.pk] for row in gone} == {"held"}
    assert {states[row.pk] for row in stale} == {"success"}
    assert {states[row.pk] for row in open_ones} == {"pending"}
    assert (report.counts[Kind.MISSING_HERE], report.counts[Kind.STATE], report.left) == (12, 12, 0)
    assert set(Order.objects.filter(fulfilments=1)) == {Order.objects.get(pk=row.order_id) for row in stale}
    assert compare().differences == []
