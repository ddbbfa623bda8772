"""HTTP: the API for scripts and front ends, the pages for shoppers, the door for gateways."""

from .api import CancelView, GatewaysView, InitiateView, StatusView
from .callbacks import callback
from .health import health
from .lookup import check_page, open_link
from .pages import pay_page, return_page

__all__ = [
    "CancelView",
    "GatewaysView",
    "InitiateView",
    "StatusView",
    "callback",
    "check_page",
    "health",
    "open_link",
    "pay_page",
    "return_page",
]
