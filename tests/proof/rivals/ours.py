"""The same attacks on this package, over its Stripe adapter and its own views."""

import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client, override_settings
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.exceptions import AmountNotLeft, MovementInProgress, PaymentInProgress
from django_gatewaypay.gateways.stripe import StripeGateway
from django_gatewaypay.models import Refund, Transaction
from django_gatewaypay.registry import gateways
from django_gatewaypay.testing.gateway_server import Answer
from tests.factories import make_order
from tests.gateways import specs
from tests.gateways.test_stripe import SECRET, StripeServer, event, signed

from .wire import together

__all__ = ["attack"]

Told = tuple[bool, str]


def attack() -> dict[str, Told]:
    """Each attack by name: whether it was withstood, and what was seen."""
    ours = {**settings.GATEWAYPAY, "GATEWAYS": {"card": {"BACKEND": "built below"}}}
    with StripeServer() as server, override_settings(GATEWAYPAY=ours):
        gateways["card"] = StripeGateway("card", api_base=server.url, api_key="sk_test_x", webhook_secrets=[SECRET])
        shop = Shop(server)
        attacks: list[Callable[[], Told]] = [
            shop.late_expired, shop.wrong_currency, shop.bad_signature, shop.two_starts, shop.double_refund,
            shop.stale_poll,
        ]  # fmt: skip
        return {one.__name__: one() for one in attacks}


class Shop:
    """A shop with one account at Stripe."""

    def __init__(self, server: StripeServer) -> None:
        self.server = server

    def pending(self) -> Transaction:
        return services.initiate(str(make_order(price_minor=2000, currency="USD").pk)).transaction

    def tell(self, row: Transaction, *, secret: str = SECRET, **session: Any) -> int:
        """Post an event about the row's session; the status of the answer."""
        told = {**self.server.sessions[row.gateway_reference], "amount_total": 2000, "currency": "usd"}
        told |= {"status": "complete", "payment_status": "paid", **session}
        kind = "expired" if told["status"] == "expired" else "completed"
        message = signed(event(f"checkout.session.{kind}", told, f"evt_{uuid.uuid4().hex}"), secret)
        headers = {name: value for name, value in message.headers.items() if name.lower() != "content-type"}
        client, url = Client(raise_request_exception=False), "/payments/callbacks/card/"
        return int(client.post(url, message.body, content_type="application/json", headers=headers).status_code)

    def state(self, row: Transaction) -> str:
        row.refresh_from_db()
        return row.state

    # --- The attacks.

    def late_expired(self) -> Told:
        row = self.pending()
        paid = self.tell(row)
        if self.state(row) != "success":
            return False, f"the paid callback was answered {paid}, the row is {row.state}"
        self.tell(row, id="cs_old", status="expired", payment_status="unpaid")
        return self.state(row) == "success", f"the paid row is {row.state}"

    def wrong_currency(self) -> Told:
        row = self.pending()
        self.tell(row, amount_total=100, currency="jpy")
        return self.state(row) == "held", f"100 JPY for 20.00 USD: {row.state}, {row.reason}"

    def bad_signature(self) -> Told:
        row = self.pending()
        answer = self.tell(row, secret="whsec_stranger")
        return 400 <= answer < 500 and self.state(row) == "pending", f"answered {answer}, the row is {row.state}"

    def two_starts(self) -> Told:
        order = make_order(price_minor=2000, currency="USD")
        before = len(self.server.sessions)
        self.server.script(Answer.hang(0.2))

        def start() -> str:
            try:
                return services.initiate(str(order.pk)).transaction.state
            except PaymentInProgress:
                return "409"
            finally:
                connection.close()

        together(start, start)
        opened = len(self.server.sessions) - before
        return opened == 1, f"{opened} session at the gateway"

    def double_refund(self) -> Told:
        """What was asked for counts, too: that the vendor refuses the second one is the vendor's merit."""
        row = self.pending()
        intent = self.server.act(row.gateway_reference, "succeeded")
        self.tell(row)
        self.server.script(Answer.hang(0.2))

        def give_back() -> str:
            try:
                return str(services.refund(row.pk, Money("15.00", "USD"), reason="Damaged.").state)
            except (AmountNotLeft, MovementInProgress) as no:
                return type(no).__name__
            finally:
                connection.close()

        answers = together(give_back, give_back)
        ours = [refund.amount_minor for refund in Refund.objects.filter(transaction=row)]
        there = [one["amount"] for one in self.server.refunds.values() if one["payment_intent"] == intent["id"]]
        asked = self.refunds_asked(intent["id"])
        saw = f"{listed(ours)} in our rows, {listed(asked)} asked for, {listed(there)} at the vendor"
        return ours == asked == there == [1500], f"{saw}, answered {sorted(map(str, answers))}"

    def refunds_asked(self, intent: str) -> list[int]:
        """What the vendor was asked to give back of a payment; a retry under the same key is the same request."""
        forms = {
            one.key: specs.decode_form(one.body)
            for one in self.server.requests
            if (one.method, one.path) == ("POST", "/v1/refunds")
        }
        return [int(form["amount"]) for form in forms.values() if form["payment_intent"] == intent]

    def stale_poll(self) -> Told:
        row = self.pending()
        self.server.script(Answer.json({**self.server.sessions[row.gateway_reference]}))  # what was true before
        self.tell(row)
        services.refresh(row.pk)
        return self.state(row) == "success", f"the paid row is {row.state}"


def listed(amounts: list[int]) -> str:
    """Amounts in words."""
    refunds = "1 refund" if len(amounts) == 1 else f"{len(amounts)} refunds"
    return f"{refunds} of {' + '.join(f'{minor / 100:.2f}' for minor in amounts) or '0.00'}"
