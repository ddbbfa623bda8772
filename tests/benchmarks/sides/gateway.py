"""A gateway on loopback in a process of its own, so that its time is nobody's."""

import subprocess
import sys

__all__ = ["Gateway"]


class Gateway:
    """Starts it. It ends when whoever started it does.

    Args:
        command: another module that answers in the same way, with its arguments.
    """

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *(command or [__name__])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = self._read()

    def connections(self) -> int:
        """How many have been opened to it."""
        return self.count("connections")

    def count(self, what: str) -> int:
        """One of the numbers that it keeps."""
        assert self.process.stdin
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return int(self._read())

    def _read(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


def main() -> None:
    """Print the address, and the number of connections for every line that is read."""
    from django_gatewaypay.testing.gateway_server import GatewayServer

    with GatewayServer() as server:
        print(server.url, flush=True)
        for _ in sys.stdin:
            print(server.connections, flush=True)


if __name__ == "__main__":
    main()
