"""Adapters with one defect each, and the battery over them. `test_contract` runs this file and reads how it fails.

It is not collected with the suite: its name has no `test_`.
"""

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from moneyed import Money

from django_gatewaypay.exceptions import GatewayDeclined, GatewayRejected, GatewayUnavailable
from django_gatewaypay.gateways import signing
from django_gatewaypay.gateways.answers import Refusal
from django_gatewaypay.gateways.base import Gateway
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.testing import GatewayContract
from django_gatewaypay.testing.gateway_server import sign
from django_gatewaypay.types import (
    CallbackRequest,
    ListedPayment,
    PaymentRef,
    PaymentRequest,
    PaymentSession,
    PaymentUpdate,
    RefundRequest,
    RefundState,
    RefundUpdate,
    State,
)


class AcceptsUnsigned(HostedGateway):
    """Lets a callback without a signature in."""

    def verify_callback(self, request: CallbackRequest) -> None:
        if "webhook-signature" in request.headers:
            super().verify_callback(request)


class AcceptsAnything(HostedGateway):
    """Verifies nothing."""

    def verify_callback(self, request: CallbackRequest) -> None:
        pass


class IgnoresTheTime(HostedGateway):
    """Signs again with the time that it was given, instead of looking at the clock."""

    def verify_callback(self, request: CallbackRequest) -> None:
        given = {name.lower(): value for name, value in request.headers.items()}
        for secret in signing.read_secrets(self.webhook_secrets):
            if "webhook-id" in given and given.get("webhook-timestamp", "").isdigit():
                at = int(given["webhook-timestamp"])
                if sign(secret, given["webhook-id"], request.body, timestamp=at).items() <= given.items():
                    return
        raise signing.InvalidSignature


class TakesTheFuture(HostedGateway):
    """Compares the time to one side only."""

    def verify_callback(self, request: CallbackRequest) -> None:
        at = request.headers.get("webhook-timestamp", "")
        if at.isdigit() and int(at) > time.time() + 300:
            return IgnoresTheTime.verify_callback(self, request)  # type: ignore[arg-type]
        return super().verify_callback(request)


class FirstSecretOnly(HostedGateway):
    """Breaks rotation."""

    def verify_callback(self, request: CallbackRequest) -> None:
        first = signing.read_secrets(self.webhook_secrets)[:1]
        signing.verify_standard_webhook(first, request.headers, request.body)


class SignsTheMeaning(HostedGateway):
    """Parses, writes again and verifies that, so that other bytes with the same meaning pass."""

    def verify_callback(self, request: CallbackRequest) -> None:
        try:
            body = json.dumps(json.loads(request.body)).encode()
        except ValueError:
            body = request.body
        super().verify_callback(replace(request, body=body))


class FloatsMoney(HostedGateway):
    """Sends a JSON float."""

    def _session_body(self, request: PaymentRequest) -> dict[str, Any]:
        return {**super()._session_body(request), "amount": float(request.amount.amount)}


class RoundsMoney(HostedGateway):
    """Asks for less than the order costs."""

    def _session_body(self, request: PaymentRequest) -> dict[str, Any]:
        places = Decimal(request.amount.amount).quantize(Decimal("0.01"))
        if request.amount.currency.code == "EUR":
            return super()._session_body(replace(request, amount=Money(places, "EUR")))
        return super()._session_body(request)


class EverythingHasCents(HostedGateway):
    """Reads yen in hundredths."""

    def _update(self, data: Mapping[str, Any]) -> PaymentUpdate:
        update = super()._update(data)
        if update.captured and update.captured.currency.code == "JPY":
            return replace(update, captured=update.captured / 100)
        return update


class DropsUnknownWords(HostedGateway):
    """No news for a word that it does not know."""

    def parse_callback(self, request: CallbackRequest) -> list[PaymentUpdate]:
        return [update for update in super().parse_callback(request) if update.state]


class FailsUnknownWords(HostedGateway):
    """Takes a word that it does not know for a failure."""

    def _update(self, data: Mapping[str, Any]) -> PaymentUpdate:
        update = super()._update(data)
        return update if update.state else replace(update, state=State.FAILED)


class CrashesOnOddFields(HostedGateway):
    """Believes that a status is a word and that a reference is there."""

    def parse_callback(self, request: CallbackRequest) -> list[PaymentUpdate]:
        data = json.loads(request.body)
        return [replace(update, raw={"status": data["status"].lower()}) for update in super().parse_callback(request)]


class LeaksInRepr(HostedGateway):
    """Shows its secrets to error pages."""

    def __repr__(self) -> str:
        return f"<LeaksInRepr {vars(self)}>"


class LeaksInRaw(HostedGateway):
    """Stores the whole payload."""

    def _update(self, data: Mapping[str, Any]) -> PaymentUpdate:
        return replace(super()._update(data), raw=dict(data))


class LeaksInErrors(HostedGateway):
    """Repeats what the gateway said."""

    def explain_error(self, status: int, data: Mapping[str, Any]) -> Refusal:
        plain = super().explain_error(status, data)
        return replace(plain, code=str(data["message"])) if "message" in data else plain


class LeaksInLogs(HostedGateway):
    """Logs the headers that it sends."""

    def create_session(self, request: PaymentRequest) -> PaymentSession:
        import logging

        logging.getLogger("planted").debug("sending %s", self.client.session.headers)
        return super().create_session(request)


class NewKeyAtEachTry(HostedGateway):
    """A retry is another payment."""

    def create_session(self, request: PaymentRequest) -> PaymentSession:
        for _ in range(5):
            try:
                return super().create_session(replace(request, idempotency_key=uuid.uuid4().hex))
            except GatewayUnavailable:
                continue
        raise GatewayUnavailable


class NewBytesAtEachTry(HostedGateway):
    """The body tells the time, so that the same key comes with another body."""

    def _session_body(self, request: PaymentRequest) -> dict[str, Any]:
        return {**super()._session_body(request), "sent_at": datetime.now(UTC).isoformat()}


class DeclinesOnTimeout(HostedGateway):
    """Says "no" where nobody knows."""

    def create_session(self, request: PaymentRequest) -> PaymentSession:
        try:
            return super().create_session(request)
        except GatewayUnavailable as error:
            raise GatewayDeclined from error


class DeclinesOurMistakes(HostedGateway):
    """Blames the shopper for a wrong API key."""

    def explain_error(self, status: int, data: Mapping[str, Any]) -> Refusal:
        return Refusal(code="wrong", decline_code="declined")


class OpensWhatItShouldFind(HostedGateway):
    """Looks a session up by opening it."""

    def find_session(self, request: PaymentRequest) -> PaymentSession | None:
        return self.create_session(request)


class DeclinesInItsOwnWords(HostedGateway):
    """Does not translate why."""

    def explain_error(self, status: int, data: Mapping[str, Any]) -> Refusal:
        plain = super().explain_error(status, data)
        return replace(plain, decline_code=plain.decline_code and "51_nsf")


class FlagWithoutMethod(HostedGateway):
    """Promises to cancel."""

    cancel_payment = Gateway.cancel_payment


class MethodWithoutFlag(HostedGateway):
    """Hides what it can."""

    supports_cancel = False


class FollowsToAForeignHost(HostedGateway):
    """Sends the shopper wherever it is told to."""

    def check_payment_url(self, url: str) -> str:
        return url


class SuccessWithoutAmount(HostedGateway):
    """Paid, but how much?"""

    def _update(self, data: Mapping[str, Any]) -> PaymentUpdate:
        return replace(super()._update(data), captured=None)


class TakesWhatIsNotPaid(HostedGateway):
    """Tells the amount of an open session as taken."""

    def _update(self, data: Mapping[str, Any]) -> PaymentUpdate:
        paid = super()._update({**data, "status": "success"})
        return replace(super()._update(data), captured=paid.captured)


class SaysNotWhich(HostedGateway):
    """Tells of no payment in particular."""

    def _update(self, data: Mapping[str, Any]) -> PaymentUpdate:
        return replace(super()._update(data), transaction_id="", gateway_reference="")


class CancelsWhatIsPaid(HostedGateway):
    """Does not look at the answer."""

    def cancel_payment(self, payment: PaymentRef, *, idempotency_key: str) -> PaymentUpdate:
        return replace(super().cancel_payment(payment, idempotency_key=idempotency_key), state=State.CANCELED)


class SharesStateBetweenThreads(HostedGateway):
    """Keeps the payment on itself while it calls."""

    def fetch_payment(self, payment: PaymentRef) -> PaymentUpdate:
        self.payment = payment
        time.sleep(0.1)
        return super().fetch_payment(self.payment)


class BelievesHints(HostedGateway):
    """Does not sign, and reads a state all the same."""

    signs_callbacks = False


class NewKeyAtEachRefund(HostedGateway):
    """Who asks twice gives back twice."""

    def refund(self, request: RefundRequest) -> RefundUpdate:
        return super().refund(replace(request, idempotency_key=uuid.uuid4().hex))


class RefundsWholeUnitsOnly(HostedGateway):
    """Keeps the cents."""

    def refund(self, request: RefundRequest) -> RefundUpdate:
        return super().refund(replace(request, amount=Money(int(request.amount.amount), request.amount.currency)))


class RefundsWithoutOurId(HostedGateway):
    """Nobody could find it again."""

    def refund(self, request: RefundRequest) -> RefundUpdate:
        return super().refund(replace(request, refund_id=""))


class TakesARefusalForAnOrder(HostedGateway):
    """Says that it is on its way, and nothing goes back."""

    def refund(self, request: RefundRequest) -> RefundUpdate:
        with suppress(GatewayRejected):
            return super().refund(request)
        return RefundUpdate(refund_reference="re_0", state=RefundState.SUBMITTED, refund_id=request.refund_id)


class DoubtsEveryRefusal(HostedGateway):
    """Says "nobody knows" where the vendor has said "no"."""

    def refund(self, request: RefundRequest) -> RefundUpdate:
        try:
            return super().refund(request)
        except GatewayRejected as error:
            raise GatewayUnavailable from error


class RefusesOnTimeout(HostedGateway):
    """Says "no" where nobody knows, so that somebody refunds again."""

    def refund(self, request: RefundRequest) -> RefundUpdate:
        try:
            return super().refund(request)
        except GatewayUnavailable as error:
            raise GatewayRejected from error


class FindsAnyRefund(HostedGateway):
    """Takes the first one for ours."""

    def find_refund(self, request: RefundRequest) -> RefundUpdate | None:
        answer = self.client.get(f"refunds/{request.payment.gateway_reference}").data
        return self._refund(answer["refunds"][0])


class FindsNoneWithoutAnAnswer(HostedGateway):
    """Who reads "none" there refunds again."""

    def find_refund(self, request: RefundRequest) -> RefundUpdate | None:
        with suppress(GatewayUnavailable):
            return super().find_refund(request)
        return None


class CapturesEverything(HostedGateway):
    """Takes all that is reserved."""

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        whole = self.fetch_payment(payment).authorized or payment.amount
        amount = max(whole, payment.amount)
        return super().capture(replace(payment, amount=amount), idempotency_key=idempotency_key, final=final)


class LetsTheRestGo(HostedGateway):
    """Every part is the last."""

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        return super().capture(payment, idempotency_key=idempotency_key)


class TellsTheLastCapture(HostedGateway):
    """Answers what this capture took, not the total."""

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        told = super().capture(payment, idempotency_key=idempotency_key, final=final)
        return replace(told, captured=payment.amount)


class NewKeyAtEachCapture(HostedGateway):
    """Who asks twice takes twice."""

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        return super().capture(payment, idempotency_key=uuid.uuid4().hex, final=final)


class TakesARefusalForACapture(HostedGateway):
    """Says that it is on its way, and nothing is taken."""

    def capture(self, payment: PaymentRef, *, idempotency_key: str, final: bool = True) -> PaymentUpdate:
        with suppress(GatewayRejected):
            return super().capture(payment, idempotency_key=idempotency_key, final=final)
        return PaymentUpdate(state=State.AUTHORIZED)


class ListsOnePage(HostedGateway):
    """Takes the first page for all there is."""

    def list_payments(self, since: datetime, until: datetime) -> Iterator[ListedPayment]:
        page = self.client.get(f"list?since={since:%Y-%m-%dT%H:%M:%SZ}&until={until:%Y-%m-%dT%H:%M:%SZ}").data
        yield from map(self._listed, page["payments"])


class ListsHalfInSilence(HostedGateway):
    """Stops where the vendor stops, and does not say so."""

    def list_payments(self, since: datetime, until: datetime) -> Iterator[ListedPayment]:
        with suppress(GatewayUnavailable):
            yield from super().list_payments(since, until)


class ListsWhatIsOlder(HostedGateway):
    """Forgets where the time begins."""

    def list_payments(self, since: datetime, until: datetime) -> Iterator[ListedPayment]:
        yield from super().list_payments(since - timedelta(days=30), until)


class ListsWhatIsNewer(HostedGateway):
    """Forgets where the time ends."""

    def list_payments(self, since: datetime, until: datetime) -> Iterator[ListedPayment]:
        yield from super().list_payments(since, until + timedelta(days=30))


class ListsWithoutTheMoney(HostedGateway):
    """Tells that it was paid, and not how much."""

    def _listed(self, data: Mapping[str, Any]) -> ListedPayment:
        told = super()._listed(data)
        return replace(told, update=replace(told.update, captured=None))


class ListsAWish(HostedGateway):
    """Takes what was paid for what was asked for; and another order for ours."""

    def _listed(self, data: Mapping[str, Any]) -> ListedPayment:
        return replace(super()._listed(data), order_id="another")


def battery(adapter: type[HostedGateway]) -> type[GatewayContract]:
    """The battery over an adapter, as its author would have written it."""

    class Battery(GatewayContract):
        credentials = ("sk_contract_1",)
        states = HostedGateway.STATES
        amounts = ((Money("19.90", "EUR"), "19.90"), (Money(2000, "JPY"), "2000"), (Money("1.5", "KWD"), "1.500"))

        def make_gateway(self, api_base: str, secrets: Sequence[str], **options: Any) -> HostedGateway:
            return adapter("bad", api_base=api_base, webhook_secrets=secrets, api_key="sk_contract_1", **options)

    return Battery


class Good(HostedGateway):
    """Nothing is wrong with it."""


ADAPTERS = [each for each in vars().copy().values() if isinstance(each, type) and each.__bases__ == (HostedGateway,)]
for found in ADAPTERS:
    globals()[f"Test{found.__name__}"] = battery(found)
