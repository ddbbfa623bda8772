"""B4, calls to the gateway: no answer, half an answer, wrong answers, and none for twenty minutes. Faults 28 to 35."""

import itertools
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from email.utils import formatdate
from typing import Any

import pytest
import requests
import time_machine
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.gateways.circuit import Circuit
from django_gatewaypay.models import Transaction
from django_gatewaypay.registry import gateways
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer, RecordedRequest
from tests.example.running import within
from tests.factories import make_order, make_transaction
from tests.shop.models import Order

from .processes import Life, Mother, later, pass_time
from .processes import mother as mother
from .world import ALIAS, World, only

LEASE = 61


def unavailable(response: Any) -> dict[str, Any]:
    """The body of a 503 that names its transaction and says when to come back."""
    assert response.status_code == 503, response.content
    assert int(response.headers["Retry-After"]) > 0
    body = dict(response.json())
    assert body["id"]
    return body


def writes(world: World) -> list[RecordedRequest]:
    return [call for call in world.server.requests if call.method == "POST"]


def tries() -> int:
    return gateways[ALIAS].client.tries


# --- 28


def test_fault_28_no_answer_after_the_effect(world: World) -> None:
    """503 with the id, the row stays `created`; the same key is the same session, once at the gateway."""
    order = make_order()
    world.server.script(*[Answer.lost()] * tries())
    lost = unavailable(world.initiate(order, key="k"))
    row = Transaction.objects.get()
    state = row.state
    again = world.initiate(order, key="k")

    assert (state, lost["id"]) == ("created", str(row.pk))
    assert (again.status_code, again.json()["id"]) == (201, str(row.pk))
    assert len(world.server.sessions) == 1
    assert len({call.key for call in writes(world)}) == 1
    assert len({call.body for call in writes(world)}) == 1


def test_fault_28_a_read_timeout_after_the_effect(world: World) -> None:
    """The gateway works and says nothing in time: as good as no answer."""
    world.configure(timeout=(1, 0.4))
    order = make_order()
    world.server.script(*[Answer.hang(60)] * tries())
    lost = unavailable(world.initiate(order, key="k"))
    world.configure(timeout=(2, 10))
    again = world.initiate(order, key="k")

    assert (again.status_code, again.json()["id"]) == (201, lost["id"])
    assert len(world.server.sessions) == 1


def test_fault_28_nobody_can_be_reached(world: World) -> None:
    """No connection: nothing was opened, and the next try under the same key opens the one session."""
    world.configure(api_base="http://127.0.0.1:9/")
    order = make_order()
    lost = unavailable(world.initiate(order, key="k"))
    nothing = dict(world.server.sessions)
    world.configure(api_base=world.server.url)
    again = world.initiate(order, key="k")

    assert nothing == {}
    assert (again.status_code, again.json()["id"]) == (201, lost["id"])
    assert len(world.server.sessions) == 1


def test_fault_28_the_sweep_opens_what_nobody_asks_for_again(world: World) -> None:
    """A shopper who has gone: the session is found under its key, and expires in order."""
    world.server.script(*[Answer.lost()] * tries())
    world.initiate(make_order())
    pass_time(2 * LEASE)
    row = Transaction.objects.get()

    assert (row.state, len(world.server.sessions)) == ("pending", 1)


# --- 29


def start_at(life: Life, order: Order) -> int:
    try:
        url = f"{life.url}/payments/initiate/"
        body = {"order_id": str(order.pk)}
        return requests.post(url, json=body, headers={"Idempotency-Key": f"k{order.pk}"}, timeout=60).status_code
    except requests.ConnectionError:
        return 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_fault_29_killed_between_the_gateways_answer_and_our_commit(world: World, mother: Mother, when: str) -> None:
    """At every commit of an initiation: the completer finds the same session; one row, one session."""
    for number in itertools.count(1):
        order, earlier = make_order(), len(world.server.sessions)
        with mother.bear("web", world.settings, wound={"at": number, "when": when, "how": "kill"}) as life:
            answered = start_at(life, order)
        pass_time(2 * LEASE)
        rows = list(Transaction.objects.filter(order_id=order.pk))
        if answered:
            break
        # Killed before the row was there, nothing was asked for; otherwise the completer has been at work.
        assert [row.state for row in rows] == ([] if (number, when) == (1, "before") else ["pending"])
        assert len(world.server.sessions) - earlier == len(rows)
        again = world.initiate(order, key=f"k{order.pk}")
        assert again.status_code == 201
        assert Transaction.objects.filter(order_id=order.pk).count() == 1
        assert len(world.server.sessions) - earlier == 1

    assert (answered, number) >= (201, 3)


# --- 30, 31


def spoil(world: World, key: Callable[[str], bool], *, works: bool) -> None:
    """Calls under such a key are answered 500 for ever; what they asked for is done, or not."""
    real = world.server.work

    def work(call: RecordedRequest) -> tuple[int, dict[str, Any]]:
        if call.method != "POST" or not key(call.key):
            return tuple(real(call))  # type: ignore[return-value]
        if works:
            real(call)
        return 500, {}

    world.server.work = work


def try_until_open(row: Transaction, most: int = 14) -> int:
    """The beat, whenever the row is due, each time in a process of its own; how many rounds it took."""
    for number in range(most):
        row.refresh_from_db()
        if row.state != "created":
            return number
        assert row.next_poll_at
        gateways.reset()
        with later((row.next_poll_at - timezone.now()).total_seconds() + 1):
            services.tick()
    return most


@pytest.mark.parametrize("works", [False, True], ids=["absent", "found"])
def test_fault_30_an_error_that_is_cached_with_the_key(world: World, works: bool) -> None:
    """After the cap we look by our reference: absent, a new key; found, that session. Never two."""
    order = make_order()
    first: list[str] = []
    spoil(world, lambda key: key == (first or first.append(key) or first)[0], works=works)
    unavailable(world.initiate(order, key="k"))
    row = Transaction.objects.get()
    rounds = try_until_open(row)
    keys = Counter(call.key for call in writes(world))

    assert (row.state, rounds < 14) == ("pending", True)
    assert len(world.server.sessions) == 1
    assert row.gateway_reference in world.server.sessions
    assert len(keys) == (1 if works else 2)
    assert keys[first[0]] <= 6 * tries()
    assert world.initiate(order, key="k").json()["id"] == str(row.pk)


@pytest.mark.parametrize("opened", [True, False], ids=["found", "absent"])
def test_fault_31_a_retry_after_the_key_has_died(world: World, opened: bool) -> None:
    """Past `key_ttl` the gateway has forgotten the key: we look first, and then only open a session."""
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "EXPIRE_AFTER": timedelta(days=3)}
    world.server.script(*[Answer.lost() if opened else Answer.closed()] * tries())
    unavailable(world.initiate(make_order(), key="k"))
    row = Transaction.objects.get()
    forget_keys(world.server)
    Transaction.objects.update(next_poll_at=timezone.now() + gateways[ALIAS].key_ttl)
    world.server.requests.clear()
    gateways.reset()
    with later(gateways[ALIAS].key_ttl.total_seconds() + 1):
        services.tick()
    asked = [call.method for call in world.server.requests]

    assert world.row(row).state == "pending"
    assert len(world.server.sessions) == 1
    assert asked[0] == "GET"
    assert ("POST" in asked) == (not opened)


def forget_keys(server: Any) -> None:
    for memory in ("_keys", "replies"):
        getattr(server, memory, {}).clear()


@only("sandbox")
def test_fault_31_a_gateway_that_cannot_be_searched_is_not_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether there is a session: no second one is opened, and staff are not needed for an unpaid row."""
    monkeypatch.setattr(type(gateways[ALIAS]), "supports_find", False)
    world.server.script(*[Answer.lost()] * tries())
    world.initiate(make_order(), key="k")
    forget_keys(world.server)
    world.settings.GATEWAYPAY = {**world.settings.GATEWAYPAY, "EXPIRE_AFTER": timedelta(days=3)}
    Transaction.objects.update(
        next_poll_at=timezone.now() + timedelta(days=2), expires_at=timezone.now() + timedelta(days=3)
    )
    with later(timedelta(days=2, seconds=1).total_seconds()):
        services.tick()
        again = world.initiate(Order.objects.get(), key="k")

    assert (again.status_code, again.json()["code"]) == (503, "gateway_unavailable")
    assert len(world.server.sessions) == 1


# --- 32

WAITS = {
    "7": (7, 140),
    "a date": (120, 190),
    "999999": (300, 380),
    "garbage": (50, 140),
    "-5": (50, 140),
}


@pytest.mark.parametrize("said", WAITS)
def test_fault_32_too_many_requests(world: World, said: str) -> None:
    """That row waits as long as it was told, capped and spread; the row beside it is asked as ever."""
    busy, other = world.start(), world.start()
    least, most = WAITS[said]
    world.happen(other, "success")
    real, began = world.server._receive, timezone.now()
    value = formatdate(time.time() + 120, usegmt=True) if said == "a date" else said
    world.server._receive = lambda call: Answer.busy(value, 429) if busy.gateway_reference in call.path else real(call)
    Transaction.objects.update(next_poll_at=timezone.now())
    services.tick()
    due = world.row(busy).next_poll_at

    assert busy.state == "pending"
    assert due
    assert least - 2 <= (due - began).total_seconds()
    assert (due - timezone.now()).total_seconds() <= most
    assert world.fate(other) == ("success", 1)


@only("sandbox")
def test_fault_32_rows_that_wait_do_not_come_back_together(world: World) -> None:
    """Ten rows that were told "60" are due at ten different times."""
    rows = [world.start() for _ in range(10)]
    world.server._receive = lambda _: Answer.busy("200", 429)
    Transaction.objects.update(next_poll_at=timezone.now())
    services.tick()
    due = sorted(world.row(row).next_poll_at.timestamp() for row in rows)  # type: ignore[union-attr]

    assert len({round(moment, 1) for moment in due}) > 5
    assert due[-1] - due[0] < 100


@only("sandbox", "stripe", "mollie")
def test_fault_32_a_shopper_is_told_how_long(world: World) -> None:
    """An initiation that meets 429 is 503 with the gateway's own pause, capped."""
    world.server._receive = lambda _: Answer.busy("40", 429)
    short = world.initiate(make_order())
    world.server._receive = lambda _: Answer.busy("999999", 429)
    long = world.initiate(make_order())

    unavailable(short)
    unavailable(long)
    assert 40 <= int(short["Retry-After"]) <= 50
    assert 300 <= int(long["Retry-After"]) <= 375


# --- 33


class Outage:
    """The gateway is down or up, and every call that reaches it is counted by the second."""

    def __init__(self, world: World) -> None:
        self.down = True
        self.calls: list[float] = []
        real = world.server._receive

        def receive(call: RecordedRequest) -> Answer:
            self.calls.append(time.time())
            return Answer.closed() if self.down else real(call)

        world.server._receive = receive

    def within(self, start: float, end: float) -> int:
        return sum(start <= moment < end for moment in self.calls)


@pytest.mark.slow
@only("sandbox")
def test_fault_33_twenty_minutes_of_outage(world: World) -> None:
    """The circuit opens, at most a call a second is made, new sessions fail fast, and the drain has no spike.

    With 40 rows here; 5,000 are part of the published proof.
    """
    rows = [world.start() for _ in range(3)] + [make_transaction(gateway=ALIAS) for _ in range(37)]
    for row in rows[3:]:
        world.server.sessions[row.gateway_reference] = {
            **world.server.sessions[rows[0].gateway_reference],
            "reference": row.gateway_reference,
            "transaction_id": str(row.pk),
        }
    for row in rows:
        world.happen(row, "success")
    outage = Outage(world)
    # The clock of the circuit travels with the rest.
    client = gateways[ALIAS].client
    client.circuit = Circuit(clock=time.time)
    began = time.time()
    Transaction.objects.update(next_poll_at=timezone.now(), expires_at=timezone.now() + timedelta(days=1))
    for moment in range(0, 20 * 60, 30):
        with later(moment):
            services.tick()
    opened = next(at for number, at in enumerate(outage.calls) if number == 4)
    with later(20 * 60):
        new = within(3, lambda: world.initiate(make_order()))
    assert unavailable(new)
    assert outage.within(opened, began + 20 * 60) <= 20 * 60
    assert len(outage.calls) < 200

    outage.down = False
    drained = []
    for moment in range(20 * 60 + 31, 50 * 60, 10):
        with later(moment):
            before = len(outage.calls)
            services.tick()
            drained.append(len(outage.calls) - before)
        if not Transaction.objects.filter(state="pending").exists():
            break
    assert {world.fate(row)[0] for row in rows} == {"success"}
    assert max(drained) <= len(rows)


@only("sandbox", "stripe", "mollie")
def test_fault_33_an_open_circuit_answers_at_once(world: World) -> None:
    """503 with Retry-After and nothing on the wire; a probe closes it, and the same payment goes on."""
    outage = Outage(world)
    client = gateways[ALIAS].client
    client.circuit = Circuit(clock=time.time)
    # The circuit's first pause is no longer than a machine may stand still.
    with time_machine.travel(timezone.now(), tick=False):
        for _ in range(4):
            world.initiate(make_order())
        order, before = make_order(), len(outage.calls)
        refused = unavailable(world.initiate(order, key="k"))
        silent = len(outage.calls) - before
    outage.down = False
    with later(40):
        again = world.initiate(order, key="k")
        other = world.initiate(make_order())

    assert silent == 0
    assert (again.status_code, again.json()["id"]) == (201, refused["id"])
    assert other.status_code == 201
    assert len(world.server.sessions) == 2


# --- 34

MEGABYTE = 1024 * 1024
USELESS: dict[str, Callable[[], Answer]] = {
    "drip": lambda: Answer.drip(0.2),
    "drip_head": lambda: Answer.drip_head(0.2),
    "huge": lambda: Answer.huge(50 * MEGABYTE),
    "redirect": lambda: Answer.redirect("http://169.254.169.254/latest/meta-data/"),
    "page": Answer.html,
    "list": lambda: Answer.json([1, 2]),
    "empty": lambda: Answer(status=204),
}


@only("sandbox", "stripe", "mollie")
@pytest.mark.parametrize("kind", USELESS)
def test_fault_34_a_useless_answer_is_no_answer(world: World, kind: str) -> None:
    """In bounded time; the row stays `created`, and the same key goes on when the gateway is well."""
    client = gateways[ALIAS].client
    patience, client.deadline = client.deadline, 2
    order = make_order()

    def call() -> Any:
        world.server._script.clear()
        world.server.script(*[USELESS[kind]()] * tries())
        return unavailable(world.initiate(order, key="k"))

    lost = within(8, call)
    state = Transaction.objects.get().state
    world.server._script.clear()
    client.deadline = patience
    again = world.initiate(order, key="k")

    assert state == "created"
    assert (again.status_code, again.json()["id"]) == (201, lost["id"])
    assert len(world.server.sessions) == 1


@only("sandbox")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_fault_34_a_redirect_is_not_followed(world: World, status: int) -> None:
    """Not even to a server that would answer."""
    with GatewayServer() as elsewhere:
        world.server.script(*[Answer.redirect(f"{elsewhere.url}create-session", status)] * tries())
        unavailable(world.initiate(make_order()))

        assert elsewhere.connections == 0


@only("sandbox")
def test_fault_34_bad_tls_is_no_answer(world: World) -> None:
    """Something that is no TLS server answers at the https address: nothing is sent to it."""
    world.configure(api_base=world.server.url.replace("http:", "https:"))
    unavailable(world.initiate(make_order()))

    assert not world.server.requests
    assert Transaction.objects.get().state == "created"


# --- 35


def test_fault_35_the_gateway_says_no(world: World) -> None:
    """A definite 4xx: `failed` with the reason, 422; the next try is another payment under another key."""
    order = make_order()
    world.server.script(world.play.bench.rejected)
    refused = world.initiate(order, key="k-1")
    row = Transaction.objects.get()
    again = world.initiate(order, key="k-2")
    other = Transaction.objects.exclude(pk=row.pk).get()

    assert (refused.status_code, refused.json()["id"]) == (422, str(row.pk))
    assert (row.state, row.reason) == ("failed", "gateway_rejected")
    assert any(event.evidence["raw"]["code"] for event in world.ledger(row)[1:])
    assert (again.status_code, other.state) == (201, "pending")
    assert len({call.key for call in writes(world)}) == 2
    assert len(world.server.sessions) == 1
