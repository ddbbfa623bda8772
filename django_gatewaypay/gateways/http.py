"""The only code that talks to a gateway: pooled, verified, bounded in time, size and tries."""

import ipaddress
import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from ..exceptions import GatewayDeclined, GatewayError, GatewayRejected, GatewayUnavailable
from .answers import Explain, GatewayResponse, clean_code, explain_plainly, read_object, read_retry_after
from .circuit import Circuit
from .deadline import BoundedAdapter, guarded

__all__ = ["GatewayClient", "check_base", "is_loopback"]

logger = logging.getLogger("gatewaypay.http")

#: A form's fields, in order; names may repeat.
Fields = Sequence[tuple[str, str]]
MAX_RESPONSE_BYTES = 1024 * 1024
# Busy, or broken on their side: the outcome is unknown, and the same key may be tried again.
NO_ANSWER = frozenset({408, 409, 425, 429}) | frozenset(range(500, 600))


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def check_base(url: str) -> str:
    """Return `url` when it is https, or http to loopback, without credentials in it.

    Raises:
        ValueError: it is neither.
    """
    parts = urlsplit(url)
    if parts.username is not None:
        raise ValueError("The address of a gateway must not carry credentials.")
    if not parts.hostname:
        raise ValueError(f"{url!r} is not an address of a gateway.")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError(f"{url!r} must be https; http is for loopback addresses only.")
    return url


class GatewayClient:
    """One pooled session to one gateway. It follows no redirect and reads no proxy or netrc.

    Args:
        gateway: the vendor's name, for errors and logs.
        base: the API's address; every path is joined to it.
        timeout: seconds to connect, and between bytes.
        deadline: seconds for a call with all of its retries.
        tries: how often a call is made at most.
        explain: reads the vendor's error bodies.
        key_header: where the vendor wants the idempotency key.
        request_id_header: where the vendor names its id of a call.
    """

    def __init__(
        self,
        gateway: str,
        base: str,
        *,
        timeout: tuple[float, float] = (2, 10),
        deadline: float = 12,
        tries: int = 3,
        explain: Explain = explain_plainly,
        key_header: str = "Idempotency-Key",
        request_id_header: str = "",
    ) -> None:
        self.gateway = gateway
        self.base = check_base(base).rstrip("/")
        self.timeout = timeout
        self.deadline = deadline
        self.tries = tries
        self.explain = explain
        self.key_header = key_header
        self.request_id_header = request_id_header
        self.circuit = Circuit()
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount(self.base, BoundedAdapter(pool_maxsize=32, max_retries=0))

    def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> GatewayResponse:
        """Read. See `request`."""
        return self.request("GET", path, headers=headers)

    def post(
        self,
        path: str,
        *,
        idempotency_key: str,
        json: Mapping[str, Any] | None = None,
        form: Fields | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> GatewayResponse:
        """Write JSON or a form, under a key that makes a retry harmless. See `request`."""
        return self.request(
            "POST", path, json=json, form=form, headers={self.key_header: idempotency_key, **(headers or {})}
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        form: Fields | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> GatewayResponse:
        """Call the gateway until it answers, the tries are spent or the time is up.

        Only for calls that may be repeated: reads, and writes under an idempotency key. While the
        gateway's circuit is open nothing is sent: the error's code is then `circuit_open`.

        Args:
            content: a body that is written already, byte for byte.

        Raises:
            GatewayDeclined: 402.
            GatewayRejected: any other definite 4xx.
            GatewayUnavailable: no usable answer.
        """
        end = time.monotonic() + self.deadline
        call = Call(self, method, f"{self.base}/{path.lstrip('/')}", end)
        self._check_circuit()
        for attempt in range(1, self.tries + 1):
            try:
                return call.make(json, content if form is None else list(form), headers)
            except GatewayUnavailable as error:
                wait = backoff(attempt, error.retry_after)
                if attempt == self.tries or time.monotonic() + wait >= end:
                    raise
                logger.info("retry gateway=%s try=%s wait=%.2f code=%s", self.gateway, attempt, wait, error.code)
                time.sleep(wait)
                # It was called, and may have done it: an open circuit must not say that it was left alone.
                if self.circuit.enter(self.deadline):
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    def _check_circuit(self) -> None:
        wait = self.circuit.enter(self.deadline)
        if wait:
            raise GatewayUnavailable(gateway=self.gateway, code="circuit_open", retry_after=math.ceil(wait))

    def download(self, url: str) -> bytes:
        """Read a public document of the gateway once, without credentials. The caller has judged the host.

        Raises:
            GatewayUnavailable: there is none to be had.
        """
        return Call(self, "GET", check_base(url), time.monotonic() + self.deadline).download()


@dataclass(frozen=True)
class Call:
    """One HTTP exchange with a total deadline."""

    client: GatewayClient
    method: str
    url: str
    end: float

    def make(
        self,
        json: Mapping[str, Any] | None,
        data: list[tuple[str, str]] | bytes | None,
        headers: Mapping[str, str] | None,
    ) -> GatewayResponse:
        try:
            with self._sent(self.client.session, json=json, data=data, headers=headers) as response:
                answer = self._judge(response, self._read(response))
        except GatewayError as error:
            self._tell_circuit(error)
            raise
        self.client.circuit.answered()
        return answer

    def download(self) -> bytes:
        with requests.Session() as bare:
            bare.trust_env = False
            bare.mount(self.url, BoundedAdapter(max_retries=0))
            with self._sent(bare) as response:
                if response.status_code != 200:
                    raise self._error(GatewayUnavailable, f"http_{response.status_code}", response)
                return self._read(response)

    @contextmanager
    def _sent(self, session: requests.Session, **content: Any) -> Iterator[requests.Response]:
        """The response, its body not read yet; everything that happens to it is bounded in time."""
        connect, read = self.client.timeout
        left = max(self.end - time.monotonic(), 0.1)
        timeout = (min(connect, left), min(read, left))
        with guarded(self.end) as guard:
            try:
                with session.request(
                    self.method, self.url, timeout=timeout, allow_redirects=False, stream=True, **content
                ) as response:
                    yield response
                    if guard.rang:  # what was read may end where the socket was cut
                        raise self._error(GatewayUnavailable, "deadline")
            except (requests.RequestException, HTTPError, OSError) as error:
                code = "deadline" if guard.rang else type(error).__name__
                raise self._error(GatewayUnavailable, code) from error

    def _tell_circuit(self, error: GatewayError) -> None:
        """Whoever answers below 500 is there; "too busy for you" opens no circuit."""
        if error.status and error.status < 500 and not error.code.endswith("_unreadable"):
            self.client.circuit.answered()
        elif self.client.circuit.failed():
            logger.error("circuit opened gateway=%s code=%s", self.client.gateway, error.code)

    def _read(self, response: requests.Response) -> bytes:
        body = b""
        while chunk := response.raw.read1(65536, decode_content=True):
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise self._error(GatewayUnavailable, "response_too_large")
        return body

    def _judge(self, response: requests.Response, body: bytes) -> GatewayResponse:
        status = response.status_code
        if status in NO_ANSWER:
            wait = read_retry_after(response.headers.get("Retry-After"))
            raise self._error(GatewayUnavailable, f"http_{status}", response, retry_after=wait)
        data = read_object(body)
        if 400 <= status < 500:
            raise self._refusal(response, data or {})
        if data is None or not 200 <= status < 300:
            raise self._error(GatewayUnavailable, f"http_{status}_unreadable", response)
        return GatewayResponse(status, data, response.headers)

    def _refusal(self, response: requests.Response, data: Mapping[str, Any]) -> GatewayError:
        refusal = self.client.explain(response.status_code, data)
        code = clean_code(refusal.code) or f"http_{response.status_code}"
        if refusal.decline_code:
            return self._error(GatewayDeclined, code, response, decline_code=refusal.decline_code)
        return self._error(GatewayRejected, code, response)

    def _error(
        self, kind: Callable[..., GatewayError], code: str, response: requests.Response | None = None, **details: Any
    ) -> GatewayError:
        if response is not None:
            request_id = response.headers.get(self.client.request_id_header, "")
            details |= {"status": response.status_code, "request_id": clean_code(request_id)}
        return kind(gateway=self.client.gateway, code=code, **details)


def backoff(attempt: int, retry_after: int | None = None) -> float:
    """Seconds before the next try: doubling from 0.25, with 50 to 100 % jitter, or what was asked for."""
    jitter = 0.5 + random.random() / 2  # noqa: S311 - spreads load, guards nothing
    return max(float(retry_after or 0), min(0.25 * 2.0**attempt, 5.0) * jitter)
