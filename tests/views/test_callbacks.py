"""Where gateways report: stored before it is acknowledged, and refused without a word about why."""

import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, close_old_connections, connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_gatewaypay.models import Callback, Fulfilment, Transaction, TransactionEvent
from django_gatewaypay.testing.gateway_server import GatewayServer, sign
from tests.factories import make_order
from tests.views.conftest import Post

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/payments/callbacks/hosted/"


@pytest.fixture
def row(hosted: GatewayServer, initiate: Post) -> Transaction:
    """A payment whose shopper is at the gateway."""
    return Transaction.objects.get(pk=initiate({"order_id": str(make_order().pk)}).json()["id"])


def deliver(
    headers: dict[str, str], body: bytes, *, url: str = URL, content_type: str = "application/json", **also: str
) -> Any:
    given = {name: value for name, value in headers.items() if name != "content-type"}
    given |= {name.replace("_", "-"): value for name, value in also.items()}
    # CONTENT_TYPE by name: the test client leaves it out where there is no body.
    return Client().generic("POST", url, body, headers=given, CONTENT_TYPE=content_type)


def paid(hosted: GatewayServer, row: Transaction, **said: Any) -> tuple[dict[str, str], bytes]:
    hosted.pay(row.gateway_reference)
    return hosted.callback(row.gateway_reference, **said)


def books() -> list[int]:
    return [model.objects.count() for model in (Transaction, TransactionEvent, Callback, Fulfilment)]


@pytest.mark.parametrize("url", [URL, URL.rstrip("/")])
def test_a_callback_is_kept_and_worked_on(hosted: GatewayServer, row: Transaction, url: str) -> None:
    """200, the inbox row, the move; with and without the last slash, for a redirect would lose the body."""
    response = deliver(*paid(hosted, row), url=url)

    row.refresh_from_db()
    assert (response.status_code, response.content) == (200, b"")
    assert (row.state, Callback.objects.get().state) == ("success", "processed")


def test_the_whole_way_to_paid_costs_six_statements_and_the_hook(hosted: GatewayServer, row: Transaction) -> None:
    """Inbox, row, door, ledger, outbox, inbox; then the claim, the host's own, and the mark. A copy costs one."""
    message = paid(hosted, row)
    deliver(*paid(hosted, Transaction.objects.get(pk=row.pk), status="pending"))  # what is read once is read
    with CaptureQueriesContext(connection) as first:
        deliver(*message)
    with CaptureQueriesContext(connection) as second:
        deliver(*message)

    assert [ours(one["sql"]) for one in first if ours(one["sql"])] == [
        "INSERT callback", "SELECT transaction", "UPDATE transaction", "INSERT transactionevent",
        "INSERT fulfilment", "UPDATE callback", "UPDATE fulfilment", "UPDATE fulfilment",
    ]  # fmt: skip
    assert [ours(one["sql"]) for one in second if ours(one["sql"])] == ["INSERT callback"]


def ours(sql: str) -> str:
    """What a statement does to a table of ours; "" where it does nothing to any."""
    found = re.match(r'(INSERT|SELECT|UPDATE|DELETE).*?"gatewaypay_(\w+)"', sql)
    return " ".join(found.groups()) if found else ""


def test_a_hundred_copies_have_one_effect(hosted: GatewayServer, row: Transaction) -> None:
    """Each is acknowledged; one inbox row, one move, one fulfilment."""
    headers, body = paid(hosted, row)
    answers: list[int] = []

    def redeliver() -> None:
        try:
            answers.extend(deliver(headers, body).status_code for _ in range(25))
        finally:
            close_old_connections()
            connections.close_all()

    threads = [threading.Thread(target=redeliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [200] * 100
    assert (Callback.objects.count(), Fulfilment.objects.count()) == (1, 1)
    assert row.events.filter(to_state="success", kind="moved").count() == 1


def forgeries(headers: dict[str, str], body: bytes) -> list[tuple[dict[str, str], bytes]]:
    stranger = "whsec_" + "QUJD" * 8
    now = int(headers["webhook-timestamp"])
    return [
        ({}, body),
        (headers | {"webhook-signature": ""}, body),
        (headers | {"webhook-signature": "v1,"}, body),
        (headers | {"webhook-signature": headers["webhook-signature"].replace("v1,", "v0,")}, body),
        (headers | {"webhook-signature": "v1," + "ü" * 20}, body),
        (headers | {"webhook-id": "evt_other"}, body),
        (headers | {"webhook-timestamp": str(now + 1)}, body),
        (headers | {"webhook-timestamp": "NaN"}, body),
        (headers, body + b" "),
        (headers, body.replace(b"19.99", b"19.98")),
        (headers, json.dumps(json.loads(body), indent=1).encode()),
        (headers, b""),
        (sign(stranger, headers["webhook-id"], body), body),
    ]


def test_what_the_gateway_did_not_sign_leaves_no_trace(hosted: GatewayServer, row: Transaction) -> None:
    """400 with one and the same body, and no row anywhere."""
    headers, body = paid(hosted, row)
    secret = hosted.secret
    now = int(headers["webhook-timestamp"])
    stale = [sign(secret, headers["webhook-id"], body, timestamp=now + shift) for shift in (-301, 400, -(10**9), 10**9)]
    before = books()
    answers = [deliver(*forged) for forged in [*forgeries(headers, body), *((each, body) for each in stale)]]

    assert {(answer.status_code, answer.content) for answer in answers} == {(400, b"Refused.\n")}
    assert books() == before


@pytest.mark.parametrize("body", [b"[]", b"null", b"{", b"{}", b'{"event_id": 5}', b"[" * 60_000, b"\xff", b""])
def test_signed_nonsense_is_refused_and_not_kept(hosted: GatewayServer, body: bytes) -> None:
    """A gateway that signs what cannot be read is told so."""
    response = deliver(sign(hosted.secret, "evt_1", body), body)

    assert (response.status_code, response.content) == (400, b"Refused.\n")
    assert books() == [0, 0, 0, 0]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("url", [URL, URL.rstrip("/")])
def test_only_post_is_taken(method: str, url: str) -> None:
    """405, and no redirect to the address with a slash."""
    assert Client().generic(method, url).status_code == 405


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (413, {"body": b"x" * (256 * 1024 + 1)}),
        (413, {"body": b"x" * 10_000_000}),
        (415, {"content_type": "text/plain"}),
        (415, {"content_type": "application/x-www-form-urlencoded"}),
        (415, {"content_type": "multipart/form-data; boundary=x"}),
        (415, {"content_type": "application/jsonp"}),
        (415, {"content_type": ""}),
        (415, {"Content_Encoding": "gzip"}),
        (415, {"Content_Encoding": "identity"}),
        (404, {"url": "/payments/callbacks/nowhere/"}),
        (404, {"url": "/payments/callbacks/" + "x" * 5000 + "/"}),
        (404, {"url": "/payments/callbacks/%0A%00%0D/"}),
    ],
    ids=range(12),
)
def test_other_messages_are_refused_unread(
    hosted: GatewayServer, row: Transaction, status: int, change: dict[str, Any]
) -> None:
    """Size, type and alias are judged before anything is parsed; the answer says nothing."""
    headers, body = paid(hosted, row)
    before = books()
    response = deliver(headers, change.pop("body", body), **change)

    assert (response.status_code, response.content) == (status, b"Refused.\n")
    assert books() == before


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "zlib", "rot13", "nonsense"])
def test_a_charset_changes_nothing(hosted: GatewayServer, row: Transaction, charset: str) -> None:
    """The signed bytes are JSON, whatever parameter stands behind the type."""
    answer = deliver(*paid(hosted, row), content_type=f"application/json; charset={charset}")

    assert answer.status_code == 200


def test_the_inbox_row_survives_atomic_requests(
    hosted: GatewayServer, row: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host's transaction around every request would undo what we have acknowledged."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    response = deliver(*paid(hosted, row))

    row.refresh_from_db()
    assert (response.status_code, row.state) == (200, "success")


def test_a_dead_broker_is_logged_and_the_work_is_done_here(
    hosted: GatewayServer, row: Transaction, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Celery is a worker, and never a condition for taking a payment."""
    from celery import Celery

    settings.GATEWAYPAY["USE_CELERY"] = True
    app = Celery("dead", broker="redis://127.0.0.1:9/0", set_as_current=False)
    app.set_default()
    response = deliver(*paid(hosted, row))

    row.refresh_from_db()
    assert (response.status_code, row.state) == (200, "success")
    assert "broker unavailable task=gatewaypay.process_callback" in caplog.text


@contextmanager
def database_away() -> Iterator[None]:
    """Every statement fails the way it does when the server is gone."""

    def fail(*_: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with connection.execute_wrapper(fail):
        yield


def test_without_a_database_nothing_is_acknowledged(
    hosted: GatewayServer, row: Transaction, caplog: pytest.LogCaptureFixture
) -> None:
    """503 with Retry-After, so that the gateway tells us again; then it is taken."""
    message = paid(hosted, row)
    with database_away():
        away = deliver(*message)
    back = deliver(*message)

    assert (away.status_code, away["Retry-After"]) == (503, "30")
    assert "database unavailable" in caplog.text
    assert (back.status_code, Callback.objects.get().state) == (200, "processed")


@pytest.mark.parametrize("vault", [[], [""], None])
def test_without_a_secret_nothing_is_believed(
    hosted: GatewayServer, row: Transaction, settings: Any, vault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A vault that has nothing to give any more means 503, whoever signed: no open door, and no 500."""
    held = {"now": [hosted.secret]}
    settings.GATEWAYPAY["GATEWAYS"]["hosted"]["OPTIONS"]["webhook_secrets"] = lambda: held["now"]
    settings.GATEWAYPAY = dict(settings.GATEWAYPAY)
    message = paid(hosted, row)
    before = books()
    unsigned = deliver({}, b"{}")
    held["now"] = vault
    answers = [deliver(*message), deliver(sign("whsec_", "evt", b"{}"), b"{}")]

    assert unsigned.status_code == 400
    assert {(answer.status_code, answer["Retry-After"]) for answer in answers} == {(503, "30")}
    assert books() == before
    assert "misconfigured gateway='hosted'" in caplog.text


@pytest.mark.parametrize("secrets", [[], [""], "", None, ["whsec_"]])
def test_an_account_without_a_secret_takes_no_message(
    hosted: GatewayServer, row: Transaction, settings: Any, secrets: Any
) -> None:
    """An adapter that cannot be built answers 503 as well; the system check says so at start."""
    message = paid(hosted, row)
    before = books()
    settings.GATEWAYPAY["GATEWAYS"]["hosted"]["OPTIONS"]["webhook_secrets"] = secrets
    settings.GATEWAYPAY = dict(settings.GATEWAYPAY)

    assert deliver(*message).status_code == 503
    assert books() == before


def test_the_log_says_why_and_cannot_be_forged(hosted: GatewayServer, caplog: pytest.LogCaptureFixture) -> None:
    """One line per refusal, however the alias was spelt."""
    caplog.set_level(logging.INFO, "gatewaypay")
    deliver({}, b"{}", url="/payments/callbacks/x%0Amoved transaction=1 to=success/")
    deliver({}, b"{}")

    ours = [record.getMessage() for record in caplog.records if record.name.startswith("gatewaypay")]
    assert ours == [
        r"refused gateway='x\nmoved transaction=1 to=success' status=404 why=unknown gateway",
        "refused gateway='hosted' status=400 why=bad signature",
    ]


def test_a_wrong_clock_is_named_and_a_forgery_is_not_taken_for_one(
    hosted: GatewayServer, row: Transaction, caplog: pytest.LogCaptureFixture
) -> None:
    """A good signature at a bad time is our clock or a replay: an error for staff. A bad signature is neither."""
    before, hour = books(), 3600
    for shift in (-hour, hour):
        headers, body = hosted.callback(row.gateway_reference, timestamp=int(time.time()) + shift)
        assert deliver(headers, body).status_code == 400
    named = caplog.text.count("clock skew gateway='hosted'")
    forged = sign("whsec_" + "QUJD" * 8, "evt_1", body, timestamp=int(time.time()) + hour)
    assert deliver(forged, body).status_code == 400

    assert (named, caplog.text.count("clock skew")) == (2, 2)
    assert books() == before
