"""The attacks that rivals fall to, on this package; the rivals themselves are attacked by `make prove PART=rivals`."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from django_gatewaypay.exceptions import GatewayRejected
from django_gatewaypay.gateways.stripe import StripeGateway
from django_gatewaypay.lifecycle import decision
from django_gatewaypay.types import RefundRequest
from tests.proof.rivals.ours import attack
from tests.proof.rivals.part import ATTACKS

pytestmark = pytest.mark.django_db(transaction=True)


def fell() -> set[str]:
    return {name for name, (withstood, _) in attack().items() if not withstood}


def test_every_attack_is_withstood() -> None:
    """Late news, foreign money, a stranger, two starts, two refunds, an old poll."""
    seen, one = attack(), "1 refund of 15.00"

    assert set(seen) == set(ATTACKS)
    assert all(withstood for withstood, _ in seen.values()), seen
    told = f"{one} in our rows, {one} asked for, {one} at the vendor, answered "
    assert seen["double_refund"][1].startswith(told)


def test_a_refund_that_is_sent_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor refuses the second one here; that it was asked at all is the attack's success."""
    real = StripeGateway.refund

    def insist(gateway: StripeGateway, wanted: RefundRequest) -> Any:
        told = real(gateway, wanted)
        with suppress(GatewayRejected):
            real(gateway, replace(wanted, idempotency_key=f"{wanted.idempotency_key}-2"))
        return told

    monkeypatch.setattr(StripeGateway, "refund", insist)

    assert fell() == {"double_refund"}


def test_an_attack_that_succeeds_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that trusts every amount falls to foreign money."""
    real = decision._merge_money

    def trusting(known: Any, update: Any) -> tuple[Any, str]:
        return real(known, update)[0], ""

    monkeypatch.setattr(decision, "_merge_money", trusting)
    monkeypatch.setattr(decision, "_target", lambda after, update: update.state or after.state)

    assert fell() == {"wrong_currency"}
