"""Spoiled callbacks against the real door, in process: nothing is written, nothing breaks, nothing is told."""

import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import time_machine
from django.core.exceptions import TooManyFieldsSent
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest

from django_gatewaypay.models import Callback, Transaction

from ..factories import make_transaction
from ..gateways.test_paypal import NOW
from ..invariants import Books
from ..shop.models import Order
from .frame import Progress
from .storms_bends import bend
from .storms_genuine import GENUINE, Message, gateway_settings
from .storms_site import configured, strict_log

__all__ = ["Door", "is_deliverable", "mutated", "site"]

ROOT = "/payments/callbacks/"
REFUSED = b"Refused.\n"
BATCH = 500
Answer = tuple[int, bytes]


class Door:
    """The WSGI application, as a server calls it."""

    def __init__(self) -> None:
        self.application = WSGIHandler()

    def send(self, message: Message) -> Answer:
        told: list[int] = []
        answer = self.application(self.environ(message), lambda status, _: told.append(int(status[:3])))
        try:
            return told[0], b"".join(answer)
        finally:
            answer.close()

    def is_readable(self, message: Message) -> bool:
        """Whether Django can make a request of it. With a query and a charset that is no text's it raises while it
        makes one, at any address of any project, before every middleware and view.
        """
        try:
            WSGIRequest(self.environ(message))
        except (LookupError, TooManyFieldsSent):
            return False
        return True

    def environ(self, message: Message) -> dict[str, Any]:
        path, _, query = (ROOT + message.path).partition("?")
        arriving = message.arriving()
        return {
            "REQUEST_METHOD": message.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": arriving.pop("content-type", ""),
            "CONTENT_LENGTH": str(len(message.body)) if message.length is None else message.length,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https",
            "wsgi.input": BytesIO(message.body),
            "wsgi.errors": BytesIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in arriving.items()},
        }


def is_deliverable(message: Message) -> bool:
    """Whether a bend has left a message that the gateway might well have sent: such a one may be kept."""
    alias = _alias(message)
    # Django reads methods in any case.
    if alias not in GENUINE or message.method.upper() != "POST":
        return False
    gateway, headers = GENUINE[alias], message.arriving()
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in gateway.content_types or headers.get("content-encoding"):
        return False
    return gateway.is_genuine(headers, message.body[: _length(message)])


def _alias(message: Message) -> str:
    """What stands where the alias belongs; "" where the address is no callback's."""
    text = unquote_to_bytes(message.path.partition("?")[0]).decode("utf-8", "replace").removesuffix("/")
    return "" if "/" in text else text


def _length(message: Message) -> int:
    try:
        return len(message.body) if message.length is None else max(0, int(message.length))
    except ValueError:
        return 0


@contextmanager
def site() -> Iterator[None]:
    """A payment at every gateway, all certificates valid."""
    with (
        tempfile.TemporaryDirectory() as folder,
        gateway_settings(Path(folder)) as gateways,
        configured(GATEWAYS=gateways),
        time_machine.travel(NOW),
    ):
        for gateway in GENUINE.values():
            make_transaction(gateway=gateway.alias, id=gateway.transaction_id, gateway_reference=gateway.reference)
        yield


def mutated(seed: int, count: int, progress: Progress, *, first: int = 0) -> dict[str, Any]:
    """So many spoiled callbacks, from a number of the seed on; what was answered, and what was wrong."""
    door, told, left, unreadable, number = Door(), Counter[str](), 0, 0, first
    wrong: list[tuple[int, str]] = []
    pages = {b"", _page(door, "Host", "bad host"), door.send(Message((), b"", "no/such/page"))[1]}
    books = _read()
    with strict_log() as log:
        while told.total() < count:
            message = make(seed, number)
            if not door.is_readable(message):
                unreadable += 1
            elif is_deliverable(message):
                left += 1
            else:
                status, trouble = judge(door, message, pages)
                told[str(status)] += 1
                wrong += [(number, trouble)] if trouble else []
                wrong += [(number, f"logged {line[:300]}") for line in log.taken()]
                if told.total() % BATCH == 0:
                    progress(told.total() / count)
                    before, books = books, _read()
                    wrong += [] if before == books else [(number, f"written within the last {BATCH}")]
            number += 1
    if _read() != books:
        wrong.append((number, "written"))
    counts = {"sent": told.total(), "left genuine": left, "unreadable": unreadable}
    return {**counts, "answers": dict(told), "wrong": wrong, "kept": genuine(door)}


def make(seed: int, number: int) -> Message:
    """The spoiled message of a number."""
    chance = random.Random(f"{seed}:{number}")
    gateway = chance.choice(list(GENUINE.values()))
    return bend(chance, gateway, gateway.message(chance.randrange(1000)))


def judge(door: Door, message: Message, pages: set[bytes]) -> tuple[int, str]:
    """The status, and what is wrong with it or with the body."""
    try:
        status, body = door.send(message)
    except Exception as error:  # noqa: BLE001 - any is a finding
        return 599, f"raised {error!r}: {_show(message)}"
    if not 400 <= status < 500:
        return status, f"answered {status}: {_show(message)}"
    ours = bool(_alias(message)) and message.method.upper() == "POST"
    known = {REFUSED} | pages if "host" in message.arriving() or not ours else {REFUSED}
    return status, "" if body in known else f"answered {status} with {body[:200]!r}: {_show(message)}"


def genuine(door: Door) -> dict[str, int]:
    """What the untouched callbacks are answered: a door that refuses everybody proves nothing."""
    return {alias: door.send(gateway.message(10**6))[0] for alias, gateway in GENUINE.items()}


def _page(door: Door, name: str, value: str) -> bytes:
    return door.send(Message(((name, value),), b"", "hosted/"))[1]


def _read() -> dict[str, Any]:
    """Every column of every table of ours; the host's orders too."""
    return {**Books.read().values(), "orders": list(Order.objects.order_by("pk").values())}


def _show(message: Message) -> str:
    headers = [(name, value[:120]) for name, value in message.headers]
    return json.dumps([message.method, message.path[:120], message.length, headers, repr(message.body[:120])])


def effects() -> tuple[int, int]:
    """Inbox rows and paid payments."""
    return Callback.objects.count(), Transaction.objects.filter(state="success").count()
