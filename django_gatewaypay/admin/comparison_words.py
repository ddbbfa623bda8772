"""What a comparison has found, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from ..services.comparing import Kind
from ..services.reporting import Difference

__all__ = ["DIRECTIONS", "KINDS", "Row", "row_of"]


@dataclass(frozen=True)
class KindWords:
    """A kind of difference: what it is called, and what it means."""

    label: Any
    means: Any


KINDS: Mapping[Kind, KindWords] = {
    Kind.MISSING_HERE: KindWords(_("missing here"), _("The gateway has it, and our books do not.")),
    Kind.MISSING_THERE: KindWords(_("missing there"), _("Our books have it, and the gateway does not know it.")),
    Kind.AMOUNT: KindWords(_("amounts differ"), _("Another amount was asked for, reserved or taken there.")),
    Kind.STATE: KindWords(_("states differ"), _("Paid there and not here, or the like.")),
    Kind.REFUNDS: KindWords(_("refunds differ"), _("Another amount went back there.")),
    Kind.SESSION: KindWords(
        _("paid on another session"), _("Money that names our payment, on a page that we did not open.")
    ),
    Kind.MISSING_UNPAID: KindWords(
        _("missing here, unpaid"), _("The gateway has it and it ended without money: nothing is lost.")
    ),
}

#: Which way an account was compared.
DIRECTIONS: Mapping[str, Any] = {
    "both": _("Compared both ways."),
    "ours": _("Ours compared with theirs: this gateway lists nothing."),
    "theirs": _("Theirs compared with ours: this gateway cannot be asked about one payment."),
    "none": _("Not compared: this gateway tells nothing."),
}

DONE: Mapping[str, Any] = {
    "refreshed": _("mended: our books follow the gateway"),
    "still differs": _("still differs, and is flagged"),
    "recovered": _("written again, and held for a person"),
    "not written: another payment of its order is open": _("not written: another payment of its order is open"),
    "not written: the gateway does not say enough": _("not written: the gateway does not say enough"),
}


@dataclass(frozen=True)
class Row:
    """A difference, as the page shows it.

    Args:
        payment: the id of the payment whose page there is; "" where there is none.
    """

    kind: Any
    told: Difference
    done: Any
    payment: str


def row_of(told: Difference) -> Row:
    """A difference in words."""
    done, missing = told.done, told.kind in {Kind.MISSING_HERE, Kind.MISSING_UNPAID}
    recovered = done.startswith("recovered")
    payment = told.transaction_id if recovered or not missing else ""
    return Row(KINDS[told.kind].label, told, DONE.get("recovered" if recovered else done, done), payment)
