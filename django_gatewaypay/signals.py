"""What the host may listen to."""

from django.dispatch import Signal

__all__ = ["transaction_changed"]

#: Sent after the commit of every change, with `transaction` (read afresh), `state` and `previous`
#: (words of `types.State`; equal when only amounts or flags changed). For logs and metrics: a process
#: that dies at the wrong moment sends none. What must happen goes into `OrderHandler.fulfil`.
transaction_changed = Signal()
