"""Who sent a callback: its proof, its time, its bytes."""
# ruff: noqa: S101 - an assert is how pytest speaks

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ...exceptions import CallbackError, InvalidSignature, MalformedCallback
from ...gateways.base import Gateway
from ...types import CallbackRequest, PaymentUpdate
from ..gateway_server import GatewayServer
from .bench import Bench
from .spoiling import UNREADABLE, misread, reserialise

__all__ = ["CallbackTests"]


class CallbackTests(Bench):
    """What is taken, what is refused, and what cannot be read."""

    def signed(self, server: GatewayServer, gateway: Gateway, **details: Any) -> CallbackRequest:
        """A callback that means success, where the vendor signs."""
        if not gateway.signs_callbacks:
            pytest.skip(f"{gateway.name} does not sign its callbacks.")
        return self.sent(server, gateway, **details)

    def test_a_signed_callback_is_taken(self, server: GatewayServer, gateway: Gateway) -> None:
        """It was signed now, with any secret in force; it reads the same each time."""
        for secret in self.secrets:
            callback = self.signed(server, gateway, secret=secret)
            gateway.verify_callback(callback)

            assert gateway.parse_callback(callback) == gateway.parse_callback(callback)

    def test_an_unsigned_callback_is_refused(self, server: GatewayServer, gateway: Gateway) -> None:
        """No proof, no callback."""
        with pytest.raises(InvalidSignature):
            gateway.verify_callback(self.unsigned(self.signed(server, gateway)))

    def test_a_callback_of_a_stranger_is_refused(self, server: GatewayServer, gateway: Gateway) -> None:
        """Another secret proves nothing."""
        with pytest.raises(InvalidSignature):
            gateway.verify_callback(self.signed(server, gateway, secret=self.stranger))

    def test_an_altered_callback_is_refused(self, server: GatewayServer, gateway: Gateway) -> None:
        """Neither the body nor the signature, the id or the time may change, or be missing."""
        for spoiled in self.spoiled(self.signed(server, gateway)):
            with pytest.raises(CallbackError):
                gateway.verify_callback(spoiled)

    def test_a_reserialised_body_is_refused(self, server: GatewayServer, gateway: Gateway) -> None:
        """The bytes are signed, not what they mean."""
        if not self.signs_bytes:
            pytest.skip("The vendor signs fields.")
        for spoiled in reserialise(self.signed(server, gateway)):
            with pytest.raises(InvalidSignature):
                gateway.verify_callback(spoiled)

    @pytest.mark.parametrize("sign", [1, -1], ids=["stale", "future"])
    def test_a_callback_of_another_hour_is_refused(self, server: GatewayServer, gateway: Gateway, sign: int) -> None:
        """What was recorded cannot be played again later, and nothing can be signed in advance."""
        if not self.signs_time:
            pytest.skip("The vendor signs no time.")
        age = sign * self.too_old // timedelta(seconds=1)
        callback = self.signed(server, gateway, age=age)
        with pytest.raises(InvalidSignature):
            gateway.verify_callback(callback)

    def test_an_unreadable_callback_is_malformed(self, server: GatewayServer, gateway: Gateway) -> None:
        """Whatever the bytes are, there is one error; before they are verified too."""
        callback = self.sent(server, gateway)
        for body in UNREADABLE:
            with pytest.raises(MalformedCallback):
                gateway.parse_callback(replace(callback, body=body))
            if gateway.signs_callbacks:
                with pytest.raises(CallbackError):
                    gateway.verify_callback(replace(callback, body=body))

    def test_an_odd_field_does_no_harm(self, server: GatewayServer, gateway: Gateway) -> None:
        """A field that is missing or of another type is read as unknown, or the callback is malformed."""
        for odd in misread(self.sent(server, gateway)):
            try:
                updates = gateway.parse_callback(odd)
            except MalformedCallback:
                continue
            for update in updates:
                assert all(isinstance(text, str) for text in texts(update)), odd.body


def texts(update: PaymentUpdate) -> tuple[str, ...]:
    """What goes into rows as text."""
    ids = (update.transaction_id, update.gateway_reference, update.payment_reference)
    return (*ids, update.event_id, update.decline_code)
