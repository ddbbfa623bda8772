"""One line of the network that can be broken: `python -m tests.proof.chaos.proxy TARGET`.

TARGET is host:port or the path of a Unix socket. The port that it listens on is its first line of output. Lines of
input: `cut` resets every connection; `stall S` forwards nothing for S seconds; `delay D S` keeps everything back for
D seconds during S seconds; `refuse S` resets whoever comes for S seconds. The end of the input ends it.
"""

import os
import selectors
import socket
import struct
import sys
import time
from contextlib import suppress

__all__ = ["Line", "main"]

RESET = struct.pack("ii", 1, 0)
PATIENCE = 5.0


class Line:
    """Everything in one thread: what holds one connection up holds all up, which is what a bad line does."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.other: dict[socket.socket, socket.socket] = {}
        self.delay, self.delayed_until, self.refused_until = 0.0, 0.0, 0.0

    def run(self) -> None:
        """Until the input ends."""
        print(self.port, flush=True)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj == 0:
                    orders = os.read(0, 4096).decode()
                    for order in orders.splitlines():
                        self.obey(order)
                    if not orders:
                        return
                elif key.fileobj is self.listener:
                    self.accept()
                elif key.fileobj in self.other:
                    self.forward(key.fileobj)  # type: ignore[arg-type]

    def obey(self, order: str) -> None:
        word, *numbers = order.split()
        seconds = [float(number) for number in numbers]
        if word == "cut":
            self.cut()
        elif word == "stall":
            time.sleep(seconds[0])
        elif word == "delay":
            self.delay, self.delayed_until = seconds[0], time.monotonic() + seconds[1]
        elif word == "refuse":
            self.refused_until = time.monotonic() + seconds[0]
            self.cut()

    def cut(self) -> None:
        for end in list(self.other):
            self.close(end)

    def accept(self) -> None:
        near, _ = self.listener.accept()
        if time.monotonic() < self.refused_until:
            hang_up(near)
            return
        try:
            far = dial(self.target)
        except OSError:
            hang_up(near)
            return
        for end, other in ((near, far), (far, near)):
            end.settimeout(PATIENCE)
            if end.family == socket.AF_INET:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.other[end] = other
            self.selector.register(end, selectors.EVENT_READ)

    def forward(self, end: socket.socket) -> None:
        if time.monotonic() < self.delayed_until:
            time.sleep(self.delay)
        try:
            data = end.recv(65536)
            if data:
                self.other[end].sendall(data)
                return
        except OSError:
            pass
        self.close(end)

    def close(self, end: socket.socket) -> None:
        other = self.other.pop(end, None)
        if other is None:
            return
        del self.other[other]
        for one in (end, other):
            self.selector.unregister(one)
            hang_up(one)


def dial(target: str) -> socket.socket:
    if target.startswith("/"):
        far = socket.socket(socket.AF_UNIX)
        far.connect(target)
        return far
    host, _, port = target.rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE)


def hang_up(end: socket.socket) -> None:
    """With a reset: whoever is at the other end learns it at once."""
    with suppress(OSError):
        if end.family == socket.AF_INET:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    end.close()


def main() -> None:
    Line(sys.argv[1]).run()


if __name__ == "__main__":
    main()
