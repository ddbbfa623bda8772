"""What a gateway's words and amounts mean, whether it is told by a callback or asked."""
# ruff: noqa: S101 - an assert is how pytest speaks

from collections.abc import Iterator

import pytest

from ...gateways.base import Gateway
from ...types import DECLINE_CODES, PaymentUpdate, State
from ..gateway_server import GatewayServer
from .bench import Bench

__all__ = ["WordTests"]


class WordTests(Bench):
    """States, money, references."""

    def reports(
        self, server: GatewayServer, gateway: Gateway, entry: int = 0
    ) -> Iterator[tuple[str, State, PaymentUpdate]]:
        """Each known word, what it means, and what the adapter makes of it."""
        for word, state in self.told_states.items():
            yield from ((word, state, update) for update in self.told(server, gateway, word, entry))
        for word, state in self.states.items():
            yield from ((word, state, update) for update in self.asked(server, gateway, word, entry))

    def test_every_word_has_its_state(self, server: GatewayServer, gateway: Gateway) -> None:
        """Told or asked, a word means what the table says."""
        for word, state, update in self.reports(server, gateway):
            assert (word, update.state) == (word, state)

    def test_an_unknown_word_survives(self, server: GatewayServer, gateway: Gateway) -> None:
        """It is data: no state, no exception, and staff can read the word."""
        for report in (self.told, self.asked):
            for update in report(server, gateway, self.unknown_word):
                assert update.state is None
                assert self.unknown_word in repr(update.raw)

    def test_a_success_says_how_much_and_of_what(self, server: GatewayServer, gateway: Gateway) -> None:
        """Amount and currency come with a success, exactly; an authorization says what is reserved."""
        for entry, (money, _) in enumerate(self.amounts):
            for word, state, update in self.reports(server, gateway, entry):
                if state is State.SUCCESS:
                    assert (word, update.captured) == (word, money)
                if state is State.AUTHORIZED:
                    assert (word, update.authorized) == (word, money)

    def test_what_is_not_paid_has_taken_nothing(self, server: GatewayServer, gateway: Gateway) -> None:
        """The amount of an open or failed session is a wish, not a fact."""
        for word, state, update in self.reports(server, gateway):
            if state is not State.SUCCESS:
                assert (word, update.captured) in {(word, None), (word, self.amounts[0][0] * 0)}

    def test_every_report_says_of_which_payment(self, server: GatewayServer, gateway: Gateway) -> None:
        """Our id, or the gateway's: without one, nobody is told."""
        for word, _, update in self.reports(server, gateway):
            assert update.transaction_id or update.gateway_reference, word

    def test_a_failure_has_a_standard_reason(self, server: GatewayServer, gateway: Gateway) -> None:
        """A decline code is one of ours, or there is none."""
        for word, _, update in self.reports(server, gateway):
            assert update.decline_code in {*DECLINE_CODES, ""}, word

    def test_a_hint_says_nothing(self, server: GatewayServer, gateway: Gateway) -> None:
        """What is not signed moves no state and no money: the core asks."""
        if gateway.signs_callbacks:
            pytest.skip("Its callbacks are signed.")
        for word in self.states:
            for update in gateway.parse_callback(self.sent(server, gateway, word)):
                assert (update.state, update.captured, update.authorized) == (None, None, None)
                assert update.transaction_id or update.gateway_reference
