"""What a shopper is shown of a transaction: which screen, and the facts on it. The words are in the templates."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .models import Transaction
from .serializers import websocket_path
from .types import FINAL_STATES, State

__all__ = ["Screen", "screen_context", "screen_of"]

#: How long a shopper has waited when the words change.
LONGER_AFTER = timedelta(seconds=15)
PATIENCE_AFTER = timedelta(seconds=90)

#: What a shopper can do about a decline. Suspicions are the bank's to tell, so the other codes get general words.
ADVICE: dict[str, Promise] = {
    "authentication_failed": _("The payment was not confirmed with your bank, for example in its app."),
    "authentication_required": _("Your bank wants you to confirm the payment, for example in its app."),
    "card_not_supported": _("This card cannot be used for this kind of payment."),
    "currency_not_supported": _("This card or account cannot be used for this currency."),
    "expired_card": _("The card has expired."),
    "incorrect_address": _("The billing address is not the one that your bank knows."),
    "incorrect_cvc": _("The security code of the card was not right."),
    "incorrect_number": _("The card number was not right."),
    "insufficient_funds": _("There is not enough money in the account, or its limit has been reached."),
    "issuer_unavailable": _("Your bank could not be reached."),
    "limit_exceeded": _("The amount is above a limit of the card or account."),
    "processing_error": _("There was a technical problem at the bank."),
}


@dataclass(frozen=True)
class Screen:
    """One of the templates in `gatewaypay/screens/`.

    Args:
        name: of the template.
        phase: which of its texts holds now, where they change with time.
        in_flight: the gateway is asked again for as long as somebody looks.
        guarded: whoever leaves is asked first.
    """

    name: str
    phase: str = ""
    in_flight: bool = False
    guarded: bool = False


def screen_of(row: Transaction, now: datetime) -> Screen:
    """Which screen tells the truth about a transaction."""
    if row.state == State.SUCCESS:
        return Screen("success", "" if not row.late else "returned" if row.goes_back else "late")
    if row.state in FINAL_STATES:
        return Screen("failure", str(row.state))
    if row.state == State.HELD:
        return Screen("review")
    if row.state == State.CREATED:
        return Screen("preparing", in_flight=True, guarded=True)
    if row.state == State.PENDING and row.waiting_since is None:
        return Screen("ready")
    return _confirming(row, now)


def _confirming(row: Transaction, now: datetime) -> Screen:
    if row.state == State.AUTHORIZED:
        return Screen("confirming", "reserved")
    waited = now - (row.waiting_since or row.created_at)
    if waited >= PATIENCE_AFTER:
        return Screen("confirming", "patience", in_flight=True)
    return Screen("confirming", "longer" if waited >= LONGER_AFTER else "soon", in_flight=True, guarded=True)


def screen_context(row: Transaction) -> dict[str, Any]:
    """What the templates of a transaction's screens need."""
    now, action = timezone.now(), row.next_action or {}
    return {
        "transaction": row,
        "screen": screen_of(row, now),
        "action": action,
        "advice": ADVICE.get(row.reason, ""),
        "gateway_host": urlsplit(action.get("url", "")).hostname or "",
        "seconds_left": max(int((row.expires_at - now).total_seconds()), 0),
        "websocket_path": websocket_path(row),
    }
