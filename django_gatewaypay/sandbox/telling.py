"""What the shop is owed: callbacks, once, twice, forged or never, as the shopper has chosen on the hosted page."""

import json
from datetime import datetime, timedelta

from .models import Mode, SandboxDelivery, SandboxPayment, make_event_id

__all__ = ["event", "owe", "tell"]

# Two senders may be at work; the older news must truly arrive after the result.
REORDER_GAP = timedelta(seconds=1)


def event(payment: SandboxPayment, status: str, **more: str) -> dict[str, str]:
    """A message that says a word about a payment."""
    return payment.facts(status, event_id=make_event_id(), **more)


def tell(payment: SandboxPayment, now: datetime, **more: str) -> None:
    """Owe the shop what is true of a payment by now, and `more` beside it."""
    payment.refresh_from_db()
    told = event(payment, payment.status, **more)
    owe(payment, [told, told] if payment.mode == Mode.TWICE else [told], now)


def owe(payment: SandboxPayment, events: list[dict[str, str]], now: datetime) -> None:
    """Messages that have to be sent, in this order."""
    if payment.mode == Mode.NEVER:
        return
    gap = REORDER_GAP if payment.mode == Mode.REORDERED else timedelta(0)
    flavour = SandboxDelivery.Flavour.FORGED if payment.mode == Mode.FORGED else SandboxDelivery.Flavour.GOOD
    SandboxDelivery.objects.bulk_create(
        SandboxDelivery(
            payment=payment,
            event_id=told["event_id"],
            body=json.dumps(told),
            flavour=flavour,
            due_at=now + gap * place,
        )
        for place, told in enumerate(events)
    )
