"""Any gateway that speaks the plain hosted protocol (docs/reference/hosted-protocol)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from ..exceptions import GatewayRejected, GatewayUnavailable, MalformedCallback, UnsupportedOperation
from ..types import (
    CallbackRequest,
    ListedPayment,
    NextAction,
    PaymentRef,
    PaymentRequest,
    PaymentSession,
    PaymentUpdate,
    RefundRequest,
    RefundUpdate,
    State,
)
from . import hosted_wire as wire
from . import signing
from .base import Gateway
from .paging import Page, read_pages

__all__ = ["HostedGateway"]


class HostedGateway(Gateway):
    """The plain hosted protocol: JSON over https, signed by Standard Webhooks.

    Amounts travel as decimal strings ("19.99"), states in our own words. A gateway may lack any call
    but the one that opens a session: without `cancel`, its sessions end by themselves at `expires_at`;
    without `capture`, `refund`, `refunds` or `list`, these are refused as unsupported.

    Args:
        webhook_secrets: `whsec_…` secrets, or a callable that returns them; all verify.
        api_key: sent as a bearer token, when the gateway wants one.
    """

    name = "Hosted"
    supports_fetch = True
    supports_find = True
    supports_cancel = True
    supports_capture = True
    supports_several_captures = True
    supports_refund = True
    supports_partial_refund = True
    supports_find_refund = True
    supports_list = True

    STATES: ClassVar[Mapping[str, State]] = {
        "pending": State.PENDING,
        "processing": State.PROCESSING,
        "authorized": State.AUTHORIZED,
        "success": State.SUCCESS,
        "failed": State.FAILED,
        "canceled": State.CANCELED,
        "expired": State.EXPIRED,
    }
    RAW_FIELDS: ClassVar[Sequence[str]] = (
        "event_id",
        "transaction_id",
        "reference",
        "status",
        "amount",
        "currency",
        "authorized",
        "captured",
        "refunded",
        "decline_code",
        "refund_reference",
        "refund_id",
        "refund_status",
        "refund_amount",
        "dispute_reference",
        "dispute_status",
        "dispute_amount",
        "dispute_reason",
    )

    def __init__(self, alias: str, *, webhook_secrets: signing.Secrets, api_key: str = "", **options: Any) -> None:
        super().__init__(alias, **options)
        for secret in signing.read_secrets(webhook_secrets):
            signing.check_secret(secret)
        self.webhook_secrets = webhook_secrets
        if api_key:
            self.client.session.headers["Authorization"] = f"Bearer {api_key}"

    def create_session(self, request: PaymentRequest) -> PaymentSession:
        """See `Gateway`."""
        answer = self.client.post(
            "create-session", json=self._session_body(request), idempotency_key=request.idempotency_key
        ).data
        return self._session(answer)

    def find_session(self, request: PaymentRequest) -> PaymentSession | None:
        """See `Gateway`. A gateway without the call does not say that there is none."""
        try:
            answer = self.client.get(f"find/{_quoted(request.transaction_id)}").data
        except GatewayRejected as error:
            if (error.status, error.code) == (404, "not_found"):
                return None
            raise
        return self._session(answer) if answer.get("status") == "pending" else None

    def verify_callback(self, request: CallbackRequest) -> None:
        """See `Gateway`."""
        signing.verify_standard_webhook(self.webhook_secrets, request.headers, request.body)

    def parse_callback(self, request: CallbackRequest) -> list[PaymentUpdate]:
        """See `Gateway`."""
        data = self.read_json(request.body)
        if not wire.is_reference(data.get("event_id")):
            raise MalformedCallback("The callback has no event_id.")
        return [self._update(data)]

    def fetch_payment(self, payment: PaymentRef) -> PaymentUpdate:
        """See `Gateway`."""
        return self._update(self.client.get(f"status/{_quoted(payment.gateway_reference)}").data)

    def cancel_payment(self, payment: PaymentRef, *, idempotency_key: str) -> PaymentUpdate:
        """See `Gateway`. A gateway without the call is asked what is true instead."""
        path = f"cancel/{_quoted(payment.gateway_reference)}"
        try:
            return self._update(self.client.post(path, json={}, idempotency_key=idempotency_key).data)
        except GatewayRejected:
            return self.fetch_payment(payment)

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        """See `Gateway`."""
        path = f"capture/{_quoted(payment.gateway_reference)}"
        body = {**wire.write_money(payment.amount), "final": final}
        with self._optional():
            return self._update(self.client.post(path, json=body, idempotency_key=idempotency_key).data)

    def refund(self, request: RefundRequest) -> RefundUpdate:
        """See `Gateway`."""
        path = f"refund/{_quoted(request.payment.gateway_reference)}"
        ours = {"refund_id": request.refund_id, "reason": request.reason}
        body = {**wire.write_money(request.amount), **ours}
        with self._optional():
            return self._refund(self.client.post(path, json=body, idempotency_key=request.idempotency_key).data)

    def fetch_refund(self, payment: PaymentRef, refund_reference: str) -> RefundUpdate:
        """See `Gateway`."""
        with self._optional():
            return self._refund(self.client.get(f"refund/{_quoted(refund_reference)}").data)

    def find_refund(self, request: RefundRequest) -> RefundUpdate | None:
        """See `Gateway`. A gateway without the call does not say that there is none."""
        with self._optional():
            answer = self.client.get(f"refunds/{_quoted(request.payment.gateway_reference)}").data
        refunds = wire.objects_in(answer.get("refunds"))
        if refunds is None:
            raise GatewayUnavailable("The list of refunds cannot be read.", gateway=self.name, code="no_list")
        ours = [one for one in refunds if one.get("refund_id") == request.refund_id]
        return self._refund(ours[0]) if ours else None

    def list_payments(self, since: datetime, until: datetime) -> Iterator[ListedPayment]:
        """See `Gateway`."""
        window = {"since": wire.write_time(since), "until": wire.write_time(until)}

        def read(cursor: str) -> Page[Mapping[str, Any]]:
            query = urlencode(window | ({"after": cursor} if cursor else {}))
            with self._optional():
                page = self.client.get(f"list?{query}").data
            return wire.objects_in(page.get("payments")), wire.text(page.get("next"))

        for one in read_pages(self.name, read):
            yield self._listed(one)

    # --- How the wire reads.

    @contextmanager
    def _optional(self) -> Iterator[None]:
        """Around a call that a gateway may lack."""
        try:
            yield
        except GatewayRejected as error:
            if error.status in {404, 405}:
                raise UnsupportedOperation(f"{self.name} does not offer this for this payment.") from error
            raise

    def _session(self, answer: Mapping[str, Any]) -> PaymentSession:
        reference, url = answer.get("reference"), answer.get("payment_url")
        if not wire.is_reference(reference) or not isinstance(url, str):
            raise GatewayUnavailable("The gateway opened no session.", gateway=self.name, code="no_session")
        return PaymentSession(gateway_reference=reference, next_action=NextAction(url=self.check_payment_url(url)))

    def _session_body(self, request: PaymentRequest) -> dict[str, Any]:
        body = {
            **wire.write_money(request.amount),
            "callback_url": request.callback_url,
            "return_url": request.return_url,
            "transaction_id": request.transaction_id,
            "order_id": request.order_id,
            "expires_at": wire.write_time(request.expires_at, "seconds"),
            "description": request.description,
        }
        return body | ({"capture": "manual"} if request.manual_capture else {})

    def _update(self, data: Mapping[str, Any]) -> PaymentUpdate:
        state = self.STATES.get(data["status"]) if isinstance(data.get("status"), str) else None
        return PaymentUpdate(
            transaction_id=wire.text(data.get("transaction_id")),
            gateway_reference=wire.text(data.get("reference")),
            state=state,
            # The amount of a success is what was taken; of anything else, what was asked for.
            captured=wire.read_money(data, "amount" if state is State.SUCCESS else "captured"),
            authorized=wire.read_money(data, "authorized"),
            refunded=wire.read_money(data, "refunded"),
            event_id=wire.text(data.get("event_id")),
            decline_code=wire.decline_code(data.get("decline_code")) if state is State.FAILED else "",
            refund=wire.read_refund(data, "refund_"),
            dispute=wire.read_dispute(data),
            raw={name: wire.text(data[name]) for name in self.RAW_FIELDS if name in data},
        )

    def _refund(self, data: Mapping[str, Any]) -> RefundUpdate:
        refund = wire.read_refund(data)
        if refund is None:
            raise GatewayUnavailable("The gateway named no refund.", gateway=self.name, code="no_refund")
        return refund

    def _listed(self, data: Mapping[str, Any]) -> ListedPayment:
        created_at = wire.read_time(data.get("created_at"))
        if created_at is None:
            raise GatewayUnavailable("A listed payment has no time.", gateway=self.name, code="no_list")
        return ListedPayment(
            update=self._update(data),
            created_at=created_at,
            amount=wire.read_money(data, "asked_amount"),
            order_id=wire.text(data.get("order_id")),
        )


def _quoted(reference: str) -> str:
    return quote(reference, safe="")
