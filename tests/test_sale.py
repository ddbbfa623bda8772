"""The sale of the benches: its shoppers and its gateway with a real server, and what is told of made-up results."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.benchmarks.benches.load import LoadBench
from tests.benchmarks.benches.nodes import NodesBench
from tests.benchmarks.benches.weight import WeightBench, by_package, started
from tests.benchmarks.frame import Line
from tests.benchmarks.sale import crowd, figures, telling
from tests.benchmarks.sale.eyes import judged, live_seconds, queue_seconds, span
from tests.benchmarks.sale.gateway import NotingCourier, SaleGateway
from tests.benchmarks.sale.wire import Caller
from tests.factories import make_order
from tests.journeys.conftest import server_url  # noqa: F401 - a fixture
from tests.plant.cpu import cpu_seconds

SHOPPERS = 12


# --- A small one, with this process as shop, gateway and shoppers.


@pytest.fixture
def gateway(server_url: str, transactional_db: None, settings: Any) -> Iterator[SaleGateway]:  # noqa: F811
    """A slow and flaky gateway of the suite's shop, that tells of everything: no clock runs here."""
    made = SaleGateway(settings.HOSTED_SECRET, seed=1, latest=0.5)
    made.weather = {"right": 90, "failed": 5, "lost": 5}
    made.tellings = {"prompt": 50, "late": 25, "first_processing": 25}
    with made, NotingCourier([f"{server_url}/payments/callbacks/hosted/"], made.secret) as made.courier:
        options = {"api_base": made.url, "webhook_secrets": [made.secret]}
        alias = {"BACKEND": "django_gatewaypay.gateways.hosted.HostedGateway", "OPTIONS": options}
        known = {"BASE_URL": server_url, "THROTTLES": {}, "GATEWAYS": {"hosted": alias}}
        settings.GATEWAYPAY = {**settings.GATEWAYPAY, **known}
        yield made


@pytest.mark.usefixtures("patient_nudges")
def test_shoppers_come_pay_and_hear_of_it(
    gateway: SaleGateway,
    server_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every one is told the truth in one of the ways, and the books of both sides agree."""
    monkeypatch.setattr(crowd, "THINKS", (0, 0.3))
    monkeypatch.setattr(crowd, "POLLS", (0.3,))
    opened = time.monotonic()
    orders = [make_order().pk for _ in range(SHOPPERS)]
    work = {"urls": [server_url], "orders": orders, "seconds": 1, "seed": "a", "abandons": False}
    seen = asyncio.run(crowd.Crowd(work).run())
    while gateway.courier.waiting:
        time.sleep(0.05)

    wrong = judged(gateway, vars(seen))
    assert wrong["examples"] == {}
    assert (
        len(seen.told) == len(seen.seconds["start"]) == wrong["captured"] + wrong["states"].get("failed", 0) == SHOPPERS
    )
    assert seen.deaf == []
    assert seen.heard
    assert seen.answers["return 200"]
    assert 0 < len(live_seconds(gateway, seen.heard)) <= len(seen.heard)
    assert live_seconds(gateway, seen.heard, across=True) == []
    assert len(queue_seconds(opened)) >= SHOPPERS


@pytest.mark.parametrize(("seconds", "in_time"), [(3600, 1), (-3600, 0)])
def test_who_starts_after_the_last_was_to_come_is_not_in_time(
    monkeypatch: pytest.MonkeyPatch, seconds: int, in_time: int
) -> None:
    """However soon after coming."""

    async def answer(*_: Any, **__: Any) -> tuple[int, bytes]:
        return 201, json.dumps({"payment_url": "https://pay.example/"}).encode()

    monkeypatch.setattr(Caller, "ask", answer)
    work = {"urls": ["https://shop.example"], "orders": [1], "seconds": seconds, "seed": "a", "abandons": False}
    shop = crowd.Crowd(work)

    assert asyncio.run(crowd.Shopper(shop, 0)._start(time.monotonic()))
    assert (shop.seen.in_time, len(shop.seen.seconds["start"])) == (in_time, 1)


def test_a_kept_connection_may_be_gone() -> None:
    """Who has closed it meanwhile is called once more, over a new one."""

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async def ask_twice() -> list[tuple[int, bytes]]:
        async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            caller = Caller()
            told = [await caller.ask("GET", url), await caller.ask("GET", url)]
            caller.close()
            return told

    assert asyncio.run(ask_twice()) == [(200, b"ok")] * 2


def test_cpu_time_is_that_of_children_too() -> None:
    """What a process that has ended has spent is its parent's; who is gone has spent nothing."""
    before = cpu_seconds(os.getpid())
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    child = subprocess.Popen([sys.executable, "-c", burn])
    child.wait()

    assert cpu_seconds(os.getpid()) - before >= 0.25
    assert cpu_seconds(child.pid) == 0


def test_a_span_is_in_milliseconds() -> None:
    """The middle, and the worst of a hundred."""
    assert span([number / 1000 for number in range(101)]) == {"count": 101, "p50": 50.0, "p99": 99.0, "max": 100.0}
    assert span([0.5])["p99"] == 500.0
    assert span([])["count"] == 0


# --- What is told.


def sale(**more: Any) -> dict[str, Any]:
    """A whole sale without fault: a payment takes 30 ms of the web, 12 of the workers, 15 and 1 of the servers."""
    spans = {name: {"count": 9, "p50": 1.0, "p99": 2.0, "max": 3.0} for name in SPANS}
    kinds = ("lost", "double", "unfulfilled", "stuck", "invariant")
    spent = {"web": 0.03, "workers": 0.012, "beat": 0.0, "PostgreSQL": 0.015, "Valkey": 0.001}
    cpu = {name: seconds * 20_000 for name, seconds in spent.items()} | {"gateway": 40.0, "shoppers": 20.0}
    return {
        "payments": 20_000, "seconds": 600, "started": 20_000, "in_time": 19_990, "seconds_to_settle": 80.0,
        "seconds_measured": 700.0, "webs": 2, "workers": 2, "valkeys": 1, "cores": 2, "spans": spans, "cpu": cpu,
        "idle": dict.fromkeys([*spent, "gateway"], 0.0), "sockets": {"heard": 9, "deaf": 0, "across": 5},
        "wrong": dict.fromkeys(kinds, 0), "transactions": 400_000, "wal": 10**8, "published": [7, 8],
        "gateway": {"call right": 9}, "answers": {"initiate 201": 9}, "states": {"success": 9}, "captured": 9,
    } | more  # fmt: skip


SPANS = ("crowd", "start", "callback", "status", "return", "live", "queue")


def unmet(lines: list[Line]) -> list[str]:
    return [line.what.partition(":")[0] for line in lines if line.met is False]


@pytest.mark.parametrize(
    ("amiss", "what"),
    [
        ({"wrong": {"lost": 1, "double": 0}}, "lost"),
        ({"wrong": {"lost": 0, "double": 1}}, "double"),
        ({"wrong": {"lost": 0, "double": 0, "stuck": 1}}, "anything else amiss in the books of both sides"),
        ({"in_time": 19_799}, "payments that were started in a second"),
        ({"sockets": {"heard": 9, "deaf": 1, "across": 5}}, "sockets that heard of the end"),
    ],
)
def test_what_went_wrong_in_a_sale_is_not_met(amiss: dict[str, Any], what: str) -> None:
    """Each of it for itself; without it, all is met."""
    assert unmet(LoadBench().lines(sale())) == []
    assert unmet(LoadBench().lines(sale(**amiss))) == [what]


def test_a_small_sale_says_nothing_about_the_rate() -> None:
    """Forty payments in four seconds are no thirty-three in one."""
    (line,) = (line for line in LoadBench().lines(sale(payments=40, in_time=40, seconds=4)) if "≥" in line.bar)

    assert (line.figure, line.met) == ("10.0", None)


def test_the_machines_of_a_larger_sale_are_calculated() -> None:
    """30 ms of 277.8 payments a second are 8.3 busy cores, 13.9 at 60 %, two machines of eight; the beat needs none."""
    known = figures.needs(figures.cost(sale()), 1_000_000 / 3600, use=0.6, cores=8)

    assert (round(known["web"].busy, 1), round(known["web"].cores, 1), known["web"].machines) == (8.3, 13.9, 2)
    assert "beat" not in known
    assert "| web | 30.0 | 8.33 | 13.9 | 2 of 8 cores |" in telling.machines(sale(), 1_000_000, 0.6)


def test_the_next_bottleneck_is_named() -> None:
    """58 ms of the host's and 3 of who is beside it fill two cores 32.8 times a second."""
    told = telling.machines(sale(), 1_000_000, 0.6)

    assert "2 × 1,000 / 61.0 ms = 33 payments a second with gateway and shoppers on them; web takes most (49%)" in told
    assert "32 × 0.6 × 1,000 / 15.0 ms = 1,280 payments a second" in told


def test_idling_can_be_taken_out() -> None:
    """What a process spends when nobody comes is no cost of a payment."""
    idle = sale(idle={"web": 0.1, "workers": 0, "beat": 0, "PostgreSQL": 0, "Valkey": 0, "gateway": 0})

    assert figures.cost(idle)["web"] == pytest.approx(30.0)
    assert figures.cost(idle, idle=False)["web"] == pytest.approx(26.5)


def test_the_page_of_a_sale_can_be_written() -> None:
    """Everything that it tells is there."""
    page = LoadBench().table(sale())

    assert "| web | 30.0 | 49% | 0 |" in page
    assert "call right: 9" in page


def nodes(**more: Any) -> dict[str, Any]:
    """Sales on one node and on many, which cost the same, and one over RabbitMQ."""
    rabbit = sale(cpu={**sale()["cpu"], "RabbitMQ": 30.0}, idle={**sale()["idle"], "RabbitMQ": 0.0})
    return {"sales": {"one": [sale(), sale()], "many": [sale(), sale()], "rabbit": [rabbit]}, "missing": {}} | more


def test_many_nodes_that_cost_the_same_are_right() -> None:
    """The table has a row for each sale."""
    assert unmet(NodesBench().lines(nodes())) == []
    assert NodesBench().table(nodes()).count("20000") == 5


@pytest.mark.parametrize(
    ("amiss", "what"),
    [
        ({"cpu": {**sale()["cpu"], "PostgreSQL": 700.0}}, "CPU of a payment"),
        ({"wrong": {"lost": 1}}, "lost, double or otherwise amiss"),
        ({"sockets": {"heard": 9, "deaf": 1, "across": 5}}, "sockets that heard"),
        ({"sockets": {"heard": 9, "deaf": 0, "across": 0}}, "sockets that heard"),
    ],
)
def test_what_went_wrong_on_many_nodes_is_not_met(amiss: dict[str, Any], what: str) -> None:
    """A payment that costs more, books that differ, sockets that are deaf, and none that could have been."""
    told = nodes()
    told["sales"]["many"] = [sale(**amiss)]
    (found,) = unmet(NodesBench().lines(told))

    assert found.startswith(what)


def test_without_rabbitmq_its_line_is_open() -> None:
    """It says why."""
    told = nodes(missing={"rabbit": "RabbitMQ is not installed here"})
    del told["sales"]["rabbit"]
    line = NodesBench().lines(told)[-1]

    assert (line.met, line.note) == (None, "RabbitMQ is not installed here")
    assert "**Not run**: RabbitMQ is not installed here" in NodesBench().table(told)


# --- Start-up and weight.


def test_a_start_opens_no_connection() -> None:
    """Importing the package, its addresses and its sockets asks no database; what it takes can be read."""
    told = json.loads(started("used-app").stdout)

    assert told["opened"] == 0
    assert told["cpu"] > 0
    assert 20e6 < told["memory"] < 1e9


def weight(milliseconds: float, megabytes: float, opened: int = 0) -> dict[str, Any]:
    """So much is added to a start of 200 ms and 40 MB."""
    plain = {"cpu": 0.2, "memory": 40e6, "opened": 0}
    ours = {"cpu": 0.2 + milliseconds / 1000, "memory": (40 + megabytes) * 1e6, "opened": opened}
    samples = {"used": [plain] * 3, "used-app": [ours, ours, plain], "plain": [plain] * 3, "app": [plain] * 3}
    return {"samples": samples, "imports": {"plain": {"django": 30.0}, "app": {"django": 33.0, "celery": 40.0}}}


@pytest.mark.parametrize(("added", "count"), [((60, 15, 0), 0), ((61, 15, 0), 1), ((60, 15.1, 0), 1), ((60, 15, 1), 1)])
def test_what_is_too_heavy_is_not_met(added: tuple[float, float, int], count: int) -> None:
    """By the median: one that was quick does not help."""
    assert len(unmet(WeightBench().lines(weight(*added)))) == count


def test_what_is_imported_is_told_by_package() -> None:
    """Python's own words are added up, largest first, without what a host has anyway."""
    told = "import time: self [us] | cumulative | imported package\nimport time:      1500 |       9000 | celery.app\n"

    assert by_package(f"{told}import time:       500 |        500 |   celery\n") == {"celery": 2.0}
    assert WeightBench().table(weight(1, 1)).endswith("celery 40, django 3.")
