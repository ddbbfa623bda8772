"""Orders and transactions in any state, made the way that the package makes them."""

import itertools
from datetime import timedelta
from typing import Any

from django.utils import timezone

from django_gatewaypay.lifecycle import apply_update
from django_gatewaypay.models import Transaction, TransactionEvent
from django_gatewaypay.services import access
from django_gatewaypay.types import NextAction, PaymentSession, PaymentUpdate, Source, State
from tests.shop.models import Order

numbers = itertools.count(1)


def make_order(**fields: Any) -> Order:
    """An order over 19.99 EUR."""
    return Order.objects.create(**fields)


def make_transaction(state: State | str = State.PENDING, *, order: Order | None = None, **fields: Any) -> Transaction:
    """A transaction that went through the door to `state`, with its ledger."""
    state = State(state)
    order = order or make_order()
    now = timezone.now()
    row = Transaction(
        **{
            "order_id": str(order.pk),
            "gateway": "hosted",
            "amount_minor": order.price_minor,
            "currency": order.currency,
            "owner_key": access.GUEST,
            "fingerprint": "",
            "created_at": now,
            "updated_at": now,
            "expires_at": now + timedelta(minutes=30),
            "next_poll_at": now + timedelta(minutes=15),
            **fields,
        }
    )
    row.token_hash = access.hash_token(access.mint_token(row.pk))
    row.save(force_insert=True)
    TransactionEvent.objects.create(
        transaction=row, kind="moved", version=0, to_state="created", source=Source.INITIATE, created_at=now
    )
    if state is not State.CREATED:
        _open(row)
    if state not in {State.CREATED, State.PENDING}:
        apply_update(row.pk, _update_to(row, state), source=Source.POLL)
    row.refresh_from_db()
    return row


def _open(row: Transaction) -> None:
    reference = row.gateway_reference or f"ps_{next(numbers)}"
    session = PaymentSession(gateway_reference=reference, next_action=NextAction(url="http://127.0.0.1:9/pay"))
    Transaction.objects.filter(pk=row.pk).update(gateway_reference="")
    opened = PaymentUpdate(state=State.PENDING, gateway_reference=reference)
    apply_update(row.pk, opened, source=Source.INITIATE, session=session)


def _update_to(row: Transaction, state: State) -> PaymentUpdate:
    captured = {State.SUCCESS: row.amount, State.HELD: row.amount / 2}.get(state)
    word = State.SUCCESS if state is State.HELD else state
    return PaymentUpdate(state=word, captured=captured, decline_code="declined" if state is State.FAILED else "")
