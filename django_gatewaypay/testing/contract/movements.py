"""Money after the payment: captures and refunds, told once or twice, in part, too much, and looked for."""
# ruff: noqa: S101 - an assert is how pytest speaks

from collections.abc import Callable
from dataclasses import replace

import pytest

from ...exceptions import GatewayDeclined, GatewayRejected, GatewayUnavailable, UnsupportedOperation
from ...gateways.base import Gateway
from ...money import Money
from ...types import PaymentRef, PaymentUpdate, RefundRequest, RefundState, RefundUpdate, State
from ..gateway_server import Answer, GatewayServer
from .bench import NAMES, Bench

__all__ = ["CaptureTests", "RefundTests"]


class RefundTests(Bench):
    """Giving back."""

    def taken(self, server: GatewayServer, gateway: Gateway, entry: int = 0) -> PaymentRef:
        """A payment that was taken in full."""
        if not gateway.supports_refund:
            pytest.skip(f"{gateway.name} cannot refund.")
        return self.known(server, gateway, self.happened(server, gateway, self.taken_word, entry))

    @staticmethod
    def back(payment: PaymentRef, amount: Money | None = None) -> RefundRequest:
        """A refund that nobody has asked for yet; a part of the payment unless an amount is named."""
        name = f"0199f0c2-7c1e-7000-8000-{next(NAMES):012}"
        part = amount or Money(1, payment.amount.currency)
        key = f"gatewaypay-refund-{name}"
        return RefundRequest(payment=payment, amount=part, idempotency_key=key, refund_id=name)

    def test_the_same_refund_twice_gives_back_once(self, server: GatewayServer, gateway: Gateway) -> None:
        """The same key is the same refund, also when the answer was lost; another one is another."""
        payment = self.taken(server, gateway)
        first, second, known = self.back(payment), self.back(payment), len(server.requests)
        made = [gateway.refund(first)]
        calls = len(server.requests) - known  # it may look before it refunds; the last one is the refund
        made.append(gateway.refund(first))
        server.script(*[Answer(works=True)] * (calls - 1), Answer.lost())
        made += [gateway.refund(second), gateway.refund(second)]

        assert made[0].refund_reference == made[1].refund_reference
        assert made[2].refund_reference == made[3].refund_reference
        assert self.given_back(server) == 2

    def test_a_refund_says_how_much_it_gives_back(self, server: GatewayServer, gateway: Gateway) -> None:
        """Exactly what was asked for, in each currency; a part of a payment is a part."""
        for entry, (money, _) in enumerate(self.amounts):
            payment = self.taken(server, gateway, entry)
            assert gateway.refund(self.back(payment, money)).amount == money
        if gateway.supports_partial_refund:
            payment = self.taken(server, gateway)
            assert gateway.refund(self.back(payment)).amount == Money(1, payment.amount.currency)

    def test_a_refund_comes_back_under_our_name(self, server: GatewayServer, gateway: Gateway) -> None:
        """With our id and a name of its own, in the answer and when it is asked for."""
        request = self.back(self.taken(server, gateway))
        made = gateway.refund(request)
        told = [made]
        if type(gateway).fetch_refund is not Gateway.fetch_refund:
            told.append(gateway.fetch_refund(request.payment, made.refund_reference))

        assert made.refund_reference
        assert {(one.refund_id, one.refund_reference) for one in told} == {
            (request.refund_id, made.refund_reference),
        }

    def test_more_than_was_taken_is_a_definite_no(self, server: GatewayServer, gateway: Gateway) -> None:
        """Neither "taken" nor "nobody knows": nothing goes back, and somebody can decide again."""
        if not self.refuses_too_much:
            pytest.skip("The vendor refuses it later, in a callback.")
        payment = self.taken(server, gateway)
        more = self.back(payment, payment.amount + Money(1, payment.amount.currency))

        assert is_refused(lambda: gateway.refund(more))

    def test_no_answer_to_a_refund_is_an_unknown_outcome(self, server: GatewayServer, gateway: Gateway) -> None:
        """Neither yes nor no."""
        request = self.back(self.taken(server, gateway))
        server.script(*[Answer.error(503)] * gateway.client.tries)
        with pytest.raises(GatewayUnavailable):
            gateway.refund(request)

    def test_a_refund_is_found_by_our_id(self, server: GatewayServer, gateway: Gateway) -> None:
        """After an answer was lost for good: the refund that was made, none where none was, and no guess."""
        if not gateway.supports_find_refund:
            pytest.skip(f"{gateway.name} cannot look a refund up.")
        payment = self.taken(server, gateway)
        request = self.back(payment)
        gateway.refund(self.back(payment))

        assert gateway.find_refund(request) is None
        made = gateway.refund(request)
        assert gateway.find_refund(request) == made
        server.script(*[Answer.error(503)] * gateway.client.tries)
        with pytest.raises(GatewayUnavailable):
            gateway.find_refund(request)


class CaptureTests(Bench):
    """Taking what was reserved."""

    def reserved(self, server: GatewayServer, gateway: Gateway) -> PaymentRef:
        """An authorization of the first of `amounts`."""
        if not gateway.supports_capture:
            pytest.skip(f"{gateway.name} cannot capture.")
        money, wire = self.amounts[0]
        request = replace(self.request(money), manual_capture=True)
        ref = self.ref(request, gateway.create_session(request))
        self.reserve(server, ref.gateway_reference, wire, money.currency.code)
        return self.known(server, gateway, ref)

    def totals(self, gateway: Gateway, payment: PaymentRef) -> tuple[State | None, Money | None]:
        """What is true by now; only where the vendor can be asked."""
        if not gateway.supports_fetch:
            pytest.skip(f"{gateway.name} cannot be asked.")
        told = gateway.fetch_payment(payment)
        return told.state, told.captured

    def test_a_capture_takes_what_it_says(self, server: GatewayServer, gateway: Gateway) -> None:
        """In part too; then the rest is let go, and the payment is a success of what was taken."""
        payment = self.reserved(server, gateway)
        part = Money(1, payment.amount.currency)
        told = gateway.capture(replace(payment, amount=part), idempotency_key="contract-capture-1")

        assert told.state in {State.AUTHORIZED, State.PROCESSING, State.SUCCESS}
        assert told.captured in {part, None}
        assert self.totals(gateway, payment) == (State.SUCCESS, part)

    def test_the_same_capture_twice_takes_once(self, server: GatewayServer, gateway: Gateway) -> None:
        """The same key is the same capture; so is one that is over."""
        payment = self.reserved(server, gateway)
        part = replace(payment, amount=Money(1, payment.amount.currency))
        final = not gateway.supports_several_captures
        for _ in range(2):
            gateway.capture(part, idempotency_key="contract-capture-2", final=final)

        assert self.totals(gateway, payment)[1] == part.amount

    def test_captures_add_up(self, server: GatewayServer, gateway: Gateway) -> None:
        """Part after part, each answer tells the total; it is reserved until the final one."""
        if not gateway.supports_several_captures:
            pytest.skip(f"{gateway.name} captures once.")
        payment = self.reserved(server, gateway)
        part = replace(payment, amount=Money(1, payment.amount.currency))
        first = gateway.capture(part, idempotency_key="contract-capture-3", final=False)
        between = self.totals(gateway, payment)
        last = gateway.capture(part, idempotency_key="contract-capture-4")

        assert (first.state, first.captured) == between == (State.AUTHORIZED, part.amount)
        assert (last.state, last.captured) == (State.SUCCESS, part.amount * 2)

    def test_a_part_that_cannot_be_is_refused(self, server: GatewayServer, gateway: Gateway) -> None:
        """Where an authorization is captured once, nothing is taken in the hope of more."""
        if gateway.supports_several_captures:
            pytest.skip(f"{gateway.name} captures in parts.")
        payment = self.reserved(server, gateway)
        calls = len(self.writes(server, gateway))
        with pytest.raises(UnsupportedOperation):
            gateway.capture(payment, idempotency_key="contract-capture-5", final=False)

        assert len(self.writes(server, gateway)) == calls

    def test_more_than_is_reserved_is_a_definite_no(self, server: GatewayServer, gateway: Gateway) -> None:
        """And nothing is taken."""
        if not self.refuses_too_much:
            pytest.skip("The vendor refuses it later, in a callback.")
        payment = self.reserved(server, gateway)
        more = replace(payment, amount=payment.amount + Money(1, payment.amount.currency))

        assert is_refused(lambda: gateway.capture(more, idempotency_key="contract-capture-6"))
        assert not self.totals(gateway, payment)[1]


def is_refused(call: Callable[[], RefundUpdate | PaymentUpdate]) -> bool:
    """Whether a call ends in a definite no."""
    try:
        told = call()
    except (GatewayDeclined, GatewayRejected):
        return True
    return told.state in {RefundState.FAILED, State.FAILED}
