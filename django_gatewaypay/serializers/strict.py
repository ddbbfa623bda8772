"""What all our serializers have in common: a field that nobody named is refused, and times are UTC."""

from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from ..services.sessions import as_utc

__all__ = ["StrictSerializer", "TextField", "printable", "timestamp"]


class StrictSerializer(serializers.Serializer[Any]):
    """The fields that it names and no other: the rest is the host's to say, or the gateway's."""

    def to_internal_value(self, data: Any) -> Any:
        names = set(data) if isinstance(data, dict) else set()
        unknown = sorted(printable(name) for name in names - set(self.fields) - {"csrfmiddlewaretoken"})
        if unknown:
            refused = _("This field cannot be sent.")
            raise serializers.ValidationError({name: [refused] for name in unknown})
        return super().to_internal_value(data)


class TextField(serializers.CharField):
    """A text that was sent as one: a JSON number may have lost digits on its way."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


def printable(name: object) -> str:
    """A name that a client made up, such that it can be repeated to it."""
    return str(name)[:64].encode(errors="replace").decode()


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC."""
    return as_utc(moment).isoformat().replace("+00:00", "Z")
