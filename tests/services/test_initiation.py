"""Starting a payment: once, whatever the shopper, the network and the gateway do."""

import re
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.exceptions import (
    GatewayDeclined,
    GatewayRejected,
    GatewayUnavailable,
    IdempotencyConflict,
    OrderNotFound,
    OrderNotPayable,
    PaymentInProgress,
    UnknownGateway,
)
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.models import Fulfilment, Transaction
from django_gatewaypay.orders import Quote
from django_gatewaypay.registry import gateways
from django_gatewaypay.services import access
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from tests.factories import make_order, make_transaction
from tests.invariants import in_transaction
from tests.shop import MailingShopOrders, ShopOrders
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not sleep."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


def guest() -> Any:
    return SimpleNamespace(user=AnonymousUser())


def member(name: str) -> Any:
    return SimpleNamespace(user=get_user_model().objects.get_or_create(username=name)[0])


def test_a_payment_is_started_with_the_hosts_price(hosted: GatewayServer) -> None:
    """The gateway is asked for exactly what the quote says, and the row keeps the way to it."""
    order = make_order(price_minor=123456, currency="JPY")
    started = services.initiate(str(order.pk), request=guest())

    sent = hosted.requests[0].json
    row = started.transaction
    assert (sent["amount"], sent["currency"], sent["transaction_id"]) == ("123456", "JPY", str(row.pk))
    assert sent["callback_url"] == "https://shop.example/payments/callbacks/hosted/"
    assert sent["return_url"] == f"https://shop.example/payments/return/{row.pk}/"
    assert (row.state, row.version, row.next_action["url"]) == (
        "pending",
        1,
        f"{hosted.url}pay/{row.gateway_reference}",
    )
    assert timedelta(minutes=29) < row.expires_at - timezone.now() <= timedelta(minutes=30)


def test_the_row_is_not_read_again_when_its_session_has_landed(hosted: GatewayServer) -> None:
    """It was written a moment ago, and is compared at the write."""
    order = make_order()
    with CaptureQueriesContext(connection) as seen:
        row = services.initiate(str(order.pk), request=guest()).transaction

    assert row.state == "pending"
    assert not [
        one["sql"] for one in seen if re.match(r"SELECT .*gatewaypay_transaction\"\.?\"?.* WHERE \"id\"", one["sql"])
    ]


def test_the_token_is_shown_once_and_stored_hashed(hosted: GatewayServer) -> None:
    """The database cannot give the capability away."""
    started = services.initiate(str(make_order().pk), request=guest())

    row = Transaction.objects.get()
    assert len(started.token) >= 47
    assert started.token not in str(vars(row))
    assert access.token_matches(row.token_hash, started.token)


def test_the_same_key_finds_the_same_payment(hosted: GatewayServer) -> None:
    """A retry is answered in full, and the gateway is not asked again."""
    order = make_order()
    first = services.initiate(str(order.pk), request=guest(), idempotency_key="k")
    again = services.initiate(str(order.pk), request=guest(), idempotency_key="k")

    assert (again.transaction.pk, again.token, again.replayed) == (first.transaction.pk, first.token, True)
    assert len(hosted.requests) == 1


def test_the_same_key_with_another_request_is_a_conflict(hosted: GatewayServer) -> None:
    """A key stands for one request."""
    services.initiate(str(make_order().pk), request=guest(), idempotency_key="k")

    with pytest.raises(IdempotencyConflict):
        services.initiate(str(make_order().pk), request=guest(), idempotency_key="k")
    assert Transaction.objects.count() == 1


def test_keys_of_different_users_do_not_meet(hosted: GatewayServer) -> None:
    """A key is its owner's."""
    for name in ("ann", "bob"):
        services.initiate(str(make_order().pk), request=member(name), idempotency_key="k")

    assert Transaction.objects.count() == 2


def test_a_second_tab_joins_the_open_payment(hosted: GatewayServer) -> None:
    """One open transaction per order and account, whatever the key."""
    order = make_order()
    first = services.initiate(str(order.pk), request=guest(), idempotency_key="tab1")
    second = services.initiate(str(order.pk), request=guest(), idempotency_key="tab2")

    assert second.transaction.pk == first.transaction.pk
    assert len(hosted.sessions) == 1


def test_somebody_elses_open_payment_is_not_joined(hosted: GatewayServer) -> None:
    """A host that forgets to guard its orders does not give payments away."""
    order = make_order()
    services.initiate(str(order.pk), request=member("ann"))

    for stranger in (member("bob"), guest()):
        with pytest.raises(OrderNotFound):
            services.initiate(str(order.pk), request=stranger)


def test_a_payment_that_is_being_opened_says_so(hosted: GatewayServer) -> None:
    """The second of two simultaneous requests is told to come back, and opens nothing."""
    row = make_transaction("created", claimed_until=timezone.now() + timedelta(seconds=30))

    with pytest.raises(PaymentInProgress) as caught:
        services.initiate(row.order_id, request=guest())
    assert caught.value.transaction_id == str(row.pk)
    assert not hosted.requests


def test_a_changed_price_closes_the_old_payment_first(hosted: GatewayServer) -> None:
    """A basket that grew is paid at its new price, and the old session cannot be paid any more."""
    order = make_order()
    old = services.initiate(str(order.pk), request=guest()).transaction
    order.price_minor = 2500
    order.save()
    new = services.initiate(str(order.pk), request=guest()).transaction

    old.refresh_from_db()
    assert (old.state, new.amount_minor, new.state) == ("canceled", 2500, "pending")
    assert hosted.sessions[old.gateway_reference]["status"] == "canceled"


def test_a_changed_price_never_replaces_a_payment_that_the_bank_decides(hosted: GatewayServer) -> None:
    """What may still be paid is not paid twice."""
    order = make_order()
    make_transaction("processing", order=order)
    order.price_minor = 2500
    order.save()

    with pytest.raises(PaymentInProgress):
        services.initiate(str(order.pk), request=guest())


def test_a_payment_past_its_time_is_expired_and_a_new_one_starts(hosted: GatewayServer) -> None:
    """A shopper who comes back late does not wait for the clock."""
    order = make_order()
    old = services.initiate(str(order.pk), request=guest()).transaction
    Transaction.objects.filter(pk=old.pk).update(expires_at=timezone.now())
    new = services.initiate(str(order.pk), request=guest()).transaction

    old.refresh_from_db()
    assert (old.state, new.state) == ("expired", "pending")
    assert new.pk != old.pk


@pytest.mark.parametrize(
    ("order_id", "error"), [("9999", OrderNotFound), ("abc", OrderNotFound), ("\u2713", OrderNotFound)]
)
def test_an_order_that_cannot_be_found_starts_nothing(hosted: GatewayServer, order_id: str, error: Any) -> None:
    """Unknown and unreadable order ids are the same to a shopper."""
    with pytest.raises(error):
        services.initiate(order_id, request=guest())
    assert not Transaction.objects.exists()
    assert not hosted.requests


@pytest.mark.parametrize(
    "fields", [{"mood": "refuse"}, {"price_minor": 0}, {"price_minor": -5}, {"price_minor": 10**16}]
)
def test_what_cannot_be_paid_starts_nothing(hosted: GatewayServer, fields: dict[str, Any]) -> None:
    """A refused quote and an impossible price leave no row and no session."""
    with pytest.raises(OrderNotPayable):
        services.initiate(str(make_order(**fields).pk), request=guest())
    assert not Transaction.objects.exists()
    assert not hosted.requests


def test_an_unknown_gateway_starts_nothing(hosted: GatewayServer) -> None:
    """An alias that is not in GATEWAYS is bad input."""
    with pytest.raises(UnknownGateway):
        services.initiate(str(make_order().pk), request=guest(), gateway="nowhere")
    assert not Transaction.objects.exists()


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (Answer.error(402, "card_declined"), GatewayDeclined, "declined"),
        (Answer.error(422, "invalid_amount"), GatewayRejected, "gateway_rejected"),
        (Answer.error(401), GatewayRejected, "gateway_rejected"),
    ],
)
def test_a_definite_no_fails_the_transaction(hosted: GatewayServer, answer: Answer, error: Any, reason: str) -> None:
    """The row says why, the stock goes back, and the next try is a new transaction under a new key."""
    order = make_order()
    hosted.script(answer)
    with pytest.raises(error) as caught:
        services.initiate(str(order.pk), request=guest())
    retried = services.initiate(str(order.pk), request=guest())

    failed = Transaction.objects.get(state="failed")
    assert caught.value.transaction_id == str(failed.pk)
    assert failed.reason == reason
    assert retried.transaction.pk != failed.pk
    assert hosted.requests[0].key != hosted.requests[-1].key


NO_ANSWERS = [
    [Answer.error(500)] * 3,
    [Answer.error(503)] * 3,
    [Answer.html()] * 3,
    [Answer.html(502)] * 3,
    [Answer.json([1, 2])] * 3,
    [Answer.json({})],
    [Answer.json({"reference": "x", "payment_url": "https://evil.example/"})],
    [Answer.json({"reference": "x", "payment_url": "javascript:alert(1)"})],
    [Answer.json({"reference": 5, "payment_url": "http://127.0.0.1/"})],
    [Answer.redirect("http://169.254.169.254/")] * 3,
    [Answer.closed()] * 3,
    [Answer.lost()] * 3,
]


@pytest.mark.parametrize("answers", NO_ANSWERS, ids=range(len(NO_ANSWERS)))
def test_no_usable_answer_leaves_the_transaction_created(hosted: GatewayServer, answers: list[Answer]) -> None:
    """The outcome is unknown, so nothing is concluded; the same key finds one session later."""
    order = make_order()
    hosted.script(*answers)
    with pytest.raises(GatewayUnavailable) as caught:
        services.initiate(str(order.pk), request=guest(), idempotency_key="k")
    waiting = Transaction.objects.get()
    waiting_state = waiting.state
    retried = services.initiate(str(order.pk), request=guest(), idempotency_key="k")

    assert (waiting_state, caught.value.transaction_id) == ("created", str(waiting.pk))
    assert (retried.transaction.pk, retried.transaction.state) == (waiting.pk, "pending")
    assert len(hosted.sessions) == 1
    assert len({request.key for request in hosted.requests}) == 1


def test_an_answer_that_comes_too_late_is_no_answer(hosted: GatewayServer, settings: Any) -> None:
    """A gateway that thinks for longer than we wait has perhaps opened a session: a retry finds it."""
    settings.GATEWAYPAY["GATEWAYS"]["hosted"]["OPTIONS"]["timeout"] = (1, 0.2)
    order = make_order()
    hosted.script(*[Answer.hang(60)] * 3)
    with pytest.raises(GatewayUnavailable):
        services.initiate(str(order.pk), request=guest(), idempotency_key="k")
    gateways["hosted"].client.timeout = (10, 10)
    retried = services.initiate(str(order.pk), request=guest(), idempotency_key="k")

    assert retried.transaction.state == "pending"
    assert len(hosted.sessions) == 1


def test_the_clock_completes_what_a_crash_left_created(hosted: GatewayServer) -> None:
    """A process that died between the gateway's answer and our commit costs one retry under the same key."""
    order = make_order()
    hosted.script(*[Answer.lost()] * 3)
    with pytest.raises(GatewayUnavailable):
        services.initiate(str(order.pk), request=guest())
    Transaction.objects.update(next_poll_at=timezone.now())
    services.tick()

    assert Transaction.objects.get().state == "pending"
    assert len(hosted.sessions) == 1


def test_a_callback_that_overtakes_the_gateways_answer_is_matched_when_it_lands(hosted: GatewayServer) -> None:
    """The money is not lost because the message was fast."""
    order = make_order()
    hosted.script(*[Answer.lost()] * 3)
    with pytest.raises(GatewayUnavailable):
        services.initiate(str(order.pk), request=guest(), idempotency_key="k")
    [reference] = hosted.sessions
    hosted.pay(reference)
    headers, body = hosted.callback(reference)
    [callback_id] = services.receive_callback("hosted", message(headers, body))
    early = services.process_callback(callback_id)
    retried = services.initiate(str(order.pk), request=guest(), idempotency_key="k")

    assert early == "unmatched"
    assert retried.transaction.state == "success"
    assert Fulfilment.objects.get().state == "done"


def message(headers: dict[str, str], body: bytes) -> Any:
    from django_gatewaypay.types import CallbackRequest

    return CallbackRequest(headers, body)


def test_initiating_inside_a_database_transaction_is_refused(hosted: GatewayServer) -> None:
    """What must survive the gateway's answer cannot hang on somebody else's commit."""
    order = make_order()

    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        services.initiate(str(order.pk), request=guest())
    assert not hosted.requests


def test_a_members_key_replays_although_the_order_is_paid_by_now(hosted: GatewayServer) -> None:
    """A key is answered as before, whatever the host says about the order today."""
    order, ann = make_order(), member("ann")
    first = services.initiate(str(order.pk), request=ann, idempotency_key="k")
    type(order).objects.update(paid=True)
    again = services.initiate(str(order.pk), request=ann, idempotency_key="k")

    assert (again.transaction.pk, again.token) == (first.transaction.pk, first.token)


def test_a_replay_after_the_secret_key_was_rotated_gives_the_same_token(hosted: GatewayServer, settings: Any) -> None:
    """SECRET_KEY_FALLBACKS keep what was handed out; without them there is no token, and no wrong one."""
    order = make_order()
    first = services.initiate(str(order.pk), request=guest(), idempotency_key="k")
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "a new one"
    rotated = services.initiate(str(order.pk), request=guest(), idempotency_key="k")
    settings.SECRET_KEY_FALLBACKS = []
    forgotten = services.initiate(str(order.pk), request=guest(), idempotency_key="k")

    assert (rotated.token, forgotten.token) == (first.token, "")


def test_a_payment_that_ends_while_its_session_opens_keeps_the_session(
    hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Canceled in another tab in the meantime: the reference is known all the same, should money arrive."""
    order = make_order()
    real = services.sessions.gateway_of

    def cancel_meanwhile(row: Transaction) -> Any:
        services.expire(row.pk)
        return real(row)

    monkeypatch.setattr("django_gatewaypay.services.sessions.gateway_of", cancel_meanwhile)
    row = services.initiate(str(order.pk), request=guest()).transaction

    assert (row.state, row.gateway_reference in hosted.sessions) == ("expired", True)
    assert row.next_action["url"].startswith(hosted.url)


def test_a_rival_that_is_gone_again_asks_the_shopper_to_come_back(
    hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The open payment that kept ours out ended in the same instant: nothing is guessed."""

    def kept_out(*_: Any) -> Any:
        raise IntegrityError

    monkeypatch.setattr("django_gatewaypay.services.initiation._insert", kept_out)
    with pytest.raises(PaymentInProgress):
        services.initiate(str(make_order().pk), request=guest())


# --- Manual capture.


def with_alias(settings: Any, **changes: Any) -> None:
    one = {**settings.GATEWAYPAY["GATEWAYS"]["hosted"], **changes}
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {"hosted": one}}


class WishfulShop(ShopOrders):
    """A host that says with each quote how it wants its money."""

    capture = ""

    def quote(self, order_id: str, *, request: Any) -> Quote:
        return replace(super().quote(order_id, request=request), capture=self.capture)


def wish(settings: Any, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setattr(WishfulShop, "capture", word)
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "ORDERS": f"{__name__}.WishfulShop"}


class ImmediateGateway(HostedGateway):
    """It takes the money at once, and nothing else."""

    supports_capture = False


@pytest.mark.parametrize(
    ("alias", "quote", "manual"),
    [
        (None, "", False),
        (None, "manual", True),
        ("auto", "", False),
        ("auto", "manual", True),
        ("manual", "", True),
        ("manual", "auto", False),
        ("manual", "manual", True),
    ],
)
def test_the_quote_stands_before_the_alias_in_how_money_is_taken(
    hosted: GatewayServer, settings: Any, monkeypatch: pytest.MonkeyPatch, alias: str | None, quote: str, manual: bool
) -> None:
    """The row remembers it, and the gateway is asked for just that, at every retry."""
    wish(settings, monkeypatch, quote)
    with_alias(settings, **({"CAPTURE": alias} if alias else {}))
    row = services.initiate(str(make_order().pk), request=guest()).transaction

    assert row.manual_capture is manual
    assert hosted.requests[0].json.get("capture", "auto") == ("manual" if manual else "auto")
    assert services.sessions.payment_request(row).manual_capture is manual


def test_a_gateway_that_cannot_reserve_does_not_take_the_money_instead(
    hosted: GatewayServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the quote wants it, another gateway may be chosen; where the alias does, the host has to mend it."""
    with_alias(settings, BACKEND=f"{__name__}.ImmediateGateway")
    wish(settings, monkeypatch, "manual")
    with pytest.raises(OrderNotPayable, match="Hosted cannot be used for this order"):
        services.initiate(str(make_order().pk), request=guest())
    wish(settings, monkeypatch, "")
    with_alias(settings, CAPTURE="manual")
    with pytest.raises(ImproperlyConfigured, match=r"Hosted \(hosted\) cannot reserve"):
        services.initiate(str(make_order().pk), request=guest())

    assert not Transaction.objects.exists()
    assert not hosted.requests


@pytest.mark.parametrize("word", ["Manual", "later"])
def test_a_word_that_nobody_knows_takes_nothing(
    hosted: GatewayServer, settings: Any, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """A slip of the pen must not decide about money."""
    wish(settings, monkeypatch, word)

    with pytest.raises(ImproperlyConfigured, match=word):
        services.initiate(str(make_order().pk), request=guest())
    assert not Transaction.objects.exists()


def test_another_way_of_taking_the_money_closes_the_old_payment_first(
    hosted: GatewayServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another price does; what is reserved already is joined."""
    order = make_order()
    old = services.initiate(str(order.pk), request=guest()).transaction
    wish(settings, monkeypatch, "manual")
    new = services.initiate(str(order.pk), request=guest()).transaction
    hosted.pay(new.gateway_reference)
    services.refresh(new.pk)
    wish(settings, monkeypatch, "auto")
    joined = services.initiate(str(order.pk), request=guest()).transaction

    old.refresh_from_db()
    assert (old.state, new.manual_capture, joined.pk, joined.state) == ("canceled", True, new.pk, "authorized")


# --- The shopper's address.


def mailing(settings: Any) -> None:
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "ORDERS": "tests.shop.MailingShopOrders"}


def test_staff_find_a_payment_by_its_shoppers_address(hosted: GatewayServer, settings: Any) -> None:
    """The books keep a digest that is the same for every order, and never the address."""
    mailing(settings)
    rows = [
        services.initiate(str(make_order(email=email).pk), request=guest()).transaction
        for email in ("Ann.Other@shop.example", " ann.other@SHOP.example ", "bob@shop.example")
    ]
    found = Transaction.objects.filter(email_digest=services.email_digest("ann.other@shop.example"))

    assert set(found) == set(rows[:2])
    assert "ann.other" not in str([vars(row) for row in rows]).casefold()


def test_the_digest_is_of_this_site_alone(settings: Any) -> None:
    """Another key, another digest; and it is not that of the mailed links."""
    here = services.email_digest("ann@shop.example")
    settings.SECRET_KEY = "another"

    assert (len(here), here == services.email_digest("ann@shop.example")) == (64, False)


def test_a_host_that_tells_no_address_has_none(hosted: GatewayServer, settings: Any) -> None:
    """Neither a host without the hook, nor an order without an address."""
    silent = services.initiate(str(make_order().pk), request=guest()).transaction
    mailing(settings)
    empty = services.initiate(str(make_order(email=" ").pk), request=guest()).transaction

    assert (silent.email_digest, empty.email_digest) == ("", "")


def test_a_hook_that_fails_keeps_nobody_from_paying(
    hosted: GatewayServer, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged without the address, asked outside of any database transaction, and the digest stays blank."""
    mailing(settings)
    real, seen = MailingShopOrders.email, []

    def ask(self: MailingShopOrders, order_id: str) -> str:
        seen.append(in_transaction())
        Order.objects.filter(pk=order_id).update(mood="raise")
        return real(self, order_id)

    monkeypatch.setattr(MailingShopOrders, "email", ask)
    row = services.initiate(str(make_order(email="ann@shop.example").pk), request=guest()).transaction

    assert (row.state, row.email_digest, seen) == ("pending", "", [False])
    assert ("no address" in caplog.text, "ann@" in caplog.text) == (True, False)
