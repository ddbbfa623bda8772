"""What nobody may read: secrets, and whatever a vendor sends beyond what is kept."""
# ruff: noqa: S101 - an assert is how pytest speaks

import logging
from contextlib import suppress

import pytest

from ...exceptions import CallbackError, GatewayError
from ...gateways.base import Gateway
from ..gateway_server import Answer, GatewayServer
from .bench import Bench
from .spoiling import CANARY, plant

__all__ = ["SecrecyTests"]


class SecrecyTests(Bench):
    """Reprs, logs, errors, and the payload that is stored."""

    def leaks(self, text: str) -> list[str]:
        """The secrets in a text."""
        return [secret for secret in self.nobody_reads if secret in text]

    def echo(self) -> Answer:
        """A refusal that repeats what we sent, as some vendors do."""
        said = f"Invalid key: {' '.join(self.nobody_reads)}"
        return Answer.json({"message": said, "detail": said, "errors": [{"message": said}]}, self.rejected.status)

    def test_its_repr_names_no_secret(self, gateway: Gateway) -> None:
        """Error pages and shells show it."""
        assert self.leaks(f"{gateway!r} {gateway} {gateway.client!r}") == []

    def test_its_errors_name_no_secret(self, server: GatewayServer, gateway: Gateway) -> None:
        """Nor do the errors behind them, even where the vendor repeats a key."""
        callback = self.sent(server, gateway, secret=self.stranger)
        errors: list[BaseException] = []
        for answers in ([self.echo()], [Answer.closed()] * gateway.client.tries):
            server.script(*answers)
            with pytest.raises(GatewayError) as caught:
                gateway.create_session(self.request())
            errors.append(caught.value)
        if gateway.signs_callbacks:
            with pytest.raises(CallbackError) as refused:
                gateway.verify_callback(callback)
            errors.append(refused.value)
        for error in errors:
            behind: BaseException | None = error
            while behind is not None:
                assert self.leaks(f"{behind} {behind!r} {vars(behind)}") == []
                behind = behind.__cause__ or behind.__context__

    def test_its_logs_name_no_secret(
        self, server: GatewayServer, gateway: Gateway, caplog: pytest.LogCaptureFixture
    ) -> None:
        """At DEBUG, over good and bad days."""
        caplog.set_level(logging.DEBUG)
        self.asked(server, gateway, self.paid_word)
        callback = self.sent(server, gateway)
        for given in (callback, self.unsigned(callback)):
            with suppress(CallbackError):
                gateway.verify_callback(given)
            gateway.parse_callback(given)
        for answer in (self.echo(), self.rejected, *[Answer.error(503)] * gateway.client.tries):
            server.script(answer)
            with suppress(GatewayError):
                gateway.create_session(self.request())

        assert self.leaks(caplog.text) == []

    def test_what_is_stored_is_an_allow_list(self, server: GatewayServer, gateway: Gateway) -> None:
        """A field that nobody named is not kept, for it may be personal; nor is a secret."""
        updates = [*gateway.parse_callback(plant(self.sent(server, gateway)))]
        updates += self.asked(server, gateway, self.paid_word)
        for update in updates:
            assert CANARY not in repr(update)
            assert self.leaks(repr(update)) == []
