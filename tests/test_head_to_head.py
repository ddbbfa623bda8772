"""The attacks that rivals fall to, on this package; the rivals themselves are attacked by `make prove PART=rivals`."""

from typing import Any

import pytest

from django_gatewaypay.lifecycle import decision
from tests.proof.rivals.ours import attack

pytestmark = pytest.mark.django_db(transaction=True)


def fell() -> set[str]:
    return {name for name, (withstood, _) in attack().items() if not withstood}


def test_every_attack_is_withstood() -> None:
    """Late news, foreign money, a stranger, two starts, an old poll."""
    assert set(attack()) == {"late_expired", "wrong_currency", "bad_signature", "two_starts", "stale_poll"}
    assert fell() == set()


def test_an_attack_that_succeeds_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that trusts every amount falls to foreign money."""

    def trusting(known: Any, update: Any) -> tuple[Any, str]:
        return known, ""

    monkeypatch.setattr(decision, "_merge_money", trusting)
    monkeypatch.setattr(decision, "_target", lambda after, update: update.state or after.state)

    assert fell() == {"wrong_currency"}
