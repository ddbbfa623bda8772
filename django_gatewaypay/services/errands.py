"""How a gateway is told of a capture or a refund, and asked what became of it: what one kind does, and another not."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from moneyed import Money

from ..gateways.base import Gateway
from ..models import Capture, Refund
from ..types import MovementState, PaymentUpdate

__all__ = ["ERRANDS", "Answer", "Errand", "Row", "register"]

Row = TypeVar("Row", Refund, Capture)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a gateway says about one movement.

    Args:
        state: submitted, succeeded or failed.
        reference: the gateway's id of it.
        error: why it failed.
        amount: what it moves; another amount than ours is for staff.
        payment: what it says about the payment as a whole; it goes through the door in the same commit.
    """

    state: MovementState
    reference: str = ""
    error: str = ""
    amount: Money | None = None
    payment: PaymentUpdate | None = None


class Errand(ABC, Generic[Row]):
    """How one kind of movement is told, found and asked for. Its methods may raise whatever an adapter raises."""

    kind: type[Row]
    failed: ClassVar[frozenset[str]]
    """The attention code of one that failed when nobody was looking any more."""
    unknown: ClassVar[frozenset[str]]
    """The attention code of one of which nobody can tell what became of it."""

    @abstractmethod
    def tell(self, gateway: Gateway, movement: Row) -> Answer:
        """Ask for it; the same key and the same bytes at every try."""

    @abstractmethod
    def can_find(self, gateway: Gateway) -> bool:
        """Whether `find` can say that the gateway has never heard of it."""

    @abstractmethod
    def find(self, gateway: Gateway, movement: Row) -> Answer | None:
        """What an earlier `tell` made, looked up by our id; None when there is none."""

    @abstractmethod
    def can_ask(self, gateway: Gateway, movement: Row) -> bool:
        """Whether `ask` can say what became of one that was taken."""

    @abstractmethod
    def ask(self, gateway: Gateway, movement: Row) -> Answer:
        """What became of it."""

    def contradict(self, movement: Row, answer: Answer) -> frozenset[str]:
        """The gateway has done what our books call failed: keep it, in the caller's commit; the codes it raises."""
        return self.unknown


ERRANDS: dict[type[Any], Errand[Any]] = {}


def register(errand: Errand[Any]) -> None:
    """Make a kind of movement known to `drive_movement`."""
    ERRANDS[errand.kind] = errand
