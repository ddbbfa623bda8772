"""The JSON API for staff: the same permissions as in the admin, the same verbs, the same books."""

from typing import Any, ClassVar

from django.http import Http404
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from .. import services
from ..models import Transaction
from ..money import InvalidAmount
from ..permissions import StaffPermission
from ..serializers import (
    BrowseSerializer,
    CaptureSerializer,
    NothingSerializer,
    ReasonSerializer,
    RefundSerializer,
    capture_fields,
    refund_fields,
    transaction_details,
    transaction_fields,
    write_cursor,
)
from ..services.access import parse_id
from ..services.browsing import browse
from ..types import Source
from .api import PaymentView, read_key

__all__ = [
    "CaptureView",
    "RefreshView",
    "RefundsView",
    "TransactionCancelView",
    "TransactionView",
    "TransactionsView",
]


class StaffView(PaymentView):
    """What all views for staff have in common."""

    permission_classes = (StaffPermission,)
    throttle_scope = "staff"
    needs: ClassVar[tuple[str, ...]] = ("view_transaction",)
    serializer: ClassVar[Any] = NothingSerializer

    def read(self, given: Any) -> dict[str, Any]:
        """What was sent, checked field by field."""
        sent = self.serializer(data=given.dict() if hasattr(given, "dict") else given)
        sent.is_valid(raise_exception=True)
        return dict(sent.validated_data)

    def find(self, text_id: str) -> Transaction:
        """The transaction behind an id from a URL."""
        pk = parse_id(text_id)
        row = Transaction.objects.filter(pk=pk).first() if pk else None
        if row is None:
            raise Http404
        return row


class TransactionsView(StaffView):
    """The transactions, the newest first."""

    serializer = BrowseSerializer

    def get(self, request: Request) -> Response:
        page = browse(**self.read(request.query_params))
        return Response({"results": [transaction_fields(row) for row in page.rows], "next": write_cursor(page.next)})


class TransactionView(StaffView):
    """One transaction, and all that happened to it."""

    def get(self, request: Request, text_id: str) -> Response:
        return Response(transaction_details(self.find(text_id)))


class RefreshView(StaffView):
    """Ask the gateway what is true."""

    needs = ("view_transaction", "refresh_transaction")
    serializer = ReasonSerializer

    def post(self, request: Request, text_id: str) -> Response:
        reason = self.read(request.data)["reason"]
        row = services.refresh(self.find(text_id).pk, source=Source.STAFF, actor=request.user, reason=reason)
        return Response(transaction_details(row))


class TransactionCancelView(StaffView):
    """Close an unpaid payment, or let reserved money go."""

    needs = ("view_transaction", "cancel_transaction")
    serializer = ReasonSerializer

    def post(self, request: Request, text_id: str) -> Response:
        wish = self.read(request.data)
        row = services.cancel(self.find(text_id).pk, actor=request.user, reason=wish["reason"])
        return Response(transaction_details(row))


class MovementView(StaffView):
    """Move money: one wish, however often it is sent under its `Idempotency-Key`."""

    def begin(self, request: Request, text_id: str, verb: Any) -> Any:
        """Do it; the movement as it is then."""
        wish, row = self.read(request.data), self.find(text_id)
        try:
            return verb(row.pk, **wish, actor=request.user, idempotency_key=read_key(request))
        except InvalidAmount as error:
            raise ValidationError({"amount": [str(error)]}) from error


class CaptureView(MovementView):
    """Take reserved money."""

    needs = ("view_transaction", "capture_transaction")
    serializer = CaptureSerializer

    def post(self, request: Request, text_id: str) -> Response:
        return Response(capture_fields(self.begin(request, text_id, services.capture)), status=201)


class RefundsView(MovementView):
    """Give money back."""

    needs = ("view_transaction", "refund_transaction")
    serializer = RefundSerializer

    def post(self, request: Request, text_id: str) -> Response:
        return Response(refund_fields(self.begin(request, text_id, services.refund)), status=201)
