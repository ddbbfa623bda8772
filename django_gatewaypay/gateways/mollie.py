"""Mollie, through the Payments API v2: https://docs.mollie.com/reference/payments-api."""

import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from ..exceptions import GatewayRejected, GatewayUnavailable, InvalidSignature, MalformedCallback
from ..money import InvalidAmount, Money, format_minor, parse_amount, to_minor
from ..types import (
    CallbackRequest,
    NextAction,
    PaymentRef,
    PaymentRequest,
    PaymentSession,
    PaymentUpdate,
    RefundRequest,
    RefundState,
    RefundUpdate,
    State,
)
from . import signing
from .answers import Refusal
from .base import Gateway
from .http import is_loopback

__all__ = ["MollieGateway"]

# How far back a payment is looked for: so many lists, of so many.
PAGES, PAGE = 10, 250


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
    REFUND_STATES: ClassVar[Mapping[str, RefundState]] = {
        "queued": RefundState.SUBMITTED,
        "pending": RefundState.SUBMITTED,
        "processing": RefundState.SUBMITTED,
        "refunded": RefundState.SUCCEEDED,
        "failed": RefundState.FAILED,
        "canceled": RefundState.FAILED,
    }
    # details.failureReason of a card payment; every other reason is "declined".
    DECLINES: ClassVar[Mapping[str, str]] = {
        "authentication_abandoned": "authentication_failed",
        "authentication_failed": "authentication_failed",
        "authentication_required": "authentication_required",
        "authentication_unavailable_acs": "issuer_unavailable",
        "card_expired": "expired_card",
        "insufficient_funds": "insufficient_funds",
        "invalid_card_number": "incorrect_number",
        "invalid_card_type": "card_not_supported",
        "invalid_cvv": "incorrect_cvc",
        "possible_fraud": "fraud_suspected",
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
        path = f"v2/payments?limit={PAGE}"
        for _ in range(PAGES):
            payments = _payments(self.client.get(path).data)
            for one in payments:
                ours = _object(one.get("metadata")).get("transaction_id") == request.transaction_id
                if ours and one.get("status") == "open":
                    return self._session(one)
            if len(payments) < PAGE or _is_older(payments[-1], request.created_at):
                return None
            path = f"v2/payments?limit={PAGE}&from={quote(_text(payments[-1].get('id')), safe='')}"
        raise GatewayUnavailable("Too many payments to look through.", gateway=self.name, code="not_found_yet")

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
        return [PaymentUpdate(gateway_reference=_payment_id(names[0]), event_id=f"hint_{uuid.uuid4().hex}")]

    def fetch_payment(self, payment: PaymentRef) -> PaymentUpdate:
        """See `Gateway`."""
        return self._update(self.client.get(_path(payment)).data)

    def cancel_payment(self, payment: PaymentRef, *, idempotency_key: str) -> PaymentUpdate:
        """See `Gateway`. Mollie decides by method whether an open payment can be canceled."""
        found = self.client.get(_path(payment)).data
        # What is refused has changed meanwhile: what it is now, the question below tells.
        with suppress(GatewayRejected):
            if found.get("status") == "authorized":
                # The bank may take its time; until then the payment is authorized.
                self.client.post(_path(payment, "release-authorization"), json={}, idempotency_key=idempotency_key)
            elif found.get("isCancelable") is True:
                key = {self.key_header: idempotency_key}
                return self._update(self.client.request("DELETE", _path(payment), headers=key).data)
            else:
                return self._update(found)
        return self.fetch_payment(payment)

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        """See `Gateway`. A capture may be pending first; the payment is then still authorized."""
        body = {"amount": self._amount(payment.amount), "metadata": {"transaction_id": payment.transaction_id}}
        self.client.post(_path(payment, "captures"), json=body, idempotency_key=idempotency_key)
        return self.fetch_payment(payment)

    def refund(self, request: RefundRequest) -> RefundUpdate:
        """See `Gateway`. Mollie may show a description to the shopper, so that our reason is not sent."""
        payment = request.payment
        body = {"amount": self._amount(request.amount), "metadata": {"transaction_id": payment.transaction_id}}
        path = _path(payment, "refunds")
        return self._refund(self.client.post(path, json=body, idempotency_key=request.idempotency_key).data)

    def fetch_refund(self, payment: PaymentRef, refund_reference: str) -> RefundUpdate:
        """See `Gateway`."""
        return self._refund(self.client.get(_path(payment, "refunds", refund_reference)).data)

    def explain_error(self, status: int, data: Mapping[str, Any]) -> Refusal:
        """See `Gateway`. Mollie names the field that it refuses; its pages decline, its API never does."""
        return Refusal(code=_text(data.get("field")) or _text(data.get("title")))

    # --- How the wire reads.

    def _session(self, answer: Mapping[str, Any]) -> PaymentSession:
        reference, url = _text(answer.get("id")), _object(_object(answer.get("_links")).get("checkout")).get("href")
        if not reference or not isinstance(url, str):
            raise GatewayUnavailable("Mollie opened no payment.", gateway=self.name, code="no_session")
        return PaymentSession(gateway_reference=reference, next_action=NextAction(url=self.check_payment_url(url)))

    def _payment_body(self, request: PaymentRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "amount": self._amount(request.amount),
            "description": (request.description or f"Order {request.order_id}")[:255],
            "redirectUrl": request.return_url,
            "cancelUrl": request.return_url,
            "metadata": {"transaction_id": request.transaction_id},
        }
        # Mollie refuses a payment whose callback it cannot reach; on a developer's machine, asking is enough.
        if not is_loopback(urlsplit(request.callback_url).hostname):
            body["webhookUrl"] = request.callback_url
        if request.manual_capture:
            body["captureMode"] = "manual"
        return body

    def _amount(self, money: Money) -> dict[str, str]:
        """The amount as Mollie writes it.

        Raises:
            GatewayRejected: it is no amount of its currency; Mollie was not called.
        """
        currency = money.currency.code
        try:
            minor = to_minor(money)
            if minor <= 0:
                raise InvalidAmount
        except InvalidAmount as error:
            raise GatewayRejected("Mollie cannot take this amount.", gateway=self.name, code="amount") from error
        return {"currency": currency, "value": format_minor(minor, currency)}

    def _event(self, event: Mapping[str, Any]) -> PaymentUpdate:
        """A next-generation callback; about a refund or a chargeback, it names the payment inside."""
        inside = _object(_object(event.get("_embedded")).get("entity"))
        return PaymentUpdate(
            gateway_reference=_payment_id(event.get("entityId")) or _payment_id(inside.get("paymentId")),
            event_id=_text(event.get("id")) or f"hint_{uuid.uuid4().hex}",
            raw={"type": _text(event.get("type"))},
        )

    def _update(self, found: Mapping[str, Any]) -> PaymentUpdate:
        state = self.STATES.get(_text(found.get("status")))
        amount, taken = _money(found.get("amount")), _money(found.get("amountCaptured"))
        reason = _text(_object(found.get("details")).get("failureReason"))
        return PaymentUpdate(
            transaction_id=_text(_object(found.get("metadata")).get("transaction_id")),
            gateway_reference=_text(found.get("id")),
            state=state,
            # What is paid at once has no captures.
            captured=(taken or amount) if state is State.SUCCESS else taken or None,
            authorized=amount if state is State.AUTHORIZED else None,
            refunded=_money(found.get("amountRefunded")) or None,
            decline_code=self.DECLINES.get(reason, "declined") if state is State.FAILED else "",
            test={"test": True, "live": False}.get(_text(found.get("mode"))),
            flags=frozenset({"disputed"}) if _money(found.get("amountChargedBack")) else frozenset(),
            raw={name: _text(found[name]) for name in self.RAW_FIELDS if found.get(name) is not None},
        )

    def _refund(self, found: Mapping[str, Any]) -> RefundUpdate:
        return RefundUpdate(
            refund_reference=_text(found.get("id")),
            state=self.REFUND_STATES.get(_text(found.get("status")), RefundState.SUBMITTED),
            amount=_money(found.get("amount")),
        )


def _path(payment: PaymentRef, *rest: str) -> str:
    return "/".join(["v2/payments", *(quote(part, safe="") for part in (payment.gateway_reference, *rest))])


def _payments(page: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The payments of one page of the list.

    Raises:
        GatewayUnavailable: it is no such page; who reads "none" there would open a second payment.
    """
    found = _object(page.get("_embedded")).get("payments")
    if not isinstance(found, list):
        raise GatewayUnavailable(gateway=MollieGateway.name, code="no_list")
    return [one for one in found if isinstance(one, Mapping)]


def _is_older(payment: Mapping[str, Any], moment: datetime) -> bool:
    try:
        return datetime.fromisoformat(_text(payment.get("createdAt"))) < moment
    except (ValueError, TypeError):
        return False


def _payment_id(value: object) -> str:
    """A payment's id; nothing where it is another thing's, which the core then sets aside."""
    return value if isinstance(value, str) and re.fullmatch(r"tr_[A-Za-z0-9]{1,64}", value, re.ASCII) else ""


def _money(value: object) -> Money | None:
    """What Mollie wrote; None when it cannot be read, which the core holds for review."""
    found = _object(value)
    try:
        return parse_amount(found.get("value"), found.get("currency"))
    except InvalidAmount:
        return None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    """A wire value as short printable text, for matching and for staff."""
    text = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    return "".join(char for char in text[:255] if char.isprintable())
