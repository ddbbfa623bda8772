"""The overview of the admin, as a model: so it has a place in the admin's index. It has no table of its own."""

from django.utils.translation import gettext_lazy as _

from .transactions import Transaction

__all__ = ["Home"]


class Home(Transaction):
    """What the overview is about."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = _("overview")
        verbose_name_plural = _("Payments: overview")
