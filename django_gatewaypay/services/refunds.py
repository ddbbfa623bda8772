"""Money back: one intent, one row, one key at the gateway, and never more than was taken."""

import logging
from typing import Any
from uuid import UUID

from moneyed import Money

from ..exceptions import InvalidTransition, UnsupportedOperation
from ..gateways.base import Gateway
from ..lifecycle import approve_movement, conclude_movement, hear_refund, left_to_refund, withdraw_movement
from ..models import Refund, Transaction
from ..schedule import ask_movement_at
from ..types import MovementState, RefundRequest, RefundState, RefundUpdate, Source
from .errands import Answer, Errand, register
from .movements import begin, drive_movement, find_known, read_minor
from .refreshing import gateway_of, payment_ref
from .reviewing import checked_reason, source_of
from .sessions import as_utc

__all__ = ["approve_refund", "conclude_refund", "refund", "withdraw_refund"]

logger = logging.getLogger("gatewaypay.refund")


def refund(
    transaction_id: UUID,
    amount: Money | None = None,
    *,
    reason: str,
    actor: Any = None,
    idempotency_key: str = "",
    source: Source = Source.STAFF,
) -> Refund:
    """Give money back; the row as it is then. A gateway's no is `failed`, no answer is `unknown`; neither raises.

    It writes and commits: never call it inside a transaction of yours.

    Args:
        amount: None for all that is left.
        reason: why, for the books.
        actor: who wants it; None for the host's own code.
        idempotency_key: whoever sends the same one again finds the same refund.

    Raises:
        Transaction.DoesNotExist: there is no such transaction.
        ReasonMissing: nobody says why.
        InvalidAmount: another currency, or no amount of it.
        IdempotencyConflict: the key was used with another amount.
        InvalidTransition: nothing was captured.
        UnsupportedOperation: the gateway cannot refund, or not in part.
        AmountNotLeft: it is more than is left.
        MovementInProgress: nobody knows yet what became of the refund before.
        GatewayUnavailable: the account is not in the settings any more.
    """
    said, row = checked_reason(reason), Transaction.objects.get(pk=transaction_id)
    asked = read_minor(row, amount)
    known = find_known(Refund, row, idempotency_key, asked)
    if known:
        return known
    minor = left_to_refund(row) if asked is None else asked
    _check_possible(row, minor)
    wanted = Refund(
        transaction=row, amount_minor=minor, reason=said[:255], actor=actor, idempotency_key=idempotency_key
    )
    found = begin(wanted, source=source_of(actor) if source is Source.STAFF else source, asked=asked)
    _log("refunded", found, actor)
    return found


def _check_possible(row: Transaction, minor: int) -> None:
    if row.captured_minor <= 0:
        raise InvalidTransition("Nothing was captured that could be given back.")
    gateway = gateway_of(row)
    if not gateway.supports_refund:
        raise UnsupportedOperation(f"{gateway.name} cannot refund a payment.")
    if 0 < minor < row.captured_minor and not gateway.supports_partial_refund:
        raise UnsupportedOperation(f"{gateway.name} cannot refund a payment in part.")


def approve_refund(refund_id: UUID, *, actor: Any, reason: str = "") -> Refund:
    """The second person agrees, and the gateway is told; the row as it is then.

    Args:
        reason: for the ledger.

    Raises:
        Refund.DoesNotExist: there is no such refund.
        InvalidTransition: it does not wait for a second person.
        SecondPersonNeeded: it is the one who asked for it.
    """
    approve_movement(refund_id, actor=actor, note=": ".join(filter(None, ("approved", reason.strip()))))
    found = drive_movement(Refund, refund_id, source=Source.STAFF, actor=actor)
    _log("approved", found, actor)
    return found


def withdraw_refund(refund_id: UUID, *, actor: Any, reason: str) -> Refund:
    """A refund that waits for a second person is given up; its money is free again.

    Raises:
        Refund.DoesNotExist: there is no such refund.
        ReasonMissing: nobody says why.
        InvalidTransition: it does not wait for a second person.
    """
    found = withdraw_movement(refund_id, source=source_of(actor), actor=actor, note=checked_reason(reason))
    _log("withdrawn", found, actor)
    return found


def conclude_refund(refund_id: UUID, state: MovementState, *, reason: str, actor: Any) -> Refund:
    """A person has looked at the gateway's console, and says what became of a refund that was given up on.

    Args:
        state: succeeded or failed.

    Raises:
        Refund.DoesNotExist: there is no such refund.
        ReasonMissing: nobody says why.
        InvalidTransition: the gateway is still asked, or it is over.
    """
    said = checked_reason(reason)
    found = conclude_movement(
        Refund,
        refund_id,
        state,
        source=source_of(actor),
        actor=actor,
        note=said,
        resolved=RefundErrand.unknown,
    )
    _log("concluded", found, actor)
    return found


def _log(word: str, found: Refund, actor: Any) -> None:
    logger.info(
        "%s refund=%s transaction=%s state=%s actor=%s",
        word, found.pk, found.transaction_id, found.state, getattr(actor, "pk", None),
    )  # fmt: skip


class RefundErrand(Errand[Refund]):
    """How a gateway is told of a refund."""

    kind = Refund
    failed = frozenset({"refund_failed"})
    unknown = frozenset({"refund_unknown"})

    def tell(self, gateway: Gateway, movement: Refund) -> Answer:
        """See `Errand`."""
        return _read(gateway.refund(refund_request(movement)))

    def can_find(self, gateway: Gateway) -> bool:
        """See `Errand`."""
        return gateway.supports_find_refund

    def find(self, gateway: Gateway, movement: Refund) -> Answer | None:
        """See `Errand`."""
        found = gateway.find_refund(refund_request(movement))
        return _read(found) if found else None

    def can_ask(self, gateway: Gateway, movement: Refund) -> bool:
        """See `Errand`."""
        offered = type(gateway).fetch_refund is not Gateway.fetch_refund
        return offered and bool(movement.gateway_reference)

    def ask(self, gateway: Gateway, movement: Refund) -> Answer:
        """See `Errand`."""
        return _read(gateway.fetch_refund(payment_ref(movement.transaction), movement.gateway_reference))

    def contradict(self, movement: Refund, answer: Answer) -> frozenset[str]:
        """See `Errand`."""
        told = RefundUpdate(
            refund_reference=answer.reference,
            state=RefundState(answer.state.value),
            amount=answer.amount or movement.amount,
            refund_id=str(movement.pk),
        )
        due = ask_movement_at(movement.updated_at)
        return hear_refund(movement.transaction_id, told, source=Source.POLL, due=due) | self.unknown


register(RefundErrand())


def refund_request(movement: Refund) -> RefundRequest:
    """What the gateway is asked for; the same at every retry."""
    return RefundRequest(
        payment=payment_ref(movement.transaction),
        amount=movement.amount,
        idempotency_key=movement.gateway_key,
        refund_id=str(movement.pk),
        reason=movement.reason,
        created_at=as_utc(movement.created_at),
    )


def _read(told: RefundUpdate) -> Answer:
    failed = told.state is RefundState.FAILED
    return Answer(
        state=MovementState(told.state.value),
        reference=told.refund_reference,
        error=(told.reason or "The gateway says that it failed.") if failed else "",
        amount=told.amount,
    )
