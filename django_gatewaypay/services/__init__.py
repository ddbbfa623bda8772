"""The verbs. Views, tasks, commands and the admin call these; so may the host."""

from .callbacks import process_callback, receive_callback, retry_callback
from .health import Health, health
from .initiation import Initiated, initiate
from .lookup import address_digest, lookup_is_offered, open_link, send_link, send_link_aside
from .refreshing import cancel, expire, refresh, refresh_for_shopper
from .sweeping import BATCH, Done, expire_overdue, poll_due, poll_one, retry_fulfilment, sweep, tick

__all__ = [
    "BATCH",
    "Done",
    "Health",
    "Initiated",
    "address_digest",
    "cancel",
    "expire",
    "expire_overdue",
    "health",
    "initiate",
    "lookup_is_offered",
    "open_link",
    "poll_due",
    "poll_one",
    "process_callback",
    "receive_callback",
    "refresh",
    "refresh_for_shopper",
    "retry_callback",
    "retry_fulfilment",
    "send_link",
    "send_link_aside",
    "sweep",
    "tick",
]
