"""What adapters and hosts test with. Shipped, documented, and used by our own suite."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contract import GatewayContract

__all__ = ["GatewayContract"]


def __getattr__(name: str) -> Any:
    """The battery needs pytest, which the scripted gateway does not: it is loaded when it is asked for."""
    if name != "GatewayContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest  # noqa: PLC0415 - only who asks for the battery has it

    pytest.register_assert_rewrite(f"{__name__}.contract")
    from .contract import GatewayContract  # noqa: PLC0415 - after its asserts were registered

    return GatewayContract
