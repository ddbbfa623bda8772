"""What a person is asked before something is done: how much, why, and on the strength of what."""

import uuid
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..money import InvalidAmount, Money, format_minor, parse_amount
from ..types import MovementState
from .base import money
from .situation import Situation
from .words import ATTENTION

__all__ = [
    "CaptureForm",
    "ConcludeForm",
    "DecisionForm",
    "NoteForm",
    "PlainForm",
    "ReasonForm",
    "RefundForm",
    "ResolveForm",
]


class AmountField(forms.CharField):
    """An amount in the payment's currency, as a plain decimal: a comma is refused, because it is read in two ways.

    Args:
        cap: what is left, in minor units; the service keeps it, this only says it.
    """

    def __init__(self, currency: str, cap: int) -> None:
        self.currency, self.example = currency, format_minor(cap, currency)
        attributes = {"inputmode": "decimal", "autocomplete": "off", "class": "gwp-amount-field", "size": 12}
        super().__init__(
            label=_("Amount in %(currency)s") % {"currency": currency},
            help_text=_("At most %(cap)s.") % {"cap": money(cap, currency)},
            initial=self.example,
            max_length=24,
            widget=forms.TextInput(attributes),
        )

    def clean(self, value: Any) -> Money:
        """The money.

        Raises:
            ValidationError: it is no amount of this currency, or nothing.
        """
        try:
            amount = parse_amount(super().clean(value), self.currency)
        except InvalidAmount as error:
            text = _("Write a plain number with a point, such as %(example)s.")
            raise ValidationError(text, params={"example": self.example}) from error
        if amount.amount <= 0:
            raise ValidationError(_("It must be more than nothing."))
        return amount


class PlainForm(forms.Form):
    """Nothing is asked but "really?"."""

    def __init__(self, subject: Any, data: Any = None) -> None:
        super().__init__(data)
        self.subject = subject
        self.prepare()

    def prepare(self) -> None:
        """Add what depends on the subject."""


class ReasonForm(PlainForm):
    """Why: the books keep it."""

    reason = forms.CharField(
        label=_("Why"),
        max_length=255,
        widget=forms.Textarea({"rows": 2, "cols": 60}),
        help_text=_("One sentence. It stays in the books, with your name."),
    )


class NoteForm(PlainForm):
    """Why, for who wants to say so."""

    reason = forms.CharField(
        label=_("Why"),
        max_length=240,
        required=False,
        widget=forms.Textarea({"rows": 2, "cols": 60}),
        help_text=_("If there is something to say. It stays in the books, with your name."),
    )


class KeyForm(ReasonForm):
    """A form that is sent twice is one intent: its hidden key says so."""

    key = forms.CharField(max_length=64, widget=forms.HiddenInput, initial=lambda: uuid.uuid4().hex)


class RefundForm(KeyForm):
    """How much goes back."""

    field_order = ("amount", "reason", "key")

    def prepare(self) -> None:
        situation: Situation = self.subject
        if situation.gateway is None or situation.gateway.supports_partial_refund:
            self.fields["amount"] = AmountField(situation.row.currency, situation.left_to_refund)
            self.order_fields(self.field_order)


class CaptureForm(KeyForm):
    """How much of the reserved money is taken, and whether the rest is let go."""

    field_order = ("amount", "rest", "reason", "key")

    def prepare(self) -> None:
        situation: Situation = self.subject
        self.fields["amount"] = AmountField(situation.row.currency, situation.left_to_capture)
        if situation.gateway is not None and situation.gateway.supports_several_captures:
            keep, let_go = _("keep it: more will be taken later"), _("let it go: this is all")
            self.fields["rest"] = forms.ChoiceField(
                label=_("The rest"), choices=[("go", let_go), ("keep", keep)], initial="go", widget=forms.RadioSelect
            )
        self.order_fields(self.field_order)


class ConcludeForm(ReasonForm):
    """What somebody has seen at the gateway's console."""

    field_order = ("became", "reason")
    became = forms.ChoiceField(
        label=_("What became of it"),
        choices=[
            (MovementState.SUCCEEDED.value, _("the money went back to the shopper")),
            (MovementState.FAILED.value, _("it was not made: the money is still here")),
        ],
        widget=forms.RadioSelect,
    )


class DecisionForm(ReasonForm):
    """A decision about what was seen: it does not hold for a payment that has changed since."""

    version = forms.IntegerField(widget=forms.HiddenInput)

    def prepare(self) -> None:
        self.fields["version"].initial = self.subject.row.version

    def clean_version(self) -> int:
        """The version that was seen.

        Raises:
            ValidationError: something happened since. The form is about the new version from here on.
        """
        seen, now = int(self.cleaned_data["version"]), int(self.subject.row.version)
        if seen == now:
            return seen
        changed: QueryDict = self.data.copy()  # type: ignore[attr-defined]  # a POST is a QueryDict
        changed["version"] = str(now)
        self.data = changed
        raise ValidationError(gettext("Something has happened to this payment since you opened this page. Look again."))


class ResolveForm(DecisionForm):
    """Which of the codes are dealt with."""

    field_order = ("codes", "reason", "version")

    def prepare(self) -> None:
        super().prepare()
        codes = sorted(self.subject.row.attention_codes)
        self.fields["codes"] = forms.MultipleChoiceField(
            label=_("Dealt with"),
            choices=[(code, ATTENTION[code].label if code in ATTENTION else code) for code in codes],
            initial=codes if len(codes) == 1 else [],
            widget=forms.CheckboxSelectMultiple,
        )
        self.order_fields(self.field_order)
