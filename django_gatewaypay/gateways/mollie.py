"""Mollie, through the Payments API v2: https://docs.mollie.com/reference/payments-api."""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from ..exceptions import (
    GatewayRejected,
    GatewayUnavailable,
    InvalidSignature,
    MalformedCallback,
    UnsupportedOperation,
)
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
from . import mollie_wire as wire
from . import signing
from .answers import Refusal
from .base import Gateway
from .http import is_loopback
from .paging import Page, read_pages

__all__ = ["MollieGateway"]

PAGE = 250
# How far back a payment is looked for.
MOST = 10 * PAGE
CLOCKS_DIFFER = timedelta(hours=1)


class MollieGateway(Gateway):
    """Mollie's hosted checkout.

    A classic callback is `id=tr_…` and unsigned by design: it is a hint that something changed, and
    what is true is asked for. Mollie decides by method how long a payment can be paid.

    Args:
        api_key: `live_…` or `test_…`.
        webhook_secrets: signing secrets of next-generation callbacks, or a callable that returns them;
            all verify. Classic callbacks have none.
    """

    name = "Mollie"
    default_api_base = "https://api.mollie.com"
    default_payment_hosts = ("www.mollie.com",)
    signs_callbacks = False
    supports_fetch = True
    supports_find = True
    supports_cancel = True
    supports_capture = True
    supports_refund = True
    supports_partial_refund = True
    supports_find_refund = True
    supports_list = True
    # docs.mollie.com/docs/multicurrency, read in November 2026; which method takes which is the account's to say
    currencies = frozenset(
        "AED AUD BGN BRL CAD CHF CZK DKK EUR GBP HKD HUF ILS ISK JPY MXN MYR NOK NZD PHP PLN RON SEK SGD THB TWD "  # noqa: SIM905 - read as a list of words
        "USD ZAR".split()
    )
    key_ttl = timedelta(hours=1)
    callback_content_types = ("application/x-www-form-urlencoded", "application/json")

    STATES: ClassVar[Mapping[str, State]] = {
        "open": State.PENDING,
        "pending": State.PROCESSING,
        "authorized": State.AUTHORIZED,
        "paid": State.SUCCESS,
        "failed": State.FAILED,
        "canceled": State.CANCELED,
        "expired": State.EXPIRED,
    }
    RAW_FIELDS: ClassVar[Sequence[str]] = ("id", "status", "mode", "method", "captureMode", "expiresAt")

    def __init__(self, alias: str, *, api_key: str, webhook_secrets: signing.Secrets = (), **options: Any) -> None:
        super().__init__(alias, **options)
        # A key with a line break in it would otherwise be quoted by the error that it causes.
        if not re.fullmatch(r"[!-~]+", api_key):
            raise ValueError("api_key is not a key of Mollie.")
        if webhook_secrets:
            signing.read_secrets(webhook_secrets)
        self.webhook_secrets = webhook_secrets
        self.test_mode = api_key.startswith("test_")
        self.client.session.headers["Authorization"] = f"Bearer {api_key}"

    def create_session(self, request: PaymentRequest) -> PaymentSession:
        """See `Gateway`."""
        answer = self.client.post(
            "v2/payments", json=self._payment_body(request), idempotency_key=request.idempotency_key
        ).data
        return self._session(answer)

    def find_session(self, request: PaymentRequest) -> PaymentSession | None:
        """See `Gateway`. Mollie lists the newest payments first, and cannot search by metadata."""
        for place, one in enumerate(self._list("v2/payments", "payments")):
            ours = wire.object_in(one.get("metadata")).get("transaction_id") == request.transaction_id
            if ours and one.get("status") == "open":
                return self._session(one)
            if wire.is_older(one, request.created_at - CLOCKS_DIFFER):
                return None
            if place == MOST:
                raise GatewayUnavailable("Too many payments to look through.", gateway=self.name, code="not_found_yet")
        return None

    def verify_callback(self, request: CallbackRequest) -> None:
        """See `Gateway`. A hint without a signature proves nothing and is believed in nothing."""
        given = {name.lower(): value for name, value in request.headers.items()}.get("x-mollie-signature")
        if given is None:
            return
        if not self.webhook_secrets:
            raise InvalidSignature
        offered = [one.strip().removeprefix("sha256=") for one in given.split(",")]
        signing.check_hex_hmac(self.webhook_secrets, request.body, offered)

    def parse_callback(self, request: CallbackRequest) -> list[PaymentUpdate]:
        """See `Gateway`. It names a payment and says nothing about it."""
        given = {name.lower(): value for name, value in request.headers.items()}
        if given.get("content-type", "").startswith("application/json"):
            return [self._event(self.read_json(request.body))]
        try:
            names = parse_qs(request.body.decode("ascii"), max_num_fields=20).get("id", [])
        except ValueError as error:
            raise MalformedCallback("The callback is not a form.") from error
        if len(names) != 1:
            raise MalformedCallback("The callback names no payment.")
        # Every hint about a payment has the same bytes. Each is news: the one before may have been
        # answered before this change, so that taking it for a redelivery would lose the change.
        return [PaymentUpdate(gateway_reference=wire.payment_id(names[0]), event_id=f"hint_{uuid.uuid4().hex}")]

    def fetch_payment(self, payment: PaymentRef) -> PaymentUpdate:
        """See `Gateway`. With its chargebacks, which no callback tells of by itself."""
        return self._update(self.client.get(f"{wire.payment_path(payment)}?embed=chargebacks").data)

    def cancel_payment(self, payment: PaymentRef, *, idempotency_key: str) -> PaymentUpdate:
        """See `Gateway`. Mollie decides by method whether an open payment can be canceled."""
        path = wire.payment_path(payment)
        found = self.client.get(path).data
        # What is refused has changed meanwhile: what it is now, the question below tells.
        with suppress(GatewayRejected):
            if found.get("status") == "authorized":
                # The bank may take its time; until then the payment is authorized.
                self.client.post(f"{path}/release-authorization", json={}, idempotency_key=idempotency_key)
            elif found.get("isCancelable") is True:
                key = {self.key_header: idempotency_key}
                return self._update(self.client.request("DELETE", path, headers=key).data)
            else:
                return self._update(found)
        return self.fetch_payment(payment)

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        """See `Gateway`. A capture may be pending first; the payment is then still authorized."""
        if not final:
            raise UnsupportedOperation("Mollie captures a card once, and lets the rest go.")
        body = {"amount": wire.write_amount(payment.amount), "metadata": {"transaction_id": payment.transaction_id}}
        self.client.post(wire.payment_path(payment, "captures"), json=body, idempotency_key=idempotency_key)
        return self.fetch_payment(payment)

    def is_capturing(self, payment: PaymentRef) -> bool:
        """See `Gateway`. The payment is authorized until its capture has succeeded."""
        captures = self._list(wire.payment_path(payment, "captures"), "captures")
        return any(one.get("status") != "failed" for one in captures)

    def refund(self, request: RefundRequest) -> RefundUpdate:
        """See `Gateway`. Mollie may show a description to the shopper, so that our reason is not sent."""
        ours = {"transaction_id": request.payment.transaction_id, "refund_id": request.refund_id}
        body = {"amount": wire.write_amount(request.amount), "metadata": ours}
        path = wire.payment_path(request.payment, "refunds")
        return wire.read_refund(self.client.post(path, json=body, idempotency_key=request.idempotency_key).data)

    def fetch_refund(self, payment: PaymentRef, refund_reference: str) -> RefundUpdate:
        """See `Gateway`."""
        return wire.read_refund(self.client.get(wire.payment_path(payment, "refunds", refund_reference)).data)

    def find_refund(self, request: RefundRequest) -> RefundUpdate | None:
        """See `Gateway`."""
        refunds = map(wire.read_refund, self._list(wire.payment_path(request.payment, "refunds"), "refunds"))
        return next((one for one in refunds if one.refund_id == request.refund_id), None)

    def list_payments(self, since: datetime, until: datetime) -> Iterator[ListedPayment]:
        """See `Gateway`. Mollie lists the newest first and takes no time: what is too new is passed over."""
        for one in self._list("v2/payments", "payments"):
            listed = self._listed(one)
            if listed.created_at < since.replace(microsecond=0):  # Mollie knows whole seconds
                return
            if listed.created_at < until:
                yield listed

    def explain_error(self, status: int, data: Mapping[str, Any]) -> Refusal:
        """See `Gateway`. Mollie names the field that it refuses; its pages decline, its API never does."""
        return Refusal(code=wire.text(data.get("field")) or wire.text(data.get("title")))

    # --- How the wire reads.

    def _session(self, answer: Mapping[str, Any]) -> PaymentSession:
        checkout = wire.object_in(wire.object_in(answer.get("_links")).get("checkout"))
        reference, url = wire.text(answer.get("id")), checkout.get("href")
        if not reference or not isinstance(url, str):
            raise GatewayUnavailable("Mollie opened no payment.", gateway=self.name, code="no_session")
        return PaymentSession(gateway_reference=reference, next_action=NextAction(url=self.check_payment_url(url)))

    def _list(self, path: str, name: str) -> Iterator[Mapping[str, Any]]:
        """Every object of a list, the newest first."""

        def read(cursor: str) -> Page[Mapping[str, Any]]:
            start = f"&from={quote(cursor, safe='')}" if cursor else ""
            return wire.listed(self.client.get(f"{path}?limit={PAGE}{start}").data, name)

        return read_pages(self.name, read)

    def _listed(self, found: Mapping[str, Any]) -> ListedPayment:
        created_at = wire.read_time(found.get("createdAt"))
        if created_at is None:
            raise GatewayUnavailable("A listed payment has no time.", gateway=self.name, code="no_list")
        return ListedPayment(
            update=self._update(found),
            created_at=created_at,
            amount=wire.read_money(found.get("amount")),
            order_id=wire.text(wire.object_in(found.get("metadata")).get("order_id")),
        )

    def _payment_body(self, request: PaymentRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "amount": wire.write_amount(request.amount),
            "description": (request.description or f"Order {request.order_id}")[:255],
            "redirectUrl": request.return_url,
            "cancelUrl": request.return_url,
            "metadata": {"transaction_id": request.transaction_id, "order_id": request.order_id},
        }
        # Mollie refuses a payment whose callback it cannot reach; on a developer's machine, asking is enough.
        if not is_loopback(urlsplit(request.callback_url).hostname):
            body["webhookUrl"] = request.callback_url
        if request.manual_capture:
            body["captureMode"] = "manual"
        return body

    def _event(self, event: Mapping[str, Any]) -> PaymentUpdate:
        """A next-generation callback; about a refund or a chargeback, it names the payment inside."""
        inside = wire.object_in(wire.object_in(event.get("_embedded")).get("entity"))
        return PaymentUpdate(
            gateway_reference=wire.payment_id(event.get("entityId")) or wire.payment_id(inside.get("paymentId")),
            event_id=wire.text(event.get("id")) or f"hint_{uuid.uuid4().hex}",
            raw={"type": wire.text(event.get("type"))},
        )

    def _update(self, found: Mapping[str, Any]) -> PaymentUpdate:
        state = self.STATES.get(wire.text(found.get("status")))
        amount, taken = wire.read_money(found.get("amount")), wire.read_money(found.get("amountCaptured"))
        reason = wire.text(wire.object_in(found.get("details")).get("failureReason"))
        return PaymentUpdate(
            transaction_id=wire.text(wire.object_in(found.get("metadata")).get("transaction_id")),
            gateway_reference=wire.text(found.get("id")),
            state=state,
            # What is paid at once has no captures.
            captured=(taken or amount) if state is State.SUCCESS else taken or None,
            authorized=amount if state is State.AUTHORIZED else None,
            refunded=wire.read_money(found.get("amountRefunded")) or None,
            decline_code=wire.DECLINES.get(reason, "declined") if state is State.FAILED else "",
            test={"test": True, "live": False}.get(wire.text(found.get("mode"))),
            dispute=wire.read_dispute(found),
            flags=frozenset({"disputed"}) if wire.read_money(found.get("amountChargedBack")) else frozenset(),
            raw={name: wire.text(found[name]) for name in self.RAW_FIELDS if found.get(name) is not None},
        )
