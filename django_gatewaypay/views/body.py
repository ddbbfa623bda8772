"""Read a request's body, up to a limit and not further."""

from django.http import HttpRequest

__all__ = ["BodyTooLarge", "read_body"]


class BodyTooLarge(Exception):
    """The body is larger than this view reads."""


def read_body(request: HttpRequest, limit: int) -> bytes:
    """The raw body.

    Raises:
        BodyTooLarge: it has more than `limit` bytes, whatever its headers say.
    """
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdigit() and int(length) > limit:
        raise BodyTooLarge
    body = request.read(limit + 1)
    if len(body) > limit:
        raise BodyTooLarge
    # Where Django keeps it, for the parsers that come after us; they go by the length, which a chunked body has not.
    request._body = body
    request.META["CONTENT_LENGTH"] = str(len(body))
    return body
