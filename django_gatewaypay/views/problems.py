"""Errors as `application/problem+json` (RFC 9457)."""

import logging
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions as drf
from rest_framework.response import Response

from ..exceptions import (
    AmountNotLeft,
    GatewayDeclined,
    GatewayPayError,
    GatewayRejected,
    GatewayUnavailable,
    IdempotencyConflict,
    InvalidTransition,
    MovementInProgress,
    OrderNotFound,
    OrderNotPayable,
    PaymentInProgress,
    ReasonMissing,
    UnknownGateway,
    UnsupportedOperation,
)
from .body import BodyTooLarge

__all__ = ["CONTENT_TYPE", "not_found", "problem", "problem_for"]

logger = logging.getLogger("gatewaypay.api")

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
#: The first class that fits decides.
ANSWERS: tuple[tuple[type[GatewayPayError], int, str], ...] = (
    (OrderNotFound, 404, "order_not_found"),
    (OrderNotPayable, 422, "order_not_payable"),
    (UnknownGateway, 422, "unknown_gateway"),
    (IdempotencyConflict, 422, "idempotency_conflict"),
    (PaymentInProgress, 409, "payment_in_progress"),
    (MovementInProgress, 409, "movement_in_progress"),
    (InvalidTransition, 409, "invalid_transition"),
    (AmountNotLeft, 422, "amount_not_left"),
    (UnsupportedOperation, 422, "unsupported_operation"),
    (ReasonMissing, 422, "reason_missing"),
    (GatewayDeclined, 422, "gateway_declined"),
    (GatewayRejected, 422, "gateway_rejected"),
    (GatewayUnavailable, 503, "gateway_unavailable"),
)


def problem(status: int, code: str, detail: str, **more: Any) -> Response:
    """A problem document. `more` are extension members; empty ones are left out."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        **{name: value for name, value in more.items() if value},
    }
    return Response(body, status=status, content_type=CONTENT_TYPE)


def not_found() -> Response:
    """The one answer for what is not there and for what is not yours."""
    return problem(404, "not_found", "Not found.")


def problem_for(error: Exception, context: Any = None) -> Response | None:
    """DRF's exception handler for our views; None for what is a bug and belongs to Django."""
    if isinstance(error, GatewayPayError):
        return _from_ours(error)
    if isinstance(error, Http404):
        return not_found()
    if isinstance(error, BodyTooLarge):
        return problem(413, "body_too_large", "The request body is too large.")
    if isinstance(error, PermissionDenied):
        error = drf.PermissionDenied()
    return _from_drf(error) if isinstance(error, drf.APIException) else None


def _from_ours(error: GatewayPayError) -> Response | None:
    for kind, status, code in ANSWERS:
        if isinstance(error, kind):
            answer = problem(
                status,
                code,
                str(error),
                id=getattr(error, "transaction_id", ""),
                decline_code=getattr(error, "decline_code", ""),
            )
            if status in {409, 503}:
                answer["Retry-After"] = str(getattr(error, "retry_after", None) or RETRY_AFTER_SECONDS)
            return answer
    return None


def _from_drf(error: drf.APIException) -> Response:
    if isinstance(error, drf.ValidationError):
        return problem(422, "invalid", "The request has invalid fields.", errors=error.detail)
    answer = problem(error.status_code, error.default_code, str(error.detail))
    wait, challenge = getattr(error, "wait", None), getattr(error, "auth_header", "")
    if wait is not None:
        answer["Retry-After"] = str(int(wait) + 1)
    if challenge:
        answer["WWW-Authenticate"] = challenge
    return answer
