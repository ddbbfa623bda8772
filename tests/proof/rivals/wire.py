"""What plays the vendor for a rival: a scripted HTTP server on loopback, nothing but the standard library."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

__all__ = ["Vendor", "together"]

Work = Callable[[str, str, dict[str, Any]], "tuple[int, dict[str, Any]]"]


class Vendor:
    """Answers with what `work(method, path, fields)` returns, after a moment as a vendor takes it."""

    def __init__(self, work: Work, seconds: float = 0.2) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        handler = type("Handler", (_Handler,), {"vendor": self, "work": staticmethod(work), "seconds": seconds})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def count(self, method: str, path: str) -> int:
        return sum((called, at) == (method, path) for called, at, _ in self.calls)


class _Handler(BaseHTTPRequestHandler):
    vendor: Vendor
    work: Work
    seconds: float
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        is_json = "json" in (self.headers.get("Content-Type") or "")
        fields = json.loads(body or "{}") if is_json else {name: all_[0] for name, all_ in parse_qs(body).items()}
        path = self.path.partition("?")[0]
        self.vendor.calls.append((self.command, path, fields))
        time.sleep(self.seconds)
        status, data = self.work(self.command, path, fields)
        content = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass


def together(*jobs: Callable[[], Any]) -> list[Any]:
    """Run the jobs at the same instant, in threads; what they returned or raised."""
    barrier, said = threading.Barrier(len(jobs)), [None] * len(jobs)

    def run(place: int, job: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            said[place] = job()
        except Exception as error:  # noqa: BLE001 - told by the caller
            said[place] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said
