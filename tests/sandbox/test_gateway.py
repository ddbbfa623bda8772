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
from django_gatewaypay.sandbox.access import api_key, webhook_secret
from django_gatewaypay.sandbox.delivery import deliver_due
from django_gatewaypay.sandbox.gateway import SandboxGateway
from django_gatewaypay.sandbox.models import SandboxPayment
from django_gatewaypay.types import CallbackRequest, PaymentRef, PaymentRequest, PaymentSession, State

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
    return requests.post(session.next_action.url, data=data, timeout=5, allow_redirects=False)


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
    page = requests.get(session.next_action.url, timeout=5)
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
