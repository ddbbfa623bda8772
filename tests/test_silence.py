"""Secrets and personal data go where they are needed and nowhere else: not into logs, rows, reports or the broker."""

import copy
import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync
from celery import Celery, current_app
from channels.testing import WebsocketCommunicator
from django.conf import settings as django_settings
from django.core import serializers
from django.core.signals import got_request_exception
from django.db import connection
from django.test import Client
from django.views.debug import ExceptionReporter

from django_gatewaypay.models import Callback, Fulfilment, Transaction, TransactionEvent
from django_gatewaypay.permissions import COOKIE
from django_gatewaypay.services import access
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from tests.asgi import application
from tests.factories import make_order
from tests.shop import ShopOrders

pytestmark = pytest.mark.django_db(transaction=True)

PAN = "4111111111111111"
MAIL = "canary.shopper@example.org"
NAME = "Canary Shopper"
API_KEY = "sk_live_canary_api_key"
TOKEN = "gwp_canarytokencanarytokencanarytokencanary"
HEADER = "canary-in-a-header"
QUERY = "canary-in-a-query"
COOKIE_VALUE = "canary-in-a-cookie"
SIGNATURE = "v1,Y2FuYXJ5LXNpZ25hdHVyZQ=="
RETURN = "/orders/1?for=canary-return"
KEY = "canary-idempotency-key"
#: What no log, row, answer or message may hold.
CANARIES = [PAN, MAIL, NAME, API_KEY, TOKEN, HEADER, QUERY, COOKIE_VALUE, SIGNATURE]
#: What the row keeps on purpose, and only the row.
KEPT = ["canary-return", KEY]
PERSONAL = {
    "card": PAN,
    "email": MAIL,
    "name": NAME,
    "customer": {"email": MAIL, "pan": PAN},
    "message": f"{MAIL} {PAN}",
}
HEADERS = {"X-Canary": HEADER, "User-Agent": HEADER, "Referer": f"https://x.example/{HEADER}"}
URL = f"/payments/initiate/?q={QUERY}"


class BrokenOrders(ShopOrders):
    """A host with a bug."""

    def quote(self, order_id: str, *, request: Any) -> Any:
        raise RuntimeError("a bug of the host")


class LeakyGateway(GatewayServer):
    """A gateway that tells more about the shopper than anybody has asked for."""

    def work(self, request: Any) -> tuple[int, dict[str, Any]]:
        status, data = super().work(request)
        return status, data | PERSONAL


@pytest.fixture
def gateway(settings: Any) -> Iterator[GatewayServer]:
    """The leaky gateway behind the alias "hosted", with an API key."""
    with LeakyGateway(secret=django_settings.HOSTED_SECRET) as server:
        changed = copy.deepcopy(settings.GATEWAYPAY)
        changed["GATEWAYS"]["hosted"]["OPTIONS"] |= {"api_base": server.url, "api_key": API_KEY}
        settings.GATEWAYPAY = changed
        yield server


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not sleep."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Any:
    """Everything that anybody logs, down to DEBUG, with its tracebacks."""
    caplog.set_level(logging.DEBUG)
    formatter = logging.Formatter("%(name)s %(message)s")
    return lambda: "\n".join(formatter.format(record) for record in caplog.records)


def books() -> str:
    """All of our rows, as text."""
    models = (Transaction, TransactionEvent, Callback, Fulfilment)
    return "\n".join(serializers.serialize("json", model.objects.all()) for model in models)


def found(words: list[str], text: str) -> list[str]:
    return [word for word in words if word in text]


def start(client: Client, order: Any = None, *, key: str = KEY, **more: Any) -> Any:
    body = {"order_id": str((order or make_order()).pk), "return_url": RETURN, **more}
    headers = HEADERS | {"Idempotency-Key": key}
    return client.post(URL, body, content_type="application/json", headers=headers)


def call_back(gateway: GatewayServer, row: Transaction, *, forge: bool = False, **said: Any) -> Any:
    gateway.pay(row.gateway_reference)
    headers, body = gateway.callback(row.gateway_reference, **PERSONAL, **said)
    headers |= HEADERS | ({"webhook-signature": SIGNATURE} if forge else {})
    content_type = headers.pop("content-type")
    return Client().post(f"/payments/callbacks/hosted/?q={QUERY}", body, content_type=content_type, headers=headers)


def every_flow(gateway: GatewayServer) -> list[Any]:
    """Good and bad days with a canary in every input; the answers, but the one that hands out the token."""
    client = Client(headers=HEADERS)
    row = Transaction.objects.get(pk=start(client).json()["id"])
    wrong = {"Authorization": f"Bearer {TOKEN}"}
    stranger = Client(headers=HEADERS)
    stranger.cookies[COOKIE] = COOKIE_VALUE
    answers = [
        start(client, card=PAN, email=MAIL),
        start(client, gateway=NAME),
        client.post(URL, f'{{"order_id": "{MAIL} {PAN}', content_type="application/json"),
        client.post(URL, f"order_id=1&card={PAN}", content_type="text/plain"),
        client.get(f"/payments/status/{row.pk}/?q={QUERY}"),
        stranger.get(f"/payments/status/{row.pk}/", headers=wrong),
        stranger.post(f"/payments/cancel/{row.pk}/", headers=wrong),
        stranger.get(f"/payments/pay/{row.pk}/?q={QUERY}"),
        client.get(f"/payments/return/{row.pk}/?status=success&card={PAN}"),
        call_back(gateway, row, forge=True),
        call_back(gateway, row, decline_code="", note=NAME),
        client.get("/payments/check/"),
    ]
    for number, answer in enumerate(bad_answers()):
        gateway.script(*[answer] * 3)
        answers.append(start(client, key=f"{KEY}-{number}"))
    return answers


def bad_answers() -> list[Answer]:
    page = Answer(status=502, body=f"<h1>{MAIL} {PAN}</h1>".encode(), headers={"X-Customer": MAIL})
    return [
        Answer.json(PERSONAL, 402),
        Answer.json(PERSONAL, 422),
        Answer.json(PERSONAL, 500),
        Answer.json([PERSONAL]),
        page,
        Answer.redirect(f"https://x.example/?card={PAN}"),
        Answer.json({"reference": "r", "payment_url": f"https://evil.example/?card={PAN}"}),
        Answer.json({"reference": [MAIL], "payment_url": f"https://evil.example/?card={PAN}"}),
        Answer(status=503, headers={"Retry-After": MAIL}),
    ]


def test_no_canary_leaves_its_cage(gateway: GatewayServer, logged: Any) -> None:
    """All flows and all failures: nothing of it in logs, rows and answers, but what the row keeps on purpose."""
    answers = every_flow(gateway)
    secrets = [*CANARIES, *KEPT, django_settings.HOSTED_SECRET, django_settings.SECRET_KEY]
    tokens = [access.mint_token(row.pk) for row in Transaction.objects.all()]

    assert Transaction.objects.filter(state="success").count() == 1
    assert found([*secrets, *tokens], logged()) == []
    assert found([*CANARIES, *tokens, django_settings.HOSTED_SECRET], books()) == []
    told = "\n".join(answer.content.decode() for answer in answers)
    # The name of a gateway that does not exist is repeated to the visitor who has sent it.
    assert found([*CANARIES, *tokens, django_settings.HOSTED_SECRET], told.replace(repr(NAME), "")) == []


def test_the_socket_logs_nothing_of_what_it_is_told(gateway: GatewayServer, logged: Any) -> None:
    """Tokens, cookies and frames of strangers and owners."""
    row = Transaction.objects.get(pk=start(Client()).json()["id"])
    token = access.mint_token(row.pk)

    async def talk() -> None:
        headers = [(b"host", b"shop.example"), (b"origin", b"https://shop.example")]
        cookie = [(b"cookie", f"{COOKIE}={COOKIE_VALUE}".encode())]
        for word in (TOKEN, token):
            path = f"/ws/payments/{row.pk}/?q={QUERY}"
            page = WebsocketCommunicator(application, path, [*headers, *cookie], ["gatewaypay.v1", word])
            await page.send_input({"type": "websocket.connect"})
            await page.receive_output(60)
            await page.send_input({"type": "websocket.receive", "text": f"{MAIL} {PAN}"})
            await page.send_input({"type": "websocket.disconnect", "code": 1000})
            await page.wait(60)

    async_to_sync(talk)()

    assert found([*CANARIES, token], logged()) == []


def test_the_broker_holds_ids(gateway: GatewayServer, settings: Any) -> None:
    """Whoever reads the queue learns nothing about shoppers."""
    url = django_settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0].removesuffix("/0") + "/6"
    before = current_app._get_current_object()
    app = Celery("host", broker=url, set_as_current=True)
    app.set_default()
    settings.GATEWAYPAY["USE_CELERY"] = True
    try:
        every_flow(gateway)
    finally:
        before.set_current()
        before.set_default()
        app.close()
    with redis.Redis.from_url(url) as server:
        messages = [message.decode() for message in server.lrange("celery", 0, -1)]
        server.flushdb()

    held = "\n".join(str(json.loads(message)) for message in messages)
    assert len(messages) >= 2
    assert found([*CANARIES, *KEPT, django_settings.HOSTED_SECRET], held) == []


# --- Error reports.


def report_of(request: Any) -> str:
    """The mail that Django sends to ADMINS."""
    return ExceptionReporter(request, *sys.exc_info(), is_email=True).get_traceback_html()


def crash(client: Client, call: Any) -> tuple[Any, str]:
    """A request that ends in a 500, and the report of it."""
    reports: list[str] = []

    def keep(request: Any, **_: Any) -> None:
        reports.append(report_of(request))

    client.raise_request_exception = False
    got_request_exception.connect(keep)
    try:
        answer = call()
    finally:
        got_request_exception.disconnect(keep)
    assert answer.status_code == 500
    return answer, "\n".join(reports)


def crashes(gateway: GatewayServer, settings: Any) -> list[tuple[Any, str]]:
    """A bug in the host's handler, and a database that fails in a way that nobody expects, under each kind of view."""
    client = Client(headers=HEADERS)
    row = Transaction.objects.get(pk=start(client).json()["id"])
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    kept = settings.GATEWAYPAY

    def fail(*_: Any) -> None:
        raise RuntimeError("a bug of the driver")

    settings.GATEWAYPAY = kept | {"ORDERS": f"{__name__}.BrokenOrders"}
    found = [
        crash(client, lambda: start(client, key=f"{KEY}-x")),
        crash(client, lambda: client.post(URL, f"order_id=1&return_url={RETURN}", "application/x-www-form-urlencoded")),
    ]
    settings.GATEWAYPAY = kept
    anonymous = Client(headers=HEADERS, raise_request_exception=False)
    anonymous.cookies[COOKIE] = COOKIE_VALUE
    gateway.pay(row.gateway_reference)
    headers, body = gateway.callback(row.gateway_reference, **PERSONAL)
    kind = headers.pop("content-type")
    with connection.execute_wrapper(fail):
        for page in ("pay", "return", "status"):
            url = f"/payments/{page}/{row.pk}/"
            found.append(crash(anonymous, lambda url=url: anonymous.get(url, headers=bearer)))
        post = lambda: anonymous.post("/payments/callbacks/hosted/", body, content_type=kind, headers=headers)  # noqa: E731
        found.append(crash(anonymous, post))
    return found


def config_secrets() -> list[str]:
    return [django_settings.HOSTED_SECRET, django_settings.SECRET_KEY, API_KEY]


def test_a_report_to_the_admins_holds_no_secret_and_nobodys_data(gateway: GatewayServer, settings: Any) -> None:
    """Tokens, cookies, signatures, keys, the body of a callback, where a shopper returns to: hidden from the mail."""
    private = [PAN, MAIL, NAME, TOKEN, COOKIE_VALUE, *KEPT, *config_secrets()]
    reports = [report for _, report in crashes(gateway, settings)]

    assert all("Traceback" in report for report in reports)
    assert [found(private, report) for report in reports] == [[]] * len(reports)


def test_the_debug_page_holds_no_secret(gateway: GatewayServer, settings: Any) -> None:
    """A developer who shows an error page to somebody shows no key, no token and no cookie."""
    settings.DEBUG = True
    secrets = [TOKEN, COOKIE_VALUE, *config_secrets()]
    pages = [answer.content.decode() for answer, _ in crashes(gateway, settings)]

    assert all("RuntimeError" in page for page in pages)
    assert [found(secrets, page) for page in pages] == [[]] * len(pages)


def test_the_answer_in_production_says_nothing(gateway: GatewayServer, settings: Any) -> None:
    """The same crashes with DEBUG off: Django's plain page."""
    pages = {answer.content.decode() for answer, _ in crashes(gateway, settings)}

    assert not any(word in page for page in pages for word in ("RuntimeError", "Traceback", "gatewaypay", "bug"))


def test_what_carries_secrets_hides_them_in_its_repr() -> None:
    """A frame's variables, a log line, a test's failure: all of them print reprs."""
    from django_gatewaypay.gateways.answers import GatewayResponse
    from django_gatewaypay.gateways.hosted import HostedGateway
    from django_gatewaypay.types import CallbackRequest

    message = CallbackRequest({"webhook-signature": SIGNATURE}, PAN.encode(), {"q": QUERY}, f"https://x/?{QUERY}")
    answer = GatewayResponse(200, PERSONAL, {"X": HEADER})
    secrets = [django_settings.HOSTED_SECRET]
    adapter = HostedGateway("a", api_base="https://a.example", webhook_secrets=secrets, api_key=API_KEY)

    assert found([*CANARIES, *secrets], f"{message!r} {answer!r} {adapter!r} {adapter.client!r}") == []


# --- One event, one line.


FORGERY = "1\nmoved transaction=1 from=pending to=success\r\n\x1b[31mERROR \u2028x\x85y\x00"


def test_a_log_line_cannot_be_forged(gateway: GatewayServer, caplog: pytest.LogCaptureFixture) -> None:
    """Ids with line breaks and control characters, from browsers and gateways alike, stay on one line."""
    caplog.set_level(logging.DEBUG)
    client = Client()
    clean = FORGERY.replace("\x00", "")
    start(client).json()
    client.post(URL, {"order_id": clean}, content_type="application/json")
    client.post(URL, {"order_id": "1", "gateway": clean}, content_type="application/json")
    for page in ("status", "pay", "return"):
        client.get(f"/payments/{page}/1%0Amoved%20transaction=1%0D%1B/")
    client.post("/payments/callbacks/1%0Amoved%0D%1B/", "{}", content_type="application/json")
    row = Transaction.objects.get()
    gateway.pay(row.gateway_reference)
    for said in ({"event_id": "evt 1"}, {"transaction_id": FORGERY}, {"decline_code": FORGERY, "status": FORGERY}):
        headers, body = gateway.callback(row.gateway_reference, **said)
        client.post("/payments/callbacks/hosted/", body, content_type=headers.pop("content-type"), headers=headers)
    for code in (FORGERY, "a\nb"):
        gateway.script(Answer.json({"code": code}, 402))
        start(client, key="k" + str(len(code)))

    lines = [record.getMessage() for record in caplog.records if record.name.startswith(("gatewaypay", "django"))]
    assert len(lines) > 10
    assert [line for line in lines if re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]", line)] == []
