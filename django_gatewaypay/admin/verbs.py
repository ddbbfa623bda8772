"""What may be done to a payment: by whom, when, on which question, and what is said afterwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import services
from ..services.reviewing import ACCEPTED
from ..types import Source, State
from .forms import CaptureForm, DecisionForm, NoteForm, PlainForm, RefundForm, ResolveForm
from .situation import Situation
from .words import Said, became, moved

__all__ = ["TRANSACTION_VERBS", "Verb"]

Cleaned = Mapping[str, Any]


@dataclass(frozen=True)
class Verb:
    """One button, with its page.

    Args:
        name: the last part of its URL.
        permission: the codename that it needs, besides the one to see what it is about.
        label: what the button says.
        explains: what will happen, in a sentence or two.
        legal: whether it can be done to a subject now, by this user.
        act: do it; it raises a `GatewayPayError` where it cannot be done.
        asks: the page shows what the gateway says now.
        grave: money or a chance to be paid goes away, and does not come back.
    """

    name: str
    permission: str
    label: Any
    explains: Any
    legal: Callable[[Any, Any], bool]
    act: Callable[[HttpRequest, Any, Cleaned], Said]
    form: type[PlainForm] = PlainForm
    asks: bool = False
    grave: bool = False


def refresh(request: HttpRequest, subject: Situation, cleaned: Cleaned) -> Said:
    row = services.refresh(subject.row.pk, source=Source.STAFF, actor=request.user, reason=cleaned["reason"])
    return became(row)


def expire(request: HttpRequest, subject: Situation, cleaned: Cleaned) -> Said:
    return became(services.expire(subject.row.pk, actor=request.user, reason=cleaned["reason"]))


def cancel(request: HttpRequest, subject: Situation, cleaned: Cleaned) -> Said:
    return became(services.cancel(subject.row.pk, actor=request.user, reason=cleaned["reason"]))


def refund(request: HttpRequest, subject: Situation, cleaned: Cleaned) -> Said:
    return moved(
        services.refund(
            subject.row.pk,
            cleaned.get("amount"),
            reason=cleaned["reason"],
            actor=request.user,
            idempotency_key=f"admin-{cleaned['key']}",
            source=Source.STAFF,
        )
    )


def capture(request: HttpRequest, subject: Situation, cleaned: Cleaned) -> Said:
    return moved(
        services.capture(
            subject.row.pk,
            cleaned["amount"],
            final=cleaned.get("rest") != "keep",
            reason=cleaned["reason"],
            actor=request.user,
            idempotency_key=f"admin-{cleaned['key']}",
            source=Source.STAFF,
        )
    )


def accept(request: HttpRequest, subject: Situation, cleaned: Cleaned) -> Said:
    return became(services.accept(subject.row.pk, reason=cleaned["reason"], actor=request.user))


def fulfil(request: HttpRequest, subject: Situation, cleaned: Cleaned) -> Said:
    row = services.fulfil(subject.row.pk, reason=cleaned["reason"], actor=request.user)
    return Said(messages.SUCCESS, gettext("%(order)s: the order is being fulfilled.") % {"order": row.order_id})


def resolve(request: HttpRequest, subject: Situation, cleaned: Cleaned) -> Said:
    row = services.resolve(subject.row.pk, cleaned["codes"], reason=cleaned["reason"], actor=request.user)
    left = len(row.attention_codes)
    text = gettext("%(order)s: nothing needs attention any more.") if not left else gettext("%(order)s: dealt with.")
    return Said(messages.SUCCESS, text % {"order": row.order_id})


def can_refresh(subject: Situation, user: Any) -> bool:
    return bool(subject.row.gateway_reference and subject.gateway and subject.gateway.supports_fetch)


def can_expire(subject: Situation, user: Any) -> bool:
    return subject.row.state in {State.CREATED, State.PENDING}


def can_release(subject: Situation, user: Any) -> bool:
    offered = subject.gateway is not None and subject.gateway.supports_cancel
    return offered and subject.row.state == State.AUTHORIZED and not subject.capture_is_on_its_way


def can_refund(subject: Situation, user: Any) -> bool:
    offered = subject.gateway is not None and subject.gateway.supports_refund
    return offered and subject.left_to_refund > 0 and not subject.refund_is_open


def can_capture(subject: Situation, user: Any) -> bool:
    offered = subject.gateway is not None and subject.gateway.supports_capture
    reserved = subject.row.state == State.AUTHORIZED and subject.left_to_capture > 0
    return offered and reserved and subject.may_take_more


def can_accept(subject: Situation, user: Any) -> bool:
    if subject.row.state == State.HELD:
        return subject.left_to_refund > 0
    return subject.row.state == State.SUCCESS and bool(subject.row.attention_codes & ACCEPTED)


def can_fulfil(subject: Situation, user: Any) -> bool:
    paid = subject.row.state == State.SUCCESS and subject.left_to_refund > 0
    return paid and not subject.is_fulfilled


def can_resolve(subject: Situation, user: Any) -> bool:
    return bool(subject.row.attention)


TRANSACTION_VERBS = (
    Verb(
        name="refresh",
        permission="refresh_transaction",
        label=_("Refresh from gateway"),
        explains=_("The gateway is asked what is true, and our books follow it."),
        legal=can_refresh,
        act=refresh,
        form=NoteForm,
        asks=True,
    ),
    Verb(
        name="capture",
        permission="capture_transaction",
        label=_("Capture"),
        explains=_("Reserved money is taken. Once all of it is taken or let go, the payment is paid."),
        legal=can_capture,
        act=capture,
        form=CaptureForm,
        asks=True,
    ),
    Verb(
        name="refund",
        permission="refund_transaction",
        label=_("Refund"),
        explains=_("Money goes back to the shopper, through the gateway. The order stays as it is."),
        legal=can_refund,
        act=refund,
        form=RefundForm,
        asks=True,
        grave=True,
    ),
    Verb(
        name="accept",
        permission="resolve_transaction",
        label=_("Accept as it is"),
        explains=_(
            "What came is taken for the whole. A payment that was held becomes paid, and its order is fulfilled; "
            "of one that is paid already the money is kept, and nothing more happens to the order."
        ),
        legal=can_accept,
        act=accept,
        form=DecisionForm,
        asks=True,
    ),
    Verb(
        name="fulfil",
        permission="resolve_transaction",
        label=_("Fulfil the order"),
        explains=_("The money came late and is kept; now your shop is told to fulfil the order, once."),
        legal=can_fulfil,
        act=fulfil,
        form=DecisionForm,
        asks=True,
    ),
    Verb(
        name="resolve",
        permission="resolve_transaction",
        label=_("Mark as dealt with"),
        explains=_("The payment leaves the queue. Nothing else happens: neither money nor order moves."),
        legal=can_resolve,
        act=resolve,
        form=ResolveForm,
    ),
    Verb(
        name="release",
        permission="cancel_transaction",
        label=_("Let the reserved money go"),
        explains=_(
            "The reservation ends at the gateway, and cannot be had again. Where a part was taken already, "
            "the payment is a success of that part."
        ),
        legal=can_release,
        act=cancel,
        form=DecisionForm,
        asks=True,
        grave=True,
    ),
    Verb(
        name="cancel",
        permission="cancel_transaction",
        label=_("Cancel"),
        explains=_("The payment is closed at the gateway, then here: the shopper cannot pay it any more."),
        legal=can_expire,
        act=cancel,
        form=DecisionForm,
        asks=True,
        grave=True,
    ),
    Verb(
        name="expire",
        permission="expire_transaction",
        label=_("Expire now"),
        explains=_("The gateway is asked once more and its page is closed; then the time of this payment has passed."),
        legal=can_expire,
        act=expire,
        form=NoteForm,
        asks=True,
        grave=True,
    ),
)
