"""The host of the simulation: the shop of our tests, with bad days."""

from collections.abc import Callable
from typing import Any, ClassVar

from tests.shop.handler import HookFailed, ShopOrders

from .faults import Weather

__all__ = ["MoodyOrders"]


class MoodyOrders(ShopOrders):
    """Its hooks fail now and then, before they write and after, and take their time."""

    weather: ClassVar[Weather]
    wait: ClassVar[Callable[[float], None]]

    def fulfil(self, transaction: Any) -> None:
        self._in_bad_weather(super().fulfil, transaction)

    def release(self, transaction: Any) -> None:
        self._in_bad_weather(super().release, transaction)

    def _in_bad_weather(self, hook: Callable[[Any], None], transaction: Any) -> None:
        if self.weather.strikes("hook fails"):
            raise HookFailed("the cellar is locked")
        if self.weather.strikes("hook outlives its lease"):
            type(self).wait(90)
        hook(transaction)
        if self.weather.strikes("hook fails after writing"):
            raise HookFailed("the printer is out of paper")
