"""The live socket: it says what is true, to the right page, and it hears almost nothing."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.auth import get_user_model
from django.core import signing
from django.test import Client

from django_gatewaypay import consumers
from django_gatewaypay.announcer import announce, group_name
from django_gatewaypay.lifecycle import apply_update
from django_gatewaypay.models import Transaction
from django_gatewaypay.permissions import COOKIE, COOKIE_SALT
from django_gatewaypay.services import access
from django_gatewaypay.types import PaymentUpdate, Source, State
from tests.asgi import application
from tests.factories import make_transaction

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patient_nudges")]

OURS = "https://shop.example"
Talk = Callable[[], Awaitable[None]]


def run(talk: Talk) -> None:
    """Drive a coroutine the way Django does."""

    async def and_hang_up() -> None:
        try:
            await talk()
        finally:
            layer = get_channel_layer()
            await layer.flush()

    async_to_sync(and_hang_up)()


def socket(
    row: Transaction | str,
    *,
    token: str | None = None,
    origin: str | None = OURS,
    host: str = "shop.example",
    protocols: list[str] | None = None,
    cookie: str = "",
) -> WebsocketCommunicator:
    """A socket of a page; with the row's own token unless another one is named."""
    given = {"host": host, "origin": origin, "cookie": cookie or None}
    headers = [(name.encode(), value.encode("latin1")) for name, value in given.items() if value is not None]
    if protocols is None:
        mine = access.mint_token(row.pk) if isinstance(row, Transaction) else "gwp_x"
        protocols = ["gatewaypay.v1", mine if token is None else token]
    text = str(row.pk) if isinstance(row, Transaction) else row
    return WebsocketCommunicator(application, f"/ws/payments/{text}/", headers=headers, subprotocols=protocols)


@asynccontextmanager
async def connected(*args: Any, **kwargs: Any) -> AsyncIterator[WebsocketCommunicator]:
    """An open socket that has said its first snapshot."""
    page = socket(*args, **kwargs)
    accepted, _ = await page.connect(timeout=60)
    assert accepted
    page.first = json.loads(await page.receive_from(60))  # type: ignore[attr-defined] # kept beside what was opened
    try:
        yield page
    finally:
        await page.disconnect(timeout=60)


async def is_refused(page: WebsocketCommunicator) -> bool:
    """Closed before the handshake, which the server turns into a 403."""
    await page.send_input({"type": "websocket.connect"})
    said = await page.receive_output(60)
    # What a server says next; without it the consumer goes on listening to its layer.
    await page.send_input({"type": "websocket.disconnect", "code": 1006})
    await page.wait(60)
    return said["type"] == "websocket.close"


@sync_to_async
def move(row: Transaction, state: State) -> None:
    captured = row.amount if state is State.SUCCESS else None
    apply_update(row.pk, PaymentUpdate(state=state, captured=captured), source=Source.POLL)


def test_a_page_is_told_at_once_and_at_every_change() -> None:
    """A snapshot on connect, one per change, and the end of the line after the last one."""
    row = make_transaction()

    async def talk() -> None:
        async with connected(row) as page:
            await move(row, State.PROCESSING)
            second = json.loads(await page.receive_from(60))
            await move(row, State.SUCCESS)
            third = json.loads(await page.receive_from(60))
            end = await page.receive_output(60)

            assert page.first == {  # type: ignore[attr-defined]
                "type": "transaction.status",
                "id": str(row.pk),
                "status": "pending",
                "state": "pending",
                "reason": "",
                "late": False,
                "version": 1,
            }
            assert [(said["state"], said["version"]) for said in (second, third)] == [("processing", 2), ("success", 3)]
            assert third.keys() == page.first.keys()  # type: ignore[attr-defined]
            assert (end["type"], end["code"]) == ("websocket.close", 1000)

    run(talk)


@pytest.mark.parametrize("state", ["success", "failed", "canceled", "expired"])
def test_what_is_final_is_said_once_and_closed(state: str) -> None:
    """A page that connects too late is told all the same."""
    row = make_transaction(state)

    async def talk() -> None:
        async with connected(row) as page:
            assert page.first["state"] == state  # type: ignore[attr-defined]
            assert (await page.receive_output(60))["code"] == 1000

    run(talk)


def test_nothing_is_said_twice() -> None:
    """Nudges without news are silent; `resync` repeats on request."""
    row = make_transaction()

    async def talk() -> None:
        async with connected(row) as page:
            for _ in range(5):
                await sync_to_async(announce)(row.pk)
            quiet = await page.receive_nothing(0.3)
            await page.send_to("resync")
            again = json.loads(await page.receive_from(60))

            assert quiet
            assert again == page.first  # type: ignore[attr-defined]

    run(talk)


def test_what_is_said_was_just_read() -> None:
    """A nudge carries nothing: several changes may come as one snapshot, and it is the newest."""
    row = make_transaction()

    async def talk() -> None:
        async with connected(row) as page:
            await sync_to_async(Transaction.objects.filter(pk=row.pk).update)(state="processing", version=9)
            layer = get_channel_layer()
            forged = {"type": "transaction.nudge", "state": "success", "version": 99}
            await layer.group_send(group_name(row.pk), forged)
            said = json.loads(await page.receive_from(60))

            assert (said["state"], said["version"]) == ("processing", 9)

    run(talk)


def test_an_older_read_is_not_sent() -> None:
    """A version that the page has seen already is no news."""
    row = make_transaction()

    async def talk() -> None:
        async with connected(row) as page:
            await sync_to_async(Transaction.objects.filter(pk=row.pk).update)(version=0)
            await sync_to_async(announce)(row.pk)

            assert await page.receive_nothing(0.3)

    run(talk)


def test_a_change_between_connecting_and_listening_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group is joined first and the row read after it, so there is no gap to fall into."""
    row = make_transaction()
    accept = consumers.TransactionConsumer.accept

    async def pay_meanwhile(self: Any, *args: Any) -> None:
        await move(row, State.PROCESSING)
        await accept(self, *args)

    monkeypatch.setattr(consumers.TransactionConsumer, "accept", pay_meanwhile)

    async def talk() -> None:
        async with connected(row) as page:
            assert page.first["state"] == "processing"  # type: ignore[attr-defined]
            assert await page.receive_nothing(0.3)

    run(talk)


def test_two_pages_of_one_payment_both_hear() -> None:
    """And a page of another payment does not."""
    row, other = make_transaction(), make_transaction()

    async def talk() -> None:
        async with connected(row) as first, connected(row) as second, connected(other) as stranger:
            await move(row, State.PROCESSING)
            heard = [json.loads(await page.receive_from(60))["version"] for page in (first, second)]

            assert heard == [2, 2]
            assert await stranger.receive_nothing(0.2)

    run(talk)


# --- Who may listen.


def session_cookie(name: str) -> str:
    client = Client()
    client.force_login(get_user_model().objects.get_or_create(username=name)[0])
    return f"sessionid={client.cookies['sessionid'].value}"


def guest_cookie(*rows: Transaction) -> str:
    return f"{COOKIE}={signing.dumps([row.pk.hex for row in rows], salt=COOKIE_SALT)}"


def test_each_proof_opens_the_socket() -> None:
    """The token as a sub-protocol, the guest's cookie, the owner's session; the protocol is confirmed, no token is."""
    guests = make_transaction()
    of_ann = make_transaction(user=get_user_model().objects.create(username="ann"))
    token = access.mint_token(of_ann.pk)
    cases: list[tuple[Transaction, dict[str, Any], str | None]] = [
        (guests, {}, "gatewaypay.v1"),
        (guests, {"protocols": [access.mint_token(guests.pk)]}, None),
        (guests, {"protocols": ["gatewaypay.v1"], "cookie": guest_cookie(guests)}, "gatewaypay.v1"),
        (guests, {"protocols": [], "cookie": guest_cookie(of_ann, guests)}, None),
        (of_ann, {"protocols": ["gatewaypay.v1"], "cookie": session_cookie("ann")}, "gatewaypay.v1"),
        (of_ann, {"protocols": ["other", token, "gatewaypay.v1"]}, "gatewaypay.v1"),
    ]

    async def talk() -> None:
        for row, given, expected in cases:
            page = socket(row, **given)
            assert await page.connect(timeout=60) == (True, expected), given
            await page.disconnect(timeout=60)

    run(talk)


def test_strangers_and_wrong_ids_are_refused_alike() -> None:
    """403 before the handshake: unknown, foreign and malformed ids, wrong tokens, other people's cookies."""
    mine = make_transaction(user=get_user_model().objects.create(username="ann"))
    guests = make_transaction()
    wrong = access.mint_token(uuid.uuid4())
    pages = [
        socket(str(uuid.uuid4())),
        socket("x"),
        socket("0" * 32),
        socket("%00"),
        socket("a" * 10_000),
        socket("é"),
        socket(mine, token=""),
        socket(mine, token=wrong),
        socket(mine, token=access.mint_token(mine.pk)[:-1]),
        socket(mine, token=access.mint_token(guests.pk)),
        socket(mine, token=mine.token_hash),
        socket(mine, protocols=[], cookie=session_cookie("bob")),
        socket(mine, protocols=[], cookie=guest_cookie(mine)),
        socket(guests, protocols=[], cookie=guest_cookie(mine)),
        socket(guests, protocols=[], cookie=f"{COOKIE}=tampered"),
        socket(guests, protocols=[], cookie=session_cookie("ann")),
        socket(guests, protocols=["gatewaypay.v1"]),
    ]

    async def talk() -> None:
        assert [await is_refused(page) for page in pages] == [True] * len(pages)

    run(talk)


def test_a_revoked_token_is_put_off_the_line() -> None:
    """Access is checked at every snapshot, not at the first one only."""
    row = make_transaction()

    async def talk() -> None:
        async with connected(row) as page:
            await sync_to_async(Transaction.objects.filter(pk=row.pk).update)(token_hash="", version=9)
            await sync_to_async(announce)(row.pk)
            end = await page.receive_output(60)

            assert (end["type"], end["code"]) == ("websocket.close", 1008)

    run(talk)


REFUSED_ORIGINS = [
    None,
    "",
    "null",
    "https://evil.example",
    "https://shop.example.evil.example",
    "https://shop-example",
    "https://notshop.example",
    "https://app.shop.example",
    "https://shop.example:8443",
    "http://shop.example",
    "ftp://shop.example",
    "chrome-extension://shop.example",
    "//shop.example",
    "shop.example",
    "https://shop.example@evil.example",
    "https://user@shop.example",
    "https://shop.example, https://evil.example",
    "https://[shop",
    "https://",
    "://",
    "file://",
    "x" * 10_000,
]


@pytest.mark.parametrize("origin", REFUSED_ORIGINS, ids=range(len(REFUSED_ORIGINS)))
def test_a_page_of_somebody_else_is_refused(origin: str | None) -> None:
    """Even with the right token and the right cookie."""
    row = make_transaction()

    async def talk() -> None:
        assert await is_refused(socket(row, origin=origin, cookie=guest_cookie(row)))

    run(talk)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://shop.example", "shop.example"),
        ("https://shop.example", "internal:8000"),
        ("https://app.example:8443", "shop.example"),
        ("https://testserver", "testserver"),
        ("http://localhost:8000", "localhost:8000"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
    ],
)
def test_a_page_of_the_host_is_welcome(settings: Any, origin: str, host: str) -> None:
    """BASE_URL, the named origins, and whatever allowed host serves page and socket alike."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"RETURN_ORIGINS": ["https://app.example:8443"]}
    row = make_transaction()

    async def talk() -> None:
        async with connected(row, origin=origin, host=host):
            pass

    run(talk)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:443", "", "shop.example.evil.example"])
def test_a_host_header_does_not_make_a_page_ours(host: str) -> None:
    """The same origin as a server name that is not in ALLOWED_HOSTS is not ours (DNS rebinding)."""
    row = make_transaction()

    async def talk() -> None:
        assert await is_refused(socket(row, origin=f"https://{host}", host=host))

    run(talk)


def test_a_site_on_plain_http_has_pages_on_plain_http(settings: Any) -> None:
    """Another allowed name of a development server."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"BASE_URL": "http://shop.test"}
    row = make_transaction()

    async def talk() -> None:
        async with connected(row, origin="http://testserver", host="testserver"):
            pass

    run(talk)


# --- What a client may say.


@pytest.mark.parametrize("frame", ["ping", '"ping"', '{"type": "ping"}', ' {"type":"ping","x":[1]} ', "ping\n"])
def test_ping_is_answered(frame: str) -> None:
    """As a word or as JSON."""
    row = make_transaction()

    async def talk() -> None:
        async with connected(row) as page:
            await page.send_to(frame)

            assert json.loads(await page.receive_from(60)) == {"type": "pong"}

    run(talk)


BAD_FRAMES: list[dict[str, Any]] = [
    {"text": ""},
    {"text": "pong"},
    {"text": "PING"},
    {"text": '{"type": "transaction.status", "state": "success"}'},
    {"text": '{"type": ["ping"]}'},
    {"text": "{}"},
    {"text": "[]"},
    {"text": "null"},
    {"text": "17"},
    {"text": "{"},
    {"text": "[" * 1000},
    {"text": "\x00"},
    {"text": "🦊"},
    {"text": "ping" + " " * 2048},
    {"text": '{"type": "ping", "x": "' + "x" * 2048 + '"}'},
    {"bytes": b"ping"},
    {"bytes": b""},
    {"bytes": b"\xff" * 2048},
]


@pytest.mark.parametrize("frame", BAD_FRAMES, ids=range(len(BAD_FRAMES)))
def test_anything_else_ends_the_conversation(frame: dict[str, Any]) -> None:
    """1008, and the row is as it was."""
    row = make_transaction()

    async def talk() -> None:
        async with connected(row) as page:
            await page.send_input({"type": "websocket.receive", **frame})
            end = await page.receive_output(60)

            assert (end["type"], end["code"]) == ("websocket.close", 1008)

    run(talk)
    row.refresh_from_db()
    assert (row.state, row.version) == ("pending", 1)


def test_a_page_that_does_not_stop_talking_is_put_off() -> None:
    """Twenty frames a minute are answered, the next one is not."""
    row = make_transaction()

    async def talk() -> None:
        async with connected(row) as page:
            for _ in range(20):
                await page.send_to("ping")
                assert json.loads(await page.receive_from(60)) == {"type": "pong"}
            await page.send_to("ping")

            assert (await page.receive_output(60))["code"] == 1008

    run(talk)


def test_a_socket_is_closed_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a payment may take, shorter than the layer keeps its groups."""
    row = make_transaction()
    age = consumers.MAX_AGE_SECONDS
    monkeypatch.setattr(consumers, "MAX_AGE_SECONDS", 0.1)

    async def talk() -> None:
        page = socket(row)
        assert (await page.connect(timeout=60))[0]
        # Where reading takes longer than that, it is closed before the first word.
        while (said := await page.receive_output(60))["type"] != "websocket.close":
            pass
        await page.disconnect(timeout=60)

        assert said["code"] == 1000

    run(talk)
    assert 30 * 60 < age < 86_400


def test_leaving_leaves_the_group() -> None:
    """A page that is gone is not written to, and nothing of it stays behind."""
    row = make_transaction()

    async def talk() -> None:
        async with connected(row):
            pass
        await sync_to_async(announce)(row.pk)
        await asyncio.sleep(0.05)
        timers = [task for task in asyncio.all_tasks() if "close_when_old" in repr(task)]

        assert timers == []

    run(talk)


def test_without_a_layer_the_socket_is_refused(settings: Any) -> None:
    """A page polls when its socket is refused; on a socket that hears nothing it would wait."""
    settings.CHANNEL_LAYERS = {}
    row = make_transaction()

    async def talk() -> None:
        assert await is_refused(socket(row))

    async_to_sync(talk)()


def test_the_groups_name_is_the_id_and_nothing_from_the_address() -> None:
    """Another spelling of the id leads to the same group."""
    row = make_transaction()
    spelt = socket(row.pk.hex.upper(), protocols=["gatewaypay.v1", access.mint_token(row.pk)])

    async def talk() -> None:
        accepted, _ = await spelt.connect(timeout=60)
        await spelt.receive_from(60)
        await move(row, State.PROCESSING)
        said = json.loads(await spelt.receive_from(60))
        await spelt.disconnect(timeout=60)

        assert (accepted, said["state"]) == (True, "processing")

    run(talk)
    assert group_name(row.pk) == f"gatewaypay.transaction.{row.pk.hex}"


def test_a_developers_machine_needs_no_allowed_hosts(settings: Any) -> None:
    """With DEBUG on and an empty list, Django's own names for this machine count, and no others."""
    settings.DEBUG, settings.ALLOWED_HOSTS = True, []

    names = ("localhost:8000", "127.0.0.1:8000", "[::1]:8000", "evil.example")
    assert [consumers.origin_is_ours({"origin": f"http://{name}", "host": name}) for name in names] == [
        True, True, True, False
    ]  # fmt: skip


# --- Many sockets, and one reader.


def listener(row: Transaction, **more: Any) -> consumers.TransactionConsumer:
    """A socket that wants to read its row."""
    one = consumers.TransactionConsumer()
    one.pk, one.scope = row.pk, {"headers": [], "subprotocols": [access.mint_token(row.pk)], **more}
    return one


def read_by_all(*sockets: consumers.TransactionConsumer) -> list[Any]:
    """What each gets when all ask at once."""

    async def ask() -> list[Any]:
        return await asyncio.gather(*(one.read() for one in sockets), return_exceptions=True)

    return async_to_sync(ask)()


def test_who_asks_at_once_is_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storm of nudges costs a statement for two hundred sockets; each gets its own row."""
    rows, sizes, read = [make_transaction() for _ in range(5)], [], consumers.read_rows
    monkeypatch.setattr(consumers, "read_rows", lambda sockets: sizes.append(len(sockets)) or read(sockets))
    found = read_by_all(*(listener(rows[number % 5]) for number in range(205)))

    assert found == [rows[number % 5] for number in range(205)]
    assert sizes == [200, 5]


class Unreadable:
    """A user of a host whose session store is down."""

    @property
    def is_authenticated(self) -> bool:
        raise OSError("no sessions")


def test_the_trouble_of_one_socket_is_its_own() -> None:
    """Those who asked with it get their rows, and a stranger gets none."""
    row, other = make_transaction(), make_transaction()
    stranger = listener(row, subprotocols=[access.mint_token(other.pk)])
    found = read_by_all(listener(row), listener(row, user=Unreadable(), subprotocols=[]), stranger, listener(other))

    assert [found[0], found[2], found[3]] == [row, None, other]
    assert isinstance(found[1], OSError)


def test_a_database_that_is_away_is_everybodys_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever, and whoever asks later is served."""
    row, read = make_transaction(), consumers.read_rows
    monkeypatch.setattr(consumers, "read_rows", lambda sockets: 1 / 0)
    found = read_by_all(listener(row), listener(row))
    monkeypatch.setattr(consumers, "read_rows", read)

    assert [type(one) for one in found] == [ZeroDivisionError] * 2
    assert read_by_all(listener(row)) == [row]


def test_who_closes_while_it_is_read_keeps_nobody_waiting() -> None:
    """Its answer is for nobody, and the others get theirs."""
    row = make_transaction()

    async def ask() -> Any:
        closed, other = (asyncio.ensure_future(listener(row).read()) for _ in range(2))
        await asyncio.sleep(0)
        closed.cancel()
        return await other

    assert async_to_sync(ask)() == row
