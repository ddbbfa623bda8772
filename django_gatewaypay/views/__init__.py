"""HTTP: the API for scripts, front ends and staff, the pages for shoppers, the door for gateways."""

from .api import CancelView, GatewaysView, InitiateView, StatusView
from .callbacks import callback
from .health import health
from .lookup import check_page, open_link
from .pages import pay_page, return_page
from .staff import (
    CaptureView,
    RefreshView,
    RefundsView,
    TransactionCancelView,
    TransactionsView,
    TransactionView,
)

__all__ = [
    "CancelView",
    "CaptureView",
    "GatewaysView",
    "InitiateView",
    "RefreshView",
    "RefundsView",
    "StatusView",
    "TransactionCancelView",
    "TransactionView",
    "TransactionsView",
    "callback",
    "check_page",
    "health",
    "open_link",
    "pay_page",
    "return_page",
]
