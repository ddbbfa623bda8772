"""Callbacks, spoiled in the ways that attackers and vendors have found."""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ...types import CallbackRequest

__all__ = ["CANARY", "UNREADABLE", "alter", "misread", "plant", "reserialise"]

#: Stands for what a vendor adds one day, and what nobody may keep: a name, an address, a card.
CANARY = "canary-of-the-contract"
UNREADABLE = (b"", b"{", b"null", b"[]", b'"text"', b"17", b"\xff", b"[" * 100_000)
SECONDS = re.compile(r"[0-9]{10,}", re.ASCII)
ODD: tuple[Any, ...] = (None, True, 17, 1.5, -1, "", "x" * 10_000, "a\x00b", [], {}, [None], {"a": {}})


def alter(callback: CallbackRequest) -> Iterator[CallbackRequest]:
    """One byte of the body, or one character of a header, is another one; or a header is missing."""
    size = len(callback.body)
    yield replace(callback, body=callback.body + b" ")
    for position in {0, size // 4, size // 2, size * 3 // 4, size - 1}:
        body = bytearray(callback.body)
        body[position] ^= 1
        yield replace(callback, body=bytes(body))
    for name in callback.headers:
        if name.lower() != "content-type":
            yield replace(callback, headers={key: value for key, value in callback.headers.items() if key != name})
            for value in _other_texts(callback.headers[name]):
                yield replace(callback, headers={**callback.headers, name: value})


def reserialise(callback: CallbackRequest) -> Iterator[CallbackRequest]:
    """The same JSON in other bytes."""
    data = _read(callback)
    options: tuple[dict[str, Any], ...] = ({"indent": 1}, {"separators": (",", ":")}, {"sort_keys": True})
    for option in options:
        body = callback.body + b"\n" if data is None else json.dumps(data, **option).encode()
        if body != callback.body:
            yield replace(callback, body=body)


def misread(callback: CallbackRequest) -> Iterator[CallbackRequest]:
    """Each field in turn is missing, or something that it never was."""
    data = _read(callback)
    for path in [*_paths(data)][1:]:
        for odd in ODD:
            changed = copy.deepcopy(data)
            _at(changed, path[:-1])[path[-1]] = odd
            yield replace(callback, body=json.dumps(changed).encode())
        changed = copy.deepcopy(data)
        del _at(changed, path[:-1])[path[-1]]
        yield replace(callback, body=json.dumps(changed).encode())


def plant(callback: CallbackRequest) -> CallbackRequest:
    """Each object in the body has one field more, and the headers have too."""
    data = _read(callback)
    for path in [*_paths(data)]:
        if isinstance(_at(data, path), dict):
            _at(data, path)[CANARY] = CANARY
    body = callback.body if data is None else json.dumps(data).encode()
    return replace(callback, headers={**callback.headers, "x-canary": CANARY}, body=body)


def _other_texts(text: str) -> Iterator[str]:
    """The text with another character in its middle, and each time in it a second off."""
    # Not the last character: in base64 it may have bits that mean nothing.
    for position in {len(text) // 2, *(seconds.end() - 1 for seconds in SECONDS.finditer(text))}:
        other = str((int(text[position]) + 1) % 10) if text[position].isdigit() else "5"
        yield text[:position] + other + text[position + 1 :]


def _read(callback: CallbackRequest) -> Any:
    """The body as JSON; None for a form."""
    try:
        return json.loads(callback.body)
    except ValueError:
        return None


def _paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from _paths(value, (*path, key))


def _at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data
