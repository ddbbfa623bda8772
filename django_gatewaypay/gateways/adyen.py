"""Adyen, Checkout API v71: the hosted checkout page, or Pay by Link."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import quote

from ..exceptions import (
    GatewayRejected,
    GatewayUnavailable,
    InvalidSignature,
    MalformedCallback,
    UnsupportedOperation,
)
from ..money import InvalidAmount, Money, from_minor, to_minor
from ..types import (
    CallbackRequest,
    DisputeUpdate,
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
from . import adyen_wire as wire
from . import signing
from .answers import Refusal
from .base import Gateway

__all__ = ["AdyenGateway"]

# Signed with the reference, so that a callback says by itself whether money was taken or only reserved. A refund's
# reference has its own id there: whichever of the two references Adyen echoes, it names the payment.
MANUAL = "manual"
MAX_KEY = 64


class AdyenGateway(Gateway):
    """One merchant account at Adyen. It tells nothing when asked: the callback is the truth.

    Args:
        api_key: of the API credential.
        merchant_account: the account that is paid; callbacks about another one match nothing.
        hmac_keys: hexadecimal keys of the callback, or a callable that returns them; all verify.
        live_prefix: of the live endpoint, "1797a841fbb37ca7-AdyenDemo"; empty: the test platform.
        product: "sessions" (the hosted page) or "link" (Pay by Link).
        basic_auth: user name and password that Adyen sends with callbacks, if set there.
        country_code: two letters; decides which payment methods are shown.
    """

    name = "Adyen"
    default_payment_hosts = (
        "checkoutshopper-test.adyen.com",
        "checkoutshopper-live.adyen.com",
        "test.adyen.link",
        "eu.adyen.link",
    )
    supports_cancel = True
    supports_capture = True
    supports_refund = True
    supports_partial_refund = True
    key_ttl = timedelta(days=7)
    # https://docs.adyen.com/development-resources/currency-codes
    exponents = {"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2}

    LIFETIMES: ClassVar[Mapping[str, timedelta]] = {"sessions": timedelta(hours=24), "link": timedelta(days=70)}
    LINK_STATES: ClassVar[Mapping[str, State]] = {
        "active": State.PENDING,
        "completed": State.PROCESSING,
        "paid": State.PROCESSING,
        "paymentPending": State.PROCESSING,
        "expired": State.CANCELED,
    }
    RAW_FIELDS: ClassVar[Sequence[str]] = (
        "eventCode",
        "success",
        "pspReference",
        "originalReference",
        "merchantAccountCode",
        "paymentMethod",
        "eventDate",
    )

    def __init__(
        self,
        alias: str,
        *,
        api_key: str,
        merchant_account: str,
        hmac_keys: signing.Secrets,
        live_prefix: str = "",
        product: str = "sessions",
        basic_auth: tuple[str, str] | None = None,
        country_code: str = "",
        **options: Any,
    ) -> None:
        live_base = f"https://{live_prefix}-checkout-live.adyenpayments.com/checkout/v71"
        base = live_base if live_prefix else "https://checkout-test.adyen.com/v71"
        super().__init__(alias, **{**options, "api_base": options.get("api_base") or base})
        if product not in self.LIFETIMES:
            raise ValueError('product must be "sessions" or "link".')
        for key in signing.read_secrets(hmac_keys):
            wire.read_key(key)
        self.hmac_keys = hmac_keys
        self.merchant_account = merchant_account
        self.product = product
        self.basic_auth = basic_auth
        self.country_code = country_code
        self.test_mode = not live_prefix
        self.client.session.headers["X-API-Key"] = api_key

    def create_session(self, request: PaymentRequest) -> PaymentSession:
        """See `Gateway`."""
        path = "sessions" if self.product == "sessions" else "paymentLinks"
        answer = self._post(path, self._session_body(request), request.idempotency_key)
        reference, url = answer.get("id"), answer.get("url")
        if not isinstance(reference, str) or not reference or not isinstance(url, str):
            raise GatewayUnavailable("Adyen opened no session.", gateway=self.name, code="no_session")
        return PaymentSession(gateway_reference=reference, next_action=NextAction(url=self.check_payment_url(url)))

    def verify_callback(self, request: CallbackRequest) -> None:
        """See `Gateway`. Adyen signs no time; a replay is known by its event id."""
        if self.basic_auth and not wire.is_basic(request.headers, *self.basic_auth):
            raise InvalidSignature
        try:
            items = [dict(item) for item in wire.items(self.read_json(request.body))]
        except MalformedCallback as error:
            raise InvalidSignature from error
        keys = [wire.read_key(key) for key in signing.read_secrets(self.hmac_keys)]
        # Every item carries its own signature, and one that is good says nothing about the next.
        if not all(wire.is_signed(item, keys) for item in items):
            raise InvalidSignature

    def parse_callback(self, request: CallbackRequest) -> list[PaymentUpdate]:
        """See `Gateway`. One update for each item."""
        data = self.read_json(request.body)
        ours = wire.text(data.get("live")).lower() == str(not self.test_mode).lower()
        return [self._update(item, ours=ours) for item in wire.items(data)]

    def cancel_payment(self, payment: PaymentRef, *, idempotency_key: str) -> PaymentUpdate:
        """See `Gateway`. A hosted page cannot be closed and ends by itself."""
        if payment.payment_reference:
            body = {"merchantAccount": self.merchant_account, "reference": payment.transaction_id}
            self._post(f"payments/{_quoted(payment.payment_reference)}/cancels", body, idempotency_key)
            return PaymentUpdate(state=State.AUTHORIZED)
        if self.product == "sessions":
            return PaymentUpdate(state=State.PENDING)
        path = f"paymentLinks/{_quoted(payment.gateway_reference)}"
        try:
            link = self.client.request("PATCH", path, json={"status": "expired"}).data
        except GatewayRejected:
            link = self.client.get(path).data
        return PaymentUpdate(state=self.LINK_STATES.get(wire.text(link.get("status"))))

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        """See `Gateway`. Adyen only takes the order here; the money is in the CAPTURE callback."""
        if not final:
            raise UnsupportedOperation("Adyen tells the amount of each capture and never the total: capture once.")
        body = self._money_body(payment.amount, payment.transaction_id)
        self._post(f"payments/{_quoted(payment.payment_reference)}/captures", body, idempotency_key)
        return PaymentUpdate(state=State.AUTHORIZED)

    def refund(self, request: RefundRequest) -> RefundUpdate:
        """See `Gateway`. The outcome is in the REFUND callback."""
        named = [request.payment.transaction_id, *([request.refund_id] if request.refund_id else [])]
        body = self._money_body(request.amount, ".".join(named))
        path = f"payments/{_quoted(request.payment.payment_reference)}/refunds"
        reference = self._post(path, body, request.idempotency_key).get("pspReference")
        if not isinstance(reference, str) or not reference:
            raise GatewayUnavailable("Adyen named no refund.", gateway=self.name, code="no_refund")
        return RefundUpdate(
            refund_reference=reference,
            state=RefundState.SUBMITTED,
            amount=request.amount,
            refund_id=request.refund_id,
        )

    def explain_error(self, status: int, data: Mapping[str, Any]) -> Refusal:
        """See `Gateway`."""
        return Refusal(code=wire.text(data.get("errorCode")))

    def callback_response(self) -> tuple[str, str]:
        """See `Gateway`. Older callback configurations insist on this body."""
        return "[accepted]", "text/plain"

    # --- How the wire reads.

    def _post(self, path: str, body: Mapping[str, Any], key: str) -> dict[str, Any]:
        key = key if len(key) <= MAX_KEY else hashlib.sha256(key.encode()).hexdigest()
        try:
            return self.client.post(path, json=body, idempotency_key=key).data
        except GatewayRejected as error:
            # "Request already processed or in progress": the first try is still at work, so nothing is known.
            if error.code == "704":
                raise GatewayUnavailable(gateway=self.name, code=error.code, status=error.status) from error
            raise

    def _money_body(self, amount: Money, reference: str) -> dict[str, Any]:
        try:
            value = to_minor(amount, self.exponents)
        except InvalidAmount as error:
            raise GatewayRejected(str(error), gateway=self.name, code="amount") from error
        return {
            "merchantAccount": self.merchant_account,
            "amount": {"currency": amount.currency.code, "value": value},
            "reference": reference,
        }

    def _session_body(self, request: PaymentRequest) -> dict[str, Any]:
        reference = request.transaction_id + (f".{MANUAL}" if request.manual_capture else "")
        expires_at = min(request.expires_at, request.created_at + self.LIFETIMES[self.product])
        body = self._money_body(request.amount, reference)
        body |= {"returnUrl": request.return_url, "expiresAt": expires_at.isoformat(timespec="seconds")}
        if self.country_code:
            body["countryCode"] = self.country_code
        if self.product == "sessions":
            return body | {"mode": "hosted"} | _capture_of_session(request)
        if request.description:
            body["description"] = request.description[:280]
        return body | ({"manualCapture": True} if request.manual_capture else {"captureDelayHours": 0})

    def _update(self, item: Mapping[str, Any], *, ours: bool) -> PaymentUpdate:
        raw = {name: wire.text(item[name]) for name in self.RAW_FIELDS if name in item}
        psp, code = wire.text(item.get("pspReference")), wire.text(item.get("eventCode"))
        event_id = f"{psp}:{code}:{wire.text(item.get('success'))}"
        if not ours or item.get("merchantAccountCode") != self.merchant_account:
            return PaymentUpdate(event_id=event_id, raw=raw)
        transaction_id, _, tail = wire.text(item.get("merchantReference")).partition(".")
        event = wire.read_event(item)
        state, money = wire.STATES.get(event), self._money(item)
        paid, disputed = event == ("AUTHORISATION", True), event in wire.DISPUTES
        if not paid:
            # A good authorization's reason holds digits of the card.
            raw["reason"] = wire.text(item.get("reason"))
        elif tail == MANUAL:
            state = State.AUTHORIZED
        # A declined attempt's reference must not take the place of the one that is paid.
        payment = wire.text(item.get("originalReference")) or (psp if paid or disputed else "")
        flag = wire.FLAGS.get(event)
        return PaymentUpdate(
            transaction_id=transaction_id,
            state=state,
            captured=money if state is State.SUCCESS else None,
            authorized=money if state is State.AUTHORIZED else None,
            event_id=event_id,
            payment_reference=payment,
            decline_code=self._decline_code(event, raw),
            refund=self._refund_update(item, money, "" if tail == MANUAL else tail),
            dispute=self._dispute_update(item, money, payment),
            flags=frozenset({flag} if flag else ()),
            raw=raw,
        )

    def _decline_code(self, event: tuple[str, bool], raw: Mapping[str, str]) -> str:
        declined = event == ("AUTHORISATION", False)
        return wire.DECLINES.get(raw["reason"].lower(), "declined") if declined else ""

    def _refund_update(self, item: Mapping[str, Any], money: Money | None, refund_id: str) -> RefundUpdate | None:
        state = wire.REFUNDS.get(wire.read_event(item))
        if state is None:
            return None
        return RefundUpdate(
            refund_reference=wire.text(item.get("pspReference")),
            state=state,
            amount=money,
            refund_id=refund_id,
            reason=wire.text(item.get("reason")) if state is RefundState.FAILED else "",
        )

    def _dispute_update(self, item: Mapping[str, Any], money: Money | None, payment: str) -> DisputeUpdate | None:
        """Named after its payment: the stages of one dispute have references of their own, or only the payment's."""
        state = wire.DISPUTES.get(wire.read_event(item))
        if state is None:
            return None
        return DisputeUpdate(
            dispute_reference=payment,
            state=state,
            amount=money,
            due_at=wire.defense_ends_at(item),
            reason=wire.dispute_reason(item),
        )

    def _money(self, item: Mapping[str, Any]) -> Money | None:
        """The amount of an item; None when it cannot be read, which the core holds for review."""
        amount = item.get("amount")
        value, currency = (amount.get("value"), amount.get("currency")) if isinstance(amount, dict) else (None, None)
        try:
            return from_minor(int(wire.text(value)), wire.text(currency), self.exponents)
        except (InvalidAmount, ValueError):
            return None


def _capture_of_session(request: PaymentRequest) -> dict[str, Any]:
    """Said with every session, so that the account's own setting cannot turn "authorized" into "paid"."""
    return {"additionalData": {"manualCapture": "true"}} if request.manual_capture else {"captureDelayHours": 0}


def _quoted(reference: str) -> str:
    return quote(reference, safe="")
