"""Errors say what is known about the outcome, and nothing secret."""

import pickle

import pytest

from django_gatewaypay import exceptions
from django_gatewaypay.exceptions import (
    CallbackError,
    GatewayDeclined,
    GatewayError,
    GatewayPayError,
    GatewayRejected,
    GatewayUnavailable,
    InvalidSignature,
    MalformedCallback,
    OrderNotFound,
    OrderNotPayable,
    PaymentInProgress,
)

ALL = [getattr(exceptions, name) for name in exceptions.__all__]


@pytest.mark.parametrize("error", ALL)
def test_every_error_is_one_of_ours(error: type[Exception]) -> None:
    """One except clause catches them all."""
    assert issubclass(error, GatewayPayError)


@pytest.mark.parametrize("error", ALL)
def test_a_message_is_there_without_writing_one(error: type[Exception]) -> None:
    """An error raised bare still says what happened, in one line."""
    message = str(error())

    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("error", ALL)
def test_a_given_message_wins(error: type[Exception]) -> None:
    """What the raiser says is what is read."""
    assert str(error("This and that.")) == "This and that."


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        (GatewayDeclined, GatewayError),
        (GatewayRejected, GatewayError),
        (GatewayUnavailable, GatewayError),
        (InvalidSignature, CallbackError),
        (MalformedCallback, CallbackError),
        (OrderNotFound, OrderNotPayable),
    ],
)
def test_the_tree_is_the_documented_one(child: type[Exception], parent: type[Exception]) -> None:
    """A caller may catch the family."""
    assert issubclass(child, parent)


def test_a_definite_no_is_never_an_unknown_outcome() -> None:
    """Declined, rejected and unavailable are three answers to one question, and none implies another."""
    kinds = [GatewayDeclined, GatewayRejected, GatewayUnavailable]

    assert not any(issubclass(a, b) for a in kinds for b in kinds if a is not b)


def test_a_gateway_error_carries_what_support_asks_for() -> None:
    """The vendor, its code and its request id are attributes, not parts of a sentence."""
    error = GatewayDeclined(decline_code="insufficient_funds", gateway="Hosted", code="51", request_id="req_1")

    assert (error.gateway, error.code, error.request_id) == ("Hosted", "51", "req_1")
    assert error.decline_code == "insufficient_funds"
    assert "51" not in str(error)


def test_a_decline_without_a_reason_has_one() -> None:
    """`decline_code` is never empty."""
    assert GatewayDeclined().decline_code == "declined"


def test_no_answer_may_say_when_to_ask_again() -> None:
    """`retry_after` is known or None."""
    assert GatewayUnavailable().retry_after is None
    assert GatewayUnavailable(retry_after=7).retry_after == 7
    assert PaymentInProgress(transaction_id="t1").retry_after == 1


@pytest.mark.parametrize("error", ALL)
def test_errors_cross_a_process_boundary(error: type[Exception]) -> None:
    """Celery pickles what a task raises."""
    copy = pickle.loads(pickle.dumps(error("Gone.")))  # noqa: S301 - our own bytes

    assert type(copy) is error
    assert str(copy) == "Gone."
