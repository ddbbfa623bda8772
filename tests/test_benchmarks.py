"""The room of the benches: what it measures is counted here, and no time is judged."""

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import test_races
from tests.benchmarks import __main__ as command
from tests.benchmarks.benches import BENCHES
from tests.benchmarks.benches.http import ask
from tests.benchmarks.benches.push import Size, compare, heard, measure
from tests.benchmarks.benches.races import CONFLICTS, HUNDRED, outcomes
from tests.benchmarks.chart import draw
from tests.benchmarks.frame import Rounds, typical
from tests.benchmarks.profiling import group_of, profiled
from tests.benchmarks.report import Place, keep
from tests.benchmarks.rounds import find_pythons
from tests.benchmarks.side import Process, Side
from tests.benchmarks.sql import shortened
from tests.benchmarks.targets import TARGETS

MACHINE = {"cores": 2, "system": "Linux", "python": "3.13.0"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A documentation that nobody has written yet."""
    return Place(tmp_path / "reference", tmp_path / "charts")


def status(ours: float, *, commit: str = "aaaa", asked: int = 1) -> dict[str, Any]:
    """What a run of the status bench has kept: the plain view takes 1, on a steady machine."""
    samples = {"plain": 1.0, "ours": ours}
    sides = {
        name: {
            "versions": {"Django": "5.2"},
            "samples": [{"cpu": cpu, "yardstick": 1.0}] * 3,
            "fresh": ["SELECT 1"] * asked,
            "counts": {"calls": 3},
        }
        for name, cpu in samples.items()
    }
    result = {"calls": 1, "rounds": 3, "sides": sides, "missing": {}}
    return {"commit": commit, "machine": MACHINE, "servers": {}, "seconds": 1, "result": result}


def rows(place: Place, target: str) -> list[str]:
    return [line for line in place.page.read_text().splitlines() if line.startswith(f"| {target} |")]


# --- The benches themselves.


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, bench in BENCHES.items() if isinstance(bench, Rounds)])
def test_the_quick_form_has_its_figures(name: str) -> None:
    """Every entrant but the rivals is called, each call has its effect, and the figures can be read."""
    bench = BENCHES[name]
    assert isinstance(bench, Rounds)
    result = json.loads(json.dumps(bench.run(quick=True)))

    rivals = {who for who, entrant in bench.entrants.items() if entrant.rival}
    assert set(result["sides"]) == set(bench.entrants) - rivals
    assert set(result["missing"]) == rivals
    assert all(side["counts"]["calls"] == 16 for side in result["sides"].values())
    # An announcement asks no database.
    assert all(bool(side["fresh"]) is (name != "announce") for side in result["sides"].values())
    assert all(line.target in TARGETS for line in bench.lines(result))
    assert all(figure > 0 for figure in bench.bars(result).values())


@pytest.mark.slow
def test_a_server_answers_callbacks() -> None:
    """A real gunicorn for each but the rivals; every request was answered with 200, and had its effect."""
    result = json.loads(json.dumps(BENCHES["http"].run(quick=True)))

    assert set(result["rps"]) == {"floor_raw", "floor_orm", "intake", "queued", "whole"}
    assert all(len(found) == result["rounds"] and min(found) > 0 for found in result["rps"].values())
    assert [line.met for line in BENCHES["http"].lines(result)][1:] == [None] * 3


@pytest.mark.parametrize(("intake", "met"), [(300.0, [True] * 4), (299.0, [True, False, False, False])])
def test_a_server_is_compared_with_others(intake: float, met: list[bool]) -> None:
    """Round by round, each with its own bar."""
    rps = {
        "intake": [intake] * 3,
        "floor_orm": [149.0] * 3,
        "django-payments": [100.0] * 3,
        "django-getpaid": [100.0] * 3,
        "dj-stripe": [42.8] * 3,
    }
    told = {"calls": 1, "rounds": 3, "rps": rps, "missing": {}}

    assert [line.met for line in BENCHES["http"].lines(told)] == met
    assert BENCHES["http"].bars(told)["floor_orm"] == 1
    assert f"| {intake:.0f} | {intake / 149:.2f} |" in BENCHES["http"].table(told)


def test_what_a_server_refuses_is_no_figure() -> None:
    """Neither another status nor a connection that is closed without a word passes for an answer."""
    for said in (b"HTTP/1.1 404 Not Found\r\n\r\n", b""):
        with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
            told = pool.submit(ask, server.getsockname()[1], b"x")
            wire, _ = server.accept()
            with wire:
                assert wire.recv(1) == b"x"
                wire.sendall(said)
            with pytest.raises(RuntimeError, match="answered"):
                told.result()


def test_the_races_are_tests_of_the_suite() -> None:
    """What the bench runs by name is there; what it has not run it says so of."""
    bench = BENCHES["races"]
    lines = bench.lines({"seen": {HUNDRED: "passed", next(iter(CONFLICTS)): "failed"}})

    assert all(hasattr(test_races, name) for name in [HUNDRED, *CONFLICTS])
    assert [line.met for line in lines] == [True, False, None, None]


def announced(*, ours: float = 2.5, opened: int = 0) -> dict[str, Any]:
    """What a run of the announcements has brought: one PUBLISH takes 1."""
    cpu = {"publish": 1.0, "pipeline": 0.1, "ours": ours, "async_to_sync": 20.0}
    counts = {"calls": 3, "opened": opened}
    sides = {name: {"samples": [{"cpu": one, "yardstick": 1.0}] * 3, "counts": counts} for name, one in cpu.items()}
    return {"sides": sides}


@pytest.mark.parametrize(
    ("found", "met"),
    [({}, [True, True]), ({"ours": 2.51}, [False, True]), ({"opened": 1}, [True, False])],
)
def test_an_announcement_is_dear_or_opens_connections(found: dict[str, Any], met: list[bool]) -> None:
    """Each turns its own line red; what others cost is told only."""
    lines = BENCHES["announce"].lines(announced(**found))

    assert [line.met for line in lines if line.bar] == met
    assert [line.figure for line in lines if not line.bar] == ["20.00", f"{found.get('ours', 2.5) * 10:.2f}"]


def pushed(*, lost: int = 0, seconds: float = 1.0, kib: float = 40.0, p50: float = 1.6) -> dict[str, Any]:
    """What a run of the bursts has brought: raw delivers 1,000 words in 0.6 seconds."""
    told = {"sent": 1000, "saying": 0.5, "p99": 9.0}
    raw, ours = {**told, "lost": 0, "seconds": 0.6, "p50": 1.0}, {**told, "lost": lost, "seconds": seconds, "p50": p50}
    servers = {
        "raw": {"bursts": [raw], "paced": [raw], "opened": 900.0, "kib": 12.0},
        "ours": {"bursts": [ours], "paced": [ours], "opened": 300.0, "kib": kib},
    }
    return {"sockets": 1000, "servers": servers}


@pytest.mark.parametrize(
    ("found", "met"),
    [
        ({}, [True, True, True, True]),
        ({"lost": 1, "seconds": 0.9}, [False, True, True, True]),
        ({"seconds": 1.01}, [True, False, True, True]),
        ({"kib": 40.1}, [True, True, False, True]),
        ({"p50": 1.61}, [True, True, True, False]),
    ],
)
def test_a_push_is_lost_slow_fat_or_late(found: dict[str, Any], met: list[bool]) -> None:
    """Each turns its own line red."""
    bench, told = BENCHES["push"], pushed(**found)

    assert [line.met for line in bench.lines(told)] == met
    assert bench.bars(told)["ours"] >= 1
    assert bench.table(told).count("9.0 ms") == 2


def test_a_word_that_is_not_heard_is_lost() -> None:
    """Times are counted from when each word was said, and the whole from the first to the last."""
    told = compare({"a": 10.0, "b": 10.2, "c": 10.4}, {"a": [10.1], "c": [10.9]})

    assert (told["sent"], told["lost"]) == (3, 1)
    assert [round(told[name], 3) for name in ("saying", "seconds", "p50", "p99")] == [0.4, 0.9, 500.0, 500.0]


@pytest.mark.parametrize("told", [{}, {"a": [1.0, 1.1]}])
def test_nobody_is_told_twice_and_not_everybody_is_deaf(told: dict[str, list[float]]) -> None:
    """What such a run would say of speed means nothing."""
    with pytest.raises(RuntimeError, match="pages were told"):
        compare({"a": 0.9}, told)


@pytest.mark.slow
def test_open_pages_are_told() -> None:
    """Real servers, real sockets: both tell everybody, in bursts and at a pace."""
    result = json.loads(json.dumps(measure(Size(sockets=24, bursts=1, paced=1, told=5, pace=50))))

    assert [line.figure for line in BENCHES["push"].lines(result)[:1]] == ["0"]
    assert [one["sent"] for one in heard(result["servers"]["ours"])] == [24, 5]
    assert all(figure > 0 for figure in BENCHES["push"].bars(result).values())


@pytest.mark.parametrize(
    ("painted", "met"),
    [
        ([100.0] * 50, [True, True]),
        ([101.0] * 50, [False, True]),
        ([90.0] * 49 + [501.0], [True, False]),
        ([100.0] * 49, [None, None]),
    ],
)
def test_pixels_are_late(painted: list[float], met: list[bool | None]) -> None:
    """The middle and the slowest are judged, once there are fifty."""
    told = {"payments": [{"answered": 10.0, "changed": 60.0, "painted": one} for one in painted], "missing": ""}

    assert [line.met for line in BENCHES["pixels"].lines(told)] == met
    assert "| to its 200 | 10 ms | 10 ms | 10 ms | 10 ms |" in BENCHES["pixels"].table(told)


def test_without_a_browser_there_are_no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines say so, and nothing else is started."""
    monkeypatch.setattr("tests.benchmarks.benches.pixels.chromium_path", lambda: None)
    lines = BENCHES["pixels"].lines(BENCHES["pixels"].run(quick=True))

    assert [(line.figure, line.met, line.note) for line in lines] == [("–", None, "no Chromium on this machine")] * 2


def test_what_failed_in_a_race_is_not_met(tmp_path: Path) -> None:
    """A test that failed or broke is no pass."""
    report = tmp_path / "report.xml"
    cases = {"test_callback_and_poll_never_disagree": "<failure/>", "test_a_hundred_copies_of_one_callback_are_one": ""}
    told = "".join(f'<testcase name="{name}">{inside}</testcase>' for name, inside in cases.items())
    report.write_text(f"<testsuites><testsuite>{told}</testsuite></testsuites>")
    lines = BENCHES["races"].lines({"seen": outcomes(report)})

    assert [(line.figure, line.met) for line in lines[:2]] == [("passed", True), ("failed", False)]


@pytest.mark.parametrize(("missing", "note"), [({}, "not measured yet"), ({"dj-stripe": "pip said no"}, "pip said no")])
def test_who_was_not_measured_is_told(missing: dict[str, str], note: str) -> None:
    """Also of what was kept before somebody took part: the page is written again with every part."""
    rps = {name: [1.0] for name in ("intake", "floor_orm", "django-payments", "django-getpaid")}
    line = BENCHES["http"].lines({"calls": 1, "rounds": 1, "rps": rps, "missing": missing})[-1]

    assert (line.figure, line.met, line.note) == ("–", None, note)


def test_rivals_are_left_out_when_quick() -> None:
    """They would have to be fetched; the page says that they did not run."""
    bench = BENCHES["callback"]
    assert isinstance(bench, Rounds)
    pythons, missing = find_pythons(bench.entrants, rivals=False)

    assert set(missing) == {"django-payments", "django-getpaid", "dj-stripe"}
    assert set(pythons) == set(bench.entrants) - set(missing)


def test_an_unknown_bench_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is run, and what there is is told."""
    monkeypatch.setattr("sys.argv", ["benchmarks", "speed"])

    with pytest.raises(SystemExit):
        command.main()
    assert "no such bench: speed" in capsys.readouterr().err


# --- One entrant.


class Counter(Side):
    """Calls that may have no effect."""

    database = "nobody"

    def __init__(self, *, idle: bool) -> None:
        self.idle = idle
        self.effects = 0

    def set_up(self) -> None:
        """Nothing is needed."""

    def calls(self, count: int) -> Sequence[Callable[[], None]]:
        return [self.call] * count

    def call(self) -> None:
        self.effects += not self.idle

    def done(self) -> int:
        return self.effects


def test_a_sample_has_its_time_and_its_yardstick() -> None:
    """Both are CPU seconds, and both passed."""
    sample = Process(Counter(idle=False)).measure(3)

    assert set(sample) == {"cpu", "yardstick"}
    assert all(seconds > 0 for seconds in sample.values())


def test_a_call_without_effect_is_no_sample() -> None:
    """Whoever answers quickly and does nothing is found out."""
    with pytest.raises(RuntimeError, match="3 calls, and 0 of them had their effect"):
        Process(Counter(idle=True)).measure(3)


def test_the_time_of_a_builtin_is_its_callers() -> None:
    """What sleeps for a test is the test's."""
    spent = profiled([lambda: time.sleep(0.02)], time.perf_counter)

    assert next(iter(spent)) == "the shop's hook, and the bench"
    assert sum(spent.values()) >= 20


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/x/site-packages/django/db/models/query.py", "Django's ORM"),
        ("/x/site-packages/django/urls/base.py", "Django's plumbing"),
        ("/x/django_gatewaypay/views/api.py", "this package"),
        ("/x/site-packages/psycopg/cursor.py", "PostgreSQL, and psycopg"),
        ("/usr/lib/python3.13/json/decoder.py", "signature and JSON"),
        ("/usr/lib/python3.13/copy.py", "the rest of Python and its library"),
    ],
)
def test_a_file_belongs_to_a_group(path: str, group: str) -> None:
    """The first pattern that fits has it."""
    assert group_of((path, 1, "f")) == group


# --- The figures, and the page.


def test_a_ratio_is_the_median_of_its_rounds() -> None:
    """A round on a machine that was half as fast changes nothing, and neither does an outlier."""
    told = status(2.0)["result"]
    slow, odd = {"cpu": 4.0, "yardstick": 2.0}, {"cpu": 90.0, "yardstick": 1.0}
    told["sides"]["ours"]["samples"] = [slow, odd, {"cpu": 2.0, "yardstick": 1.0}]

    assert typical(told, "ours", "plain") == 2.0


@pytest.mark.parametrize(("ours", "word"), [(1.3, "| 1.30 | ≤ 1.3 | met |"), (1.31, "| 1.31 | ≤ 1.3 | **NOT MET** |")])
def test_the_page_says_what_is_met(place: Place, ours: float, word: str) -> None:
    """In words, beside the figure, the target and the command."""
    keep(place, "benches", {"status": status(ours)})
    cpu, sql = rows(place, "P5")

    assert f"{word} `make bench PART=status` |" in cpu
    assert "| SQL | 1 | ≤ 1 | met |" in sql


@pytest.mark.parametrize(("ours", "told"), [(1.3, False), (1.31, True)])
def test_the_page_says_why_where_something_is_not_met(place: Place, ours: float, told: bool) -> None:
    """And nothing of what is."""
    keep(place, "benches", {"status": status(ours)})
    reasons = place.page.read_text().partition("### What is not met, and why")[2]

    assert ("**P5, status.**" in reasons) is told
    assert "**P2" not in reasons


def test_one_statement_too_many_is_not_met(place: Place) -> None:
    """What is asked is counted in the statements that were kept."""
    keep(place, "benches", {"status": status(1.0, asked=2)})

    assert "| SQL | 2 | ≤ 1 | **NOT MET** |" in rows(place, "P5")[1]


@pytest.mark.parametrize(("asked", "shown"), [(0, False), (1, True)])
def test_who_asks_nothing_has_no_statements(place: Place, asked: int, shown: bool) -> None:
    """An empty list is not shown."""
    keep(place, "benches", {"status": status(1.0, asked=asked)})

    assert ("### status, ours" in place.page.read_text()) is shown


def test_every_target_has_a_row(place: Place) -> None:
    """What nobody has measured says so."""
    keep(place, "benches", {"status": status(1.0)})

    assert all("**not measured yet**" in rows(place, target)[0] for target in TARGETS if target != "P5")


def test_what_was_not_run_stays(place: Place) -> None:
    """An earlier result keeps its place on the page, with its commit, its machine and its chart."""
    keep(place, "benches", {"status": status(1.0, commit="aaaa")})
    keep(place, "benches", {"races": {**status(1.0, commit="bbbb"), "result": {"seen": {}}}})
    page = place.page.read_text()

    assert "`make bench PART=status` · commit aaaa · 2 cores, Linux, Python 3.13.0" in page
    assert "`make bench PART=races` · commit bbbb" in page
    assert os.listdir(place.charts) == ["status.svg"]


def test_a_profile_is_shown_in_shares(place: Place) -> None:
    """Largest first, one column for each entrant."""
    told = {"ours, CPU": {"Django's ORM": 1.0, "this package": 3.0}}
    keep(place, "profiles", {"status": {**status(1.0), "result": told}})
    page = place.page.read_text()

    assert "| where | ours, CPU |\n|---|---|\n| this package | 75% |\n| Django's ORM | 25% |" in page


def test_a_chart_is_true_to_scale() -> None:
    """Half the figure is half the bar; ours is of another colour, and no name breaks out of it."""
    text = draw("A <look>", {"plain": 1.0, "ours": 2.0}, {"ours"})

    assert '<rect class="theirs" x="170" y="34" width="245.0"' in text
    assert '<rect class="ours" x="170" y="64" width="490.0"' in text
    assert "A &lt;look&gt;" in text


@pytest.mark.parametrize(
    ("sql", "short"),
    [
        ('SELECT "a"."x", "a"."y" FROM "a" WHERE "a"."x" = %s', "SELECT a.x, a.y FROM a WHERE a.x = %s"),
        (
            'SELECT "a"."x", "a"."y", "a"."z", EXISTS(SELECT 1 FROM "b" U0) AS "e" FROM "a"',
            "SELECT (3 columns, 1 EXISTS) FROM a",
        ),
        ('INSERT INTO "a" ("x", "y", "z", "w") VALUES (%s, %s, %s, %s)', "INSERT INTO a (…) VALUES (…)"),
        ('UPDATE "a" SET "x" = %s, "y" = %s WHERE "a"."x" = %s', "UPDATE a SET x, … WHERE a.x = %s"),
    ],
)
def test_a_statement_is_shortened(sql: str, short: str) -> None:
    """What is left says which table, and by what."""
    assert shortened(sql) == short
