"""For monitors: whether the clock of this site runs."""

import logging

from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError, transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .. import services

__all__ = ["health"]

logger = logging.getLogger("gatewaypay.poll")


@login_not_required
@transaction.non_atomic_requests
@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """200 while due work is done in time; 503 when it waits for more than three minutes, or the database is away."""
    try:
        found = services.health()
    except (OperationalError, InterfaceError):
        logger.exception("database unavailable")
        return JsonResponse({"status": "unavailable"}, status=503)
    if not found.late:
        return JsonResponse({"status": "ok"})
    seconds = int(found.waiting.total_seconds())
    logger.error("late: due work has been waiting for %s s", seconds)
    return JsonResponse({"status": "late", "seconds": seconds}, status=503)
