"""The page between a button and what it does: a GET shows, a POST does."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext

from ..exceptions import AmountNotLeft, GatewayPayError
from ..models import Transaction
from ..services.access import parse_id
from .base import ReadOnlyAdmin
from .forms import PlainForm
from .situation import Situation, ask
from .verbs import Verb
from .words import explain

__all__ = ["ActingAdmin"]


class ActingAdmin(ReadOnlyAdmin):
    """A list whose rows have buttons; each is a page of its own, with a permission of its own."""

    verbs: tuple[Verb, ...] = ()

    # --- What a list says of its rows.

    def load(self, text_id: str) -> Any:
        """What the verbs are done to, from the id in a URL; None when there is no such row."""
        pk = parse_id(text_id)
        return self.get_queryset_for_one().filter(pk=pk).first() if pk else None

    def get_queryset_for_one(self) -> QuerySet[Any]:
        """The rows, with what a page about one of them needs."""
        rows: QuerySet[Any] = self.model._default_manager.all()
        return rows

    def transaction_of(self, subject: Any) -> Transaction | None:
        """The payment behind it, if there is one."""
        found: Transaction | None = subject.transaction
        return found

    def facts(self, subject: Any) -> list[tuple[str, str]]:
        """What one has to know of it before it is done, each with its name.

        Raises:
            NotImplementedError: a list with verbs has to say so itself; a page that tells nothing must not be shown.
        """
        raise NotImplementedError

    # --- What is offered.

    def offered(self, request: HttpRequest, subject: Any) -> Iterable[tuple[Verb, str]]:
        """The verbs that are legal now and permitted to this user, each with its page."""
        for verb in self.verbs:
            if self.permits(request, verb.permission) and verb.legal(subject, request.user):
                yield verb, self.url_of(verb, subject)

    def url_of(self, verb: Verb, subject: Any) -> str:
        pk = subject.row.pk if isinstance(subject, Situation) else subject.pk
        return self.reverse(f"{self.opts.model_name}_{verb.name}", pk)

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<str:pk>/{verb.name}/",
                self.admin_site.admin_view(self.view_of(verb)),
                name=f"gatewaypay_{self.opts.model_name}_{verb.name}",
            )
            for verb in self.verbs
        ]
        return [*own, *super().get_urls()]

    def view_of(self, verb: Verb) -> Callable[..., HttpResponse]:
        """The page of a verb. A gateway is asked there: never inside a transaction, whatever the host's settings."""

        @transaction.non_atomic_requests
        def view(request: HttpRequest, pk: str) -> HttpResponse:
            if not self.permits(request, verb.permission):
                raise PermissionDenied
            subject = self.load(pk)
            if subject is None:
                return self.lead_to_list(request)
            return self.answer(request, verb, subject)

        return view

    def lead_to_list(self, request: HttpRequest) -> HttpResponse:
        """There is no such row."""
        text = gettext("There is no such %(name)s.") % {"name": self.opts.verbose_name}
        messages.warning(request, text)
        return HttpResponseRedirect(self.reverse(f"{self.opts.model_name}_changelist"))

    def answer(self, request: HttpRequest, verb: Verb, subject: Any) -> HttpResponse:
        """Do it, or show what would be done; where it cannot be done any more, say so and lead back."""
        posted = request.method == "POST"
        form = verb.form(subject, request.POST if posted else None)
        if posted and form.is_valid() and self.do(request, verb, subject, form):
            return HttpResponseRedirect(self.way_back(request, subject))
        if not posted and not verb.legal(subject, request.user):
            text = gettext("“%(verb)s” is not possible now: the payment is not in a state for it.")
            messages.warning(request, text % {"verb": verb.label})
            return HttpResponseRedirect(self.way_back(request, subject))
        return self.show(request, verb, subject, form)

    def do(self, request: HttpRequest, verb: Verb, subject: Any, form: PlainForm) -> bool:
        """Do it, and say what became of it; whether it was done. A double click is the service's to notice."""
        try:
            said = verb.act(request, subject, form.cleaned_data)
        except GatewayPayError as error:
            form.add_error("amount" if isinstance(error, AmountNotLeft) else None, explain(error))
            return False
        messages.add_message(request, said.level, said.text)
        return True

    def show(self, request: HttpRequest, verb: Verb, subject: Any, form: PlainForm) -> HttpResponse:
        """The page: what it is about, what the gateway says of it now, and what is asked of the person."""
        payment = self.transaction_of(subject)
        situation = subject if isinstance(subject, Situation) else payment and Situation(payment)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": verb.label,
            "subtitle": payment and gettext("Order %s") % payment.order_id,
            "verb": verb,
            "form": form,
            "facts": self.facts(subject),
            "answer": ask(situation) if situation and verb.asks else None,
            "way_back": self.way_back(request, subject),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/gatewaypay/confirm.html", context)

    def way_back(self, request: HttpRequest, subject: Any) -> str:
        """The payment's page, where everything about it is told; its own page for who may not see that."""
        payment = self.transaction_of(subject)
        if payment and request.user.has_perm("gatewaypay.view_transaction"):
            return self.reverse("transaction_change", payment.pk)
        return self.reverse(f"{self.opts.model_name}_change", subject.pk)
