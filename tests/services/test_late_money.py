"""LATE_PAYMENT = "refund": money that came after the end goes back by itself, once, or a person has to look."""

from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.lifecycle import apply_update, door
from django_gatewaypay.models import Fulfilment, Refund, Transaction
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import CallbackRequest, PaymentUpdate, Source, State
from tests.factories import make_order, make_transaction
from tests.invariants import check_books, check_settled
from tests.shop.models import Order
from tests.test_races import together

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 20


@pytest.fixture(autouse=True)
def given_back(settings: Any, hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's policy; retries do not sleep."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "LATE_PAYMENT": "refund"}
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


def ended(order: Order | None = None) -> Transaction:
    """A payment that has expired, at a gateway whose session is still open."""
    row = services.initiate(str((order or make_order()).pk)).transaction
    services.expire(row.pk)
    return row


def paid_late(hosted: GatewayServer, order: Order | None = None) -> Transaction:
    row = ended(order)
    hosted.pay(row.gateway_reference)
    return services.refresh(row.pk)


def told(hosted: GatewayServer, row: Transaction) -> None:
    """The gateway calls back about a payment as it is now."""
    for pk in services.receive_callback("hosted", CallbackRequest(*hosted.callback(row.gateway_reference))):
        services.process_callback(pk)


def asked(hosted: GatewayServer) -> list[Any]:
    """The orders to give money back that reached the gateway."""
    return [one for one in hosted.requests if one.method == "POST" and one.path.startswith("/refund/")]


def fresh(row: Transaction) -> Transaction:
    return Transaction.objects.get(pk=row.pk)


def fulfilled(row: Transaction) -> int:
    return Fulfilment.objects.filter(order_id=row.order_id, kind="fulfil").count()


def test_late_money_goes_back_in_full(hosted: GatewayServer) -> None:
    """One refund of all, nobody's flag, no hook; the ledger says why, and that no person asked."""
    row = paid_late(hosted)
    before = len(asked(hosted))
    services.sweep()
    row, refund = fresh(row), Refund.objects.get()
    line = row.events.filter(kind="refund").first()

    assert (before, len(asked(hosted)), fulfilled(row)) == (0, 1, 0)
    assert (row.state, row.late, row.attention, str(row.refund_status)) == ("success", True, "", "full")
    assert (refund.state, refund.amount_minor, refund.actor) == ("succeeded", 1999, None)
    assert (line.source, line.actor, line.note) == ("system", None, "Paid after the payment had ended (expired).")
    check_settled(hosted)


@pytest.mark.parametrize("before", ["expired", "canceled", "failed"])
def test_the_refund_is_owed_in_the_commit_of_the_late_success(before: str) -> None:
    """Whoever dies after it leaves a row that is due at once, and money that is set aside."""
    row = make_transaction(before)
    apply_update(row.pk, PaymentUpdate(state=State.SUCCESS, captured=row.amount), source=Source.POLL)
    refund = Refund.objects.get()

    assert (refund.state, refund.attempts, fresh(row).refunding_minor) == ("requested", 0, 1999)
    assert refund.reason == f"Paid after the payment had ended ({before})."
    assert list(Refund.objects.due(timezone.now())) == [refund]
    check_books()


def test_a_crash_between_the_commit_and_what_follows_it_loses_nothing(
    hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing after the commit of the late success is needed: the next sweep tells the gateway."""
    row = ended()
    hosted.pay(row.gateway_reference)
    with monkeypatch.context() as dying:
        dying.setattr(door, "_settle", die)
        dying.setattr("django_gatewaypay.services.refreshing.settle_captures", die)
        with pytest.raises(KeyboardInterrupt):
            services.refresh(row.pk)
    services.tick()

    assert (len(asked(hosted)), Refund.objects.get().state) == (1, "succeeded")


def open_foreign(row: Transaction) -> None:
    """Money of it went back at the gateway's console."""
    now = timezone.now()
    Refund.objects.create(
        transaction=row, amount_minor=500, foreign=True, state="succeeded", created_at=now, updated_at=now
    )


def die(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_crash_inside_the_commit_writes_neither(hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No late success without its refund; the poll finds the money again."""
    row = ended()
    hosted.pay(row.gateway_reference)
    with monkeypatch.context() as dying:
        dying.setattr("django_gatewaypay.lifecycle.late.write_intent", die)
        with pytest.raises(KeyboardInterrupt):
            services.refresh(row.pk)
    found = (fresh(row).state, Refund.objects.count())
    services.refresh(row.pk)
    services.sweep()

    assert found == ("expired", 0)
    assert len(asked(hosted)) == 1


def test_callback_and_poll_at_once_refund_once(hosted: GatewayServer) -> None:
    """Whoever is first writes the refund; two sweeps at once tell the gateway once."""
    for _ in range(ROUNDS):
        row = ended()
        hosted.pay(row.gateway_reference)
        heard = together(partial(told, hosted, row), partial(services.refresh, row.pk))
        swept = together(services.sweep, services.sweep)
        assert not [one for one in [*heard, *swept] if isinstance(one, Exception)], (heard, swept)
        told(hosted, row)
        services.tick()

    assert (Refund.objects.count(), len(asked(hosted))) == (ROUNDS, ROUNDS)
    assert set(Transaction.objects.values_list("returned_minor", flat=True)) == {1999}
    check_books(hosted)


def test_a_gateway_that_says_no_leaves_it_to_staff(hosted: GatewayServer) -> None:
    """The payment is a late one like any other, with the reason; nothing is tried again by itself."""
    row = paid_late(hosted)
    hosted.script(Answer.json({"error": "charge_disputed"}, 402))
    services.sweep()
    services.tick()
    row = fresh(row)

    assert (Refund.objects.get().state, len(asked(hosted)), row.refunding_minor) == ("failed", 1, 0)
    assert row.attention_codes == {"late", "refund_failed"}
    assert "not given back: GatewayDeclined" in row.events.filter(attention__contains="late").first().note
    check_books(hosted)


def test_staff_give_it_back_anew_or_fulfil_it(hosted: GatewayServer) -> None:
    """What has failed by itself stands in nobody's way."""
    rows = [paid_late(hosted) for _ in range(2)]
    hosted.script(*[Answer.json({"error": "no"}, 402)] * 2)
    services.sweep()
    again = services.refund(rows[0].pk, reason="by hand")
    services.fulfil(rows[1].pk, reason="still in stock", actor=None)

    assert (again.state, fulfilled(rows[0]), fulfilled(rows[1])) == ("succeeded", 0, 1)
    check_books(hosted)


def test_a_refund_without_an_answer_is_told_again_under_its_key(hosted: GatewayServer) -> None:
    """The same row, the same key: one refund at the gateway."""
    row = paid_late(hosted)
    hosted.script(*[Answer.error(503)] * 3)
    services.sweep()
    waiting = Refund.objects.get().state
    Refund.objects.update(next_attempt_at=timezone.now())
    services.sweep()

    assert (waiting, Refund.objects.get().state, fresh(row).attention) == ("unknown", "succeeded", "")
    assert {one.key for one in asked(hosted)} == {f"gatewaypay-refund-{Refund.objects.get().pk}"}


def test_a_gateway_that_cannot_refund_leaves_it_to_staff(
    hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row that nobody can work on: the late success waits, and says why."""
    monkeypatch.setattr("django_gatewaypay.gateways.hosted.HostedGateway.supports_refund", False)
    row = paid_late(hosted)
    services.sweep()

    assert (Refund.objects.count(), row.attention) == (0, "late")
    assert row.events.last().note.endswith("cannot refund a payment")


def test_an_account_that_is_gone_leaves_it_to_staff() -> None:
    """The host has taken it out of the settings."""
    row = make_transaction("expired", gateway="gone")
    apply_update(row.pk, PaymentUpdate(state=State.SUCCESS, captured=row.amount), source=Source.POLL)

    assert (Refund.objects.count(), fresh(row).attention) == (0, "late")
    assert row.events.last().note == "not given back: the gateway gone is not in the settings"


@pytest.mark.parametrize("share", [2, 0.5])
def test_late_money_that_does_not_match_waits_for_a_person(share: float) -> None:
    """Part of it, or too much: held, as ever; and the rest, when it comes, is not for the clock to decide."""
    row = make_transaction("expired")
    other = row.amount / 2 if share == 0.5 else row.amount * 2
    apply_update(row.pk, PaymentUpdate(state=State.SUCCESS, captured=other), source=Source.POLL)
    held = fresh(row)
    apply_update(row.pk, PaymentUpdate(state=State.SUCCESS, captured=row.amount), source=Source.POLL)

    assert (held.state, held.attention) == ("held", "mismatch")
    assert Refund.objects.count() == 0
    assert "mismatch" in fresh(row).attention_codes


@pytest.mark.parametrize(
    "update", [{"flags": frozenset({"disputed"})}, {"refunded": "part"}], ids=["disputed", "given back in part"]
)
def test_late_money_with_other_news_waits_for_a_person(update: dict[str, Any]) -> None:
    """A dispute takes it back already; and of what went back in part, a person knows the rest."""
    row = make_transaction("expired")
    said = {name: row.amount / 2 if value == "part" else value for name, value in update.items()}
    apply_update(row.pk, PaymentUpdate(state=State.SUCCESS, captured=row.amount, **said), source=Source.POLL)

    assert (Refund.objects.count(), "late" in fresh(row).attention_codes) == (0, True)


def test_a_refund_that_was_made_before_waits_for_a_person(hosted: GatewayServer) -> None:
    """The gateway's console was faster: whatever is left, the clock does not touch it."""
    row = ended()
    open_foreign(row)
    hosted.pay(row.gateway_reference)
    services.refresh(row.pk)

    assert (Refund.objects.count(), "late" in fresh(row).attention_codes) == (1, True)
    assert row.events.filter(note="not given back: a refund of it is in the books already").exists()


def test_a_refund_that_comes_in_between_undoes_the_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen only when the row is ours: nothing of the decision is written, and it is made again."""
    row = make_transaction("expired")
    look = door.late_policy

    def look_then_lose(found: Transaction) -> tuple[str, str]:
        seen = look(found)
        if not Refund.objects.exists():
            open_foreign(row)
        return seen

    monkeypatch.setattr(door, "late_policy", look_then_lose)
    apply_update(row.pk, PaymentUpdate(state=State.SUCCESS, captured=row.amount), source=Source.POLL)

    assert (Refund.objects.count(), fresh(row).attention) == (1, "late")
    assert row.events.filter(to_state="success").count() == 1


def test_no_limit_stops_it(settings: Any, hosted: GatewayServer) -> None:
    """The limit is for what one person gives away; this is the host's own rule, and the payer's own money."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "REFUND_APPROVAL_ABOVE": {"EUR": "1.00"}}
    paid_late(hosted)
    services.sweep()

    assert (Refund.objects.get().state, Refund.objects.get().needs_approval) == ("succeeded", False)


def test_a_second_payment_of_an_order_stays_with_staff(hosted: GatewayServer) -> None:
    """Late, and the order was paid meanwhile: a duplicate, as under every policy."""
    order = make_order()
    first = ended(order)
    second = services.initiate(str(order.pk)).transaction
    hosted.pay(second.gateway_reference)
    services.refresh(second.pk)
    hosted.pay(first.gateway_reference)
    row = services.refresh(first.pk)
    services.sweep()

    assert (Refund.objects.count(), row.attention_codes) == (0, {"duplicate_payment", "late"})


def test_a_shopper_who_got_it_back_pays_again_without_a_flag(hosted: GatewayServer) -> None:
    """What went back is no other payment of the order: the new one is fulfilled, and nobody has to look."""
    order = make_order()
    paid_late(hosted, order)
    services.sweep()
    again = services.initiate(str(order.pk)).transaction
    hosted.pay(again.gateway_reference)
    again = services.refresh(again.pk)

    assert (again.state, again.attention, fulfilled(again)) == ("success", "", 1)
    check_books(hosted)


def test_what_went_back_keeps_no_stock(hosted: GatewayServer) -> None:
    """The next attempt fails: the order has no other payment, and its stock is given back."""
    order = make_order()
    paid_late(hosted, order)
    services.sweep()
    again = ended(order)
    order.refresh_from_db()

    assert Fulfilment.objects.get(key=f"release:{again.pk}").state == "done"
    assert order.releases == 2


def test_money_that_was_late_before_the_policy_stays_as_it_was(settings: Any, hosted: GatewayServer) -> None:
    """What waits for staff is not swept up by a change of the setting."""
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "LATE_PAYMENT": "review"}
    row = paid_late(hosted)
    settings.GATEWAYPAY = {**settings.GATEWAYPAY, "LATE_PAYMENT": "refund"}
    services.refresh(row.pk)
    services.tick()

    assert (Refund.objects.count(), fresh(row).attention) == (0, "late")
