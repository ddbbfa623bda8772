"""The admin: staff read everything here, and change nothing but through the services."""

from .home import HomeAdmin
from .letters import CallbackAdmin, FulfilmentAdmin
from .movements import CaptureAdmin, DisputeAdmin, RefundAdmin
from .transactions import TransactionAdmin

__all__ = [
    "CallbackAdmin",
    "CaptureAdmin",
    "DisputeAdmin",
    "FulfilmentAdmin",
    "HomeAdmin",
    "RefundAdmin",
    "TransactionAdmin",
]
