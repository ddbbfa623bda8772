"""The books in words: what a code means, who said what, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import exceptions
from ..models import Capture, Movement, Refund, Transaction, TransactionEvent
from ..services.notices import WORDS
from ..types import MovementState, RefundStatus, Source, State
from .base import money

__all__ = ["ATTENTION", "Said", "Words", "became", "explain", "given_back", "moved", "who_said"]


@dataclass(frozen=True)
class Words:
    """An attention code: what it is, and what to do about it."""

    label: Any
    advice: Any


ADVICE: Mapping[str, Any] = {
    "mismatch": _(
        "Money came, and it is not what was asked for. Compare it with the gateway; then accept it or give it back."
    ),
    "duplicate_payment": _("Another payment of this order is paid too. Give one of the two back, or accept this one."),
    "late": _(
        "The money came after this payment had ended. Fulfil the order now, accept it as it is, or give it back."
    ),
    "disputed": _("The shopper's bank takes the money back, or may. Answer at the gateway before the date below."),
    "refund_failed": _(
        "The gateway had taken a refund, and it came back. Refund again, or pay the shopper in another way."
    ),
    "refund_unknown": _(
        "Nobody can tell what became of a refund. Look for it at the gateway before you do anything else."
    ),
    "capture_failed": _("The reserved money could not be taken. Capture again, or let it go."),
    "hook_dead": _("Your own code failed again and again. Mend the cause, then try again below."),
    "unmatched": _("A message of the gateway could not be worked on. Read its last error, then try again below."),
    "unknown_state": _("The gateway used a word that we do not know. Look at the gateway, and ask it again later."),
    "recovered": _(
        "The gateway knew of this payment, and our books did not. See whether order and amount are right; "
        "then accept it."
    ),
    "unreconciled": _(
        "A comparison has found a difference that no question to the gateway mends. The timeline has both words."
    ),
    "skew": _("The gateway's clock and ours do not agree. Set the clock of this server."),
}
#: By code; what it is called is what the mail calls it.
ATTENTION: Mapping[str, Words] = {code: Words(label, ADVICE[code]) for code, label in WORDS.items()}

SOURCES: Mapping[str, Any] = {
    Source.INITIATE: _("The shopper started the payment"),
    Source.CALLBACK: _("The gateway told us"),
    Source.POLL: _("We asked the gateway"),
    Source.RETURN: _("The shopper came back, and we asked the gateway"),
    Source.EXPIRY: _("Its time had passed"),
    Source.CANCEL: _("Canceled on our side"),
    Source.STAFF: _("Staff decided"),
    Source.SYSTEM: _("The package itself"),
}

ENDS: Mapping[str, tuple[int, Any]] = {
    State.CREATED: (messages.INFO, _("It is not open at the gateway yet.")),
    State.PENDING: (messages.INFO, _("It is still open: the shopper has not paid.")),
    State.PROCESSING: (messages.INFO, _("The bank is deciding.")),
    State.AUTHORIZED: (messages.INFO, _("The money is reserved, and not taken yet.")),
    State.EXPIRED: (messages.SUCCESS, _("It has expired: nobody can pay it any more.")),
    State.CANCELED: (messages.SUCCESS, _("It is canceled: nobody can pay it any more.")),
    State.FAILED: (messages.WARNING, _("It has failed.")),
    State.HELD: (messages.WARNING, _("Money came that does not match: it waits for a decision.")),
    State.SUCCESS: (messages.SUCCESS, _("It is paid.")),
}

REFUNDED: Mapping[str, tuple[int, Any]] = {
    MovementState.REQUESTED: (messages.INFO, _("The refund of %(amount)s is written down; the gateway is told soon.")),
    MovementState.UNKNOWN: (
        messages.WARNING,
        _(
            "The gateway gave no usable answer to the refund of %(amount)s: nobody knows yet whether it was made. "
            "It is asked again by itself. Do not refund it anywhere else."
        ),
    ),
    MovementState.SUBMITTED: (
        messages.SUCCESS,
        _("The gateway has taken the refund of %(amount)s; whether it came through, it will tell later."),
    ),
    MovementState.SUCCEEDED: (messages.SUCCESS, _("%(amount)s went back to the shopper.")),
    MovementState.FAILED: (messages.ERROR, _("%(amount)s did not go back. The gateway refused: %(error)s")),
}
WAITS = (
    messages.WARNING,
    _("The refund of %(amount)s is written down. It is above the limit: a second person has to approve it."),
)

CAPTURED: Mapping[str, tuple[int, Any]] = {
    MovementState.REQUESTED: (messages.INFO, _("The capture of %(amount)s is written down; the gateway is told soon.")),
    MovementState.UNKNOWN: (
        messages.WARNING,
        _(
            "The gateway gave no usable answer to the capture of %(amount)s: nobody knows yet whether it was made. "
            "It is asked again by itself."
        ),
    ),
    MovementState.SUBMITTED: (
        messages.SUCCESS,
        _("The gateway has taken the capture of %(amount)s; whether it came through, it will tell later."),
    ),
    MovementState.SUCCEEDED: (messages.SUCCESS, _("%(amount)s of the reserved money is taken.")),
    MovementState.FAILED: (messages.ERROR, _("%(amount)s was not taken. The gateway refused: %(error)s")),
}

ERRORS: Mapping[type[Exception], Any] = {
    exceptions.AmountNotLeft: _("That is more than is left."),
    exceptions.MovementInProgress: _(
        "Another one of this payment is under way, and nobody knows yet what became of it. Wait for its end."
    ),
    exceptions.SecondPersonNeeded: _("You have asked for it yourself: somebody else has to approve it."),
    exceptions.IdempotencyConflict: _(
        "This page was used already, with another amount. Look at the payment, then open the page anew."
    ),
    exceptions.GatewayUnavailable: _("The gateway gave no usable answer, and nothing was changed. Try again later."),
}


@dataclass(frozen=True)
class Said:
    """What became of an action: a level of `messages`, and the text."""

    level: int
    text: str


def became(row: Transaction) -> Said:
    """What a payment is now."""
    level, text = ENDS[row.state]
    return Said(level, f"{row.order_id}: {text}")


def moved(movement: Movement) -> Said:
    """What became of a refund or a capture."""
    table = CAPTURED if isinstance(movement, Capture) else REFUNDED
    level, text = table[movement.state]
    if isinstance(movement, Refund) and movement.waits_for_approval:
        level, text = WAITS
    error = movement.last_error or gettext("no reason was given")
    return Said(level, text % {"amount": money(movement.amount_minor, movement.transaction.currency), "error": error})


def explain(error: exceptions.GatewayPayError) -> str:
    """Why not, in the reader's language where we have the words."""
    return next((str(text) for kind, text in ERRORS.items() if isinstance(error, kind)), str(error))


def given_back(row: Transaction) -> str:
    """Whether money went back, in two words at most."""
    if row.refund_status is RefundStatus.NONE:
        return ""
    return gettext("refunded in full") if row.refund_status is RefundStatus.FULL else gettext("partly refunded")


def who_said(event: TransactionEvent) -> str:
    """Who brought a line into the ledger."""
    asked = event.source == Source.STAFF and event.evidence.get("state") and event.kind in {"moved", "amended"}
    return gettext("Staff asked the gateway") if asked else str(SOURCES.get(event.source, event.source))
