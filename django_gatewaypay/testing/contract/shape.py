"""What an adapter says about itself, and where it sends the shopper."""
# ruff: noqa: S101 - an assert is how pytest speaks

import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from ...exceptions import GatewayUnavailable
from ...gateways.base import Gateway
from ...gateways.http import is_loopback
from ...types import PaymentRequest, PaymentSession, State
from ..gateway_server import Answer, GatewayServer
from .bench import Bench

__all__ = ["ShapeTests"]

METHODS = {
    "supports_fetch": "fetch_payment",
    "supports_find": "find_session",
    "supports_cancel": "cancel_payment",
    "supports_capture": "capture",
    "supports_refund": "refund",
    "supports_find_refund": "find_refund",
    "supports_list": "list_payments",
}
FOREIGN_URLS = ("https://evil.example/pay", "http://shop.example/pay", "javascript:alert(1)", "//evil.example/pay")
THREADS = 32


class ShapeTests(Bench):
    """Flags, addresses, threads."""

    def test_its_flags_are_its_methods(self, gateway: Gateway) -> None:
        """A flag is True exactly where its method is written."""
        written = {flag: getattr(type(gateway), name) is not getattr(Gateway, name) for flag, name in METHODS.items()}

        assert {flag: getattr(gateway, flag) for flag in METHODS} == written
        assert gateway.supports_refund or not (gateway.supports_partial_refund or gateway.supports_find_refund)
        assert gateway.supports_capture or not gateway.supports_several_captures
        assert gateway.signs_callbacks or gateway.supports_fetch, "an unsigned hint needs fetch_payment"

    def test_the_battery_has_enough_to_try(self, gateway: Gateway) -> None:
        """`amounts` has a currency with no, two and three places, and each of the vendor's exceptions."""
        wanted = {"EUR", "JPY", "KWD", *gateway.exponents}
        wanted &= gateway.currencies or wanted

        assert wanted <= {money.currency.code for money, _ in self.amounts}
        assert State.SUCCESS in self.states.values()

    def test_a_shopper_is_sent_to_the_gateway(self, server: GatewayServer, gateway: Gateway) -> None:
        """The payment page is https, or on loopback, and on a host of the gateway."""
        url = gateway.create_session(self.request()).next_action.url
        parts = urlsplit(url)

        assert parts.scheme == "https" or is_loopback(parts.hostname)
        assert gateway.check_payment_url(url) == url

    @pytest.mark.parametrize("foreign", FOREIGN_URLS)
    def test_a_foreign_address_reaches_no_shopper(self, server: GatewayServer, gateway: Gateway, foreign: str) -> None:
        """Whatever the gateway answers, a shopper is not sent to somebody else."""
        request = self.request()
        url = gateway.create_session(request).next_action.url
        status, data = server.work(self.writes(server, gateway)[0])
        true, false = json.dumps(data), json.dumps(data).replace(json.dumps(url)[1:-1], foreign)
        if true == false:
            pytest.skip("The adapter builds the address itself.")
        server.script(Answer.json(json.loads(false), status))
        with pytest.raises(GatewayUnavailable):
            gateway.create_session(request)

    def test_threads_share_one_adapter(self, server: GatewayServer, gateway: Gateway) -> None:
        """Nothing of one payment gets into another one."""
        requests = [self.request(self.amounts[index % len(self.amounts)][0]) for index in range(THREADS)]

        def pay(request: PaymentRequest) -> tuple[PaymentSession, str]:
            session = gateway.create_session(request)
            asked = gateway.fetch_payment(self.ref(request, session)) if gateway.supports_fetch else None
            return session, asked.transaction_id if asked else request.transaction_id

        with ThreadPoolExecutor(THREADS) as pool:
            done = list(pool.map(pay, requests))
        again = [gateway.create_session(request) for request in requests]

        assert len({session.gateway_reference for session, _ in done}) == THREADS
        assert [session.gateway_reference for session, _ in done] == [session.gateway_reference for session in again]
        assert [name for _, name in done] == [request.transaction_id for request in requests]
