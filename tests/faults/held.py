"""What has to become of a payment that is not what was asked for."""

from django_gatewaypay.models import Transaction

from .world import World

__all__ = ["assert_held", "assert_paid_later"]


def assert_held(world: World, row: Transaction, reason: str) -> None:
    """Nobody has won anything: the shop waits, the shopper is told so, staff are told why."""
    assert world.fate(row) == ("held", 0)
    assert (row.reason, world.attention(row)) == (reason, {"mismatch"})
    assert world.owed(row) == {}
    told = world.status(row)
    assert (told["status"], told["state"], told["reason"]) == ("pending", "held", "under_review")
    assert "We are checking your payment" in world.page(row)
    [callback] = world.inbox()
    assert callback.state == "processed"


def assert_paid_later(world: World, row: Transaction) -> None:
    """A stranger's cent blocks no order: the full payment still wins."""
    world.happen(row, "success")
    response = world.post(world.tell(row))

    assert (response.status_code, world.fate(row)) == (200, ("success", 1))
    assert world.status(row)["status"] == "success"
