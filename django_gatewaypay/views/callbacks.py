"""Where gateways report: verify, store, commit, answer; then work."""

import logging

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST

from .. import services
from ..conf import settings
from ..exceptions import CallbackError, InvalidSignature, StaleSignature, UnknownGateway
from ..models import Callback
from ..registry import gateways
from ..types import CallbackRequest
from .body import BodyTooLarge, read_body

__all__ = ["callback"]

logger = logging.getLogger("gatewaypay.callback")

MAX_BODY = 256 * 1024
RETRY_AFTER_SECONDS = "30"


# No session speaks here: the signature is the proof. The inbox row must survive whatever comes after it.
@csrf_exempt
@login_not_required
@transaction.non_atomic_requests
@require_POST
def callback(request: HttpRequest, alias: str) -> HttpResponse:
    """One message of a gateway. Refusals say nothing about why; the log does."""
    try:
        return _receive(request, alias)
    except BodyTooLarge:
        return _refuse(413, alias, "too large")
    except UnknownGateway:
        return _refuse(404, alias, "unknown gateway")
    except StaleSignature:
        logger.error("clock skew gateway=%r: a callback with a good signature and a bad time; is NTP running?", alias)
        return _refuse(400, alias, "stale signature")
    except CallbackError as error:
        return _refuse(400, alias, "bad signature" if isinstance(error, InvalidSignature) else "unreadable")
    except (OperationalError, InterfaceError):
        logger.exception("database unavailable gateway=%r", alias)
        return _try_again()
    except ImproperlyConfigured as error:
        # Without a secret nothing can be proved; the gateway tells us again when the host has mended it.
        logger.critical("misconfigured gateway=%r: %s", alias, error)
        return _try_again()


@sensitive_variables("body", "message")
def _receive(request: HttpRequest, alias: str) -> HttpResponse:
    if alias not in settings.GATEWAYS:
        raise UnknownGateway
    gateway = gateways[alias]
    # Python knows codecs that are no charsets; the query is read as UTF-8 whatever the sender says.
    request.encoding = "utf-8"
    if request.content_type not in gateway.callback_content_types or request.headers.get("Content-Encoding"):
        return _refuse(415, alias, "content type")
    body = read_body(request, MAX_BODY)
    message = CallbackRequest(dict(request.headers), body, request.GET.dict(), request.build_absolute_uri())
    for row in services.keep_callback(alias, message):
        if not (settings.USE_CELERY and _hand_on(row)):
            services.process_row(row)
    content, content_type = gateway.callback_response()
    return HttpResponse(content, content_type=content_type)


def _hand_on(row: Callback) -> bool:
    from .. import tasks  # noqa: PLC0415 - all of Celery, which a host may have no use for

    return tasks.enqueue(tasks.process_callback, str(row.pk))


def _try_again() -> HttpResponse:
    return HttpResponse(
        "Try again later.\n", status=503, content_type="text/plain", headers={"Retry-After": RETRY_AFTER_SECONDS}
    )


def _refuse(status: int, alias: str, why: str) -> HttpResponse:
    logger.warning("refused gateway=%r status=%s why=%s", alias[:64], status, why)
    return HttpResponse("Refused.\n", status=status, content_type="text/plain")
