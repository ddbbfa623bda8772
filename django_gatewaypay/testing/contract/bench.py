"""What the author of an adapter fills in, and what the battery stands on."""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from ...gateways import http
from ...gateways.base import Gateway
from ...money import Money
from ...types import CallbackRequest, PaymentRef, PaymentRequest, PaymentSession, PaymentUpdate, State
from ..gateway_server import Answer, GatewayServer, RecordedRequest, sign
from .spoiling import alter

__all__ = ["Bench"]

NAMES = itertools.count(1)


class Bench:
    """The defaults speak the plain hosted protocol to a `GatewayServer`."""

    # --- Fill these in: your vendor's words and numbers.

    server_class: ClassVar[type[GatewayServer]] = GatewayServer
    """Plays the vendor on loopback."""
    secrets: ClassVar[Sequence[str]] = ("whsec_Zmlyc3Qtc2VjcmV0LTE=", "whsec_c2Vjb25kLXNlY3JldDI=")
    """The callback secrets that the gateway is made with: two, one without rotation, none if unsigned."""
    stranger: ClassVar[str] = "whsec_c3RyYW5nZXItc2VjcmV0"
    """A secret in the vendor's form that the gateway is not made with."""
    credentials: ClassVar[Sequence[str]] = ()
    """Whatever else `make_gateway` passes and nobody may read: API keys, passwords."""
    states: ClassVar[Mapping[str, State]] = {}
    """The vendor's words and what they mean."""
    callback_states: ClassVar[Mapping[str, State] | None] = None
    """The same for callbacks, where they have other words or fewer; None: as `states`."""
    unknown_word: ClassVar[str] = "word_of_next_year"
    amounts: ClassVar[Sequence[tuple[Money, object]]] = ()
    """Money, and what the wire must carry for it: EUR, JPY, KWD and each of the gateway's `exponents`."""
    signs_time: ClassVar[bool] = True
    """False: the vendor signs no time, or one that must not be compared with the clock."""
    too_old: ClassVar[timedelta] = timedelta(hours=1)
    """An age at which a callback is refused; a vendor that tries again for days may send the first time along."""
    signs_bytes: ClassVar[bool] = True
    """False: the vendor signs fields instead of the body; then write `spoiled` too."""
    declined: ClassVar[Answer | None] = Answer.error(402)
    """The vendor's "no" to a shopper; None, where its API never says it."""
    rejected: ClassVar[Answer] = Answer.error(422)
    """The vendor's "you asked wrongly"."""
    refuses_too_much: ClassVar[bool] = True
    """False: it takes a refund or a capture of any amount, and says no later, in a callback."""

    def make_gateway(self, api_base: str, secrets: Sequence[str], **options: Any) -> Gateway:
        """Your adapter; hand `options` (such as `timeout`) on to it."""
        raise NotImplementedError(f"{type(self).__name__} needs make_gateway().")

    def asked_amount(self, call: RecordedRequest) -> object:
        """The amount on the wire, in the call that opened a session."""
        return call.json["amount"]

    def set_state(self, server: Any, reference: str, word: str, amount: object, currency: str) -> None:
        """Make a vendor's word true about a session; `amount` has the form of the wire."""
        reserved = {"authorized": amount} if self.states.get(word) is State.AUTHORIZED else {}
        server.set_status(reference, word, amount=amount, currency=currency, **reserved)

    def callback(self, server: Any, reference: str, *, secret: str, at: int) -> CallbackRequest:
        """What the vendor sends about a session as it is now, signed with `secret` at `at` (Unix seconds)."""
        headers, body = server.callback(reference)
        return CallbackRequest(sign(secret, headers["webhook-id"], body, timestamp=at), body)

    def unsigned(self, callback: CallbackRequest) -> CallbackRequest:
        """The same callback without its proof."""
        kept = {name: value for name, value in callback.headers.items() if name.lower() == "content-type"}
        return replace(callback, headers=kept)

    def spoiled(self, callback: CallbackRequest) -> Iterator[CallbackRequest]:
        """The same callback, altered in each way that the signature has to notice."""
        return alter(callback)

    def opened(self, server: Any) -> int:
        """How many sessions the vendor has opened."""
        return len(server.sessions)

    def reserve(self, server: Any, reference: str, amount: object, currency: str) -> None:
        """Make the vendor reserve the money of a session; `amount` has the form of the wire."""
        words = [word for word, state in self.states.items() if state is State.AUTHORIZED]
        if not words:
            raise NotImplementedError(f"{type(self).__name__} has no word for what is reserved: it needs reserve().")
        self.set_state(server, reference, words[0], amount, currency)

    def given_back(self, server: Any) -> int:
        """How many refunds the vendor has made."""
        return len(server.refunds)

    def show_at_once(self, server: Any, size: int) -> None:
        """Let the vendor's lists have pages of `size`."""
        server.shown_at_once = size

    # --- Leave these alone.

    @pytest.fixture(autouse=True)
    def no_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Retries do not wait."""
        monkeypatch.setattr(http, "backoff", lambda *_: 0)

    @pytest.fixture
    def server(self) -> Iterator[GatewayServer]:
        """The vendor."""
        with self.server_class() as server:
            yield server

    @pytest.fixture
    def gateway(self, server: GatewayServer) -> Iterator[Gateway]:
        """The adapter under test."""
        gateway = self.make_gateway(server.url, self.secrets)
        yield gateway
        gateway.client.session.close()

    @property
    def told_states(self) -> Mapping[str, State]:
        """The words of callbacks."""
        return self.states if self.callback_states is None else self.callback_states

    @property
    def paid_word(self) -> str:
        """A word of callbacks that means success; any word, where callbacks are hints."""
        paid = [word for word, state in self.told_states.items() if state is State.SUCCESS]
        return (paid or [*self.states])[0]

    @property
    def taken_word(self) -> str:
        """A word that means success when the vendor is asked."""
        return next(word for word, state in self.states.items() if state is State.SUCCESS)

    @property
    def nobody_reads(self) -> list[str]:
        """All secrets; the prefix of Standard Webhooks is none."""
        return [secret.removeprefix("whsec_") for secret in (*self.secrets, *self.credentials)]

    def request(self, money: Money | None = None) -> PaymentRequest:
        """A payment that nobody asked for yet."""
        now, name = datetime.now(UTC), next(NAMES)
        return PaymentRequest(
            transaction_id=f"0199f0c2-7c1e-7000-8000-{name:012}",
            order_id=self.order_name(name),
            amount=money or self.amounts[0][0],
            callback_url="https://shop.example/payments/callbacks/contract/",
            return_url="https://shop.example/payments/return/contract/",
            expires_at=now + timedelta(hours=1),
            created_at=now,
            idempotency_key=f"gatewaypay-contract-{name}",
            description=f"Order {name}",
        )

    @staticmethod
    def ref(request: PaymentRequest, session: PaymentSession) -> PaymentRef:
        """What the core hands over to ask about a session."""
        return PaymentRef(
            transaction_id=request.transaction_id,
            gateway_reference=session.gateway_reference,
            amount=request.amount,
            payment_reference=session.payment_reference,
        )

    def known(self, server: GatewayServer, gateway: Gateway, ref: PaymentRef) -> PaymentRef:
        """The session as the core knows it once it has heard of the payment."""
        if gateway.supports_fetch:
            updates = [gateway.fetch_payment(ref)]
        else:
            secret = next(iter(self.secrets), "")
            updates = gateway.parse_callback(
                self.callback(server, ref.gateway_reference, secret=secret, at=int(time.time()))
            )
        told = next((update.payment_reference for update in updates if update.payment_reference), "")
        return replace(ref, payment_reference=told or ref.payment_reference)

    @staticmethod
    def order_name(number: int) -> str:
        """The host's order of a request."""
        return f"order-{number}"

    def order_of(self, ref: PaymentRef) -> str:
        """The host's order of a session."""
        return self.order_name(int(ref.transaction_id.rpartition("-")[2]))

    def writes(self, server: GatewayServer, gateway: Gateway) -> list[RecordedRequest]:
        """The calls that carried an idempotency key."""
        return [call for call in server.requests if gateway.key_header.lower() in call.headers]

    def happened(self, server: GatewayServer, gateway: Gateway, word: str, entry: int = 0) -> PaymentRef:
        """A session of which a word is true."""
        money, wire = self.amounts[entry]
        request = self.request(money)
        ref = self.ref(request, gateway.create_session(request))
        self.set_state(server, ref.gateway_reference, word, wire, money.currency.code)
        return ref

    def sent(
        self, server: GatewayServer, gateway: Gateway, word: str = "", entry: int = 0, *, secret: str = "", age: int = 0
    ) -> CallbackRequest:
        """What the vendor sends about a word, "paid" by default."""
        ref = self.happened(server, gateway, word or self.paid_word, entry)
        secret = secret or next(iter(self.secrets), "")
        return self.callback(server, ref.gateway_reference, secret=secret, at=int(time.time()) - age)

    def told(self, server: GatewayServer, gateway: Gateway, word: str, entry: int = 0) -> list[PaymentUpdate]:
        """What the adapter reads from a signed callback."""
        if not gateway.signs_callbacks:
            return []
        updates = gateway.parse_callback(self.sent(server, gateway, word, entry))
        assert updates, f"a callback that says {word!r} is no news to the adapter"  # noqa: S101 - the battery speaks pytest
        return updates

    def asked(self, server: GatewayServer, gateway: Gateway, word: str, entry: int = 0) -> list[PaymentUpdate]:
        """What the adapter answers when it is asked."""
        return [gateway.fetch_payment(self.happened(server, gateway, word, entry))] if gateway.supports_fetch else []
