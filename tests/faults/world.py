"""A shop, its shopper and one gateway: what the fault matrix is played in. Real HTTP in, database out.

    def test_fault_99_something(world: World) -> None:      # on sandbox, stripe and mollie in turn
        row = world.start()                                 # POST initiate/, the shopper is at the gateway
        world.happen(row, "success")                        # paid at the gateway; nobody has told us
        response = world.post(world.tell(row))              # the gateway's callback, through the real view
        assert (response.status_code, world.fate(row)) == (200, ("success", 1))

    @only("sandbox", "stripe")                              # on these only

The fixture ends every test with `check_books()` and `check_inbox()`.
"""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import models
from django.test import Client

from django_gatewaypay.models import Callback, Capture, Dispute, Fulfilment, Refund, Transaction, TransactionEvent
from django_gatewaypay.types import CallbackRequest
from tests.factories import make_order
from tests.shop.models import Order

from .plays import PLAYS, Play

__all__ = ["TABLES", "World", "only", "snapshot"]

ALIAS = "card"
TABLES: tuple[type[models.Model], ...] = (
    Transaction,
    TransactionEvent,
    Callback,
    Fulfilment,
    Capture,
    Refund,
    Dispute,
    Order,
)
NUMBERS = itertools.count(1)


def only(*names: str) -> pytest.MarkDecorator:
    """Play a test with these gateways only."""
    assert set(names) <= set(PLAYS)
    return pytest.mark.parametrize("world", names, indirect=True)


def snapshot() -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of ours and of the shop."""
    return {table.__name__: list(table._default_manager.order_by("pk").values()) for table in TABLES}


@dataclass
class World:
    """One gateway account, "card", and everybody around it.

    Args:
        name: "sandbox", "stripe" or "mollie".
        server: the gateway on loopback; script its answers, read its requests and sessions.
        settings: pytest-django's, for `configure`.
        client: the shopper's browser; an error inside is a 500, as it would be outside.
    """

    name: str
    play: Play
    server: Any
    settings: Any
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    # --- The host.

    def configure(self, alias: str = ALIAS, **options: Any) -> None:
        """Change OPTIONS of the account, or open another account of the same vendor under its own alias."""
        accounts = dict(self.settings.GATEWAYPAY["GATEWAYS"])
        known = accounts.get(alias) or accounts[ALIAS]
        accounts[alias] = {**known, "OPTIONS": {**known["OPTIONS"], **options}}
        self.settings.GATEWAYPAY = {**self.settings.GATEWAYPAY, "GATEWAYS": accounts}

    # --- The shopper.

    def start(self, *, order: Order | None = None, alias: str = ALIAS, **fields: Any) -> Transaction:
        """A payment that is open at the gateway; `fields` are of its order (19.99 EUR by default)."""
        response = self.initiate(order or make_order(**fields), alias=alias)
        assert response.status_code == 201, response.content
        return Transaction.objects.get(pk=response.json()["id"])

    def initiate(self, order: Order, *, alias: str = ALIAS, key: str = "") -> Any:
        """`POST initiate/`, whatever comes of it."""
        body = {"order_id": str(order.pk), "gateway": alias}
        headers = {"Idempotency-Key": key} if key else {}
        return self.client.post("/payments/initiate/", body, content_type="application/json", headers=headers)

    def status(self, row: Transaction) -> dict[str, Any]:
        """What the status API tells the shopper."""
        response = self.client.get(f"/payments/status/{row.pk}/")
        assert response.status_code == 200, response.content
        return dict(response.json())

    def page(self, row: Transaction, name: str = "pay") -> str:
        """What the shopper reads on the "pay" page, or on the "return" page, which asks the gateway."""
        response = self.client.get(f"/payments/{name}/{row.pk}/")
        assert response.status_code == 200, response.content
        return str(response.content.decode())

    # --- The gateway.

    @property
    def signs(self) -> bool:
        """Whether its callbacks prove anything."""
        return bool(self.play.bench.secrets)

    def happen(self, row: Transaction, word: str, amount: object = None, currency: str = "") -> None:
        """A word of ours, or "declined", becomes true at the gateway; in full, unless an amount is named.

        Args:
            amount: minor units; anything that is no int goes onto the wire as it is.
        """
        amount = row.amount_minor if amount is None else amount
        self.play.happen(self.server, row.gateway_reference, word, amount, currency or row.currency)

    def tell(
        self,
        row: Transaction,
        *,
        at: float | None = None,
        secret: str = "",
        event_id: str = "",
        kind: str = "",
        **said: Any,
    ) -> CallbackRequest:
        """The gateway's callback about what is true now.

        Args:
            at: when it was signed; now by default.
            secret: the first of the account's when empty.
            event_id: a fresh one when empty; Mollie has none.
            kind: Stripe's type of event, where the usual one is not meant.
            said: fields that are stated instead of the truth (Stripe: of the object; Mollie: only `id`).
        """
        return self.play.tell(
            self.server,
            row.gateway_reference,
            secret=secret or self.secret,
            at=int(time.time() if at is None else at),
            event_id=event_id or f"evt_fault_{next(NUMBERS)}",
            kind=kind,
            said=said,
        )

    @property
    def secret(self) -> str:
        return next(iter(self.play.bench.secrets), "")

    def resign(self, callback: CallbackRequest, body: bytes, *, at: float | None = None) -> CallbackRequest:
        """The same callback with another body, signed by the gateway."""
        return self.play.again(callback, body, secret=self.secret, at=int(time.time() if at is None else at))

    def post(self, callback: CallbackRequest, *, alias: str = ALIAS, method: str = "POST", **headers: str) -> Any:
        """Send a callback to the real view; the response, a 500 too. `headers` replace its own: `Content_Type="…"`."""
        given = {name.lower(): value for name, value in callback.headers.items()}
        given |= {name.replace("_", "-").lower(): value for name, value in headers.items()}
        content_type = given.pop("content-type", "application/json")
        url = f"/payments/callbacks/{alias}/"
        browser = Client(raise_request_exception=False)
        # CONTENT_TYPE by name: the test client leaves it out where there is no body.
        return browser.generic(method, url, callback.body, headers=given, CONTENT_TYPE=content_type)

    def tell_all(self, *callbacks: CallbackRequest) -> list[int]:
        """Send callbacks in this order; the HTTP statuses."""
        return [int(self.post(callback).status_code) for callback in callbacks]

    # --- What became of it.

    def row(self, row: Transaction) -> Transaction:
        """The row as it is now."""
        row.refresh_from_db()
        return row

    def fate(self, row: Transaction) -> tuple[str, int]:
        """The state now, and how often the order's effect has happened in the shop."""
        return str(self.row(row).state), Order.objects.get(pk=row.order_id).fulfilments

    def inbox(self, **named: Any) -> list[Callback]:
        """The callbacks that were kept, oldest first."""
        return list(Callback.objects.filter(**named).order_by("received_at", "pk"))

    def inbox_states(self) -> list[str]:
        return [str(callback.state) for callback in self.inbox()]

    def ledger(self, row: Transaction) -> list[TransactionEvent]:
        """The row's events, oldest first."""
        return list(row.events.order_by("pk"))

    def notes(self, row: Transaction) -> list[str]:
        """What the ledger says about updates that moved nothing."""
        return [event.note for event in self.ledger(row) if event.note]

    def moves(self, row: Transaction) -> list[str]:
        """The states that the row went through."""
        return [event.to_state for event in self.ledger(row) if event.kind == "moved"]

    def attention(self, row: Transaction) -> set[str]:
        """The codes that wait for staff."""
        return set(self.row(row).attention_codes)

    def owed(self, row: Transaction) -> Mapping[str, str]:
        """The outbox of the row's order: key → state."""
        return dict(Fulfilment.objects.filter(order_id=row.order_id).values_list("key", "state"))
