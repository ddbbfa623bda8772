"""Callbacks that are not what the gateway sent, and what has to become of them."""

from collections.abc import Iterable
from dataclasses import replace

from django_gatewaypay.models import Transaction
from django_gatewaypay.types import CallbackRequest

from .world import World, snapshot

__all__ = ["REFUSED", "assert_refused", "headed", "paid", "signature_header"]

#: What a refusal says to the sender, whatever was wrong.
REFUSED = (400, b"Refused.\n")


def paid(world: World) -> tuple[Transaction, CallbackRequest]:
    """A payment that was made, and the callback that says so."""
    row = world.start()
    world.happen(row, "success")
    return row, world.tell(row)


def headed(callback: CallbackRequest, **headers: str | None) -> CallbackRequest:
    """The same callback with other headers; None takes one away."""
    given = {name.lower(): value for name, value in callback.headers.items()}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}  # type: ignore[misc]
    return replace(callback, headers={name: value for name, value in given.items() if value is not None})


def assert_refused(world: World, forgeries: Iterable[CallbackRequest]) -> int:
    """Each is answered alike, and no row of any table is written or changed; how many there were."""
    before, count = snapshot(), 0
    for count, forged in enumerate(forgeries, 1):  # noqa: B007 - counted
        response = world.post(forged)
        assert (response.status_code, response.content) == REFUSED, (forged.headers, forged.body)
    assert snapshot() == before
    return count


def signature_header(world: World) -> str:
    return {"sandbox": "webhook-signature", "stripe": "stripe-signature"}[world.name]
