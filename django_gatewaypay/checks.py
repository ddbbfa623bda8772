"""System checks: what would go wrong later is said at start."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from .conf import settings
from .gateways.http import is_loopback
from .money import InvalidAmount, parse_amount, to_minor
from .orders import order_handler
from .registry import gateways
from .types import CAPTURE_WORDS

__all__ = ["check_deployment", "check_gateways", "check_settings"]

LATE_PAYMENT_WORDS = ("review", "fulfil", "refund")
DURATIONS = ("EXPIRE_AFTER", "POLL_AFTER", "WATCH_AFTER_EXPIRY", "KEEP_PAYLOADS")


@register("gatewaypay")
def check_settings(**_: Any) -> list[CheckMessage]:
    """E001 to E007, E010 and E011: the GATEWAYPAY dict makes sense."""
    given = getattr(django_settings, "GATEWAYPAY", None)
    if not isinstance(given, dict):
        return [Error("GATEWAYPAY is missing or is not a dict.", hint="See the quickstart.", id="gatewaypay.E001")]
    return [*_unknown_names(given), *_orders(), *_base_url(), *_words(), *_durations(), *_staff(), *_limits()]


def _unknown_names(given: dict[str, Any]) -> Iterator[Error]:
    known = settings.names()
    for name in sorted(set(given) - known):
        hint = f"Known settings: {', '.join(sorted(known))}."
        yield Error(f"GATEWAYPAY has no setting {name!r}.", hint=hint, id="gatewaypay.E002")


def _orders() -> Iterator[Error]:
    try:
        order_handler()
    except (ImproperlyConfigured, TypeError) as error:
        hint = "Name the dotted path of your OrderHandler subclass; it needs quote() and fulfil()."
        yield Error(f"The order handler cannot be used: {error}", hint=hint, id="gatewaypay.E003")


def _base_url() -> Iterator[Error]:
    try:
        parts = urlsplit(str(settings.BASE_URL))
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
        hint = 'For example "https://shop.example", without a path.'
        yield Error('GATEWAYPAY["BASE_URL"] must be the public origin of this site.', hint=hint, id="gatewaypay.E004")
    elif parts.scheme == "http" and not django_settings.DEBUG and not is_loopback(parts.hostname):
        yield Error('GATEWAYPAY["BASE_URL"] must be https when DEBUG is off.', id="gatewaypay.E004")


def _words() -> Iterator[Error]:
    if settings.LATE_PAYMENT not in LATE_PAYMENT_WORDS:
        hint = f"One of: {', '.join(LATE_PAYMENT_WORDS)}."
        yield Error('GATEWAYPAY["LATE_PAYMENT"] is not a policy.', hint=hint, id="gatewaypay.E005")
    if settings.DEFAULT_GATEWAY and settings.DEFAULT_GATEWAY not in settings.GATEWAYS:
        yield Error('GATEWAYPAY["DEFAULT_GATEWAY"] is not one of GATEWAYS.', id="gatewaypay.E006")


def _durations() -> Iterator[Error]:
    for name in DURATIONS:
        value = getattr(settings, name)
        if not isinstance(value, timedelta) or value <= timedelta(0):
            yield Error(f'GATEWAYPAY["{name}"] must be a positive timedelta.', id="gatewaypay.E007")


def _staff() -> Iterator[Error]:
    given: Any = settings.STAFF_EMAILS
    # A text is a sequence too, and each of its letters would be an address.
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) and "@" in one for one in given):
        hint = 'For example ["payments@shop.example"].'
        yield Error('GATEWAYPAY["STAFF_EMAILS"] must be a list of addresses.', hint=hint, id="gatewaypay.E010")


def _limits() -> Iterator[Error]:
    given: Any = settings.REFUND_APPROVAL_ABOVE
    if not isinstance(given, dict) or not all(_is_limit(limit, currency) for currency, limit in given.items()):
        hint = 'Decimal text by currency, such as {"EUR": "500.00"}.'
        yield Error('GATEWAYPAY["REFUND_APPROVAL_ABOVE"] is no limit.', hint=hint, id="gatewaypay.E011")


def _is_limit(limit: object, currency: object) -> bool:
    try:
        return isinstance(limit, str) and to_minor(parse_amount(limit, currency)) >= 0
    except InvalidAmount:
        return False


@register("gatewaypay")
def check_gateways(**_: Any) -> list[CheckMessage]:
    """E008, E009, E012: there are gateways, and each can be built and used as it is meant."""
    if not settings.GATEWAYS or not isinstance(settings.GATEWAYS, dict):
        return [Error('GATEWAYPAY["GATEWAYS"] names no gateway.', hint="Add at least one.", id="gatewaypay.E008")]
    found: list[CheckMessage] = []
    for alias in settings.GATEWAYS:
        try:
            gateways[alias]
        except ImproperlyConfigured as error:
            found.append(Error(str(error), hint="Check its BACKEND and OPTIONS.", id="gatewaypay.E009"))
        else:
            found += _capture(alias)
    return found


def _capture(alias: str) -> Iterator[Error]:
    word = settings.GATEWAYS[alias].get("CAPTURE", "auto")
    if word not in CAPTURE_WORDS:
        hint = f"One of: {', '.join(CAPTURE_WORDS)}."
        yield Error(f'The CAPTURE of the gateway "{alias}" is {word!r}.', hint=hint, id="gatewaypay.E012")
    elif word == "manual" and not gateways[alias].supports_capture:
        hint = "Take the word out: its payments are captured at once."
        yield Error(f"{gateways[alias].name} cannot capture later.", hint=hint, id="gatewaypay.E012")


@register("gatewaypay", Tags.security, deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """W001 to W004: what works on a laptop and fails in production."""
    return [*_channel_layer(), *_sqlite(), *_celery()]


def _channel_layer() -> Iterator[Warning]:
    layers = getattr(django_settings, "CHANNEL_LAYERS", {})
    backend = layers.get("default", {}).get("BACKEND", "")
    hint = "Use channels_redis.pubsub.RedisPubSubChannelLayer; pages then update live."
    if not backend:
        yield Warning("There is no default channel layer: pages fall back to polling.", hint=hint, id="gatewaypay.W001")
    elif backend.endswith("InMemoryChannelLayer"):
        message = "The in-memory channel layer does not reach other processes: pages fall back to polling."
        yield Warning(message, hint=hint, id="gatewaypay.W002")


def _sqlite() -> Iterator[Warning]:
    for alias in connections:
        options = connections[alias].settings_dict.get("OPTIONS", {})
        if connections[alias].vendor == "sqlite" and options.get("transaction_mode") != "IMMEDIATE":
            hint = 'Set OPTIONS {"transaction_mode": "IMMEDIATE"} and journal_mode=WAL, or use PostgreSQL.'
            yield Warning("SQLite fails under concurrent writers.", hint=hint, id="gatewaypay.W003")


def _celery() -> Iterator[Warning]:
    if settings.USE_CELERY and not _broker():
        hint = "Import your Celery app in your project's __init__.py; else tasks go to Celery's default app."
        yield Warning("USE_CELERY is on, and no broker is configured here.", hint=hint, id="gatewaypay.W004")


def _broker() -> str:
    from celery import current_app  # noqa: PLC0415 - which a host may have no use for

    return str(current_app.conf.broker_url or "")
