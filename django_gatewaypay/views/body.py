"""Read a request's body, up to a limit and not further."""

import re

from django.http import HttpRequest

__all__ = ["BodyTooLarge", "read_body"]


class BodyTooLarge(Exception):
    """The body is larger than this view reads."""


def read_body(request: HttpRequest, limit: int) -> bytes:
    """The raw body.

    Raises:
        BodyTooLarge: it has more than `limit` bytes, whatever its headers say.
    """
    # Twenty digits are too many for any limit; a length that is no number is Django's to take for none.
    length = re.fullmatch(r"0*([0-9]{1,20})[0-9]*", request.META.get("CONTENT_LENGTH") or "", re.ASCII)
    if length and int(length[1]) > limit:
        raise BodyTooLarge
    body = request.read(limit + 1)
    if len(body) > limit:
        raise BodyTooLarge
    # Where Django keeps it, for the parsers that come after us; they go by the length, which a chunked body has not.
    request._body = body
    request.META["CONTENT_LENGTH"] = str(len(body))
    return body
