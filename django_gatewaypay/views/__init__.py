"""HTTP: the API for scripts and front ends, the pages for shoppers, the door for gateways."""

from .api import CancelView, GatewaysView, InitiateView, StatusView
from .callbacks import callback
from .health import health
from .pages import check_page, pay_page, return_page

__all__ = [
    "CancelView",
    "GatewaysView",
    "InitiateView",
    "StatusView",
    "callback",
    "check_page",
    "health",
    "pay_page",
    "return_page",
]
