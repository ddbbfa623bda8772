"""What the host may listen to."""

from django.dispatch import Signal

__all__ = ["dispute_changed", "movement_changed", "transaction_changed"]

#: Sent after the commit of every change, with `transaction` (read afresh), `state` and `previous`
#: (words of `types.State`; equal when only amounts or flags changed). For logs and metrics: a process
#: that dies at the wrong moment sends none. What must happen goes into `OrderHandler.fulfil`.
transaction_changed = Signal()

#: Sent after the commit of every change of a capture or a refund, with `movement` (a `models.Capture` or
#: `models.Refund`), `state` and `previous` (words of `types.MovementState`). The sender is its class.
movement_changed = Signal()

#: Sent after the commit of every change of a dispute, with `dispute` and `state` (a word of `types.DisputeState`).
dispute_changed = Signal()
