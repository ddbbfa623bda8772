"""What the core and the adapters say to each other: frozen, in absolute facts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moneyed import Money

from .words import DisputeState, RefundState, State

__all__ = [
    "CallbackRequest",
    "DisputeUpdate",
    "ListedPayment",
    "NextAction",
    "PaymentRef",
    "PaymentRequest",
    "PaymentSession",
    "PaymentUpdate",
    "RefundRequest",
    "RefundUpdate",
]


@dataclass(frozen=True, kw_only=True)
class PaymentRequest:
    """What a gateway needs to open a payment session.

    Args:
        transaction_id: our id, to be echoed by the gateway (its merchant reference).
        order_id: the host's order.
        amount: the exact amount to collect.
        callback_url: where the gateway tells us.
        return_url: where the gateway sends the shopper afterwards, paid or not.
        expires_at: aware UTC time after which the session should not be payable.
        idempotency_key: the same for every retry of this session.
        description: what the shopper reads at the gateway.
        created_at: aware UTC time of our row. What an adapter computes must follow from the request
            alone: a retry under the same key has to send the same bytes.
        manual_capture: authorize only; the host captures later.
    """

    transaction_id: str
    order_id: str
    amount: Money
    callback_url: str
    return_url: str
    expires_at: datetime
    idempotency_key: str
    created_at: datetime
    description: str = ""
    manual_capture: bool = False


@dataclass(frozen=True, kw_only=True)
class NextAction:
    """How the shopper gets to the gateway: follow `url`, or post `fields` to it."""

    url: str
    method: str = "GET"
    fields: Mapping[str, str] = field(default_factory=dict)
    type: str = "redirect"

    def as_dict(self) -> dict[str, Any]:
        return {"type": self.type, "method": self.method, "url": self.url, "fields": dict(self.fields)}


@dataclass(frozen=True, kw_only=True)
class PaymentSession:
    """A payment session that the gateway has opened."""

    gateway_reference: str
    next_action: NextAction
    payment_reference: str = ""


@dataclass(frozen=True, kw_only=True)
class PaymentRef:
    """One of our payments, as an adapter needs it to ask about it.

    Args:
        closed: we have told the shopper that it is over; asking must not take money any more.
    """

    transaction_id: str
    gateway_reference: str
    amount: Money
    payment_reference: str = ""
    closed: bool = False


@dataclass(frozen=True, kw_only=True)
class RefundUpdate:
    """What a gateway says about one refund.

    Args:
        refund_reference: the gateway's id of the refund.
        state: what became of it; a refund may still fail after it succeeded.
        amount: what this refund gives back.
        refund_id: our id, as the gateway echoes it.
        reason: why it failed, in the gateway's own word.
    """

    refund_reference: str
    state: RefundState
    amount: Money | None = None
    refund_id: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class DisputeUpdate:
    """What a gateway says about one dispute.

    Args:
        dispute_reference: the gateway's id of the dispute; of the payment, where it has none of its own.
        amount: what is disputed.
        due_at: aware UTC time until which an answer is taken.
        reason: the gateway's own word.
    """

    dispute_reference: str
    state: DisputeState
    amount: Money | None = None
    due_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class PaymentUpdate:
    """What a gateway says about a payment: absolute facts, never deltas.

    Args:
        transaction_id: our id, as the gateway echoes it.
        gateway_reference: the gateway's id of the session.
        state: None when the gateway gave none, or a word that the adapter does not know.
        captured: money taken so far, in total.
        authorized: money reserved so far, in total.
        refunded: money given back so far, in total.
        event_id: the gateway's id of this message; the same for a redelivery.
        payment_reference: the gateway's id of the payment inside the session (refunds need it).
        decline_code: why not, in the standard words.
        refund: what it says about one refund, where the gateway tells no totals.
        dispute: what it says about one dispute.
        test: whether it is about play money, where the gateway says so.
        flags: attention codes for staff, such as "disputed"; they never move the state.
        raw: an allow-list of the gateway's own fields, for staff; never a secret, never personal data.
    """

    transaction_id: str = ""
    gateway_reference: str = ""
    state: State | None = None
    captured: Money | None = None
    authorized: Money | None = None
    refunded: Money | None = None
    event_id: str = ""
    payment_reference: str = ""
    decline_code: str = ""
    refund: RefundUpdate | None = None
    dispute: DisputeUpdate | None = None
    test: bool | None = None
    flags: frozenset[str] = frozenset()
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def thin(self) -> bool:
        """It says that something happened, not what: the gateway must be asked."""
        return self.state is None


@dataclass(frozen=True, kw_only=True)
class RefundRequest:
    """Give `amount` of a captured payment back.

    Args:
        refund_id: our id, to be echoed by the gateway.
        created_at: aware UTC time of our row.
    """

    payment: PaymentRef
    amount: Money
    idempotency_key: str
    refund_id: str = ""
    reason: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ListedPayment:
    """One payment of a gateway's own list, for reconciliation.

    Args:
        update: what is true of it; `transaction_id` is our id as the gateway echoes it, "" when it names none.
        order_id: the host's order, where the gateway echoes it.
        amount: what was asked for.
        created_at: aware UTC time at which the gateway opened it.
    """

    update: PaymentUpdate
    created_at: datetime
    amount: Money | None = None
    order_id: str = ""


@dataclass(frozen=True)
class CallbackRequest:
    """A callback as it arrived; `body` is the raw bytes that were signed."""

    # Not in its repr, which error pages and traceback mails show.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    url: str = field(default="", repr=False)
