"""The closed vocabularies: states, outcomes, sources and the reasons of a decline."""

from collections.abc import Mapping
from enum import StrEnum

__all__ = [
    "CAPTURE_WORDS",
    "CLOSED_STATES",
    "DECLINE_CODES",
    "FINAL_STATES",
    "OPEN_STATES",
    "UNANSWERED_MOVEMENTS",
    "DisputeState",
    "MovementState",
    "RefundState",
    "RefundStatus",
    "Source",
    "State",
    "Status",
]


class State(StrEnum):
    """What the machine is in. A transaction only ever climbs in rank."""

    CREATED = "created"
    PENDING = "pending"
    PROCESSING = "processing"
    AUTHORIZED = "authorized"
    EXPIRED = "expired"
    CANCELED = "canceled"
    FAILED = "failed"
    HELD = "held"
    SUCCESS = "success"

    @property
    def rank(self) -> int:
        return RANKS[self]

    @property
    def status(self) -> "Status":
        if self is State.SUCCESS:
            return Status.SUCCESS
        return Status.FAILURE if self in CLOSED_STATES else Status.PENDING


class Status(StrEnum):
    """What the shopper is told."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"


OPEN_STATES = frozenset({State.CREATED, State.PENDING, State.PROCESSING, State.AUTHORIZED})
CLOSED_STATES = frozenset({State.EXPIRED, State.CANCELED, State.FAILED})
FINAL_STATES = CLOSED_STATES | {State.SUCCESS}
# The three ways to end unpaid are equal: the first one stays, and only money moves it.
RANKS: Mapping[State, int] = {
    state: list(State).index(State.EXPIRED if state in CLOSED_STATES else state) for state in State
}


#: Why a payment was declined, in the words that every adapter maps its vendor's to.
DECLINE_CODES = frozenset(
    {
        "authentication_failed",
        "authentication_required",
        "call_issuer",
        "canceled_by_shopper",
        "card_not_supported",
        "currency_not_supported",
        "declined",
        "expired_card",
        "fraud_suspected",
        "incorrect_address",
        "incorrect_cvc",
        "incorrect_number",
        "insufficient_funds",
        "invalid_account",
        "issuer_unavailable",
        "limit_exceeded",
        "lost_or_stolen",
        "processing_error",
    }
)


#: When the money of a payment is taken: at once, or later by whoever captures it.
CAPTURE_WORDS = ("auto", "manual")


class RefundState(StrEnum):
    """What became of one refund at the gateway."""

    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RefundStatus(StrEnum):
    """How much of a payment was given back; derived."""

    NONE = "none"
    PARTIAL = "partial"
    FULL = "full"


class MovementState(StrEnum):
    """What became of a capture or a refund that we have asked for. It only ever climbs in rank."""

    REQUESTED = "requested"
    """Written down; the gateway is not surely told, or a second person has to agree first."""
    UNKNOWN = "unknown"
    """The gateway was told, and gave no usable answer: it is told again under the same key, or looked up."""
    SUBMITTED = "submitted"
    """The gateway has taken the order; the outcome comes later."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """A definite no; also after a success, because banks send money back."""

    @property
    def rank(self) -> int:
        return list(MovementState).index(self)


#: Nobody knows yet whether the gateway has heard of it.
UNANSWERED_MOVEMENTS = frozenset({MovementState.REQUESTED, MovementState.UNKNOWN})


class DisputeState(StrEnum):
    """Where a dispute stands. Order is no matter: the highest word that was said holds."""

    OPEN = "open"
    """An answer is due, or the bank has taken the money and an answer may win it back."""
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"

    @property
    def rank(self) -> int:
        return list(DisputeState).index(self)


class Source(StrEnum):
    """Which trigger brought an update to the door."""

    INITIATE = "initiate"
    CALLBACK = "callback"
    POLL = "poll"
    RETURN = "return"
    EXPIRY = "expiry"
    CANCEL = "cancel"
    STAFF = "staff"
    SYSTEM = "system"
