"""When a transaction is asked about next."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from django_gatewaypay.gateways.http import GatewayClient
from django_gatewaypay.schedule import (
    CLAIM_LEASE,
    ask_movement_at,
    backoff_delay,
    first_poll_at,
    knows_key,
    next_poll_at,
    unanswered_delay,
)
from django_gatewaypay.types import State

NOW = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - any clock will do
SOON = NOW + timedelta(minutes=30)


def seconds(state: State, attempts: int, **more: Any) -> float | None:
    due = next_poll_at(state, NOW, **{"attempts": attempts, "expires_at": SOON, **more})
    return due and (due - NOW).total_seconds()


def is_spread_from(least: float, ask: Callable[[], float]) -> bool:
    """It is never sooner, never more than a tenth later, and anything between."""
    random.seed(4)
    waits = [ask() for _ in range(500)]
    return least <= min(waits) < least * 1.002 and least * 1.098 < max(waits) <= least * 1.1


def test_a_waiting_shopper_is_asked_for_after_2_5_10_20_40_seconds() -> None:
    """A lost callback costs seconds, not a quarter of an hour."""
    assert [seconds(State.PENDING, attempts, waiting=True) for attempts in range(5)] == [2, 5, 10, 20, 40]
    for attempts, expected in enumerate([60, 120, 240], 5):
        assert is_spread_from(expected, lambda attempts=attempts: seconds(State.PENDING, attempts, waiting=True))


@pytest.mark.parametrize("state", [State.PENDING, State.PROCESSING])
def test_nobody_waits_so_the_pause_doubles_up_to_half_an_hour(state: State) -> None:
    """With at most 10 % jitter."""
    for attempts, expected in enumerate([60, 120, 240, 480, 960, 1800, 1800]):
        assert is_spread_from(expected, lambda attempts=attempts: seconds(state, attempts))


def test_an_authorization_is_asked_about_calmly_for_as_long_as_it_lives() -> None:
    """The gateway says when it ends, in days; EXPIRE_AFTER was the shopper's time."""
    for attempts, expected in enumerate([300, 600, 1200]):
        assert is_spread_from(expected, lambda attempts=attempts: seconds(State.AUTHORIZED, attempts))
    assert is_spread_from(6 * 3600, lambda: seconds(State.AUTHORIZED, 90, expires_at=NOW - timedelta(days=20)))


@pytest.mark.parametrize("state", [State.SUCCESS, State.FAILED, State.HELD])
def test_what_is_decided_is_not_asked_about(state: State) -> None:
    """Nor what waits for a person."""
    assert seconds(state, 0, waiting=True) is None


@pytest.mark.parametrize("state", [State.EXPIRED, State.CANCELED])
def test_a_closed_payment_is_watched_for_three_days(state: State) -> None:
    """Late money is looked for, ever more rarely, and not for ever."""
    for attempts, expected in enumerate([300, 600, 1200]):
        assert is_spread_from(expected, lambda attempts=attempts: seconds(state, attempts))
    assert is_spread_from(6 * 3600, lambda: seconds(state, 30))
    assert seconds(state, 0, expires_at=NOW - timedelta(hours=73)) is None


@pytest.mark.parametrize(("late", "is_watched"), [(-1, True), (0, False)])
def test_the_watch_ends_at_its_very_time(late: int, is_watched: bool) -> None:
    """A question that would fall on the end of the watch, or after it, is not asked."""
    random.seed(4)
    wait = timedelta(seconds=seconds(State.EXPIRED, 0, expires_at=NOW))
    random.seed(4)
    expires_at = NOW + wait - timedelta(days=3) - timedelta(microseconds=late)

    assert (seconds(State.EXPIRED, 0, expires_at=expires_at) is not None) is is_watched


def test_a_claim_outlasts_the_gateway_and_not_the_patience_of_a_shopper() -> None:
    """Several calls with all of their retries; and what a crashed worker had is taken up within two minutes."""
    longest = timedelta(seconds=GatewayClient("any", "https://gateway.example").deadline)

    assert 3 * longest < CLAIM_LEASE < timedelta(minutes=2)


def test_polling_starts_where_the_setting_says(settings: Any) -> None:
    """POLL_AFTER is read live."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "POLL_AFTER": timedelta(minutes=3)}

    assert first_poll_at(NOW) == NOW + timedelta(minutes=3)


def test_the_backoff_has_jitter() -> None:
    """Five thousand rows do not come up in the same second."""
    assert is_spread_from(480, lambda: backoff_delay(3).total_seconds())
    assert len({backoff_delay(3) for _ in range(50)}) > 40


def test_a_question_without_an_answer_comes_again_in_two_minutes() -> None:
    """However long the pace between answers is; spread like any other."""
    assert is_spread_from(120, lambda: unanswered_delay().total_seconds())


def test_a_bank_is_asked_ever_more_calmly_what_became_of_a_refund() -> None:
    """After five minutes, then after twice as long each time, and at last every twelve hours; spread like any other."""
    pauses = {0: 300, 1: 600, 2: 1200, 7: 38_400, 8: 43_200, 90: 43_200}
    for attempts, expected in pauses.items():
        assert is_spread_from(
            expected, lambda attempts=attempts: (ask_movement_at(NOW, attempts) - NOW).total_seconds()
        )
    assert is_spread_from(300, lambda: (ask_movement_at(NOW) - NOW).total_seconds())


@pytest.mark.parametrize("life", [timedelta(hours=1), timedelta(hours=24), timedelta(days=30)])
@pytest.mark.parametrize(("share", "early", "known"), [(0, 0, True), (0.75, 1, True), (0.75, 0, False), (1, 0, False)])
def test_three_quarters_of_a_keys_life_are_used(life: timedelta, share: float, early: int, known: bool) -> None:
    """To the microsecond: a clock that is set right meanwhile makes no second payment, and no second refund."""
    assert knows_key(NOW, NOW + life * share - timedelta(microseconds=early), life) is known
