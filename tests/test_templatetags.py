"""`{% load gatewaypay %}`: the live status in a host's own template, and amounts as the shopper writes them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.template import Context, RequestContext, Template
from django.test import RequestFactory
from django.utils import translation
from moneyed import Money

from django_gatewaypay.templatetags.gatewaypay import gatewaypay_moment, gatewaypay_money
from tests.factories import make_transaction
from tests.views.test_pages import Page

TAG = "{% load gatewaypay %}{% gatewaypay_status payment %}"
TAG_WITH_TOKEN = "{% load gatewaypay %}{% gatewaypay_status payment token=token %}"


def rendered(template: str = TAG, *, payment: Any, request: Any = None, **context: Any) -> str:
    request = request or RequestFactory().get("/orders/1/")
    return Template(template).render(RequestContext(request, {"payment": payment, **context}))


@pytest.mark.django_db
def test_two_lines_bring_all_that_a_page_needs() -> None:
    """The style, the script, and the words that hold now, without waiting for the script."""
    row = make_transaction("held")
    page = Page(html := rendered(payment=row))

    assert [link["href"] for link in page.find("link")] == ["/static/gatewaypay/gatewaypay.css"]
    assert [(script["type"], script["src"]) for script in page.find("script")] == [
        ("module", "/static/gatewaypay/gatewaypay.js")
    ]
    assert "We are checking your payment" in html
    assert page.status["transaction-id"] == str(row.pk)
    assert "token" not in page.status


@pytest.mark.django_db
def test_the_host_of_another_browser_passes_the_token() -> None:
    """Where no cookie was set, the script proves with it whose payment this is."""
    page = Page(rendered(TAG_WITH_TOKEN, payment=make_transaction(), token='gwp_"x'))

    assert page.status["token"] == 'gwp_"x'


@pytest.mark.django_db
def test_a_payment_that_failed_can_be_tried_again_from_the_page_of_the_host() -> None:
    """Its form has the CSRF token of the page around it."""
    html = rendered(payment=make_transaction("failed"))

    assert "Try again" in html
    assert any(field["name"] == "csrfmiddlewaretoken" and field["value"] for field in Page(html).find("input"))


@pytest.mark.django_db
@pytest.mark.parametrize("way", ["context", "request"])
def test_a_nonce_of_the_host_is_used(way: str) -> None:
    """Django's own policy puts it into the context, django-csp on the request."""
    request: Any = RequestFactory().get("/")
    if way == "request":
        request.csp_nonce = "n0nce"
    page = Page(
        rendered(payment=make_transaction(), request=request, **({"csp_nonce": "n0nce"} if way == "context" else {}))
    )

    assert {tag["nonce"] for tag in [*page.find("script"), *page.find("link")]} == {"n0nce"}


@pytest.mark.django_db
def test_a_template_without_a_request_is_none_to_fear() -> None:
    """E-mails and scripts render templates too."""
    html = Template(TAG).render(Context({"payment": make_transaction("success")}))

    assert "Payment received" in html


@pytest.mark.django_db
def test_what_others_have_written_is_escaped() -> None:
    """The order and the decline reason come from outside."""
    html = rendered(payment=make_transaction("failed", order_id='"><script>alert(1)</script>'))

    assert "<script>alert" not in html


@pytest.mark.parametrize(
    ("language", "amount", "text"),
    [
        ("en", Money("1234.50", "EUR"), "€1,234.50"),
        ("de", Money("1234.50", "EUR"), "1.234,50 €"),
        ("fr", Money("1234.50", "EUR"), "1 234,50 €"),
        ("pt-br", Money("1234.50", "BRL"), "R$ 1.234,50"),
        ("hi", Money("123456.00", "INR"), "₹1,23,456.00"),
        ("ja", Money("2000", "JPY"), "￥2,000"),
        ("zh-hans", Money("20.00", "CNY"), "¥20.00"),
        ("en", Money("1.234", "IQD"), "IQD1.234"),
        ("en", Money("12.500", "KWD"), "KWD12.500"),
        ("tlh", Money("5.00", "USD"), "$5.00"),
    ],
)
def test_an_amount_is_written_as_the_shopper_does(language: str, amount: Money, text: str) -> None:
    """And never rounded: Babel shows the dinar of Iraq without its three digits, unless it is told to keep them."""
    with translation.override(language):
        written = gatewaypay_money(amount)

    assert written.replace("\xa0", " ").replace("\u202f", " ") == text


def test_a_moment_is_written_as_the_shopper_does() -> None:
    """In Django's time zone; a script shows the shopper's own."""
    moment = datetime(2026, 3, 1, 14, 5, tzinfo=UTC)
    with translation.override("de"):
        german = gatewaypay_moment(moment)
    with translation.override("ja"):
        japanese = gatewaypay_moment(moment)

    assert german == "01.03.2026, 14:05:00"
    assert japanese == "2026/03/01 14:05:00"
