"""Faults 14 to 18: whom it is about. A good signature may stand under another's payment, or under play money."""

import json
import uuid
from typing import Any

import pytest

from django_gatewaypay.models import Callback, Transaction
from django_gatewaypay.types import CallbackRequest

from .forgery import assert_refused
from .held import assert_held, assert_paid_later
from .world import World, only, snapshot

# --- 14 and 15


def without(tables: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: rows for name, rows in tables.items() if name not in names}


@pytest.mark.parametrize("stranger", ["uuid", "text"])
def test_fault_14_another_merchants_transaction(world: World, stranger: str) -> None:
    """200 like for our own, kept as unmatched, nothing touched, and no word about whether it exists."""
    row = world.start()
    world.happen(row, "success")
    name = str(uuid.uuid4()) if stranger == "uuid" else "order 7 of the shop next door"
    theirs = {
        "sandbox": {"transaction_id": name, "reference": "ps_theirs"},
        "stripe": {"metadata": {"transaction_id": name}},
        "mollie": {"id": "tr_theirs"},
    }[world.name]
    before = snapshot()
    strange = world.post(world.tell(row, **theirs))
    after = snapshot()
    known = world.post(world.tell(row))

    assert (strange.status_code, strange.content, strange.headers) == (200, known.content, known.headers)
    assert without(after, "Callback") == without(before, "Callback")
    assert [callback["state"] for callback in after["Callback"]] == ["unmatched"]
    assert Callback.objects.get(state="unmatched").transaction is None
    assert world.fate(row) == ("success", 1)


@only("stripe")
def test_fault_14_a_payment_of_another_integration(world: World) -> None:
    """What the account was paid without us names nothing of ours: kept, set aside, and no work for anybody."""
    row = world.start()
    world.happen(row, "success")
    before = snapshot()
    response = world.post(world.tell(row, metadata={}))

    assert (response.status_code, world.inbox_states()) == (200, ["processed"])
    assert without(snapshot(), "Callback") == without(before, "Callback")


def test_fault_15_a_transaction_of_another_account(world: World) -> None:
    """An account's word is good for its own payments only, though both belong to this shop."""
    # Two accounts have a secret each, but where there is none.
    world.configure("wallet")
    row = world.start(alias="wallet")
    world.happen(row, "success")
    before = snapshot()
    response = world.post(world.tell(row), alias="card")

    assert response.status_code == 200
    assert without(snapshot(), "Callback") == without(before, "Callback")
    assert (world.inbox_states(), world.fate(row)) == (["unmatched"], ("pending", 0))
    assert world.post(world.tell(row), alias="wallet").status_code == 200
    assert world.fate(row) == ("success", 1)


@only("sandbox", "stripe")
def test_fault_15_the_secret_of_another_account(world: World) -> None:
    """Who can sign for one account can say nothing to another one."""
    world.configure("wallet", webhook_secrets=[world.play.bench.stranger])
    row = world.start(alias="wallet")
    world.happen(row, "success")
    before = snapshot()
    refused = world.post(world.tell(row), alias="wallet")

    assert (refused.status_code, snapshot()) == (400, before)
    assert world.post(world.tell(row, secret=world.play.bench.stranger), alias="wallet").status_code == 200
    assert world.fate(row) == ("success", 1)


def tell_of_another_session(world: World, row: Transaction) -> CallbackRequest:
    """It names our transaction, and a session that we did not open."""
    if world.name == "mollie":
        # A hint says nothing; here it is the gateway's own answer that names another payment.
        world.server.sessions[row.gateway_reference]["id"] = "tr_other"
        return world.tell(row)
    if world.name == "stripe":
        return world.tell(row, kind="checkout.session.completed", id="cs_test_other")
    return world.tell(row, reference="ps_other")


def test_fault_15_another_session_of_our_transaction(world: World) -> None:
    """Money on a session that is not ours is held for staff, never a success."""
    row = world.start()
    ours = row.gateway_reference
    world.happen(row, "success")
    response = world.post(tell_of_another_session(world, row))

    assert response.status_code == 200
    assert_held(world, row, "reference_mismatch")
    assert row.gateway_reference == ours
    world.server.sessions[ours].update(id=ours) if world.name == "mollie" else None
    assert_paid_later(world, row)


# --- 16


FUTURE = {
    "sandbox": [{"type": "payment.insured"}, {"api_version": "2031-01-01", "lines": [{"sku": 1}], "amount_usd": 1e9}],
    "stripe": [{"livemode": None, "presentment_details": {"amount": 1}}, {"object": "payment_intent_v3"}],
}


@only("sandbox", "stripe")
def test_fault_16_fields_of_a_newer_version(world: World) -> None:
    """What is not known is not needed: the payment counts, once."""
    row = world.start()
    world.happen(row, "success")
    answers = [world.post(world.tell(row, **more)).status_code for more in FUTURE[world.name]]

    assert answers == [200] * 2
    assert (world.inbox_states(), world.fate(row)) == (["processed"] * 2, ("success", 1))


KINDS = (
    "customer.created",
    "invoice.paid",
    "payout.paid",
    "v2.core.event",
    "word_of_next_year",
    "",
    "checkout.session",
)


@only("stripe")
@pytest.mark.parametrize("kind", KINDS)
def test_fault_16_an_event_of_an_unknown_type(world: World, kind: str) -> None:
    """200, stored and ignored, whatever is inside."""
    row = world.start()
    world.happen(row, "success")
    callback = world.tell(row)
    event = json.loads(callback.body) | {"type": kind, "api_version": "2031-01-01.word"}
    before = snapshot()
    response = world.post(world.resign(callback, json.dumps(event).encode()))

    assert (response.status_code, world.inbox_states()) == (200, ["processed"])
    assert without(snapshot(), "Callback") == without(before, "Callback")


@only("sandbox")
def test_fault_16_an_event_that_names_nothing(world: World) -> None:
    """200, stored and ignored."""
    row = world.start()
    before = snapshot()
    callback = world.tell(row, transaction_id=None, reference=None, status="success", type="payout.paid")

    assert (world.post(callback).status_code, world.inbox_states()) == (200, ["processed"])
    assert without(snapshot(), "Callback") == without(before, "Callback")


@only("mollie")
def test_fault_16_an_event_of_another_thing(world: World) -> None:
    """A hint about what is no payment is stored and ignored."""
    row = world.start()
    before = snapshot()

    assert world.tell_all(*(world.tell(row, id=name) for name in ("ord_1", "po_1", "sub_1"))) == [200] * 3
    assert world.inbox_states() == ["processed"] * 3
    assert without(snapshot(), "Callback") == without(before, "Callback")


def test_fault_16_an_unknown_status(world: World) -> None:
    """Still pending and a flag for staff, never success; the next word that is known counts."""
    row = world.start()
    word = world.play.bench.unknown_word
    if world.name == "stripe":
        world.server.act(row.gateway_reference, word)
        world.server.sessions[row.gateway_reference]["payment_status"] = word
    else:
        world.server.set_status(row.gateway_reference, word)
    response = world.post(world.tell(row))

    assert (response.status_code, world.fate(row)) == (200, ("pending", 0))
    assert world.attention(row) == {"unknown_state"}
    assert world.status(row)["status"] == "pending"
    world.happen(row, "success")
    assert (world.post(world.tell(row)).status_code, world.fate(row)) == (200, ("success", 1))


# --- 17


@only("mollie")
def test_fault_17_a_hint_with_a_made_up_id(world: World) -> None:
    """200, and no transaction is touched: nothing is believed of what anybody can send."""
    row = world.start()
    world.happen(row, "success")
    before = snapshot()
    made_up = [world.tell(row, id=name) for name in ("tr_madeup", "tr_" + "9" * 60, str(row.pk), "../tr_1", "tr_1/x")]

    assert world.tell_all(*made_up) == [200] * 5
    assert without(snapshot(), "Callback") == without(before, "Callback")
    assert set(world.inbox_states()) <= {"unmatched", "processed"}
    assert {callback.transaction for callback in world.inbox()} == {None}


@only("mollie")
def test_fault_17_a_hint_about_a_true_payment(world: World) -> None:
    """We read the status from the gateway, and what it says is all that counts: open first, then paid."""
    row = world.start()
    calls, before = len(world.server.requests), snapshot()
    early = world.post(world.tell(row))
    asked = world.server.requests[calls:]

    assert (early.status_code, without(snapshot(), "Callback")) == (200, without(before, "Callback"))
    assert [(call.method, call.path) for call in asked] == [("GET", f"/v2/payments/{row.gateway_reference}")]
    world.happen(row, "success")
    assert (world.post(world.tell(row)).status_code, world.fate(row)) == (200, ("success", 1))


# --- 18


@only("stripe")
def test_fault_18_a_test_event_on_a_live_account(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Play money pays nothing: 200, unmatched, and an alert."""
    world.configure(api_key="sk_live_do_not_show")
    row = world.start()
    world.happen(row, "success")
    callback = world.tell(row)
    event = json.loads(callback.body) | {"livemode": False}
    response = world.post(world.resign(callback, json.dumps(event).encode()))

    assert (response.status_code, world.inbox_states()) == (200, ["unmatched"])
    assert world.fate(row) == ("pending", 0)
    assert any("test" in record.getMessage() for record in caplog.records if record.name.startswith("gatewaypay"))


@only("mollie")
def test_fault_18_a_test_payment_on_a_live_account(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Play money pays nothing, though the gateway's own answer says that it is paid."""
    world.configure(api_key="live_do_not_show")
    row = world.start()
    world.happen(row, "success")
    assert world.server.sessions[row.gateway_reference]["mode"] == "test"
    response = world.post(world.tell(row))

    assert (response.status_code, world.inbox_states()) == (200, ["unmatched"])
    assert world.fate(row) == ("pending", 0)
    assert any("test" in record.getMessage() for record in caplog.records if record.name.startswith("gatewaypay"))


@only("sandbox", "stripe")
def test_fault_18_the_secret_of_the_test_mode(world: World) -> None:
    """A live account has a secret of its own: what the test mode signs is a stranger's, 400, and no row."""
    row = world.start()
    world.happen(row, "success")
    assert_refused(world, [world.tell(row, secret=world.play.bench.stranger)])

    assert world.fate(row) == ("pending", 0)
