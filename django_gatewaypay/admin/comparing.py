"""The pages of a comparison with the gateways: begin it, watch it, read what differs, and have it mended.

A page works on the comparison for some seconds, and has itself shown again until it is over: see `services.stepping`.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import services
from ..conf import settings
from ..models import Comparison
from ..services.access import parse_id
from ..services.reporting import Report, as_csv, as_json
from .base import ReadOnlyAdmin, moment
from .comparison_words import DIRECTIONS, KINDS, Row, row_of
from .filters import local_day, midnight
from .forms import ReasonForm

__all__ = ["APPLY_NEEDS", "ComparingAdmin"]

#: Who may not ask about one payment, or not decide about one, does not have all of them mended.
APPLY_NEEDS = ("refresh_transaction", "resolve_transaction")
LONGEST = timedelta(days=92)
SHOWN_ROWS, LISTED = 200, 10
WRITERS: Mapping[str, tuple[str, Callable[[Report], str]]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "json": ("application/json", as_json),
}


class CompareForm(forms.Form):
    """Which gateways, and the payments of which days."""

    gateways = forms.MultipleChoiceField(label=_("Gateways"), widget=forms.CheckboxSelectMultiple)
    since = forms.DateField(label=_("From"), widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"))
    until = forms.DateField(
        label=_("Until"),
        widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
        help_text=_(
            "With this day. Payments of the last hour may still differ: the clock is about to ask for them by itself."
        ),
    )

    def __init__(self, data: Any = None) -> None:
        today, aliases = local_day(), list(settings.GATEWAYS)
        super().__init__(data, initial={"gateways": aliases, "since": today - timedelta(days=1), "until": today})
        offered: forms.MultipleChoiceField = self.fields["gateways"]  # type: ignore[assignment]  # declared above as one
        offered.choices = [(alias, alias) for alias in aliases]

    def clean(self) -> dict[str, Any]:
        """The days in their order, and not too many of them."""
        cleaned = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and since > local_day():
            self.add_error("since", gettext("That day has not begun yet."))
        elif since and until and since > until:
            self.add_error("until", gettext("The time ends before it begins."))
        elif since and until and until - since >= LONGEST:
            text = gettext("At most %(days)d days at once: use the command for more.")
            self.add_error("since", text % {"days": LONGEST.days})
        return cleaned


class ComparingAdmin(ReadOnlyAdmin):
    """The pages, below the page of the admin that they are mixed into."""

    def comparing_urls(self) -> list[URLPattern]:
        pages: list[tuple[str, str, Callable[..., HttpResponse]]] = [
            ("", "reconcile", self.begin_view),
            ("<str:pk>/", "comparison", self.comparison_view),
            ("<str:pk>/apply/", "comparison_apply", self.apply_view),
            *((f"<str:pk>/{name}/", f"comparison_{name}", self.file_view(name)) for name in WRITERS),
        ]
        return [
            path(f"reconcile/{route}", self.admin_site.admin_view(view), name=f"gatewaypay_home_{name}")
            for route, name, view in pages
        ]

    # --- Who may.

    def may_apply(self, request: HttpRequest) -> bool:
        return all(self.permits(request, codename) for codename in APPLY_NEEDS)

    def guard(self, *permitted: bool) -> None:
        """Go on, or not.

        Raises:
            PermissionDenied: not.
        """
        if not all(permitted):
            raise PermissionDenied

    def find_comparison(self, request: HttpRequest, pk: str) -> Comparison | None:
        """The comparison of an address; for who finds none, a word for the next page."""
        known = parse_id(pk)
        found = Comparison.objects.select_related("actor").filter(pk=known).first() if known else None
        if found is None:
            messages.warning(request, gettext("There is no such comparison any more: only the newest are kept."))
        return found

    def is_driver(self, request: HttpRequest, comparison: Comparison) -> bool:
        """It goes on for who has begun it, as long as they may do what it does."""
        return comparison.actor == request.user and (not comparison.applied or self.may_apply(request))

    # --- The pages.

    def begin_view(self, request: HttpRequest) -> HttpResponse:
        """What is to be compared; and what was, before."""
        self.guard(self.has_view_permission(request))
        form = CompareForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            chosen = form.cleaned_data
            until = min(midnight(chosen["until"] + timedelta(days=1)), timezone.now())
            begun = services.begin_comparison(midnight(chosen["since"]), until, chosen["gateways"], actor=request.user)
            return self.lead_to(begun)
        known = Comparison.objects.select_related("actor")[:LISTED]
        earlier = [(self.reverse("home_comparison", one.pk), one, span(one)) for one in known]
        title = gettext("Compare with the gateways")
        return self.render(request, "admin/gatewaypay/home/compare.html", title, form=form, earlier=earlier)

    def lead_to(self, comparison: Comparison | None) -> HttpResponse:
        """To its page; to where one is begun, where there is none."""
        if comparison is None:
            return HttpResponseRedirect(self.reverse("home_reconcile"))
        return HttpResponseRedirect(self.reverse("home_comparison", comparison.pk))

    # Gateways are asked there: never inside a transaction, also where the host has ATOMIC_REQUESTS.
    @method_decorator(transaction.non_atomic_requests)
    def comparison_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Go on with it, for who has begun it, and show it."""
        self.guard(self.has_view_permission(request))
        found = self.find_comparison(request, pk)
        if found is None:
            return self.lead_to(None)
        drives = self.is_driver(request, found)
        if drives and request.method == "GET" and found.finished_at is None:
            found = services.go_on(found.pk)
        return self.show_comparison(request, found, drives=drives)

    def show_comparison(self, request: HttpRequest, comparison: Comparison, *, drives: bool) -> HttpResponse:
        """How far it is, and what it has found."""
        report, goes_on = services.report_of(comparison), drives and comparison.finished_at is None
        answer = self.render(
            request,
            "admin/gatewaypay/home/comparison.html",
            gettext("Comparison with the gateways"),
            subtitle=span(comparison),
            comparison=comparison,
            report=report,
            goes_on=goes_on,
            accounts=[(account, DIRECTIONS[account.directions]) for account in report.accounts],
            kinds=[(KINDS[kind], report.counts[kind]) for kind in KINDS if report.counts[kind]],
            rows=self.rows(report),
            hidden=report.total - min(len(report.differences), SHOWN_ROWS),
            in_file=report.total == len(report.differences),
            can_apply=self.may_apply(request) and can_apply(comparison),
            urls={name: self.reverse(f"home_comparison_{name}", comparison.pk) for name in ("csv", "json", "apply")},
            again=self.reverse("home_reconcile"),
        )
        if goes_on:
            # A header and no script: so it goes on in every browser, under every content security policy.
            answer["Refresh"] = "1"
        return answer

    def rows(self, report: Report) -> list[tuple[Row, str]]:
        """What differs, each with the page of the payment, where there is one."""
        found = [row_of(one) for one in report.differences[:SHOWN_ROWS]]
        return [(row, self.reverse("transaction_change", row.payment) if row.payment else "") for row in found]

    def apply_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Before it is mended: what was found, and why it should be."""
        self.guard(self.may_apply(request))
        found = self.find_comparison(request, pk)
        if found is None:
            return self.lead_to(None)
        if not can_apply(found):
            messages.warning(request, gettext("There is nothing here that could be mended."))
            return self.lead_to(found)
        form = ReasonForm(found, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            return self.lead_to(self.apply(request, found, form.cleaned_data["reason"]))
        return self.confirm(request, found, form)

    def apply(self, request: HttpRequest, found: Comparison, reason: str) -> Comparison:
        """The same once more, and what differs is mended; a double click finds the one that is under way."""
        running = Comparison.objects.filter(applied=True, finished_at=None, actor_id=request.user.pk)
        known = running.filter(since=found.since, until=found.until).first()
        return known or services.begin_comparison(
            found.since, found.until, found.gateways, actor=request.user, apply=True, reason=reason
        )

    def confirm(self, request: HttpRequest, found: Comparison, form: ReasonForm) -> HttpResponse:
        report = services.report_of(found)
        facts = [
            (gettext("Gateway"), ", ".join(found.gateways)),
            (gettext("Time"), span(found)),
            *((str(KINDS[kind].label), str(report.counts[kind])) for kind in KINDS if report.counts[kind]),
        ]
        way_back = self.reverse("home_comparison", found.pk)
        return self.render(
            request,
            "admin/gatewaypay/confirm.html",
            str(APPLY["label"]),
            verb=APPLY,
            form=form,
            facts=facts,
            way_back=way_back,
        )

    def file_view(self, name: str) -> Callable[..., HttpResponse]:
        """What was found, as a file."""
        content_type, write = WRITERS[name]

        def view(request: HttpRequest, pk: str) -> HttpResponse:
            self.guard(self.has_view_permission(request))
            found = self.find_comparison(request, pk)
            if found is None:
                return self.lead_to(None)
            text = write(services.report_of(found))
            named = f'attachment; filename="comparison-{found.since:%Y-%m-%d}.{name}"'
            return HttpResponse(text, content_type=content_type, headers={"Content-Disposition": named})

        return view

    def render(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, "title": title}
        request.current_app = self.admin_site.name
        return TemplateResponse(request, template, {**shared, **context})


APPLY: Mapping[str, Any] = {
    "label": _("Compare again, and mend"),
    "explains": _(
        "The same time is compared again. Each payment that differs is asked about, and our books follow the gateway, "
        "as a callback would have them do. What our books have lost is written again and held for a person. "
        "What still differs then is flagged."
    ),
}


def can_apply(comparison: Comparison) -> bool:
    """It is over, something differs, and this one has only looked."""
    return bool(comparison.finished_at and not comparison.applied and comparison.report["left"])


def span(comparison: Comparison) -> str:
    """From when until when."""
    ends = (timezone.localtime(end) if timezone.is_aware(end) else end for end in (comparison.since, comparison.until))
    return " – ".join(moment(end) for end in ends)  # noqa: RUF001 - from, until
