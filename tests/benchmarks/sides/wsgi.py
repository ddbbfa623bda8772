"""A request to a Django of this process, through its WSGI handler."""

import importlib
import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

__all__ = ["Request", "Site", "served"]

#: Every caller has an address of its own: rate limits are kept, and never reached.
addresses = (f"10.{one >> 16 & 255}.{one >> 8 & 255}.{one & 255}" for one in itertools.count(1))


class Site:
    """The handler, as a server would call it. Django is set up already."""

    def __init__(self) -> None:
        from django.core.wsgi import get_wsgi_application

        self.application = get_wsgi_application()

    def post(self, path: str, headers: Mapping[str, str], body: bytes, status: int = 200) -> "Request":
        """A call that posts; it fails when it is not answered with the status."""
        return Request(self.application, "POST", path, headers, body, status)

    def get(self, path: str, headers: Mapping[str, str], status: int = 200) -> "Request":
        """The same for reading."""
        return Request(self.application, "GET", path, headers, b"", status)


@dataclass
class Request:
    """One request: a call of the handler, or what goes over a wire to a server."""

    application: Any
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    known: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.known = environ(self.method, self.path, self.headers)

    def __call__(self) -> None:
        said: list[str] = []
        asked = {**self.known, "wsgi.input": BytesIO(self.body), "CONTENT_LENGTH": str(len(self.body))}
        answer = self.application(asked, lambda line, headers, error=None: said.append(line))
        content = b"".join(answer)
        answer.close()
        if not said[0].startswith(str(self.status)):
            raise RuntimeError(f"answered {said[0]}: {content[:200]!r}")

    def wire(self) -> str:
        """As HTTP has it, for one connection."""
        known = {"Host": "127.0.0.1", "Connection": "close", "Content-Type": "application/json"}
        known |= {"Content-Length": str(len(self.body)), **self.headers}
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in known.items())]
        return "\r\n".join([*lines, "", self.body.decode()])


def environ(method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """What a server tells the handler of a request."""
    sent = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": next(addresses),
        "wsgi.url_scheme": "http",
        **sent,
    }


def served() -> Any:
    """The handler of the side that the environment names, for a server of its own."""
    module, _, name = os.environ["GATEWAYPAY_BENCH_SIDE"].partition(":")
    side = getattr(importlib.import_module(module), name)()
    side.set_up()
    return side.site.application
