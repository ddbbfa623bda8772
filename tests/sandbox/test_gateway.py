"""The shop's adapter and the sandbox understand each other over real HTTP, with nothing configured."""

import base64
import dataclasses
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from django_gatewaypay.exceptions import GatewayRejected, InvalidSignature
from django_gatewaypay.money import Money
from django_gatewaypay.registry import gateways
from django_gatewaypay.sandbox import movements
from django_gatewaypay.sandbox.access import api_key, webhook_secret
from django_gatewaypay.sandbox.decisions import Action, decide
from django_gatewaypay.sandbox.delivery import deliver_due
from django_gatewaypay.sandbox.gateway import SandboxGateway
from django_gatewaypay.sandbox.models import DisputeWord, SandboxPayment
from django_gatewaypay.types import (
    CallbackRequest,
    DisputeState,
    PaymentRef,
    PaymentRequest,
    PaymentSession,
    RefundRequest,
    RefundState,
    State,
)

AMOUNT = Money("19.99", "EUR")


@pytest.fixture
def gateway(live_server: Any, settings: Any) -> SandboxGateway:
    """The adapter, on a site that is served for real."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"BASE_URL": live_server.url}
    return gateways["sandbox"]


@pytest.fixture
def request_(live_server: Any) -> PaymentRequest:
    return PaymentRequest(
        created_at=timezone.now(),
        transaction_id="0b5f2c1e-7a51-4a55-8f0c-2f3f6f1d9f10",
        order_id="1234",
        amount=AMOUNT,
        callback_url=f"{live_server.url}/payments/callbacks/sandbox/",
        return_url=f"{live_server.url}/sandbox/",
        expires_at=timezone.now() + timedelta(minutes=30),
        idempotency_key="key-1",
        description="Order 1234",
    )


def press(session: PaymentSession, **data: str) -> requests.Response:
    return requests.post(session.next_action.url, data=data, timeout=60, allow_redirects=False)


def fetch(gateway: SandboxGateway, session: PaymentSession, request: PaymentRequest) -> Any:
    return gateway.fetch_payment(
        PaymentRef(
            transaction_id=request.transaction_id, gateway_reference=session.gateway_reference, amount=request.amount
        )
    )


def test_a_payment_from_end_to_end(gateway: SandboxGateway, request_: PaymentRequest) -> None:
    """Open, look, pay, ask: what the gateway says is what was asked for."""
    session = gateway.create_session(request_)
    before = fetch(gateway, session, request_)
    page = requests.get(session.next_action.url, timeout=60)
    response = press(session, action="pay")
    after = fetch(gateway, session, request_)

    assert page.status_code == 200
    assert (response.status_code, response.headers["Location"]) == (303, request_.return_url)
    assert (before.state, before.captured) == (State.PENDING, None)
    assert (after.state, after.captured) == (State.SUCCESS, AMOUNT)
    assert after.transaction_id == request_.transaction_id


def test_a_retry_finds_the_same_session(gateway: SandboxGateway, request_: PaymentRequest) -> None:
    """The same key cannot charge twice, and cannot be used for something else."""
    first, second = gateway.create_session(request_), gateway.create_session(request_)
    with pytest.raises(GatewayRejected) as caught:
        gateway.create_session(dataclasses.replace(request_, amount=Money(20, "EUR")))

    assert first == second
    assert caught.value.code == "idempotency_conflict"


def test_a_session_is_canceled(gateway: SandboxGateway, request_: PaymentRequest) -> None:
    """The adapter reads what is true afterwards."""
    session = gateway.create_session(request_)
    update = gateway.cancel_payment(
        PaymentRef(transaction_id="x", gateway_reference=session.gateway_reference, amount=AMOUNT),
        idempotency_key="key-2",
    )

    assert update.state is State.CANCELED


def ref(session: PaymentSession, request: PaymentRequest, amount: str = "19.99") -> PaymentRef:
    return PaymentRef(
        transaction_id=request.transaction_id,
        gateway_reference=session.gateway_reference,
        amount=Money(amount, "EUR"),
    )


def test_a_reserved_payment_from_end_to_end(gateway: SandboxGateway, request_: PaymentRequest) -> None:
    """Reserve, take a part, let the rest go: the totals are the same whoever tells them."""
    session = gateway.create_session(dataclasses.replace(request_, manual_capture=True))
    press(session, action="pay")
    before = fetch(gateway, session, request_)
    part = gateway.capture(ref(session, request_, "7.00"), idempotency_key="c-1", final=False)
    with pytest.raises(GatewayRejected) as caught:
        gateway.capture(ref(session, request_, "13.00"), idempotency_key="c-2")
    after = gateway.cancel_payment(ref(session, request_), idempotency_key="x-1")

    assert (before.state, before.authorized, before.captured) == (State.AUTHORIZED, AMOUNT, None)
    assert (part.state, part.authorized, part.captured) == (State.AUTHORIZED, AMOUNT, Money(7, "EUR"))
    assert caught.value.code == "too_much"
    assert (after.state, after.captured) == (State.SUCCESS, Money(7, "EUR"))


def test_a_refund_from_end_to_end(gateway: SandboxGateway, request_: PaymentRequest) -> None:
    """Asked for, found again by our id, asked about, and part of what the payment tells."""
    session = gateway.create_session(request_)
    press(session, action="pay")
    payment = ref(session, request_)
    wanted = RefundRequest(payment=payment, amount=Money(5, "EUR"), idempotency_key="r-1", refund_id="r1")
    before = gateway.find_refund(wanted)
    made = gateway.refund(wanted)

    assert before is None
    assert (made.state, made.amount, made.refund_id) == (RefundState.SUCCEEDED, Money(5, "EUR"), "r1")
    assert gateway.refund(wanted) == gateway.find_refund(wanted) == made
    assert gateway.fetch_refund(payment, made.refund_reference) == made
    assert fetch(gateway, session, request_).refunded == Money(5, "EUR")


def test_the_list_from_end_to_end(gateway: SandboxGateway, request_: PaymentRequest) -> None:
    """What it lists is what it says when it is asked."""
    session = gateway.create_session(request_)
    press(session, action="pay")
    now, hour = timezone.now(), timedelta(hours=1)
    (listed,) = gateway.list_payments(now - hour, now + hour)

    assert listed.update == fetch(gateway, session, request_)
    assert (listed.order_id, listed.amount) == ("1234", AMOUNT)
    assert abs(listed.created_at - now) < timedelta(minutes=1)


def test_its_callbacks_about_refunds_and_disputes_verify(shop: Any, payment: SandboxPayment, client: Any) -> None:
    """Each names the payment, and what is said of it beside."""
    gateway = SandboxGateway("sandbox")
    decide(payment, Action.PAY)
    fields = {"amount_minor": 500, "refund_id": "r1", "reason": ""}
    movements.refund(payment, "r-1", fields)
    movements.dispute(payment, DisputeWord.LOST)
    deliver_due()
    updates = []
    for call in map(CallbackRequest, *zip(*shop.calls, strict=True)):
        gateway.verify_callback(call)
        updates += gateway.parse_callback(call)

    assert [update.state for update in updates] == [State.SUCCESS] * 3
    assert updates[1].refund
    assert (updates[1].refund.refund_id, updates[1].refund.amount) == ("r1", Money(5, "EUR"))
    assert updates[2].dispute
    assert (updates[2].dispute.state, updates[2].dispute.amount) == (DisputeState.LOST, AMOUNT)


def test_its_callbacks_verify(shop: Any, payment: SandboxPayment, client: Any) -> None:
    """What the sandbox sends, the adapter accepts and reads; a forged one it does not."""
    gateway = SandboxGateway("sandbox")
    client.post(f"/sandbox/pay/{payment.reference}/", {"action": "decline"})
    deliver_due()
    good = CallbackRequest(*shop.calls[0])
    gateway.verify_callback(good)
    (update,) = gateway.parse_callback(good)

    assert (update.state, update.decline_code) == (State.FAILED, "declined")
    assert update.gateway_reference == payment.reference
    with pytest.raises(InvalidSignature):
        gateway.verify_callback(dataclasses.replace(good, body=good.body + b" "))


def test_nothing_needs_to_be_configured(shop: Any) -> None:
    """The address comes from BASE_URL, the keys from SECRET_KEY, and it is marked as play money."""
    gateway = SandboxGateway("sandbox")

    assert gateway.client.base == f"{shop.url}/sandbox"
    assert gateway.webhook_secrets == [webhook_secret()]
    assert gateway.client.session.headers["Authorization"] == f"Bearer {api_key()}"
    assert (gateway.name, gateway.test_mode) == ("Sandbox", True)


def test_everything_may_be_configured() -> None:
    """A sandbox on another machine has another address and other secrets."""
    secrets = ["whsec_" + base64.b64encode(b"s" * 32).decode()]
    gateway = SandboxGateway("far", api_base="https://far.example/sandbox/", webhook_secrets=secrets, api_key="sk")

    assert gateway.client.base == "https://far.example/sandbox"
    assert gateway.webhook_secrets == secrets
    assert gateway.client.session.headers["Authorization"] == "Bearer sk"


def test_the_keys_depend_on_the_site(settings: Any) -> None:
    """Another SECRET_KEY, other keys; and the two are not each other."""
    before = api_key(), webhook_secret()
    settings.SECRET_KEY = "another site"

    assert not {*before} & {api_key(), webhook_secret()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ALLOW_SANDBOX": False}, "no play money here"),
        ({"ALLOW_SANDBOX": "yes"}, "no play money here"),
        ({"BASE_URL": ""}, "BASE_URL"),
        ({"BASE_URL": "http://shop.example"}, "https"),
    ],
)
def test_it_refuses_a_site_that_is_not_for_it(settings: Any, change: dict[str, Any], message: str) -> None:
    """Production, and a site without a usable address."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | change

    with pytest.raises(ImproperlyConfigured, match=message):
        gateways["sandbox"]


def test_it_says_how_to_mount_it(settings: Any) -> None:
    """A site without the sandbox's URLs learns which line is missing."""
    settings.ROOT_URLCONF = ()

    with pytest.raises(ImproperlyConfigured, match="include"):
        SandboxGateway("sandbox")


def test_debug_is_enough(settings: Any) -> None:
    """On a developer's machine nothing has to be allowed."""
    settings.DEBUG = True
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"ALLOW_SANDBOX": False}

    assert gateways["sandbox"].test_mode
