"""Staff are mailed what waits for a person: what is new, in one mail, and nothing that they need not know."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from django_gatewaypay import services
from django_gatewaypay.admin.words import ATTENTION
from django_gatewaypay.lifecycle import Verdict, apply_update
from django_gatewaypay.models import Transaction
from django_gatewaypay.services import notices
from django_gatewaypay.services.comparing import Kind
from django_gatewaypay.services.reporting import Account, Difference, Report
from django_gatewaypay.types import PaymentUpdate, Source
from tests.factories import make_order, make_transaction

pytestmark = pytest.mark.django_db(transaction=True)

STAFF = ["ann@shop.example", "bob@shop.example"]


@pytest.fixture(autouse=True)
def staff(settings: Any) -> None:
    """A host that wants mail."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"STAFF_EMAILS": STAFF}


@pytest.fixture
def broken_mail(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A mail server that refuses, and names addresses while it does so."""
    tries: list[Any] = []

    def refuse(self: Any, messages: Any) -> None:
        tries.extend(messages)
        raise OSError("550 ann@shop.example is unknown")

    monkeypatch.setattr(EmailBackend, "send_messages", refuse)
    return tries


def flag(row: Transaction, *codes: str) -> Transaction:
    return apply_update(row.pk, PaymentUpdate(), source=Source.SYSTEM, flags=codes).transaction


def resolve(row: Transaction, *codes: str) -> None:
    verdict = Verdict(resolved=frozenset(codes))
    apply_update(row.pk, PaymentUpdate(), source=Source.SYSTEM, verdict=verdict)


def let_pause_pass() -> None:
    cache.clear()


def test_one_mail_names_all_that_is_new(mailoutbox: list[Any]) -> None:
    """Order, amount, what it is in words, and the way into the admin."""
    held, paid = make_transaction("held"), flag(make_transaction("success"), "hook_dead", "late")
    make_transaction("success")
    count = services.send_notices()

    [mail] = mailoutbox
    assert (count, mail.to, mail.subject) == (2, STAFF, "shop.example: 2 payments wait for a person")
    assert f"Order {held.order_id}, 19.99 EUR: wrong amount, currency or reference\n" in mail.body
    assert f"Order {paid.order_id}, 19.99 EUR: fulfilment given up, paid late\n" in mail.body
    assert f"https://shop.example/admin/gatewaypay/transaction/{held.pk}/change/\n" in mail.body


def test_nothing_is_told_twice(mailoutbox: list[Any]) -> None:
    """A second run has nothing to say; a code that comes up on the same payment has."""
    row = make_transaction("held")
    counts = [services.send_notices()]
    let_pause_pass()
    counts.append(services.send_notices())
    flag(row, "disputed")
    counts.append(services.send_notices())

    assert counts == [1, 0, 1]
    assert [mail.body.count("\nOrder ") for mail in mailoutbox] == [1, 1]
    assert "19.99 EUR: disputed\n" in mailoutbox[1].body
    assert mailoutbox[1].subject == "shop.example: 1 payment waits for a person"


def test_what_comes_up_again_is_told_again(mailoutbox: list[Any]) -> None:
    """Also when it was dealt with and came back; that it was dealt with is no news."""
    row = flag(make_transaction(), "unmatched")
    services.send_notices()
    let_pause_pass()
    resolve(row, "unmatched")
    silent = services.send_notices()
    flag(row, "unmatched")

    assert (silent, services.send_notices(), len(mailoutbox)) == (0, 1, 2)


def test_a_pause_gathers_what_comes_up(mailoutbox: list[Any]) -> None:
    """Ten flags in a minute are one mail, and the next one tells of the rest."""
    flag(make_transaction(), "late")
    services.send_notices()
    for _ in range(3):
        flag(make_transaction(), "late")
        assert not services.notices_are_due()
        assert services.send_notices() == 0
    let_pause_pass()

    assert services.notices_are_due()
    assert (services.send_notices(), len(mailoutbox)) == (3, 2)


def test_nobody_is_mailed_where_nobody_wants_to_be(settings: Any, mailoutbox: list[Any]) -> None:
    """The default; nothing is remembered either, so that who asks for it later learns what is open."""
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"STAFF_EMAILS": []}
    make_transaction("held")
    due, count = services.notices_are_due(), services.send_notices()
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"STAFF_EMAILS": STAFF}

    assert (due, count, mailoutbox) == (False, 0, [])
    assert (services.notices_are_due(), services.send_notices()) == (True, 1)


def test_a_mail_that_does_not_go_out_is_tried_again(
    broken_mail: list[Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the pause; the log has no address."""
    make_transaction("held")
    counts = [services.send_notices(), services.send_notices()]
    let_pause_pass()
    monkeypatch.undo()
    counts.append(services.send_notices())

    assert (counts, len(broken_mail)) == ([0, 0, 1], 1)
    assert "mail not sent mail=notices error=OSError" in caplog.text
    assert "@" not in caplog.text


def test_a_mail_tells_nothing_of_the_shopper(mailoutbox: list[Any]) -> None:
    """Neither references, nor where the shopper returns to, nor the token."""
    secrets = {
        "return_url": "/orders/1?for=ann",
        "description": "A present",
        "payment_reference": "pay_9",
        "owner_key": "k",
    }
    row = flag(make_transaction(**secrets), "late")
    services.send_notices()

    body = mailoutbox[0].body + mailoutbox[0].subject
    hidden = [*secrets.values(), row.gateway_reference, row.token_hash]
    assert [text for text in hidden if len(text) > 1 and text in body] == []


def test_an_order_cannot_forge_a_line(mailoutbox: list[Any]) -> None:
    """Whatever it is called, it stays on its own."""
    flag(make_transaction(order_id="1\nOrder 2, 0.00 EUR: all is well\r\n\u2028x"), "late")
    services.send_notices()

    assert mailoutbox[0].body.count("\nOrder ") == 1
    assert "Order 1 Order 2, 0.00 EUR: all is well x, 19.99 EUR: paid late\n" in mailoutbox[0].body


def test_a_long_list_is_told_in_parts(mailoutbox: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first; the mail says that there is more."""
    monkeypatch.setattr(notices, "LISTED", 2)
    for _ in range(3):
        flag(make_transaction(), "late")
    counts = [services.send_notices()]
    let_pause_pass()
    counts.append(services.send_notices())

    assert counts == [2, 1]
    assert ["There is more" in mail.body for mail in mailoutbox] == [True, False]


def test_a_change_while_the_mail_goes_out_is_told_next(mailoutbox: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is what counts as told."""
    row = flag(make_transaction(), "late")
    send = notices.send_mail

    def send_slowly(*args: Any, **options: Any) -> None:
        send(*args, **options)
        monkeypatch.setattr(notices, "send_mail", send)
        flag(row, "disputed")

    monkeypatch.setattr(notices, "send_mail", send_slowly)
    services.send_notices()
    let_pause_pass()
    services.send_notices()

    assert "disputed" not in mailoutbox[0].body
    assert "disputed" in mailoutbox[1].body


def test_two_clocks_send_one_mail(mailoutbox: list[Any]) -> None:
    """Beat and a tick at the same time."""
    flag(make_transaction(), "late")
    started = threading.Barrier(2)

    def run() -> None:
        started.wait()
        try:
            services.send_notices()
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(mailoutbox) == 1


def test_the_language_is_the_sites(settings: Any, mailoutbox: list[Any]) -> None:
    """And not that of whoever happened to be served last."""
    flag(make_transaction(), "late")
    with translation.override("de"):
        services.send_notices()

    assert mailoutbox[0].body.startswith("This has come up")


def test_without_an_admin_there_is_no_link(settings: Any, mailoutbox: list[Any]) -> None:
    """The mail goes out all the same."""
    settings.ROOT_URLCONF = "django_gatewaypay.urls"
    flag(make_transaction(), "late")
    services.send_notices()

    assert "paid late\n" in mailoutbox[0].body
    assert "https://" not in mailoutbox[0].body


def test_looking_for_news_is_cheap() -> None:
    """One query of one index, whatever the table holds; and none during the pause."""
    for _ in range(3):
        make_transaction("success")
    with CaptureQueriesContext(connection) as queries:
        services.notices_are_due()
    cache.set(notices.PAUSE_KEY, 1)
    with CaptureQueriesContext(connection) as none:
        services.notices_are_due()

    assert (len(queries), len(none)) == (1, 0)


def test_every_code_has_its_words() -> None:
    """The same as in the admin, and those of the how-to."""
    from tests.docs.test_docs import first_cells, read

    in_admin = {code: str(words.label) for code, words in ATTENTION.items()}
    assert {code: str(text) for code, text in notices.WORDS.items()} == in_admin
    assert set(first_cells(read("docs/how-to/attention.md"))) <= notices.WORDS.keys()


# --- What a comparison has found.


def found(*differences: Difference, trouble: str = "") -> Report:
    report = Report(timezone.now() - timedelta(days=3), timezone.now(), accounts=[Account("card", trouble=trouble)])
    for difference in differences:
        report.add(difference)
    return report


def difference(kind: Kind = Kind.MISSING_HERE, **fields: Any) -> Difference:
    known = {"gateway": "card", "transaction_id": "t", "order_id": "42", "reference": "ps_secret", "ours": ""}
    return Difference(**{**known, "theirs": "success 19.99 EUR", "kind": kind, **fields})


def test_what_is_missing_here_has_no_row_to_flag_and_is_mailed(mailoutbox: list[Any]) -> None:
    """Its order, its amount, and what to do."""
    assert services.send_report(found(difference(), difference(order_id="43")))

    [mail] = mailoutbox
    assert (mail.to, mail.subject) == (STAFF, "shop.example: the books and the gateways do not agree")
    assert "The gateways have 2 payments that are missing here:" in mail.body
    assert "card: Order 42, success 19.99 EUR" in mail.body
    assert "gatewaypay_reconcile" in mail.body
    assert "ps_secret" not in mail.body


def test_a_comparison_that_broke_off_is_mailed(mailoutbox: list[Any]) -> None:
    """Nobody should take silence for agreement."""
    assert services.send_report(found(trouble="GatewayUnavailable: no"))

    assert "card could not be compared to the end." in mailoutbox[0].body
    assert "missing here" not in mailoutbox[0].body


def test_what_is_flagged_comes_with_the_notices_and_not_twice(settings: Any, mailoutbox: list[Any]) -> None:
    """Nor is what ended unpaid, what was mended, or what nobody wants to read."""
    quiet = found(difference(Kind.STATE), difference(Kind.MISSING_UNPAID), difference(mended=True))
    first = services.send_report(quiet)
    settings.GATEWAYPAY = settings.GATEWAYPAY | {"STAFF_EMAILS": []}

    assert (first, services.send_report(found(difference())), mailoutbox) == (False, False, [])


def test_a_long_report_is_cut(mailoutbox: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how many there are."""
    monkeypatch.setattr(notices, "LISTED", 1)
    services.send_report(found(difference(), difference(order_id=str(make_order().pk))))

    assert "have 2 payments" in mailoutbox[0].body
    assert mailoutbox[0].body.count("Order ") == 1
    assert "…" in mailoutbox[0].body
