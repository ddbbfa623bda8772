"""The one `GATEWAYPAY` dict, as a typed class of defaults that is read live."""

from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings

__all__ = ["GatewayPaySettings", "settings"]


class GatewayPaySettings:
    """Every setting with its default. An unknown key is a check error, never ignored."""

    #: Dotted path of the host's `OrderHandler`.
    ORDERS: str = ""
    #: The host's public origin, for callback and return URLs.
    BASE_URL: str = ""
    #: Gateways by alias: {"card": {"BACKEND": "dotted.path", "OPTIONS": {...}, "CAPTURE": "manual"}}.
    GATEWAYS: dict[str, dict[str, Any]] = {}
    #: The alias used when a request names none; the first of GATEWAYS when empty.
    DEFAULT_GATEWAY: str = ""
    #: How long a shopper may take.
    EXPIRE_AFTER: timedelta = timedelta(minutes=30)
    #: When polling starts for a payment that nobody waits for.
    POLL_AFTER: timedelta = timedelta(minutes=15)
    #: How long an expired or canceled payment is still watched for late money.
    WATCH_AFTER_EXPIRY: timedelta = timedelta(hours=72)
    #: What money that arrives late does: "review" waits for staff, "fulfil" fulfils the order, "refund" goes back.
    LATE_PAYMENT: str = "review"
    #: Other origins ("https://app.example") that may be returned to and may open the live socket.
    RETURN_ORIGINS: list[str] = []
    #: A Celery worker runs: callbacks are worked on there, and waiting shoppers are asked for by countdown.
    USE_CELERY: bool = False
    #: Refunds above this need a second person, by currency: {"EUR": "500.00"}.
    REFUND_APPROVAL_ABOVE: dict[str, str] = {}
    #: Who is mailed what waits for a person, batched; nobody when empty.
    STAFF_EMAILS: list[str] = []
    #: How long the content of callbacks is kept; `gatewaypay_purge` clears what is older.
    KEEP_PAYLOADS: timedelta = timedelta(days=400)
    #: How often a failing fulfilment or callback is tried before it waits for staff.
    MAX_ATTEMPTS: int = 10
    #: DRF authentication classes that know the host's users.
    AUTHENTICATION: list[str] = ["rest_framework.authentication.SessionAuthentication"]
    #: Requests per client address; None lifts a limit.
    THROTTLES: dict[str, str | None] = {
        "initiate": "60/min",
        "status": "240/min",
        "page": "240/min",
        "lookup": "10/hour",
        "staff": "600/min",
    }
    #: Let the sandbox gateway run although DEBUG is off (staging sites, test suites).
    ALLOW_SANDBOX: bool = False

    def __getattribute__(self, name: str) -> Any:
        if not name.isupper():
            return super().__getattribute__(name)
        given = getattr(django_settings, "GATEWAYPAY", None)
        # Anything but a dict is E001, and no reason to crash before the check can say so.
        return given[name] if isinstance(given, dict) and name in given else super().__getattribute__(name)

    def names(self) -> set[str]:
        """The settings that exist."""
        return {name for name in dir(type(self)) if name.isupper()}

    def default_gateway(self) -> str:
        """The alias used when a request names none; empty when there are no gateways."""
        return self.DEFAULT_GATEWAY or next(iter(self.GATEWAYS), "")


settings = GatewayPaySettings()
