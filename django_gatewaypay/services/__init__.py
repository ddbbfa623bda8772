"""The verbs. Views, tasks, commands and the admin call these; so may the host."""

from .callbacks import process_callback, receive_callback
from .initiation import Initiated, initiate
from .refreshing import cancel, expire, refresh, refresh_for_shopper
from .sweeping import Done, expire_overdue, poll_due, poll_one, retry_fulfilment, sweep, tick

__all__ = [
    "Done",
    "Initiated",
    "cancel",
    "expire",
    "expire_overdue",
    "initiate",
    "poll_due",
    "poll_one",
    "process_callback",
    "receive_callback",
    "refresh",
    "refresh_for_shopper",
    "retry_fulfilment",
    "sweep",
    "tick",
]
