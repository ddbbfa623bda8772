"""Where real money moves, the sandbox is not there, and says that it should not be installed."""

from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import Client

from django_gatewaypay.sandbox.checks import check_allowed


@pytest.fixture
def production(settings: Any) -> None:
    """DEBUG is off, and nobody has allowed anything."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"ALLOW_SANDBOX": False}


def test_production_is_an_error(production: None) -> None:
    """E020 names the setting and the way out, and is registered."""
    (error,) = [message for message in run_checks(tags=["gatewaypay"]) if message.id == "gatewaypay.E020"]

    assert error.is_serious()
    assert "INSTALLED_APPS" in (error.hint or "")
    assert "ALLOW_SANDBOX" in (error.hint or "")


@pytest.mark.parametrize(("debug", "allow"), [(True, False), (False, True), (True, True)])
def test_development_and_staging_are_fine(settings: Any, debug: bool, allow: bool) -> None:
    """DEBUG, or the word of whoever runs the site."""
    settings.DEBUG = debug
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"ALLOW_SANDBOX": allow}

    assert check_allowed() == []


@pytest.mark.parametrize("allow", ["True", 1, None])
def test_only_true_is_true(settings: Any, allow: Any) -> None:
    """A value from the environment that was not read right allows nothing."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"ALLOW_SANDBOX": allow}

    assert [error.id for error in check_allowed()] == ["gatewaypay.E020"]


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("path", ["", "create-session", "status/sbx_x", "cancel/sbx_x", "pay/sbx_x/"])
def test_production_has_no_sandbox(production: None, method: str, path: str) -> None:
    """Every address is as if it were not there."""
    assert getattr(Client(), method)(f"/sandbox/{path}").status_code == 404
