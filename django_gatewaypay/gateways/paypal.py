"""PayPal, Orders v2."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import quote

from ..exceptions import GatewayDeclined, GatewayError, GatewayRejected, GatewayUnavailable, InvalidSignature
from ..money import InvalidAmount, Money, from_minor, to_minor
from ..types import (
    CallbackRequest,
    NextAction,
    PaymentRef,
    PaymentRequest,
    PaymentSession,
    PaymentUpdate,
    RefundRequest,
    RefundUpdate,
    State,
)
from . import paypal_wire as wire
from .answers import Refusal
from .base import Gateway
from .paypal_token import Token

try:
    from .paypal_signature import CertificateChecker
# Without the extra [paypal] the postback still works; __init__ names the install command.
except ImportError:
    CertificateChecker = None  # type: ignore[assignment,misc]

__all__ = ["PayPalGateway"]

# With payment_source the link is called payer-action; with the older application_context, approve.
PAYMENT_LINKS = frozenset({"payer-action", "approve"})
# Somebody was faster, or the shopper is not done: the order says what is true.
ASK_AGAIN = frozenset({"ORDER_ALREADY_CAPTURED", "ORDER_ALREADY_AUTHORIZED", "ORDER_NOT_APPROVED"})
SIGNATURE_HEADERS = ("auth_algo", "cert_url", "transmission_id", "transmission_sig", "transmission_time")


class PayPalGateway(Gateway):
    """One PayPal app. An order that the shopper has approved is captured as soon as the gateway is asked.

    Args:
        client_id, client_secret: of the app.
        webhook_id: PayPal's id of the callback address; it is part of what is signed.
        sandbox: play money.
        callback_check: "offline" checks callbacks here and needs `cryptography`; "postback" asks PayPal.
        trust_store: a PEM file of roots for "offline"; empty: the ones that https calls trust.
    """

    name = "PayPal"
    default_payment_hosts = ("www.paypal.com", "www.sandbox.paypal.com")
    supports_fetch = True
    supports_cancel = True
    supports_capture = True
    supports_refund = True
    supports_partial_refund = True
    supports_several_captures = True
    supports_find_refund = True
    # developer.paypal.com/reference/currency-codes, read in November 2026
    currencies = frozenset(
        "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF ILS INR JPY MXN MYR NOK NZD PHP PLN SEK SGD THB TWD USD".split()  # noqa: SIM905 - read as a list of words
    )
    key_ttl = timedelta(hours=6)
    key_header = "PayPal-Request-Id"
    request_id_header = "Paypal-Debug-Id"
    # https://developer.paypal.com/api/rest/reference/currency-codes/: none for these, and two at most.
    exponents = {"HUF": 0, "JPY": 0, "TWD": 0, "BHD": 2, "IQD": 2, "JOD": 2, "KWD": 2, "LYD": 2, "OMR": 2, "TND": 2}
    FLAGS: ClassVar[Mapping[str, str]] = {
        "CUSTOMER.DISPUTE.CREATED": "disputed",
        "CUSTOMER.DISPUTE.UPDATED": "disputed",
        "CUSTOMER.DISPUTE.RESOLVED": "disputed",
        "PAYMENT.CAPTURE.REVERSED": "disputed",
    }

    def __init__(
        self,
        alias: str,
        *,
        client_id: str,
        client_secret: str,
        webhook_id: str,
        sandbox: bool = False,
        callback_check: str = "offline",
        trust_store: str = "",
        **options: Any,
    ) -> None:
        base = f"https://api-m.{'sandbox.' if sandbox else ''}paypal.com"
        super().__init__(alias, **{**options, "api_base": options.get("api_base") or base})
        if callback_check not in {"offline", "postback"} or not webhook_id:
            raise ValueError('PayPal needs a webhook_id, and callback_check must be "offline" or "postback".')
        if callback_check == "offline" and CertificateChecker is None:
            raise ImportError(
                'Checking PayPal\'s callbacks needs cryptography: pip install "django-gatewaypay[paypal]"'
            )
        self.checker = CertificateChecker(self.client, webhook_id, trust_store) if callback_check == "offline" else None
        self.webhook_id = webhook_id
        self.test_mode = sandbox
        self._token = Token(self.client, client_id, client_secret)

    def create_session(self, request: PaymentRequest) -> PaymentSession:
        """See `Gateway`."""
        order = self._call("POST", "v2/checkout/orders", self._order_body(request), key=request.idempotency_key)
        links = order.get("links")
        urls = [one.get("href") for one in links if one.get("rel") in PAYMENT_LINKS] if isinstance(links, list) else []
        reference, url = order.get("id"), next(iter(urls), None)
        if not isinstance(reference, str) or not reference or not isinstance(url, str):
            raise GatewayUnavailable("PayPal opened no order.", gateway=self.name, code="no_session")
        return PaymentSession(gateway_reference=reference, next_action=NextAction(url=self.check_payment_url(url)))

    def verify_callback(self, request: CallbackRequest) -> None:
        """See `Gateway`."""
        if self.checker:
            return self.checker.verify(request.headers, request.body)
        return self._ask_whether_signed(request)

    def parse_callback(self, request: CallbackRequest) -> list[PaymentUpdate]:
        """See `Gateway`. What is about an order is thin: it may have to be captured first."""
        event = self.read_json(request.body)
        kind, resource = wire.text(event.get("event_type")), wire.section(event, "resource")
        update = self._read_event(kind, resource)
        flag = self.FLAGS.get(kind)
        raw = {**update.raw, "event_type": kind}
        return [replace(update, event_id=wire.text(event.get("id")), flags=frozenset({flag} if flag else ()), raw=raw)]

    def fetch_payment(self, payment: PaymentRef) -> PaymentUpdate:
        """See `Gateway`. An order that the shopper has approved is captured, or authorized, here and now."""
        order = self._order(payment)
        if order.get("status") != "APPROVED" or payment.closed:
            return wire.read_order(order)
        verb = "authorize" if order.get("intent") == "AUTHORIZE" else "capture"
        path = f"v2/checkout/orders/{_quoted(payment.gateway_reference)}/{verb}"
        try:
            # One key for whoever comes first: the return, the callback or a poll.
            order = self._call("POST", path, {}, key=f"gatewaypay-{payment.transaction_id}-{verb}")
        except GatewayDeclined as error:
            # The shopper may go back to PayPal and choose another way to pay.
            state = State.PENDING if error.code == "INSTRUMENT_DECLINED" else State.FAILED
            return replace(wire.read_order(order), state=state, decline_code=error.decline_code)
        except GatewayRejected as error:
            if error.code not in ASK_AGAIN:
                raise
            order = self._order(payment)
        return wire.read_order(order)

    def cancel_payment(self, payment: PaymentRef, *, idempotency_key: str) -> PaymentUpdate:
        """See `Gateway`. Only an authorization can be let go; an order that nobody approves lapses."""
        order = self._order(payment)
        reference = wire.open_authorization(order)
        if not reference:
            return wire.read_order(order)
        try:
            self._call("POST", f"v2/payments/authorizations/{_quoted(reference)}/void", key=idempotency_key)
        except GatewayRejected:
            return wire.read_order(self._order(payment))
        told = wire.read_order(order)
        # What was captured of it stays captured, and is all there is.
        state = State.SUCCESS if told.captured else State.CANCELED
        return replace(told, state=state, authorized=None, gateway_reference=payment.gateway_reference)

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        """See `Gateway`."""
        order = self._order(payment)
        reference = wire.open_authorization(order)
        if not reference:
            return wire.read_order(order)
        body = {"amount": self._money(payment.amount), "final_capture": final}
        self._call("POST", f"v2/payments/authorizations/{_quoted(reference)}/capture", body, key=idempotency_key)
        return wire.read_order(self._order(payment))

    def refund(self, request: RefundRequest) -> RefundUpdate:
        """See `Gateway`. Of several captures, the first that has as much left; PayPal takes an invoice id once."""
        order = self._order(request.payment)
        made = wire.refund_of(order, request.refund_id)
        if made:
            return made
        body = {"amount": self._money(request.amount), "custom_id": request.payment.transaction_id}
        body |= {"invoice_id": request.refund_id} if request.refund_id else {}
        reference = wire.capture_with(order, request.amount) or request.payment.payment_reference
        path = f"v2/payments/captures/{_quoted(reference)}/refund"
        return self._read_refund(self._call("POST", path, body, key=request.idempotency_key))

    def find_refund(self, request: RefundRequest) -> RefundUpdate | None:
        """See `Gateway`."""
        return wire.refund_of(self._order(request.payment), request.refund_id)

    def fetch_refund(self, payment: PaymentRef, refund_reference: str) -> RefundUpdate:
        """See `Gateway`."""
        return self._read_refund(self._call("GET", f"v2/payments/refunds/{_quoted(refund_reference)}"))

    def explain_error(self, status: int, data: Mapping[str, Any]) -> Refusal:
        """See `Gateway`. The issue says more than the name."""
        code = wire.text(wire.first(data.get("details")).get("issue") or data.get("name") or data.get("error"))
        return Refusal(code=code, decline_code=wire.DECLINES.get(code, ""))

    # --- How the wire reads.

    def _call(
        self, method: str, path: str, body: dict[str, Any] | bytes | None = None, *, key: str = ""
    ) -> dict[str, Any]:
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {"Prefer": "return=representation", "Content-Type": "application/json"}
        headers |= {self.key_header: key} if key else {}
        token = self._token.get()
        for fresh in (False, True):
            given = {**headers, "Authorization": f"Bearer {token}"}
            try:
                return self.client.request(method, path, content=content, headers=given).data
            except GatewayRejected as error:
                if error.status != 401 or fresh:
                    raise
            token = self._token.get(stale=token)
        raise AssertionError("unreachable: the second try returns or raises")

    def _order(self, payment: PaymentRef) -> dict[str, Any]:
        return self._call("GET", f"v2/checkout/orders/{_quoted(payment.gateway_reference)}")

    def _order_body(self, request: PaymentRequest) -> dict[str, Any]:
        unit = {
            "reference_id": "default",
            "custom_id": request.transaction_id,
            "invoice_id": request.transaction_id,
            "amount": self._money(request.amount),
        }
        if request.description:
            unit["description"] = request.description[:127]
        experience = {
            "return_url": request.return_url,
            "cancel_url": request.return_url,
            "user_action": "PAY_NOW",
            "shipping_preference": "NO_SHIPPING",
        }
        return {
            "intent": "AUTHORIZE" if request.manual_capture else "CAPTURE",
            "purchase_units": [unit],
            "payment_source": {"paypal": {"experience_context": experience}},
        }

    def _money(self, money: Money) -> dict[str, str]:
        currency = money.currency.code
        try:
            exact = from_minor(to_minor(money, self.exponents), currency, self.exponents)
        except InvalidAmount as error:
            raise GatewayRejected(str(error), gateway=self.name, code="amount") from error
        return {"currency_code": currency, "value": f"{exact.amount:f}"}

    def _read_event(self, kind: str, resource: Mapping[str, Any]) -> PaymentUpdate:
        if kind.startswith("PAYMENT.AUTHORIZATION."):
            return wire.read_authorization(resource, {})
        if kind.startswith("CUSTOMER.DISPUTE."):
            return wire.read_dispute(resource)
        if kind.startswith("CHECKOUT.ORDER."):
            return replace(wire.read_order(resource), state=None, captured=None)
        related = wire.section(wire.section(resource, "supplementary_data"), "related_ids")
        refunding = kind in {"PAYMENT.CAPTURE.REFUNDED", "PAYMENT.CAPTURE.REVERSED"}
        # A capture of an authorization may be one of several: only the order knows the total.
        if kind.startswith("PAYMENT.CAPTURE.") and not (refunding or related.get("authorization_id")):
            return wire.read_capture(resource, {})
        refund = wire.read_refund(resource) if kind == "PAYMENT.CAPTURE.REFUNDED" else None
        reference, ours = wire.text(related.get("order_id")), wire.text(resource.get("custom_id"))
        return PaymentUpdate(transaction_id=ours, gateway_reference=reference, refund=refund)

    def _read_refund(self, refund: Mapping[str, Any]) -> RefundUpdate:
        found = wire.read_refund(refund)
        if found is None:
            raise GatewayUnavailable("PayPal named no refund.", gateway=self.name, code="no_refund")
        return found

    def _ask_whether_signed(self, request: CallbackRequest) -> None:
        """Ask PayPal itself.

        Raises:
            InvalidSignature: it did not sign this, or did not answer.
        """
        given = {name.lower(): value for name, value in request.headers.items()}
        said = {name: given.get(f"paypal-{name.replace('_', '-')}", "") for name in SIGNATURE_HEADERS}
        head = json.dumps({**said, "webhook_id": self.webhook_id}).encode()[:-1]
        self.read_json(request.body)
        # The message goes back as it came: written anew it could read differently.
        content = head + b', "webhook_event": ' + request.body + b"}"
        try:
            answer = self._call("POST", "v1/notifications/verify-webhook-signature", content)
        except GatewayError as error:
            raise InvalidSignature from error
        if answer.get("verification_status") != "SUCCESS":
            raise InvalidSignature


def _quoted(reference: str) -> str:
    return quote(reference, safe="")
