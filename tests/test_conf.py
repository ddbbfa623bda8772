"""The one settings dict is read live, and every default is documented by a type."""

from datetime import timedelta
from typing import Any, get_type_hints

import pytest

from django_gatewaypay.conf import GatewayPaySettings, settings

DEFAULTS = {
    "DEFAULT_GATEWAY": "",
    "EXPIRE_AFTER": timedelta(minutes=30),
    "POLL_AFTER": timedelta(minutes=15),
    "WATCH_AFTER_EXPIRY": timedelta(hours=72),
    "LATE_PAYMENT": "review",
    "RETURN_ORIGINS": [],
    "ALLOW_SANDBOX": False,
}


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_a_setting_that_is_not_given_has_its_default(settings: Any, name: str, value: object) -> None:
    """The documented defaults hold when the host says nothing."""
    settings.GATEWAYPAY = {}

    assert getattr(GatewayPaySettings(), name) == value


def test_everything_has_a_default_when_the_dict_is_missing(settings: Any) -> None:
    """A project that has the app installed and no settings yet still starts."""
    del settings.GATEWAYPAY

    assert GatewayPaySettings().GATEWAYS == {}
    assert GatewayPaySettings().default_gateway() == ""


def test_a_setting_is_read_live(settings: Any) -> None:
    """A value changed after the import counts at once."""
    ours = GatewayPaySettings()
    settings.GATEWAYPAY = {"EXPIRE_AFTER": timedelta(minutes=5)}
    first = ours.EXPIRE_AFTER
    settings.GATEWAYPAY = {"EXPIRE_AFTER": timedelta(minutes=6)}

    assert (first, ours.EXPIRE_AFTER) == (timedelta(minutes=5), timedelta(minutes=6))


def test_a_setting_that_does_not_exist_cannot_be_read(settings: Any) -> None:
    """A typo in our own code is an error, not None."""
    settings.GATEWAYPAY = {}

    with pytest.raises(AttributeError):
        _ = GatewayPaySettings().EXPIRES_AFTER  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "alias"),
    [
        ({}, ""),
        ({"GATEWAYS": {"card": {}, "bank": {}}}, "card"),
        ({"GATEWAYS": {"card": {}, "bank": {}}, "DEFAULT_GATEWAY": "bank"}, "bank"),
    ],
)
def test_the_default_gateway_is_the_named_or_the_first_one(settings: Any, given: dict[str, Any], alias: str) -> None:
    """A host with one gateway need not name it."""
    settings.GATEWAYPAY = given

    assert GatewayPaySettings().default_gateway() == alias


def test_every_setting_has_a_type() -> None:
    """The class is the reference: a default without an annotation is not documented."""
    assert settings.names() == {name for name in get_type_hints(GatewayPaySettings) if name.isupper()}
    assert settings.names() >= DEFAULTS.keys() | {"ORDERS", "BASE_URL", "GATEWAYS"}


def test_no_setting_weakens_verification() -> None:
    """There is nothing to switch off."""
    suspicious = ("VERIFY", "SECURE", "INSECURE", "SKIP", "TOLERANCE", "UNSAFE", "SIGNATURE")

    assert not [name for name in settings.names() if any(word in name for word in suspicious)]
