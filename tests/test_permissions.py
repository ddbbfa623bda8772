"""Three proofs that a transaction is yours, and who counts as the same client."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core import signing
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import timezone

from django_gatewaypay.permissions import (
    COOKIE,
    COOKIE_SALT,
    RateLimit,
    bearer_token,
    find_owned,
    guest_ids,
    may_see,
    remember_guest,
    seconds_to_wait,
)
from django_gatewaypay.services import access
from tests.factories import make_transaction

pytestmark = pytest.mark.django_db


def cookie_for(*rows: Any) -> dict[str, str]:
    return {COOKIE: signing.dumps([row.pk.hex for row in rows], salt=COOKIE_SALT)}


def member(name: str) -> Any:
    return get_user_model().objects.get_or_create(username=name)[0]


def test_one_proof_is_enough_and_none_is_not() -> None:
    """Session for a user's, cookie for a guest's, token for either; nothing else, and no mixture of halves."""
    ann, bob, nobody = member("ann"), member("bob"), AnonymousUser()
    of_ann, guests = make_transaction(user=ann), make_transaction()
    token = {row: access.mint_token(row.pk) for row in (of_ann, guests)}
    table = [
        (of_ann, ann, "", {}, True),
        (of_ann, nobody, token[of_ann], {}, True),
        (of_ann, None, token[of_ann], {}, True),
        (of_ann, bob, token[of_ann], {}, True),
        (guests, nobody, "", cookie_for(guests), True),
        (guests, bob, "", cookie_for(guests), True),
        (guests, None, "", cookie_for(of_ann, guests), True),
        (of_ann, bob, "", {}, False),
        (of_ann, nobody, "", {}, False),
        (of_ann, nobody, "", cookie_for(of_ann), False),
        (of_ann, bob, token[guests], cookie_for(of_ann), False),
        (guests, ann, "", {}, False),
        (guests, nobody, token[of_ann], cookie_for(of_ann), False),
        (guests, SimpleNamespace(is_authenticated=True, pk=None), "", {}, False),
    ]

    for row, user, given, cookies, expected in table:
        assert may_see(row, user=user, token=given, cookies=cookies) is expected


def test_a_row_without_a_hash_has_no_token() -> None:
    """The empty token does not match the empty hash."""
    assert not access.token_matches("", "")
    assert not access.token_matches("", "x")
    assert not access.token_matches(access.hash_token(""), "")


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer gwp_abc", "gwp_abc"),
        ("bearer gwp_abc", "gwp_abc"),
        ("BEARER gwp_abc", "gwp_abc"),
        ("Bearer abc", ""),
        ("Bearer GWP_abc", ""),
        ("Bearer  gwp_abc", ""),
        ("Token gwp_abc", ""),
        ("gwp_abc", ""),
        ("Bearer", ""),
        ("", ""),
        ("Bearer ghp_" + "x" * 10_000, ""),
    ],
)
def test_only_our_own_bearer_tokens_are_read(header: str, token: str) -> None:
    """A host's own tokens are none of our business."""
    assert bearer_token(header) == token


def test_the_secret_key_may_be_rotated(settings: Any) -> None:
    """A token that was given out under the old key is good, and can be given out again, while it is a fallback."""
    settings.SECRET_KEY = "old"
    row = make_transaction()
    old = access.mint_token(row.pk)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["old"]
    with_fallback = access.mint_known_token(row)
    settings.SECRET_KEY_FALLBACKS = []

    assert access.token_matches(row.token_hash, old)
    assert (with_fallback, access.mint_known_token(row)) == (old, "")


def test_an_old_cookie_is_forgotten(settings: Any, time_machine: Any) -> None:
    """After thirty days the browser is a stranger."""
    row = make_transaction()
    cookies = cookie_for(row)
    before = guest_ids(cookies)
    time_machine.move_to(timezone.now() + timedelta(days=31))

    assert (before, guest_ids(cookies)) == ([row.pk.hex], [])


def test_remembering_moves_to_the_front() -> None:
    """A payment that is started again is the newest one, once."""
    rows = [make_transaction() for _ in range(3)]
    request = RequestFactory().get("/")
    for row in [*rows, rows[0]]:
        response = HttpResponse()
        remember_guest(request, response, row)
        request.COOKIES[COOKIE] = response.cookies[COOKIE].value

    assert guest_ids(request.COOKIES) == [rows[0].pk.hex, rows[2].pk.hex, rows[1].pk.hex]


@pytest.mark.parametrize("text", ["", "x", "{}", "0" * 31, "0" * 33, "é" * 32, "\x00", "None", "../", "0x" + "0" * 32])
def test_what_is_no_id_is_nobodys(text: str) -> None:
    """No query is made for it."""
    assert find_owned(RequestFactory().get("/"), text) is None


@pytest.mark.parametrize(
    ("proxies", "forwarded", "ident"),
    [
        (None, None, "10.9.9.9"),
        (None, "1.1.1.1, 2.2.2.2", "10.9.9.9"),
        (0, "1.1.1.1, 2.2.2.2", "10.9.9.9"),
        (1, "1.1.1.1, 2.2.2.2", "2.2.2.2"),
        (2, "1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (1, None, "10.9.9.9"),
    ],
)
def test_who_counts_as_a_client(settings: Any, proxies: int | None, forwarded: str | None, ident: str) -> None:
    """The address of the connection, or the hop in front of the proxies that the host has counted."""
    settings.REST_FRAMEWORK = {"NUM_PROXIES": proxies}
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    request = RequestFactory(REMOTE_ADDR="10.9.9.9").get("/", headers=headers)

    assert RateLimit().get_ident(request) == ident


def test_waiting_is_told_in_whole_seconds(settings: Any) -> None:
    """At least one, at most the whole period; an unlimited scope never waits."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"THROTTLES": {"page": "1/min"}}
    request = RequestFactory().get("/")

    assert seconds_to_wait(request, "page") == 0
    assert 1 <= seconds_to_wait(request, "page") <= 61
    assert [seconds_to_wait(request, "nothing") for _ in range(3)] == [0, 0, 0]
