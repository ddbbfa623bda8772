"""Late money where the host gives it back: what may go by itself, and the refund that is owed for it.

The refund is a row of the same commit as the late success, so that no crash forgets it; the sweep tells the gateway.
"""

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from ..conf import settings
from ..exceptions import UnknownGateway
from ..models import Capture, Refund, Transaction
from ..registry import gateways
from ..types import CLOSED_STATES, Source
from .intents import log, write_intent

__all__ = ["GIVE_BACK", "Overtaken", "give_back", "is_automatic", "late_policy"]

GIVE_BACK = "refund"
#: One of a payment, whoever hears of its money how often.
KEY = "gatewaypay-late"


class Overtaken(Exception):
    """Somebody gave money back just now: what was decided does not hold any more."""


def late_policy(row: Transaction) -> tuple[str, str]:
    """What late money of this payment does, in the words of LATE_PAYMENT; why it does not go back, if it should."""
    if settings.LATE_PAYMENT != GIVE_BACK or row.state not in CLOSED_STATES:
        return settings.LATE_PAYMENT, ""
    why = _why_not(row)
    return ("review", f"not given back: {why}") if why else (GIVE_BACK, "")


def _why_not(row: Transaction) -> str:
    try:
        gateway = gateways[row.gateway]
    except (UnknownGateway, ImproperlyConfigured):
        return f"the gateway {row.gateway} is not in the settings"
    if not gateway.supports_refund:
        return f"{gateway.name} cannot refund a payment"
    return "a refund of it is in the books already" if Refund.objects.filter(transaction=row).exists() else ""


def give_back(row: Transaction, ended: str) -> None:
    """Owe the refund of all that came, in the commit of the late success; nobody else has to agree.

    Args:
        row: as it was written just now, so that nobody else writes it until the commit.
        ended: how the payment had ended before the money came.

    Raises:
        Overtaken: nothing may be written.
    """
    if Refund.objects.filter(transaction=row).exists():
        raise Overtaken
    now = timezone.now()
    refund = Refund(
        transaction=row,
        amount_minor=row.captured_minor,
        reason=f"Paid after the payment had ended ({ended}).",
        idempotency_key=KEY,
        created_at=now,
        updated_at=now,
        next_attempt_at=now,
    )
    write_intent(refund, Source.SYSTEM)
    row.refunding_minor = refund.amount_minor
    transaction.on_commit(lambda: log(refund, ""), robust=True)


def is_automatic(movement: Refund | Capture) -> bool:
    """Nobody has asked for it but LATE_PAYMENT."""
    return isinstance(movement, Refund) and movement.idempotency_key == KEY
