"""A newcomer follows the README in a fresh environment, and a shopper pays."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from websockets.sync.client import connect

from ..conftest import REPOSITORY
from ..embedded import free_port
from .walkthrough import Command, Edit, Step, count_lines, do_edit, read_steps, section

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.environ.get("GATEWAYPAY_TEST_DB") == "postgres",
        reason="the newcomer has a database of their own; once is enough",
    ),
]

README = (REPOSITORY / "README.md").read_text()
TUTORIAL = (REPOSITORY / "docs" / "tutorial.md").read_text()
PACKAGE = "django-gatewaypay"
PATIENCE = 120


class Newcomer:
    """Somebody with a fresh environment who does what a page says, and nothing else."""

    def __init__(self, environment: Path, wheel: Path, home: Path) -> None:
        self.bin = environment / ("Scripts" if os.name == "nt" else "bin")
        self.wheel = wheel
        self.folder = home
        self.port = free_port()
        self.log = home / "server.log"
        hidden = {"DJANGO_SETTINGS_MODULE", "PYTHONPATH", "PYTEST_VERSION"}
        self.environment = {name: value for name, value in os.environ.items() if name not in hidden}
        self.environment["PATH"] = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        self.environment |= {"PYTHONUNBUFFERED": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUTF8": "1"}

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def follow(self, steps: list[Step]) -> None:
        """Do everything but start the servers."""
        for step in steps:
            if isinstance(step, Edit):
                do_edit(self.folder, Edit(step.path, self.own_port(step.text), step.new))
            elif step.line.startswith("cd "):
                self.folder /= step.line.removeprefix("cd ")
            elif not is_server(step):
                self.run(step.line)

    def own_port(self, text: str) -> str:
        return text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")

    def run(self, line: str) -> str:
        """Type one command; it must succeed."""
        words = [str(self.wheel) if word == PACKAGE else word for word in line.split()]
        words[0] = str(self.bin / words[0])
        done = subprocess.run(words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    @contextmanager
    def serve(self, steps: list[Step]) -> Iterator[None]:
        """The README's own run command, until the block ends."""
        (line,) = [step.line for step in steps if isinstance(step, Command) and "runserver" in step.line]
        words = self.own_port(line).split()
        words[0] = str(self.bin / words[0])
        with (
            self.log.open("wb") as log,
            subprocess.Popen(
                # Without the reloader, whose child would outlive the one that we can end.
                [*words, "--noreload"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            ) as server,
        ):
            try:
                wait_until(lambda: server.poll() is not None or answers(self.port), "the server answers", self.said)
                yield
            finally:
                server.terminate()

    def said(self) -> str:
        """What the terminal shows."""
        return self.log.read_text(errors="replace")


class Shopper:
    """A browser without JavaScript."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.session = requests.Session()
        self.session.trust_env = False
        self.page: requests.Response = self.session.get(f"{origin}/", timeout=PATIENCE)

    def __enter__(self) -> "Shopper":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def press_pay_in_shop(self) -> None:
        """Send the host's own form; it leads to the pay page."""
        (action,) = re.findall(r'action="([^"]+)"', self.page.text)
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', self.page.text))
        assert fields.keys() >= {"csrfmiddlewaretoken", "order_id"}
        self.order = fields["order_id"]
        self.page = self.session.post(self.origin + action, data=fields, timeout=PATIENCE)
        assert (self.page.status_code, self.screen) == (200, "ready"), self.page.text
        self.payment = self.page.url.rstrip("/").rpartition("/")[2]

    def pay_at_gateway(self, **choice: str) -> None:
        """Follow the button to the hosted page and press Pay there."""
        (url,) = re.findall(r'class="gwp-button" href="([^"]+)"', self.page.text)
        hosted = self.session.get(url, timeout=PATIENCE)
        assert hosted.status_code == 200
        self.page = self.session.post(url, data={"action": "pay", **choice}, timeout=PATIENCE)

    @property
    def screen(self) -> str:
        found = re.search(r'screen="(\w+)"', self.page.text)
        return found.group(1) if found else ""

    def status(self) -> dict[str, object]:
        answer = self.session.get(f"{self.origin}/payments/status/{self.payment}/", timeout=PATIENCE)
        assert answer.status_code == 200
        return answer.json()

    def headers(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.session.cookies.items())}


def is_server(step: Command) -> bool:
    return "runserver" in step.line or "--loop" in step.line


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(done, what: str, say=lambda: "") -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE} s\n{say()}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What would be published."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing in it but pip."""
    folder = tmp_path_factory.mktemp("newcomer") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture
def newcomer(environment: Path, wheel: Path, tmp_path: Path) -> Newcomer:
    return Newcomer(environment, wheel, tmp_path)


def assert_clean(newcomer: Newcomer) -> None:
    """Neither `check` nor `migrate` has anything to complain about."""
    assert "no issues" in newcomer.run("python manage.py check")
    newcomer.run("python manage.py makemigrations --check --dry-run")


def test_the_quickstart_takes_a_payment_in_at_most_25_lines(newcomer: Newcomer) -> None:
    """Start a project, write what the README says, pay in the sandbox: the order is fulfilled once."""
    first = read_steps(section(README, "Quickstart"))
    written = count_lines(first)
    assert written <= 25
    assert f"in a project of your own: {written} lines" in README

    newcomer.follow(first)
    assert_clean(newcomer)
    with newcomer.serve(first), Shopper(newcomer.origin) as shopper:
        shopper.press_pay_in_shop()
        shopper.pay_at_gateway(callback="twice")

        assert shopper.screen == "success", newcomer.said()
        assert (shopper.status()["status"], shopper.status()["amount"]) == ("success", "19.99")
        fulfilled = f"Order {shopper.order} is paid: send the goods."
        wait_until(lambda: fulfilled in newcomer.said(), "fulfilled", newcomer.said)
        wait_until(lambda: newcomer.said().count("POST /payments/callbacks/") == 2, "both callbacks", newcomer.said)
        assert newcomer.said().count(fulfilled) == 1
        assert "Traceback" not in newcomer.said()


def test_the_clock_of_the_quickstart_runs(newcomer: Newcomer) -> None:
    """The README's second terminal: one round of it has nothing to complain about."""
    first = read_steps(section(README, "Quickstart"))
    newcomer.follow(first)
    (clock,) = [step.line for step in first if isinstance(step, Command) and "--loop" in step.line]

    said = newcomer.run(clock.removesuffix(" --loop"))

    assert "polled=0" in said


def test_the_second_step_of_the_quickstart_makes_the_page_live(newcomer: Newcomer) -> None:
    """With the README's few more lines, an open page is told of the success over its WebSocket."""
    first, second = (read_steps(section(README, title)) for title in ("Quickstart", "Live updates"))
    assert f"({count_lines(second)} more lines)" in README

    newcomer.follow([*first, *second])
    assert_clean(newcomer)
    with newcomer.serve(second), Shopper(newcomer.origin) as shopper:
        shopper.press_pay_in_shop()
        address = f"ws://127.0.0.1:{newcomer.port}/ws/payments/{shopper.payment}/"
        with connect(
            address, origin=newcomer.origin, subprotocols=["gatewaypay.v1"], additional_headers=shopper.headers(),
            proxy=None, open_timeout=PATIENCE,
        ) as live:  # fmt: skip
            before = json.loads(live.recv(timeout=PATIENCE))
            shopper.pay_at_gateway()
            after = json.loads(live.recv(timeout=PATIENCE))

        assert (before["status"], after["status"]) == ("pending", "success")
        assert shopper.screen == "success"
        assert "Traceback" not in newcomer.said()


def test_the_tutorial_sells_an_order(newcomer: Newcomer) -> None:
    """Do what the tutorial says: the order in the database is paid, and its mail goes out once."""
    steps = read_steps(TUTORIAL)

    newcomer.follow(steps)
    assert_clean(newcomer)
    with newcomer.serve(steps), Shopper(newcomer.origin) as shopper:
        shopper.press_pay_in_shop()
        shopper.pay_at_gateway(callback="reordered")

        assert shopper.screen == "success", newcomer.said()
        assert 'href="/"' in shopper.page.text
        mail = f"Mail: thank you for order {shopper.order}."
        wait_until(lambda: newcomer.said().count("POST /payments/callbacks/") == 2, "both callbacks", newcomer.said)
        assert newcomer.said().count(mail) == 1
        assert "Enamel mug (1): paid" in shopper.session.get(f"{newcomer.origin}/", timeout=PATIENCE).text
        assert "Traceback" not in newcomer.said()
