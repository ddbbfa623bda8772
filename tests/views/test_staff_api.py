"""The API for staff: who may do what, what is told, and what is refused."""

import json
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.lifecycle import apply_update
from django_gatewaypay.models import Capture, Dispute, Refund, Transaction
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import PaymentUpdate, Source, State
from tests.factories import make_order, make_transaction
from tests.invariants import check_books
from tests.views.conftest import bearer, problem

pytestmark = pytest.mark.django_db(transaction=True)

Call = Callable[[Client, uuid.UUID | str], Any]
REFUND = {"amount": "5.00", "currency": "EUR", "reason": "broken on arrival"}


def person(*codenames: str, name: str = "", **fields: Any) -> Client:
    """A browser of somebody who may do this much."""
    user = get_user_model().objects.create_user(name or f"u{uuid.uuid4().hex[:8]}", **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames, content_type__app_label="gatewaypay"))
    client = Client()
    client.force_login(user)
    return client


def chief() -> Client:
    """A browser of somebody who may do everything."""
    return person(is_superuser=True)


def send(client: Client, path: str, body: Any = None, **headers: str) -> Any:
    """POST JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic("POST", f"/payments/transactions/{path}", content, "application/json", headers=named)


def look(client: Client, path: str = "", **query: Any) -> Any:
    return client.get(f"/payments/transactions/{path}", query)


def paid(hosted: GatewayServer, **order: Any) -> Transaction:
    row = services.initiate(str(make_order(**order).pk)).transaction
    hosted.pay(row.gateway_reference)
    return services.refresh(row.pk)


def reserved(hosted: GatewayServer, settings: Any) -> Transaction:
    """Money that waits to be taken."""
    account = settings.GATEWAYPAY["GATEWAYS"]["hosted"] | {"CAPTURE": "manual"}
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"GATEWAYS": {"hosted": account}}
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    return services.refresh(row.pk)


# --- Who may.

#: Every operation, the permissions that it needs, and what it is called with.
OPERATIONS: dict[str, tuple[set[str], Call]] = {
    "list": ({"view_transaction"}, lambda client, _: look(client)),
    "read": ({"view_transaction"}, lambda client, pk: look(client, f"{pk}/")),
    "refresh": ({"view_transaction", "refresh_transaction"}, lambda client, pk: send(client, f"{pk}/refresh/")),
    "cancel": ({"view_transaction", "cancel_transaction"}, lambda client, pk: send(client, f"{pk}/cancel/")),
    "capture": (
        {"view_transaction", "capture_transaction"},
        lambda client, pk: send(client, f"{pk}/capture/", {}),
    ),
    "refund": (
        {"view_transaction", "refund_transaction"},
        lambda client, pk: send(client, f"{pk}/refunds/", REFUND),
    ),
}
ALL = {codename for needs, _ in OPERATIONS.values() for codename in needs}
WRITING = [name for name in OPERATIONS if name not in {"list", "read"}]


def books() -> list[Any]:
    return [list(model.objects.order_by("pk").values()) for model in (Transaction, Refund, Capture)]


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_needs_its_own_permissions(hosted: GatewayServer, name: str) -> None:
    """Nobody, a signed-in shopper, staff without, staff with all but one: 403 for any id, and nothing is touched."""
    needs, call = OPERATIONS[name]
    row = paid(hosted)
    hosted.requests.clear()
    before = books()
    refused = [
        (Client(), "not_authenticated"),
        (person(), "permission_denied"),
        (person(is_staff=True), "permission_denied"),
        *((person(*(ALL - {missing}), is_staff=True), "permission_denied") for missing in needs),
    ]

    for client, code in refused:
        told = [problem(call(client, pk), 403, code) for pk in (row.pk, uuid.uuid4(), "nonsense")]
        assert told[0] == told[1] == told[2]
    assert (books(), hosted.requests) == (before, [])


@pytest.mark.parametrize("name", OPERATIONS)
def test_with_its_permissions_each_operation_is_open(hosted: GatewayServer, name: str) -> None:
    """Whether `is_staff` or not: that is the admin's. An id that is unknown or none is 404, with the same bytes."""
    needs, call = OPERATIONS[name]
    client = person(*needs)
    row = paid(hosted)

    assert call(client, row.pk).status_code in {200, 201, 409}
    if name != "list":
        answers = [call(client, pk) for pk in (uuid.uuid4(), "nonsense", "%00", "0" * 31)]
        assert {answer.content for answer in answers} == {answers[0].content}
        problem(answers[0], 404, "not_found")


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_owner_is_not_staff(hosted: GatewayServer, name: str) -> None:
    """Neither the token nor the guest's cookie nor the session that started the payment opens it."""
    _, call = OPERATIONS[name]
    owner = person()
    order = make_order()
    owner.post("/payments/initiate/", {"order_id": str(order.pk)}, content_type="application/json")
    row = Transaction.objects.get()
    token = Client(headers=bearer(row))
    both = person(*ALL)
    both.defaults.update({"HTTP_AUTHORIZATION": bearer(row)["Authorization"]})

    for client in (owner, token, both):
        assert call(client, row.pk).status_code == 403


@pytest.mark.parametrize("name", WRITING)
def test_a_session_needs_its_csrf_token(hosted: GatewayServer, name: str) -> None:
    """Another site cannot make a member of staff refund."""
    _, call = OPERATIONS[name]
    row = paid(hosted)
    client = chief()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    before = books()

    problem(call(strict, row.pk), 403, "permission_denied")
    assert books() == before


@pytest.mark.parametrize("name", OPERATIONS)
def test_staff_are_limited_too_and_answers_are_not_kept(settings: Any, name: str) -> None:
    """429 by the scope `staff`; no cache holds an answer."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"THROTTLES": {"staff": "1/min"}}
    _, call = OPERATIONS[name]
    client = chief()
    cache.clear()
    first, second = call(client, uuid.uuid4()), call(client, uuid.uuid4())

    problem(second, 429, "throttled")
    assert {answer["Cache-Control"] for answer in (first, second)} == {"no-store"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_another_method_is_refused(name: str) -> None:
    """Reading never writes, and nothing is put or deleted."""
    url = {"list": "", "read": f"{uuid.uuid4()}/", "refund": f"{uuid.uuid4()}/refunds/"}.get(
        name, f"{uuid.uuid4()}/{name}/"
    )
    client = chief()
    taken = "GET" if name in {"list", "read"} else "POST"
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - {taken}:
        problem(client.generic(method, f"/payments/transactions/{url}"), 405)


def test_a_host_with_tokens_of_its_own_gets_401(settings: Any) -> None:
    """As DRF does it: where the host's class has a challenge, who is nobody is asked for credentials."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {
        "AUTHENTICATION": ["rest_framework.authentication.BasicAuthentication"]
    }
    answer = look(Client())

    problem(answer, 401, "not_authenticated")
    assert answer["WWW-Authenticate"].startswith("Basic")


# --- The list.


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [one["id"] for one in answer.json()["results"]]


def test_the_list_is_told_field_by_field(hosted: GatewayServer) -> None:
    """The newest first, what staff know of each, and no secret."""
    older, newer = paid(hosted), make_transaction("held")
    said = look(chief()).json()

    assert [one["id"] for one in said["results"]] == [str(newer.pk), str(older.pk)]
    assert said["next"] is None
    first = said["results"][1]
    assert first == {
        "id": str(older.pk),
        "order_id": older.order_id,
        "gateway": "hosted",
        "description": older.description,
        "amount": "19.99",
        "currency": "EUR",
        "status": "success",
        "state": "success",
        "reason": "",
        "late": False,
        "attention": [],
        "version": older.version,
        "authorized": "0.00",
        "captured": "19.99",
        "refunded": "0.00",
        "refund_status": "none",
        "manual_capture": False,
        "gateway_reference": older.gateway_reference,
        "payment_reference": "",
        "created_at": first["created_at"],
        "updated_at": first["updated_at"],
        "expires_at": first["expires_at"],
    }
    assert said["results"][0]["attention"] == ["mismatch"]
    assert said["results"][0]["reason"] == "amount_mismatch"


def test_pages_follow_each_other_without_a_gap() -> None:
    """Each row once, also where many were made in the same moment, and while new ones come in."""
    moment = timezone.now() - timedelta(minutes=1)
    rows = [make_transaction(created_at=moment - timedelta(seconds=number // 3)) for number in range(10)]
    client, seen, cursor = chief(), [], {}
    while True:
        said = look(client, limit=3, **cursor).json()
        seen += [one["id"] for one in said["results"]]
        make_transaction()
        if said["next"] is None:
            break
        cursor = {"cursor": said["next"]}

    expected = sorted(rows, key=lambda row: (row.created_at, row.pk), reverse=True)
    assert seen == [str(row.pk) for row in expected]


def test_a_cursor_works_where_times_have_no_zone(settings: Any) -> None:
    """USE_TZ off."""
    from django_gatewaypay.serializers import BrowseSerializer, write_cursor

    settings.USE_TZ = False
    place = (timezone.now(), uuid.uuid4())
    sent = BrowseSerializer(data={"cursor": write_cursor(place)})

    assert sent.is_valid()
    assert sent.validated_data["cursor"] == place


def test_a_page_is_one_query_whatever_the_table_holds() -> None:
    """No count, and nothing per row."""
    client = person("view_transaction")
    look(client)

    def queries(count: int) -> list[str]:
        for _ in range(count):
            make_transaction("success")
        with CaptureQueriesContext(connection) as captured:
            look(client, limit=2)
        return [query["sql"] for query in captured if "gatewaypay_transaction" in query["sql"]]

    few, many = queries(2), queries(8)
    assert len(few) == len(many) == 1
    assert "COUNT" not in many[0]


def test_filters_meet(hosted: GatewayServer) -> None:
    """Order, gateway, state, attention, time and what went back; all that are named have to fit."""
    now = timezone.now()
    plain, part, full, part_of_other = (paid(hosted) for _ in range(4))
    for row, amount in ((part, "5.00"), (full, "19.99"), (part_of_other, "1.00")):
        hosted.refund_at_the_console(row.gateway_reference, amount)
        services.refresh(row.pk)
    Transaction.objects.filter(pk=part_of_other.pk).update(gateway="other")
    old = make_transaction("held", created_at=now - timedelta(days=2))
    apply_update(old.pk, PaymentUpdate(), source=Source.SYSTEM, flags=("late",))
    client = chief()

    def found(**query: Any) -> set[str]:
        return set(ids(look(client, **query)))

    def named(*rows: Transaction) -> set[str]:
        return {str(row.pk) for row in rows}

    assert found(order_id=plain.order_id) == named(plain)
    assert found(gateway="other") == named(part_of_other)
    assert found(state="held") == named(old)
    assert found(attention="any") == found(attention="late") == found(attention="mismatch") == named(old)
    assert found(attention="match") == found(attention="a") == set()
    assert found(created_to=(now - timedelta(days=1)).isoformat()) == named(old)
    assert found(created_from=(now - timedelta(days=1)).isoformat()) == named(plain, part, full, part_of_other)
    assert found(refund_status="none") == named(plain, old)
    assert found(refund_status="partial") == named(part, part_of_other)
    assert found(refund_status="full") == named(full)
    assert found(refund_status="partial", gateway="hosted", state="success") == named(part)


def test_a_refund_that_came_back_is_none() -> None:
    """What is told is what is filtered by."""
    row = make_transaction("success")
    Transaction.objects.filter(pk=row.pk).update(refunded_minor=500, undone_minor=500)
    client = chief()

    assert ids(look(client, refund_status="none")) == [str(row.pk)]
    assert ids(look(client, refund_status="partial")) == []
    assert look(client).json()["results"][0]["refund_status"] == "none"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"state": "paid"}, "state"),
        ({"attention": "'; --"}, "attention"),
        ({"refund_status": "some"}, "refund_status"),
        ({"created_from": "yesterday"}, "created_from"),
        ({"created_to": "0001-01-01T00:00:00Z"}, "created_to"),
        ({"created_to": "9999-12-31T23:59:59-12:00"}, "created_to"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": f"{'9' * 17}-{'0' * 32}"}, "cursor"),
        ({"cursor": f"0-{'0' * 32}"}, "cursor"),
        ({"cursor": f"١-{'0' * 32}"}, "cursor"),
        ({"order_id": "a\x00b"}, "order_id"),
        ({"order_id": "x" * 129}, "order_id"),
        ({"page": "2"}, "page"),
        ({"amount": "1"}, "amount"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_by_name(query: dict[str, str], field: str) -> None:
    """422, and never a list of everything."""
    said = problem(look(chief(), **query), 422, "invalid")

    assert list(said["errors"]) == [field]


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({"refund_status": "partial"}, "gatewaypay_refunded"),
        ({"attention": "any"}, "gatewaypay_attention"),
        ({"state": "held"}, "gatewaypay_state"),
        ({"gateway": "hosted"}, "gatewaypay_gateway"),
        ({}, "created_at"),
    ],
)
def test_a_filter_is_answered_by_its_index(query: dict[str, str], index: str) -> None:
    """What PostgreSQL would use in a table that is worth an index."""
    client = chief()
    look(client)
    with CaptureQueriesContext(connection) as captured:
        look(client, **query)
    [sql] = [one["sql"] for one in captured if "gatewaypay_transaction" in one["sql"]]
    with connection.cursor() as cursor:
        # What other tests have left to be vacuumed would count as a small table.
        cursor.execute("TRUNCATE gatewaypay_transaction CASCADE")
        # And what the server noticed of their rows outlives them: that every one is of one gateway, for example.
        cursor.execute("SET allow_system_table_mods = on")
        cursor.execute("DELETE FROM pg_statistic WHERE starelid = 'gatewaypay_transaction'::regclass")
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("SET enable_sort = off")
        cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("RESET ALL")

    assert re.search(rf"Index Scan.* using \w*{index}", plan), plan


# --- One transaction.


def test_a_transaction_is_told_with_all_that_happened(hosted: GatewayServer) -> None:
    """What is left, the refunds and who asked for them, the disputes, and the story in order."""
    row = paid(hosted)
    client = person(*ALL, name="ann")
    send(client, f"{row.pk}/refunds/", REFUND, Idempotency_Key="k1")
    now = timezone.now()
    Dispute.objects.create(
        transaction=row, gateway_reference="dp_1", state="open", amount_minor=1999, currency="EUR",
        reason="fraudulent", due_at=now + timedelta(days=7), opened_at=now, updated_at=now,
    )  # fmt: skip
    said = look(client, f"{row.pk}/").json()

    [refund] = said["refunds"]
    assert (said["left_to_refund"], said["left_to_capture"], said["refund_status"]) == ("14.99", "0.00", "partial")
    assert (said["agreed"], said["captures"], said["next_poll_at"]) == (None, [], None)
    assert (refund["amount"], refund["currency"], refund["state"], refund["reason"]) == (
        "5.00", "EUR", "succeeded", "broken on arrival"
    )  # fmt: skip
    assert (refund["actor"], refund["waits_for_approval"], refund["foreign"]) == ("ann", False, False)
    assert [(one["gateway_reference"], one["amount"], one["state"]) for one in said["disputes"]] == [
        ("dp_1", "19.99", "open")
    ]
    kinds = [one["kind"] for one in said["timeline"]]
    assert kinds[0] == "moved"
    assert {"moved", "refund", "fulfilment"} <= set(kinds)
    assert [one["at"] for one in said["timeline"]] == sorted(one["at"] for one in said["timeline"])
    assert not set(said) & {"token_hash", "idempotency_key", "return_url", "email_digest", "owner_key", "next_action"}


def test_reading_asks_nobody_and_writes_nothing(hosted: GatewayServer) -> None:
    """GET is GET."""
    row = paid(hosted)
    hosted.requests.clear()
    before = books()
    client = chief()
    look(client, f"{row.pk}/")
    look(client)

    assert (books(), hosted.requests) == (before, [])


def test_refresh_asks_the_gateway_in_the_name_of_who_asked(hosted: GatewayServer) -> None:
    """And answers what is true then."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    answer = send(person(*ALL, name="ann"), f"{row.pk}/refresh/", {"reason": "the shopper calls"})

    event = row.events.filter(kind="moved").last()
    assert (answer.status_code, answer.json()["state"]) == (200, "success")
    assert (event.source, event.actor.get_username(), event.note) == ("staff", "ann", "the shopper calls")
    check_books()


def test_refresh_of_a_gateway_that_is_away_is_503(hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Retry-After."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.script(*[Answer.error(503)] * 9)
    answer = send(chief(), f"{row.pk}/refresh/")

    problem(answer, 503, "gateway_unavailable")
    assert answer["Retry-After"]


def test_cancel_closes_and_says_who_and_why(hosted: GatewayServer) -> None:
    """Of an unpaid payment; what is over is 409."""
    row = services.initiate(str(make_order().pk)).transaction
    client = person(*ALL, name="ann")
    first = send(client, f"{row.pk}/cancel/", {"reason": "ordered twice"})
    second = send(client, f"{row.pk}/cancel/", {})

    event = row.events.filter(kind="moved").last()
    assert (first.status_code, first.json()["state"]) == (200, "canceled")
    assert (event.actor.get_username(), event.note) == ("ann", "ordered twice")
    problem(second, 409, "invalid_transition")


# --- Money.


def test_a_refund_is_made_once_however_often_it_is_sent(hosted: GatewayServer) -> None:
    """The same key is the same refund; another amount under it is a conflict, another key another refund."""
    row = paid(hosted)
    client = chief()
    answers = [send(client, f"{row.pk}/refunds/", REFUND, Idempotency_Key="k1") for _ in range(3)]
    conflict = send(client, f"{row.pk}/refunds/", REFUND | {"amount": "6.00"}, Idempotency_Key="k1")
    other = send(client, f"{row.pk}/refunds/", REFUND, Idempotency_Key="k2")

    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.json()["id"] for answer in answers}) == 1
    problem(conflict, 422, "idempotency_conflict")
    assert (other.status_code, Refund.objects.count(), len(hosted.refunds)) == (201, 2, 2)
    check_books()


def test_without_an_amount_all_that_is_left_goes_back(hosted: GatewayServer) -> None:
    """And no more."""
    row = paid(hosted)
    client = chief()
    send(client, f"{row.pk}/refunds/", REFUND)
    rest = send(client, f"{row.pk}/refunds/", {"reason": "the rest"})
    nothing = send(client, f"{row.pk}/refunds/", {"reason": "once more"})

    assert (rest.json()["amount"], look(client, f"{row.pk}/").json()["refund_status"]) == ("14.99", "full")
    problem(nothing, 422, "amount_not_left")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 5}, "amount"),
        ({"amount": 5.0}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": "5,00"}, "amount"),
        ({"amount": "5.001"}, "amount"),
        ({"amount": "-5.00"}, "amount"),
        ({"amount": "0.00"}, "amount"),
        ({"amount": "1e2"}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "٥.00"}, "amount"),
        ({"amount": "9" * 30}, "amount"),
        ({"currency": "USD"}, "amount"),
        ({"currency": "XXXX"}, "currency"),
        ({"currency": "ZZZ"}, "amount"),
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": "x" * 256}, "reason"),
        ({"reason": ["why"]}, "reason"),
        ({"reason": "a\x00b"}, "reason"),
        ({"state": "succeeded"}, "state"),
        ({"transaction_id": str(uuid.uuid4())}, "transaction_id"),
        ({"actor": 1}, "actor"),
    ],
)
def test_a_refund_that_makes_no_sense_is_refused_by_field(
    hosted: GatewayServer, change: dict[str, Any], field: str
) -> None:
    """422, no row, and the gateway hears nothing."""
    row = paid(hosted)
    hosted.requests.clear()
    said = problem(send(chief(), f"{row.pk}/refunds/", REFUND | change), 422, "invalid")

    assert list(said["errors"]) == [field]
    assert (Refund.objects.exists(), hosted.requests) == (False, [])


@pytest.mark.parametrize("missing", ["amount", "currency", "reason"])
def test_what_belongs_together_is_asked_for(hosted: GatewayServer, missing: str) -> None:
    """A number without a currency is no amount, and a reason is always wanted."""
    row = paid(hosted)
    sent = {name: value for name, value in REFUND.items() if name != missing}

    assert list(problem(send(chief(), f"{row.pk}/refunds/", sent), 422, "invalid")["errors"]) == [missing]


@pytest.mark.parametrize("body", [b"[]", b"null", b"17", b'"x"'])
def test_a_body_that_is_no_object_is_refused(hosted: GatewayServer, body: bytes) -> None:
    """Whatever it is."""
    row = paid(hosted)

    problem(send(chief(), f"{row.pk}/refunds/", body), 422, "invalid")


def test_a_body_that_is_not_json_is_refused(hosted: GatewayServer) -> None:
    """400 for broken JSON, 415 for a form, 413 for a novel, 400 for a key that is none."""
    row = paid(hosted)
    client = chief()
    path = f"/payments/transactions/{row.pk}/refunds/"

    problem(send(client, f"{row.pk}/refunds/", b"{"), 400, "parse_error")
    problem(client.post(path, REFUND), 415, "unsupported_media_type")
    problem(send(client, f"{row.pk}/refunds/", b" " * 70_000), 413, "body_too_large")
    problem(send(client, f"{row.pk}/refunds/", REFUND, Idempotency_Key="é"), 400, "parse_error")
    assert not Refund.objects.exists()


def test_too_much_is_422(hosted: GatewayServer) -> None:
    """More than was taken, or more than is left."""
    row = paid(hosted)

    problem(send(chief(), f"{row.pk}/refunds/", REFUND | {"amount": "20.00"}), 422, "amount_not_left")


def test_nothing_taken_is_409(hosted: GatewayServer) -> None:
    """An unpaid payment has nothing to give back, and a paid one nothing to capture."""
    client = chief()
    unpaid, full = services.initiate(str(make_order().pk)).transaction, paid(hosted)

    problem(send(client, f"{unpaid.pk}/refunds/", REFUND), 409, "invalid_transition")
    problem(send(client, f"{full.pk}/capture/", {}), 409, "invalid_transition")


def test_a_refund_without_an_answer_is_told_as_unknown_and_blocks_the_next(
    hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """201: it is in the books. 409 for another one until it is known what became of it."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)
    row = paid(hosted)
    client = chief()
    hosted.script(*[Answer.error(503)] * 9)
    first = send(client, f"{row.pk}/refunds/", REFUND, Idempotency_Key="k1")
    second = send(client, f"{row.pk}/refunds/", REFUND, Idempotency_Key="k2")

    assert (first.status_code, first.json()["state"]) == (201, "unknown")
    problem(second, 409, "movement_in_progress")
    assert second["Retry-After"]


def test_a_gateways_no_is_told_in_the_row(hosted: GatewayServer) -> None:
    """201, state failed, and why; its money is free again."""
    row = paid(hosted)
    client = chief()
    hosted.script(Answer.json({"code": "refund_closed"}, 422))
    said = send(client, f"{row.pk}/refunds/", REFUND).json()

    assert said["state"] == "failed"
    assert said["error"]
    assert look(client, f"{row.pk}/").json()["left_to_refund"] == "19.99"


def test_a_large_refund_waits_for_a_second_person(hosted: GatewayServer, settings: Any) -> None:
    """It says so, and the gateway is not told."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"REFUND_APPROVAL_ABOVE": {"EUR": "4.00"}}
    row = paid(hosted)
    said = send(chief(), f"{row.pk}/refunds/", REFUND).json()

    assert (said["state"], said["waits_for_approval"], said["approver"]) == ("requested", True, None)
    assert not hosted.refunds


def test_reserved_money_is_taken_in_parts(hosted: GatewayServer, settings: Any) -> None:
    """By key, by amount, and the rest at the end."""
    row = reserved(hosted, settings)
    client = chief()
    part = {"amount": "5.00", "currency": "EUR", "final": False}
    first = [send(client, f"{row.pk}/capture/", part, Idempotency_Key="k1").json() for _ in range(2)]
    middle = look(client, f"{row.pk}/").json()
    rest = send(client, f"{row.pk}/capture/", {"reason": "sent"}).json()
    after = look(client, f"{row.pk}/").json()

    assert first[0]["id"] == first[1]["id"]
    assert (first[0]["amount"], first[0]["state"], first[0]["final"]) == ("5.00", "succeeded", False)
    assert (middle["state"], middle["captured"], middle["left_to_capture"]) == ("authorized", "5.00", "14.99")
    assert (rest["amount"], rest["final"], rest["reason"]) == ("14.99", True, "sent")
    assert (after["state"], after["captured"], len(after["captures"])) == ("success", "19.99", 2)
    check_books()


def test_more_than_is_reserved_cannot_be_taken(hosted: GatewayServer, settings: Any) -> None:
    """422; and `final` is a truth value."""
    row = reserved(hosted, settings)
    client = chief()

    problem(send(client, f"{row.pk}/capture/", {"amount": "20.00", "currency": "EUR"}), 422, "amount_not_left")
    assert list(problem(send(client, f"{row.pk}/capture/", {"final": "perhaps"}), 422, "invalid")["errors"]) == [
        "final"
    ]
    assert not Capture.objects.exists()


def test_reserved_money_can_be_let_go(hosted: GatewayServer, settings: Any) -> None:
    """Cancel, on an authorization."""
    row = reserved(hosted, settings)
    said = send(chief(), f"{row.pk}/cancel/", {"reason": "out of stock"}).json()

    assert said["state"] == "canceled"
    assert hosted.sessions[row.gateway_reference]["status"] == "canceled"


def test_what_a_part_is_the_whole_of_needs_a_reason(hosted: GatewayServer, settings: Any) -> None:
    """After a part was taken, letting the rest go is a decision."""
    row = reserved(hosted, settings)
    client = chief()
    send(client, f"{row.pk}/capture/", {"amount": "5.00", "currency": "EUR", "final": False})
    refused = send(client, f"{row.pk}/cancel/", {})
    said = send(client, f"{row.pk}/cancel/", {"reason": "one of two is out of stock"}).json()

    problem(refused, 422, "reason_missing")
    assert (said["state"], said["agreed"], said["captured"]) == ("success", "5.00", "5.00")


def test_a_gateway_that_cannot_is_422(hosted: GatewayServer) -> None:
    """A gateway of the plain protocol that lacks the call."""
    row = paid(hosted)
    hosted.script(Answer.error(404))
    answer = send(chief(), f"{row.pk}/refunds/", REFUND)

    assert answer.status_code in {201, 422}
    assert not hosted.refunds


def test_what_a_person_has_agreed_to_is_told(hosted: GatewayServer) -> None:
    """`agreed` is what counts as the whole."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference, amount="5.00")
    services.refresh(row.pk)
    services.accept(row.pk, reason="good enough", actor=get_user_model().objects.create_user("ann"))
    said = look(chief(), f"{row.pk}/").json()

    assert (said["state"], said["agreed"], said["captured"], said["amount"]) == ("success", "5.00", "5.00", "19.99")


@pytest.mark.parametrize("state", State)
def test_a_transaction_of_any_state_can_be_told(state: State) -> None:
    """List and detail."""
    row = make_transaction(state)
    client = chief()

    assert ids(look(client, state=str(state))) == [str(row.pk)]
    assert look(client, f"{row.pk}/").json()["state"] == str(state)
