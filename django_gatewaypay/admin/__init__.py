"""The admin: staff read everything here, and change nothing but through the services."""

from .letters import CallbackAdmin, FulfilmentAdmin
from .transactions import TransactionAdmin

__all__ = ["CallbackAdmin", "FulfilmentAdmin", "TransactionAdmin"]
