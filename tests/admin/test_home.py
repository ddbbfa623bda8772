"""The overview answers "is anything wrong?" in one look, and costs the same on a busy day."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from django_gatewaypay.admin import charts, figures
from django_gatewaypay.models import Callback, Fulfilment, Transaction
from django_gatewaypay.types import State
from tests.factories import make_transaction

from .conftest import LIST, Staff, make_dispute, make_held, make_refund, page

pytestmark = pytest.mark.django_db(transaction=True)

HOME = "/admin/gatewaypay/home/"


def needs(shown: str) -> list[str]:
    """What the line at the top says, one thing after the other."""
    box = shown.split('class="gwp-answer ')[1].split("</section>")[0]
    return [re.sub(r"<[^>]+>", "", item).strip() for item in re.findall(r"<li>(.*?)</li>", box)]


def test_nothing_needs_you(admin_client: Client) -> None:
    """And an empty shop is not an error."""
    empty = page(admin_client, HOME)
    make_transaction(State.SUCCESS)
    quiet = page(admin_client, HOME)

    for shown in (empty, quiet):
        assert "Nothing needs you." in shown
        assert needs(shown) == []
    assert "No payment was begun." in empty
    assert "Nothing waits." in empty


def test_everything_that_needs_you_is_named_and_led_to(admin_client: Client) -> None:
    """The clock, the queue, a second person, disputes, and what was given up."""
    make_held()
    late, again, bad = (make_transaction(State.SUCCESS) for _ in range(3))
    make_refund(late, needs_approval=True)
    make_refund(again, state="unknown")
    make_dispute(bad, due_at=datetime(2030, 1, 31, 12, tzinfo=UTC))
    Callback.objects.create(gateway="hosted", event_id="e", state="dead", update={}, received_at=timezone.now())
    Fulfilment.objects.filter(transaction=late).update(state="dead")
    open_one = make_transaction()
    Transaction.objects.filter(pk=open_one.pk).update(next_poll_at=timezone.now() - timedelta(minutes=7))
    shown = page(admin_client, HOME)

    assert needs(shown) == [
        "Nothing has been asked, expired or tried again for 7 minutes: neither beat nor gatewaypay_tick runs.",
        "1 payment needs a person",
        "1 refund waits for a second person",
        "1 dispute is open",
        "1 callback was given up",
        "1 fulfilment was given up",
    ]
    assert "the next answer is due on Jan. 31, 2030, noon" in shown
    assert "asked again by itself" in shown


def test_every_figure_leads_to_the_rows_behind_it(admin_client: Client) -> None:
    """A link that is shown is a list that has that many rows."""
    make_held()
    make_refund(make_transaction(State.SUCCESS), needs_approval=True)
    make_refund(make_transaction(State.SUCCESS), state="unknown")
    make_dispute(make_transaction(State.SUCCESS))
    Callback.objects.create(gateway="hosted", event_id="e", state="dead", update={}, received_at=timezone.now())
    Fulfilment.objects.filter(pk=Fulfilment.objects.latest("pk").pk).update(state="dead")
    shown = page(admin_client, HOME)
    links = re.findall(r'<a href="(/admin/gatewaypay/\w+/\?[^"]+)">', shown.replace("&amp;", "&"))

    assert len(links) == 5 + 1 + 5
    for link in links:
        assert page(admin_client, link).count('<th class="field-') == 1, link


def test_the_queue_counts_each_code(admin_client: Client) -> None:
    """A payment with two codes is one that needs a person, and is in both lines."""
    for codes in ("mismatch", "late mismatch", "something_new"):
        make_transaction(State.SUCCESS)
        Transaction.objects.filter(attention="").update(attention=codes)
    shown = page(admin_client, HOME)
    queue = shown.split('id="gwp-queue"')[1].split("</section>")[0]

    assert needs(shown) == ["3 payments need a person"]
    counted = dict(re.findall(r">([^<]+)</a></th><td class=\"gwp-number\">(\d+)<", queue))
    assert counted == {"Wrong amount, currency or reference": "2", "Paid late": "1", "something_new": "1"}
    assert next(iter(counted)) == "Wrong amount, currency or reference"


def test_what_waits_longest_is_shown(admin_client: Client) -> None:
    """Of each state the oldest, with how long; and how fast callbacks are worked on."""
    now = timezone.now()
    old, young = make_transaction(), make_transaction()
    Transaction.objects.filter(pk=old.pk).update(created_at=now - timedelta(hours=3, minutes=5))
    for number, seconds in enumerate((1, 2, 9)):
        Callback.objects.create(
            gateway="hosted", event_id=str(number), state="processed", update={}, received_at=now,
            processed_at=now + timedelta(seconds=seconds),
        )  # fmt: skip
    shown = page(admin_client, HOME).split('id="gwp-oldest"')[1].split("</section>")[0]

    assert f"{LIST}{old.pk}/change/" in shown
    assert f"{LIST}{young.pk}/change/" not in shown
    assert "3\xa0hours, 5\xa0minutes" in shown
    assert ("2.0 s" in shown, "worst 9.0 s" in shown) == (True, True)


def test_a_day_is_drawn_for_each_gateway(admin_client: Client) -> None:
    """As an SVG with a name, a description and a table behind it; without a script or a style of its own."""
    for state in (State.SUCCESS, State.SUCCESS, State.FAILED, State.PENDING):
        make_transaction(state)
    make_transaction(State.SUCCESS, gateway="other")
    shown = page(admin_client, HOME)
    [first, second] = re.findall(r"<svg viewBox.*?</svg>", shown, re.DOTALL)
    drawing = ElementTree.fromstring(first)  # noqa: S314 - our own
    words = {one.tag: one.text for one in drawing if one.tag in {"title", "desc"}}

    assert "hosted</strong> · 4 payments · 66 % paid" in shown
    assert "other</strong> · 1 payment · 100 % paid" in shown
    assert words["title"] == "Payments per hour at hosted"
    assert "2 were paid, 1 ended unpaid and 1 are open" in (words["desc"] or "")
    assert [first.count(f"gwp-bar-{kind}") for kind in ("paid", "unpaid", "open")] == [1, 1, 1]
    assert 'aria-labelledby="gwp-title-1 gwp-desc-1"' in first
    assert 'aria-labelledby="gwp-title-2 gwp-desc-2"' in second
    assert not re.search(r"<style|<script|style=|onclick", shown.split('id="content"')[1].split("END Content")[0])
    assert shown.count('<th scope="row">') >= 48


def test_what_a_user_may_not_see_is_left_out(staff: Staff) -> None:
    """Refunds, disputes, callbacks and fulfilments are shown to who may see their lists."""
    row = make_transaction(State.SUCCESS)
    make_refund(row, needs_approval=True)
    make_dispute(row)
    Callback.objects.create(gateway="hosted", event_id="e", state="dead", update={}, received_at=timezone.now())
    Fulfilment.objects.update(state="dead")
    shown = page(staff("view_transaction"), HOME)

    assert "Nothing needs you." in shown
    assert "What may be stuck" not in shown


def test_the_overview_has_its_place_in_the_index(staff: Staff, admin_client: Client) -> None:
    """For who may see payments, and nobody else."""
    assert HOME in page(admin_client, "/admin/")
    assert HOME in page(admin_client, "/admin/gatewaypay/")
    assert HOME not in page(staff("view_callback"), "/admin/")


def test_the_overview_costs_the_same_on_a_busy_day(admin_client: Client, django_assert_max_num_queries: Any) -> None:
    """No query per payment, hour or gateway."""
    for number in range(12):
        make_transaction(State.SUCCESS, gateway=f"account{number}")

    with django_assert_max_num_queries(25):
        page(admin_client, HOME)


# --- The figures.


def test_counting_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody needs to know by how much it is more."""
    monkeypatch.setattr(figures, "MOST_COUNTED", 2)
    monkeypatch.setattr(figures, "MOST_FLAGGED", 2)
    for number in range(3):
        Callback.objects.create(
            gateway="hosted", event_id=str(number), state="dead", update={}, received_at=timezone.now()
        )
        make_transaction(State.SUCCESS)
    Transaction.objects.update(attention="late")

    assert str(figures.dead(Callback)) == "2+"
    assert str(figures.attention()[0]) == "2+"


def test_the_charts_read_no_more_than_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much a shop sells in a day."""
    monkeypatch.setattr(figures, "MOST_PAYMENTS", 2)
    now = timezone.now()
    for seconds in range(5):
        make_transaction(created_at=now - timedelta(seconds=seconds))
    [day] = figures.last_day()

    assert day.whole.total == 3


def test_what_began_before_yesterday_is_not_of_this_day() -> None:
    """24 hours, the running one included."""
    make_transaction(created_at=timezone.now() - timedelta(hours=25))

    assert figures.last_day() == []
    assert len(figures.hours()) == 24


def test_a_payment_from_the_future_is_of_the_running_hour() -> None:
    """The clock of another server is ahead."""
    make_transaction(created_at=timezone.now() + timedelta(hours=2))
    [day] = figures.last_day()

    assert day.hours[-1].total == 1


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Europe/Berlin", "America/St_Johns"])
def test_an_hour_is_the_readers(zone: str) -> None:
    """Also where clocks are half an hour off, or were set back last night."""
    now = timezone.now()
    for hours in range(0, 24, 5):
        make_transaction(created_at=now - timedelta(hours=hours))
    with timezone.override(zone):
        [day] = figures.last_day()

    assert sum(1 for hour in day.hours if hour.total) == 5
    assert day.whole.total == 5


@pytest.mark.parametrize(
    "moment", ["2026-10-25T03:30:00+00:00", "2026-10-25T01:30:00+00:00", "2026-03-29T12:00:00+00:00"]
)
def test_a_night_in_which_the_clocks_change_loses_nothing(moment: str) -> None:
    """An hour that comes twice is one column, and one that never comes is empty."""
    with time_machine.travel(moment, tick=False), timezone.override("Europe/Berlin"):
        for hours in range(20):
            make_transaction(created_at=timezone.now() - timedelta(hours=hours))
        [day] = figures.last_day()

    assert day.whole.total == 20


@pytest.mark.parametrize(
    ("most", "top"), [(0, 1), (1, 1), (7, 7), (9, 9), (10, 10), (11, 20), (27, 30), (99, 100), (4001, 5000)]
)
def test_a_scale_ends_on_a_round_number(most: int, top: int) -> None:
    """Not far above the tallest column."""
    assert charts.scale(most) == top


def test_a_chart_stays_within_its_frame() -> None:
    """However uneven the day, a payment can be seen, and the line breaks where an hour says nothing."""
    start = datetime(2030, 1, 31, tzinfo=UTC)
    hours = [figures.Hour(start + timedelta(hours=number)) for number in range(24)]
    hours[0].paid, hours[1].unpaid, hours[1].paid, hours[5].paid, hours[6].open = 4000, 1, 3, 1, 2
    [chart] = charts.draw([figures.Day("hosted", hours)], lambda moment: moment.strftime("%H:%M"))
    bars = [bar for column in chart.columns for bar in column.bars]

    assert chart.top == 4000
    assert all(bar.height >= 1 and bar.y >= 10 and bar.x + bar.width <= chart.right for bar in bars)
    assert [column.hour.rate for column in chart.columns[:3]] == [100, 75, None]
    assert len(chart.lines) == 1
    assert [mark.text for mark in chart.marks] == ["00:00", "06:00", "12:00", "18:00"]
