"""When a transaction is asked about next."""

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from django_gatewaypay.schedule import backoff_delay, first_poll_at, next_poll_at, unanswered_delay
from django_gatewaypay.types import State

NOW = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - any clock will do
SOON = NOW + timedelta(minutes=30)


def seconds(state: State, attempts: int, **more: Any) -> float | None:
    due = next_poll_at(state, NOW, **{"attempts": attempts, "expires_at": SOON, **more})
    return due and (due - NOW).total_seconds()


def test_a_waiting_shopper_is_asked_for_after_2_5_10_20_40_seconds() -> None:
    """A lost callback costs seconds, not a quarter of an hour."""
    assert [seconds(State.PENDING, attempts, waiting=True) for attempts in range(5)] == [2, 5, 10, 20, 40]
    assert 60 <= seconds(State.PENDING, 5, waiting=True) <= 66


@pytest.mark.parametrize("state", [State.PENDING, State.PROCESSING, State.AUTHORIZED])
def test_nobody_waits_so_the_pause_doubles_up_to_half_an_hour(state: State) -> None:
    """With at most 10 % jitter."""
    for attempts, expected in enumerate([60, 120, 240, 480, 960, 1800, 1800]):
        assert expected <= seconds(state, attempts) <= expected * 1.1


@pytest.mark.parametrize("state", [State.SUCCESS, State.FAILED, State.HELD])
def test_what_is_decided_is_not_asked_about(state: State) -> None:
    """Nor what waits for a person."""
    assert seconds(state, 0, waiting=True) is None


@pytest.mark.parametrize("state", [State.EXPIRED, State.CANCELED])
def test_a_closed_payment_is_watched_for_three_days(state: State) -> None:
    """Late money is looked for, ever more rarely, and not for ever."""
    assert 300 <= seconds(state, 0) <= 330
    assert 6 * 3600 <= seconds(state, 30) <= 6.6 * 3600
    assert seconds(state, 0, expires_at=NOW - timedelta(hours=73)) is None


def test_polling_starts_where_the_setting_says(settings: Any) -> None:
    """POLL_AFTER is read live."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "POLL_AFTER": timedelta(minutes=3)}

    assert first_poll_at(NOW) == NOW + timedelta(minutes=3)


def test_the_backoff_has_jitter() -> None:
    """Five thousand rows do not come up in the same second: they are spread over a tenth of the pause."""
    random.seed(4)
    waits = [backoff_delay(3).total_seconds() for _ in range(500)]

    assert len(set(waits)) == len(waits)
    assert 480 <= min(waits) < 481
    assert 527 < max(waits) <= 528


def test_a_question_without_an_answer_comes_again_in_two_minutes() -> None:
    """However long the pace between answers is; spread like any other."""
    random.seed(4)
    waits = [unanswered_delay().total_seconds() for _ in range(500)]

    assert 120 <= min(waits) < 120.2
    assert 131.8 < max(waits) <= 132


def test_a_closed_payment_is_first_asked_about_after_five_minutes() -> None:
    """Not sooner, and at most a tenth later."""
    random.seed(4)
    waits = [seconds(State.EXPIRED, 0) for _ in range(500)]

    assert 300 <= min(waits) < 300.5
    assert 329.5 < max(waits) <= 330
