"""One web process of the host on a socket that it is given: `python -m tests.plant.serve FD THREADS`.

The socket is kept open by who gave it, as systemd does: the other process goes on taking connections from it.
"""

import socket
import sys
from typing import Any

import uvicorn

__all__ = ["main"]


def main() -> None:
    from tests.asgi import application
    from tests.plant import worker  # noqa: F401 - as a project's __init__ does: tasks go to the host's own app

    fd, threads = map(int, sys.argv[1:])
    config = uvicorn.Config(
        in_threads(application, threads) if threads else application,
        lifespan="off",
        log_level="warning",
        access_log=False,
        ws="websockets-sansio",
        backlog=2048,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=fd)])


def in_threads(application: Any, threads: int) -> Any:
    """The same host as docs/how-to/go-live.md has it for many shoppers: one thread for a request, ASGI for sockets."""
    from a2wsgi import WSGIMiddleware
    from channels.routing import ProtocolTypeRouter
    from django.core.wsgi import get_wsgi_application

    http = WSGIMiddleware(get_wsgi_application(), workers=threads)
    return ProtocolTypeRouter({**application.application_mapping, "http": http})


if __name__ == "__main__":
    main()
