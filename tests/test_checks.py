"""What would go wrong later is said at start, by a number that can be looked up."""

from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from django.core.checks import Error, Warning, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from django_gatewaypay import checks
from django_gatewaypay.gateways.hosted import HostedGateway
from tests.shop import ShopOrders

HOSTED = {"BACKEND": "django_gatewaypay.gateways.hosted.HostedGateway"}
GOOD = {"api_base": "https://pay.example/", "webhook_secrets": ["whsec_QUJDRA=="]}


class NoHandler:
    """Not an OrderHandler."""


class HalfHandler(ShopOrders):
    """An OrderHandler that cannot be made."""

    def __init__(self) -> None:
        raise TypeError("no arguments, please")


class SellsAtOnce(HostedGateway):
    """A gateway that reserves nothing."""

    supports_capture = False


def all_ids() -> list[str]:
    found = [*checks.check_settings(), *checks.check_gateways(), *checks.check_deployment()]
    return [str(message.id).removeprefix("gatewaypay.") for message in found]


def gateway(**options: Any) -> dict[str, Any]:
    return {"GATEWAYS": {"card": HOSTED | {"OPTIONS": GOOD | options}}}


def captured(word: Any, **fields: Any) -> dict[str, Any]:
    return {"GATEWAYS": {"card": {**HOSTED, "OPTIONS": GOOD, "CAPTURE": word, **fields}}}


@pytest.mark.parametrize(
    "change",
    [captured("manual"), captured("auto"), {"REFUND_APPROVAL_ABOVE": {"EUR": "500.00", "JPY": "0"}}],
    ids=["manual", "auto", "limits"],
)
def test_a_right_word_is_silent(settings: Any, change: dict[str, Any]) -> None:
    """What the settings' page shows."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | change

    assert all_ids() == []


@pytest.mark.django_db
def test_a_valid_configuration_is_silent() -> None:
    """The suite's own settings have nothing to complain about, in the ordinary checks and at deployment."""
    assert all_ids() == []
    assert not [message for message in run_checks() if str(message.id).startswith("gatewaypay")]


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("E010", {"STAFF_EMAILS": "ann@shop.example"}),
    ("E010", {"STAFF_EMAILS": ["Ann"]}),
    ("E010", {"STAFF_EMAILS": None}),
    ("E011", {"REFUND_APPROVAL_ABOVE": "500.00"}),
    ("E011", {"REFUND_APPROVAL_ABOVE": {"EUR": 500}}),
    ("E011", {"REFUND_APPROVAL_ABOVE": {"EUR": "5e2"}}),
    ("E011", {"REFUND_APPROVAL_ABOVE": {"EUR": "-1"}}),
    ("E011", {"REFUND_APPROVAL_ABOVE": {"EUR": "0.001"}}),
    ("E011", {"REFUND_APPROVAL_ABOVE": {"XXQ": "500.00"}}),
    ("E007", {"KEEP_PAYLOADS": 400}),
    ("E002", {"EXPIRE": 5}),
    ("E002", {"expire_after": timedelta(1)}),
    ("E003", {"ORDERS": ""}),
    ("E003", {"ORDERS": None}),
    ("E003", {"ORDERS": 5}),
    ("E003", {"ORDERS": "nowhere.Orders"}),
    ("E003", {"ORDERS": "tests.shop.Nobody"}),
    ("E003", {"ORDERS": f"{__name__}.NoHandler"}),
    ("E003", {"ORDERS": f"{__name__}.HalfHandler"}),
    ("E003", {"ORDERS": "django_gatewaypay.orders.OrderHandler"}),
    ("E004", {"BASE_URL": ""}),
    ("E004", {"BASE_URL": None}),
    ("E004", {"BASE_URL": "shop.example"}),
    ("E004", {"BASE_URL": "ftp://shop.example"}),
    ("E004", {"BASE_URL": "https://"}),
    ("E004", {"BASE_URL": "https://shop.example/shop"}),
    ("E004", {"BASE_URL": "https://[shop"}),
    ("E004", {"BASE_URL": "http://shop.example"}),
    ("E005", {"LATE_PAYMENT": "keep"}),
    ("E005", {"LATE_PAYMENT": None}),
    ("E006", {"DEFAULT_GATEWAY": "nowhere"}),
    ("E007", {"EXPIRE_AFTER": 30}),
    ("E007", {"POLL_AFTER": timedelta(0)}),
    ("E007", {"WATCH_AFTER_EXPIRY": timedelta(hours=-1)}),
    ("E007", {"EXPIRE_AFTER": None}),
    ("E008", {"GATEWAYS": {}}),
    ("E008", {"GATEWAYS": ["card"]}),
    ("E008", {"GATEWAYS": None}),
    ("E009", {"GATEWAYS": {"card": None}}),
    ("E009", {"GATEWAYS": {"card": {}}}),
    ("E009", {"GATEWAYS": {"card": {"BACKEND": "nowhere.Gateway"}}}),
    ("E009", {"GATEWAYS": {"card": {"BACKEND": 5}}}),
    ("E009", {"GATEWAYS": {"card": HOSTED}}),
    ("E009", gateway(nonsense=1)),
    ("E009", gateway(webhook_secrets=[])),
    ("E009", gateway(webhook_secrets=[""])),
    ("E009", gateway(webhook_secrets="whsec_QUJDRA==")),
    ("E009", gateway(webhook_secrets=["whsec_"])),
    ("E009", gateway(webhook_secrets=lambda: [])),
    ("E009", gateway(api_base="http://pay.example/")),
    ("E009", gateway(api_base="")),
    ("E012", captured("later")),
    ("E012", captured(True)),
    ("E012", captured("manual", BACKEND=f"{__name__}.SellsAtOnce")),
]


@pytest.mark.parametrize(("number", "change"), WRONG, ids=[f"{number}-{i}" for i, (number, _) in enumerate(WRONG)])
def test_a_mistake_has_its_number(settings: Any, number: str, change: dict[str, Any]) -> None:
    """One mistake is one message, an error, and no crash."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | change

    assert all_ids() == [number]


@pytest.mark.parametrize("given", [None, [], "x", 5])
def test_a_host_without_the_dict_is_told_first(settings: Any, given: Any) -> None:
    """E001, and that there are no gateways."""
    settings.GATEWAYPAY = given

    assert all_ids() == ["E001", "E008"]


def test_a_host_that_forgot_the_dict_is_told(settings: Any) -> None:
    """The app is installed and nothing else was done."""
    del settings.GATEWAYPAY

    assert all_ids() == ["E001", "E008"]


@pytest.mark.parametrize(
    "base", ["https://shop.example", "https://shop.example/", "https://shop.example:8443", "http://127.0.0.1:8000"]
)
def test_a_public_origin_is_https_or_loopback(settings: Any, base: str) -> None:
    """With a port or a last slash, it is the same origin."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"BASE_URL": base}

    assert all_ids() == []


def test_a_developer_may_use_plain_http(settings: Any) -> None:
    """With DEBUG on, and only then."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"BASE_URL": "http://shop.test"}
    strict = all_ids()
    settings.DEBUG = True

    assert (strict, all_ids()) == (["E004"], [])


def test_several_mistakes_are_all_said(settings: Any) -> None:
    """Nobody mends one, only to meet the next."""
    settings.GATEWAYPAY = {"A": 1, "B": 2, "EXPIRE_AFTER": 0, "LATE_PAYMENT": "", "GATEWAYS": {"a": {}, "b": {}}}

    assert all_ids() == ["E002", "E002", "E003", "E004", "E005", "E007", "E009", "E009"]


@pytest.mark.parametrize(
    ("number", "layers"),
    [
        ("W001", {}),
        ("W001", {"other": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}}),
        ("W002", {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}),
    ],
)
def test_a_channel_layer_that_reaches_nobody_is_a_warning(settings: Any, number: str, layers: dict[str, Any]) -> None:
    """Pages still work, by polling."""
    settings.CHANNEL_LAYERS = layers

    assert all_ids() == [number]


@pytest.mark.parametrize(
    ("options", "ids"),
    [({}, ["W003"]), ({"transaction_mode": "DEFERRED"}, ["W003"]), ({"transaction_mode": "IMMEDIATE"}, [])],
)
def test_sqlite_that_would_lock_up_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, str], ids: list[str]
) -> None:
    """Writers that begin without a lock fail under load."""
    from django.db.utils import ConnectionHandler

    ours = ConnectionHandler(
        {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": options}}
    )
    monkeypatch.setattr(checks, "connections", ours)

    assert all_ids() == ids


@pytest.mark.parametrize(("broker", "ids"), [(None, ["W004"]), ("redis://127.0.0.1:9/0", [])])
def test_celery_without_a_broker_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, settings: Any, broker: str | None, ids: list[str]
) -> None:
    """A web process that never imported the host's app would send its work nowhere."""
    monkeypatch.setattr("celery.current_app", Celery(broker=broker, set_as_current=False))
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"USE_CELERY": True}

    assert all_ids() == ids


@pytest.mark.django_db
def test_errors_stop_a_start_and_warnings_come_with_deploy(settings: Any) -> None:
    """The levels are what Django acts on."""
    settings.GATEWAYPAY = {}
    settings.CHANNEL_LAYERS = {}
    errors = [*checks.check_settings(), *checks.check_gateways()]

    assert {type(message) for message in errors} == {Error}
    assert {type(message) for message in checks.check_deployment()} == {Warning}
    assert all(message.hint for message in checks.check_deployment())
    with pytest.raises(SystemCheckError, match=r"gatewaypay\.E008"):
        call_command("check")


def test_no_message_tells_a_secret(settings: Any) -> None:
    """What is wrong about a secret is said without repeating it."""
    for secret in ("whsec_ ca nary", "whsec_ca-nary", "canary!"):
        settings.GATEWAYPAY = settings.GATEWAYPAY | gateway(webhook_secrets=[secret], api_key="canary")
        [message] = checks.check_gateways()
        assert "nary" not in f"{message.msg} {message.hint}"
