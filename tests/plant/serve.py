"""One web process of the host on a socket that it is given: `python -m tests.plant.serve FD`.

The socket is kept open by who gave it, as systemd does: the other process goes on taking connections from it.
"""

import socket
import sys

import uvicorn

__all__ = ["main"]


def main() -> None:
    from tests.asgi import application
    from tests.plant import worker  # noqa: F401 - as a project's __init__ does: tasks go to the host's own app

    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(
        application, lifespan="off", log_level="warning", access_log=False, ws="websockets-sansio", backlog=2048
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
