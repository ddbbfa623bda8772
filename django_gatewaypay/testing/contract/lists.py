"""The vendor's own list, against which the books are compared."""
# ruff: noqa: S101 - an assert is how pytest speaks

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ...exceptions import GatewayUnavailable
from ...gateways.base import Gateway
from ...types import ListedPayment, PaymentRequest
from ..gateway_server import Answer, GatewayServer
from .bench import Bench

__all__ = ["ListTests"]

HOUR = timedelta(hours=1)
MANY = 5


class ListTests(Bench):
    """All of it, of the right time, with what is true."""

    def listed(self, gateway: Gateway, since: timedelta, until: timedelta) -> list[ListedPayment]:
        """What the vendor lists of a time, from now."""
        if not gateway.supports_list:
            pytest.skip(f"{gateway.name} lists nothing.")
        now = datetime.now(UTC)
        return list(gateway.list_payments(now + since, now + until))

    def open_many(self, gateway: Gateway) -> list[PaymentRequest]:
        """More sessions than fit on two pages of two."""
        requests = [self.request() for _ in range(MANY)]
        for request in requests:
            gateway.create_session(request)
        return requests

    def test_the_list_keeps_to_its_time(self, server: GatewayServer, gateway: Gateway) -> None:
        """Neither what is older nor what is newer."""
        gateway.create_session(self.request())

        assert len(self.listed(gateway, -HOUR, HOUR)) == 1
        assert self.listed(gateway, -2 * HOUR, -HOUR) == []
        assert self.listed(gateway, HOUR, 2 * HOUR) == []

    def test_the_list_is_read_to_its_end(self, server: GatewayServer, gateway: Gateway) -> None:
        """Page after page, each payment once, with our id."""
        requests = self.open_many(gateway)
        self.show_at_once(server, 2)
        found = [one.update.transaction_id for one in self.listed(gateway, -HOUR, HOUR)]

        assert sorted(found) == sorted(request.transaction_id for request in requests)

    def test_a_list_that_ends_too_soon_says_so(self, server: GatewayServer, gateway: Gateway) -> None:
        """Half of a list is not taken for all of it."""
        self.open_many(gateway)
        self.show_at_once(server, 2)
        server.script(Answer(works=True), *[Answer.error(503)] * gateway.client.tries)
        with pytest.raises(GatewayUnavailable):
            self.listed(gateway, -HOUR, HOUR)

    def test_the_list_tells_what_is_true(self, server: GatewayServer, gateway: Gateway) -> None:
        """The same as when the payment is asked for, what it was opened for, and when."""
        ref = self.happened(server, gateway, self.taken_word)
        (one,) = self.listed(gateway, -HOUR, HOUR)

        assert replace(one.update, raw={}) == replace(gateway.fetch_payment(ref), raw={})
        assert (one.update.captured, one.amount) == (ref.amount, ref.amount)
        assert one.order_id in {"", self.order_of(ref)}
        assert abs(one.created_at - datetime.now(UTC)) < HOUR
