"""The processes of a run, watched over as systemd would: whoever ends is started again; nobody survives the run."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..proof.frame import REPOSITORY

__all__ = ["Plant", "Service", "children_of"]

RESTART_AFTER = 0.3


class Service:
    """A program that has to run.

    Args:
        end: the signal that ends it at the end of the run; PostgreSQL has children that only it can end.
        environment: besides that of the plant.
        details: of `Popen`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        end: int = signal.SIGKILL,
        environment: Mapping[str, str] | None = None,
        **details: Any,
    ) -> None:
        self.name = name
        self.command = command
        self.end = int(end)
        self.environment = environment or {}
        self.details = details
        self.process: subprocess.Popen[bytes] | None = None
        self.due = 0.0

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def kill(self, number: int = signal.SIGKILL) -> bool:
        """End it and its children; whether there was anybody."""
        with suppress(ProcessLookupError):
            if self.process and self.process.poll() is None:
                os.killpg(self.pid, number)
                return True
        return False


class Plant:
    """All services, their logs and their scratch folder; a context manager.

    Args:
        logs: a folder for one log a service.
        environment: what every service has besides ours.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.scratch = Path(tempfile.mkdtemp(prefix="gatewaypay-plant-"))
        self.scratch.chmod(0o755)
        self.environment: Mapping[str, str] = {}
        self.services: dict[str, Service] = {}
        self.killed: set[int] = set()
        self.died: Counter[str] = Counter()
        self.starts: Counter[str] = Counter()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._watch = threading.Thread(target=self._supervise, daemon=True)
        self._warden = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warden.py")), str(self.scratch)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> "Plant":
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._watch.join()
        assert self._warden.stdin
        self._warden.stdin.close()
        self._warden.wait()
        for service in self.services.values():
            if service.process:
                service.process.wait()

    def add(self, service: Service) -> Service:
        """Start it now, and again whenever it ends."""
        with self._lock:
            self._start(service)
            self.services[service.name] = service
        return service

    def named(self, prefix: str) -> list[Service]:
        return [service for name, service in self.services.items() if name.startswith(prefix)]

    def kill(self, service: Service, number: int = signal.SIGKILL, *, pause: float = RESTART_AFTER) -> bool:
        """End a service by a signal; it comes back after the pause."""
        with self._lock:
            service.due = time.monotonic() + pause
            if service.process:
                self.killed.add(service.process.pid)
            return service.kill(number)

    def note(self, what: str) -> None:
        """A line in the log of all that happened to the services."""
        with (self.logs / "plant.log").open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {what}\n")

    def run(self, *command: str, **details: Any) -> "subprocess.Popen[bytes]":
        """A helper that is not started again."""
        process = subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True, **details)
        self._tell(f"+{process.pid} {int(signal.SIGKILL)}")
        return process

    def _start(self, service: Service) -> None:
        with (self.logs / f"{service.name}.log").open("ab") as log:
            service.process = subprocess.Popen(
                service.command,
                **{
                    "cwd": REPOSITORY,
                    "env": {**os.environ, **self.environment, **service.environment},
                    "stdin": subprocess.DEVNULL,
                    "stdout": log,
                    "stderr": log,
                    "start_new_session": True,
                    **service.details,
                },
            )
        self.starts[service.name] += 1
        self._tell(f"+{service.pid} {service.end}")

    def _supervise(self) -> None:
        while not self._closing.wait(0.05):
            with self._lock:
                for service in self.services.values():
                    self._look_after(service)

    def _look_after(self, service: Service) -> None:
        if service.process and service.process.poll() is not None:
            self._bury(service)
        if service.process is None and time.monotonic() >= service.due:
            self._start(service)

    def _bury(self, service: Service) -> None:
        assert service.process
        self._tell(f"-{service.pid}")
        if service.pid not in self.killed:
            self.died[service.name] += 1
            self.note(f"{service.name} ended by itself with {service.process.returncode}")
        service.due = max(service.due, time.monotonic() + RESTART_AFTER)
        service.process = None

    def _tell(self, line: str) -> None:
        assert self._warden.stdin
        self._warden.stdin.write(f"{line}\n".encode())
        self._warden.stdin.flush()


def children_of(pid: int, word: str = "", *, chance: random.Random) -> list[int]:
    """The child processes whose command line has a word, in an order of chance."""
    found = []
    with suppress(OSError):
        for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(OSError):
                if word in Path(f"/proc/{text}/cmdline").read_bytes().decode(errors="replace"):
                    found.append(int(text))
    chance.shuffle(found)
    return found
