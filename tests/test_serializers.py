"""What goes out is an allow-list, and it says the truth in the shopper's words."""

from datetime import UTC, datetime
from typing import Any

import pytest

from django_gatewaypay.models import Transaction
from django_gatewaypay.serializers import (
    InitiateSerializer,
    allowed_origins,
    initiated,
    is_allowed_return,
    public_status,
    timestamp,
)
from tests.factories import make_order, make_transaction

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (1999, "EUR", "19.99"),
        (5, "EUR", "0.05"),
        (123456, "JPY", "123456"),
        (1500, "KWD", "1.500"),
        (100, "USD", "1.00"),
    ],
)
def test_an_amount_is_text_with_the_digits_of_its_currency(minor: int, currency: str, text: str) -> None:
    """No float ever stands between the books and the shopper."""
    row = make_transaction(order=make_order(price_minor=minor, currency=currency))
    said = public_status(row)

    assert (said["amount"], said["currency"]) == (text, currency)


def test_staffs_words_are_not_the_shoppers() -> None:
    """Why a payment is held, what the gateway calls it and who started it stay inside."""
    row = make_transaction("held")
    said = public_status(row)

    assert row.reason == "amount_mismatch"
    assert said["reason"] == "under_review"
    assert not said.keys() & {"attention", "gateway_reference", "payment_reference", "user", "captured", "token_hash"}


def test_the_payment_address_is_for_links_only() -> None:
    """A gateway that wants a form has no address to follow; what to post is in next_action."""
    row = make_transaction()
    link = initiated(row, "gwp_x")
    row.next_action = row.next_action | {"method": "POST", "fields": {"a": "b"}}
    form = initiated(row, "gwp_x")
    row.next_action = None
    neither = initiated(row, "gwp_x")

    assert [said["payment_url"] for said in (link, form, neither)] == ["http://127.0.0.1:9/pay", None, None]
    assert form["next_action"]["fields"] == {"a": "b"}


@pytest.mark.parametrize(
    ("base", "websocket"),
    [
        ("https://shop.example", "wss://shop.example/ws/payments/"),
        ("https://shop.example/", "wss://shop.example/ws/payments/"),
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws/payments/"),
        ("https://http.example", "wss://http.example/ws/payments/"),
    ],
)
def test_the_addresses_are_on_the_public_origin(settings: Any, base: str, websocket: str) -> None:
    """Status and socket by the scheme of BASE_URL."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"BASE_URL": base}
    said = public_status(row := make_transaction())

    assert said["websocket_url"] == f"{websocket}{row.pk}/"
    assert said["status_url"] == f"{base.rstrip('/')}/payments/status/{row.pk}/"


def test_times_are_in_utc(settings: Any) -> None:
    """Whatever zone the host lives in, and whether or not it stores zones."""
    settings.TIME_ZONE = "Asia/Kolkata"
    aware = timestamp(datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC))
    naive = timestamp(datetime(2030, 1, 2, 8, 34, 5))  # noqa: DTZ001 - what a host with USE_TZ = False stores

    assert aware == naive == "2030-01-02T03:04:05Z"


def test_a_form_may_carry_its_csrf_token() -> None:
    """It is the one name that is let through unread."""
    wish = InitiateSerializer(data={"order_id": "1", "csrfmiddlewaretoken": "x"})

    assert wish.is_valid()
    assert wish.validated_data == {"order_id": "1", "gateway": "", "return_url": ""}


def test_an_origin_is_all_of_scheme_host_and_port(settings: Any) -> None:
    """Paths of the settings do not matter, ports do."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {
        "BASE_URL": "https://shop.example/",
        "RETURN_ORIGINS": ["https://app.example:8443", "http://localhost:3000/x"],
    }

    assert allowed_origins() == {"https://shop.example", "https://app.example:8443", "http://localhost:3000"}
    assert is_allowed_return("http://localhost:3000/done")
    assert not is_allowed_return("http://localhost:3001/done")


def test_a_host_without_a_base_url_returns_to_paths_only(settings: Any) -> None:
    """No origin is no wild card."""
    settings.GATEWAYPAY = {}

    assert is_allowed_return("/done")
    assert not [url for url in ("://", "https://", "//", ":///x", "https:///x") if is_allowed_return(url)]


def test_every_state_can_be_told() -> None:
    """There is no row that breaks the answer."""
    for state in Transaction._meta.get_field("state").choices or []:
        assert public_status(make_transaction(state[0]))["status"] in {"pending", "success", "failure"}
