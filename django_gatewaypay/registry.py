"""`gateways["alias"]`: one shared adapter per alias and process, made when it is first needed."""

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.connection import BaseConnectionHandler
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from .conf import settings
from .exceptions import UnknownGateway
from .gateways.base import Gateway

__all__ = ["gateways"]

if TYPE_CHECKING:
    ConnectionHandler = BaseConnectionHandler[Gateway]
else:
    ConnectionHandler = BaseConnectionHandler


class GatewayHandler(ConnectionHandler):
    """Adapters by alias. They are shared between threads, so that each keeps one pooled session."""

    exception_class = UnknownGateway

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Forget every adapter: settings changed, or the process forked and must not share sockets."""
        # A plain namespace where Django keeps a thread-local: adapters are thread-safe.
        self._connections = SimpleNamespace()
        self.__dict__.pop("settings", None)

    def configure_settings(self, settings_dict: Any) -> dict[str, dict[str, Any]]:
        return settings.GATEWAYS

    @sensitive_variables("given")
    def create_connection(self, alias: str) -> Gateway:
        """Build the adapter of an alias.

        Raises:
            ImproperlyConfigured: its BACKEND cannot be imported or refuses its OPTIONS.
        """
        given = self.settings[alias]
        try:
            backend: type[Gateway] = import_string(str(given["BACKEND"]))
            return backend(alias, **given.get("OPTIONS", {}))
        except (ImportError, KeyError, TypeError, ValueError) as error:
            raise ImproperlyConfigured(f'GATEWAYPAY["GATEWAYS"]["{alias}"]: {type(error).__name__}: {error}') from error


gateways = GatewayHandler()
os.register_at_fork(after_in_child=gateways.reset)


def forget_changed_settings(*, setting: str, **_: Any) -> None:
    """Tests that override GATEWAYPAY get fresh adapters."""
    if setting == "GATEWAYPAY":
        gateways.reset()


setting_changed.connect(forget_changed_settings)
