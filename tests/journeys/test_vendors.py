"""The whole way with each vendor's adapter: our views and services, and a server that speaks the vendor's wire.

What plays the vendor is the bench of its contract battery, so that both know one truth.
"""

import contextlib
import importlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Callback, Fulfilment, Transaction
from django_gatewaypay.registry import gateways
from django_gatewaypay.testing import GatewayContract
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import CLOSED_STATES
from tests.factories import make_order
from tests.gateways.test_paypal import NOW, ROOT, pem
from tests.invariants import check_books

pytestmark = pytest.mark.django_db(transaction=True)

BENCHES = {
    "stripe": "tests.gateways.test_contract_stripe:TestStripe",
    "paypal": "tests.gateways.test_contract_paypal:TestPayPal",
    "mollie": "tests.gateways.test_contract_mollie:TestMollie",
    "adyen": "tests.gateways.test_contract_adyen:TestAdyen",
}


@dataclass
class Vendor:
    """A vendor's server, what plays it, and the shop that uses it."""

    bench: Any
    server: GatewayServer
    client: Client

    def start(self, **order: Any) -> Transaction:
        """A payment that is open at the vendor."""
        return services.initiate(str(make_order(**order).pk)).transaction

    def happen(self, row: Transaction, word: str) -> None:
        """Something happens at the vendor."""
        amount = self.bench.asked_amount(self.bench.writes(self.server, gateways["card"])[0])
        self.bench.set_state(self.server, row.gateway_reference, word, amount, "EUR")

    def tell(self, row: Transaction) -> Any:
        """The vendor's callback about what is true now, as it would be posted."""
        secret = next(iter(self.bench.secrets), "")
        return self.bench.callback(self.server, row.gateway_reference, secret=secret, at=int(time.time()))

    def post(self, callback: Any) -> int:
        headers = {name.lower(): value for name, value in callback.headers.items()}
        content_type = headers.pop("content-type", "application/json")
        url = "/payments/callbacks/card/"
        return int(self.client.post(url, callback.body, content_type=content_type, headers=headers).status_code)

    @property
    def an_end(self) -> str:
        """A word of the vendor's callbacks for a payment that came to nothing."""
        told = self.bench.told_states or self.bench.states
        return next(word for word, state in told.items() if state in CLOSED_STATES)


@pytest.fixture(params=BENCHES)
def vendor(
    request: pytest.FixtureRequest, settings: Any, monkeypatch: Any, client: Client, tmp_path: Path
) -> Iterator[Vendor]:
    """Each vendor in turn, as the account "card"."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)
    module, _, name = BENCHES[request.param].partition(":")
    bench: GatewayContract = getattr(importlib.import_module(module), name)()
    with bench.server_class() as server, contextlib.ExitStack() as stack:
        if request.param == "paypal":
            stack.enter_context(certificates_of_the_day(bench, tmp_path))
        settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {"card": {"BACKEND": "built below"}}}
        gateways["card"] = bench.make_gateway(server.url, bench.secrets)
        yield Vendor(bench, server, client)


@contextlib.contextmanager
def certificates_of_the_day(bench: Any, folder: Path) -> Iterator[None]:
    """PayPal signs with certificates, and those of the tests are valid on one day only."""
    bench.roots = folder / "roots.pem"
    bench.roots.write_bytes(pem(ROOT))
    with time_machine.travel(NOW):
        yield


def fate(row: Transaction) -> tuple[str, int]:
    row.refresh_from_db()
    return row.state, Fulfilment.objects.filter(kind="fulfil", state="done").count()


def test_paid_and_told(vendor: Vendor) -> None:
    """The vendor's own callback makes it true, and the order is fulfilled once."""
    row = vendor.start()
    vendor.happen(row, vendor.bench.paid_word)
    answered = vendor.post(vendor.tell(row))

    assert (answered, fate(row)) == (200, ("success", 1))
    assert row.payment_reference or gateways["card"].name == "Mollie"  # its session is its payment
    check_books()


def test_told_three_times(vendor: Vendor) -> None:
    """Copies of one callback are one effect."""
    row = vendor.start()
    vendor.happen(row, vendor.bench.paid_word)
    callback = vendor.tell(row)

    assert [vendor.post(callback) for _ in range(3)] == [200] * 3
    assert fate(row) == ("success", 1)
    check_books()


def test_not_paid_and_told(vendor: Vendor) -> None:
    """What ends at the vendor ends here, and gives the stock back."""
    row = vendor.start()
    vendor.happen(row, vendor.an_end)
    vendor.post(vendor.tell(row))

    assert fate(row) in {("expired", 0), ("canceled", 0), ("failed", 0)}
    assert Fulfilment.objects.get().kind == "release"
    check_books()


def test_older_news_after_the_payment(vendor: Vendor) -> None:
    """Disorder ends where order would have ended."""
    row = vendor.start()
    vendor.happen(row, vendor.an_end)
    older = vendor.tell(row)
    vendor.happen(row, vendor.bench.paid_word)
    newer = vendor.tell(row)
    answered = [vendor.post(newer), vendor.post(older)]

    assert (answered, fate(row)) == ([200, 200], ("success", 1))
    check_books()


def test_never_told_and_found_by_polling(vendor: Vendor) -> None:
    """Where the vendor can be asked, a lost callback costs time and no money."""
    if not gateways["card"].supports_fetch:
        pytest.skip("this vendor cannot be asked: its callback is the only truth")
    row = vendor.start()
    vendor.happen(row, vendor.bench.paid_word)
    Transaction.objects.update(next_poll_at=timezone.now())
    services.tick()

    assert fate(row) == ("success", 1)
    assert not Callback.objects.exists()
    check_books()


def test_an_unsigned_callback_changes_nothing(vendor: Vendor) -> None:
    """A forgery writes no row; a hint only makes us ask, and the vendor says "not paid"."""
    row = vendor.start()
    callback = vendor.tell(row) if not gateways["card"].signs_callbacks else None
    if callback is None:
        vendor.happen(row, vendor.bench.paid_word)
        answered = vendor.post(vendor.bench.unsigned(vendor.tell(row)))
        assert (answered, Callback.objects.count()) == (400, 0)
    else:
        assert vendor.post(callback) == 200

    assert fate(row) == ("pending", 0)


def test_the_answer_to_the_first_call_is_lost(vendor: Vendor) -> None:
    """A timeout after the effect: the same key finds the same session, and one payment comes of it."""
    order = make_order()
    vendor.server.script(*[Answer.lost()] * 3)
    started = vendor.client.post(
        "/payments/initiate/", {"order_id": order.pk}, content_type="application/json", headers={"Idempotency-Key": "k"}
    )
    again = vendor.client.post(
        "/payments/initiate/", {"order_id": order.pk}, content_type="application/json", headers={"Idempotency-Key": "k"}
    )

    assert (started.status_code, again.status_code) == (503, 201)
    assert again.json()["id"] == started.json()["id"]
    assert vendor.bench.opened(vendor.server) == 1


def test_a_currency_that_the_vendor_does_not_take_is_refused_before_it_is_asked(vendor: Vendor) -> None:
    """Where the vendor publishes a list; elsewhere its account decides."""
    order = make_order(price_minor=1500, currency="XOF")
    answer = vendor.client.post("/payments/initiate/", {"order_id": order.pk}, content_type="application/json")

    if gateways["card"].currencies is None:
        assert answer.status_code == 201
    else:
        assert (answer.status_code, answer.json()["code"]) == (422, "order_not_payable")
        assert not vendor.server.requests
    assert Transaction.objects.count() == (gateways["card"].currencies is None)


def test_the_vendor_is_busy(vendor: Vendor) -> None:
    """Rate limited while it is asked: nothing is concluded, and the next question finds the answer."""
    row = vendor.start()
    vendor.server.script(*[Answer.busy("0", 429)] * 3)
    Transaction.objects.update(next_poll_at=timezone.now())
    services.tick()

    assert fate(row) == ("pending", 0)
