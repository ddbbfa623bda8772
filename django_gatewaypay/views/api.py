"""The JSON API. It is independent of the host's own DRF defaults."""

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponseBase
from django.utils.decorators import method_decorator
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from rest_framework import parsers
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import NotAcceptable, ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .. import services
from ..conf import settings
from ..permissions import RateLimit, bearer_token, find_owned, remember_guest
from ..registry import gateways
from ..serializers import InitiateSerializer, initiated, public_status
from ..services.access import owner_user
from .body import read_body
from .pages import problem_page, redirect_to_pay_page
from .problems import not_found, problem, problem_for

__all__ = ["CancelView", "GatewaysView", "InitiateView", "PaymentView", "StatusView", "read_key"]

MAX_BODY = 64 * 1024
FORM = "application/x-www-form-urlencoded"


class StrictJSONParser(parsers.JSONParser):
    """JSON, where nesting without end is bad input like any other."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type=media_type, parser_context=parser_context)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply.") from error


@method_decorator(login_not_required, name="dispatch")
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class PaymentView(APIView):
    """What all our API views have in common."""

    # Ownership is checked per transaction, see permissions.py.
    permission_classes: tuple[type[BasePermission], ...] = (AllowAny,)
    throttle_classes = (RateLimit,)
    throttle_scope = "status"
    renderer_classes = (JSONRenderer,)
    parser_classes: tuple[type[parsers.BaseParser], ...] = (StrictJSONParser,)
    content_negotiation_class = DefaultContentNegotiation
    versioning_class = None
    metadata_class = None

    def get_authenticators(self) -> list[BaseAuthentication]:
        # A bearer token of ours must not make the host's own token classes answer 401.
        if bearer_token(self.request.headers.get("Authorization", "")):
            return []
        return [import_string(path)() for path in settings.AUTHENTICATION]

    def get_exception_handler(self) -> Any:
        return problem_for

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        # Python knows codecs that are no charsets; which one is used is not the client's choice.
        request.encoding = "utf-8"
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        read_body(request._request, MAX_BODY)
        super().initial(request, *args, **kwargs)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        try:
            return super().perform_content_negotiation(request, force)
        except (NotAcceptable, Http404):
            return JSONRenderer(), JSONRenderer.media_type

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        return super().finalize_response(request, response, *args, **kwargs)


@method_decorator(sensitive_post_parameters("return_url"), name="dispatch")
class InitiateView(PaymentView):
    """Start a payment. JSON gets JSON; a plain HTML form is led to the pay page."""

    throttle_scope = "initiate"
    parser_classes = (StrictJSONParser, parsers.FormParser)

    def post(self, request: Request) -> HttpResponseBase:
        is_form = _is_form(request)
        if is_form and not bearer_token(request.headers.get("Authorization", "")):
            SessionAuthentication().enforce_csrf(request)
        started = self._start(request)
        row = started.transaction
        response: HttpResponseBase = (
            redirect_to_pay_page(row) if is_form else Response(initiated(row, started.token), status=201)
        )
        if row.user_id is None:
            remember_guest(request._request, response, row)
        return response

    def handle_exception(self, exc: Exception) -> Any:
        answer = super().handle_exception(exc)
        return problem_page(self.request._request, answer) if _is_form(self.request) else answer

    @sensitive_variables("data", "wish")
    def _start(self, request: Request) -> services.Initiated:
        data = request.data.dict() if hasattr(request.data, "dict") else request.data
        wish = InitiateSerializer(data=data)
        wish.is_valid(raise_exception=True)
        return services.initiate(**wish.validated_data, request=request._request, idempotency_key=read_key(request))


def _is_form(request: Request) -> bool:
    return request._request.content_type == FORM


def read_key(request: Request) -> str:
    """The `Idempotency-Key` of a request; "" when it has none.

    Raises:
        ParseError: it is no such key.
    """
    key = str(request.headers.get("Idempotency-Key", ""))
    if len(key) > 255 or not (key.isascii() and (key.isprintable() or not key)):
        raise ParseError("The Idempotency-Key must be at most 255 printable ASCII characters.")
    return key


class StatusView(PaymentView):
    """What is true of a transaction, for its owner."""

    def get(self, request: Request, text_id: str) -> Response:
        row = find_owned(request, text_id)
        return Response(public_status(row)) if row else not_found()


class CancelView(PaymentView):
    """Close an unpaid payment, for its owner."""

    throttle_scope = "initiate"

    def post(self, request: Request, text_id: str) -> Response:
        row = find_owned(request, text_id)
        if row is None:
            return not_found()
        return Response(public_status(services.cancel_for_shopper(row, actor=owner_user(request))))


class GatewaysView(PaymentView):
    """The gateways on offer, for a currency if one is named."""

    def get(self, request: Request) -> Response:
        currency = request.query_params.get("currency", "")
        if currency and not (currency.isascii() and currency.isalpha() and len(currency) == 3):
            return problem(422, "invalid", "The currency must be an ISO 4217 code.")
        known = [(alias, gateways[alias]) for alias in gateways]
        return Response(
            [
                {"alias": alias, "name": gateway.name, "test_mode": gateway.test_mode}
                for alias, gateway in known
                if not currency or gateway.currencies is None or currency.upper() in gateway.currencies
            ]
        )
