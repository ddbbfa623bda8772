"""A comparison with the gateways, begun by staff or left by the night: how far it is, and what it has found."""

import uuid

from django.conf import settings as django_settings
from django.db import models
from django.utils.translation import gettext_lazy as _

__all__ = ["Comparison"]


class Comparison(models.Model):
    """One comparison of our books with the gateways'. It is no book itself: only the newest are kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    since = models.DateTimeField()
    until = models.DateTimeField()
    #: Aliases, in the order in which they are gone through.
    gateways = models.JSONField(default=list)
    #: What differs is mended where it can be.
    applied = models.BooleanField(default=False)
    reason = models.CharField(max_length=255, blank=True)
    #: Who has begun it; nobody, when it was the clock.
    actor = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_index=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    #: Somebody goes on with it until then.
    claimed_until = models.DateTimeField(null=True, blank=True)
    #: Which gateway it is at, up to when that was compared, and how much time the next step takes.
    place = models.PositiveSmallIntegerField(default=0)
    reached = models.DateTimeField(null=True, blank=True)
    step_seconds = models.PositiveIntegerField(default=900)
    #: `Report.as_dict()`, as far as it has got.
    report = models.JSONField(default=dict)

    class Meta:
        verbose_name = _("comparison")
        verbose_name_plural = _("comparisons")
        ordering = ("-created_at",)
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.since:%Y-%m-%d} to {self.until:%Y-%m-%d}"

    @property
    def share(self) -> int:
        """How much of it is done, in per cent."""
        if self.finished_at:
            return 100
        whole, here = self.until - self.since, (self.reached or self.since) - self.since
        return int(100 * (self.place * whole + here) / (len(self.gateways) * whole))
