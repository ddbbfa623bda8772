"""`gatewaypay_reconcile`, `gatewaypay_replay` and `gatewaypay_purge`, as staff type them."""

import csv
import io
import json
import uuid
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.management.commands import gatewaypay_reconcile
from django_gatewaypay.management.commands.gatewaypay_reconcile import as_csv, as_table
from django_gatewaypay.management.moments import read_moment
from django_gatewaypay.models import Callback, Fulfilment, Transaction, TransactionEvent
from django_gatewaypay.services.comparing import Kind
from django_gatewaypay.services.reporting import Account, Difference, Report
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import CallbackRequest
from tests.factories import make_order
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

YESTERDAY = (timezone.now() - timedelta(days=1)).date().isoformat()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not sleep."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


def run(name: str, *args: str) -> tuple[str, str]:
    """What a command says, and what it says aside."""
    said, aside = io.StringIO(), io.StringIO()
    call_command(name, *args, stdout=said, stderr=aside, no_color=True)
    return said.getvalue(), aside.getvalue()


def pay(hosted: GatewayServer) -> Transaction:
    """Paid at the gateway, and not known to be so here."""
    row = services.initiate(str(make_order().pk)).transaction
    hosted.pay(row.gateway_reference)
    return row


def stored(hosted: GatewayServer, state: str) -> Callback:
    """A callback of a paid payment, kept and left in `state`."""
    [pk] = services.receive_callback("hosted", CallbackRequest(*hosted.callback(pay(hosted).gateway_reference)))
    Callback.objects.filter(pk=pk).update(state=state, last_error="a bug", next_attempt_at=None)
    return Callback.objects.get(pk=pk)


# --- reconcile


def test_a_difference_is_a_line_of_a_table(hosted: GatewayServer) -> None:
    """With the order and both words; how far it was compared is said aside."""
    row = pay(hosted)
    said, aside = run("gatewaypay_reconcile", "--since", YESTERDAY)

    head, amount, state = said.splitlines()
    assert head.split() == ["kind", "gateway", "order_id", "transaction_id", "ours", "theirs", "done"]
    assert amount.split()[:4] == ["amount", "hosted", row.order_id, str(row.pk)]
    assert state.split()[-2:] == ["pending", "success"]
    assert aside.splitlines() == [
        "hosted: compared both ways; 1 of theirs (0 not ours), 1 of ours",
        "compared=1 amount=1 state=1 left=2 unanswered=0",
    ]
    assert Transaction.objects.get().state == "pending"


def test_apply_mends_and_says_so(hosted: GatewayServer) -> None:
    """The second run has nothing to say."""
    pay(hosted)
    first, _ = run("gatewaypay_reconcile", "--since", YESTERDAY, "--apply")
    second, _ = run("gatewaypay_reconcile", "--since", YESTERDAY, "--apply", "--gateway", "hosted")

    assert [line.split()[-1] for line in first.splitlines()] == ["done", "refreshed", "refreshed"]
    assert second == "Nothing differs.\n"
    assert Transaction.objects.get().state == "success"


def test_a_restored_database_gets_its_hour_back(hosted: GatewayServer) -> None:
    """C13, with the command that staff would type: rows that are gone, and rows that are pending again."""
    gone, stale = [pay(hosted) for _ in range(3)], [pay(hosted) for _ in range(3)]
    for row in gone:
        services.refresh(row.pk)
    for model in (TransactionEvent, Fulfilment):
        model.objects.filter(transaction__in=gone).delete()
    Transaction.objects.filter(pk__in=[row.pk for row in gone]).delete()
    Order.objects.filter(fulfilments=1).delete()
    said, _ = run("gatewaypay_reconcile", "--since", YESTERDAY, "--apply", "--format", "json")

    found = json.loads(said)
    states = dict(Transaction.objects.values_list("pk", "state"))
    assert {row.pk: "held" for row in gone} | {row.pk: "success" for row in stale} == states
    assert (found["left"], found["counts"]) == (0, {"missing_here": 3, "amount": 3, "state": 3})
    assert {one["done"] for one in found["differences"]} == {"recovered as held", "refreshed"}


def test_a_spreadsheet_gets_every_field(hosted: GatewayServer, tmp_path: Path) -> None:
    """In a file, whose name is said aside."""
    row = pay(hosted)
    file = tmp_path / "report.csv"
    said, aside = run("gatewaypay_reconcile", "--since", YESTERDAY, "--format", "csv", "--output", str(file))

    lines = list(csv.DictReader(io.StringIO(file.read_text(), newline="")))
    assert said == ""
    assert f"wrote {file}" in aside
    assert [line["kind"] for line in lines] == ["amount", "state"]
    assert {line["transaction_id"] for line in lines} == {str(row.pk)}
    assert list(lines[0]) == Report.columns()


def report(**fields: Any) -> Report:
    """A report of one difference."""
    known = {"kind": Kind.STATE, "gateway": "card", "transaction_id": "t", "order_id": "1", "reference": "r"}
    now = timezone.now()
    found = Report(now - timedelta(hours=1), now)
    found.add(Difference(**{**known, "ours": "pending", "theirs": "success", **fields}))
    return found


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(start: str) -> None:
    """An order may be called anything, and a spreadsheet would work it out."""
    order = f'{start}HYPERLINK("https://evil.example")'
    [_, line] = csv.reader(io.StringIO(as_csv(report(order_id=order))))

    assert line[3] == f"'{order}"


def test_a_table_has_one_line_for_each() -> None:
    """An order with a line break in its name does not forge one, and what was left out is counted."""
    found = report(order_id="1\nstate  card")
    found.counts[Kind.STATE] += 2

    assert [line.split()[0] for line in as_table(found).splitlines()] == ["kind", "state", "and"]
    assert as_table(found).endswith("and 2 more\n")


def test_json_has_the_accounts_and_how_far_they_were_compared(hosted: GatewayServer) -> None:
    """For a script."""
    pay(hosted)
    found = json.loads(run("gatewaypay_reconcile", "--since", YESTERDAY, "--format", "json")[0])

    assert found["accounts"] == [
        {
            "alias": "hosted", "listed": True, "asked": True, "theirs": 1, "ours": 1, "foreign": 0,
            "unanswered": 0, "trouble": "", "directions": "both",
        }
    ]  # fmt: skip
    assert (found["complete"], found["applied"], found["left"]) == (True, False, 2)
    assert datetime.fromisoformat(found["since"]).date().isoformat() == YESTERDAY


def test_a_gateway_that_breaks_off_is_an_error_at_the_end(hosted: GatewayServer) -> None:
    """What was found is written first."""
    pay(hosted)
    hosted.script(*[Answer.error(503)] * 9)
    said, aside = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError, match="Not everything was compared"):
        call_command("gatewaypay_reconcile", "--since", YESTERDAY, stdout=said, stderr=aside)

    assert said.getvalue() == "Nothing differs.\n"
    assert "broken off: GatewayUnavailable" in aside.getvalue()


def test_progress_is_told_aside_now_and_then(hosted: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most every two seconds, however many pages there are."""
    pay(hosted)
    # A clock that stands still, and one that goes on by two seconds with each look.
    monkeypatch.setattr(gatewaypay_reconcile, "time", SimpleNamespace(monotonic=lambda: 0.0))
    _, quiet = run("gatewaypay_reconcile", "--since", YESTERDAY)
    monkeypatch.setattr(gatewaypay_reconcile, "time", SimpleNamespace(monotonic=count(0.0, 2.0).__next__))
    _, told = run("gatewaypay_reconcile", "--since", YESTERDAY)

    assert "..." not in quiet
    assert "hosted: 1 of theirs, 1 of ours ..." in told


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--since", "yesterday"], "--since yesterday: use a day"),
        (["--since", "2026-13-01"], "--since 2026-13-01: use a day"),
        (["--since", "2026-11-01", "--until", "x"], "--until x: use a day"),
        (["--since", "2026-11-01", "--until", "2026-10-01"], "ends before it begins"),
        (["--since", "2999-01-01"], "ends before it begins"),
        (["--since", YESTERDAY, "--gateway", "nowhere"], "There is no gateway 'nowhere'."),
        (["--since", YESTERDAY, "--output", "/nowhere/at/all.csv"], "there is no such folder"),
        (["--since", YESTERDAY, "--output", "."], "--output .:"),
        (["--since", YESTERDAY, "--format", "xml"], "invalid choice"),
        ([], "--since"),
    ],
)
def test_a_mistake_is_told_in_one_line(hosted: GatewayServer, args: list[str], message: str) -> None:
    """And nothing is asked of the gateway that could be known before."""
    with pytest.raises(CommandError, match=message):
        call_command("gatewaypay_reconcile", *args, stdout=io.StringIO(), stderr=io.StringIO())


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T13:30", datetime(2026, 11, 1, 13, 30, tzinfo=UTC)),
        ("2026-11-01T13:30:00+02:00", datetime(2026, 11, 1, 11, 30, tzinfo=UTC)),
    ],
)
def test_a_day_begins_at_midnight_where_the_host_is(settings: Any, text: str, moment: datetime) -> None:
    """A time without a zone is the host's; with one, it is what it says, whether the host has time zones or not."""
    aware = read_moment("--since", text)
    settings.USE_TZ = False

    assert aware == moment
    assert read_moment("--since", text) == moment.replace(tzinfo=None)


# --- replay


def test_replay_works_on_what_was_left(hosted: GatewayServer) -> None:
    """And says what became of it."""
    stored(hosted, "dead")
    stored(hosted, "processed")
    dry, _ = run("gatewaypay_replay", "--dry-run")
    said, aside = run("gatewaypay_replay")

    assert (dry, said) == ("would replay found=1 dead=1\n", "replayed found=1 processed=1\n")
    assert aside == "found=1 processed=1\n"
    assert Transaction.objects.filter(state="success").count() == 1


def test_replay_can_be_told_which(hosted: GatewayServer) -> None:
    """By id, by time, by gateway, by state."""
    rows = [stored(hosted, "dead"), stored(hosted, "unmatched")]
    Callback.objects.filter(pk=rows[0].pk).update(received_at=timezone.now() - timedelta(days=9))

    assert run("gatewaypay_replay", "--dry-run", str(rows[1].pk))[0] == "would replay found=1 unmatched=1\n"
    assert run("gatewaypay_replay", "--dry-run", "--since", YESTERDAY)[0] == "would replay found=1 unmatched=1\n"
    assert run("gatewaypay_replay", "--dry-run", "--until", YESTERDAY)[0] == "would replay found=1 dead=1\n"
    assert run("gatewaypay_replay", "--dry-run", "--state", "dead")[0] == "would replay found=1 dead=1\n"
    assert (
        run("gatewaypay_replay", "--dry-run", "--gateway", "hosted")[0] == "would replay found=2 dead=1 unmatched=1\n"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nonsense"], "'nonsense' is no id of a callback."),
        ([str(uuid.UUID(int=7))], f"There is no callback {uuid.UUID(int=7)}. Nothing was done."),
        (["--gateway", "nowhere"], "There is no gateway 'nowhere'."),
        (["--since", "x"], "--since x: use a day"),
        (["--state", "lost"], "invalid choice"),
    ],
)
def test_replay_tells_a_mistake_in_one_line(args: list[str], message: str) -> None:
    """Before anything is done."""
    with pytest.raises(CommandError, match=message):
        call_command("gatewaypay_replay", *args)


# --- purge


def test_purge_clears_and_counts(hosted: GatewayServer) -> None:
    """Each chunk is told aside."""
    row = stored(hosted, "processed")
    Callback.objects.update(received_at=timezone.now() - timedelta(days=30))

    assert run("gatewaypay_purge") == ("cleared callbacks=0\n", "")
    assert run("gatewaypay_purge", "--days", "29", "--dry-run")[0] == "would clear callbacks=1\n"
    assert run("gatewaypay_purge", "--days", "29") == ("cleared callbacks=1\n", "1 callbacks ...\n")
    row.refresh_from_db()
    assert "raw" not in row.update


@pytest.mark.parametrize("days", ["-1", "x", "9999999999999"])
def test_purge_tells_a_mistake_in_one_line(days: str) -> None:
    """A negative age would be everything."""
    with pytest.raises(CommandError, match="--days"):
        call_command("gatewaypay_purge", "--days", days)


def test_an_account_says_what_was_compared() -> None:
    """Four ways to be compared, and what was in the way."""
    told = [gatewaypay_reconcile.describe(Account("a", listed=bool(n & 1), asked=bool(n & 2))) for n in range(4)]
    broken = gatewaypay_reconcile.describe(Account("a", unanswered=3, trouble="GatewayUnavailable: no"))

    assert [text.split("; ")[0].split(" compared ")[1] for text in told] == [
        "not at all: this gateway tells nothing",
        "only theirs against ours: this gateway cannot be asked",
        "only ours against theirs: this gateway lists nothing",
        "both ways",
    ]
    assert broken.endswith("3 without an answer; broken off: GatewayUnavailable: no")
