"""The shop in processes of its own, which can be killed for real.

A mother process loads the shop once and forks a child for every life (`lives`): a web server, a Celery worker
or a tick of the clock, on the suite's own database. A wound makes a life die, or lose its database, at a commit.

    life = mother.bear("web", settings, wound={"at": 2, "when": "before", "how": "kill"})
    requests.post(f"{life.url}/payments/callbacks/card/", ...)      # the connection ends without an answer
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

__all__ = ["MORTAL", "Life", "Mother", "later", "mother", "pass_time"]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60
#: A host whose hook can kill its process; see `lives`.
MORTAL = "tests.faults.lives.MortalOrders"


@pytest.fixture(scope="session")
def mother(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Mother"]:
    """Import it where it is used; what the lives have to complain about is in `lives.log`."""
    with Mother(tmp_path_factory.mktemp("lives") / "lives.log") as mother:
        yield mother


@contextmanager
def later(seconds: float) -> Iterator[None]:
    """The clock of this process goes on from then."""
    import time_machine
    from django.utils import timezone

    with time_machine.travel(timezone.now() + timedelta(seconds=seconds), tick=True):
        yield


def pass_time(seconds: float, every: float = 30) -> None:
    """The beat of this process, every half a minute, for a while; the time is spent for this call only."""
    from django_gatewaypay import services

    for moment in range(1, int(seconds // every) + 1):
        with later(moment * every):
            services.tick()


class Mother:
    """The process that forks; a context manager that leaves nobody behind."""

    def __init__(self, log: Path) -> None:
        self._path, self._log = log, log.open("ab")
        self._mail: dict[int, queue.SimpleQueue[Any]] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.lives"],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Mother":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self._process.stdout.close()
        self._log.close()

    def bear(
        self,
        role: str,
        settings: Any,
        *,
        wound: Mapping[str, Any] | None = None,
        database: Mapping[str, Any] | None = None,
        **details: Any,
    ) -> "Life":
        """A life, once it is ready for work.

        Args:
            role: "web", "worker" or "tick".
            settings: pytest-django's; the life has the same gateways and channel layers.
            wound: where and how it dies; see `Wound`.
            database: changes to the settings of the suite's database.
            details: of the role: `port`; `broker`, `options`; `rounds`.
        """
        from django.db import connection

        number = len(self._mail)
        self._mail[number] = queue.SimpleQueue()
        job = {
            "number": number,
            "role": role,
            "GATEWAYPAY": settings.GATEWAYPAY,
            "CHANNEL_LAYERS": settings.CHANNEL_LAYERS,
            "DATABASE": {**plain(connection.settings_dict), **(database or {})},
            "wound": wound,
            **details,
        }
        assert self._process.stdin
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()
        born = self._mail[number].get(timeout=PATIENCE)
        assert "error" not in born, born["error"]
        return Life(self._mail[number], born)

    def heard(self, words: str) -> int:
        """How often the lives have written this into their log, since there is a mother."""
        return self._path.read_text(errors="replace").count(words)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            said = json.loads(line)
            self._mail[said["number"]].put(said)


class Life:
    """One process of the shop."""

    def __init__(self, mail: "queue.SimpleQueue[Any]", born: dict[str, Any]) -> None:
        self._mail = mail
        self.pid = int(born["pid"])
        self.port = int(born.get("port", 0))
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Life":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def alive(self) -> bool:
        # The mother waits for nobody: who is dead is gone.
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """`kill -9`, and it is gone when this returns."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float = PATIENCE) -> None:
        """Until it is gone."""
        end = time.monotonic() + seconds
        while self.alive:
            assert time.monotonic() < end, "it is still alive"
            time.sleep(0.01)

    def said(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """The next message of the process: a tick's result."""
        return dict(self._mail.get(timeout=seconds))


def plain(database: Mapping[str, Any]) -> dict[str, Any]:
    """What a process needs to find the same database."""
    return {name: database[name] for name in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")}
