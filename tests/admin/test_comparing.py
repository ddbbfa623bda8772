"""The page of a comparison: begin it, watch it, read what differs, take it home as a file, and have it mended."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.models import Comparison, Transaction
from django_gatewaypay.services import stepping
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from tests.factories import make_order
from tests.invariants import check_books
from tests.services.test_reconciling import forget

from .conftest import LIST, Staff, confirm, make_comparison, messages_of, page

pytestmark = pytest.mark.django_db(transaction=True)

HOME = "/admin/gatewaypay/home/"
URL = f"{HOME}reconcile/"
MAY_APPLY = ("view_transaction", "refresh_transaction", "resolve_transaction")


@pytest.fixture
def viewer(staff: Staff) -> Client:
    """Somebody who may look, and nothing else."""
    return staff("view_transaction", name="viewer")


def days(**fields: Any) -> dict[str, Any]:
    """What the form has in it when it is opened, with what a test changes."""
    today = timezone.localdate()
    return {"gateways": ["hosted"], "since": today - timedelta(days=1), "until": today, **fields}


def differing(hosted: GatewayServer) -> tuple[Transaction, Transaction]:
    """A payment that was paid without a word to us, and one that a backup has lost."""
    untold, lost = (services.initiate(str(make_order().pk)).transaction for _ in range(2))
    for row in (untold, lost):
        hosted.pay(row.gateway_reference)
    services.refresh(lost.pk)
    forget(lost)
    return untold, lost


def test_the_overview_and_the_list_lead_to_it(viewer: Client) -> None:
    """One link each, for whoever may look."""
    shown = [page(viewer, url).count(f'href="{URL}"') for url in (HOME, LIST)]

    assert shown == [1, 1]


def test_what_differs_is_shown_in_words(viewer: Client, hosted: GatewayServer) -> None:
    """Begun with a click; the kinds, both sides' words, and the way to the payment where there is one."""
    untold, lost = differing(hosted)
    answer = viewer.post(URL, days(), follow=True)
    shown = answer.content.decode()

    assert answer.redirect_chain[0][0].startswith(URL)
    assert "Refresh" not in answer
    assert "3 differences need a person." in shown
    assert ("states differ" in shown, "missing here" in shown, "Compared both ways." in shown) == (True, True, True)
    assert f'href="{LIST}{untold.pk}/change/"' in shown
    assert str(lost.pk) not in shown
    assert "success 19.99 EUR" in shown
    assert Transaction.objects.get(pk=untold.pk).state == "pending"


def test_nothing_differs(viewer: Client, hosted: GatewayServer) -> None:
    """Said in one line; a table of nothing is not shown, and there is nothing to mend."""
    shown = viewer.post(URL, days(), follow=True).content.decode()

    assert "Our books and the gateways' agree." in shown
    assert ("Payment by payment" in shown, "/apply/" in shown, "/csv/" in shown) == (False, False, False)


def test_a_long_one_goes_on_by_itself(viewer: Client, hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page works for some seconds, says how far it is, and has itself shown again; no script is needed."""
    monkeypatch.setattr(stepping, "WORK_SECONDS", 0)
    differing(hosted)
    shown, refreshed, answer = [], [], viewer.post(URL, days(), follow=True)
    while "Refresh" in answer:
        shown.append(answer.content.decode())
        refreshed.append(answer["Refresh"])
        answer = viewer.get(answer.request["PATH_INFO"])

    assert len(shown) > 2
    assert set(refreshed) == {"1"}
    assert all('<progress max="100"' in one and "Comparing …" in one for one in shown)
    assert "3 differences" in answer.content.decode()


def test_it_goes_on_for_who_has_begun_it(
    viewer: Client, staff: Staff, hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others see how far it is; their looking does nothing, and neither does a HEAD."""
    monkeypatch.setattr(stepping, "WORK_SECONDS", 0)
    begun = viewer.post(URL, days())
    other = staff("view_transaction", name="other")
    seen = other.get(begun["Location"])
    viewer.head(begun["Location"])

    assert "viewer has begun it" in seen.content.decode()
    assert "Refresh" not in seen
    assert Comparison.objects.get().share == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"gateways": []}, "gateways"),
        ({"gateways": ["nobody"]}, "gateways"),
        ({"since": ""}, "since"),
        ({"since": "soon"}, "since"),
        ({"since": "2999-01-01"}, "since"),
        ({"since": "2020-01-01"}, "since"),
        ({"until": "2020-01-01"}, "until"),
    ],
)
def test_what_is_no_time_or_no_gateway_is_said_beside_the_field(
    viewer: Client, fields: dict[str, Any], field: str
) -> None:
    """And nothing is begun."""
    answer = viewer.post(URL, days(**fields))

    assert list(answer.context["form"].errors) == [field]
    assert not Comparison.objects.exists()


def test_the_files_have_what_the_page_has(viewer: Client, hosted: GatewayServer) -> None:
    """CSV for a spreadsheet, which runs no cell of it, and JSON with everything."""
    untold, lost = differing(hosted)
    Transaction.objects.filter(pk=untold.pk).update(order_id="=1+1")
    at = viewer.post(URL, days())["Location"]
    viewer.get(at)
    table, everything = (viewer.get(f"{at}{name}/") for name in ("csv", "json"))
    lines = list(csv.DictReader(io.StringIO(table.content.decode(), newline="")))
    told = json.loads(everything.content)

    assert {line["transaction_id"] for line in lines} == {str(untold.pk), str(lost.pk)}
    assert "'=1+1" in {line["order_id"] for line in lines}
    assert (table["Content-Type"], everything["Content-Type"]) == ("text/csv; charset=utf-8", "application/json")
    assert all(one["Content-Disposition"].startswith("attachment; ") for one in (table, everything))
    assert (told["left"], told["counts"], told["complete"]) == (3, {"amount": 1, "state": 1, "missing_here": 1}, True)


def test_mending_asks_why_first_and_does_it_then(staff: Staff, hosted: GatewayServer) -> None:
    """The same time again; what follows the gateway and what is written again say who and why."""
    untold, lost = differing(hosted)
    boss = staff(*MAY_APPLY, name="boss")
    at = boss.post(URL, days())["Location"]
    looked = page(boss, at)
    before = Transaction.objects.get(pk=untold.pk).state
    shown = page(boss, f"{at}apply/")
    nothing_said = boss.post(f"{at}apply/", {"reason": " "})
    answer = confirm(boss, f"{at}apply/", reason="a callback was lost")
    told = answer.content.decode()

    assert f'href="{at}apply/"' in looked
    assert "What still differs then is flagged." in shown
    assert list(nothing_said.context["form"].errors) == ["reason"]
    assert (before, Transaction.objects.get(pk=untold.pk).state) == ("pending", "success")
    assert Transaction.objects.get(pk=lost.pk).state == "held"
    assert ("mended: our books follow the gateway" in told, "written again, and held" in told) == (True, True)
    assert "Mended for boss: “a callback was lost”" in told
    assert untold.events.last().actor.get_username() == "boss"
    check_books(hosted)


def test_a_double_click_mends_once(staff: Staff, hosted: GatewayServer) -> None:
    """The second finds the one that is under way."""
    differing(hosted)
    boss = staff(*MAY_APPLY, name="boss")
    at = boss.post(URL, days())["Location"]
    boss.get(at)
    places = {boss.post(f"{at}apply/", {"reason": "x"})["Location"] for _ in range(2)}

    assert len(places) == 1
    assert Comparison.objects.filter(applied=True).count() == 1


def test_what_cannot_be_mended_leads_back(staff: Staff, hosted: GatewayServer) -> None:
    """It agrees, or is not over, or has mended already."""
    boss = staff(*MAY_APPLY, name="boss")
    agreed = boss.post(URL, days())["Location"]
    boss.get(agreed)
    others = [make_comparison(applied=True), make_comparison(finished_at=None)]
    answers = [boss.get(f"{at}apply/", follow=True) for at in (agreed, *(f"{URL}{one.pk}/" for one in others))]

    assert [messages_of(one) for one in answers] == [["There is nothing here that could be mended."]] * 3


@pytest.mark.parametrize("missing", MAY_APPLY)
def test_who_may_not_ask_or_decide_does_not_have_all_mended(staff: Staff, missing: str) -> None:
    """No button, and 403 by hand, also for a POST."""
    one = make_comparison()
    client = staff(*(set(MAY_APPLY) - {missing}), name="half")
    at = f"{URL}{one.pk}/"

    assert client.get(f"{at}apply/").status_code == client.post(f"{at}apply/", {"reason": "x"}).status_code == 403
    assert missing == "view_transaction" or f"{at}apply/" not in page(client, at)
    assert Comparison.objects.count() == 1


def test_who_has_lost_the_permission_mends_no_more(staff: Staff, hosted: GatewayServer) -> None:
    """Begun in the morning, taken away at noon: it does not go on."""
    untold, _ = differing(hosted)
    boss = staff(*MAY_APPLY, name="boss")
    at = boss.post(URL, days())["Location"]
    boss.get(at)
    begun = boss.post(f"{at}apply/", {"reason": "x"})["Location"]
    mending = Comparison.objects.get(applied=True)
    assert mending.actor is not None
    mending.actor.user_permissions.remove(*mending.actor.user_permissions.filter(codename="resolve_transaction"))
    boss.get(begun)

    assert Transaction.objects.get(pk=untold.pk).state == "pending"


def test_a_gateway_that_is_down_is_no_agreement(viewer: Client, hosted: GatewayServer) -> None:
    """It says what was broken off, and why."""
    hosted.script(*[Answer.error(503)] * 99)
    shown = viewer.post(URL, days(), follow=True).content.decode()

    assert "Nothing differs in what was compared." in shown
    assert ("Not everything was compared" in shown, "Broken off: GatewayUnavailable" in shown) == (True, True)


def test_more_than_the_page_shows_is_said(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """With where all of it is."""
    one = make_comparison()
    monkeypatch.setattr("django_gatewaypay.admin.comparing.SHOWN_ROWS", 1)
    one.report["differences"] *= 3
    one.report["counts"]["missing_here"] = 3
    one.save()
    in_file = page(viewer, f"{URL}{one.pk}/")
    one.report["counts"]["missing_here"] = 9
    one.save()
    in_no_file = page(viewer, f"{URL}{one.pk}/")

    assert "and 2 more: the file has all of them." in in_file
    assert "and 8 more: the command writes all of them into a file." in in_no_file


def test_earlier_ones_are_listed(viewer: Client, hosted: GatewayServer) -> None:
    """With who has begun them, and what came of it; the night's too."""
    viewer.post(URL, days(), follow=True)
    nightly = make_comparison()
    make_comparison(finished_at=None)
    shown = page(viewer, URL)

    assert f'href="{URL}{nightly.pk}/"' in shown
    assert all(word in shown for word in ("viewer", "the clock", "in agreement", "1 difference<", "0 % done"))


@pytest.mark.parametrize("tail", ["", "csv/", "json/", "apply/"])
@pytest.mark.parametrize("pk", ["x", "0" * 32])
def test_one_that_is_gone_leads_to_where_one_is_begun(staff: Staff, pk: str, tail: str) -> None:
    """With a word."""
    answer = staff(*MAY_APPLY, name="boss").get(f"{URL}{pk}/{tail}", follow=True)

    assert answer.redirect_chain == [(URL, 302)]
    assert messages_of(answer) == ["There is no such comparison any more: only the newest are kept."]
