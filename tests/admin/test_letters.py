"""Inbox and outbox: what was given up is seen, and tried again by hand."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Callback, Fulfilment, Transaction
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import CallbackRequest, State
from tests.factories import make_order, make_transaction

from .conftest import Staff, confirm, messages_of, page

pytestmark = pytest.mark.django_db(transaction=True)

INBOX, OUTBOX = "/admin/gatewaypay/callback/", "/admin/gatewaypay/fulfilment/"


@pytest.fixture
def owed() -> Fulfilment:
    """A fulfilment that was given up, because the shop's code fails."""
    make_transaction(State.SUCCESS, order=make_order(mood="raise"))
    Fulfilment.objects.update(state="dead", next_attempt_at=None)
    return Fulfilment.objects.get()


def mend(owed: Fulfilment) -> Any:
    """The cause is gone."""
    from tests.shop.models import Order

    Order.objects.update(mood="")
    return Order.objects.get(pk=owed.order_id)


def test_a_fulfilment_is_delivered_by_hand(staff: Staff, owed: Fulfilment) -> None:
    """With its own permission; first it fails again and says why, then it is done."""
    watcher, mender = staff("view_fulfilment"), staff("view_fulfilment", "retry_fulfilment", name="mender")
    shown = page(watcher, OUTBOX) + page(watcher, f"{OUTBOX}{owed.pk}/change/")
    again = confirm(mender, f"{OUTBOX}{owed.pk}/retry/")
    order = mend(owed)
    answer = confirm(mender, f"{OUTBOX}{owed.pk}/retry/")

    order.refresh_from_db()
    assert "HookFailed: no stock in the cellar" in shown
    assert "retry/" not in shown
    assert messages_of(again) == ["Your shop's code failed again: HookFailed: no stock in the cellar"]
    assert messages_of(answer) == ["Your shop has it: the fulfilment is done."]
    assert answer.redirect_chain[-1][0] == f"{OUTBOX}{owed.pk}/change/"
    assert (Fulfilment.objects.get().state, order.fulfilments) == ("done", 1)


def test_several_fulfilments_are_delivered_at_once(staff: Staff, owed: Fulfilment) -> None:
    """Who may not is not heard."""
    order = mend(owed)
    post = {"action": "retry_selected", "_selected_action": [str(owed.pk)]}
    staff("view_fulfilment").post(OUTBOX, post)
    before = Fulfilment.objects.get().state
    answer = staff("view_fulfilment", "retry_fulfilment").post(OUTBOX, post, follow=True)

    order.refresh_from_db()
    assert (before, Fulfilment.objects.get().state, order.fulfilments) == ("dead", "done", 1)
    assert messages_of(answer) == ["1 delivered."]


def test_what_is_done_is_not_done_again(admin_client: Client) -> None:
    """There is no button, and an old link leads back."""
    make_transaction(State.SUCCESS)
    done = Fulfilment.objects.get()
    shown = page(admin_client, f"{OUTBOX}{done.pk}/change/")
    answer = admin_client.get(f"{OUTBOX}{done.pk}/retry/", follow=True)

    assert "retry/" not in shown
    assert "is not possible now" in messages_of(answer)[0]


@pytest.fixture
def dead(hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Callback:
    """A callback that was given up, because of a bug that is mended by now."""
    settings.GATEWAYPAY["MAX_ATTEMPTS"] = 1
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    with monkeypatch.context() as broken:
        broken.setattr("django_gatewaypay.services.callbacks.load_update", lambda _: 1 / 0)
        [pk] = services.receive_callback("hosted", CallbackRequest(*hosted.callback(row.gateway_reference)))
        services.process_callback(pk)
    return Callback.objects.get()


def test_a_callback_is_worked_on_by_hand(staff: Staff, dead: Callback) -> None:
    """With its own permission; the list says why it was given up, and its page what is in it."""
    watcher = staff("view_callback")
    mender = staff("view_callback", "retry_callback", name="mender")
    inbox, content = page(watcher, INBOX), page(watcher, f"{INBOX}{dead.pk}/change/")
    post = {"action": "retry_selected", "_selected_action": [str(dead.pk)]}
    watcher.post(INBOX, post)
    before = Callback.objects.get().state
    answer = mender.post(INBOX, post, follow=True)

    assert "ZeroDivisionError: division by zero" in inbox
    assert "&quot;captured&quot;" in content
    assert (before, Transaction.objects.get().state) == ("dead", "success")
    assert messages_of(answer) == ["1 of 1 processed."]


def test_a_callback_is_worked_on_from_its_page(staff: Staff, dead: Callback, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each end is said in words."""
    mender = staff("view_callback", "retry_callback")
    with monkeypatch.context() as broken:
        broken.setattr("django_gatewaypay.services.callbacks.load_update", lambda _: 1 / 0)
        again = confirm(mender, f"{INBOX}{dead.pk}/retry/")
    answer = confirm(mender, f"{INBOX}{dead.pk}/retry/")

    assert messages_of(again) == ["It was given up again: ZeroDivisionError: division by zero"]
    assert messages_of(answer) == ["The callback is processed."]


def test_a_callback_that_matches_nothing_still_matches_nothing(admin_client: Client) -> None:
    """It has no payment to lead back to, so its own page is shown."""
    lost = Callback.objects.create(
        gateway="hosted",
        event_id="e",
        state="unmatched",
        gateway_reference="ps_x",
        update={},
        received_at=timezone.now(),
    )
    answer = confirm(admin_client, f"{INBOX}{lost.pk}/retry/")

    assert messages_of(answer) == ["It still matches no payment; it is tried again by itself."]
    assert answer.redirect_chain[-1][0] == f"{INBOX}{lost.pk}/change/"
