"""Tell staff by e-mail what waits for a person: one mail for all that is new, never one for each."""

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.cache import cache
from django.core.mail import send_mail
from django.db.models import F, QuerySet
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ..conf import settings
from ..models import Transaction
from .comparing import Kind
from .reporting import Report

__all__ = ["WORDS", "notices_are_due", "send_notices", "send_report"]

logger = logging.getLogger("gatewaypay.notices")

#: What comes up meanwhile is told in one mail; also how soon a mail that could not be sent is tried again.
PAUSE = timedelta(minutes=10)
PAUSE_KEY = "gatewaypay:notices"
LISTED = 200

#: What waits for a person, in words.
WORDS: Mapping[str, Promise] = {
    "mismatch": _("wrong amount, currency or reference"),
    "duplicate_payment": _("paid twice"),
    "late": _("paid late"),
    "disputed": _("disputed"),
    "refund_failed": _("refund failed"),
    "refund_unknown": _("refund without an answer"),
    "capture_failed": _("capture failed"),
    "hook_dead": _("fulfilment given up"),
    "unmatched": _("callback given up"),
    "unknown_state": _("unknown answer of the gateway"),
    "recovered": _("found again"),
    "unreconciled": _("differs from the gateway's books"),
    "skew": _("clocks differ"),
}


def notices_are_due() -> bool:
    """Whether something has come up that nobody was mailed, and the last mail is long enough ago."""
    return bool(settings.STAFF_EMAILS) and cache.get(PAUSE_KEY) is None and _untold().exists()


def send_notices() -> int:
    """Mail `STAFF_EMAILS` what has come up since the last mail; how many payments it names.

    It raises nothing: a mail that cannot be sent is in the log, and tried again after the pause.
    """
    rows = list(_untold()[: LISTED + 1]) if settings.STAFF_EMAILS else []
    told, more = rows[:LISTED], len(rows) > LISTED
    news = [(row, codes) for row in told if (codes := row.attention_codes - set(row.attention_told.split()))]
    if news and not cache.add(PAUSE_KEY, 1, PAUSE.total_seconds()):
        return 0
    if news and not _mail("notices", {"items": [_item(row, codes) for row, codes in news], "more": more}):
        return 0
    _remember(told)
    if news:
        logger.info("told staff transactions=%s", [str(row.pk) for row, _ in news])
    return len(news)


def send_report(report: Report) -> bool:
    """Mail `STAFF_EMAILS` what a comparison has found that has no row to flag; whether there was something to mail."""
    missing = [one for one in report.differences if one.kind is Kind.MISSING_HERE and one.matters]
    broken = [account for account in report.accounts if account.trouble]
    if not settings.STAFF_EMAILS or not (missing or broken):
        return False
    items = [{"gateway": one.gateway, "order": _line(one.order_id), "theirs": one.theirs} for one in missing[:LISTED]]
    context = {"missing": items, "count": len(missing), "more": len(missing) > LISTED, "broken": broken}
    return _mail("reconciled", context)


def _untold() -> QuerySet[Transaction]:
    return Transaction.objects.exclude(attention=F("attention_told")).order_by("updated_at")


def _item(row: Transaction, codes: Collection[str]) -> dict[str, Any]:
    """Order and amount, and nothing else of the shopper's."""
    return {
        "order": _line(row.order_id),
        "amount": f"{row.amount_text} {row.currency}",
        "words": [str(WORDS.get(code, code)) for code in sorted(codes)],
        "link": _link(row),
    }


def _link(row: Transaction) -> str:
    """Into the admin, where the host has one."""
    try:
        return settings.BASE_URL.rstrip("/") + reverse("admin:gatewaypay_transaction_change", args=[row.pk])
    except NoReverseMatch:
        return ""


def _line(text: str) -> str:
    """One line, whatever an order is called."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _mail(name: str, context: dict[str, Any]) -> bool:
    """Send one mail in the site's own language; False, and a line in the log, when it does not go out."""
    words = {**context, "shop": urlsplit(settings.BASE_URL).hostname}
    with translation.override(django_settings.LANGUAGE_CODE):
        subject = " ".join(render_to_string(f"gatewaypay/email/{name}_subject.txt", words).split())
        body = render_to_string(f"gatewaypay/email/{name}.txt", words)
    try:
        send_mail(subject, body, None, list(settings.STAFF_EMAILS))
    except Exception as error:  # noqa: BLE001 - whatever a mail server says; it may name addresses, so only its kind is told
        logger.error("mail not sent mail=%s error=%s", name, type(error).__name__)
        return False
    return True


def _remember(rows: Collection[Transaction]) -> None:
    """What was told, unless it has changed meanwhile; also what is not up any more, so that it can come up again."""
    by_codes = defaultdict(list)
    for row in rows:
        by_codes[row.attention].append(row.pk)
    for codes, pks in by_codes.items():
        Transaction.objects.filter(pk__in=pks, attention=codes).update(attention_told=codes)
