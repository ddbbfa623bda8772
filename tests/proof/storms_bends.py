"""How a message is spoiled. Each bend draws from the chance that it is given, and from nothing else."""

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from .storms_genuine import GENUINE, Genuine, Message

__all__ = ["BENDS", "UNREADABLE_LENGTHS", "bend"]

Bend = Callable[[random.Random, Genuine, Message], Message]
NASTY = ("\x00", "\t", " ", ",", ";", "=", "é", "\xff", "\x7f", "A", "0", "'", '"', "\\", "%", "\r")
#: Digits to somebody's int(), and no whole seconds to anybody.
NUMERALS: Sequence[Callable[[str], str]] = (
    lambda text: text.translate({48 + digit: 0x0660 + digit for digit in range(10)}).encode().decode("latin-1"),
    lambda text: text.translate({48 + digit: 0xFF10 + digit for digit in range(10)}).encode().decode("latin-1"),
    lambda text: text.replace("1", "\xb9", 1).replace("2", "\xb2", 1),
    lambda text: f" {text}",
    lambda text: f"+{text}",
    lambda text: f"{text}.0",
    lambda text: f"{text[:3]}_{text[3:]}",
    lambda text: f"{text}e0",
    lambda text: f"-{text}",
    lambda text: hex(int(text)) if text.isascii() and text.isdigit() else "0x1",
    lambda text: "NaN",
    lambda text: "9" * 5000,
)
BOMBS: Sequence[Callable[[], bytes]] = (
    lambda: b"[" * 100_000,
    lambda: b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    lambda: b'{"notificationItems": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    lambda: b'{"notificationItems": [{"NotificationRequestItem": {"amount": {"value": ' + b"9" * 5000 + b"}}}]}",
    lambda: b'{"notificationItems": [' + b'{"NotificationRequestItem": {}},' * 5000 + b"{}]}",
    lambda: b'{"id": NaN, "event_id": Infinity, "type": -Infinity}',
    lambda: b'{"event_id": "\\ud800", "id": "\\u0000"}',
    lambda: b"\xef\xbb\xbf{}",
    lambda: b"\xff\xfe" + '{"id": "evt"}'.encode("utf-16-le"),
    lambda: json.dumps({"id": "x" * 100_000}).encode(),
    lambda: b"",
    lambda: b"null",
    lambda: b"\x00" * 1000,
)
CONTENT_TYPES = (
    "", "text/plain", "application/jsonp", "application/xml", "multipart/form-data", "application/json\x00",
    "multipart/form-data; boundary=\xff", "application/x-www-form-urlencoded", "text/html; charset=utf-7",
    "application/json, text/html", "*/*", "application/" + "x" * 5000, ";", "application/json/../xml",
)  # fmt: skip
CHARSETS = ("utf-7", "utf-16", "utf-32", "zlib", "rot13", "idna", "nonsense", "\xff", "", "utf-8; charset=utf-16")
ENCODINGS = ("gzip", "deflate", "br", "identity", "x" * 1000, "gzip, gzip", "\xff")
#: Digits that int() cannot read.
UNREADABLE_LENGTHS = ("\xb2", "\xb2\xb3", "9" * 4400)
LENGTHS = (
    "",
    "-1",
    "+5",
    " 5",
    "1_0",
    "0x10",
    "5.0",
    "0",
    "1",
    "nan",
    "٥".encode().decode("latin-1"),
    *UNREADABLE_LENGTHS,
)
ALIASES = (
    "", "..", ".", "%00", "{}%00", "%2e%2e/{}", "{}%2f..", "../{}", "{}/../{}", "{}%0a", "%0d%0a{}", "{};x=1", "{}.",
    "{} ", "%20{}", "{}%ff", "%c0%ae", "%ef%bd%88osted", "{}%252f", "{}//", "//{}", "{}\\", "hosted'--",
    "{}" + "x" * 3000,
    "__class__", "get", "{}:443", "%f0%9f%92%b3", "{0.__class__}", "%s%n", "${{jndi}}", "constructor", "null",
)  # fmt: skip
HOSTS = (
    "evil example",
    "evil.example",
    "127.0.0.1:port",
    "[::1",
    "shop.example\x00",
    "a" * 300,
    "",
    "shop.example,evil.example",
)


def bend(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    """Once, in most cases; sometimes two or three times."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        message = chance.choice(BENDS)(chance, gateway, message)
    return message


# --- The body.


def flip_a_bit(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    body = bytearray(message.body or b"\0")
    body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    return replace(message, body=bytes(body))


def cut_off(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    return replace(message, body=message.body[: chance.randrange(len(message.body) or 1)])


def append(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    more = chance.choice((b" ", b"\n", b"\x00", b"}", b",{}", chance.randbytes(chance.randrange(1, 64))))
    return replace(message, body=chance.choice((message.body + more, more + message.body)))


def change_a_word(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    old, new = chance.choice(
        ((b"19.99", b"0.01"), (b"1999", b"1"), (b"EUR", b"JPY"), (b"eur", b"jpy"), (b"evt_", b"EVT_"), (b"ps_", b"pt_"))
    )
    return replace(message, body=message.body.replace(old, new, 1) if old in message.body else message.body + b" ")


def write_otherwise(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    """The same text in other bytes."""
    text = message.body.decode("utf-8", "replace")
    ways: Sequence[Callable[[], bytes]] = (
        lambda: text.encode("utf-16"),
        lambda: text.encode("utf-8-sig"),
        lambda: text.encode("utf-32-be", "replace"),
        lambda: text.encode("utf-7"),
        lambda: text.replace(" ", "").encode() or b" ",
        lambda: text.replace(": ", ":\t").encode(),
        lambda: text.replace("e", "\\u0065").encode(),
        lambda: text.replace("{", '{"id": "evt_first", ', 1).encode(),
    )
    return replace(message, body=chance.choice(ways)())


def bomb(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    body = chance.choice(BOMBS)()
    headers = gateway.signed(body, good=False) if chance.random() < 0.5 else message.headers[1:]
    return replace(message, body=body, headers=(message.headers[:1] + tuple(headers)))


def swell(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    size = chance.choice((1000, 70_000, 256 * 1024 - len(message.body), 256 * 1024 + 1, 600_000))
    return replace(message, body=message.body + b" " * size)


# --- The headers.


def spoil_a_header(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    def spoil(value: str) -> str:
        place = chance.randrange(len(value) + 1)
        return value[:place] + chance.choice(NASTY) + value[place + chance.randrange(2) :]

    return _with_header(chance, message, spoil)


def drop_a_header(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    place = chance.randrange(len(message.headers) or 1)
    return replace(message, headers=message.headers[:place] + message.headers[place + 1 :])


def empty_a_header(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    return _with_header(chance, message, lambda _: "")


def double_a_header(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    name, value = chance.choice(message.headers or (("Host", ""),))
    again = (name, chance.choice((value, value[::-1], "", "1", "v1,AAAA")))
    return replace(message, headers=chance.choice(((*message.headers, again), (again, *message.headers))))


def blow_up_a_header(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    more = chance.choice(("A" * 65_000, "v1,AAAA " * 5000, ",v1=00" * 8000, "t=1," * 8000, "," * 60_000))
    return _with_header(chance, message, lambda value: value + more)


def rename_the_scheme(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    old, new = chance.choice(
        (("v1", "v0"), ("v1", "V1"), ("v1", "v1a"), ("v1", ""), ("sha256=", "sha1="), ("SHA256withRSA", "NONEwithRSA"),
         ("SHA256withRSA", "SHA1withRSA"), ("t=", "T="), ("t=", "t=1,t="))
    )  # fmt: skip
    return _with_all(message, lambda value: value.replace(old, new))


def write_the_time_otherwise(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    way = chance.choice(NUMERALS)

    def write(name: str, value: str) -> str:
        if name.lower() == "webhook-timestamp":
            return way(value)
        if name.lower() == "stripe-signature" and value.startswith("t="):
            sent, comma, rest = value[2:].partition(",")
            return f"t={way(sent)}{comma}{rest}"
        return way(value) if name.lower() == "paypal-transmission-time" else value

    return replace(message, headers=tuple((name, write(name, value)) for name, value in message.headers))


def sign_at_another_time(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    """With the right secret, and far from now."""
    away = chance.choice((330, 400, 86_400, 5 * 86_400, 10**8, 10**9))
    at = int(time.time()) + away * chance.choice((-1, 1))
    if not gateway.stamps or (gateway.alias == "paypal" and away < 5 * 86_400):
        return sign_with_another_secret(chance, gateway, message)
    return replace(message, headers=message.headers[:1] + gateway.signed(message.body, at=at))


def sign_with_another_secret(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    return replace(message, headers=message.headers[:1] + gateway.signed(message.body, good=False))


def call_it_another_type(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    kind = chance.choice((chance.choice(CONTENT_TYPES), f"{gateway.content_type}; charset={chance.choice(CHARSETS)}"))
    rest = tuple(one for one in message.headers if one[0] != "Content-Type")
    return replace(message, headers=(("Content-Type", kind), *rest))


def say_it_is_encoded(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    return replace(message, headers=(*message.headers, ("Content-Encoding", chance.choice(ENCODINGS))))


def lie_about_the_length(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    wrong = chance.choice((*LENGTHS, str(len(message.body) + 1), str(max(0, len(message.body) - 1)), "999999"))
    return replace(message, length=wrong)


def name_another_host(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    return replace(message, headers=(*message.headers, ("Host", chance.choice(HOSTS))))


# --- The request line.


def go_elsewhere(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    path = chance.choice(ALIASES).replace("{}", gateway.alias) + chance.choice(("", "/", "?a=%ff", "/?id=tr_1"))
    return replace(message, path=path)


def go_to_another_account(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    others = sorted(alias for alias in GENUINE if alias not in {gateway.alias, "mollie"})
    return replace(message, path=f"{chance.choice(others)}/")


def use_another_method(chance: random.Random, gateway: Genuine, message: Message) -> Message:
    methods = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "POST ", "PROPFIND", "X" * 500)
    return replace(message, method=chance.choice(methods))


def _with_header(chance: random.Random, message: Message, change: Callable[[str], str]) -> Message:
    """Change one header that proves something; not the type, which Django reads before any view of ours.

    Longer than 10,000 characters, it makes Django's handlers raise BadRequest to the server.
    """
    places = [place for place, (name, _) in enumerate(message.headers) if name != "Content-Type"]
    if not places:
        return replace(message, headers=(*message.headers, ("Webhook-Signature", change("v1,"))))
    place = chance.choice(places)
    name, value = message.headers[place]
    changed = (name, change(value))
    return replace(message, headers=(*message.headers[:place], changed, *message.headers[place + 1 :]))


def _with_all(message: Message, change: Callable[[str], str]) -> Message:
    return replace(message, headers=tuple((name, change(value)) for name, value in message.headers))


BENDS: Sequence[Bend] = (
    *(flip_a_bit,) * 4, cut_off, append, *(change_a_word,) * 2, write_otherwise, bomb, swell,
    *(spoil_a_header,) * 4, drop_a_header, empty_a_header, *(double_a_header,) * 2, blow_up_a_header,
    rename_the_scheme, *(write_the_time_otherwise,) * 2, *(sign_at_another_time,) * 2, *(sign_with_another_secret,) * 2,
    call_it_another_type, say_it_is_encoded, lie_about_the_length, name_another_host,
    *(go_elsewhere,) * 2, go_to_another_account, use_another_method,
)  # fmt: skip
