"""Requests drawn from the description of the API, good and bad; the answers are held to the same description.

Drawing costs ten times what a request does. So each case that schemathesis draws is sent eight times: as it is; by an
owner, whose ids, token and orders exist; with credentials and headers that are nonsense; and with spoiled values.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import hypothesis
import schemathesis
import yaml
from django.contrib.auth import get_user_model
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from django_gatewaypay.services import access
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import State

from ..factories import make_order, make_transaction
from .frame import REPOSITORY, Progress
from .storms_site import strict_log

__all__ = ["DESCRIPTION", "Owner", "operations", "schema_driven"]

DESCRIPTION = REPOSITORY / "docs" / "reference" / "openapi.yaml"
AS_DESCRIBED = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: But for /health/, which says that nobody does the due work of this site: no clock runs here.
CHECKS = [not_a_server_error, *AS_DESCRIBED]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
#: Cases of each operation and mode in a round; `initiate` has most to say.
CASES = {"initiate": 8, "initiateWithoutSlash": 4}
CSRF = "c" * 32
NONSENSE = (
    "Bearer", "Bearer gwp_", "Bearer gwp_\xff", "bearer  gwp_a b", "Basic !!", "Basic YQ==", "Bearer " + "A" * 9000,
    "Digest", "\x00", "Token gwp_", "Bearer gwp_" + "A" * 43,
)  # fmt: skip
COOKIES = (
    "sessionid=\x00", "sessionid=" + "a" * 5000, "gatewaypay_guest_key=a:b:c", "gatewaypay_guest_key=W10:1:x", "=;=;=",
    "csrftoken=\xff", 'gatewaypay_guest_key="', "sessionid=; sessionid=x",
)  # fmt: skip
HEADERS: Mapping[str, Sequence[str]] = {
    "Accept": ("text/html", "application/xml", "*/*;q=nan", "\xff", "," * 2000, "application/json; indent=99999"),
    "Content-Type": (
        "application/json; charset=utf-16",
        "multipart/form-data",
        "x",
        "application/json; charset=\xff",
        "",
    ),
    "Idempotency-Key": ("\x00", "\xff", "a" * 300, "", "k", "%00"),
    "X-CSRFToken": ("", "a" * 64, "\xff"),
    "X-Forwarded-For": ("::", "1.2.3.4, \xff", "'"),
    "X-HTTP-Method-Override": ("DELETE", "PATCH"),
    "Accept-Language": ("xx-" * 500, "de;q=9", "../..", "\xff"),
    "Content-Encoding": ("gzip", "zlib"),
    "Range": ("bytes=0-", "bytes=9-1"),
    "If-None-Match": ("*", '"'),
}
VALUES: Sequence[Any] = (
    None, True, [], {}, [[]], {"a": {"b": []}}, -1, 0, 10**30, 1.5, "", " ", "\x00", "\ud800", "é" * 100, "x" * 3000,
    "NaN", "//evil.example", "https://shop.example@evil.example", "javascript:alert(1)", "/\\evil", "9" * 128, "1e5",
)  # fmt: skip
Change = Callable[[random.Random, Any], Any]


@dataclass(frozen=True)
class Owner:
    """Somebody who has payments in every state, and orders to pay; and a member of staff who may do everything."""

    tokens: Mapping[str, str]
    orders: Sequence[str]
    session: str

    @classmethod
    def settle(cls) -> "Owner":
        rows = [make_transaction(state) for state in State]
        orders = [make_order(currency=currency, price_minor=price) for currency, price in (("EUR", 1), ("JPY", 900))]
        orders += [make_order(mood="refuse"), make_order(price_minor=0), make_order(price_minor=10**16)]
        browser = Client()
        browser.force_login(get_user_model().objects.create_user(f"chief-{rows[0].pk}", is_superuser=True))
        return cls(
            {str(row.pk): access.mint_token(row.pk) for row in rows},
            [str(order.pk) for order in orders],
            browser.cookies["sessionid"].value,
        )

    def take(self, chance: random.Random, case: Any) -> Any:
        """The same case by this owner."""
        pk, token = chance.choice(list(self.tokens.items()))
        if "id" in (case.path_parameters or {}):
            case.path_parameters = {**case.path_parameters, "id": pk}
        if "alias" in (case.path_parameters or {}):
            case.path_parameters = {**case.path_parameters, "alias": "hosted"}
        if isinstance(case.body, dict) and "order_id" in case.body:
            case.body = {**case.body, "order_id": chance.choice(self.orders)}
            if chance.random() < 0.8:
                case.body["gateway"] = chance.choice(("", "hosted"))
            if chance.random() < 0.8:
                case.body["return_url"] = chance.choice(("", "/thanks/", "https://shop.example/x"))
        if case.path.startswith("/transactions/") and chance.random() < 0.9:
            case.headers["Cookie"] = f"sessionid={self.session}; csrftoken={CSRF}"
            case.headers["X-CSRFToken"] = CSRF
        else:
            case.headers["Authorization"] = f"Bearer {token}"
        return case


def confuse(chance: random.Random, case: Any) -> Any:
    """The same case by nobody in particular, with headers that make no sense."""
    case.headers["Authorization"] = chance.choice(NONSENSE)
    case.headers["Cookie"] = chance.choice(COOKIES)
    for name in chance.sample(sorted(HEADERS), chance.randrange(1, 4)):
        case.headers[name] = chance.choice(HEADERS[name])
    return case


def spoil(chance: random.Random, case: Any) -> Any:
    """The same case with another value in one place, known or unknown."""
    value = chance.choice(VALUES)
    text = str(value).encode(errors="ignore").decode() or "x"
    # JSON can escape half a character; a client of any other type cannot send it.
    value = text if value == "\ud800" and case.media_type != "application/json" else value
    if isinstance(case.body, dict) and chance.random() < 0.8:
        name = chance.choice([*case.body, "order_id", "gateway", "return_url", "amount", "\x00"])
        case.body = {**case.body, name: value}
    elif case.body is not NOT_SET and chance.random() < 0.5:
        case.body = value
    elif case.path_parameters and text:
        case.path_parameters = dict.fromkeys(case.path_parameters, text)
    else:
        case.query = {**(case.query or {}), chance.choice(("currency", "id", "format", "\x00")): text}
    return case


class Storm:
    """One run: what was answered, and what was wrong with it."""

    def __init__(self, seed: int, owner: Owner) -> None:
        self.chance = random.Random(seed)
        self.owner = owner
        self.cases = 0
        self.told: Counter[str] = Counter()
        self.late = 0
        self.wrong: dict[str, str] = {}

    def take(self, case: Any) -> None:
        """Send what was drawn, changed in eight ways."""
        self.cases += 1
        own = self.owner.take
        for changes in ((), (own,), (own,), (confuse,), (spoil,), (own, confuse), (own, spoil), (confuse, spoil)):
            changed = copy_of(case)
            for change in changes:
                changed = change(self.chance, changed)
            self.send(changed)

    def send(self, case: Any) -> None:
        try:
            answer = case.call()
            self.told[str(answer.status_code)] += 1
            late = case.path == "/health/" and answer.status_code == 503
            self.late += late
            if reached_a_view(case):
                case.validate_response(answer, checks=AS_DESCRIBED if late else CHECKS)
            elif answer.status_code >= 500:
                raise AssertionError(f"{answer.status_code} outside of every view")
        except FailureGroup as group:
            for failure in group.exceptions:
                self.note(case, f"{type(failure).__name__}: {failure.message}")
        except Exception as error:  # noqa: BLE001 - any is a finding
            self.told["raised"] += not isinstance(error, AssertionError)
            self.note(case, f"{type(error).__name__}: {error}")

    def note(self, case: Any, what: str) -> None:
        said = json.dumps([case.path_parameters, case.query, dict(case.headers or {}), repr(case.body)], default=str)
        self.wrong.setdefault(f"{case.operation.label} {what[:200]}", said[:600])


def copy_of(case: Any) -> Any:
    """A case that may be changed."""
    parts = ("path_parameters", "headers", "cookies", "query")
    own = {name: dict(getattr(case, name) or {}) for name in parts}
    # The client takes a question mark in a path for the beginning of the query, however it is written.
    given = {name: str(value) for name, value in own["path_parameters"].items()}
    own["path_parameters"] = {name: text.replace("%3F", "?").replace("?", "!") for name, text in given.items()}
    return case.operation.Case(method=case.method, body=case.body, media_type=case.media_type, **own)


def reached_a_view(case: Any) -> bool:
    """Whether the drawn address is one of ours: a slash in an id leads elsewhere, and Django answers in its own way."""
    return not any("/" in str(value) or value in {"", ".", ".."} for value in (case.path_parameters or {}).values())


def operations() -> Iterator[Any]:
    """Every operation of the description, with our WSGI application behind it."""
    schema = schemathesis.openapi.from_dict(yaml.safe_load(DESCRIPTION.read_text()))
    schema.app = WSGIHandler()
    for found in schema.get_all_operations():
        yield found.ok()


def schema_driven(seed: int, count: int, progress: Progress) -> dict[str, Any]:
    """At least so many requests, over all operations, positive and negative, in rounds of their own seeds."""
    storm, turn = Storm(seed, Owner.settle()), 0
    known = [
        (one, mode, one.as_strategy(generation_mode=mode)) for one in operations() for mode in MODES if can(one, mode)
    ]
    with strict_log() as log:
        while storm.told.total() < count:
            for operation, _, strategy in known:
                draw(storm, operation, strategy, seed * 10_000 + turn)
                progress(min(1, storm.told.total() / count))
                if storm.told.total() >= count and turn:
                    break
            turn += 1
        for line in log.taken():
            storm.wrong.setdefault("logged", line)
    return {
        "cases": storm.cases,
        "sent": storm.told.total(),
        "late": storm.late,
        "errors": sum(count for status, count in storm.told.items() if status >= "500") - storm.late,
        "answers": dict(storm.told),
        "wrong": [f"{what}: {case}" for what, case in storm.wrong.items()],
    }


def can(operation: Any, mode: GenerationMode) -> bool:
    """Whether there is anything to draw: what has no input cannot be wrong."""
    return (
        mode is GenerationMode.POSITIVE or "requestBody" in operation.definition.raw or any(operation.iter_parameters())
    )


def draw(storm: Storm, operation: Any, strategy: Any, seed: int) -> None:
    """A round of one operation."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=CASES.get(operation.definition.raw["operationId"], 3),
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def round_of(case: Any) -> None:
        storm.take(case)

    # A round may end before a case passes schemathesis's own filters; the next one has another seed.
    with suppress(hypothesis.errors.Unsatisfiable):
        round_of()


def gateway() -> GatewayServer:
    """The gateway of the storm: it does what it is asked."""
    return GatewayServer()
