"""A refund on its way: told, found, asked for and given up, and never done twice. Over real sockets."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.utils import timezone
from moneyed import Money

from django_gatewaypay import services
from django_gatewaypay.conf import settings as ours
from django_gatewaypay.exceptions import (
    GatewayUnavailable,
    InvalidTransition,
    MovementInProgress,
    ReasonMissing,
    UnsupportedOperation,
)
from django_gatewaypay.gateways.base import Gateway
from django_gatewaypay.gateways.circuit import FAILURES, Circuit
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.lifecycle import apply_movement, left_to_refund
from django_gatewaypay.models import Callback, Capture, Fulfilment, Refund, Transaction
from django_gatewaypay.orders import OrderHandler
from django_gatewaypay.registry import gateways
from django_gatewaypay.schedule import CLAIM_LEASE
from django_gatewaypay.services import trips
from django_gatewaypay.services.callbacks import load_update
from django_gatewaypay.services.errands import ERRANDS
from django_gatewaypay.services.errands import Answer as Answered
from django_gatewaypay.services.movements import drive_movement
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer, RecordedRequest
from django_gatewaypay.types import (
    CallbackRequest,
    MovementState,
    PaymentUpdate,
    RefundRequest,
    RefundState,
    RefundUpdate,
    Source,
)
from tests.factories import make_order
from tests.invariants import Watch, check_books
from tests.shop import ShopOrders
from tests.test_races import together

pytestmark = pytest.mark.django_db(transaction=True)

WHY = "returned"
NEVER = timedelta(days=3650)


# --- Gateways that lack something, or have a habit.


class CannotFind(HostedGateway):
    """Its refunds cannot be looked up."""

    supports_find_refund = False


class CannotBeAsked(HostedGateway):
    """It tells what became of a refund, and cannot be asked."""

    fetch_refund = Gateway.fetch_refund  # type: ignore[assignment]


class EchoesNothing(HostedGateway):
    """A callback about a refund has its own name for it, and not ours."""

    def parse_callback(self, request: CallbackRequest) -> list[PaymentUpdate]:
        [update] = super().parse_callback(request)
        return [replace(update, refund=update.refund and replace(update.refund, refund_id=""))]


class SignsNothing(EchoesNothing):
    """Whatever it sends may be from anybody."""

    signs_callbacks = False

    def verify_callback(self, request: CallbackRequest) -> None:
        pass


class SellsForGood(HostedGateway):
    """It gives nothing back."""

    supports_refund = supports_partial_refund = False


class AllOrNothing(HostedGateway):
    """It gives back all, or nothing."""

    supports_partial_refund = False


class HookThatRefunds(ShopOrders):
    """A host that gives money back where it is called inside a transaction."""

    def fulfil(self, transaction: Any) -> None:
        services.refund(transaction.pk, reason=WHY)


# --- The stage.


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not sleep."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


@pytest.fixture(autouse=True)
def plain(hosted: GatewayServer, use: Callable[..., HostedGateway]) -> None:
    """One call is one try, and the circuit stays closed."""
    use(HostedGateway)


@pytest.fixture
def use(settings: Any) -> Callable[..., HostedGateway]:
    """Let the account be of this class."""

    def choose(kind: type[HostedGateway], *, circuit: bool = False) -> HostedGateway:
        account = {**ours.GATEWAYS["hosted"], "BACKEND": f"{kind.__module__}.{kind.__name__}"}
        settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {"hosted": account}}
        gateway = gateways["hosted"]
        assert isinstance(gateway, kind)
        gateway.client.tries = 1
        # Once it is open no pause of it is ever over, however slow the machine is.
        gateway.client.circuit = Circuit(clock=lambda: 1000.0)
        if not circuit:
            gateway.client.circuit.enter = lambda _: 0.0  # type: ignore[method-assign]
        return gateway

    return choose


@pytest.fixture
def row(hosted: GatewayServer, plain: None) -> Transaction:
    """19.99 EUR, paid."""
    return pay(hosted)


@pytest.fixture
def ann() -> Any:
    return get_user_model().objects.create_user("ann")


def pay(hosted: GatewayServer) -> Transaction:
    started = services.initiate(str(make_order().pk)).transaction
    hosted.pay(started.gateway_reference)
    return services.refresh(started.pk)


def refund(row: Transaction, amount: str = "5.00", **details: Any) -> Refund:
    return services.refund(row.pk, Money(amount, "EUR"), **{"reason": WHY, **details})


def come_round(found: Refund, age: timedelta = timedelta(0)) -> Refund:
    """The clock comes by, `age` later than the gateway was first told."""
    found.refresh_from_db()
    begun = found.submitted_at and found.submitted_at - age
    Refund.objects.filter(pk=found.pk, next_attempt_at__isnull=False).update(
        next_attempt_at=timezone.now(), submitted_at=begun
    )
    services.sweep()
    found.refresh_from_db()
    return found


def silence(hosted: GatewayServer, row: Transaction, *answers: Answer) -> Refund:
    """A refund that got no answer."""
    hosted.script(*(answers or [Answer.error(503)]))
    found = refund(row)
    assert (found.state, found.attempts) == ("unknown", len(answers or [None]))
    return found


def asked(hosted: GatewayServer) -> list[RecordedRequest]:
    """The orders to give money back that reached the gateway."""
    return [one for one in hosted.requests if one.method == "POST" and one.path.startswith("/refund/")]


def looked(hosted: GatewayServer) -> int:
    return sum(one.path.startswith("/refunds/") for one in hosted.requests)


def attention(row: Transaction) -> str:
    row.refresh_from_db()
    return row.attention


def told(hosted: GatewayServer, reference: str, **said: Any) -> Callback:
    """The gateway calls back about a refund."""
    [pk] = services.receive_callback("hosted", CallbackRequest(*hosted.refund_callback(reference, **said)))
    services.process_callback(pk)
    return Callback.objects.get(pk=pk)


# --- No answer.


def test_two_hundred_that_time_out_are_two_hundred_refunds(hosted: GatewayServer) -> None:
    """The answer is lost before or after the effect, once or twice in a row: exactly one each, to the cent."""
    habits = itertools.cycle(
        [[Answer.lost()], [Answer.closed()], [Answer.lost(), Answer.error(500)], [Answer.lost()] * 2]
    )
    for number, answers in zip(range(200), habits, strict=False):
        row = pay(hosted)
        hosted.script(*answers)
        found = refund(row, f"{number % 19 + 1}.00")
        for _ in range(len(answers)):
            found = come_round(found)
        assert found.state == "succeeded"

    given = [one["refund_id"] for one in hosted.refunds.values()]
    assert sorted(given) == sorted(str(pk) for pk in Refund.objects.values_list("pk", flat=True))
    assert len(set(given)) == 200
    check_books(hosted)


def test_each_try_has_the_key_and_the_bytes_of_the_first(hosted: GatewayServer, row: Transaction) -> None:
    """And each pause is longer than the one before."""
    pauses = []
    # The clock stands still, because a pause is measured after the try that it follows.
    with time_machine.travel(timezone.now(), tick=False):
        found = silence(hosted, row)
        for _ in range(4):
            found.refresh_from_db()
            pauses.append((found.next_attempt_at - timezone.now()).total_seconds())
            hosted.script(Answer.error(503))
            found = come_round(found)

    assert {(one.key, one.body) for one in asked(hosted)} == {(f"gatewaypay-refund-{found.pk}", asked(hosted)[0].body)}
    assert (len(asked(hosted)), found.attempts, found.version) == (5, 5, 1)
    assert all(later > 1.7 * sooner for sooner, later in itertools.pairwise(pauses))
    assert "http_503" in found.last_error


def test_the_gateway_says_when_to_come_back(hosted: GatewayServer, row: Transaction) -> None:
    """Retry-After is honoured."""
    began = timezone.now()
    found = silence(hosted, row, Answer.busy("200"))

    assert found.next_attempt_at >= began + timedelta(seconds=200)


def test_an_adapter_that_falls_over_may_have_done_it(
    hosted: GatewayServer, row: Transaction, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not a failure, and no crash of the caller: the reason is in the log and on the row, the next try finds it."""
    real = HostedGateway.refund

    def fall_over(self: HostedGateway, request: RefundRequest) -> RefundUpdate:
        real(self, request)
        raise KeyError("status")

    with monkeypatch.context() as patched:
        patched.setattr(HostedGateway, "refund", fall_over)
        found = refund(row)
    error = found.last_error

    assert (found.state, error) == ("unknown", "KeyError: 'status'")
    assert "Traceback" in caplog.text
    assert come_round(found).state == "succeeded"
    assert len(hosted.refunds) == 1


def test_a_gateway_that_is_left_alone_was_not_asked(
    hosted: GatewayServer, row: Transaction, use: Callable[..., HostedGateway]
) -> None:
    """An open circuit counts as no try: neither the key's life nor the number of tries begins."""
    circuit = use(HostedGateway, circuit=True).client.circuit
    for _ in range(FAILURES):
        circuit.failed()
    began = timezone.now()
    found = refund(row)

    assert (found.state, found.attempts, found.submitted_at) == ("requested", 0, None)
    assert "circuit_open" in found.last_error
    assert began + timedelta(seconds=3) < found.next_attempt_at
    assert asked(hosted) == []
    check_books(hosted)
    circuit.answered()
    assert come_round(found).state == "succeeded"


def test_an_open_circuit_forgets_no_earlier_try(
    hosted: GatewayServer, row: Transaction, use: Callable[..., HostedGateway]
) -> None:
    """The key is as old as the first call that may have been heard."""
    found = silence(hosted, row)
    before = (found.state, found.attempts, found.submitted_at)
    circuit = use(HostedGateway, circuit=True).client.circuit
    for _ in range(FAILURES):
        circuit.failed()
    began = timezone.now()
    found = come_round(found)

    assert (found.state, found.attempts, found.submitted_at) == before
    assert found.next_attempt_at > began + timedelta(seconds=3)


# --- Told too often, or too late.


def spend(hosted: GatewayServer, row: Transaction, answer: Answer) -> Refund:
    """Every try that there is, in vain."""
    found = silence(hosted, row, answer)
    for _ in range(ours.MAX_ATTEMPTS - 1):
        hosted.script(answer)
        found = come_round(found)
    assert (found.state, found.attempts, looked(hosted)) == ("unknown", ours.MAX_ATTEMPTS, 0)
    return found


def test_what_was_told_in_vain_and_is_not_there_has_failed(hosted: GatewayServer, row: Transaction) -> None:
    """The look-up says so: the money is free again, and staff, who were told "unknown", are told."""
    found = come_round(spend(hosted, row, Answer.error(500)))

    assert (found.state, found.last_error) == ("failed", "The gateway has never got it.")
    assert (looked(hosted), attention(row), row.refunding_minor) == (1, "refund_failed", 0)
    assert refund(row).state == "succeeded"
    check_books(hosted)


def test_what_was_told_in_vain_and_is_there_is_adopted(hosted: GatewayServer, row: Transaction) -> None:
    """The gateway has stored an error of its own with our key, and the refund all the same."""
    found = come_round(spend(hosted, row, Answer.lost()))

    assert (found.state, found.gateway_reference) == ("succeeded", next(iter(hosted.refunds)))
    assert (len(asked(hosted)), len(hosted.refunds), attention(row)) == (ours.MAX_ATTEMPTS, 1, "")
    check_books(hosted)


def test_what_cannot_even_be_looked_up_waits_for_a_person(hosted: GatewayServer, row: Transaction) -> None:
    """The money stays set aside, and nothing is tried any more."""
    found = spend(hosted, row, Answer.error(500))
    hosted.script(Answer.error(503))
    found = come_round(found)

    assert (found.state, found.next_attempt_at, attention(row)) == ("unknown", None, "refund_unknown")
    assert row.events.last().note.startswith(f"refund {found.pk}: GatewayUnavailable")
    assert services.sweep()[2] == 0
    with pytest.raises(MovementInProgress):
        refund(row)
    check_books(hosted)


def test_a_gateway_without_a_look_up_ends_with_a_person_too(
    hosted: GatewayServer, row: Transaction, use: Callable[..., HostedGateway], ann: Any
) -> None:
    """Who may insist while the key lives: it is the same refund."""
    use(CannotFind)
    found = come_round(spend(hosted, row, Answer.lost()))
    given_up = (found.state, found.next_attempt_at, attention(row), found.last_error)
    found = drive_movement(Refund, found.pk, source=Source.STAFF, actor=ann)

    assert given_up == ("unknown", None, "refund_unknown", "It was told too often in vain.")
    assert (found.state, len(hosted.refunds)) == ("succeeded", 1)
    assert row.events.filter(kind="refund").last().actor == ann
    check_books(hosted)


def test_a_person_may_insist_in_vain(
    hosted: GatewayServer, row: Transaction, use: Callable[..., HostedGateway], ann: Any
) -> None:
    """Then it is tried once more by the clock, and given up again."""
    use(CannotFind)
    found = come_round(spend(hosted, row, Answer.error(500)))
    hosted.script(Answer.error(500))
    found = drive_movement(Refund, found.pk, source=Source.STAFF, actor=ann)
    insisted = (found.state, found.next_attempt_at is None)
    found = come_round(found)

    assert (insisted, found.state, found.next_attempt_at) == (("unknown", False), "unknown", None)
    check_books(hosted)


@pytest.mark.parametrize("person", [False, True])
def test_a_forgotten_key_is_not_told_blindly(
    hosted: GatewayServer, row: Transaction, use: Callable[..., HostedGateway], ann: Any, *, person: bool
) -> None:
    """Where nothing can be looked up it waits for a person, who cannot repeat it either, but may conclude it."""
    use(CannotFind)
    found = silence(hosted, row, Answer.lost())
    found = come_round(found, Gateway.key_ttl)
    if person:
        found = drive_movement(Refund, found.pk, source=Source.STAFF, actor=ann)

    assert (found.state, found.next_attempt_at, attention(row)) == ("unknown", None, "refund_unknown")
    assert found.last_error == "The gateway does not know its key any more."
    assert len(asked(hosted)) == 1
    found = services.conclude_refund(found.pk, MovementState.SUCCEEDED, reason="seen at the console", actor=ann)
    assert (found.state, attention(row), left_to_refund(row)) == ("succeeded", "", 1499)
    check_books()


def test_the_last_moment_of_a_key_is_not_used(
    hosted: GatewayServer, row: Transaction, use: Callable[..., HostedGateway]
) -> None:
    """A clock that is set right meanwhile must not make a second refund; three quarters of a key's life are used."""
    use(CannotFind)
    found = silence(hosted, row)
    hosted.script(Answer.error(503))
    found = come_round(found, Gateway.key_ttl * 3 / 4 - timedelta(minutes=5))
    told = (found.next_attempt_at is None, len(asked(hosted)))
    found = come_round(found, timedelta(minutes=5))

    assert told == (False, 2)
    assert (found.next_attempt_at, len(asked(hosted))) == (None, 2)


def test_what_is_not_there_is_told_anew_and_its_key_begins_a_new_life(hosted: GatewayServer, row: Transaction) -> None:
    """The same key: the gateway has forgotten it, and two who do so at once are still one."""
    found = silence(hosted, row)
    hosted.script(Answer(works=True), Answer.lost())
    found = come_round(found, NEVER)
    renewed = (found.state, timezone.now() - found.submitted_at < timedelta(seconds=30), looked(hosted))
    found = come_round(found)

    assert renewed == ("unknown", True, 1)
    assert (found.state, {one.key for one in asked(hosted)}) == ("succeeded", {found.gateway_key})
    assert len(hosted.refunds) == 1
    check_books(hosted)


def test_a_no_after_looking_is_a_no(hosted: GatewayServer, row: Transaction) -> None:
    """Nothing was there, and nothing will be."""
    found = silence(hosted, row)
    hosted.script(Answer(works=True), Answer.error(422))
    found = come_round(found, NEVER)

    assert (found.state, attention(row), row.refunding_minor, looked(hosted)) == ("failed", "refund_failed", 0, 1)


def test_a_no_to_the_question_is_no_answer(hosted: GatewayServer, row: Transaction) -> None:
    """It is asked again; nothing is told."""
    found = silence(hosted, row)
    hosted.script(Answer.error(403))
    found = come_round(found, NEVER)

    assert (found.state, found.next_attempt_at > timezone.now(), len(asked(hosted))) == ("unknown", True, 1)
    assert "e403" in found.last_error


def test_a_gateway_that_turns_out_to_have_no_look_up(hosted: GatewayServer, row: Transaction) -> None:
    """A 404 is not "there is none": a person looks."""
    found = silence(hosted, row)
    hosted.script(Answer.error(404))
    found = come_round(found, NEVER)

    assert (found.state, found.next_attempt_at, attention(row)) == ("unknown", None, "refund_unknown")


# --- A no.


@pytest.mark.parametrize("status", [402, 422, 401, 404])
def test_a_no_to_the_first_call_is_definite(hosted: GatewayServer, row: Transaction, status: int) -> None:
    """Declined, rejected or not offered: failed, with the gateway's code; who asked is there to read it."""
    hosted.script(Answer.error(status))
    found = refund(row)

    assert (found.state, found.attempts, found.next_attempt_at) == ("failed", 1, None)
    assert found.last_error.startswith(("GatewayDeclined", "GatewayRejected", "UnsupportedOperation"))
    assert (attention(row), row.refunding_minor, looked(hosted)) == ("", 0, 0)
    check_books(hosted)


def test_a_gateway_that_fails_it_at_once(hosted: GatewayServer, row: Transaction) -> None:
    """An answer, not an error: the reason is the gateway's, and the row has its name there."""
    hosted.next_refund = "failed"
    found = refund(row)

    assert (found.state, bool(found.gateway_reference)) == ("failed", True)
    assert found.last_error == "The gateway says that it failed."
    check_books(hosted)


def test_a_no_after_silence_is_looked_up(hosted: GatewayServer, row: Transaction) -> None:
    """Absent: failed, and staff are told, who went home with "unknown"."""
    found = silence(hosted, row)
    hosted.script(Answer.error(422))
    found = come_round(found)

    assert (found.state, looked(hosted), attention(row)) == ("failed", 1, "refund_failed")


def test_a_no_after_silence_may_be_because_it_is_done(hosted: GatewayServer, row: Transaction) -> None:
    """ "Refunded already", says a gateway that does not repeat its answers: it is ours."""
    found = silence(hosted, row, Answer.lost())
    hosted.script(Answer.error(422, "already_refunded"))
    found = come_round(found)

    assert (found.state, looked(hosted), len(hosted.refunds), attention(row)) == ("succeeded", 1, 1, "")
    check_books(hosted)


def test_a_no_after_silence_that_cannot_be_looked_up_is_a_persons(
    hosted: GatewayServer, row: Transaction, use: Callable[..., HostedGateway]
) -> None:
    """A changed password says nothing about what an earlier call has done: the money stays aside."""
    use(CannotFind)
    found = silence(hosted, row, Answer.lost())
    hosted.script(Answer.error(401))
    found = come_round(found)

    assert (found.state, found.next_attempt_at, attention(row)) == ("unknown", None, "refund_unknown")
    assert "e401" in found.last_error
    assert row.refunding_minor == 500
    check_books(hosted)


@pytest.mark.parametrize(("kind", "amount"), [(SellsForGood, None), (SellsForGood, "5.00"), (AllOrNothing, "5.00")])
def test_what_the_gateway_does_not_offer_is_said_first(
    hosted: GatewayServer,
    row: Transaction,
    use: Callable[..., HostedGateway],
    kind: type[HostedGateway],
    amount: str | None,
) -> None:
    """Nothing is written, and nobody is called."""
    use(kind)
    with pytest.raises(UnsupportedOperation):
        services.refund(row.pk, amount and Money(amount, "EUR"), reason=WHY)

    assert not Refund.objects.exists()
    assert asked(hosted) == []


def test_a_gateway_without_parts_gives_back_the_whole(
    hosted: GatewayServer, row: Transaction, use: Callable[..., HostedGateway]
) -> None:
    """And not the rest, once somebody has given back a part at the console."""
    use(AllOrNothing)
    other = pay(hosted)
    told(hosted, hosted.refund_at_the_console(other.gateway_reference, "5.00"))
    with pytest.raises(UnsupportedOperation):
        services.refund(other.pk, reason=WHY)

    assert services.refund(row.pk, reason=WHY).state == "succeeded"


def test_an_account_that_is_gone_is_said_first_and_given_up_in_the_end(
    hosted: GatewayServer, row: Transaction, settings: Any
) -> None:
    """What was on its way when the host took it out of the settings ends where staff see it."""
    found = silence(hosted, row)
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {"other": ours.GATEWAYS["hosted"]}}
    with pytest.raises(GatewayUnavailable):
        refund(row)
    for _ in range(ours.MAX_ATTEMPTS):
        found = come_round(found)

    assert (found.state, found.next_attempt_at, attention(row)) == ("unknown", None, "refund_unknown")
    assert "unknown_alias" in found.last_error
    check_books(hosted)


# --- Crashes and rivals.


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("at", ["_find_or_tell", "_land", "_keep_trying", "_give_up", "match_waiting_callbacks"])
def test_whoever_dies_leaves_what_the_sweep_finishes(
    hosted: GatewayServer,
    row: Transaction,
    use: Callable[..., HostedGateway],
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> None:
    """Before the call, after it, before a failure is written down, before it is given up, after the answer."""
    if at == "_keep_trying":
        hosted.script(Answer.lost())
    if at == "_give_up":
        use(CannotFind)
        monkeypatch.setattr(trips, "_find_or_tell", lambda trip: trips._find(trip, "it is over"))

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(trips, at, die)
        with pytest.raises(Killed):
            refund(row)
    check_books()
    found = Refund.objects.get()
    left = (found.attempts, found.next_attempt_at is not None or found.state == "succeeded")
    assert come_round(found).state == found.state  # the lease is not over
    found = come_round(found, CLAIM_LEASE)

    assert left == (1, True)
    assert found.state == ("unknown" if at == "_give_up" else "succeeded")
    assert len(hosted.refunds) == (0 if at == "_give_up" else 1)
    check_books(hosted)


def test_what_kills_whoever_tries_it_ends_with_a_person(
    hosted: GatewayServer, row: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even an answer that no process survives is asked for until the end of days."""
    found = spend(hosted, row, Answer.error(500))

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(trips, "_find_or_tell", die)
        for _ in range(trips.DEATHS + 1):
            with pytest.raises(Killed):
                come_round(found, CLAIM_LEASE)
        check_books(hosted)
        found = come_round(found, CLAIM_LEASE)

    assert (found.state, found.next_attempt_at, attention(row)) == ("unknown", None, "refund_unknown")
    assert found.last_error == "Whoever tries it dies of it."
    check_books(hosted)


def test_a_call_that_is_under_way_is_not_made_again(
    hosted: GatewayServer, row: Transaction, monkeypatch: pytest.MonkeyPatch, ann: Any
) -> None:
    """Neither by a person nor by the clock, until its lease is over; what is over or waits for somebody neither."""
    seen = []
    real = HostedGateway.refund

    def meanwhile(self: HostedGateway, request: RefundRequest) -> RefundUpdate:
        seen.append(drive_movement(Refund, Refund.objects.get().pk, source=Source.STAFF, actor=ann).state)
        return real(self, request)

    monkeypatch.setattr(HostedGateway, "refund", meanwhile)
    found = refund(row)

    assert (seen, found.state, found.attempts) == (["requested"], "succeeded", 1)
    assert drive_movement(Refund, found.pk).version == found.version


def test_two_who_try_again_at_once_are_one_try(hosted: GatewayServer, row: Transaction) -> None:
    """Clock and person, at the same instant: whoever sets out second finds that the first one has."""
    found = silence(hosted, row)
    results = together(*[lambda: drive_movement(Refund, found.pk)] * 4)

    assert not [one for one in results if isinstance(one, Exception)]
    assert len(hosted.refunds) == 1
    assert {one.key for one in asked(hosted)} == {found.gateway_key}
    check_books(hosted)


def test_many_sweeps_at_once_drive_each_once(hosted: GatewayServer) -> None:
    """A lease, as for everything that the clock does."""
    rows = [pay(hosted) for _ in range(6)]
    for row in rows:
        hosted.script(Answer.error(503))
        refund(row)
    Refund.objects.update(next_attempt_at=timezone.now())
    results = together(*[services.sweep] * 4)

    assert sum(count for _, _, count in results) == 6
    assert (len(asked(hosted)), Refund.objects.filter(state="succeeded").count()) == (12, 6)
    check_books(hosted)


def test_one_that_cannot_be_driven_keeps_nobody_waiting(
    hosted: GatewayServer, row: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep goes on with the next one, and tick counts both."""
    first, second = silence(hosted, row), silence(hosted, pay(hosted))
    Refund.objects.update(next_attempt_at=timezone.now())
    real = trips.apply_movement

    def refuse(kind: Any, pk: Any, *args: Any, **details: Any) -> Any:
        return 1 / 0 if pk == first.pk else real(kind, pk, *args, **details)

    monkeypatch.setattr(trips, "apply_movement", refuse)
    done = services.tick()

    first.refresh_from_db()
    second.refresh_from_db()
    assert (done.movements, first.state, second.state) == (2, "unknown", "succeeded")
    assert first.next_attempt_at > timezone.now()


def test_no_call_is_made_inside_a_transaction(hosted: GatewayServer, row: Transaction) -> None:
    """Asked for, told again, asked about, heard of."""
    hosted.next_refund = "submitted"
    with Watch() as watch:
        found = come_round(silence(hosted, row, Answer.lost()))
        found = come_round(found)
        hosted.set_refund(found.gateway_reference, "succeeded")
        told(hosted, found.gateway_reference)

    assert watch.calls["http"] >= 3
    assert Refund.objects.get().state == "succeeded"


def test_a_hook_inside_its_transaction_cannot_refund(hosted: GatewayServer, settings: Any) -> None:
    """Its commit is not its own: it is told so, and the gateway hears nothing."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "ORDERS": f"{__name__}.{HookThatRefunds.__name__}"}
    assert issubclass(HookThatRefunds, OrderHandler)
    pay(hosted)

    assert "RuntimeError" in Fulfilment.objects.get().last_error
    assert (Refund.objects.count(), asked(hosted)) == (0, [])


def test_done_there_and_failed_here_is_kept_and_told(
    hosted: GatewayServer, row: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rival took it for failed while the answer was on its way: the money counts as gone, and a person looks."""
    real = HostedGateway.refund

    def too_late(self: HostedGateway, request: RefundRequest) -> RefundUpdate:
        answer = real(self, request)
        apply_movement(Refund, Refund.objects.get().pk, MovementState.FAILED, source=Source.POLL)
        return answer

    monkeypatch.setattr(HostedGateway, "refund", too_late)
    found = refund(row)

    assert (found.state, attention(row)) == ("failed", "refund_unknown")
    assert Refund.objects.get(foreign=True).gateway_reference == next(iter(hosted.refunds))
    assert (row.refund_status, left_to_refund(row)) == ("partial", 1499)
    check_books(hosted)


def test_what_ended_meanwhile_is_not_given_up(
    hosted: GatewayServer, row: Transaction, use: Callable[..., HostedGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callback was faster than the one who found that nobody can tell: no flag."""
    use(CannotFind)
    found = silence(hosted, row, Answer.lost())
    real = trips._find

    def meanwhile(trip: Any, why: str) -> Any:
        told(hosted, next(iter(hosted.refunds)))
        return real(trip, why)

    monkeypatch.setattr(trips, "_find", meanwhile)
    found = come_round(found, NEVER)

    assert (found.state, attention(row)) == ("succeeded", "")
    check_books(hosted)


def test_a_capture_that_is_done_there_and_failed_here_is_told() -> None:
    """It has no name there, and the payment's total has its money: there is nothing to keep but the flag."""
    answer = Answered(state=MovementState.SUCCEEDED, reference="ca_1")

    assert ERRANDS[Capture].contradict(Capture(), answer) == {"capture_failed"}


# --- Taken, and then?


@pytest.fixture
def submitted(hosted: GatewayServer, row: Transaction) -> Refund:
    """The gateway has taken it."""
    hosted.next_refund = "submitted"
    found = refund(row)
    assert (found.state, found.attempts) == ("submitted", 0)
    return found


def test_what_was_taken_is_asked_about_ever_more_rarely(hosted: GatewayServer, submitted: Refund) -> None:
    """After five minutes, ten, twenty; then it is done."""
    pauses = [(submitted.next_attempt_at - timezone.now()).total_seconds()]
    with time_machine.travel(timezone.now(), tick=False):
        for _ in range(2):
            submitted = come_round(submitted)
            pauses.append((submitted.next_attempt_at - timezone.now()).total_seconds())
        submitted = come_round(submitted)
    hosted.set_refund(submitted.gateway_reference, "succeeded")
    submitted = come_round(submitted)

    assert (submitted.state, submitted.next_attempt_at, submitted.version) == ("succeeded", None, 2)
    assert 290 < pauses[0] <= 330
    assert all(later > 1.7 * sooner for sooner, later in itertools.pairwise(pauses))
    check_books(hosted)


def test_what_fails_when_it_is_asked_about_is_told_to_staff(
    hosted: GatewayServer, row: Transaction, submitted: Refund
) -> None:
    """As by a callback."""
    hosted.set_refund(submitted.gateway_reference, "failed", "account_closed")
    submitted = come_round(submitted)

    assert (submitted.state, submitted.last_error, attention(row)) == ("failed", "account_closed", "refund_failed")
    check_books(hosted)


@pytest.mark.parametrize("answer", [Answer.error(503), Answer.error(404), Answer.error(422)])
def test_a_question_without_an_answer_changes_nothing(
    hosted: GatewayServer, row: Transaction, submitted: Refund, answer: Answer
) -> None:
    """Silence, "I do not know it" and "you may not ask" are no failure of the refund."""
    hosted.script(answer)
    submitted = come_round(submitted)

    assert (submitted.state, submitted.attempts, attention(row)) == ("submitted", 1, "")
    assert submitted.last_error
    assert submitted.next_attempt_at > timezone.now() + timedelta(minutes=9)
    assert come_round(submitted).last_error == ""


def test_an_open_circuit_is_no_question(
    hosted: GatewayServer, submitted: Refund, use: Callable[..., HostedGateway]
) -> None:
    """The pace stays."""
    circuit = use(HostedGateway, circuit=True).client.circuit
    for _ in range(FAILURES):
        circuit.failed()
    submitted = come_round(submitted)

    assert (submitted.attempts, submitted.state) == (0, "submitted")


def test_a_gateway_that_cannot_be_asked_has_thirty_days_to_tell(
    hosted: GatewayServer, row: Transaction, submitted: Refund, use: Callable[..., HostedGateway]
) -> None:
    """Nobody asks in vain; then it is flagged, and the callback still counts."""
    use(CannotBeAsked)
    submitted = come_round(submitted)
    waits = (submitted.next_attempt_at - submitted.submitted_at, attention(row))
    submitted = come_round(submitted, timedelta(days=31))
    flagged = (submitted.state, submitted.next_attempt_at, attention(row))
    hosted.set_refund(submitted.gateway_reference, "succeeded")
    told(hosted, submitted.gateway_reference)

    submitted.refresh_from_db()
    assert (waits, flagged) == ((timedelta(days=30), ""), ("submitted", None, "refund_unknown"))
    assert submitted.state == "succeeded"
    check_books(hosted)


def test_another_amount_than_ours_is_told_to_staff(hosted: GatewayServer, row: Transaction, submitted: Refund) -> None:
    """Our row says what was asked for."""
    hosted.refunds[submitted.gateway_reference].update(status="succeeded", amount="6.00")
    submitted = come_round(submitted)

    assert (submitted.state, submitted.amount_minor, attention(row)) == ("succeeded", 500, "mismatch")


# --- News by callback.


def calls_back_first(monkeypatch: pytest.MonkeyPatch, hosted: GatewayServer) -> list[Callback]:
    """The gateway's callback overtakes its own answer."""
    sent, real = [], HostedGateway.refund

    def overtaken(self: HostedGateway, request: RefundRequest) -> RefundUpdate:
        answer = real(self, request)
        sent.append(told(hosted, answer.refund_reference))
        return replace(answer, state=RefundState.SUBMITTED)

    monkeypatch.setattr(HostedGateway, "refund", overtaken)
    return sent


def test_a_callback_before_our_own_answer_is_about_the_same_row(
    hosted: GatewayServer, row: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names our id: heard at once, and the slower answer lowers nothing."""
    sent = calls_back_first(monkeypatch, hosted)
    found = refund(row)

    assert (found.state, Refund.objects.count(), sent[0].state) == ("succeeded", 1, "processed")
    check_books(hosted)


def test_a_callback_that_does_not_name_our_id_waits_for_the_answer(
    hosted: GatewayServer, row: Transaction, use: Callable[..., HostedGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could be a refund made at the console; as soon as ours has a name, it is heard and linked."""
    use(EchoesNothing)
    [early] = [calls_back_first(monkeypatch, hosted)]
    found = refund(row)

    assert (early[0].state, early[0].next_attempt_at is not None) == ("unmatched", True)
    callback = Callback.objects.get()
    assert (found.state, Refund.objects.count()) == ("succeeded", 1)
    assert (callback.state, callback.transaction) == ("processed", row)
    assert row.events.filter(kind="refund", callback=callback).get().reason == "succeeded"
    check_books(hosted)


def test_news_that_waited_is_heard_when_the_refund_is_found(
    hosted: GatewayServer, row: Transaction, use: Callable[..., HostedGateway]
) -> None:
    """Its answer was lost, and its callback came first."""
    use(EchoesNothing)
    found = silence(hosted, row, Answer.lost())
    hosted.set_refund(next(iter(hosted.refunds)), "failed", "account_closed")
    waits = told(hosted, next(iter(hosted.refunds))).state
    found = come_round(found)

    assert (waits, Callback.objects.get().state) == ("unmatched", "processed")
    assert (found.state, attention(row), Refund.objects.count()) == ("failed", "refund_failed", 1)
    check_books(hosted)


def test_the_message_and_what_it_does_are_one_commit(
    hosted: GatewayServer, row: Transaction, submitted: Refund, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead in between: neither the refund nor the flag nor the inbox knows of it, and all do after the next try."""
    hosted.set_refund(submitted.gateway_reference, "failed")
    with monkeypatch.context() as patched:
        patched.setattr("django_gatewaypay.services.callbacks.apply_update", lambda *_, **__: 1 / 0)
        callback = told(hosted, submitted.gateway_reference)
    submitted.refresh_from_db()
    before = (callback.state, submitted.state, attention(row))
    services.process_callback(callback.pk)

    submitted.refresh_from_db()
    assert before == ("received", "submitted", "")
    assert (Callback.objects.get().state, submitted.state, attention(row)) == ("processed", "failed", "refund_failed")
    check_books(hosted)


def test_what_nobody_has_signed_is_a_hint(
    hosted: GatewayServer, row: Transaction, submitted: Refund, use: Callable[..., HostedGateway]
) -> None:
    """It moves no refund and makes no row; it only lets us ask sooner."""
    use(SignsNothing)
    told(hosted, submitted.gateway_reference, refund_status="failed")
    forged = hosted.refund_at_the_console(row.gateway_reference, "1.00")
    told(hosted, forged)
    submitted.refresh_from_db()
    hinted = (submitted.state, Refund.objects.count(), submitted.next_attempt_at <= timezone.now(), attention(row))
    hosted.set_refund(submitted.gateway_reference, "succeeded")
    services.sweep()

    submitted.refresh_from_db()
    assert hinted == ("submitted", 1, True, "")
    assert submitted.state == "succeeded"


def test_an_inbox_of_an_older_version_is_read() -> None:
    """A refund had three fields then."""
    update = load_update({"refund": ["re_1", "succeeded", ["5.00", "EUR"]]})

    assert update.refund == RefundUpdate(
        refund_reference="re_1", state=RefundState.SUCCEEDED, amount=Money("5.00", "EUR")
    )


# --- By whom.


def test_the_hosts_own_code_is_nobody_of_the_staff(hosted: GatewayServer, row: Transaction, ann: Any) -> None:
    """Each line says whose word it was."""
    refund(row)
    refund(row, actor=ann)
    refund(row, source=Source.POLL)
    sources = list(row.events.filter(kind="refund").order_by("pk").values_list("source", "actor"))

    assert sources == [("system", None)] * 2 + [("staff", ann.pk)] * 2 + [("poll", None)] * 2
    check_books(hosted)


def test_only_what_was_given_up_is_concluded_and_with_a_reason(
    hosted: GatewayServer, row: Transaction, ann: Any
) -> None:
    """As long as the gateway is asked, nobody overrules it."""
    found = silence(hosted, row)
    with pytest.raises(InvalidTransition):
        services.conclude_refund(found.pk, MovementState.FAILED, reason="no patience", actor=ann)
    with pytest.raises(ReasonMissing):
        services.conclude_refund(found.pk, MovementState.FAILED, reason=" ", actor=ann)

    assert Refund.objects.get().state == "unknown"
