"""Stripe, through Checkout Sessions: https://docs.stripe.com/api/checkout/sessions."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

from ..exceptions import GatewayRejected, GatewayUnavailable, InvalidSignature, UnsupportedOperation
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
from . import signing
from . import stripe_wire as wire
from .answers import Refusal
from .base import Gateway
from .paging import Page, read_pages

__all__ = ["StripeGateway"]

# Stripe wants half an hour at least, by its own clock and at the moment of the call, and a day at most.
SHORTEST_SESSION = timedelta(minutes=45)
LONGEST_SESSION = timedelta(hours=24) - timedelta(minutes=5)
# How far back a session is looked for: so many lists, of so many.
PAGES, PAGE = 20, 100
# requests leaves it out where the form is empty, and Stripe refuses a POST without it.
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class StripeGateway(Gateway):
    """Stripe Checkout, the page that Stripe hosts.

    Our id travels as metadata of the session and of its PaymentIntent, because events about
    PaymentIntents and charges name no session. Refunds and disputes that were not made through
    us carry no metadata at all: they name the PaymentIntent only.

    Args:
        api_key: `sk_…`, or better a restricted `rk_…`.
        webhook_secrets: `whsec_…` secrets of the endpoint, or a callable that returns them; all verify.
        multicapture: Stripe lets this account capture an authorization in several parts.
    """

    name = "Stripe"
    default_api_base = "https://api.stripe.com"
    default_payment_hosts = ("checkout.stripe.com",)
    supports_fetch = True
    supports_find = True
    supports_cancel = True
    supports_capture = True
    supports_refund = True
    supports_partial_refund = True
    supports_find_refund = True
    supports_list = True
    request_id_header = "Request-Id"
    exponents = wire.EXPONENTS

    API_VERSION: ClassVar[str] = "2026-10-28.endive"

    def __init__(
        self,
        alias: str,
        *,
        api_key: str,
        webhook_secrets: signing.Secrets,
        multicapture: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(alias, **options)
        # A key with a line break in it would otherwise be quoted by the error that it causes.
        if not re.fullmatch(r"[!-~]+", api_key):
            raise ValueError("api_key is not a key of Stripe.")
        signing.read_secrets(webhook_secrets)
        self.webhook_secrets = webhook_secrets
        self.supports_several_captures = multicapture
        self.test_mode = api_key.startswith(("sk_test_", "rk_test_"))
        self.client.session.headers.update({"Authorization": f"Bearer {api_key}", "Stripe-Version": self.API_VERSION})

    def create_session(self, request: PaymentRequest) -> PaymentSession:
        """See `Gateway`."""
        return self._session(self._post("checkout/sessions", request.idempotency_key, self._session_form(request)))

    def find_session(self, request: PaymentRequest) -> PaymentSession | None:
        """See `Gateway`. Stripe lists the newest sessions first, and cannot search by our reference."""
        path = f"v1/checkout/sessions?limit={PAGE}"
        after = ""
        for _ in range(PAGES):
            answer = self.client.get(path + after).data
            sessions = wire.objects_in(answer.get("data"))
            if sessions is None:  # who reads "none" here would open a second session
                break
            for one in sessions:
                if one.get("client_reference_id") == request.transaction_id and one.get("status") == "open":
                    return self._session(one)
            if not sessions or not answer.get("has_more") or wire.is_older(sessions[-1], request.created_at):
                return None
            after = f"&starting_after={_quoted(wire.text(sessions[-1].get('id')))}"
        raise GatewayUnavailable("The list of sessions cannot be read.", gateway=self.name, code="not_found_yet")

    def verify_callback(self, request: CallbackRequest) -> None:
        """See `Gateway`. https://docs.stripe.com/webhooks#verify-manually; other schemes than v1 are ignored."""
        header = {name.lower(): value for name, value in request.headers.items()}.get("stripe-signature", "")
        parts = [part.partition("=")[::2] for part in header.split(",")]
        times = [value for name, value in parts if name == "t"]
        if len(times) != 1:
            raise InvalidSignature
        content = times[0].encode(errors="replace") + b"." + request.body
        signing.check_hex_hmac(self.webhook_secrets, content, [value for name, value in parts if name == "v1"])
        signing.check_age(times[0])

    def parse_callback(self, request: CallbackRequest) -> list[PaymentUpdate]:
        """See `Gateway`. What is not about a payment of ours names none, so that it is set aside."""
        event = self.read_json(request.body)
        kind, found = wire.text(event.get("type")), wire.object_in(wire.object_in(event.get("data")).get("object"))
        update = self._read_event(kind, found)
        if not update.transaction_id:
            # Another integration of the same account opened it.
            update = replace(update, gateway_reference="")
        event_id, raw = wire.text(event.get("id")), {"type": kind, **update.raw}
        return [replace(update, event_id=event_id, test=wire.is_test(event), raw=raw)]

    def fetch_payment(self, payment: PaymentRef) -> PaymentUpdate:
        """See `Gateway`."""
        path = f"v1/checkout/sessions/{_quoted(payment.gateway_reference)}?expand[]=payment_intent.latest_charge"
        return wire.read_session(self.client.get(path).data)

    def cancel_payment(self, payment: PaymentRef, *, idempotency_key: str) -> PaymentUpdate:
        """See `Gateway`. An open session is expired; an authorization is let go."""
        try:
            path = f"checkout/sessions/{_quoted(payment.gateway_reference)}/expire"
            return wire.read_session(self._post(path, idempotency_key))
        except GatewayRejected:  # it is not open any more
            told = self.fetch_payment(payment)
        if told.state is not State.AUTHORIZED:
            return told
        try:
            # A key belongs to one call with one set of parameters.
            path = f"payment_intents/{_quoted(told.payment_reference)}/cancel"
            return self._about(payment, self._post(path, f"{idempotency_key}-intent"))
        except GatewayRejected:
            return self.fetch_payment(payment)

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        """See `Gateway`. Stripe refuses a part that is not the last where the payment's card does not allow it."""
        if not final and not self.supports_several_captures:
            raise UnsupportedOperation("Stripe captures once; set multicapture where your account may do more.")
        form = [("amount_to_capture", wire.write_amount(payment.amount))]
        path = f"payment_intents/{_quoted(self._intent_of(payment))}/capture"
        told = self._post(path, idempotency_key, form if final else [*form, ("final_capture", "false")])
        return self._about(payment, told)

    def refund(self, request: RefundRequest) -> RefundUpdate:
        """See `Gateway`. A refund may fail after it succeeded; `refund.failed` tells."""
        form = [
            ("amount", wire.write_amount(request.amount)),
            ("payment_intent", self._intent_of(request.payment)),
            ("metadata[transaction_id]", request.payment.transaction_id),
            ("metadata[refund_id]", request.refund_id),
        ]
        if request.reason in wire.REFUND_REASONS:
            form.append(("reason", request.reason))
        return wire.read_refund(self._post("refunds", request.idempotency_key, form))

    def find_refund(self, request: RefundRequest) -> RefundUpdate | None:
        """See `Gateway`."""
        path = f"v1/refunds?payment_intent={_quoted(self._intent_of(request.payment))}"
        refunds = map(wire.read_refund, self._list(path))
        return next((one for one in refunds if one.refund_id == request.refund_id), None)

    def fetch_refund(self, payment: PaymentRef, refund_reference: str) -> RefundUpdate:
        """See `Gateway`."""
        return wire.read_refund(self.client.get(f"v1/refunds/{_quoted(refund_reference)}").data)

    def list_payments(self, since: datetime, until: datetime) -> Iterator[ListedPayment]:
        """See `Gateway`. Stripe knows whole seconds, so that the window is widened to them."""
        window = f"created[gte]={int(since.timestamp())}&created[lt]={math.ceil(until.timestamp())}"
        for one in self._list(f"v1/checkout/sessions?{window}&expand[]=data.payment_intent.latest_charge"):
            if one.get("mode") == "payment":  # not what asks for a card or a subscription only
                yield self._listed(one)

    def explain_error(self, status: int, data: Mapping[str, Any]) -> Refusal:
        """See `Gateway`."""
        error = wire.object_in(data.get("error"))
        code = wire.text(error.get("decline_code")) or wire.text(error.get("code")) or wire.text(error.get("type"))
        declined = status == 402 or error.get("type") == "card_error"
        return Refusal(code=code, decline_code=wire.find_decline(error) if declined else "")

    # --- How the wire reads.

    def _session(self, answer: Mapping[str, Any]) -> PaymentSession:
        reference, url = wire.text(answer.get("id")), answer.get("url")
        if not reference or not isinstance(url, str):
            raise GatewayUnavailable("Stripe opened no session.", gateway=self.name, code="no_session")
        return PaymentSession(
            gateway_reference=reference,
            next_action=NextAction(url=self.check_payment_url(url)),
            payment_reference=wire.text(answer.get("payment_intent")),
        )

    def _list(self, path: str) -> Iterator[Mapping[str, Any]]:
        """Every object of a list that has a query."""

        def read(cursor: str) -> Page[Mapping[str, Any]]:
            after = f"&starting_after={_quoted(cursor)}" if cursor else ""
            answer = self.client.get(f"{path}&limit={PAGE}{after}").data
            found = wire.objects_in(answer.get("data"))
            return found, wire.text(found[-1].get("id")) if found and answer.get("has_more") else ""

        return read_pages(self.name, read)

    def _listed(self, session: Mapping[str, Any]) -> ListedPayment:
        created_at = wire.read_time(session.get("created"))
        if created_at is None:
            raise GatewayUnavailable("A listed session has no time.", gateway=self.name, code="no_list")
        return ListedPayment(
            update=wire.read_session(session),
            created_at=created_at,
            amount=wire.read_money(session.get("amount_total"), session.get("currency")),
            order_id=wire.text(wire.object_in(session.get("metadata")).get("order_id")),
        )

    def _post(self, path: str, key: str, form: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        return self.client.post(f"v1/{path}", form=form, idempotency_key=key, headers=FORM).data

    def _session_form(self, request: PaymentRequest) -> list[tuple[str, str]]:
        ends = min(max(request.expires_at, request.created_at + SHORTEST_SESSION), request.created_at + LONGEST_SESSION)
        price = "line_items[0][price_data]"
        form = [
            ("mode", "payment"),
            ("success_url", request.return_url),
            ("cancel_url", request.return_url),
            ("client_reference_id", request.transaction_id),
            ("metadata[transaction_id]", request.transaction_id),
            ("metadata[order_id]", request.order_id),
            ("payment_intent_data[metadata][transaction_id]", request.transaction_id),
            ("expires_at", str(int(ends.timestamp()))),
            ("line_items[0][quantity]", "1"),
            (f"{price}[currency]", request.amount.currency.code.lower()),
            (f"{price}[unit_amount]", wire.write_amount(request.amount)),
            (f"{price}[product_data][name]", (request.description or f"Order {request.order_id}")[:250]),
        ]
        if request.manual_capture:
            form.append(("payment_intent_data[capture_method]", "manual"))
            if self.supports_several_captures:
                form.append(("payment_method_options[card][request_multicapture]", "if_available"))
        return form

    def _read_event(self, kind: str, found: Mapping[str, Any]) -> PaymentUpdate:
        family = kind.rpartition(".")[0]
        if family == "checkout.session":
            update = wire.read_session(found)
            return replace(update, state=State.FAILED) if kind.endswith(".async_payment_failed") else update
        if family == "payment_intent":
            return wire.read_intent(found)
        if family == "charge":
            return wire.read_charge(found)
        if family in {"refund", "charge.refund"}:
            return replace(wire.read_facts(found), refund=wire.read_refund(found))
        if family == "charge.dispute":
            return replace(wire.read_facts(found), flags=frozenset({"disputed"}), dispute=wire.read_dispute(found))
        return PaymentUpdate()

    def _intent_of(self, payment: PaymentRef) -> str:
        reference = payment.payment_reference or self.fetch_payment(payment).payment_reference
        if not reference:
            raise GatewayRejected("Nothing was paid in this session.", gateway=self.name, code="no_payment_intent")
        return reference

    def _about(self, payment: PaymentRef, intent: Mapping[str, Any]) -> PaymentUpdate:
        return replace(wire.read_intent(intent), gateway_reference=payment.gateway_reference)


def _quoted(reference: str) -> str:
    return quote(reference, safe="")
