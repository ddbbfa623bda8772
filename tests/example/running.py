"""The demo as a person starts it, and a shopper who uses nothing but HTTP and the live socket."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings
from websockets.sync.client import ClientConnection, connect

from tests.embedded import free_port as free_port

ROOT = Path(__file__).resolve().parent.parent.parent
#: So many seconds an answer may take on a machine that has other work; who starts or ends may need more.
PATIENCE, LONG_PATIENCE = 60, 150
#: For every test of the demo.
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "postgresql" in settings.DATABASES["default"]["ENGINE"],
        reason="the demo brings its own database; the run on SQLite has shown it",
    ),
]
#: The interpreter that runs the demo: `.ci/run` names one that has the demo's own packages and no others.
PYTHON = os.environ.get("GATEWAYPAY_DEMO_PYTHON", sys.executable)
READY = "Ctrl-C stops everything."
# What the surrounding test run says about itself is not for the demo.
OURS = re.compile(r"DJANGO_|GATEWAYPAY_|DATABASE_URL|REDIS_URL|BASE_URL|PORT|PYTEST_|COV_")
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


def environment(folder: Path, port: int) -> dict[str, str]:
    """What the demo is started with."""
    kept = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    return {
        **kept,
        "PORT": str(port),
        "GATEWAYPAY_DEMO_DIR": str(folder),
        "GATEWAYPAY_POLL_AFTER": "1",
        "PYTHONPATH": str(ROOT),
    }


def until(fact: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until `fact()` is true; its value."""
    deadline = time.monotonic() + seconds
    while not (value := fact()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return value


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """What `work()` returns when it takes no longer; a machine that stands still spoils one try, a defect all three."""
    for _ in range(3):
        began = time.monotonic()
        result = work()
        took = time.monotonic() - began
        if took < seconds:
            return result
    raise AssertionError(f"it took {took:.1f} s, three times")


class Demo:
    """A demo that was started; as a context manager it is gone afterwards whatever happens."""

    def __init__(self, folder: Path, port: int | None = None, **more: str) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**environment(folder, self.port), **more}
        self.log = folder.with_suffix(f".{self.port}.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "example_project.demo"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> "Demo":
        return self

    def __exit__(self, *_: object) -> None:
        left = self.descendants()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.wait_until_ended()
        except subprocess.TimeoutExpired:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_until_ready(self) -> None:
        until(lambda: READY in self.output or self.process.poll() is not None, LONG_PATIENCE)
        assert self.process.poll() is None, self.output

    def wait_until_ended(self, seconds: float = PATIENCE) -> int:
        return self.process.wait(seconds)

    def descendants(self) -> set[int]:
        """The processes that it has started, and those that they have."""
        found, seen = {self.process.pid}, 0
        table = processes()
        while len(found) > seen:
            seen = len(found)
            found |= {pid for pid, (parent, _) in table.items() if parent in found}
        return found - {self.process.pid}

    def manage(self, *command: str) -> str:
        """The output of a management command."""
        done = subprocess.run(
            [PYTHON, "example_project/manage.py", *command],
            cwd=ROOT,
            env={**self.environment, "BASE_URL": self.url},
            capture_output=True,
            text=True,
            timeout=LONG_PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def running_demo(folder: Path, **more: str) -> Iterator[Demo]:
    """A demo that answers, and that is gone afterwards whatever happens."""
    with Demo(folder, **more) as demo:
        demo.wait_until_ready()
        yield demo


def processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of every process that is not a zombie."""
    if Path("/proc/self/stat").exists():
        return dict(filter(None, map(process, Path("/proc").glob("[0-9]*"))))
    command = ["ps", "-A", "-o", "pid=,ppid=,stat=,args="]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = (line.split(None, 3) for line in lines)
    return {int(row[0]): (int(row[1]), row[-1]) for row in rows if not row[2].startswith("Z")}


def process(folder: Path) -> tuple[int, tuple[int, str]] | None:
    """One process, as Linux tells it; None when it is gone."""
    try:
        state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None
    return None if state == "Z" else (int(folder.name), (int(parent), command))


class Shopper:
    """A browser without a screen: it keeps cookies and fills in forms."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def __enter__(self) -> "Shopper":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=PATIENCE, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.session.post(self.url + path, timeout=PATIENCE, **options)

    def submit(self, page: requests.Response, path: str, **fields: str) -> requests.Response:
        """Send a form of a page."""
        token = CSRF.findall(page.text)[-1]
        return self.post(path, data={"csrfmiddlewaretoken": token, **fields}, headers={"Referer": page.url})

    def sign_in(self, password: str) -> None:
        answer = self.submit(self.get("/accounts/login/"), "/accounts/login/", username="admin", password=password)
        assert "Sign out" in answer.text

    def order(self, product: str = "enamel-mug") -> str:
        """The id of a new order."""
        answer = self.post("/api/orders/", json={"product": product})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["order_id"])

    def initiate(self, order_id: str, key: str = "") -> dict[str, Any]:
        """Start the payment of an order."""
        answer = self.post(
            "/payments/initiate/", json={"order_id": order_id}, headers={"Idempotency-Key": key or f"pay-{order_id}"}
        )
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def decide(self, payment: dict[str, Any], action: str, **fields: str) -> str:
        """Press a button at the gateway; where it leads back to."""
        answer = self.session.post(
            payment["payment_url"], data={"action": action, **fields}, allow_redirects=False, timeout=PATIENCE
        )
        assert answer.status_code == 303, answer.text
        return str(answer.headers["Location"])

    def facts(self, order_id: str) -> dict[str, Any]:
        """What the shop says about an order."""
        return dict(self.get(f"/api/orders/{order_id}/").json())

    def live(self, payment: dict[str, Any]) -> ClientConnection:
        """The live socket of a payment."""
        return connect(
            payment["websocket_url"],
            subprotocols=["gatewaypay.v1", payment["token"]],  # type: ignore[list-item]
            origin=self.url,  # type: ignore[arg-type]
            proxy=None,
            open_timeout=PATIENCE,
        )


def read(live: ClientConnection, timeout: float = PATIENCE) -> dict[str, Any]:
    """The next message."""
    return dict(json.loads(live.recv(timeout=timeout)))
