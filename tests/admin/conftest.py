"""Members of staff with the permissions that a test gives them, and the pages that they see."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Comparison, Dispute, Refund, Transaction
from django_gatewaypay.services.comparing import Kind
from django_gatewaypay.services.reporting import Account, Difference, Report
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import State
from tests.factories import make_order, make_transaction

LIST = "/admin/gatewaypay/transaction/"
Staff = Callable[..., Client]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that is asked again is asked at once."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


@pytest.fixture
def staff() -> Staff:
    """A browser of a member of staff who has the named permissions, and no others."""

    def log_in(*codenames: str, name: str = "") -> Client:
        user = get_user_model().objects.create_user(name or f"staff-{'-'.join(codenames)}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(user)
        return client

    return log_in


def page(client: Client, url: str, **query: str) -> str:
    answer = client.get(url, query)
    assert answer.status_code == 200, answer.status_code
    return str(answer.content.decode())


def rows_of(shown: str) -> int:
    """How many rows a list shows."""
    return len(re.findall(r'<th class="field-', shown))


def messages_of(answer: Any) -> list[str]:
    """What a page says at its top."""
    return [str(message) for message in answer.context["messages"]]


def hidden_of(shown: str) -> dict[str, str]:
    """The hidden fields of a confirm page, but for the CSRF token."""
    pairs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', shown)
    return {name: value for name, value in pairs if name != "csrfmiddlewaretoken"}


def confirm(client: Client, url: str, **fields: Any) -> Any:
    """Open a confirm page, fill it in and send it; the page that follows."""
    shown = page(client, url)
    return client.post(url, {**hidden_of(shown), **fields}, follow=True)


def make_refund(row: Transaction, **fields: Any) -> Refund:
    """A refund in the books, as if it had got so far; nobody has told a gateway."""
    now = timezone.now()
    return Refund.objects.create(
        **{
            "transaction": row,
            "amount_minor": 500,
            "reason": "sent back",
            "created_at": now,
            "updated_at": now,
            **fields,
        }
    )


def make_dispute(row: Transaction, **fields: Any) -> Dispute:
    """A dispute in the books."""
    now = timezone.now()
    known = {"gateway_reference": "dp_1", "state": "open", "opened_at": now, "updated_at": now}
    return Dispute.objects.create(**{"transaction": row, **known, **fields})


def make_comparison(**fields: Any) -> Comparison:
    """One that is over, and has found a payment of nobody."""
    now = timezone.now()
    report = Report(now - timedelta(days=1), now, accounts=[Account("hosted", listed=True, asked=True, theirs=1)])
    report.add(
        Difference(
            kind=Kind.MISSING_HERE,
            gateway="hosted",
            transaction_id=str(uuid.uuid4()),
            order_id="7",
            reference="ps_7",
            ours="",
            theirs="success 19.99 EUR",
        )
    )
    kept = services.keep_report(report)
    Comparison.objects.filter(pk=kept.pk).update(**fields)
    return Comparison.objects.get(pk=kept.pk)


@pytest.fixture
def paid(hosted: GatewayServer) -> Transaction:
    """A payment that is paid, here and at the gateway."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    return services.refresh(row.pk)


def make_held(**fields: Any) -> Transaction:
    """Half of the money came."""
    return make_transaction(State.HELD, **{"amount_minor": 2000, **fields})
