"""The example shop can be switched to any gateway by environment variables, and its README says how."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_gatewaypay.registry import gateways
from example_project.gateways import CHOICES, choose_gateway

from ..conftest import REPOSITORY

README = (REPOSITORY / "example_project" / "README.md").read_text(encoding="utf-8")
VALUES = {
    "HOSTED_API_BASE": "https://api.gateway.example/",
    "HOSTED_WEBHOOK_SECRETS": "whsec_b25l whsec_dHdv",
    "STRIPE_API_KEY": "sk_test_1",
    "STRIPE_WEBHOOK_SECRETS": "whsec_one whsec_two",
    "PAYPAL_CLIENT_ID": "client",
    "PAYPAL_CLIENT_SECRET": "secret",
    "PAYPAL_WEBHOOK_ID": "4JH86294D6297924G",
    "MOLLIE_API_KEY": "test_dHar4XY7LxsDOtmnkVtjNVWXLSlXsM",
    "ADYEN_API_KEY": "AQE1",
    "ADYEN_MERCHANT_ACCOUNT": "ShopECOM",
    "ADYEN_HMAC_KEYS": "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056",
}
NEEDED = {
    name: [variable.rstrip("*") for variable in wanted.values() if not variable.endswith("?")]
    for name, (_, wanted) in CHOICES.items()
}


def environ(name: str) -> dict[str, str]:
    """What a person sets for a gateway."""
    return {"GATEWAYPAY_GATEWAY": name, **{variable: VALUES[variable] for variable in NEEDED[name]}}


@pytest.mark.parametrize("name", CHOICES)
def test_a_gateway_can_be_chosen(name: str, settings: Any) -> None:
    """The table's options are the adapter's, and the alias is the gateway's name."""
    chosen = choose_gateway(environ(name))
    if not find_spec(chosen[name]["BACKEND"].rpartition(".")[0]):
        pytest.skip(f"there is no adapter of {name} yet")
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": chosen}

    assert list(chosen) == [name]
    assert gateways[name].alias == name
    assert gateways[name].test_mode or name == "hosted"


@pytest.mark.parametrize(("name", "variable"), [(name, each) for name, needed in NEEDED.items() for each in needed])
def test_a_missing_variable_is_named(name: str, variable: str) -> None:
    """At once, and not at the first payment."""
    with pytest.raises(ImproperlyConfigured, match=variable):
        choose_gateway({**environ(name), variable: ""})


def test_another_name_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ImproperlyConfigured, match="stripe, paypal, mollie, adyen"):
        choose_gateway({"GATEWAYPAY_GATEWAY": "cash"})


def test_several_secrets_and_options() -> None:
    """Words are split where there may be several, and what may be missing may also be there."""
    chosen = choose_gateway({**environ("hosted"), "HOSTED_API_KEY": "sk 1"})["hosted"]["OPTIONS"]

    assert (chosen["webhook_secrets"], chosen["api_key"]) == (["whsec_b25l", "whsec_dHdv"], "sk 1")
    assert choose_gateway(environ("paypal"))["paypal"]["OPTIONS"]["sandbox"] is True
    assert "sandbox" not in choose_gateway({**environ("paypal"), "PAYPAL_LIVE": "1"})["paypal"]["OPTIONS"]
    assert choose_gateway({}) == {"sandbox": {"BACKEND": CHOICES["sandbox"][0]}}


def test_the_readme_has_every_variable() -> None:
    """In the row of its gateway: what it needs, and what it may have."""
    rows = dict(re.findall(r"^\| `([a-z]+)`(?: \(default\))? \| (.*) \|$", README, re.MULTILINE))
    needed = {name: re.findall(r"`([A-Z_]+)", row.partition(" |")[0]) for name, row in rows.items()}

    assert needed == {name: NEEDED[name] for name in needed}
    for name, (_, wanted) in CHOICES.items():
        assert [variable for variable in wanted.values() if f"`{variable.rstrip('*?')}" not in rows[name]] == []


def test_the_settings_listen(tmp_path: Path) -> None:
    """The shop's own settings make the choice."""
    code = "import json; from example_project import settings; print(json.dumps(settings.GATEWAYPAY['GATEWAYS']))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environ("hosted"), "GATEWAYPAY_DEMO_DIR": str(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(ran.stdout) == choose_gateway(environ("hosted"))
