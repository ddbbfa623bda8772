"""Every error of this package. A message defaults to the first line of its class docstring."""

from typing import Any

__all__ = [
    "AmountNotLeft",
    "CallbackError",
    "GatewayDeclined",
    "GatewayError",
    "GatewayPayError",
    "GatewayRejected",
    "GatewayUnavailable",
    "IdempotencyConflict",
    "InvalidSignature",
    "InvalidTransition",
    "MalformedCallback",
    "MovementInProgress",
    "OrderNotFound",
    "OrderNotPayable",
    "PaymentInProgress",
    "ReasonMissing",
    "SecondPersonNeeded",
    "StaleSignature",
    "UnknownGateway",
    "UnsupportedOperation",
]


class GatewayPayError(Exception):
    """Something went wrong with a payment."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])


class GatewayError(GatewayPayError):
    """The gateway did not do what was asked.

    Args:
        gateway: the vendor's name.
        code: the vendor's own error code, for the log and for staff.
        request_id: the vendor's id of the call, for its support desk.
        status: the HTTP status; 0 when there was none.
    """

    transaction_id: str = ""

    def __init__(
        self, message: str = "", *, gateway: str = "", code: str = "", request_id: str = "", status: int = 0
    ) -> None:
        super().__init__(message)
        self.gateway = gateway
        self.code = code
        self.request_id = request_id
        self.status = status


class GatewayDeclined(GatewayError):
    """The gateway declined the payment: a definite no."""

    def __init__(self, message: str = "", *, decline_code: str = "declined", **details: Any) -> None:
        super().__init__(message, **details)
        self.decline_code = decline_code


class GatewayRejected(GatewayError):
    """The gateway refused the request: we asked wrongly, or with the wrong credentials."""


class GatewayUnavailable(GatewayError):
    """The gateway gave no usable answer: the outcome is unknown.

    Args:
        retry_after: seconds that the gateway asked us to wait, if it did.
    """

    def __init__(self, message: str = "", *, retry_after: int | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class CallbackError(GatewayPayError):
    """The callback cannot be accepted."""


class InvalidSignature(CallbackError):
    """The callback is not signed by the gateway, or its signature is stale."""


class StaleSignature(InvalidSignature):
    """The callback is signed by the gateway, but not now: a replay, or a clock that is wrong."""


class MalformedCallback(CallbackError):
    """The callback is signed, but cannot be read."""


class UnsupportedOperation(GatewayPayError):
    """The gateway does not offer this operation."""


class UnknownGateway(GatewayPayError):
    """There is no such gateway."""


class IdempotencyConflict(GatewayPayError):
    """This Idempotency-Key was used before with another request."""


class PaymentInProgress(GatewayPayError):
    """This payment is being worked on right now; ask again in a moment."""

    def __init__(self, message: str = "", *, transaction_id: str = "", retry_after: int = 1) -> None:
        super().__init__(message)
        self.transaction_id = transaction_id
        self.retry_after = retry_after


class InvalidTransition(GatewayPayError):
    """The transaction is in a state that does not allow this."""


class AmountNotLeft(GatewayPayError):
    """The amount is more than is left."""


class MovementInProgress(GatewayPayError):
    """Another one of this payment is being worked on, and nobody knows yet what became of it; wait for its end."""


class SecondPersonNeeded(GatewayPayError):
    """This amount needs a second person: somebody else than who asked for it."""


class ReasonMissing(GatewayPayError):
    """Say why: the books keep the reason."""


class OrderNotPayable(GatewayPayError):
    """This order cannot be paid now. Raise it in `OrderHandler.quote`; the shopper reads the message."""

    def __init__(self, message: str = "This order cannot be paid now.") -> None:
        super().__init__(message)


class OrderNotFound(OrderNotPayable):
    """There is no such order for this shopper."""

    def __init__(self, message: str = "There is no such order.") -> None:
        super().__init__(message)
