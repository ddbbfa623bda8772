"""Only who knows the secret gets a callback accepted, only for these bytes, and only now."""

import base64
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine

from django_gatewaypay.exceptions import InvalidSignature, StaleSignature
from django_gatewaypay.gateways import signing
from django_gatewaypay.gateways.signing import read_secrets, sign_standard_webhook, verify_standard_webhook
from django_gatewaypay.testing.gateway_server import sign

NOW = 1_760_000_000
BODY = '{"event_id":"evt_1","amount":"19.99","name":"Zoë"}'.encode()
ID = "evt_1"


def make_secret(letter: bytes) -> str:
    return "whsec_" + base64.b64encode(letter * 32).decode()


SECRET, OLD, STRANGER = make_secret(b"n"), make_secret(b"o"), make_secret(b"s")


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    """The clock stands still, so that five minutes are five minutes."""
    with time_machine.travel(NOW, tick=False):
        yield


def signed(secret: str = SECRET, body: bytes = BODY, timestamp: int = NOW, **changed: str) -> dict[str, str]:
    headers = sign(secret, ID, body, timestamp=timestamp)
    return {**headers, **{name.replace("_", "-"): value for name, value in changed.items()}}


def refused(headers: dict[str, Any], body: bytes = BODY, secrets: Any = (SECRET,)) -> bool:
    try:
        verify_standard_webhook(secrets, headers, body)
    except InvalidSignature:
        return True
    return False


def flip(text: str, index: int) -> str:
    return text[:index] + chr(ord(text[index]) ^ 1) + text[index + 1 :]


def test_a_good_signature_is_accepted() -> None:
    """What the specification's formula signs, we accept."""
    assert not refused(signed())


def test_header_names_have_no_case() -> None:
    """A proxy may write the names as it likes."""
    assert not refused({name.upper(): value for name, value in signed().items()})


def test_our_own_signatures_verify() -> None:
    """What we sign, a receiver of the specification accepts."""
    headers = sign_standard_webhook(SECRET, ID, BODY)

    assert headers.items() <= signed().items()
    assert not refused(headers)


def test_any_flipped_bit_in_the_body_is_refused() -> None:
    """Every single bit counts."""
    for position in range(len(BODY) * 8):
        forged = bytearray(BODY)
        forged[position // 8] ^= 1 << position % 8

        assert refused(signed(), bytes(forged)), position


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_any_changed_character_in_a_header_is_refused(header: str) -> None:
    """The id and the time are signed too."""
    good = signed()
    # Past the version; the last character before the padding holds two bits that base64 ignores.
    positions = range(3, len(good[header]) - 2) if header == "webhook-signature" else range(len(good[header]))
    for index in positions:
        assert refused({**good, header: flip(good[header], index)}), index


@pytest.mark.parametrize(
    "body",
    [
        BODY + b" ",
        BODY + b"\n",
        BODY.replace(b":", b": "),
        json.dumps(json.loads(BODY)).encode(),
        json.dumps(json.loads(BODY), ensure_ascii=False, sort_keys=True).encode(),
        BODY.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + BODY,
        b"",
    ],
)
def test_a_body_that_says_the_same_in_other_bytes_is_refused(body: bytes) -> None:
    """The raw bytes are signed, not their meaning."""
    assert refused(signed(), body)


@pytest.mark.parametrize(
    ("age", "verdict"),
    [(0, False), (299, False), (300, False), (301, True), (86_400, True), (-299, False), (-300, False), (-301, True)],
)
def test_five_minutes_are_allowed_to_both_sides(age: int, verdict: bool) -> None:
    """An honest signature expires after 300 seconds, and is not from the future."""
    assert refused(signed(timestamp=NOW - age)) is verdict


@pytest.mark.parametrize(
    "timestamp",
    [
        "NaN",
        "nan",
        "inf",
        "-inf",
        "Infinity",
        f"{NOW}.0",
        f"{NOW}.5",
        f"-{NOW}",
        f"+{NOW}",
        f" {NOW}",
        f"{NOW} ",
        f"{NOW}\n",
        "1.76e9",
        "1_760_000_000",
        "١٧٦٠٠٠٠٠٠٠",
        "0",
        "",
        "now",
        "0x68e6d300",
        "9" * 12,
        "9" * 13,
        "9" * 400,
        f"{NOW}000",
        "2025-10-09T08:53:20Z",
    ],
)
def test_a_strange_time_is_refused(timestamp: str) -> None:
    """The time is a plain whole number of seconds, and a wrong one is refused without a crash."""
    assert refused(signed(webhook_timestamp=timestamp))
    assert refused({**sign(SECRET, ID, BODY), "webhook-timestamp": timestamp})


@pytest.mark.parametrize("written", [f"0{NOW}", f" {NOW}", f"+{NOW}", "1_760_000_000", f"{NOW}\n"])
def test_one_time_has_one_spelling(written: str) -> None:
    """Another one is a forgery and no old time, though it counts the same seconds."""
    assert verdict(signed(webhook_timestamp=written)) is InvalidSignature


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_missing_header_is_refused(missing: str, how: str) -> None:
    """All three headers are needed."""
    headers = signed()
    if how == "empty":
        headers[missing] = ""
    else:
        del headers[missing]

    assert refused(headers)


def test_no_headers_at_all_are_refused() -> None:
    """A bare post is nothing."""
    assert refused({})


@pytest.mark.parametrize(
    "make",
    [
        lambda digest: f"v0,{digest}",
        lambda digest: f"v2,{digest}",
        lambda digest: f"v1a,{digest}",
        lambda digest: f"V1,{digest}",
        lambda digest: f"v1={digest}",
        lambda digest: f"v1,{digest},{digest}",
        lambda digest: f"{digest}",
        lambda digest: f",{digest}",
        lambda digest: "v1,",
        lambda digest: "v1",
        lambda digest: "v1,*",
        lambda digest: "v1,ä",
        lambda digest: "v1,\x00",
        lambda digest: "v1,a",
        lambda digest: f"v1,{digest[:20]}",
        lambda digest: "v1," + base64.b64decode(digest).hex(),
        lambda digest: " ",
        lambda digest: " ".join(["v1,AAAA"] * 1000),
    ],
)
def test_another_scheme_or_form_is_refused(make: Callable[[str], str]) -> None:
    """Only `v1,` and the whole digest in base64 counts."""
    digest = signed()["webhook-signature"].removeprefix("v1,")

    assert refused(signed(webhook_signature=make(digest)))


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("other", ["v1,AAAA", "v0,AAAA", "v1a,AAAA"])
def test_one_good_signature_among_several_is_enough(place: str, other: str) -> None:
    """A sender that rotates its secret signs with both."""
    good = signed()["webhook-signature"]
    both = f"{good} {other}" if place == "first" else f"{other} {good}"

    assert not refused(signed(webhook_signature=both))


@pytest.mark.parametrize("shape", ["v1,AAAA\t{}", "v1,AAAA,{}", "{}\t", "{}\n", "\u00a0{}"])
def test_signatures_are_parted_by_a_space_and_nothing_else(shape: str) -> None:
    """A signature counts letter for letter."""
    assert refused(signed(webhook_signature=shape.format(signed()["webhook-signature"])))


@pytest.mark.parametrize("signer", [SECRET, OLD])
@pytest.mark.parametrize("secrets", [[SECRET, OLD], [OLD, SECRET], (SECRET, OLD)])
def test_every_secret_in_force_verifies(signer: str, secrets: list[str]) -> None:
    """During a rotation the new and the old secret both count."""
    assert not refused(signed(signer), secrets=secrets)


@pytest.mark.parametrize("signer", [OLD, STRANGER])
def test_a_secret_that_is_not_in_force_is_refused(signer: str) -> None:
    """A retired secret is a stranger's."""
    assert refused(signed(signer), secrets=[SECRET])


def test_secrets_may_come_from_a_vault() -> None:
    """A callable is asked at every call, so a rotation needs no restart."""
    current = [OLD]
    before = refused(signed(), secrets=lambda: current)
    current[:] = [SECRET]

    assert before
    assert not refused(signed(), secrets=lambda: current)


@pytest.mark.parametrize(
    "secrets", [[], (), [""], [SECRET, ""], "", SECRET, None, lambda: [], lambda: "", lambda: [""]]
)
def test_an_empty_secret_verifies_nothing(secrets: Any) -> None:
    """No secret is a mistake of the host, never an open door."""
    with pytest.raises((ValueError, TypeError)):
        read_secrets(secrets)
    with pytest.raises((ValueError, TypeError)):
        verify_standard_webhook(secrets, signed(), BODY)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_====", "whsec_a", "whsec_a-b_c-d_", "not a secret", "whsec_ä", ""])
def test_a_secret_that_could_never_verify_is_refused_early(secret: str) -> None:
    """Empty, or not base64: said at start-up, without repeating the secret."""
    with pytest.raises(ValueError, match="A callback secret is") as caught:
        signing.check_secret(secret)
    assert not secret.strip("=") or secret not in str(caught.value)


@pytest.mark.parametrize(
    "secret",
    [SECRET, SECRET.removeprefix("whsec_"), SECRET.rstrip("="), SECRET + "=", "whsec_" + "A" * 41 + "XXX"],
)
def test_the_usual_ways_to_write_a_secret_are_good(secret: str) -> None:
    """With or without prefix, with or without padding."""
    signing.check_secret(secret)

    padding = "=" * (-len(secret.removeprefix("whsec_")) % 4)
    assert not refused(signed(secret + padding), secrets=[secret])


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"\xc3\x28", b'{"a": "\xed\xa0\x80"}'])
def test_a_body_that_is_not_utf_8_is_refused(body: bytes) -> None:
    """Even signed, bytes that are no text are refused without a crash."""
    assert refused(signed(body=body), body)


def test_an_old_callback_under_a_new_time_is_refused() -> None:
    """A replay cannot be freshened up."""
    old = signed(timestamp=NOW - 3600)

    assert refused({**old, "webhook-timestamp": str(NOW)})


def test_a_refusal_says_nothing_about_the_secret() -> None:
    """Neither the message nor its arguments repeat a secret or a digest."""
    with pytest.raises(InvalidSignature) as caught:
        verify_standard_webhook([SECRET], signed(STRANGER), BODY)

    said = repr(caught.value) + str(caught.value)
    assert SECRET.removeprefix("whsec_") not in said
    assert signed(STRANGER)["webhook-signature"] not in said
    assert caught.value.__cause__ is None


def verdict(headers: dict[str, str], body: bytes = BODY, secrets: Any = (SECRET,)) -> type[Exception] | None:
    try:
        verify_standard_webhook(secrets, headers, body)
    except InvalidSignature as error:
        return type(error)
    return None


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("age", [301, -301, 86_400])
def test_a_good_signature_of_another_time_is_told_apart(settings: Any, zone: str, age: int) -> None:
    """Refused like any other, and the host can see that it is a clock or a replay, wherever it stands."""
    settings.TIME_ZONE = zone
    old = signed(OLD, timestamp=NOW - age)

    assert verdict(old, secrets=[SECRET, OLD]) is StaleSignature
    assert verdict({**old, "webhook-signature": "v1,AAAA " + old["webhook-signature"]}, secrets=[OLD]) is StaleSignature


@pytest.mark.parametrize("body", [BODY, b"\xff\xfe\x00"])
@pytest.mark.parametrize("signature", ["v1,AAAA", "v1,\udcff", "ä", ""])
def test_what_nobody_signed_is_never_merely_old(body: bytes, signature: str) -> None:
    """An old time does not make a forgery a replay, and nothing makes it a crash."""
    old = signed(timestamp=NOW - 3600, webhook_signature=signature)

    assert verdict(old, body) is InvalidSignature
    assert verdict(signed(STRANGER, timestamp=NOW - 3600), body) is InvalidSignature


def test_what_is_signed_need_not_be_json() -> None:
    """The bytes are proved; what they mean is another's question."""
    assert not refused(signed(body=b"not json"), b"not json")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_we_sign_now_wherever_we_stand(settings: Any, zone: str) -> None:
    """The time of a signature knows no zones."""
    settings.TIME_ZONE = zone

    assert not refused(sign_standard_webhook(SECRET, ID, BODY))


# --- What other schemes are made of.


@pytest.mark.parametrize("age", [0, 299, 300, -300])
def test_an_age_within_five_minutes_is_good(age: int) -> None:
    """To both sides, the border included."""
    signing.check_age(str(NOW - age))


@pytest.mark.parametrize("timestamp", [str(NOW - 301), str(NOW + 301), "", "now", f"{NOW}.0", f" {NOW}", "9" * 13])
def test_any_other_age_is_refused(timestamp: str) -> None:
    """And so is what is no time at all."""
    with pytest.raises(InvalidSignature):
        signing.check_age(timestamp)


def digest(secret: str, content: bytes = BODY) -> str:
    return hmac.new(secret.encode(), content, "sha256").hexdigest()


@pytest.mark.parametrize(
    "given", [[digest("new")], [digest("old")], ["ä", "\udcff", digest("new")], [digest("old"), ""]]
)
def test_one_good_hex_digest_is_enough(given: list[str]) -> None:
    """Of any secret in force, among any others."""
    signing.check_hex_hmac(["new", "old"], BODY, given)
    signing.check_hex_hmac(lambda: ["old", "new"], BODY, iter(given))


@pytest.mark.parametrize(
    "given",
    [[], [""], ["ä"], ["\udcff"], [digest("stranger")], [digest("new", BODY + b" ")], [digest("new")[:-1]]],
)
def test_any_other_hex_digest_is_refused(given: list[str]) -> None:
    """Nobody who has no secret makes one, for these bytes."""
    with pytest.raises(InvalidSignature):
        signing.check_hex_hmac(["new", "old"], BODY, given)


@pytest.mark.parametrize("secrets", [[], [""], "new"])
def test_without_a_secret_no_hex_digest_is_good(secrets: Any) -> None:
    """No secret is never an open door."""
    with pytest.raises(signing.NoSecret):
        signing.check_hex_hmac(secrets, BODY, [digest("new")])


def find_vectors() -> list[dict[str, Any]]:
    repository = Path(__file__).resolve().parents[2]
    file = Path(os.environ.get("GATEWAYPAY_SHARED") or repository.parent / "shared") / "vectors.json"
    if not file.exists():
        return []
    found = json.loads(file.read_text(encoding="utf-8"))["vectors"]
    return [one for one in found if "standard" in str(one["gateway"]).lower().replace("_", "").replace("-", "")]


def run_vector(vector: dict[str, Any]) -> bool:
    secrets = vector.get("secrets") or [vector["secret"]]
    moment = vector.get("now") or int({k.lower(): v for k, v in vector["headers"].items()}["webhook-timestamp"])
    with time_machine.travel(moment, tick=False):
        return not refused(vector["headers"], vector["body"].encode(), secrets)


VECTORS = find_vectors()


@pytest.mark.skipif(not VECTORS, reason="no vectors.json: name its folder in GATEWAYPAY_SHARED")
def test_vectors_that_others_wrote_are_judged_alike() -> None:
    """Signatures of other implementations are accepted and refused as their authors say."""
    assert {one["name"]: run_vector(one) for one in VECTORS} == {one["name"]: one["valid"] for one in VECTORS}


def test_the_clock_of_these_tests_stands() -> None:
    """The table of ages above means what it says."""
    assert time.time() == NOW
