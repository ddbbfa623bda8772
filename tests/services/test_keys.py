"""The key under which a session is opened: repeated while that is safe, replaced only after looking."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.exceptions import GatewayRejected, GatewayUnavailable
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.models import Transaction
from django_gatewaypay.registry import gateways
from django_gatewaypay.services.sessions import TRIES_PER_KEY
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from tests.factories import make_order, make_transaction
from tests.invariants import check_books

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not sleep, and one call is one try."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


@pytest.fixture
def gateway(hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> HostedGateway:
    """The adapter, with a circuit that never opens: here it is the key that is looked at."""
    found = gateways["hosted"]
    assert isinstance(found, HostedGateway)
    monkeypatch.setattr(found.client, "tries", 1)
    monkeypatch.setattr(found.client.circuit, "enter", lambda _: 0.0)
    return found


def created(age: timedelta = timedelta(0), **fields: Any) -> Transaction:
    """A payment whose session could not be opened yet."""
    return make_transaction("created", next_poll_at=timezone.now(), **fields)


def try_again(row: Transaction) -> Transaction:
    """The clock comes by."""
    Transaction.objects.filter(pk=row.pk).update(next_poll_at=timezone.now(), claimed_until=None)
    services.poll_due()
    row.refresh_from_db()
    return row


def keys(server: GatewayServer) -> list[str]:
    return [request.key for request in server.requests if request.path.endswith("create-session")]


def test_the_same_key_while_nobody_knows(hosted: GatewayServer, gateway: HostedGateway) -> None:
    """Six tries without an answer have one key, and nothing is looked up."""
    row = created()
    hosted.script(*[Answer.error(500)] * TRIES_PER_KEY)
    for _ in range(TRIES_PER_KEY):
        try_again(row)

    assert set(keys(hosted)) == {f"gatewaypay-{row.pk}"}
    assert {request.method for request in hosted.requests} == {"POST"}
    assert (row.state, row.poll_attempts) == ("created", TRIES_PER_KEY)


def test_an_error_that_is_stored_with_the_key_ends_after_looking(hosted: GatewayServer, gateway: HostedGateway) -> None:
    """ "There is none" allows the second key, and one session exists in the end."""
    row = created()
    hosted.script(*[Answer.error(500)] * TRIES_PER_KEY)
    for _ in range(TRIES_PER_KEY + 1):
        try_again(row)

    assert [request.path for request in hosted.requests[-2:]] == [f"/find/{row.pk}", "/create-session"]
    assert keys(hosted)[-1] == f"gatewaypay-{row.pk}-1"
    assert (row.state, row.key_number, len(hosted.sessions)) == ("pending", 1, 1)
    check_books()


def test_a_session_whose_answer_was_always_lost_is_adopted(hosted: GatewayServer, gateway: HostedGateway) -> None:
    """It was opened at the first try; the search finds it and no second one is opened."""
    row = created()
    hosted.script(*[Answer.lost()] * TRIES_PER_KEY)
    for _ in range(TRIES_PER_KEY + 1):
        try_again(row)

    assert (row.state, row.key_number, [row.gateway_reference]) == ("pending", 0, list(hosted.sessions))
    assert row.next_action["url"].endswith(row.gateway_reference)
    check_books()


def test_a_key_that_the_gateway_has_forgotten_is_not_repeated(hosted: GatewayServer, gateway: HostedGateway) -> None:
    """Past its `key_ttl` the first call of all is the search."""
    row = created(created_at=timezone.now() - gateway.key_ttl, poll_attempts=1)
    try_again(row)

    assert [request.path for request in hosted.requests] == [f"/find/{row.pk}", "/create-session"]
    assert (row.state, row.key_number) == ("pending", 1)


def test_the_second_key_has_a_life_of_its_own(hosted: GatewayServer, gateway: HostedGateway) -> None:
    """It is repeated under its own number for as long, and counted anew."""
    row = created(created_at=timezone.now() - gateway.key_ttl)
    hosted.script(Answer.error(404, "not_found"), Answer.error(500))
    try_again(row)
    try_again(row)

    assert keys(hosted) == [f"gatewaypay-{row.pk}-1"] * 2
    assert (row.state, row.key_number) == ("pending", 1)


@pytest.mark.parametrize(
    "answer",
    [
        Answer.error(503),
        Answer.error(402),
        Answer.error(403),
        Answer.html(),
        Answer(status=404, body=b"{}"),
        Answer.error(404, "no_such_call"),
        Answer.error(405, "not_found"),
    ],
)
def test_no_answer_to_the_search_opens_nothing(hosted: GatewayServer, gateway: HostedGateway, answer: Answer) -> None:
    """Only "there is none" does; the payment is not failed by it either."""
    row = created(created_at=timezone.now() - gateway.key_ttl)
    hosted.script(answer)
    try_again(row)

    assert (row.state, row.key_number, keys(hosted)) == ("created", 0, [])


def test_where_nothing_can_be_looked_up_an_old_key_ends_the_tries(
    hosted: GatewayServer, gateway: HostedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent; the payment expires at its time, and no session was ever shown to anybody."""
    monkeypatch.setattr(HostedGateway, "supports_find", False)
    row = created(created_at=timezone.now() - gateway.key_ttl, expires_at=timezone.now() + timedelta(minutes=1))
    try_again(row)
    open_still = row.state
    Transaction.objects.update(expires_at=timezone.now(), claimed_until=None)
    services.expire_overdue()

    row.refresh_from_db()
    assert (open_still, row.state, hosted.requests) == ("created", "expired", [])
    check_books()


def test_where_nothing_can_be_looked_up_a_fresh_key_is_repeated_for_ever(
    hosted: GatewayServer, gateway: HostedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing better to do."""
    monkeypatch.setattr(HostedGateway, "supports_find", False)
    row = created(poll_attempts=TRIES_PER_KEY * 3)
    try_again(row)

    assert (row.state, keys(hosted)) == ("pending", [f"gatewaypay-{row.pk}"])


def test_a_shopper_who_comes_back_finds_it_too(hosted: GatewayServer, gateway: HostedGateway) -> None:
    """Initiation goes the same way as the clock."""
    order = make_order()
    hosted.script(Answer.error(500))
    with pytest.raises(GatewayUnavailable):
        services.initiate(str(order.pk))
    Transaction.objects.update(poll_attempts=TRIES_PER_KEY, claimed_until=None)
    started = services.initiate(str(order.pk))

    assert (started.transaction.state, started.transaction.key_number) == ("pending", 1)


def test_a_definite_no_is_still_one(hosted: GatewayServer, gateway: HostedGateway) -> None:
    """The call that opens may be refused under any key."""
    order = make_order()
    hosted.script(Answer.error(422))
    with pytest.raises(GatewayRejected):
        services.initiate(str(order.pk))

    assert Transaction.objects.get().state == "failed"
