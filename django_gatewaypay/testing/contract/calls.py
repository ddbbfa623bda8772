"""Calls that end well, badly, or nobody knows how."""
# ruff: noqa: S101 - an assert is how pytest speaks

from contextlib import suppress

import pytest

from ...exceptions import GatewayDeclined, GatewayError, GatewayRejected, GatewayUnavailable, UnsupportedOperation
from ...gateways.base import Gateway
from ...money import InvalidAmount, Money, exponent
from ...types import CLOSED_STATES, DECLINE_CODES, State
from ..gateway_server import Answer, GatewayServer
from .bench import Bench

__all__ = ["CallTests"]

NO_ANSWERS = {
    "broken": Answer.error(500),
    "away": Answer.error(503),
    "busy": Answer.busy("1", 429),
    "html": Answer.html(),
    "closed": Answer.closed(),
    "timeout": Answer(delay=5),
}
CALLS = pytest.mark.parametrize("call", ["create", "fetch"])


class CallTests(Bench):
    """Opening, asking and canceling."""

    def fails(self, server: GatewayServer, gateway: Gateway, call: str, answer: Answer) -> GatewayError:
        """The error that the adapter makes of an answer."""
        if call == "fetch" and not gateway.supports_fetch:
            pytest.skip(f"{gateway.name} cannot be asked.")
        # Impatient only where it has to be: on a busy machine other answers take their time.
        given, gateway.client.timeout = gateway.client.timeout, (10, 10)
        request = self.request()
        ref = self.ref(request, gateway.create_session(request))  # what else a first call does is done
        gateway.client.timeout = given
        server.script(*[answer] * gateway.client.tries)
        try:
            told = gateway.fetch_payment(ref) if call == "fetch" else gateway.create_session(self.request())
        except GatewayError as error:
            return error
        pytest.fail(f"the adapter made {told} of {answer}")

    @CALLS
    def test_a_decline_is_a_definite_no(self, server: GatewayServer, gateway: Gateway, call: str) -> None:
        """With a reason in the standard words."""
        if self.declined is None:
            pytest.skip("Its API declines nothing.")
        error = self.fails(server, gateway, call, self.declined)

        assert isinstance(error, GatewayDeclined)
        assert error.decline_code in DECLINE_CODES

    @CALLS
    def test_a_rejection_is_our_mistake(self, server: GatewayServer, gateway: Gateway, call: str) -> None:
        """Not the shopper's, and it is no use to try again."""
        assert type(self.fails(server, gateway, call, self.rejected)) is GatewayRejected

    @CALLS
    @pytest.mark.parametrize("kind", NO_ANSWERS)
    def test_no_answer_is_an_unknown_outcome(self, server: GatewayServer, kind: str, call: str) -> None:
        """Neither yes nor no."""
        gateway = self.make_gateway(server.url, self.secrets, timeout=(1, 0.15 if kind == "timeout" else 5))
        try:
            assert type(self.fails(server, gateway, call, NO_ANSWERS[kind])) is GatewayUnavailable
        finally:
            gateway.client.session.close()

    def test_every_try_is_the_same_call(self, server: GatewayServer, gateway: Gateway) -> None:
        """The same key and the same bytes, within a call and in the next; other payments have other keys."""
        gateway.create_session(self.request())
        known, request = len(self.writes(server, gateway)), self.request()
        server.script(Answer.error(503), Answer.lost())
        sessions = [gateway.create_session(request), gateway.create_session(request)]
        calls = self.writes(server, gateway)
        keys = [call.headers[gateway.key_header.lower()] for call in calls]

        assert len(calls) >= known + 4
        assert len({(key, call.body) for key, call in zip(keys[known:], calls[known:], strict=True)}) == 1
        assert keys[0] != keys[known]
        assert sessions[0].gateway_reference == sessions[1].gateway_reference

    def test_a_lost_answer_opens_no_second_session(self, server: GatewayServer, gateway: Gateway) -> None:
        """The vendor did the work, and nobody heard of it."""
        gateway.create_session(self.request())
        server.script(Answer.lost())
        gateway.create_session(self.request())

        assert self.opened(server) == 2

    def test_a_session_is_found_by_our_id(self, server: GatewayServer, gateway: Gateway) -> None:
        """After an answer was lost for good: the session that was opened for it, and none where none was."""
        if not gateway.supports_find:
            pytest.skip(f"{gateway.name} cannot look a session up.")
        request = self.request()
        gateway.create_session(self.request())

        assert gateway.find_session(request) is None
        opened = gateway.create_session(request)
        assert gateway.find_session(request) == opened

    def test_an_amount_goes_out_exactly(self, server: GatewayServer, gateway: Gateway) -> None:
        """The wire carries what `amounts` says, and the same type: 1999 is not "19.99", nor 1999.0."""
        for money, wire in self.amounts:
            known = len(self.writes(server, gateway))
            gateway.create_session(self.request(money))
            asked = self.asked_amount(self.writes(server, gateway)[known])

            assert (type(asked), asked) == (type(wire), wire)

    def test_an_amount_that_does_not_fit_is_not_asked_for(self, server: GatewayServer, gateway: Gateway) -> None:
        """More places than the currency has are refused before any call, and never rounded."""
        for money, _ in self.amounts:
            places = exponent(money.currency.code, gateway.exponents)
            lossy = Money(money.amount + Money(1, "EUR").amount.scaleb(-places - 1), money.currency)
            with pytest.raises((InvalidAmount, GatewayRejected, UnsupportedOperation)):
                gateway.create_session(self.request(lossy))

        assert self.writes(server, gateway) == []

    def test_canceling_never_hides_money(self, server: GatewayServer, gateway: Gateway) -> None:
        """An open session is closed or stays open; a paid one is never told as closed."""
        if not gateway.supports_cancel:
            pytest.skip(f"{gateway.name} cannot cancel.")
        request = self.request()
        unpaid = self.ref(request, gateway.create_session(request))
        paid = self.happened(server, gateway, next(word for word in self.states if self.states[word] is State.SUCCESS))

        assert gateway.cancel_payment(unpaid, idempotency_key="contract-cancel-1").state is not State.SUCCESS
        with suppress(GatewayRejected):  # "it is paid" is as good an answer
            assert gateway.cancel_payment(paid, idempotency_key="contract-cancel-2").state not in CLOSED_STATES
