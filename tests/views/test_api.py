"""The JSON API: what it takes, what it refuses by name, and who may see what."""

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone

from django_gatewaypay.conf import GatewayPaySettings
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.models import Transaction
from django_gatewaypay.permissions import COOKIE
from django_gatewaypay.services import access
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from tests.example.running import within
from tests.factories import make_order, make_transaction
from tests.views.conftest import Post, bearer, problem

pytestmark = pytest.mark.django_db(transaction=True)

FIELDS = {
    "id", "order_id", "gateway", "amount", "currency", "status", "state", "reason", "late", "version", "expires_at",
    "payment_url", "next_action", "status_url", "websocket_url", "token",
}  # fmt: skip
FORM = "application/x-www-form-urlencoded"
SECRETS = {"payment_url", "next_action", "token"}


class EuroGateway(HostedGateway):
    """An account that takes one currency."""

    currencies = frozenset({"EUR"})


def ask(order: Any = None, **more: Any) -> dict[str, Any]:
    return {"order_id": str((order or make_order()).pk), **more}


def member(name: str = "ann") -> Any:
    return get_user_model().objects.get_or_create(username=name)[0]


# --- Initiation.


def test_a_payment_is_started_and_answered_in_full(hosted: GatewayServer, initiate: Post) -> None:
    """201 with exactly the documented fields, none of them to be cached."""
    order = make_order()
    response = initiate(ask(order))
    said = response.json()

    row = Transaction.objects.get()
    assert response.status_code == 201
    assert said.keys() == FIELDS
    assert said == {
        "id": str(row.pk),
        "order_id": str(order.pk),
        "gateway": "hosted",
        "amount": "19.99",
        "currency": "EUR",
        "status": "pending",
        "state": "pending",
        "reason": "",
        "late": False,
        "version": 1,
        "expires_at": said["expires_at"],
        "payment_url": f"{hosted.url}pay/{row.gateway_reference}",
        "next_action": {
            "type": "redirect", "method": "GET", "url": f"{hosted.url}pay/{row.gateway_reference}", "fields": {}
        },
        "status_url": f"https://shop.example/payments/status/{row.pk}/",
        "websocket_url": f"wss://shop.example/ws/payments/{row.pk}/",
        "token": access.mint_token(row.pk),
    }  # fmt: skip
    assert said["expires_at"].endswith("Z")
    assert (response["Cache-Control"], response["Content-Type"]) == ("no-store", "application/json")


REFUSED_NAMES = ["amount", "price", "currency", "state", "status", "paid", "captured", "user", "late", "id", "token"]


@pytest.mark.parametrize("name", [*REFUSED_NAMES, "x" * 5000, ""])
def test_what_is_not_the_shoppers_to_say_is_refused_by_name(hosted: GatewayServer, initiate: Post, name: str) -> None:
    """The price and the state are not the browser's; the field is named, nothing starts."""
    said = problem(initiate(ask(**{name: "0.01"})), 422, "invalid")

    assert list(said["errors"]) == [name[:64]]
    assert not Transaction.objects.exists()
    assert not hosted.requests


WRONG_LISTS: list[Any] = [[], ["1"], {}, {"a": 1}, True, None, [[[]]]]
WRONG_VALUES = [*WRONG_LISTS, "", " ", "a\x00b", "\x00", "\ud800", "x" * 10_000]


@pytest.mark.parametrize("value", WRONG_VALUES, ids=range(len(WRONG_VALUES)))
@pytest.mark.parametrize("field", ["order_id", "gateway", "return_url"])
def test_a_wrong_value_is_refused_by_field(hosted: GatewayServer, initiate: Post, field: str, value: Any) -> None:
    """Lists, objects, truth values, null, NUL bytes, half characters and novels are no text."""
    if field != "order_id" and isinstance(value, str) and not value.strip():
        pytest.skip("an optional field may be empty")
    said = problem(initiate(ask() | {field: value}), 422, "invalid")

    assert list(said["errors"]) == [field]
    assert not Transaction.objects.exists()


@pytest.mark.parametrize("name", ["\ud800", "\x00", "a\nb", "ü", "🦊"])
def test_a_strange_name_is_refused_like_any_other(initiate: Post, name: str) -> None:
    """A name that cannot even be written in UTF-8 is bad input and no crash."""
    problem(initiate(ask(**{name: "1"})), 422, "invalid")


def test_a_number_is_as_good_as_its_digits(hosted: GatewayServer, initiate: Post) -> None:
    """A front end that holds its order ids as numbers is understood."""
    order = make_order()
    said = initiate({"order_id": order.pk}).json()

    assert said["order_id"] == str(order.pk)


BODIES: list[tuple[bytes, int]] = [
    (b"{", 400),
    (b"not json", 400),
    (b'{"order_id": NaN}', 400),
    (b'{"order_id": 1e999}', 404),
    (b'{"order_id": ' + b"9" * 5000 + b"}", 400),
    (b"\xff\xfe\x00", 400),
    (b"[" * 60_000, 400),
    (b'{"a":' * 12_000, 400),
    (b"[" * 30_000 + b"]" * 30_000, 400),
    (b"[]", 422),
    (b"null", 422),
    (b"17", 422),
    (b'"text"', 422),
    (b"true", 422),
    (b"{}", 422),
    (b"", 422),
    (b'{"order_id": "1", "padding": "' + b"x" * 10_000_000 + b'"}', 413),
    (b"x" * (64 * 1024 + 1), 413),
]


@pytest.mark.parametrize(("body", "status"), BODIES, ids=range(len(BODIES)))
def test_a_body_that_is_no_request_is_a_problem(initiate: Post, body: bytes, status: int) -> None:
    """Whatever arrives is answered with a problem document, never with a crash."""
    problem(initiate(body), status)

    assert not Transaction.objects.exists()


@pytest.mark.parametrize(
    "content_type", ["text/plain", "text/html", "application/xml", "multipart/form-data; boundary=x", "json", "/"]
)
def test_another_content_type_is_refused(initiate: Post, content_type: str) -> None:
    """JSON and plain forms are what is read; the refusal is for programs."""
    problem(initiate(b'{"order_id": "1"}', Content_Type=content_type), 415)


@pytest.mark.parametrize("charset", ["zlib", "rot13", "hex", "bz2", "utf-16", "nonsense", "idna", "undefined"])
def test_a_charset_is_not_taken_at_its_word(hosted: GatewayServer, initiate: Post, charset: str) -> None:
    """JSON is UTF-8; Python's other codecs are not the client's to choose."""
    response = initiate(ask(), Content_Type=f"application/json; charset={charset}")

    assert response.status_code == 201


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "options"])
def test_only_post_starts_a_payment(client: Client, method: str) -> None:
    """Other methods are refused as a problem that names the right one."""
    response = getattr(client, method)("/payments/initiate/")
    problem(response, 405)

    assert "POST" in response["Allow"]


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*", "nonsense", ""])
@pytest.mark.parametrize("query", ["", "?format=xml", "?format=api"])
def test_whatever_is_asked_for_the_answer_is_json(client: Client, accept: str, query: str) -> None:
    """There is one representation, so there is nothing to negotiate."""
    response = client.get(f"/payments/gateways/{query}", headers={"accept": accept})

    assert (response.status_code, response["Content-Type"]) == (200, "application/json")


def euro_only(settings: Any) -> None:
    settings.GATEWAYPAY["GATEWAYS"]["hosted"]["BACKEND"] = f"{__name__}.EuroGateway"


def test_refusals_say_why(hosted: GatewayServer, initiate: Post, settings: Any) -> None:
    """Unknown gateway, unknown order, the host's own words, and a currency that the account does not take."""
    euro_only(settings)
    table = [
        (ask(gateway="nowhere"), 422, "unknown_gateway", "There is no gateway 'nowhere'."),
        ({"order_id": "99999999"}, 404, "order_not_found", "There is no such order."),
        ({"order_id": "no-number"}, 404, "order_not_found", "There is no such order."),
        (ask(make_order(mood="refuse")), 422, "order_not_payable", "This order is paid already."),
        (ask(make_order(price_minor=0)), 422, "order_not_payable", "The order has no payable amount."),
        (ask(make_order(currency="USD")), 422, "order_not_payable", "Hosted does not take USD."),
    ]
    found = [(problem(initiate(body), status, code), detail) for body, status, code, detail in table]

    assert [said["detail"] for said, _ in found] == [detail for _, detail in found]
    assert not Transaction.objects.exists()
    assert not hosted.requests


def test_the_same_key_is_answered_alike(hosted: GatewayServer, initiate: Post) -> None:
    """A retry after a lost answer gets the same 201, and opens nothing."""
    body = ask()
    first = initiate(body, Idempotency_Key="k-1")
    again = initiate(body, Idempotency_Key="k-1")

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert len(hosted.requests) == 1


def test_the_same_key_for_another_request_is_a_conflict(hosted: GatewayServer, initiate: Post) -> None:
    """A key stands for one request."""
    initiate(ask(), Idempotency_Key="k-1")

    problem(initiate(ask(), Idempotency_Key="k-1"), 422, "idempotency_conflict")


def test_a_key_in_flight_is_told_to_come_back(hosted: GatewayServer, initiate: Post) -> None:
    """409 with Retry-After, and the gateway hears nothing of it."""
    row = make_transaction("created", claimed_until=timezone.now() + timedelta(seconds=30))
    response = initiate({"order_id": row.order_id})
    said = problem(response, 409, "payment_in_progress")

    assert int(response["Retry-After"]) >= 1
    assert said["id"] == str(row.pk)
    assert not hosted.requests


@pytest.mark.parametrize("key", ["k" * 256, "kö", "k\x01", "k\tk", "k\x7f"])
def test_a_key_that_cannot_be_kept_is_refused(initiate: Post, key: str) -> None:
    """255 printable ASCII characters at most."""
    problem(initiate(ask(), Idempotency_Key=key), 400)

    assert not Transaction.objects.exists()


@pytest.mark.parametrize("key", ["k" * 255, "k k", '"quoted"', "", "~!%s{}"])
def test_a_key_may_be_any_printable_text(hosted: GatewayServer, initiate: Post, key: str) -> None:
    """How a client makes its keys is its own business."""
    assert initiate(ask(), Idempotency_Key=key).status_code == 201


@pytest.mark.parametrize(
    ("answer", "code", "more"),
    [
        (Answer.error(402, "card_declined"), "gateway_declined", {"decline_code": "declined"}),
        (Answer.error(422, "bad_amount"), "gateway_rejected", {}),
    ],
)
def test_a_definite_no_names_the_failed_payment(
    hosted: GatewayServer, initiate: Post, answer: Answer, code: str, more: dict[str, str]
) -> None:
    """422 with the id, so that the page can show what happened."""
    hosted.script(answer)
    said = problem(initiate(ask()), 422, code)

    row = Transaction.objects.get()
    assert (row.state, said["id"]) == ("failed", str(row.pk))
    assert said.items() >= more.items()


@pytest.mark.parametrize(
    ("answer", "retry_after"),
    [(Answer.error(503), "5"), (Answer.closed(), "5"), (Answer.lost(), "5"), (Answer.busy("7"), "7")],
    ids=["busy", "closed", "lost", "asked to wait"],
)
def test_no_answer_is_an_unknown_outcome(
    hosted: GatewayServer, initiate: Post, answer: Answer, retry_after: str
) -> None:
    """503 with Retry-After and the id, the row stays created; the same key then succeeds with one session."""
    body = ask()
    hosted.script(*[answer] * 3)
    response = initiate(body, Idempotency_Key="k")
    said = problem(response, 503, "gateway_unavailable")
    waiting = Transaction.objects.get()
    retried = initiate(body, Idempotency_Key="k")

    assert response["Retry-After"] == retry_after
    assert (waiting.state, said["id"]) == ("created", str(waiting.pk))
    assert (retried.status_code, retried.json()["id"]) == (201, said["id"])
    assert len(hosted.sessions) == 1


def test_a_gateway_that_hangs_is_cut(hosted: GatewayServer, initiate: Post, settings: Any) -> None:
    """The shopper waits for our patience, not for the gateway's."""
    settings.GATEWAYPAY["GATEWAYS"]["hosted"]["OPTIONS"]["timeout"] = (1, 0.2)

    def call() -> None:
        hosted.script(*[Answer.hang(60)] * 3)
        problem(initiate(ask()), 503, "gateway_unavailable")

    within(5, call)


def test_a_payment_address_that_would_break_our_policy_is_no_answer(hosted: GatewayServer, initiate: Post) -> None:
    """A port that is none would carry words into the page's Content-Security-Policy."""
    hosted.script(Answer.json({"reference": "r", "payment_url": "http://127.0.0.1:9;script-src *;/"}))

    problem(initiate(ask()), 503, "gateway_unavailable")


GOOD_RETURNS = ["", "/", "/orders/1", "/orders/1?a=b#c", "https://shop.example/thanks", "https://app.example:8443/x"]
BAD_RETURNS = [
    "//evil.example", "///evil.example", "////evil", "https:evil.example", "https:/evil.example", "https:///evil.example",
    "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:x",
    "https://shop.example@evil.example/", "https://user:pw@shop.example/", "/orders@evil", "https://shop.example:443@evil/",
    "/ok\r\nSet-Cookie: a=b", "/ok\nX: y", "/ok\tx", "/ok\x00", "\\\\evil.example", "/\\evil.example", "\\evil",
    "https://shop.example\\.evil.example/", "https://shöp.example/", "https://ѕhop.example/", "https://shop.example。evil/",
    "https://evil.example/", "https://shop.example.evil.example/", "https://notshop.example/", "https://www.shop.example/",
    "http://shop.example/", "https://shop.example:444/", "https://app.example/", "http://app.example:8443/",
    "https://[::1", "orders/1", "?a=b", "#x", ".", "shop.example", "/" + "x" * 10_240, " https://evil.example",
    "/ /evil",
]  # fmt: skip


@pytest.mark.parametrize("url", GOOD_RETURNS)
def test_a_shopper_may_return_to_the_host(hosted: GatewayServer, initiate: Post, settings: Any, url: str) -> None:
    """A path of the site, its own origin, and the origins that it has named."""
    settings.GATEWAYPAY["RETURN_ORIGINS"] = ["https://app.example:8443"]

    assert initiate(ask(return_url=url)).status_code == 201
    assert Transaction.objects.get().return_url == url


@pytest.mark.parametrize("url", BAD_RETURNS, ids=range(len(BAD_RETURNS)))
def test_a_shopper_is_led_nowhere_else(hosted: GatewayServer, initiate: Post, settings: Any, url: str) -> None:
    """Everything that a browser might take for another place is refused."""
    settings.GATEWAYPAY["RETURN_ORIGINS"] = ["https://app.example:8443"]
    said = problem(initiate(ask(return_url=url)), 422, "invalid")

    assert list(said["errors"]) == ["return_url"]
    assert not Transaction.objects.exists()


# --- Plain forms.


def test_a_form_leads_to_the_pay_page(hosted: GatewayServer, client: Client) -> None:
    """303, with the cookie by which this browser sees its payment again."""
    response = client.post("/payments/initiate/", f"order_id={make_order().pk}&return_url=/orders/1", FORM)
    row = Transaction.objects.get()

    assert (response.status_code, response["Location"]) == (303, f"/payments/pay/{row.pk}/")
    assert client.get(response["Location"]).status_code == 200
    cookie = response.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")


def test_a_form_needs_its_csrf_token(hosted: GatewayServer) -> None:
    """Another site cannot start a payment in a visitor's browser; guests are guarded like users."""
    strict = Client(enforce_csrf_checks=True)
    order = make_order()
    refused = strict.post("/payments/initiate/", f"order_id={order.pk}", FORM)
    strict.cookies["csrftoken"] = token = "t" * 32
    accepted = strict.post("/payments/initiate/", f"order_id={order.pk}&csrfmiddlewaretoken={token}", FORM)

    assert (refused.status_code, accepted.status_code) == (403, 303)
    assert refused["Content-Type"].startswith("text/html")


def test_a_made_up_token_does_not_stand_for_a_csrf_token(hosted: GatewayServer) -> None:
    """With a bearer token nobody is signed in, so there is nobody to be tricked."""
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(member())
    body = f"order_id={make_order().pk}"
    strict.post("/payments/initiate/", body, FORM, headers={"Authorization": "Bearer gwp_x"})

    assert Transaction.objects.get().user is None


def test_a_session_that_posts_json_needs_its_csrf_token(hosted: GatewayServer) -> None:
    """A signed-in user's browser is not to be used by other sites."""
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(member())
    response = strict.post("/payments/initiate/", json.dumps(ask()), "application/json")

    problem(response, 403)
    assert not Transaction.objects.exists()


def test_a_form_that_fails_is_answered_for_people(hosted: GatewayServer, client: Client, settings: Any) -> None:
    """A page with the same status, the same Retry-After, and no JSON."""
    in_flight = make_transaction("created", claimed_until=timezone.now() + timedelta(seconds=30))
    table = [
        ("order_id=99999", 404, "This order cannot be found, or it is not yours."),
        (f"order_id={make_order(mood='refuse').pk}", 422, "This order is paid already."),
        ("gateway=", 422, "The request has invalid fields."),
        (f"order_id={make_order().pk}&amount=1", 422, "The request has invalid fields."),
        (f"order_id={in_flight.order_id}", 409, "being prepared right now"),
        (f"order_id={'x' * 70_000}", 413, "too large"),
    ]
    found = [(client.post("/payments/initiate/", body, FORM), status, text) for body, status, text in table]
    hosted.script(*[Answer.error(503)] * 3)
    silent = client.post("/payments/initiate/", f"order_id={make_order().pk}", FORM)
    settings.GATEWAYPAY["THROTTLES"] = {"initiate": "1/hour"}
    cache.clear()
    throttled = [client.post("/payments/initiate/", "order_id=99999", FORM) for _ in range(2)][-1]

    for response, status, text in [
        *found,
        (silent, 503, "gives no answer"),
        (throttled, 429, "You have tried very often."),
    ]:
        assert (response.status_code, response["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert text in response.text
        assert "default-src 'none'" in response["Content-Security-Policy"]
    assert {response.has_header("Retry-After") for response in (found[4][0], silent, throttled)} == {True}


# --- Status.


def test_the_owner_sees_the_status(hosted: GatewayServer) -> None:
    """A user by session, anybody by token, a guest by the browser's cookie; without the secrets of the start."""
    ann, guest = Client(), Client()
    ann.force_login(member())
    of_ann = make_transaction(user=member())
    started = guest.post("/payments/initiate/", ask(), "application/json").json()
    of_guest = Transaction.objects.get(pk=started["id"])
    seen = [
        ann.get(f"/payments/status/{of_ann.pk}/"),
        Client().get(f"/payments/status/{of_ann.pk}/", headers=bearer(of_ann)),
        Client().get(f"/payments/status/{of_guest.pk}/", headers=bearer(of_guest)),
        guest.get(f"/payments/status/{of_guest.pk}/"),
    ]

    assert [response.status_code for response in seen] == [200] * 4
    assert {frozenset(response.json()) for response in seen} == {frozenset(FIELDS - SECRETS)}
    assert {response["Cache-Control"] for response in seen} == {"no-store"}
    assert seen[3].json() == {name: value for name, value in started.items() if name not in SECRETS}


def visitors() -> list[tuple[Client, dict[str, str]]]:
    """Everybody who is not the owner."""
    bob, guest = Client(), Client()
    bob.force_login(member("bob"))
    other = make_transaction()
    guest.cookies[COOKIE] = "tampered:cookie"
    return [(Client(), {}), (bob, {}), (guest, {}), (Client(), bearer(other)), (bob, bearer(other))]


@pytest.mark.parametrize("verb", ["status", "cancel"])
def test_not_yours_and_not_there_are_the_same(verb: str) -> None:
    """Unknown, malformed, foreign and token-less ids get identical bytes and headers."""
    mine, guests = make_transaction(user=member()), make_transaction()
    ids = [str(mine.pk), str(guests.pk), str(uuid.uuid4()), "x", "0", "%00", "a" * 2000, "💶", mine.pk.hex]

    for client, headers in visitors():
        method = client.get if verb == "status" else client.post
        answers = [method(f"/payments/{verb}/{text}/", headers=headers) for text in ids]
        assert {answer.status_code for answer in answers} == {404}
        assert len({(answer.content, tuple(sorted(answer.headers.items()))) for answer in answers}) == 1
    assert not Transaction.objects.filter(state="canceled").exists()


def wrong_tokens(row: Transaction) -> list[str]:
    right = access.mint_token(row.pk)
    other = access.mint_token(uuid.uuid4())
    return [
        f"Bearer {right[:-1]}", f"Bearer {right}x", f"Bearer {right.lower()}", f"Bearer {other}", "Bearer gwp_",
        f"Basic {right}", right, f"Token {right}", f"Bearer  {right}", f"Bearer {right} {right}", "Bearer ",
        f"Bearer {row.token_hash}",
    ]  # fmt: skip


def test_a_token_that_is_not_the_one_shows_nothing() -> None:
    """Truncated, longer, another case, another payment's, the stored hash itself: all 404."""
    row = make_transaction()
    tokens = wrong_tokens(row)
    answers = [Client().get(f"/payments/status/{row.pk}/", headers={"Authorization": token}) for token in tokens]

    assert [answer.status_code for answer in answers] == [404] * len(tokens)


def test_a_revoked_token_shows_nothing() -> None:
    """The hash in the database decides."""
    row = make_transaction()
    Transaction.objects.update(token_hash="")

    assert Client().get(f"/payments/status/{row.pk}/", headers=bearer(row)).status_code == 404


def test_an_expired_token_shows_nothing(client: Client) -> None:
    """After thirty days it answers like an unknown one."""
    row = make_transaction()
    alive = client.get(f"/payments/status/{row.pk}/", headers=bearer(row)).status_code
    Transaction.objects.update(created_at=timezone.now() - timedelta(days=30))
    expired = client.get(f"/payments/status/{row.pk}/", headers=bearer(row))
    unknown = client.get(f"/payments/status/{uuid.uuid4()}/", headers=bearer(row))

    assert (alive, expired.status_code) == (200, 404)
    assert expired.content == unknown.content


def test_a_token_costs_one_query(client: Client, django_assert_num_queries: Any) -> None:
    """Polling a status is one indexed read."""
    row = make_transaction()

    with django_assert_num_queries(1):
        client.get(f"/payments/status/{row.pk}/", headers=bearer(row))


def test_an_owner_who_is_gone_leaves_no_door(client: Client) -> None:
    """A deleted user's payment belongs to no session, and to no guest that has not its token."""
    row = make_transaction(user=member())
    client.force_login(member())
    member().delete()

    assert client.get(f"/payments/status/{row.pk}/").status_code == 404


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [
        ("created", "pending", ""),
        ("processing", "pending", ""),
        ("authorized", "pending", "authorized"),
        ("held", "pending", "under_review"),
        ("success", "success", ""),
        ("failed", "failure", "declined"),
        ("canceled", "failure", "canceled"),
        ("expired", "failure", "expired"),
    ],
)
def test_a_shopper_is_told_three_words(client: Client, state: str, status: str, reason: str) -> None:
    """Each state is one of pending, success and failure, with a reason where there is one."""
    row = make_transaction(state)
    said = client.get(f"/payments/status/{row.pk}/", headers=bearer(row)).json()

    assert (said["state"], said["status"], said["reason"]) == (state, status, reason)


# --- Cancel.


@pytest.mark.parametrize("by", ["session", "token", "cookie"])
def test_the_owner_cancels(hosted: GatewayServer, initiate: Post, by: str) -> None:
    """Closed at the gateway and here, by whichever proof; the ledger knows the user who was signed in."""
    client = Client()
    if by != "cookie":
        client.force_login(member())
    row = Transaction.objects.get(pk=initiate(ask(), by=client).json()["id"])
    headers = bearer(row) if by == "token" else {}
    response = (Client() if by == "token" else client).post(f"/payments/cancel/{row.pk}/", headers=headers)

    assert (response.status_code, response.json()["state"]) == (200, "canceled")
    assert hosted.sessions[row.gateway_reference]["status"] == "canceled"
    event = row.events.last()
    assert (event.source, event.actor) == ("cancel", member() if by == "session" else None)


@pytest.mark.parametrize("state", ["processing", "authorized", "held", "success", "failed", "canceled", "expired"])
def test_what_is_decided_or_with_the_bank_cannot_be_canceled(client: Client, state: str) -> None:
    """409, and the row stays as it is."""
    row = make_transaction(state)

    problem(client.post(f"/payments/cancel/{row.pk}/", headers=bearer(row)), 409, "invalid_transition")
    assert Transaction.objects.get().state == state


def test_a_gateway_that_is_away_cannot_be_canceled_at(hosted: GatewayServer, initiate: Post, client: Client) -> None:
    """503 with Retry-After: the session may still be paid, so it is not told as canceled."""
    row = Transaction.objects.get(pk=initiate(ask()).json()["id"])
    hosted.script(*[Answer.error(503)] * 3)
    response = client.post(f"/payments/cancel/{row.pk}/")

    problem(response, 503, "gateway_unavailable")
    assert response["Retry-After"] == "5"
    assert Transaction.objects.get().state == "pending"


def test_what_was_paid_meanwhile_is_not_canceled(hosted: GatewayServer, initiate: Post, client: Client) -> None:
    """The gateway's word counts: the answer says success."""
    row = Transaction.objects.get(pk=initiate(ask()).json()["id"])
    hosted.pay(row.gateway_reference)

    assert client.post(f"/payments/cancel/{row.pk}/").json()["status"] == "success"


def test_reading_never_cancels(client: Client) -> None:
    """State changes by POST alone."""
    row = make_transaction()

    problem(client.get(f"/payments/cancel/{row.pk}/", headers=bearer(row)), 405)


# --- Gateways.


def test_the_gateways_on_offer_depend_on_the_currency(client: Client, settings: Any) -> None:
    """Without a currency all of them; no option and no secret of theirs is told."""
    options = settings.GATEWAYPAY["GATEWAYS"]["hosted"]["OPTIONS"]
    settings.GATEWAYPAY = settings.GATEWAYPAY | {
        "GATEWAYS": {
            "any": settings.GATEWAYPAY["GATEWAYS"]["hosted"],
            "euro": {"BACKEND": f"{__name__}.EuroGateway", "OPTIONS": options},
        }
    }
    found = {
        query: [entry["alias"] for entry in client.get(f"/payments/gateways/{query}").json()]
        for query in ("", "?currency=EUR", "?currency=eur", "?currency=USD")
    }

    assert list(found.values()) == [["any", "euro"], ["any", "euro"], ["any", "euro"], ["any"]]
    assert client.get("/payments/gateways/").json()[0] == {"alias": "any", "name": "Hosted", "test_mode": False}


@pytest.mark.parametrize("currency", ["EU", "EURO", "E1R", "€€€", "' OR 1=1", "%00%00%00"])
def test_a_currency_that_is_none_is_bad_input(client: Client, currency: str) -> None:
    """Three letters."""
    problem(client.get("/payments/gateways/", {"currency": currency}), 422, "invalid")


# --- Limits.


def throttle(settings: Any, **rates: str | None) -> None:
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"THROTTLES": rates}


@pytest.mark.parametrize("proxies", [None, 0])
def test_whoever_asks_too_often_waits(client: Client, settings: Any, proxies: int | None) -> None:
    """429 with Retry-After; a forwarded address that the client made up lifts nothing."""
    throttle(settings, status="2/min")
    settings.REST_FRAMEWORK = {"NUM_PROXIES": proxies}
    answers = [
        client.get("/payments/gateways/", headers={"X-Forwarded-For": f"10.0.0.{number}"}) for number in range(3)
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    problem(answers[2], 429, "throttled")
    assert 1 <= int(answers[2]["Retry-After"]) <= 61


def test_counted_proxies_tell_clients_apart(client: Client, settings: Any) -> None:
    """With NUM_PROXIES = 1 the last hop's word counts, and what the client wrote before it does not."""
    throttle(settings, status="1/min")
    settings.REST_FRAMEWORK = {"NUM_PROXIES": 1}

    def status(forwarded: str) -> int:
        return client.get("/payments/gateways/", headers={"X-Forwarded-For": forwarded}).status_code

    assert [status("10.0.0.1"), status("10.0.0.2"), status("6.6.6.6, 10.0.0.1")] == [200, 200, 429]


def test_addresses_are_counted_apart_and_limits_too(client: Client, settings: Any) -> None:
    """One address does not spend another's allowance, nor one scope another's; None lifts a limit."""
    throttle(settings, status="1/min", initiate=None)

    def status(address: str) -> int:
        return client.get("/payments/gateways/", REMOTE_ADDR=address).status_code

    assert [status("10.1.1.1"), status("10.1.1.2"), status("10.1.1.1")] == [200, 200, 429]
    assert {client.post("/payments/initiate/", "{}", "application/json").status_code for _ in range(100)} == {422}


def test_the_limits_are_on_by_default(client: Client, hosted: GatewayServer) -> None:
    """A host that says nothing has limits."""
    assert GatewayPaySettings().THROTTLES.keys() == {"initiate", "status", "page", "lookup", "staff"}

    answers = [client.post("/payments/initiate/", "{}", "application/json").status_code for _ in range(61)]
    assert (answers[:60], answers[60]) == ([422] * 60, 429)


def test_a_database_without_rows_costs_no_surprise(client: Client) -> None:
    """An empty installation answers 404 and an empty list of nothing."""
    with connection.cursor():
        assert client.get(f"/payments/status/{uuid.uuid4()}/").status_code == 404


# --- The host's own ways to sign in.


def test_the_hosts_own_token_classes_are_asked(hosted: GatewayServer, initiate: Post, settings: Any) -> None:
    """A wrong password of theirs is their 401, as a problem with their challenge; our bearer tokens pass them by."""
    settings.GATEWAYPAY["AUTHENTICATION"] = ["rest_framework.authentication.BasicAuthentication"]
    row = make_transaction()
    refused = initiate(ask(), Authorization="Basic bm9ib2R5Om5vdGhpbmc=")
    seen = Client().get(f"/payments/status/{row.pk}/", headers=bearer(row))

    problem(refused, 401, "authentication_failed")
    assert refused["WWW-Authenticate"].startswith("Basic")
    assert seen.status_code == 200
