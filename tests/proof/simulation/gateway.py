"""The gateways on their side of the wire: they answer calls, keep their books and tell the shop until it listens."""

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import requests
from urllib3 import HTTPResponse

from django_gatewaypay.models import Callback

from .books import Books, Session
from .crash import point_name
from .dialects import Dialect
from .hosted import HostedDialect
from .mollie import MollieDialect
from .stripe import StripeDialect
from .till import GivenBack, Till

if TYPE_CHECKING:
    from .world import World

__all__ = ["DIALECTS", "Gateway", "Message", "Wire", "make_gateways"]

DIALECTS: tuple[type[Dialect], ...] = (HostedDialect, StripeDialect, MollieDialect)
#: Seconds until a callback that was not taken is sent again, as the vendors do for days.
RETRIES = (15, 60, 300, 900, 3600, 3600, 7200, 7200, 14400)
#: A callback that is not answered by then has failed.
PATIENCE = 20


class Post(Protocol):
    """Posts to the shop: address, body and headers in, the status out; None when no answer came."""

    def __call__(self, path: str, body: bytes, headers: dict[str, str], order: str) -> int | None: ...


@dataclass(eq=False)
class Message:
    """One callback, and how often it was tried."""

    session: Session
    event_id: str
    body: bytes
    tries: int = 0
    taken: bool = False


class Gateway:
    """One account: its books, its way to speak, and its callbacks on their way."""

    def __init__(self, world: "World", dialect: type[Dialect], post: Post) -> None:
        self.world = world
        self.alias = dialect.alias
        self.till = Till(
            self.alias,
            world.chance,
            now=self.now,
            later=world.later,
            tell=self.tell,
            remembers=dialect.KEY_TTL,
            returns=dialect.RETURNS,
        )
        self.books = Books(self.alias, world.chance, now=self.now, tell=self.tell, reserve=self.till.reserve)
        self.dialect = dialect(self.books, self.till)
        self.post = post
        self.acknowledged: list[str] = []

    def now(self) -> float:
        """The gateway's own clock."""
        return self.world.clock.now + self.world.weather.clock_skew()

    def serve(self, request: requests.PreparedRequest) -> tuple[int, dict[str, Any]]:
        known, caller = len(self.books.sessions), self.world.at_hand
        body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        answer = self.dialect.serve(request.method or "", request.path_url, request.headers, body)
        for session in list(self.books.sessions.values())[known:]:
            session.order = caller.order if caller else ""
            session.silent = self.world.weather.strikes("no callback at all")
            self.world.later(max(session.ends_at - self.now(), 0), lambda one=session: self.books.expire(one))
        return answer

    # --- Callbacks.

    def tell(self, session: Session, what: str, given: GivenBack | None = None) -> None:
        """Something happened to a session: it is told, in this gateway's manner."""
        self.world.log(f"{session.reference} is {what}{f' by {given.reference}' if given else ''}")
        # Who says "failed" before the end says what follows until it is heard, and who gives money back, how that went.
        if session.silent and not session.declined and not given:
            return
        messages = [Message(session, *one) for one in self.dialect.messages(session, what, given)]
        late = [one for one in messages if self.world.weather.strikes("callback reordered")]
        overtaken, session.kept_back = session.kept_back, late
        delay = 0.0
        for message in messages:
            if message not in late:
                delay = self._first_delay()
                self.send(message, delay)
        for message in overtaken:
            self.send(message, delay + 1)
        if late:
            self.world.later(delay + 1 if len(late) < len(messages) else 600, lambda: self._release(session))

    def _first_delay(self) -> float:
        weather, chance = self.world.weather, self.world.chance
        return chance.uniform(60, 1500) if weather.strikes("callback delayed") else chance.expovariate(0.5)

    def _release(self, session: Session) -> None:
        """What was kept back follows what came after it."""
        kept, session.kept_back = session.kept_back, []
        for message in kept:
            self.send(message)

    def send(self, message: Message, delay: float = 0) -> None:
        self.world.later(delay, lambda: self.deliver(message), order=message.session.order, early=True)

    def deliver(self, message: Message) -> None:
        """One try. A callback that got no 2xx in time is tried again."""
        if message.taken:
            return
        weather, message.tries = self.world.weather, message.tries + 1
        if abs(weather.clock_skew()) > 300 and self.dialect.sign("", b"", 0):
            weather.counts["callback signed by a wrong clock"] += 1
        if weather.strikes("callback forged"):
            self._forge(message)
        answer = None if weather.strikes("callback dropped") else self._post(message)
        if weather.strikes("callback duplicated"):
            self.world.later(self.world.chance.uniform(0, 30), lambda: self._post(message), early=True)
        if weather.strikes("callback's answer lost"):
            answer = None
        if answer is not None and 200 <= answer < 300:
            message.taken = True
        elif message.tries <= len(RETRIES):
            self.send(message, RETRIES[message.tries - 1])

    def _post(self, message: Message) -> int | None:
        began = self.world.clock.now
        headers = self.dialect.sign(message.event_id, message.body, self.world.clock.unix(self.now()))
        answer = self._to_shop(message, message.body, headers)
        if answer is not None and 200 <= answer < 300:
            self._check_kept(message, began)
        return answer if self.world.clock.now - began < PATIENCE else None

    def _to_shop(self, message: Message, body: bytes, headers: dict[str, str]) -> int | None:
        headers = {"content-type": self.dialect.content_type, **headers}
        path = f"/payments/callbacks/{self.alias}/"
        answer = self.post(path, body, headers, message.session.order)
        self.world.log(f"callback {message.event_id or message.body.decode()} try {message.tries}: {answer}")
        return answer

    def _check_kept(self, message: Message, began: float) -> None:
        """What was acknowledged is in the inbox: invariant 10."""
        rows = Callback.objects.filter(gateway=self.alias)
        if message.event_id:
            found = rows.filter(event_id=message.event_id).exists()
            self.acknowledged.append(message.event_id)
        else:
            found = rows.filter(gateway_reference=message.body.decode().removeprefix("id=")).exists()
        if not found:
            self.world.violate(f"acknowledged and not kept: {message.event_id or message.body.decode()}")

    def _forge(self, message: Message) -> None:
        headers = self.dialect.sign(message.event_id, message.body, self.world.clock.unix(self.now()))
        if not headers:
            self._to_shop(message, b"id=tr_forged", {})  # nobody signs here: a hint about nothing
            return
        body = message.body.replace(b'"', b' "', 1)
        if self._to_shop(message, body, headers) not in {400, None}:
            self.world.violate(f"forged and taken: {message.event_id}")


class Wire(requests.adapters.BaseAdapter):
    """The transport below an adapter's session: to the gateway and back, if the weather lets it."""

    def __init__(self, world: "World", gateway: Gateway) -> None:
        super().__init__()
        self.world = world
        self.gateway = gateway

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        """See `requests`."""
        point = point_name()
        self.world.reach(f"{point} before the call")
        response = self._exchange(request, options["timeout"])
        self.world.reach(f"{point} after the call")
        return response

    def close(self) -> None:
        """Nothing is open."""

    def _exchange(self, request: requests.PreparedRequest, timeout: tuple[float, float]) -> requests.Response:
        world, chance = self.world, self.world.chance
        moving = request.method == "POST" and ("refund" in request.path_url or "capture" in request.path_url)
        fault = world.weather.call_fault(self.gateway.alias, world.clock.now, moving=moving)
        if fault:
            world.log(f"{request.method} {request.path_url}: {fault}")
        if fault in BEFORE:
            return BEFORE[fault](self, request, timeout)
        world.wait(chance.uniform(0.02, 0.2))
        answer = self.gateway.serve(request)
        world.wait(chance.uniform(3, 9) if fault == "call slow" else chance.uniform(0.02, 0.2))
        if fault == "call timeout after effect":
            world.wait(timeout[1])
            raise requests.ReadTimeout
        if fault == "call cut after effect":
            raise requests.ConnectionError
        if fault == "call 5xx after effect":
            return respond(request, 500, b"")
        if fault == "call answered unreadably":
            return respond(request, 200, b"<html>It works</html>")
        return respond(request, answer[0], json.dumps(answer[1]).encode())

    # --- What keeps a call from the gateway.

    def _refuse(self, request: requests.PreparedRequest, timeout: tuple[float, float]) -> requests.Response:
        self.world.wait(0.01)
        raise requests.ConnectionError

    def _time_out(self, request: requests.PreparedRequest, timeout: tuple[float, float]) -> requests.Response:
        self.world.wait(timeout[1])
        raise requests.ReadTimeout

    def _break(self, request: requests.PreparedRequest, timeout: tuple[float, float]) -> requests.Response:
        self.world.wait(0.1)
        return respond(request, self.world.chance.choice((500, 502, 503)), b"")

    def _be_busy(self, request: requests.PreparedRequest, timeout: tuple[float, float]) -> requests.Response:
        self.world.wait(0.1)
        wait = self.world.chance.choice(("0", "1", "7", "600", "Mon, 02 Nov 2026 09:30:00 GMT", "soon"))
        return respond(request, 429, b"", {"Retry-After": wait})


BEFORE = {
    "call refused": Wire._refuse,
    "call timeout before effect": Wire._time_out,
    "call 5xx before effect": Wire._break,
    "call 429 with Retry-After": Wire._be_busy,
}


def respond(
    request: requests.PreparedRequest, status: int, body: bytes, headers: dict[str, str] | None = None
) -> requests.Response:
    """An answer, as `requests` would have read it from a socket."""
    response = requests.Response()
    response.status_code = status
    response.headers = requests.structures.CaseInsensitiveDict({"Content-Type": "application/json", **(headers or {})})
    response.raw = HTTPResponse(io.BytesIO(body), headers=response.headers, status=status, preload_content=False)
    response.request, response.url = request, request.url or ""
    return response


def make_gateways(world: "World", post: Post) -> dict[str, Gateway]:
    """All accounts of the shop, by alias."""
    return {kind.alias: Gateway(world, kind, post) for kind in DIALECTS}
