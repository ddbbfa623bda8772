"""What is done to a payment: a page before it, a reason, a key against double clicks, and words afterwards."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.models import Capture, Refund, Transaction
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import PaymentRef, PaymentUpdate, State
from tests.factories import make_order, make_transaction

from .conftest import LIST, Staff, confirm, hidden_of, make_held, make_refund, messages_of, page

pytestmark = pytest.mark.django_db(transaction=True)

SEES = ("view_transaction", "view_refund", "view_capture")


@pytest.fixture
def boss(staff: Staff) -> Client:
    """Somebody who may do everything to payments."""
    return staff(
        *SEES, "refresh_transaction", "expire_transaction", "cancel_transaction", "capture_transaction",
        "refund_transaction", "resolve_transaction", name="boss",
    )  # fmt: skip


@pytest.fixture
def reserved(hosted: GatewayServer, settings: Any) -> Transaction:
    """Money that is reserved, and waits to be taken."""
    settings.GATEWAYPAY["GATEWAYS"]["hosted"]["CAPTURE"] = "manual"
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    return services.refresh(row.pk)


def url(row: Transaction, verb: str) -> str:
    return f"{LIST}{row.pk}/{verb}/"


# --- The page itself.


@pytest.mark.parametrize("verb", ["refresh", "refund"])
def test_a_get_shows_and_does_nothing(boss: Client, paid: Transaction, hosted: GatewayServer, verb: str) -> None:
    """A link in a mail moves no money."""
    hosted.requests.clear()
    before = list(Transaction.objects.values())
    shown = page(boss, url(paid, verb))

    assert "What we know" in shown
    assert 'name="csrfmiddlewaretoken"' in shown
    assert [request.method for request in hosted.requests] == ["GET"]
    assert (list(Transaction.objects.values()), Refund.objects.count()) == (before, 0)


def test_the_way_to_the_page_leads_back_over_the_payment(boss: Client, paid: Transaction) -> None:
    """Home, the list, this payment by its order, and what is about to be done."""
    way = page(boss, url(paid, "refund")).partition('<div class="breadcrumbs">')[2].partition("</div>")[0]

    assert re.findall(r'href="([^"]*)"', way) == ["/admin/", LIST, f"{LIST}{paid.pk}/change/"]
    assert re.sub(r"<[^>]*>", "", way).split(" &rsaquo; ") == [
        "Home",
        "Transactions",
        f"Order {paid.order_id}",
        "Refund",
    ]


def test_the_page_shows_what_the_gateway_says_now(boss: Client, hosted: GatewayServer) -> None:
    """And that it is other than what we know."""
    row = services.initiate(str(make_order().pk)).transaction
    same = page(boss, url(row, "cancel"))
    hosted.pay(row.gateway_reference)
    other = page(boss, url(row, "cancel"))

    assert "The gateway says the same." in same
    assert "The gateway says something else." in other
    assert "gwp-differs" in other
    assert "<dd>success</dd>" in other
    assert "19.99 EUR" in other


def test_a_gateway_that_gives_no_answer_keeps_nobody_from_looking(
    boss: Client, paid: Transaction, hosted: GatewayServer
) -> None:
    """A calm line instead of an error page."""
    hosted.script(*[Answer.error(503)] * 3)

    assert "The gateway gives no answer at the moment. What you see is what we know." in page(boss, url(paid, "refund"))


def test_a_word_that_nobody_knows_is_said_to_be_one(boss: Client, paid: Transaction, hosted: GatewayServer) -> None:
    """Not taken for anything else."""
    hosted.set_status(paid.gateway_reference, "pondering")

    assert "The gateway answers with a word that we do not know." in page(boss, url(paid, "refund"))


def test_an_account_that_is_gone_cannot_be_asked(boss: Client) -> None:
    """Its payments are still shown, with what can be done without it."""
    row = make_held()
    Transaction.objects.update(gateway="sold")
    shown = page(boss, f"{LIST}{row.pk}/change/")

    assert "The gateway cannot be asked about this payment." in page(boss, url(row, "accept"))
    assert url(row, "accept") in shown
    assert url(row, "refund") not in shown
    assert url(row, "refresh") not in shown


def test_looking_takes_no_money(boss: Client, hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some gateways take it when they are asked about an open payment: the page asks as if it were over."""
    row = services.initiate(str(make_order().pk)).transaction
    asked: list[bool] = []
    fetch = HostedGateway.fetch_payment

    def watch(self: HostedGateway, payment: PaymentRef) -> PaymentUpdate:
        asked.append(payment.closed)
        return fetch(self, payment)

    monkeypatch.setattr(HostedGateway, "fetch_payment", watch)
    page(boss, url(row, "refresh"))
    boss.post(url(row, "refresh"))

    assert asked == [True, False]


@pytest.mark.parametrize("verb", ["refund", "capture", "accept", "fulfil", "resolve", "release"])
def test_what_is_not_possible_now_leads_back_with_a_word(boss: Client, hosted: GatewayServer, verb: str) -> None:
    """An old link, or a colleague who was faster."""
    row = services.initiate(str(make_order().pk)).transaction
    answer = boss.get(url(row, verb), follow=True)

    assert answer.redirect_chain == [(f"{LIST}{row.pk}/change/", 302)]
    assert "is not possible now" in messages_of(answer)[0]


@pytest.mark.parametrize("text_id", ["nonsense", "00000000-0000-4000-8000-000000000000"])
def test_a_button_of_no_payment_leads_to_the_list(admin_client: Client, text_id: str) -> None:
    """Neither an error page nor a write."""
    for method in (admin_client.get, admin_client.post):
        answer = method(f"{LIST}{text_id}/refresh/", follow=True)
        assert messages_of(answer) == ["There is no such transaction."]
    for model in ("fulfilment", "refund", "callback"):
        assert admin_client.get(f"/admin/gatewaypay/{model}/{text_id}/retry/").status_code == 302
    assert not Transaction.objects.exists()


def test_gateways_are_asked_outside_of_the_hosts_atomic_requests(
    admin_client: Client, hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ATOMIC_REQUESTS does not hold a lock across the wire: on the page, behind it, and in the list."""
    row = services.initiate(str(make_order().pk)).transaction
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    inside: list[bool] = []
    fetch = HostedGateway.fetch_payment

    def watch(self: HostedGateway, payment: PaymentRef) -> PaymentUpdate:
        inside.append(connection.in_atomic_block)
        return fetch(self, payment)

    monkeypatch.setattr(HostedGateway, "fetch_payment", watch)
    admin_client.get(url(row, "refresh"))
    admin_client.post(url(row, "refresh"))
    admin_client.post(LIST, {"action": "refresh_selected", "_selected_action": [str(row.pk)]})

    assert inside == [False] * 3


def test_money_moves_outside_of_the_hosts_atomic_requests(
    admin_client: Client, paid: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written before the gateway is told has to be there, whatever becomes of the request."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    answer = confirm(admin_client, url(paid, "refund"), amount="5.00", reason="sent back")

    assert messages_of(answer) == ["5.00 EUR went back to the shopper."]


# --- Asking and ending.


def test_refresh_asks_the_gateway_and_names_who_asked(boss: Client, hosted: GatewayServer) -> None:
    """The ledger says which member of staff it was."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    answer = confirm(boss, url(row, "refresh"))

    event = row.events.last()
    assert messages_of(answer) == [f"{row.order_id}: It is paid."]
    assert (event.to_state, event.source, event.actor.username) == ("success", "staff", "boss")


def test_refresh_without_an_answer_says_so(boss: Client, hosted: GatewayServer) -> None:
    """No stack trace, no secret, and nothing done."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.script(*[Answer.error(503)] * 3)
    answer = boss.post(url(row, "refresh"))

    assert "The gateway gave no usable answer, and nothing was changed." in answer.content.decode()
    assert "Nothing was done." in answer.content.decode()
    assert Transaction.objects.get().state == "pending"


@pytest.mark.parametrize(("verb", "state"), [("cancel", "canceled"), ("expire", "expired")])
def test_a_payment_is_ended_at_the_gateway_and_here(boss: Client, hosted: GatewayServer, verb: str, state: str) -> None:
    """With who did it, and why."""
    row = services.initiate(str(make_order().pk)).transaction
    answer = confirm(boss, url(row, verb), reason="the shopper called")

    row.refresh_from_db()
    event = row.events.last()
    assert "nobody can pay it any more" in messages_of(answer)[0]
    assert (row.state, event.actor.username) == (state, "boss")
    assert event.note == "the shopper called"
    assert hosted.sessions[row.gateway_reference]["status"] == "canceled"


def test_a_payment_that_turns_out_paid_is_not_canceled(boss: Client, hosted: GatewayServer) -> None:
    """The gateway knows better, and its word is what is said."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)

    assert messages_of(confirm(boss, url(row, "cancel"), reason="x")) == [f"{row.order_id}: It is paid."]


# --- Money back.


def test_a_part_goes_back(boss: Client, paid: Transaction, hosted: GatewayServer) -> None:
    """With its reason and its actor in the books, and the rest still there to go back."""
    answer = confirm(boss, url(paid, "refund"), amount="5.00", reason=" sent back ")

    refund = Refund.objects.get()
    assert messages_of(answer) == ["5.00 EUR went back to the shopper."]
    assert (refund.amount_minor, refund.reason, refund.actor.username) == (500, "sent back", "boss")
    assert [told["amount"] for told in hosted.refunds.values()] == ["5.00"]
    assert "partly refunded" in answer.content.decode()
    assert "At most 14.99 EUR." in page(boss, url(paid, "refund"))


def test_all_of_it_goes_back_and_then_there_is_nothing_left(boss: Client, paid: Transaction) -> None:
    """The field offers all that is left."""
    shown = page(boss, url(paid, "refund"))
    answer = confirm(boss, url(paid, "refund"), amount="19.99", reason="lost in the mail")

    assert 'value="19.99"' in shown
    assert url(paid, "refund") not in answer.content.decode()
    assert Transaction.objects.get().refund_status == "full"


def test_a_double_click_gives_back_once(boss: Client, paid: Transaction, hosted: GatewayServer) -> None:
    """The same form is the same intent, and is answered the same."""
    fields = {**hidden_of(page(boss, url(paid, "refund"))), "amount": "15.00", "reason": "sent back"}
    answers = [boss.post(url(paid, "refund"), fields, follow=True) for _ in range(2)]

    assert [messages_of(answer) for answer in answers] == [["15.00 EUR went back to the shopper."]] * 2
    assert (Refund.objects.count(), len(hosted.refunds)) == (1, 1)


def test_one_form_is_not_used_for_two_amounts(boss: Client, paid: Transaction) -> None:
    """Back, another amount, and send: that is another intent, and wants a page of its own."""
    fields = {**hidden_of(page(boss, url(paid, "refund"))), "reason": "sent back"}
    boss.post(url(paid, "refund"), {**fields, "amount": "5.00"})
    answer = boss.post(url(paid, "refund"), {**fields, "amount": "6.00"})

    assert "This page was used already, with another amount." in answer.content.decode()
    assert Refund.objects.get().amount_minor == 500


@pytest.mark.parametrize(
    ("amount", "complaint"),
    [
        ("", "This field is required."),
        ("0", "It must be more than nothing."),
        ("-5.00", "It must be more than nothing."),
        ("5,00", "Write a plain number with a point, such as 19.99."),
        ("1,999", "Write a plain number with a point, such as 19.99."),
        ("5.001", "Write a plain number with a point, such as 19.99."),
        ("five", "Write a plain number with a point, such as 19.99."),
        ("1e3", "Write a plain number with a point, such as 19.99."),
        ("NaN", "Write a plain number with a point, such as 19.99."),
        ("20.00", "That is more than is left."),
        ("999999999999999", "That is more than is left."),
    ],
)
def test_an_amount_that_is_none_is_refused_beside_its_field(
    boss: Client, paid: Transaction, amount: str, complaint: str
) -> None:
    """A comma is read in two ways, so it is not read at all; nothing is rounded, nothing is guessed."""
    answer = confirm(boss, url(paid, "refund"), amount=amount, reason="sent back")

    assert [str(text) for text in answer.context["form"].errors["amount"]] == [complaint]
    assert "Nothing was done." in answer.content.decode()
    assert not Refund.objects.exists()


@pytest.mark.parametrize("reason", ["", "   ", "x" * 256])
def test_a_reason_is_required(boss: Client, paid: Transaction, reason: str) -> None:
    """The books keep it."""
    answer = confirm(boss, url(paid, "refund"), amount="5.00", reason=reason)

    assert list(answer.context["form"].errors) == ["reason"]
    assert not Refund.objects.exists()


def test_a_form_without_its_key_does_nothing(boss: Client, paid: Transaction) -> None:
    """It would be a new intent each time it is sent."""
    answer = boss.post(url(paid, "refund"), {"amount": "5.00", "reason": "sent back"})

    assert list(answer.context["form"].errors) == ["key"]
    assert not Refund.objects.exists()


@pytest.mark.parametrize(
    ("script", "state", "said"),
    [
        ([Answer.error(503)] * 3, "unknown", "nobody knows yet whether it was made"),
        ([Answer.error(422, code="too_old")], "failed", "5.00 EUR did not go back. The gateway refused"),
    ],
)
def test_what_became_of_a_refund_is_said_in_words(
    boss: Client, paid: Transaction, hosted: GatewayServer, script: list[Answer], state: str, said: str
) -> None:
    """No answer is not a no."""
    fields = {**hidden_of(page(boss, url(paid, "refund"))), "amount": "5.00", "reason": "sent back"}
    hosted.script(*script)
    answer = boss.post(url(paid, "refund"), fields, follow=True)

    assert Refund.objects.get().state == state
    assert said in messages_of(answer)[0]


def test_a_refund_that_is_submitted_is_not_called_done(boss: Client, paid: Transaction, hosted: GatewayServer) -> None:
    """Whether it came through, the gateway tells later."""
    hosted.next_refund = "submitted"
    answer = confirm(boss, url(paid, "refund"), amount="5.00", reason="sent back")

    assert messages_of(answer) == [
        "The gateway has taken the refund of 5.00 EUR; whether it came through, it will tell later."
    ]


def test_while_nobody_knows_of_one_refund_there_is_no_other(
    boss: Client, paid: Transaction, hosted: GatewayServer
) -> None:
    """The button is gone, and an old form is refused; trying again finds out, and never gives back twice."""
    late = {**hidden_of(page(boss, url(paid, "refund"))), "amount": "6.00", "reason": "another"}
    fields = {**hidden_of(page(boss, url(paid, "refund"))), "amount": "5.00", "reason": "sent back"}
    hosted.script(Answer(works=True, drop=True), *[Answer.error(503)] * 2)
    answer = boss.post(url(paid, "refund"), fields, follow=True)
    refused = boss.post(url(paid, "refund"), late).content.decode()
    refund = Refund.objects.get()
    again = confirm(boss, f"/admin/gatewaypay/refund/{refund.pk}/retry/")

    assert url(paid, "refund") not in answer.content.decode()
    assert "Another one of this payment is under way" in refused
    assert messages_of(again) == ["5.00 EUR went back to the shopper."]
    assert len(hosted.refunds) == 1
    assert url(paid, "refund") in again.content.decode()


def test_a_gateway_that_gives_back_only_the_whole_is_asked_for_no_amount(
    boss: Client, paid: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The field is not there, and what is posted for it counts for nothing."""
    monkeypatch.setattr(HostedGateway, "supports_partial_refund", False)
    shown = page(boss, url(paid, "refund"))
    confirm(boss, url(paid, "refund"), amount="1.00", reason="sent back")

    assert 'name="amount"' not in shown
    assert Refund.objects.get().amount_minor == 1999


# --- Two people.


@pytest.fixture
def waiting(boss: Client, paid: Transaction, settings: Any) -> Refund:
    """A refund that the boss has asked for, and that is above the limit."""
    settings.GATEWAYPAY["REFUND_APPROVAL_ABOVE"] = {"EUR": "10.00"}
    answer = confirm(boss, url(paid, "refund"), amount="15.00", reason="sent back")
    assert "a second person has to approve it" in messages_of(answer)[0]
    return Refund.objects.get()


def refund_url(refund: Refund, verb: str) -> str:
    return f"/admin/gatewaypay/refund/{refund.pk}/{verb}/"


def test_a_second_person_approves(boss: Client, staff: Staff, waiting: Refund, hosted: GatewayServer) -> None:
    """Who asked is not offered it, and refused when it is sent by hand; somebody else sees who asked and why."""
    second = staff(*SEES, "refund_transaction", name="second")
    theirs = page(boss, f"{LIST}{waiting.transaction_id}/change/")
    refused = boss.post(refund_url(waiting, "approve")).content.decode()
    before = len(hosted.refunds)
    shown = page(second, refund_url(waiting, "approve"))
    answer = confirm(second, refund_url(waiting, "approve"), reason="seen the parcel")

    waiting.refresh_from_db()
    assert waiting.transaction.events.filter(actor__username="second").first().note == "approved: seen the parcel"
    assert refund_url(waiting, "approve") not in theirs
    assert "You have asked for it yourself: somebody else has to approve it." in refused
    assert ("<dd>boss</dd>" in shown, "<dd>sent back</dd>" in shown) == (True, True)
    assert messages_of(answer) == ["15.00 EUR went back to the shopper."]
    assert (before, len(hosted.refunds), waiting.approver.username) == (0, 1, "second")


def test_a_refund_that_waits_is_withdrawn(boss: Client, waiting: Refund, hosted: GatewayServer) -> None:
    """By who asked, or by anybody else who may refund; its money is free again."""
    answer = confirm(boss, refund_url(waiting, "withdraw"), reason="found it")

    waiting.refresh_from_db()
    assert messages_of(answer) == ["The refund of 15.00 EUR is withdrawn: nothing goes back."]
    assert (waiting.state, len(hosted.refunds)) == ("failed", 0)
    assert url(waiting.transaction, "refund") in answer.content.decode()


def test_what_waits_for_a_person_is_not_tried_again(boss: Client, waiting: Refund) -> None:
    """That would be a way around the second one."""
    answer = boss.get(refund_url(waiting, "retry"), follow=True)
    boss.post(refund_url(waiting, "retry"))

    waiting.refresh_from_db()
    assert "is not possible now" in messages_of(answer)[0]
    assert waiting.state == "requested"


def test_a_person_says_what_became_of_a_refund_that_was_given_up_on(boss: Client, paid: Transaction) -> None:
    """Only once the gateway is asked no more."""
    asked = make_refund(paid, state="unknown", next_attempt_at=timezone.now() + timedelta(hours=1))
    still = boss.get(refund_url(asked, "conclude"), follow=True)
    Refund.objects.update(next_attempt_at=None)
    Transaction.objects.update(refunding_minor=500, attention="refund_unknown")
    answer = confirm(boss, refund_url(asked, "conclude"), became="succeeded", reason="seen at the console")

    asked.refresh_from_db()
    assert "is not possible now" in messages_of(still)[0]
    assert messages_of(answer) == ["5.00 EUR went back to the shopper."]
    assert (asked.state, Transaction.objects.get().attention) == ("succeeded", "")


# --- Reserved money.


def test_all_of_what_is_reserved_is_taken(boss: Client, reserved: Transaction) -> None:
    """The payment is paid."""
    answer = confirm(boss, url(reserved, "capture"), amount="19.99", rest="go", reason="shipped")

    reserved.refresh_from_db()
    assert messages_of(answer) == ["19.99 EUR of the reserved money is taken."]
    assert (reserved.state, Capture.objects.get().actor.username) == ("success", "boss")


def test_a_part_is_taken_and_the_rest_is_kept(boss: Client, reserved: Transaction) -> None:
    """It can be taken later, up to what is left."""
    confirm(boss, url(reserved, "capture"), amount="5.00", rest="keep", reason="first parcel")

    reserved.refresh_from_db()
    assert (reserved.state, reserved.captured_minor, Capture.objects.get().final) == ("authorized", 500, False)
    assert "At most 14.99 EUR." in page(boss, url(reserved, "capture"))


def test_a_part_is_taken_and_the_rest_let_go(boss: Client, reserved: Transaction) -> None:
    """The payment is a success of that part."""
    confirm(boss, url(reserved, "capture"), amount="5.00", rest="go", reason="one was sold out")

    reserved.refresh_from_db()
    assert (reserved.state, reserved.agreed_minor) == ("success", 500)


def test_a_double_click_takes_once(boss: Client, reserved: Transaction) -> None:
    """As with refunds."""
    shown = page(boss, url(reserved, "capture"))
    fields = {**hidden_of(shown), "amount": "5.00", "rest": "keep", "reason": "shipped"}
    for _ in range(2):
        boss.post(url(reserved, "capture"), fields)

    assert Capture.objects.count() == 1


def test_a_gateway_that_captures_once_is_not_asked_about_the_rest(
    boss: Client, reserved: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is let go anyway."""
    monkeypatch.setattr(HostedGateway, "supports_several_captures", False)
    shown = page(boss, url(reserved, "capture"))
    confirm(boss, url(reserved, "capture"), amount="5.00", rest="keep", reason="one was sold out")

    assert 'name="rest"' not in shown
    assert Capture.objects.get().final is True


def test_reserved_money_is_let_go(boss: Client, reserved: Transaction, hosted: GatewayServer) -> None:
    """At the gateway, then here; the button that says "cancel" is not there for it."""
    shown = page(boss, f"{LIST}{reserved.pk}/change/")
    answer = confirm(boss, url(reserved, "release"), reason="sold out")

    reserved.refresh_from_db()
    assert (url(reserved, "release") in shown, url(reserved, "cancel") in shown) == (True, False)
    assert reserved.state == "canceled"
    assert messages_of(answer) == [f"{reserved.order_id}: It is canceled: nobody can pay it any more."]


# --- What a person decides.


def test_a_held_payment_is_accepted_as_it_is(boss: Client) -> None:
    """Half of the money is enough, says a person: it is paid, and the order fulfilled."""
    row = make_held()
    answer = confirm(boss, url(row, "accept"), reason="agreed on the telephone")

    row.refresh_from_db()
    assert messages_of(answer) == [f"{row.order_id}: It is paid."]
    assert (row.state, row.attention, row.fulfilments.count()) == ("success", "", 1)
    assert (row.events.last().note, row.events.last().actor.username) == ("agreed on the telephone", "boss")


def test_a_decision_is_about_what_was_seen(boss: Client) -> None:
    """Other money that came while somebody was thinking is shown first; sent again, the decision holds."""
    row = make_held()
    seen = {**hidden_of(page(boss, url(row, "accept"))), "reason": "half is enough"}
    Transaction.objects.filter(pk=row.pk).update(version=row.version + 1)
    first = boss.post(url(row, "accept"), seen)
    again = boss.post(
        url(row, "accept"), {**hidden_of(first.content.decode()), "reason": "half is enough"}, follow=True
    )

    assert "Something has happened to this payment since you opened this page." in first.content.decode()
    assert messages_of(again) == [f"{row.order_id}: It is paid."]


@pytest.mark.parametrize("version", ["", "x", "-1"])
def test_a_decision_about_nothing_that_was_seen_is_none(boss: Client, version: str) -> None:
    """The hidden field is not for guessing."""
    row = make_held()
    answer = boss.post(url(row, "accept"), {"version": version, "reason": "x"})

    assert list(answer.context["form"].errors) == ["version"]
    assert Transaction.objects.get().state == "held"


@pytest.fixture
def late(hosted: GatewayServer) -> Transaction:
    """A payment whose money came after it had expired."""
    row = services.initiate(str(make_order().pk)).transaction
    services.expire(row.pk)
    hosted.pay(row.gateway_reference)
    return services.refresh(row.pk)


def test_a_late_payment_is_fulfilled_by_hand(boss: Client, late: Transaction) -> None:
    """Once."""
    answer = confirm(boss, url(late, "fulfil"), reason="still in stock")

    late.refresh_from_db()
    assert messages_of(answer) == [f"{late.order_id}: the order is being fulfilled."]
    assert (late.attention, late.fulfilments.filter(kind="fulfil").count()) == ("", 1)
    assert url(late, "fulfil") not in answer.content.decode()


def test_a_late_payment_is_kept_without_fulfilling(boss: Client, late: Transaction) -> None:
    """The flag is gone, and nothing more happens."""
    confirm(boss, url(late, "accept"), reason="a gift")

    late.refresh_from_db()
    assert (late.attention, late.fulfilments.filter(kind="fulfil").count()) == ("", 0)


def test_codes_are_marked_as_dealt_with(boss: Client) -> None:
    """One is ticked already, where it is the only one; of several, those that are ticked."""
    one, two = make_transaction(State.SUCCESS), make_transaction(State.SUCCESS)
    Transaction.objects.filter(pk=one.pk).update(attention="disputed")
    Transaction.objects.filter(pk=two.pk).update(attention="disputed hook_dead")
    ticked = [page(boss, url(row, "resolve")).count(" checked") for row in (one, two)]
    first = confirm(boss, url(one, "resolve"), codes=["disputed"], reason="answered")
    second = confirm(boss, url(two, "resolve"), codes=["hook_dead"], reason="sent by hand")
    other = confirm(boss, url(two, "resolve"), codes=["late"], reason="x")

    assert ticked == [1, 0]
    assert messages_of(first) == [f"{one.order_id}: nothing needs attention any more."]
    assert messages_of(second) == [f"{two.order_id}: dealt with."]
    assert Transaction.objects.get(pk=two.pk).attention == "disputed"
    assert list(other.context["form"].errors) == ["codes"]
