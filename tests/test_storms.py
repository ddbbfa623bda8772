"""The storms at a small size, and that each of them sees what it is there to see."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.http import HttpResponse

from django_gatewaypay import serializers, services
from django_gatewaypay.exceptions import InvalidSignature
from django_gatewaypay.gateways import signing
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.models import Callback
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import CallbackRequest
from django_gatewaypay.views import callbacks
from tests.journeys.conftest import server_url as server_url  # the same server, for this module too
from tests.proof import storms_copies, storms_mutated, storms_schema
from tests.proof.storms import Storms
from tests.proof.storms_bends import UNREADABLE_LENGTHS
from tests.proof.storms_genuine import GENUINE
from tests.proof.storms_mutated import Door, is_deliverable
from tests.proof.storms_site import Address, configured

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover]

Patch = pytest.MonkeyPatch
SEED = 20_261_122


def quiet(share: float) -> None:
    assert 0 <= share <= 1


@pytest.fixture
def address(server_url: str, transactional_db: None) -> Address:
    parts = urlsplit(server_url)
    return parts.hostname, parts.port  # type: ignore[return-value]


@pytest.fixture
def mutated_site() -> Iterator[None]:
    with storms_mutated.site():
        yield


@pytest.fixture
def api(settings: Any) -> Iterator[None]:
    with GatewayServer() as gateway:
        gateways = copy.deepcopy(settings.GATEWAYPAY["GATEWAYS"])
        gateways["hosted"]["OPTIONS"]["api_base"] = gateway.url
        with configured(GATEWAYS=gateways):
            yield


# --- Many copies of one event.


def test_twenty_events_fifty_times_each_have_twenty_effects(address: Address) -> None:
    """A thousand requests over fifty connections: every answer is 200, and every event counts once."""
    told = storms_copies.copies([address], 20, 50, 50, quiet)

    assert told["wrong"] == []
    assert (told["sent"], told["effects"], told["inbox"]) == (1000, 20, 20)


def test_an_inbox_that_knows_no_duplicates_is_seen(address: Address, monkeypatch: Patch) -> None:
    """Every copy would be an event of its own."""
    numbers = iter(range(10**6))
    parse = HostedGateway.parse_callback

    def forget(self: HostedGateway, request: CallbackRequest) -> Any:
        body = json.loads(request.body) | {"event_id": f"evt_{next(numbers)}"}
        return parse(self, CallbackRequest(request.headers, json.dumps(body).encode()))

    monkeypatch.setattr(HostedGateway, "parse_callback", forget)
    told = storms_copies.copies([address], 2, 10, 10, quiet)

    assert "20 inbox rows for 2 events" in told["wrong"]


def test_a_copy_that_is_not_acknowledged_is_seen(address: Address, monkeypatch: Patch) -> None:
    """A redelivery that is refused would be sent for days."""
    receive = services.keep_callback

    def refuse_copies(alias: str, request: CallbackRequest) -> Any:
        stored = receive(alias, request)
        if not stored:
            raise InvalidSignature
        return stored

    monkeypatch.setattr(services, "keep_callback", refuse_copies)
    told = storms_copies.copies([address], 1, 10, 10, quiet)

    assert told["wrong"] == ["9 answers were 400"]


# --- Floods of forgeries.


def test_good_callbacks_are_served_while_forgeries_rain(address: Address) -> None:
    """Every forgery is refused, every good one kept, and nothing else is written."""
    told = storms_copies.flood([address], 2, quiet)

    assert told["wrong"] == []
    assert told["forged"] > told["good"] > 0


def test_a_forgery_that_is_taken_is_seen(address: Address, monkeypatch: Patch) -> None:
    """By its answer, and by what it writes."""
    monkeypatch.setattr(HostedGateway, "verify_callback", lambda self, request: None)
    told = storms_copies.flood([address], 1, quiet)

    assert any("forgeries were answered (200" in one for one in told["wrong"])
    assert any("moved by a forgery" in one for one in told["wrong"])


# --- Spoiled callbacks.


def test_spoiled_callbacks_write_nothing_and_break_nothing(mutated_site: None) -> None:
    """Fifteen hundred of six gateways, drawn by a seed; what is left whole is taken, so the door is open."""
    told = storms_mutated.mutated(SEED, 1500, quiet)

    assert told["wrong"] == []
    assert set(told["answers"]) <= {"400", "404", "405", "413", "415"}
    assert set(told["kept"].values()) == {200}


@pytest.mark.checker
def test_a_message_is_drawn_by_its_number_alone(mutated_site: None) -> None:
    """That is how one is replayed."""
    drawn = [storms_mutated.make(SEED, number) for number in (7, 8, 7)]

    assert drawn[0].path == drawn[2].path
    assert [name for name, _ in drawn[0].headers] == [name for name, _ in drawn[2].headers]
    assert len(drawn[0].body) == len(drawn[2].body)


@pytest.mark.checker
@pytest.mark.parametrize("alias", GENUINE)
def test_the_second_opinion_knows_a_genuine_message(mutated_site: None, alias: str) -> None:
    """One that took everything for a forgery would hide those that are accepted."""
    message = GENUINE[alias].message(1)

    assert is_deliverable(message)
    assert Door().send(message)[0] == 200


def ignore_the_tail(patch: Patch) -> None:
    verify = HostedGateway.verify_callback

    def lenient(self: HostedGateway, request: CallbackRequest) -> None:
        end = request.body.rfind(b"}") + 1
        verify(self, CallbackRequest(request.headers, request.body[:end]))

    patch.setattr(HostedGateway, "verify_callback", lenient)
    patch.setattr(HostedGateway, "read_json", staticmethod(lambda body: json.loads(body[: body.rfind(b"}") + 1])))


def trust_any_time(patch: Patch) -> None:
    patch.setattr(signing, "check_age", lambda *_: None)


def break_on_nul(patch: Patch) -> None:
    receive = services.keep_callback

    def fragile(alias: str, request: CallbackRequest) -> Any:
        if any("\x00" in value for value in request.headers.values()):
            raise LookupError
        return receive(alias, request)

    patch.setattr(services, "keep_callback", fragile)


def tell_why(patch: Patch) -> None:
    patch.setattr(callbacks, "_refuse", lambda status, alias, why: HttpResponse(why, status=status))


def keep_before_proof(patch: Patch) -> None:
    receive = services.keep_callback

    def eager(alias: str, request: CallbackRequest) -> Any:
        try:
            return receive(alias, request)
        except InvalidSignature:
            Callback.objects.filter(gateway=alias).delete()
            _keep_some_row(alias)
            raise

    patch.setattr(services, "keep_callback", eager)


def _keep_some_row(alias: str) -> None:
    from django.utils import timezone

    now = timezone.now()
    Callback(gateway=alias, event_id=f"e{now.timestamp()}", update={}, body_sha256="", received_at=now).save()


@pytest.mark.checker
@pytest.mark.parametrize(
    ("defect", "seen"),
    [
        (ignore_the_tail, "answered 200"),
        (trust_any_time, "answered 200"),
        (break_on_nul, "answered 500"),
        (tell_why, "with b'bad signature'"),
        (keep_before_proof, "written"),
    ],
)
def test_a_defect_of_the_door_is_seen(
    mutated_site: None, monkeypatch: Patch, defect: Callable[[Patch], None], seen: str
) -> None:
    """Within a few hundred messages, by its number."""
    defect(monkeypatch)
    told = storms_mutated.mutated(SEED, 600, quiet)

    assert any(seen in what for _, what in told["wrong"])


@pytest.mark.parametrize("length", UNREADABLE_LENGTHS, ids=["superscript", "two", "long"])
def test_a_length_that_is_no_number_breaks_nothing(mutated_site: None, length: str) -> None:
    """A server may hand on whatever it was sent as Content-Length."""
    message = GENUINE["hosted"].message(1)
    status, _ = Door().send(type(message)(message.headers, message.body, message.path, length=length))

    assert 400 <= status < 500


# --- Requests from the description.


def test_requests_drawn_from_the_description_are_answered_as_described(api: None) -> None:
    """Five hundred, good and bad, by owners and by nobody; never a 500, never another body."""
    told = storms_schema.schema_driven(SEED, 500, quiet)

    assert told["wrong"] == []
    assert told["sent"] >= 500
    assert {"200", "201", "400", "404", "422"} <= set(told["answers"])


@pytest.mark.checker
def test_a_view_that_breaks_and_an_answer_that_is_not_described_are_seen(api: None, monkeypatch: Patch) -> None:
    """As an answer of 500, and as a field that went missing; drawing is dear, so one storm finds both."""
    whole = serializers.public_status

    def fragile(self: Any, data: Any) -> Any:
        if "\x00" in str(data.get("order_id", "")) + "".join(map(str, data)):
            raise LookupError
        return data

    monkeypatch.setattr(serializers.InitiateSerializer, "validate", fragile)
    monkeypatch.setattr(serializers.strict, "printable", lambda name: 1 / 0 if "\x00" in str(name) else str(name))
    monkeypatch.setattr(
        "django_gatewaypay.views.api.public_status",
        lambda row: {name: value for name, value in whole(row).items() if name != "version"},
    )
    told = storms_schema.schema_driven(SEED, 500, quiet)

    assert any("ServerError" in one for one in told["wrong"])
    assert any("version" in one for one in told["wrong"])


# --- The report.


COPIES = {"kind": "copies", "events": 20, "sent": 2000, "effects": 19, "inbox": 20, "a second": 1, "p99 ms": 1}
FLOOD = {"kind": "flood", "forged": 1, "forged a second": 1, "good": 1, "good p99 ms": 1000}
SLOW = "p99 of good callbacks meanwhile, ms"


def red(*, quick: bool) -> set[str]:
    """The figures that are not met."""
    figures = Storms().figures([{**one, "wrong": 0} for one in (COPIES, FLOOD)], quick=quick)
    return {figure.name for figure in figures if not figure.met}


def test_a_missing_effect_and_a_slow_answer_turn_their_figures_red() -> None:
    """Nothing is met by default."""
    assert {"effects", SLOW, "spoiled callbacks", "schema-driven requests"} <= red(quick=False)


def test_before_a_merge_slowness_is_told_and_not_judged() -> None:
    """Other work on the machine is no mistake of the code; a missing effect is one on any machine."""
    assert SLOW not in red(quick=True)
    assert "effects" in red(quick=True)


def test_a_violation_names_the_command_that_replays_it(monkeypatch: Patch) -> None:
    """With the seed, and the number of the message."""
    wrong = [(17, "answered 200")]
    monkeypatch.setattr("tests.proof.storms.RUNS", {"mutated": lambda *_: {"wrong": wrong}})
    told = Storms().run({"kind": "mutated", "seed": 3, "count": 9, "db": "sqlite"}, quiet)

    assert told["violations"] == [
        {
            "what": "message 17: answered 200",
            "replay": """echo '{"kind": "mutated", "seed": 3, "count": 1, "db": "sqlite", "first": 17}' """
            "| python -m tests.proof.chunk storms replay.json",
        }
    ]


@pytest.mark.parametrize(("quick", "sizes"), [(False, (1000, 100_000, 50_000, 60)), (True, (20, 3_000, 500, 5))])
def test_the_pieces_come_to_the_size(quick: bool, sizes: tuple[int, ...]) -> None:
    """A thousand events, a hundred thousand spoiled callbacks, fifty thousand requests."""
    chunks = Storms().chunks(quick=quick)
    counted = [
        sum(one["count"] for one in chunks if one["kind"] == kind) for kind in ("copies", "mutated", "schema", "flood")
    ]

    assert tuple(counted) == sizes
