"""Who may open what: every address of our admin, for every permission."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from django_gatewaypay.models import Callback, Capture, Transaction
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import State
from tests.factories import make_transaction

from .conftest import Staff, make_comparison, make_dispute, make_refund

pytestmark = pytest.mark.django_db(transaction=True)

NEVER = frozenset({"nobody"})
VIEWS = frozenset(
    f"view_{model}" for model in ("transaction", "refund", "capture", "dispute", "callback", "fulfilment")
)
ACTIONS = (
    "refresh_transaction", "expire_transaction", "cancel_transaction", "capture_transaction", "refund_transaction",
    "resolve_transaction", "retry_callback", "retry_fulfilment",
)  # fmt: skip


@dataclass(frozen=True)
class Address:
    """A page, and the permissions that it takes, all of them."""

    url: str
    needs: frozenset[str]
    acts: bool = False


def addresses(pks: dict[str, object]) -> Iterator[Address]:
    """Every address that our model admins have, read from themselves."""
    for model, page in admin.site._registry.items():
        if model._meta.app_label != "gatewaypay":
            continue
        name = str(model._meta.model_name)
        seen = frozenset({"view_transaction" if name == "home" else f"view_{name}"})
        verbs = {verb.name: {verb.permission} for verb in getattr(page, "verbs", ())}
        verbs |= {"apply": {"refresh_transaction", "resolve_transaction"}} if name == "home" else {}
        for pattern in page.get_urls():
            route = str(pattern.pattern)
            if not pattern.name:
                continue  # Django's old addresses lead on to the new ones
            last = route.rstrip("/").rpartition("/")[2]
            url = f"/admin/gatewaypay/{name}/" + route.replace("<path:object_id>", "<str:pk>").replace(
                "<str:pk>", str(pks.get(name))
            )
            if last in verbs:
                yield Address(url, seen | verbs[last], acts=True)
            else:
                yield Address(url, NEVER if last in {"add", "delete"} else seen)


@pytest.fixture
def known(hosted: GatewayServer) -> list[Address]:
    """The addresses, with a row behind each."""
    row = make_transaction(State.SUCCESS)
    now = timezone.now()
    callback = Callback.objects.create(gateway="hosted", event_id="e", transaction=row, update={}, received_at=now)
    taken = Capture.objects.create(transaction=row, amount_minor=1, state="succeeded", created_at=now, updated_at=now)
    rows = {
        "transaction": row, "callback": callback, "capture": taken, "fulfilment": row.fulfilments.get(),
        "refund": make_refund(row, needs_approval=True), "dispute": make_dispute(row), "home": make_comparison(),
    }  # fmt: skip
    return list(addresses({name: one.pk for name, one in rows.items()}))


def answers(client: Client, known: list[Address]) -> dict[str, bool]:
    """Whether each page was refused."""
    return {one.url: client.get(one.url).status_code == 403 for one in known}


def test_the_sweep_knows_all_of_our_pages(known: list[Address]) -> None:
    """Lists, pages, histories, buttons, the export and the overview; each action has its own permission."""
    assert len([one for one in known if one.acts]) == 9 + 4 + 1 + 1 + 1 + 1
    assert {one.url.rstrip("/").rpartition("/")[2] for one in known} >= {
        "home", "export", "refund", "approve", "retry", "reconcile", "apply", "csv", "json",
    }  # fmt: skip
    assert frozenset().union(*(one.needs for one in known)) == VIEWS | set(ACTIONS) | NEVER


def test_the_permissions_are_those_of_the_models() -> None:
    """What the sweep gives exists."""
    ours = Permission.objects.filter(content_type__app_label="gatewaypay").values_list("codename", flat=True)

    assert set(ours) == VIEWS | set(ACTIONS) | {"view_transactionevent"}


@pytest.mark.parametrize("role", ["", *sorted(VIEWS), *ACTIONS])
def test_one_permission_opens_only_what_takes_no_other(staff: Staff, known: list[Address], role: str) -> None:
    """None at all, and each by itself: an action cannot be reached without seeing what it is done to."""
    held = frozenset({role} if role else ())
    refused = answers(staff(*held), known)

    assert refused == {one.url: not one.needs <= held for one in known}


@pytest.mark.parametrize("action", ["", *ACTIONS])
def test_who_sees_everything_does_only_what_is_permitted(staff: Staff, known: list[Address], action: str) -> None:
    """With every "view" and one action: that action's pages, and 403 on all others."""
    held = VIEWS | ({action} if action else frozenset())
    refused = answers(staff(*held), known)

    assert refused == {one.url: not one.needs <= held for one in known}


def test_a_superuser_opens_all_but_what_nobody_may(admin_client: Client, known: list[Address]) -> None:
    """Nothing is added and nothing is deleted, by whomever."""
    assert answers(admin_client, known) == {one.url: one.needs == NEVER for one in known}


def test_looking_changes_nothing(staff: Staff, known: list[Address], hosted: GatewayServer) -> None:
    """With every "view" and no action, a POST to any button is refused, and neither row nor gateway hears of it."""
    client = staff(*VIEWS)
    before = list(Transaction.objects.values())
    answered = {client.post(one.url, {"reason": "x"}).status_code for one in known if one.acts}

    assert answered == {403}
    assert list(Transaction.objects.values()) == before
    assert hosted.requests == []


def test_every_button_wants_a_token_of_its_own_form(known: list[Address], admin_user: object) -> None:
    """Another site's form does nothing here."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)  # type: ignore[arg-type]

    assert {client.post(one.url, {"reason": "x"}).status_code for one in known if one.acts} == {403}


def test_a_stranger_is_sent_to_log_in(known: list[Address]) -> None:
    """Every page of the admin asks who is there."""
    answered = [Client().get(one.url) for one in known]

    assert {answer.status_code for answer in answered} == {302}
    assert all("/admin/login/" in answer["Location"] for answer in answered)
