"""The only code that talks to a gateway: pooled, verified, bounded in time, size and tries."""

import ipaddress
import json as jsonlib
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from ..exceptions import GatewayDeclined, GatewayError, GatewayRejected, GatewayUnavailable

__all__ = ["GatewayClient", "GatewayResponse", "Refusal", "check_base", "explain_plainly", "is_loopback"]

logger = logging.getLogger("gatewaypay.http")

#: A form's fields, in order; names may repeat.
Fields = Sequence[tuple[str, str]]
MAX_RESPONSE_BYTES = 1024 * 1024
MAX_RETRY_AFTER = 300
# Busy, or broken on their side: the outcome is unknown, and the same key may be tried again.
NO_ANSWER = frozenset({408, 409, 425, 429}) | frozenset(range(500, 600))


@dataclass(frozen=True)
class GatewayResponse:
    """A gateway's definite answer."""

    status: int
    # Not in its repr, which error pages and traceback mails show.
    data: dict[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Refusal:
    """What a definite 4xx means.

    Args:
        code: the vendor's own code.
        decline_code: in the standard words, when it is a no to the shopper rather than to us.
    """

    code: str = ""
    decline_code: str = ""


#: Reads a vendor's error body: status and JSON object in, what it means out.
Explain = Callable[[int, Mapping[str, Any]], Refusal]


def explain_plainly(status: int, data: Mapping[str, Any]) -> Refusal:
    """402 declines, every other 4xx rejects; the code is `code` or `error`, if it is text."""
    code = data.get("code") or data.get("error")
    return Refusal(code=code if isinstance(code, str) else "", decline_code="declined" if status == 402 else "")


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
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount(self.base, requests.adapters.HTTPAdapter(pool_maxsize=32, max_retries=0))

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

        Only for calls that may be repeated: reads, and writes under an idempotency key.

        Args:
            content: a body that is written already, byte for byte.

        Raises:
            GatewayDeclined: 402.
            GatewayRejected: any other definite 4xx.
            GatewayUnavailable: no usable answer.
        """
        end = time.monotonic() + self.deadline
        call = Call(self, method, f"{self.base}/{path.lstrip('/')}", end)
        for attempt in range(1, self.tries + 1):
            try:
                return call.make(json, content if form is None else list(form), headers)
            except GatewayUnavailable as error:
                wait = backoff(attempt, error.retry_after)
                if attempt == self.tries or time.monotonic() + wait >= end:
                    raise
                logger.info("retry gateway=%s try=%s wait=%.2f code=%s", self.gateway, attempt, wait, error.code)
                time.sleep(wait)
        raise AssertionError("unreachable: the last try returns or raises")

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
        connect, read = self.client.timeout
        left = max(self.end - time.monotonic(), 0.1)
        try:
            with self.client.session.request(
                self.method,
                self.url,
                json=json,
                data=data,
                headers=headers,
                timeout=(min(connect, left), min(read, left)),
                allow_redirects=False,
                stream=True,
            ) as response:
                return self._judge(response, self._read(response))
        except (requests.RequestException, HTTPError, OSError) as error:
            raise self._error(GatewayUnavailable, type(error).__name__) from error

    def download(self) -> bytes:
        try:
            with requests.Session() as bare:
                bare.trust_env = False
                with bare.get(self.url, timeout=self.client.timeout, allow_redirects=False, stream=True) as response:
                    if response.status_code != 200:
                        raise self._error(GatewayUnavailable, f"http_{response.status_code}", response)
                    return self._read(response)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise self._error(GatewayUnavailable, type(error).__name__) from error

    def _read(self, response: requests.Response) -> bytes:
        body = b""
        while chunk := response.raw.read1(65536, decode_content=True):
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise self._error(GatewayUnavailable, "response_too_large")
            if time.monotonic() > self.end:
                raise self._error(GatewayUnavailable, "deadline")
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


def read_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in a response; {} for an empty one; None when it is something else."""
    if not body.strip():
        return {}
    try:
        data = jsonlib.loads(body)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def clean_code(code: str) -> str:
    """A gateway's own code or id, short and printable, or nothing."""
    return code[:64] if code.isprintable() else ""


def read_retry_after(value: str | None) -> int | None:
    """The seconds in a Retry-After header, number or date, capped at five minutes."""
    if not value:
        return None
    try:
        seconds = int(value) if value.isdigit() else int(parsedate_to_datetime(value).timestamp() - time.time()) + 1
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0), MAX_RETRY_AFTER)


def backoff(attempt: int, retry_after: int | None = None) -> float:
    """Seconds before the next try: doubling from 0.25, with 50 to 100 % jitter, or what was asked for."""
    jitter = 0.5 + random.random() / 2  # noqa: S311 - spreads load, guards nothing
    return max(float(retry_after or 0), min(0.25 * 2.0**attempt, 5.0) * jitter)
