"""`{% load gatewaypay %}`: a payment's live status in any template, money and moments as the shopper writes them."""

from datetime import datetime
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime
from babel.numbers import format_currency
from django import template
from django.utils.timezone import is_aware, localtime
from django.utils.translation import get_language
from moneyed import Money

from ..models import Transaction
from ..screens import screen_context

__all__ = ["gatewaypay_moment", "gatewaypay_money", "gatewaypay_status"]

register = template.Library()


@register.inclusion_tag("gatewaypay/live.html", takes_context=True)
def gatewaypay_status(context: template.Context, transaction: Transaction, token: str = "") -> dict[str, Any]:
    """The state of a transaction in words, kept true by a script: `{% gatewaypay_status transaction %}`.

    Args:
        transaction: the visitor must be allowed to see it; the tag does not look.
        token: what the initiation returned with it; without one, the visitor's session or cookie is the proof.
    """
    request = context.get("request")
    nonce = context.get("csp_nonce") or getattr(request, "csp_nonce", "")
    # A form in it needs the token of the page around it.
    around = {"request": request, "csrf_token": context.get("csrf_token", "")}
    return {**around, **screen_context(transaction), "token": token, "nonce": nonce}


@register.filter
def gatewaypay_money(amount: Money) -> str:
    """An amount in the shopper's language, exact: no digit is rounded away."""
    return format_currency(amount.amount, amount.currency.code, locale=shopper_locale(), decimal_quantization=False)


@register.filter
def gatewaypay_moment(moment: datetime) -> str:
    """Date and time in the shopper's language, in Django's current time zone."""
    return format_datetime(localtime(moment) if is_aware(moment) else moment, "medium", locale=shopper_locale())


def shopper_locale() -> Locale:
    """What Babel knows the active language as; English for one that it does not know."""
    try:
        return Locale.parse(get_language() or "en", sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale.parse("en")
