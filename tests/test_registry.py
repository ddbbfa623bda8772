"""`gateways["alias"]` is one shared adapter per process, made when it is needed."""

import os
import threading
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_gatewaypay.exceptions import GatewayPayError, UnknownGateway
from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.registry import gateways

HOSTED = "django_gatewaypay.gateways.hosted.HostedGateway"
SECRETS = ["whsec_c2VjcmV0IG9mIGEgdGVzdCwgMzIgYnl0ZXMgbG9uZw=="]
BASE = "https://a.example"


@pytest.fixture
def configure(settings: Any) -> Any:
    """Set GATEWAYS, for one test."""

    def configure(**given: Any) -> None:
        settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": given}

    return configure


def test_an_alias_gives_its_adapter() -> None:
    """The adapter knows its alias, and its options reached it."""
    gateway = gateways["hosted"]

    assert isinstance(gateway, HostedGateway)
    assert gateway.alias == "hosted"
    assert gateway.client.base == "http://127.0.0.1:9"


def test_threads_share_one_adapter() -> None:
    """One pooled session per account, whichever thread asks."""
    found = [gateways["hosted"]]
    thread = threading.Thread(target=lambda: found.append(gateways["hosted"]))
    thread.start()
    thread.join()

    assert found[0] is found[1]


def test_a_race_for_the_first_use_is_harmless(configure: Any) -> None:
    """Many threads that ask at once all get a working adapter."""
    configure(card={"BACKEND": HOSTED, "OPTIONS": {"api_base": BASE, "webhook_secrets": SECRETS}})
    barrier, found = threading.Barrier(16), []

    def ask() -> None:
        barrier.wait()
        found.append(gateways["card"].alias)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == ["card"] * 16


def test_an_unknown_alias_is_our_own_error() -> None:
    """A view can answer 404 without knowing Django's connection handler."""
    with pytest.raises(UnknownGateway) as caught:
        gateways["nobody"]

    assert isinstance(caught.value, GatewayPayError)


def test_two_accounts_are_two_adapters(configure: Any) -> None:
    """One vendor under two aliases keeps two sessions and two sets of secrets."""
    options = {"api_base": BASE, "webhook_secrets": SECRETS}
    configure(eu={"BACKEND": HOSTED, "OPTIONS": options}, us={"BACKEND": HOSTED, "OPTIONS": options})

    assert gateways["eu"] is not gateways["us"]
    assert gateways["eu"].client.session is not gateways["us"].client.session
    assert list(gateways) == ["eu", "us"]


def test_changed_settings_give_a_fresh_adapter(configure: Any) -> None:
    """A test that overrides GATEWAYPAY is not served by the adapter of the one before."""
    before = gateways["hosted"]
    configure(hosted={"BACKEND": HOSTED, "OPTIONS": {"api_base": "https://b.example", "webhook_secrets": SECRETS}})

    assert gateways["hosted"] is not before
    assert gateways["hosted"].client.base == "https://b.example"


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"BACKEND": "nowhere.Gateway"}, "nowhere"),
        ({"BACKEND": "django_gatewaypay.gateways.hosted.Missing"}, "Missing"),
        ({"OPTIONS": {}}, "BACKEND"),
        ({"BACKEND": HOSTED}, "webhook_secrets"),
        ({"BACKEND": HOSTED, "OPTIONS": {"webhook_secrets": SECRETS, "verify": False}}, "verify"),
        ({"BACKEND": HOSTED, "OPTIONS": {"api_base": BASE, "webhook_secrets": []}}, "secret"),
        ({"BACKEND": HOSTED, "OPTIONS": {"api_base": BASE, "webhook_secrets": [""]}}, "secret"),
        ({"BACKEND": HOSTED, "OPTIONS": {"api_base": BASE, "webhook_secrets": SECRETS[0]}}, "secret"),
        ({"BACKEND": HOSTED, "OPTIONS": {"api_base": "http://a.example", "webhook_secrets": SECRETS}}, "https"),
        ({"BACKEND": HOSTED, "OPTIONS": {"api_base": "", "webhook_secrets": SECRETS}}, "address"),
    ],
)
def test_a_wrong_entry_is_improperly_configured(configure: Any, given: dict[str, Any], word: str) -> None:
    """The message names the alias and what is wrong with it."""
    configure(card=given)

    with pytest.raises(ImproperlyConfigured, match=r'\["card"\]') as caught:
        gateways["card"]
    assert word in str(caught.value)


def test_a_configuration_error_repeats_no_secret(configure: Any) -> None:
    """A key with a typo does not end in the log."""
    secret = "whsec_n0t-base64-but-still-secret!"
    configure(card={"BACKEND": HOSTED, "OPTIONS": {"api_base": BASE, "webhook_secrets": [secret]}})

    with pytest.raises(ImproperlyConfigured) as caught:
        gateways["card"]
    assert "still-secret" not in str(caught.value)


def test_a_forked_child_shares_no_sockets() -> None:
    """After a fork the child makes adapters of its own."""
    before = gateways["hosted"]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"fresh" if gateways["hosted"] is not before else b"shared")
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with open(reader, "rb") as answer:
        told = answer.read()

    assert told == b"fresh"
    assert gateways["hosted"] is before
