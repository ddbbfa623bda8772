"""One uvicorn process on a socket that it inherits: `python -m tests.proof.storms_server FD`."""

import logging
import os
import socket
import sys

import uvicorn

__all__ = ["main"]


def main() -> None:
    """Serve until terminated."""
    from ..asgi import application

    # A line for each refusal is written, as a host would have it, and read by nobody.
    ours = logging.getLogger("gatewaypay")
    ours.addHandler(logging.FileHandler(os.devnull))
    ours.propagate = False
    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(application, lifespan="off", log_level="error", access_log=False, ws="none")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
