"""Money after the payment: refunds, captures and disputes."""

from typing import Any, TypeVar

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import services
from ..lifecycle.movements import GIVEN_UP
from ..models import Capture, Dispute, Movement, Refund
from ..services.access import parse_id
from ..types import MovementState, Source
from .base import ReadOnlyAdmin, badge, moment, money
from .confirming import ActingAdmin
from .filters import ApprovalFilter, time_filter
from .forms import ConcludeForm, NoteForm, PlainForm, ReasonForm
from .searching import payment_ids
from .situation import ENDED_MOVEMENTS
from .verbs import Cleaned, Verb
from .words import Said, moved

__all__ = ["CaptureAdmin", "DisputeAdmin", "RefundAdmin"]

Row = TypeVar("Row", Refund, Capture)


def retry(request: HttpRequest, movement: Row, cleaned: Cleaned) -> Said:
    return moved(services.drive_movement(type(movement), movement.pk, source=Source.STAFF, actor=request.user))


def approve(request: HttpRequest, refund: Refund, cleaned: Cleaned) -> Said:
    return moved(services.approve_refund(refund.pk, actor=request.user, reason=cleaned["reason"]))


def withdraw(request: HttpRequest, refund: Refund, cleaned: Cleaned) -> Said:
    services.withdraw_refund(refund.pk, actor=request.user, reason=cleaned["reason"])
    amount = money(refund.amount_minor, refund.transaction.currency)
    return Said(
        messages.SUCCESS, gettext("The refund of %(amount)s is withdrawn: nothing goes back.") % {"amount": amount}
    )


def conclude(request: HttpRequest, refund: Refund, cleaned: Cleaned) -> Said:
    state = MovementState(cleaned["became"])
    return moved(services.conclude_refund(refund.pk, state, reason=cleaned["reason"], actor=request.user))


def can_retry(movement: Movement, user: Any) -> bool:
    waits = isinstance(movement, Refund) and (movement.waits_for_approval or movement.foreign)
    return movement.state not in ENDED_MOVEMENTS and not waits


def can_approve(refund: Refund, user: Any) -> bool:
    return refund.waits_for_approval and refund.actor_id != user.pk


def can_withdraw(refund: Refund, user: Any) -> bool:
    return refund.waits_for_approval


def can_conclude(refund: Refund, user: Any) -> bool:
    return refund.state in GIVEN_UP and refund.next_attempt_at is None


def retrying(permission: str) -> Verb:
    """Try a movement again, with the permission to make one."""
    return Verb(
        name="retry",
        permission=permission,
        label=_("Try again"),
        explains=_("The gateway is told again under the same key, or asked what became of it. It is never done twice."),
        legal=can_retry,
        act=retry,
        form=PlainForm,
        asks=True,
    )


REFUND_VERBS = (
    Verb(
        name="approve",
        permission="refund_transaction",
        label=_("Approve"),
        explains=_("You are the second person: the gateway is told to give this money back."),
        legal=can_approve,
        act=approve,
        form=NoteForm,
        asks=True,
        grave=True,
    ),
    Verb(
        name="withdraw",
        permission="refund_transaction",
        label=_("Withdraw"),
        explains=_("The gateway has not been told, and will not be. The money can be refunded again later."),
        legal=can_withdraw,
        act=withdraw,
        form=ReasonForm,
    ),
    retrying("refund_transaction"),
    Verb(
        name="conclude",
        permission="resolve_transaction",
        label=_("Say what became of it"),
        explains=_("The gateway has given up answering. You have looked at its console, and say what you saw there."),
        legal=can_conclude,
        act=conclude,
        form=ConcludeForm,
        asks=True,
    ),
)


class MovementAdmin(ActingAdmin):
    """What refunds and captures have in common."""

    list_display = ("amount", "order", "state_badge", "reason", "actor", "created")
    search_fields = ("gateway_reference",)
    search_help_text = _("Order, shopper's e-mail, reference of the payment or of this, or an id")
    list_select_related = ("transaction", "actor")
    sortable_by = ("created",)
    change_form_template = "admin/gatewaypay/movement_form.html"

    @admin.display(description=_("amount"))
    def amount(self, row: Movement) -> str:
        return money(row.amount_minor, row.transaction.currency)

    @admin.display(description=_("created"), ordering="created_at")
    def created(self, row: Movement) -> str:
        return moment(row.created_at)

    @admin.display(description=_("order"))
    def order(self, row: Movement) -> SafeString:
        return self.link_to_payment(row.transaction)

    @admin.display(description=_("state"))
    def state_badge(self, row: Movement) -> SafeString:
        return badge(row.state, row.state)

    def find(self, term: str) -> Q:
        """By what staff have in hand: the order, a reference of the gateway, or the payment's id."""
        payments, pk = payment_ids(term), parse_id(term)
        own = Q(gateway_reference=term) | (Q(pk=pk) if pk else Q())
        return Q(transaction_id__in=payments) if payments else own

    def get_queryset_for_one(self) -> QuerySet[Any]:
        return super().get_queryset_for_one().select_related("transaction", "actor")

    def facts(self, subject: Movement) -> list[tuple[str, str]]:
        return [
            (gettext("Order"), subject.transaction.order_id),
            (gettext("Amount"), money(subject.amount_minor, subject.transaction.currency)),
            (gettext("State"), subject.state),
            (gettext("Asked for by"), str(subject.actor or "")),
            (gettext("Why"), subject.reason),
            (gettext("Last error"), subject.last_error),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        subject = self.load(object_id)
        offered = list(self.offered(request, subject)) if subject else []
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "offered": offered})


@admin.register(Refund)
class RefundAdmin(MovementAdmin):
    """Money that goes back."""

    verbs = REFUND_VERBS
    list_filter = ("state", ApprovalFilter, time_filter("created_at"))
    fields = (
        ("amount", "order", "state_badge"),
        ("reason", "actor", "approver"),
        ("foreign", "needs_approval"),
        ("gateway_reference", "last_error"),
        ("created_at", "submitted_at", "updated_at"),
        ("attempts", "next_attempt_at"),
        "id",
    )
    readonly_fields = ("amount", "order", "state_badge", "id")

    @admin.display(description=_("state"))
    def state_badge(self, row: Movement) -> SafeString:
        waits = isinstance(row, Refund) and row.waits_for_approval
        return badge("attention", gettext("waits for a second person")) if waits else super().state_badge(row)


@admin.register(Capture)
class CaptureAdmin(MovementAdmin):
    """Reserved money that is taken."""

    verbs = (retrying("capture_transaction"),)
    list_filter = ("state", time_filter("created_at"))
    fields = (
        ("amount", "order", "state_badge"),
        ("reason", "actor", "final"),
        ("gateway_reference", "last_error"),
        ("created_at", "submitted_at", "updated_at"),
        ("attempts", "next_attempt_at"),
        "id",
    )
    readonly_fields = ("amount", "order", "state_badge", "id")


class DueFilter(admin.SimpleListFilter):
    """Disputes whose answer is still due."""

    title = _("answer")
    parameter_name = "answer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("due", _("due, the next one first"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(state="open", due_at__isnull=False) if self.value() else queryset


@admin.register(Dispute)
class DisputeAdmin(ReadOnlyAdmin):
    """Money that a bank takes back, or may."""

    list_display = ("gateway_reference", "amount", "order", "state_badge", "reason", "due", "opened")
    list_filter = ("state", DueFilter, time_filter("opened_at"))
    search_fields = ("gateway_reference",)
    search_help_text = _("Order, shopper's e-mail, reference of the payment or of the dispute")
    list_select_related = ("transaction",)
    sortable_by = ("opened",)
    fields = (
        ("gateway_reference", "amount", "order"),
        ("state_badge", "reason"),
        ("due_at", "opened_at", "updated_at"),
    )
    readonly_fields = ("amount", "order", "state_badge")

    def find(self, term: str) -> Q:
        """By the payment, or by the gateway's own name of the dispute."""
        payments = payment_ids(term)
        return Q(transaction_id__in=payments) if payments else Q(gateway_reference=term)

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """The newest first; of those that are due, the next one."""
        return ("due_at",) if DueFilter.parameter_name in request.GET else ("-opened_at",)

    @admin.display(description=_("amount"))
    def amount(self, row: Dispute) -> str:
        return money(row.amount_minor, row.currency) if row.amount_minor is not None else "—"

    @admin.display(description=_("answer due"))
    def due(self, row: Dispute) -> str:
        return moment(row.due_at) if row.due_at else "—"

    @admin.display(description=_("opened"), ordering="opened_at")
    def opened(self, row: Dispute) -> str:
        return moment(row.opened_at)

    @admin.display(description=_("order"))
    def order(self, row: Dispute) -> SafeString:
        return self.link_to_payment(row.transaction)

    @admin.display(description=_("state"))
    def state_badge(self, row: Dispute) -> SafeString:
        return badge(row.state, row.state)
