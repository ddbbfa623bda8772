"""The network code: every odd answer of a gateway becomes one of three words, in bounded time."""

import gzip
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import time_machine

from django_gatewaypay.exceptions import GatewayDeclined, GatewayError, GatewayRejected, GatewayUnavailable
from django_gatewaypay.gateways import deadline, http
from django_gatewaypay.gateways.answers import read_retry_after
from django_gatewaypay.gateways.deadline import Guard
from django_gatewaypay.gateways.http import GatewayClient, backoff, check_base, is_loopback
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from tests.example.running import within
from tests.gateways.patience import impatient_at_first

WANTED = {"amount": "19.99", "currency": "EUR"}
TOKEN = "sk_live_do_not_print_me"


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client wanted to wait between tries; it does not."""
    slept: list[float] = []
    monkeypatch.setattr(http.time, "sleep", slept.append)
    return slept


@pytest.fixture
def client(gateway_server: GatewayServer, naps: list[float]) -> Iterator[GatewayClient]:
    with_token = GatewayClient("Hosted", gateway_server.url)
    with_token.session.headers["Authorization"] = f"Bearer {TOKEN}"
    yield with_token
    with_token.session.close()


def create(client: GatewayClient, key: str = "key-1") -> dict[str, Any]:
    return client.post("create-session", json=WANTED, idempotency_key=key).data


# --- What is sent.


def test_a_call_carries_its_key_and_its_json(client: GatewayClient, gateway_server: GatewayServer) -> None:
    """The wire shows a POST with the Idempotency-Key, the token and the body."""
    create(client)
    (request,) = gateway_server.requests

    assert (request.method, request.path, request.json) == ("POST", "/create-session", WANTED)
    assert request.key == "key-1"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"


def test_calls_share_one_connection(client: GatewayClient, gateway_server: GatewayServer) -> None:
    """The session is pooled: no new handshake for every call, not even after an error answer."""
    gateway_server.script(Answer.json({}), Answer.error(422), Answer.error(500), Answer.html(), Answer())
    for _ in range(3):
        for _ in range(3):
            try:
                create(client)
            except GatewayError:
                continue

    assert len(gateway_server.requests) >= 9
    assert gateway_server.connections == 1


def test_threads_share_the_pool(client: GatewayClient, gateway_server: GatewayServer) -> None:
    """Sixteen threads at once all get their own answer."""
    found: dict[str, str] = {}
    keys = [f"key-{number}" for number in range(16)]
    threads = [
        threading.Thread(target=lambda key=key: found.update({key: create(client, key)["reference"]})) for key in keys
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(found) == sorted(keys)
    assert len(set(found.values())) == 16


def test_the_environment_cannot_divert_a_call(
    gateway_server: GatewayServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Neither proxy variables nor a netrc reach a payment call."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    client = GatewayClient("Hosted", gateway_server.url)
    create(client)
    client.session.close()

    assert "authorization" not in gateway_server.requests[0].headers


@pytest.mark.parametrize("path", ["status/x", "/status/x"])
def test_paths_are_joined_to_the_base(gateway_server: GatewayServer, path: str) -> None:
    """A base with a path of its own keeps it, with or without slashes."""
    gateway_server.script(Answer.json({}))
    client = GatewayClient("Hosted", gateway_server.url + "api/v1/")
    client.get(path)
    client.session.close()

    assert gateway_server.requests[0].path == "/api/v1/status/x"


# --- What an answer means.


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_good_answer_is_its_json(client: GatewayClient, gateway_server: GatewayServer, status: int) -> None:
    """Status, object and headers come back."""
    gateway_server.script(Answer.json({"a": 1}, status, headers={"X-Request-Id": "r1"}))
    answer = client.get("status/x")

    assert (answer.status, answer.data, answer.headers["x-request-id"]) == (status, {"a": 1}, "r1")


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (Answer.error(402, "insufficient_funds"), GatewayDeclined, "insufficient_funds"),
        (Answer(status=402), GatewayDeclined, "http_402"),
        (Answer.error(400, "bad"), GatewayRejected, "bad"),
        (Answer.json({"error": "no_such"}, 404), GatewayRejected, "no_such"),
        (Answer.error(401, "who"), GatewayRejected, "who"),
        (Answer.error(403, "no"), GatewayRejected, "no"),
        (Answer.error(422, "amount_too_small"), GatewayRejected, "amount_too_small"),
        (Answer.html(400), GatewayRejected, "http_400"),
        (Answer(status=410), GatewayRejected, "http_410"),
        (Answer.json({"code": "x\ny"}, 422), GatewayRejected, "http_422"),
        (Answer.json({"code": {"deep": 1}}, 422), GatewayRejected, "http_422"),
        (Answer.json({"code": "x" * 500}, 422), GatewayRejected, "x" * 64),
        (Answer.json([1], 422), GatewayRejected, "http_422"),
    ],
)
def test_a_definite_no_is_asked_for_once(
    client: GatewayClient,
    gateway_server: GatewayServer,
    naps: list[float],
    answer: Answer,
    kind: type[GatewayError],
    code: str,
) -> None:
    """402 declines, another 4xx rejects, and neither is tried again."""
    gateway_server.script(answer)
    with pytest.raises(kind) as caught:
        create(client)

    assert type(caught.value) is kind
    assert (caught.value.gateway, caught.value.code) == ("Hosted", code)
    assert len(gateway_server.requests) == 1
    assert naps == []


NO_ANSWERS = {
    "html": Answer.html(),
    "a JSON array": Answer.json([{"reference": "x"}]),
    "a JSON string": Answer.json("ok"),
    "a JSON number": Answer.json(1),
    "null": Answer.json(None),
    "broken JSON": Answer(body=b'{"reference": "x"'),
    "deep JSON": Answer(body=b"[" * 100_000 + b"]" * 100_000),
    "bytes that are no text": Answer(body=b"\xff\xfe\x00\x81"),
    "nothing at all": Answer.closed(),
    "a body too short": Answer(body=b"{}", headers={"Content-Encoding": "gzip"}),
    "500": Answer.error(500),
    "html 500": Answer.html(500),
    "502": Answer.html(502),
    "503": Answer(status=503),
    "504": Answer(status=504),
    "599": Answer(status=599),
    "429": Answer.error(429),
    "408": Answer.error(408),
    "409": Answer.error(409),
    "425": Answer.error(425),
    "304": Answer(status=304),
    "huge": Answer.huge(),
    "hang": Answer(delay=60, body=b"{}"),
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_no_usable_answer_is_an_unknown_outcome(
    client: GatewayClient, gateway_server: GatewayServer, naps: list[float], answer: Answer
) -> None:
    """It is tried three times under one key, and is then unavailable, never declined."""
    gateway_server.script(*[answer] * 3)
    if answer.delay:
        client.timeout = (client.timeout[0], 0.3)
    with pytest.raises(GatewayUnavailable) as caught:
        create(client)

    assert caught.value.gateway == "Hosted"
    assert caught.value.code
    wait_for_calls(gateway_server, 3)  # what the client has given up may not have been read yet
    assert [request.key for request in gateway_server.requests] == ["key-1"] * 3
    assert len(naps) == 2


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_one_bad_answer_is_got_over(
    client: GatewayClient, gateway_server: GatewayServer, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second try answers, and nobody notices."""
    gateway_server.script(answer)
    if answer.delay:
        impatient_at_first(client, monkeypatch)

    assert create(client)["reference"] in gateway_server.sessions


@pytest.mark.parametrize("lost", [Answer.lost(), Answer.hang(60)], ids=["connection lost", "timeout"])
def test_an_effect_whose_answer_was_lost_happens_once(
    client: GatewayClient, gateway_server: GatewayServer, lost: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retry under the same key finds the session of the first try."""
    gateway_server.script(lost)
    if lost.delay:
        impatient_at_first(client, monkeypatch)
    reference = create(client)["reference"]

    assert list(gateway_server.sessions) == [reference]
    assert len(gateway_server.requests) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(client: GatewayClient, gateway_server: GatewayServer, status: int) -> None:
    """A redirect could carry the token elsewhere; it is no answer."""
    with GatewayServer() as elsewhere:
        gateway_server.script(*[Answer.redirect(f"{elsewhere.url}create-session", status)] * 3)
        with pytest.raises(GatewayUnavailable, match="unknown"):
            create(client)

        assert elsewhere.requests == []


def test_nobody_there_is_an_unknown_outcome(naps: list[float]) -> None:
    """A refused connection is unavailable, like everything that is no answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = GatewayClient("Hosted", f"http://127.0.0.1:{port}/")
    with pytest.raises(GatewayUnavailable) as caught:
        client.get("status/x")

    assert caught.value.code == "ConnectionError"
    assert len(naps) == 2


def test_an_empty_success_is_an_empty_object(client: GatewayClient, gateway_server: GatewayServer) -> None:
    """204 and an empty 200 are answers; what is missing in them is for the adapter to judge."""
    gateway_server.script(Answer(status=204), Answer())

    assert client.get("status/x").data == {}
    assert client.get("status/x").data == {}


# --- Bounded: size, time, tries.


def wait_for_calls(server: GatewayServer, count: int) -> None:
    end = time.monotonic() + 60
    while len(server.requests) < count and time.monotonic() < end:
        threading.Event().wait(0.01)  # `naps` has taken `time.sleep` away


def test_an_answer_of_more_than_a_megabyte_is_not_read(client: GatewayClient, gateway_server: GatewayServer) -> None:
    """Memory is bounded, whatever arrives."""
    gateway_server.script(*[Answer.huge(5 * 1024 * 1024)] * 3)
    with pytest.raises(GatewayUnavailable) as caught:
        create(client)

    assert caught.value.code == "response_too_large"


def test_a_compressed_bomb_is_not_unpacked(client: GatewayClient, gateway_server: GatewayServer) -> None:
    """The bound is for the unpacked bytes."""
    bomb = gzip.compress(b'{"a": "' + b"x" * 50_000_000 + b'"}')
    gateway_server.script(*[Answer(body=bomb, headers={"Content-Encoding": "gzip"})] * 3)
    with pytest.raises(GatewayUnavailable) as caught:
        create(client)

    assert caught.value.code == "response_too_large"


def test_a_large_answer_below_the_bound_is_read(client: GatewayClient, gateway_server: GatewayServer) -> None:
    """Half a megabyte is unusual, not wrong."""
    gateway_server.script(Answer.huge(500_000))

    assert len(create(client)["filler"]) == 500_000


def test_a_dripping_answer_ends_with_the_deadline(gateway_server: GatewayServer) -> None:
    """A byte now and then keeps the read timeout quiet, but not the deadline of the call."""
    assert how_it_ends(gateway_server, Answer.drip(0.1)) == "deadline"


def how_it_ends(server: GatewayServer, answer: Answer) -> str:
    """The error's code of a call that may take half a second, and is answered bit by bit, for minutes."""
    for _ in range(5):
        server.script(*[answer] * 3)
        client = GatewayClient("Hosted", server.url, timeout=(1, 1), deadline=0.5)
        started = time.monotonic()
        with pytest.raises(GatewayUnavailable) as caught:
            create(client)
        took = time.monotonic() - started
        client.session.close()
        server._script.clear()
        # When everything stands still for so long, the pause between two bytes is too long just as well.
        if took < 2 and not caught.value.code.startswith("ReadTimeout"):
            return caught.value.code
    raise AssertionError(f"{caught.value.code} after {took:.1f} s")


def test_a_head_without_end_ends_with_the_deadline(gateway_server: GatewayServer) -> None:
    """Headers drip too, and a socket's timeout only knows the pause between two bytes."""
    assert how_it_ends(gateway_server, Answer.drip_head(0.05)) == "deadline"


def test_a_connection_that_came_too_late_is_cut_at_once() -> None:
    """The time was up while it was still being made: nothing is read from it any more."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        guard = Guard()
        guard.ring()
        guard.watch(ours)

        assert theirs.recv(1) == b""
        assert guard.rang


def test_a_call_that_ended_in_time_is_never_cut(gateway_server: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection lives on in the pool when its time is up, and serves the next call."""
    guards: list[Guard] = []
    monkeypatch.setattr(deadline.watchdog, "add", lambda _, guard: guards.append(guard))
    client = GatewayClient("Hosted", gateway_server.url)
    create(client)
    guards[0].ring()
    create(client)
    client.session.close()

    assert (len(guards), gateway_server.connections) == (2, 1)


def test_many_calls_with_their_own_deadlines(gateway_server: GatewayServer) -> None:
    """The one that drips is cut; its neighbours on the same session are not."""
    client = GatewayClient("Hosted", gateway_server.url, timeout=(10, 30), deadline=0.5, tries=1)
    gateway_server.script(Answer.drip_head(0.05), *[Answer.hang(1)] * 7)
    with ThreadPoolExecutor(8) as pool:
        dripping = pool.submit(called, client)
        wait_for_calls(gateway_server, 1)
        client.deadline = 60
        codes = list(pool.map(lambda _: called(client), range(7)))
        cut = dripping.result()
    client.session.close()

    assert codes == [""] * 7
    assert cut in {"deadline", "ReadTimeout"}  # the latter where all of it stood still


def called(client: GatewayClient) -> str:
    try:
        create(client)
    except GatewayUnavailable as error:
        return error.code
    return ""


def test_a_silent_gateway_ends_with_the_deadline(gateway_server: GatewayServer) -> None:
    """Three read timeouts do not add up beyond the deadline."""
    client = GatewayClient("Hosted", gateway_server.url, timeout=(10, 60), deadline=0.5)

    def call() -> None:
        gateway_server._script.clear()
        gateway_server.script(*[Answer.hang(60)] * 3)
        with pytest.raises(GatewayUnavailable):
            create(client)

    within(2, call)
    client.session.close()


@pytest.mark.parametrize("tries", [1, 2, 5])
def test_tries_are_counted(gateway_server: GatewayServer, naps: list[float], tries: int) -> None:
    """`tries` is how often a call is made at most."""
    gateway_server.script(*[Answer.error(500)] * 9)
    client = GatewayClient("Hosted", gateway_server.url, tries=tries)
    with pytest.raises(GatewayUnavailable):
        create(client)
    client.session.close()

    assert len(gateway_server.requests) == tries


# --- Retry-After.


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("7", 7),
        ("300", 300),
        ("301", 300),
        ("999999", 300),
        ("9" * 4000, 300),
        ("9" * 5000, None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("1e3", None),
        ("²", None),
        ("١", 1),
        ("\x00", None),
        ("Wed, 99 Foo 2025 99:99:99 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 300),
        ("Wed, 21 Oct 2015 07:28:00", 0),
        ("2015-10-21T07:28:00Z", None),
    ],
)
def test_retry_after_is_read_or_ignored(value: str | None, seconds: int | None) -> None:
    """Seconds or a date, capped at five minutes; anything else is as if it were not there."""
    assert read_retry_after(value) == seconds


def test_retry_after_may_be_a_date_to_come() -> None:
    """A date is turned into the seconds until then."""
    with time_machine.travel(datetime.now(UTC), tick=False):
        assert read_retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)) in {59, 60, 61}


def test_a_short_retry_after_is_honoured(
    client: GatewayClient, gateway_server: GatewayServer, naps: list[float]
) -> None:
    """The next try comes no sooner than the gateway asked."""
    gateway_server.script(Answer.busy("4"))
    create(client)

    assert len(naps) == 1
    assert naps[0] >= 4


@pytest.mark.parametrize("value", ["60", "999999"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_long_retry_after_is_handed_to_the_caller(
    client: GatewayClient, gateway_server: GatewayServer, naps: list[float], value: str, status: int
) -> None:
    """Nobody waits beyond the deadline of a call; the caller is told when to come back."""
    gateway_server.script(Answer.busy(value, status))
    with pytest.raises(GatewayUnavailable) as caught:
        create(client)

    assert caught.value.retry_after == min(int(value), 300)
    assert naps == []
    assert len(gateway_server.requests) == 1


def test_a_garbled_retry_after_is_no_obstacle(client: GatewayClient, gateway_server: GatewayServer) -> None:
    """The usual backoff applies."""
    gateway_server.script(Answer.busy("as soon as possible"))

    assert create(client)["reference"]


@pytest.mark.parametrize(("attempt", "least", "most"), [(1, 0.25, 0.5), (2, 0.5, 1), (3, 1, 2), (9, 2.5, 5)])
def test_backoff_doubles_with_jitter_and_ends(attempt: int, least: float, most: float) -> None:
    """Waits grow, differ between rivals, and stay below five seconds."""
    waits = {backoff(attempt) for _ in range(200)}

    assert len(waits) > 100
    assert least <= min(waits)
    assert max(waits) <= most
    assert backoff(attempt, retry_after=30) == 30


# --- Where it may go at all.


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com",
        "https://api.example.com/v1/",
        "https://api.example.com:8443",
        "http://localhost:8000",
        "http://127.0.0.1/",
        "http://127.8.9.1:1/",
        "http://[::1]:8000/",
    ],
)
def test_https_and_loopback_are_good_bases(url: str) -> None:
    """http is for this machine only."""
    assert check_base(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "//api.example.com",
        "https://",
        "http://api.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@api.example.com",
        "https://user:secret@api.example.com",
        "https://user@api.example.com",
        "http://10.0.0.1",
        "http://192.168.1.1",
        "http://0.0.0.0",
        "http://[::]",
        "http://2130706433",
        "http://127.1",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "unix:///run/gateway",
    ],
)
def test_any_other_base_is_refused(url: str) -> None:
    """No plain http to the outside, no credentials in an address, no other scheme."""
    with pytest.raises(ValueError, match=r"address|https"):
        check_base(url)
    with pytest.raises(ValueError, match=r"address|https"):
        GatewayClient("Hosted", url)


@pytest.mark.parametrize(
    ("host", "verdict"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("", False), (None, False), ("example.com", False)],
)
def test_loopback_is_a_name_or_an_address(host: str | None, verdict: bool) -> None:
    """Nothing is looked up to decide it."""
    assert is_loopback(host) is verdict


def test_a_base_with_credentials_is_refused_without_repeating_them() -> None:
    """The message of a configuration error is no place for a password."""
    with pytest.raises(ValueError, match="address") as caught:
        check_base("https://user:hunter2@api.example.com")
    assert "hunter2" not in str(caught.value)


# --- Nothing secret is said.


@pytest.mark.parametrize(
    "answer",
    [
        Answer.error(402),
        Answer.error(422),
        Answer.error(500),
        Answer.html(),
        Answer.closed(),
        Answer.json({"code": "no", "message": f"bad token {TOKEN}"}, 401),
    ],
)
def test_no_error_and_no_log_names_the_token(
    client: GatewayClient, gateway_server: GatewayServer, caplog: pytest.LogCaptureFixture, answer: Answer
) -> None:
    """Errors and logs carry codes and ids, never headers, bodies or addresses."""
    gateway_server.script(*[answer] * 3)
    with caplog.at_level(logging.DEBUG, logger="gatewaypay"), pytest.raises(GatewayError) as caught:
        create(client)

    said = caplog.text + "".join(
        f"{e!r}{e}{getattr(e, '__dict__', '')}" for e in (caught.value, caught.value.__cause__)
    )
    assert TOKEN not in said
    assert "19.99" not in said


def test_a_client_does_not_print_its_token(client: GatewayClient) -> None:
    """Its repr is bare."""
    assert TOKEN not in repr(client) + str(client)


def test_a_retry_is_logged_with_its_reason(
    client: GatewayClient, gateway_server: GatewayServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Who looks for slow payments finds every retry."""
    gateway_server.script(Answer.error(500))
    with caplog.at_level(logging.INFO, logger="gatewaypay.http"):
        create(client)

    assert "gateway=Hosted try=1" in caplog.text
    assert "code=http_500" in caplog.text
