"""Find the payments of an order again: a signed link, mailed to the address that the host knows.

Whoever asks is told nothing, so what depends on the answer is done outside of the request.
"""

import hashlib
import logging
import threading
import traceback
from urllib.parse import urlsplit

from django.core import signing
from django.core.cache import cache
from django.core.mail import send_mail
from django.db import connections
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.debug import sensitive_variables

from ..conf import settings
from ..models import Transaction
from ..orders import OrderHandler, order_handler

__all__ = [
    "address_digest",
    "ask_email_digest",
    "email_digest",
    "lookup_is_offered",
    "open_link",
    "send_link",
    "send_link_aside",
]

logger = logging.getLogger("gatewaypay.lookup")

SALT = "gatewaypay.lookup"
SEARCH_SALT = "gatewaypay.search"
LINK_LIVES_SECONDS = 60 * 60
ONE_MAIL_SECONDS = 5 * 60
#: The answer is on its way before the work starts, so that its duration says nothing.
PAUSE_SECONDS = 0.2
#: A mail server that hangs must not fill the process with threads.
slots = threading.BoundedSemaphore(8)


def lookup_is_offered() -> bool:
    """Whether the host tells the addresses of its orders."""
    return type(order_handler()).email is not OrderHandler.email


@sensitive_variables("email")
def address_digest(order_id: str, email: str) -> str:
    """What stands for the address of an order in a link and in a queue; only this site can make it."""
    text = f"{order_id}\0{email.strip().casefold()}"
    return salted_hmac(SALT, text, algorithm="sha256").hexdigest()[:32]


@sensitive_variables("email")
def email_digest(email: str) -> str:
    """What stands for an address in the books, whatever the order: staff find its payments, and nobody reads it."""
    return salted_hmac(SEARCH_SALT, email.strip().casefold(), algorithm="sha256").hexdigest()


@sensitive_variables()
def ask_email_digest(order_id: str) -> str:
    """The digest of the address that the host has for an order; "" when there is none, or its hook fails."""
    try:
        email = order_handler().email(order_id).strip()
    except Exception as error:  # noqa: BLE001 - logged; a payment starts without it
        _log_failure("no address", order_id, error)
        return ""
    return email_digest(email) if email else ""


@sensitive_variables()
def send_link(order_id: str, digest: str, path: str, language: str) -> bool:
    """Mail a link to the payments of an order, if there are any and the digest is that of its address.

    It raises nothing: what went wrong is in the log, without the address and the link.

    Args:
        order_id: what the visitor typed.
        digest: `address_digest` of what the visitor typed.
        path: of our check page, as the visitor's request knows it.
        language: of the visitor.
    """
    try:
        return _send_link(order_id, digest, path, language)
    except Exception as error:  # noqa: BLE001 - logged, and the visitor is answered already
        _log_failure("link not sent", order_id, error)
        return False


@sensitive_variables()
def _send_link(order_id: str, digest: str, path: str, language: str) -> bool:
    rows = list(Transaction.objects.filter(order_id=order_id))
    email = order_handler().email(order_id) if rows else ""
    if not email or not constant_time_compare(digest, address_digest(order_id, email)):
        logger.info("no match order=%r", order_id)
        return False
    key = f"gatewaypay:lookup:{hashlib.sha256(order_id.encode()).hexdigest()}"
    if not cache.add(key, 1, ONE_MAIL_SECONDS):
        logger.info("link not sent again order=%r", order_id)
        return False
    try:
        _mail(order_id, email, path, language)
    except BaseException:
        # It did not go out, so asking once more may help.
        cache.delete(key)
        raise
    logger.info("link sent order=%r transactions=%s", order_id, [str(row.pk) for row in rows])
    return True


@sensitive_variables()
def _mail(order_id: str, email: str, path: str, language: str) -> None:
    signed = signing.dumps([order_id, address_digest(order_id, email)], salt=SALT)
    origin = settings.BASE_URL.rstrip("/")
    context = {"order": order_id, "shop": urlsplit(origin).hostname, "link": f"{origin}{path}{signed}/"}
    with translation.override(language or None):
        subject = " ".join(render_to_string("gatewaypay/email/lookup_subject.txt", context).split())
        send_mail(subject, render_to_string("gatewaypay/email/lookup.txt", context), None, [email.strip()])


@sensitive_variables("digest")
def send_link_aside(order_id: str, digest: str, path: str, language: str) -> None:
    """`send_link` in a short-lived thread of this process, for sites without Celery."""
    if not slots.acquire(blocking=False):
        logger.warning("busy: link not sent order=%r", order_id)
        return
    thread = threading.Timer(PAUSE_SECONDS, _in_thread, [order_id, digest, path, language])
    thread.name, thread.daemon = "gatewaypay-lookup", True
    thread.start()


@sensitive_variables("digest")
def _in_thread(order_id: str, digest: str, path: str, language: str) -> None:
    try:
        send_link(order_id, digest, path, language)
    finally:
        connections.close_all()
        slots.release()


@sensitive_variables()
def open_link(signed: str) -> list[Transaction]:
    """The payments behind a link, the newest first; none when it is broken, an hour old, or of an old address."""
    try:
        found = signing.loads(signed, salt=SALT, max_age=LINK_LIVES_SECONDS)
    except signing.BadSignature:
        return []
    order_id, digest = found
    try:
        email = order_handler().email(order_id)
    except Exception as error:  # noqa: BLE001 - the host's hook; an order that is gone is no crash
        _log_failure("link not opened", order_id, error)
        return []
    if not email or not constant_time_compare(digest, address_digest(order_id, email)):
        return []
    return list(Transaction.objects.filter(order_id=order_id).order_by("-created_at"))


def _log_failure(what: str, order_id: str, error: Exception) -> None:
    """Without the message and the values: those of a mail server name the address."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s order=%r error=%s\n%s", what, order_id, type(error).__name__, frames)
