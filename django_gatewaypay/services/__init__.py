"""The verbs. Views, tasks, commands and the admin call these; so may the host."""

from .callbacks import process_callback, receive_callback, retry_callback
from .captures import capture, conclude_capture
from .health import Health, health
from .initiation import Initiated, initiate
from .lookup import address_digest, email_digest, lookup_is_offered, open_link, send_link, send_link_aside
from .movements import drive_movement
from .notices import notices_are_due, send_notices, send_report
from .purging import purge
from .reconciling import reconcile
from .refreshing import cancel, cancel_for_shopper, expire, refresh, refresh_for_shopper
from .refunds import approve_refund, conclude_refund, refund, withdraw_refund
from .replaying import Replayed, replay
from .reporting import Account, Difference, Report
from .reviewing import accept, fulfil, resolve
from .stepping import begin_comparison, go_on, keep_report, report_of
from .sweeping import BATCH, Done, expire_overdue, poll_due, poll_one, retry_fulfilment, sweep, tick

__all__ = [
    "BATCH",
    "Account",
    "Difference",
    "Done",
    "Health",
    "Initiated",
    "Replayed",
    "Report",
    "accept",
    "address_digest",
    "approve_refund",
    "begin_comparison",
    "cancel",
    "cancel_for_shopper",
    "capture",
    "conclude_capture",
    "conclude_refund",
    "drive_movement",
    "email_digest",
    "expire",
    "expire_overdue",
    "fulfil",
    "go_on",
    "health",
    "initiate",
    "keep_report",
    "lookup_is_offered",
    "notices_are_due",
    "open_link",
    "poll_due",
    "poll_one",
    "process_callback",
    "purge",
    "receive_callback",
    "reconcile",
    "refresh",
    "refresh_for_shopper",
    "refund",
    "replay",
    "report_of",
    "resolve",
    "retry_callback",
    "retry_fulfilment",
    "send_link",
    "send_link_aside",
    "send_notices",
    "send_report",
    "sweep",
    "tick",
    "withdraw_refund",
]
