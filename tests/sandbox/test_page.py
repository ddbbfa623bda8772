"""The hosted page does what its buttons say, for people and for scripts, and gives nothing away."""

from typing import Any

import pytest
from django.test import Client

from django_gatewaypay.sandbox.decisions import Action, decide
from django_gatewaypay.sandbox.models import DisputeWord, Mode, RefundPlan, SandboxDelivery, SandboxPayment

pytestmark = pytest.mark.django_db

BANNER = "no money moves"


@pytest.fixture
def script() -> Client:
    """A script without cookies or CSRF token."""
    return Client(enforce_csrf_checks=True)


def address(payment: SandboxPayment) -> str:
    return f"/sandbox/pay/{payment.reference}/"


def test_the_page_shows_what_is_paid(script: Client, payment: SandboxPayment) -> None:
    """Amount, currency and the escaped description, under a banner that says TEST."""
    response = script.get(address(payment))
    text = response.content.decode()

    assert response.status_code == 200
    assert BANNER in text
    assert "19.99" in text
    assert "Order &lt;1234&gt;" in text
    assert "expired" not in text


def test_the_page_offers_every_choice(script: Client, payment: SandboxPayment) -> None:
    """Each action has a button, each way to tell the shop a radio button."""
    text = script.get(address(payment)).content.decode()

    assert all(f'name="action" value="{action}"' in text for action in Action.values)
    assert all(f'name="callback" value="{mode}"' in text for mode in Mode.values)


def test_the_page_runs_nothing(script: Client, payment: SandboxPayment, settings: Any) -> None:
    """No script, no inline style, no foreign asset; the form goes here and to the shop only."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"RETURN_ORIGINS": ["https://app.example/x", "nonsense; script-src *"]}
    response = script.get(address(payment))
    text = response.content.decode()

    assert response["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; "
        f"form-action 'self' {settings.GATEWAYPAY['BASE_URL']} https://app.example; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["Cache-Control"] == "no-store"
    assert "<script" not in text
    assert "style=" not in text


@pytest.mark.parametrize(
    ("action", "status"),
    [("pay", "success"), ("decline", "failed"), ("cancel", "canceled"), ("delay", "processing")],
)
def test_a_button_decides_and_returns_to_the_shop(
    script: Client, payment: SandboxPayment, action: str, status: str
) -> None:
    """303 to the return URL, without a CSRF token, and one callback is owed."""
    response = script.post(address(payment), {"action": action})
    payment.refresh_from_db()

    assert (response.status_code, response["Location"]) == (303, payment.return_url)
    assert payment.status == status
    assert [row.payment_id for row in SandboxDelivery.objects.all()] == [payment.pk]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"action": "refund"},
        {"action": "pay", "callback": "sometimes"},
        {"action": "delay", "seconds": "-1"},
        {"action": "delay", "seconds": "3601"},
        {"action": "delay", "seconds": "soon"},
    ],
)
def test_an_unknown_choice_changes_nothing(script: Client, payment: SandboxPayment, data: dict[str, str]) -> None:
    """A 400 page, and the payment still waits."""
    response = script.post(address(payment), data)
    payment.refresh_from_db()

    assert response.status_code == 400
    assert BANNER in response.content.decode()
    assert payment.is_undecided


def test_an_empty_field_is_the_default(script: Client, payment: SandboxPayment) -> None:
    """A form that sends everything may leave fields blank."""
    script.post(address(payment), {"action": "delay", "callback": "", "seconds": ""})
    payment.refresh_from_db()

    assert payment.mode == Mode.ONCE
    assert payment.status == "processing"


def test_a_decided_payment_links_back(script: Client, payment: SandboxPayment) -> None:
    """The page says what became of it; where no money was taken it offers no button."""
    decide(payment, Action.DECLINE)
    text = script.get(address(payment)).content.decode()

    assert "Declined" in text
    assert f'href="{payment.return_url}"' in text
    assert "<form" not in text


def test_a_paid_payment_offers_what_comes_after(script: Client, payment: SandboxPayment) -> None:
    """How its refunds end, and what the shopper's bank says; the form goes to this payment."""
    decide(payment, Action.PAY)
    text = script.get(address(payment)).content.decode()

    assert f'action="{address(payment)}after/"' in text
    assert all(f'name="refunds" value="{plan}"' in text for plan in RefundPlan.values)
    assert all(f'name="dispute" value="{word}"' in text for word in DisputeWord.values)


def test_what_is_only_reserved_cannot_be_disputed(script: Client, payment: SandboxPayment) -> None:
    """Its refunds can be planned already."""
    SandboxPayment.objects.update(manual=True)
    payment.refresh_from_db()
    decide(payment, Action.PAY)
    text = script.get(address(payment)).content.decode()

    assert "Reserved" in text
    assert 'name="refunds"' in text
    assert 'name="dispute"' not in text


def test_the_page_plans_refunds_and_disputes(script: Client, payment: SandboxPayment) -> None:
    """A plan is kept, a dispute is told to the shop; both come back to the page."""
    decide(payment, Action.PAY)
    planned = script.post(f"{address(payment)}after/", {"refunds": "returned"})
    disputed = script.post(f"{address(payment)}after/", {"refunds": "later", "dispute": "open"})
    payment.refresh_from_db()

    assert {(answer.status_code, answer["Location"]) for answer in (planned, disputed)} == {(303, address(payment))}
    assert (payment.refund_plan, payment.dispute_status) == ("later", "open")
    assert payment.deliveries.count() == 2
    assert "An answer is due" in script.get(address(payment)).content.decode()


@pytest.mark.parametrize("data", [{"refunds": "sometimes"}, {"dispute": "maybe"}])
def test_an_unknown_choice_for_afterwards_changes_nothing(
    script: Client, payment: SandboxPayment, data: dict[str, str]
) -> None:
    """A 400 page."""
    decide(payment, Action.PAY)
    response = script.post(f"{address(payment)}after/", data)
    payment.refresh_from_db()

    assert response.status_code == 400
    assert (payment.refund_plan, payment.dispute_status) == ("at_once", "")


def test_nothing_comes_after_what_was_not_paid(script: Client, payment: SandboxPayment) -> None:
    """No money, no refund and no dispute; an unknown payment is a page."""
    unpaid = script.post(f"{address(payment)}after/", {"dispute": "open"})
    unknown = script.post("/sandbox/pay/sbx_unknown/after/", {"dispute": "open"})
    payment.refresh_from_db()

    assert (unpaid.status_code, unknown.status_code) == (400, 404)
    assert payment.dispute_status == ""


def test_a_second_press_changes_nothing(script: Client, payment: SandboxPayment) -> None:
    """It only goes back to the shop."""
    script.post(address(payment), {"action": "pay"})
    response = script.post(address(payment), {"action": "decline"})
    payment.refresh_from_db()

    assert (response.status_code, response["Location"]) == (303, payment.return_url)
    assert payment.status == "success"
    assert SandboxDelivery.objects.count() == 1


def test_an_expired_session_can_still_be_paid(script: Client, expired: SandboxPayment) -> None:
    """The page warns, and Pay works."""
    text = script.get(address(expired)).content.decode()
    script.post(address(expired), {"action": "pay"})
    expired.refresh_from_db()

    assert "This session has expired." in text
    assert expired.told_status == "success"


def test_a_waiting_decision_says_when(script: Client, payment: SandboxPayment) -> None:
    """Delayed money shows its time."""
    decide(payment, Action.DELAY)

    assert "it takes effect at" in script.get(address(payment)).content.decode()


def test_an_unknown_payment_is_a_page(script: Client) -> None:
    """404, in the sandbox's own clothes."""
    response = script.get("/sandbox/pay/sbx_unknown/")

    assert response.status_code == 404
    assert BANNER in response.content.decode()


def test_a_large_form_is_refused(script: Client, payment: SandboxPayment) -> None:
    """Nobody fills memory through the page."""
    assert script.post(address(payment), {"action": "pay", "more": "x" * 70_000}).status_code == 413


def test_the_list_shows_the_latest_payments(script: Client, payment: SandboxPayment) -> None:
    """Marked TEST, with a link to each page."""
    text = script.get("/sandbox/").content.decode()

    assert BANNER in text
    assert address(payment) in text


def test_an_empty_list_says_so(script: Client) -> None:
    """Nothing was paid yet."""
    assert "No payment yet" in script.get("/sandbox/").content.decode()


@pytest.mark.parametrize("model", ["sandboxpayment", "sandboxdelivery"])
def test_the_admin_is_for_reading(admin_client: Client, payment: SandboxPayment, model: str) -> None:
    """Staff see the rows, and can add, change and delete nothing."""
    decide(payment, Action.PAY)
    row = payment if model == "sandboxpayment" else payment.deliveries.get()
    base = f"/admin/gatewaypay_sandbox/{model}/"

    assert str(row) in admin_client.get(base).content.decode()
    assert admin_client.get(f"{base}{row.pk}/change/").status_code == 200
    assert admin_client.post(f"{base}{row.pk}/change/", {}).status_code == 403
    assert admin_client.get(f"{base}add/").status_code == 403
    assert admin_client.post(f"{base}{row.pk}/delete/", {}).status_code == 403
