"""The circuit: a gateway that does not answer is left alone, and looked at now and then."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_gatewaypay.exceptions import GatewayRejected, GatewayUnavailable
from django_gatewaypay.gateways.circuit import FAILURES, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Circuit
from django_gatewaypay.gateways.http import GatewayClient
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer, RecordedRequest

LATER = FIRST_PAUSE_SECONDS * 1.3


class Clock:
    """Moved by hand."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def shift(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock) -> Circuit:
    circuit = Circuit(clock)
    for _ in range(FAILURES):
        circuit.failed()
    return circuit


def test_some_failures_are_no_outage(clock: Clock) -> None:
    """One fewer than it takes, and an answer starts the count again."""
    circuit = Circuit(clock)
    for _ in range(3):
        assert [circuit.failed() for _ in range(FAILURES - 1)] == [False] * (FAILURES - 1)
        circuit.answered()

    assert circuit.enter(12) == 0


def test_an_outage_opens_it_once(clock: Clock) -> None:
    """The failure that opens it says so, and nobody gets through for about five seconds."""
    circuit = Circuit(clock)

    assert [circuit.failed() for _ in range(FAILURES + 1)] == [False] * (FAILURES - 1) + [True, False]
    assert 0 < opened(clock).enter(12) <= FIRST_PAUSE_SECONDS * 1.2


def test_one_probe_is_let_through(clock: Clock) -> None:
    """After the pause one call passes; the others wait for what it finds."""
    circuit = opened(clock)
    clock.shift(LATER)

    assert [circuit.enter(12) for _ in range(3)] == [0, 12, 12]


def test_a_probe_that_is_answered_closes_it(clock: Clock) -> None:
    """Everybody may call again, and the next outage begins with a short pause."""
    circuit = opened(clock)
    clock.shift(LATER)
    circuit.enter(12)
    circuit.answered()

    assert [circuit.enter(12) for _ in range(3)] == [0, 0, 0]


def test_a_probe_in_vain_doubles_the_pause_up_to_half_a_minute(clock: Clock) -> None:
    """Twenty minutes of outage are about forty calls, not thousands."""
    circuit, probes, pauses = opened(clock), 0, []
    for _ in range(20 * 60):
        if circuit.enter(12) == 0:
            probes += 1
            circuit.failed()
            pauses.append(circuit.enter(12))
        clock.shift(1)

    assert 30 <= probes <= 60
    assert max(pauses) <= LONGEST_PAUSE_SECONDS * 1.2
    assert min(pauses[3:]) >= LONGEST_PAUSE_SECONDS * 0.8


def test_calls_that_were_under_way_do_not_lengthen_the_pause(clock: Clock) -> None:
    """Thirty threads time out together: the gateway is looked at after one short pause all the same."""
    circuit = opened(clock)
    for _ in range(30):
        circuit.failed()
    clock.shift(LATER)

    assert circuit.enter(12) == 0


def test_a_probe_that_was_killed_is_forgotten(clock: Clock) -> None:
    """Its process may have gone down with it."""
    circuit = opened(clock)
    clock.shift(LATER)
    circuit.enter(12)
    clock.shift(12)

    assert circuit.enter(12) == 0


@pytest.fixture
def client(clock: Clock) -> Iterator[tuple[GatewayClient, GatewayServer]]:
    """A client that tries once, and its gateway; no pause of its circuit comes to an end by itself."""
    with GatewayServer() as server:
        one = GatewayClient("Hosted", server.url, tries=1)
        one.circuit = Circuit(clock)
        yield one, server
        one.session.close()


def unanswered(client: GatewayClient) -> GatewayUnavailable:
    with pytest.raises(GatewayUnavailable) as caught:
        client.get("status/ps_1")
    return caught.value


def test_a_gateway_that_is_down_is_not_called(client: tuple[GatewayClient, GatewayServer]) -> None:
    """The error says so, and how long it is worth waiting; the gateway sees none of it."""
    caller, server = client
    server.script(*[Answer.error(503)] * FAILURES)
    codes = [unanswered(caller).code for _ in range(FAILURES + 3)]
    refused = unanswered(caller)

    assert codes == ["http_503"] * FAILURES + ["circuit_open"] * 3
    assert 1 <= (refused.retry_after or 0) <= 6
    assert len(server.requests) == FAILURES


def test_a_call_that_opened_it_was_made(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """It may have done what it was told: nobody is told that the gateway was left alone."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)
    with GatewayServer() as server:
        server.script(*[Answer.error(503)] * FAILURES)
        caller = GatewayClient("Hosted", server.url, tries=FAILURES + 1)
        caller.circuit = Circuit(clock)
        made, refused = unanswered(caller).code, unanswered(caller).code
        caller.session.close()

    assert (made, refused, len(server.requests)) == ("http_503", "circuit_open", FAILURES)


@pytest.mark.parametrize("answer", [Answer.error(404), Answer.busy("1", 429), Answer.error(409)])
def test_whoever_answers_is_there(client: tuple[GatewayClient, GatewayServer], answer: Answer) -> None:
    """A refusal, "too busy for you" and "not now" open no circuit, however many they are."""
    caller, server = client
    server.script(*[answer] * (FAILURES * 2))
    for _ in range(FAILURES * 2):
        with pytest.raises((GatewayRejected, GatewayUnavailable)):
            caller.get("status/ps_1")

    assert len(server.requests) == FAILURES * 2


@pytest.mark.parametrize("answer", [Answer.html(), Answer.closed(), Answer.redirect("http://127.0.0.1:9/")])
def test_whatever_is_no_answer_opens_it(client: tuple[GatewayClient, GatewayServer], answer: Answer) -> None:
    """Somebody's proxy, a cut connection, a redirect."""
    caller, server = client
    server.script(*[answer] * (FAILURES * 2))
    for _ in range(FAILURES * 2):
        unanswered(caller)

    assert len(server.requests) == FAILURES


def test_many_threads_send_one_probe(client: tuple[GatewayClient, GatewayServer]) -> None:
    """Sixteen shoppers at the moment when the pause is over: one call goes out."""
    caller, server = client
    for _ in range(FAILURES):
        caller.circuit.failed()
    caller.circuit._closed_until = 0
    others, real = threading.Semaphore(0), server._receive

    def receive(call: RecordedRequest) -> Answer:
        for _ in range(15):  # until they have been told
            others.acquire(timeout=9)
        return real(call)

    server._receive = receive  # type: ignore[method-assign] # of this one server

    def ask(_: int) -> str:
        code = error_code(caller)
        others.release()
        return code

    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(ask, range(16)))

    assert sorted(codes) == ["circuit_open"] * 15 + ["not_found"]
    assert len(server.requests) == 1


def error_code(client: GatewayClient) -> str:
    try:
        client.get("status/ps_1")
    except (GatewayRejected, GatewayUnavailable) as error:
        return error.code
    return ""
