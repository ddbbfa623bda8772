"""One uvicorn process on a socket that it is given: `python -m tests.benchmarks.web MODULE:FUNCTION FD`."""

import importlib
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import uvicorn

from ..proof.frame import REPOSITORY

__all__ = ["many_files", "serving"]

#: Where there is no limit; some systems refuse to be asked for no end of them.
FILES = 10_000


def many_files() -> None:
    """A socket is a file: as many as this machine allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else most
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


@contextmanager
def serving(maker: str, environment: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """The number of the process, and its port: whoever connects waits until it answers. Ended afterwards.

    Args:
        maker: "module:function" of what makes its ASGI application.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, maker, str(listener.fileno())],
            cwd=REPOSITORY,
            env=environment,
            pass_fds=[listener.fileno()],
        )
        with process:
            try:
                yield process.pid, listener.getsockname()[1]
            finally:
                process.kill()


def main() -> None:
    """Serve, as the documentation has it, until killed."""
    many_files()
    module, _, name = sys.argv[1].partition(":")
    config = uvicorn.Config(
        getattr(importlib.import_module(module), name)(),
        lifespan="off",
        log_level="warning",
        access_log=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[2]))])


if __name__ == "__main__":
    main()
