"""A request to a Django of this process, through its WSGI handler."""

import itertools
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

__all__ = ["Site"]

#: Every caller has an address of its own: rate limits are kept, and never reached.
addresses = (f"10.{one >> 16 & 255}.{one >> 8 & 255}.{one & 255}" for one in itertools.count(1))


class Site:
    """The handler, as a server would call it. Django is set up already."""

    def __init__(self) -> None:
        from django.core.wsgi import get_wsgi_application

        self.application = get_wsgi_application()

    def post(self, path: str, headers: Mapping[str, str], body: bytes, status: int = 200) -> Callable[[], None]:
        """A call that posts; it fails when it is not answered with the status."""
        return self._call(environ("POST", path, headers), body, status)

    def get(self, path: str, headers: Mapping[str, str], status: int = 200) -> Callable[[], None]:
        """The same for reading."""
        return self._call(environ("GET", path, headers), b"", status)

    def _call(self, known: dict[str, Any], body: bytes, status: int) -> Callable[[], None]:
        def call() -> None:
            said: list[str] = []
            asked = {**known, "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
            answer = self.application(asked, lambda line, headers, error=None: said.append(line))
            content = b"".join(answer)
            answer.close()
            if not said[0].startswith(str(status)):
                raise RuntimeError(f"answered {said[0]}: {content[:200]!r}")

        return call


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
