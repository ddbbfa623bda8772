"""Faults 1 to 7: who says so. Nothing that the gateway did not sign, just now, leaves a trace."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from django.db import connection

from django_gatewaypay.models import Callback, Fulfilment, Transaction
from django_gatewaypay.testing.gateway_server import sign
from django_gatewaypay.types import CallbackRequest
from tests.gateways.test_mollie import signed as signed_by_mollie

from .forgery import assert_refused, headed, paid, signature_header
from .world import World, only

# --- 1


def unsigned(world: World, callback: CallbackRequest) -> list[CallbackRequest]:
    """Without the proof, in part or in whole, or under a scheme that is none."""
    name = signature_header(world)
    known = headed(callback).headers[name]
    proofs = [name for name in headed(callback).headers if name != "content-type"]
    return [
        world.play.bench.unsigned(callback),
        *(headed(callback, **{proof: None}) for proof in proofs),
        *(headed(callback, **{proof: ""}) for proof in proofs),
        headed(callback, **{name: known.replace("v1", "v0")}),
        headed(callback, **{name: known.replace("v1", "v1a")}),
        headed(callback, **{name: known.replace("v1", "V1")}),
        headed(callback, **{name: known.partition("v1")[0] + "v1,"}),
        headed(callback, **{name: known.partition("v1")[0]}),
        headed(callback, **{name: known.rpartition(",")[2]}),
    ]


@only("sandbox", "stripe")
def test_fault_01_no_signature_or_another_scheme(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """400 with a body that says nothing, no row written, and one countable log line a refusal."""
    row, callback = paid(world)
    count = assert_refused(world, unsigned(world, callback))

    refusals = [one for one in caplog.records if one.getMessage().startswith("refused gateway='card' status=400")]
    assert len(refusals) == count > 6
    assert world.fate(row) == ("pending", 0)
    assert world.status(row)["status"] == "pending"


@only("mollie")
def test_fault_01_a_signature_that_nobody_can_check(world: World) -> None:
    """A gateway that need not sign is refused when it does so wrongly: empty, strange, or without a secret of ours."""
    row, callback = paid(world)
    body = json.dumps({"id": "event_1", "type": "payment.paid", "entityId": row.gateway_reference})
    strange = [signed_by_mollie(body, "nobody's"), headed(callback, x_mollie_signature="sha256=")]
    assert_refused(world, strange)
    world.configure(webhook_secrets=["ours"])
    assert_refused(world, [*strange, headed(signed_by_mollie(body, "ours"), x_mollie_signature="")])

    assert world.fate(row) == ("pending", 0)


# --- 2


def flips(text: bytes) -> Iterator[bytes]:
    """Each with one other bit, every bit once."""
    for place in range(8 * len(text)):
        flipped = bytearray(text)
        flipped[place // 8] ^= 1 << place % 8
        yield bytes(flipped)


@only("sandbox", "stripe")
def test_fault_02_a_flipped_bit_in_the_body(world: World) -> None:
    """Every bit of every byte is signed."""
    row, callback = paid(world)
    count = assert_refused(world, (replace(callback, body=body) for body in flips(callback.body)))

    assert count == 8 * len(callback.body)
    assert world.fate(row) == ("pending", 0)


def flipped_headers(callback: CallbackRequest, name: str) -> Iterator[CallbackRequest]:
    known = headed(callback).headers[name]
    # A server reads headers as Latin-1, in which every byte is a character.
    return (headed(callback, **{name: flipped.decode("latin-1")}) for flipped in flips(known.encode()))


@only("sandbox")
@pytest.mark.parametrize("name", ["webhook-timestamp", "webhook-id"])
def test_fault_02_a_flipped_bit_in_time_or_id(world: World, name: str) -> None:
    """The id and the time are signed with the body."""
    row, callback = paid(world)
    assert_refused(world, flipped_headers(callback, name))

    assert world.fate(row) == ("pending", 0)


@only("sandbox", "stripe")
def test_fault_02_a_flipped_bit_in_the_signature(world: World) -> None:
    """Every bit of the signature counts (Stripe's time stands in the same header)."""
    row, callback = paid(world)
    while headed(callback).headers[signature_header(world)][-2] in SPARED:
        callback = world.tell(row)
    assert_refused(world, flipped_headers(callback, signature_header(world)))

    assert world.fate(row) == ("pending", 0)


# A digest of 32 bytes leaves two bits of its last base64 letter without a meaning. From these letters,
# one flipped bit leads to another letter with the same meaning.
SPARED = "AEIMQU048"


@only("sandbox")
def test_fault_02_a_flipped_bit_in_the_signature_that_means_nothing(world: World) -> None:
    """One signature has one spelling: a bit that base64 ignores is refused like any other."""
    row, callback = paid(world)
    while callback.headers["webhook-signature"][-2] not in SPARED:
        callback = world.tell(row)
    assert_refused(world, flipped_headers(callback, "webhook-signature"))

    assert world.fate(row) == ("pending", 0)


# --- 3


@only("sandbox", "stripe")
def test_fault_03_a_reserialised_body(world: World) -> None:
    """What is checked are the bytes, not their meaning; the bytes themselves are taken."""
    row, callback = paid(world)
    said = json.loads(callback.body)
    respelt = [
        json.dumps(said, indent=1),
        json.dumps(said, separators=(",", ":")),
        json.dumps(dict(reversed(said.items()))),
        callback.body.decode() + "\n",
        " " + callback.body.decode(),
        callback.body.decode().replace('"success"', '"\\u0073uccess"').replace('"succeeded"', '"\\u0073ucceeded"'),
    ]
    assert all(json.loads(text) == said and text.encode() != callback.body for text in respelt)
    assert_refused(world, [replace(callback, body=text.encode()) for text in respelt])
    response = world.post(callback)

    assert (response.status_code, world.fate(row)) == (200, ("success", 1))


# --- 4 and 5


def signed_with(world: World, callback: CallbackRequest, moment: str) -> CallbackRequest:
    """Truly signed by the gateway, under a time that it wrote like this."""
    if world.name == "sandbox":
        headers = sign(world.secret, callback.headers["webhook-id"], callback.body, timestamp=moment)  # type: ignore[arg-type]
        return CallbackRequest(headers, callback.body)
    digest = hmac.new(world.secret.encode(), moment.encode() + b"." + callback.body, hashlib.sha256).hexdigest()
    return headed(callback, stripe_signature=f"t={moment},v1={digest}")


@only("sandbox", "stripe")
def test_fault_04_a_signature_of_five_minutes_and_a_second_ago(world: World) -> None:
    """300 seconds are taken, 301 are not, and no age is so great that it is taken again."""
    row, callback = paid(world)
    with time_machine.travel(int(time.time()), tick=False):
        now = int(time.time())
        ages = (301, 302, 3600, 86400, 10**9, now)
        assert_refused(world, [signed_with(world, callback, str(now - age)) for age in ages])
        response = world.post(signed_with(world, callback, str(now - 300)))

    assert (response.status_code, world.fate(row)) == (200, ("success", 1))


NO_TIMES = (
    *("NaN", "nan", "inf", "-inf", "-1", "-0", "+1", "1e9", "0x10", "", " ", "now", "1_700_000_000", "null"),
    str(10**18), str(10**12), str(10**400), str(2**63), str(-(10**18)),
)  # fmt: skip


@only("sandbox", "stripe")
def test_fault_05_a_signature_of_the_future_or_of_no_time(world: World) -> None:
    """Five minutes ahead are taken; more, and everything that is no whole number of seconds, is 400 and no 500."""
    row, callback = paid(world)
    with time_machine.travel(int(time.time()), tick=False):
        now = int(time.time())
        ahead = [str(now + seconds) for seconds in (301, 302, 3600, 10**9)]
        unread = [f"{now}.0", f"{now}.5", f" {now}", f"{now} ", f"0{'0' * 20}{now}", f"{now},{now}"]
        assert_refused(world, [signed_with(world, callback, moment) for moment in (*ahead, *unread, *NO_TIMES)])
        response = world.post(signed_with(world, callback, str(now + 300)))

    assert (response.status_code, world.fate(row)) == (200, ("success", 1))


# --- 6


def test_fault_06_a_hundred_copies_at_once(world: World) -> None:
    """200 a hundred times; one history row and one outbox row come of it."""
    row, callback = paid(world)
    before = len(world.ledger(row))

    def replay(_: int) -> int:
        try:
            return int(world.post(callback).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(replay, range(100)))

    assert answers == [200] * 100
    assert world.fate(row) == ("success", 1)
    assert len(world.ledger(row)) == before + 1
    assert Fulfilment.objects.count() == 1
    # A hint has no id: each copy is news, and the gateway is asked.
    assert Callback.objects.filter(state="processed").count() == Callback.objects.count() == (1 if world.signs else 100)


# --- 7


def signed_by(world: World, row: Transaction, *secrets: str) -> CallbackRequest:
    """A callback with one signature for each secret, in the one header."""
    if world.name == "mollie":
        body = json.dumps({"id": f"event_{len(world.inbox())}", "type": "payment.paid", "entityId": "tr_1"})
        made = [signed_by_mollie(body, secret) for secret in secrets]
        proofs = ",".join(one.headers["X-Mollie-Signature"] for one in made)
        return headed(made[0], x_mollie_signature=proofs)
    name, number = signature_header(world), len(world.inbox())
    made = [world.tell(row, secret=secret, event_id=f"evt_rotation_{number}") for secret in secrets]
    proofs_of = [headed(one).headers[name] for one in made]
    if world.name == "sandbox":
        return headed(made[0], **{name: " ".join(proofs_of)})
    return headed(made[0], **{name: ",".join([proofs_of[0], *(one.partition(",")[2] for one in proofs_of[1:])])})


def test_fault_07_secrets_are_rotated(world: World) -> None:
    """Old, new or both in one header are taken while both are configured; then the old one is a stranger's."""
    old, new = {"mollie": ("old", "new")}.get(world.name) or world.play.bench.secrets
    vault = [new, old]
    world.configure(webhook_secrets=lambda: vault)
    row = world.start()
    world.happen(row, "success")
    with time_machine.travel(time.time(), tick=False) as clock:
        for _ in range(2):
            while_both = [world.post(signed_by(world, row, *used)).status_code for used in ((old,), (new,), (old, new))]
            assert while_both == [200] * 3
            clock.shift(timedelta(hours=25))
        vault.remove(old)
        assert_refused(world, [signed_by(world, row, old)])
        afterwards = [world.post(signed_by(world, row, *used)).status_code for used in ((new,), (old, new), (new, old))]

    assert afterwards == [200] * 3
    assert world.fate(row) == ("success", 1)
