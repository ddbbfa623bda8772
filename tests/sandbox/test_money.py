"""After the payment: the sandbox captures, gives back, disputes and lists, by its API and by signed callbacks."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.utils import timezone

from django_gatewaypay.sandbox import movements
from django_gatewaypay.sandbox.decisions import Action, decide
from django_gatewaypay.sandbox.delivery import _seconds_until_next, deliver_due, settle_due
from django_gatewaypay.sandbox.models import (
    DisputeWord,
    Mode,
    RefundPlan,
    SandboxCapture,
    SandboxDelivery,
    SandboxPayment,
    SandboxRefund,
)
from django_gatewaypay.sandbox.movements import dispute, plan_refunds

pytestmark = pytest.mark.django_db

LATER = timedelta(seconds=6)


def post(api: Client, verb: str, reference: str, key: str = "key-1", **body: Any) -> Any:
    return api.post(
        f"/sandbox/{verb}/{reference}",
        json.dumps({"currency": "EUR", **body}),
        content_type="application/json",
        headers={"Idempotency-Key": key},
    )


def status(api: Client, payment: SandboxPayment) -> dict[str, str]:
    answer: dict[str, str] = api.get(f"/sandbox/status/{payment.reference}").json()
    return answer


@pytest.fixture
def paid(payment: SandboxPayment) -> SandboxPayment:
    """19.99 EUR were taken, and the shop knows."""
    decide(payment, Action.PAY)
    SandboxDelivery.objects.all().delete()
    return payment


@pytest.fixture
def reserved(payment: SandboxPayment) -> SandboxPayment:
    """19.99 EUR are reserved, and the shop knows."""
    payment.manual = True
    payment.save()
    decide(payment, Action.PAY)
    SandboxDelivery.objects.all().delete()
    return payment


# --- Captures.


@pytest.mark.parametrize("action", [Action.PAY, Action.DELAY])
def test_a_manual_session_is_only_reserved(api: Client, payment: SandboxPayment, shop: Any, action: Action) -> None:
    """The page's buttons reserve what they would otherwise take, and the shop is told how much."""
    SandboxPayment.objects.update(manual=True)
    payment.refresh_from_db()
    decide(payment, action, seconds=0)
    deliver_due()

    assert (shop.told[-1], shop.events[-1]["authorized"]) == ("authorized", "19.99")
    assert status(api, payment)["authorized"] == "19.99"
    assert "captured" not in status(api, payment)


def test_a_session_is_opened_manual_when_it_says_so(api: Client, body: dict[str, Any]) -> None:
    """And keeps the order that it names."""
    asked = json.dumps(body | {"capture": "manual", "order_id": "1234"})
    headers = {"Idempotency-Key": "key-1"}
    api.post("/sandbox/create-session", asked, content_type="application/json", headers=headers)
    row = SandboxPayment.objects.get()

    assert (row.manual, row.order_id) == (True, "1234")


def test_captures_take_part_after_part(api: Client, reserved: SandboxPayment, shop: Any) -> None:
    """Reserved until the last one; each is told with the totals as they are then."""
    first = post(api, "capture", reserved.reference, "c-1", amount="7.00", final=False).json()
    last = post(api, "capture", reserved.reference, "c-2", amount="5.00").json()
    deliver_due()

    assert (first["status"], first["captured"], first["authorized"]) == ("authorized", "7.00", "19.99")
    assert (last["status"], last["amount"], last["authorized"]) == ("success", "12.00", "19.99")
    assert [(event["status"], event.get("captured")) for event in shop.events] == [
        ("authorized", "7.00"),
        ("success", None),
    ]


def test_the_last_cent_ends_the_authorization(api: Client, reserved: SandboxPayment) -> None:
    """Nothing is left to capture, whatever was said."""
    answer = post(api, "capture", reserved.reference, amount="19.99", final=False).json()

    assert (answer["status"], answer["amount"]) == ("success", "19.99")


def test_the_same_key_captures_once(api: Client, reserved: SandboxPayment) -> None:
    """And names one capture only."""
    first = post(api, "capture", reserved.reference, amount="7.00", final=False)
    again = post(api, "capture", reserved.reference, amount="7.00", final=False)
    other = post(api, "capture", reserved.reference, amount="8.00", final=False)

    assert first.json() == again.json()
    assert (other.status_code, other.json()) == (422, {"code": "idempotency_conflict"})
    assert (SandboxCapture.objects.count(), SandboxDelivery.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": "20.00"}, "too_much"),
        ({"amount": "0"}, "amount"),
        ({"amount": 19.99}, "amount"),
        ({"currency": "USD"}, "currency"),
        ({"final": "yes"}, "final"),
    ],
)
def test_a_capture_that_cannot_be_is_refused(
    api: Client, reserved: SandboxPayment, change: dict[str, Any], code: str
) -> None:
    """By name, and nothing is taken."""
    answer = post(api, "capture", reserved.reference, **{"amount": "1.00", **change})

    assert (answer.status_code, answer.json()) == (422, {"code": code})
    assert not SandboxCapture.objects.exists()


def test_only_what_is_reserved_can_be_captured(api: Client, paid: SandboxPayment) -> None:
    """Not what is paid already."""
    assert post(api, "capture", paid.reference, amount="1.00").json() == {"code": "not_authorized"}


@pytest.mark.parametrize(("taken", "word", "amount"), [("", "canceled", "19.99"), ("7.00", "success", "7.00")])
def test_the_rest_is_let_go(
    api: Client, reserved: SandboxPayment, shop: Any, taken: str, word: str, amount: str
) -> None:
    """Cancel ends the authorization; what was captured of it stays."""
    if taken:
        post(api, "capture", reserved.reference, amount=taken, final=False)
    answers = [api.post(f"/sandbox/cancel/{reserved.reference}").json() for _ in range(2)]
    deliver_due()

    assert [(answer["status"], answer["amount"]) for answer in answers] == [(word, amount)] * 2
    assert shop.told[-1] == word


# --- Refunds.


def test_a_refund_succeeds_at_once(api: Client, paid: SandboxPayment, shop: Any) -> None:
    """By default; the answer says so, the payment's total too, and a callback."""
    answer = post(api, "refund", paid.reference, amount="5.00", refund_id="r1", reason="Wrong size")
    deliver_due()
    told = shop.events[0]

    assert answer.status_code == 201
    assert answer.json() | {"refund_reference": ""} == {
        "refund_reference": "",
        "refund_id": "r1",
        "status": "succeeded",
        "amount": "5.00",
        "currency": "EUR",
        "reason": "",
    }
    assert status(api, paid)["refunded"] == "5.00"
    assert (told["status"], told["amount"], told["refunded"]) == ("success", "19.99", "5.00")
    assert (told["refund_reference"], told["refund_id"]) == (answer.json()["refund_reference"], "r1")
    assert (told["refund_status"], told["refund_amount"]) == ("succeeded", "5.00")


@pytest.mark.parametrize(
    ("plan", "words", "refunded"),
    [
        (RefundPlan.AT_ONCE, ["succeeded"], "5.00"),
        (RefundPlan.LATER, ["submitted", "succeeded"], "5.00"),
        (RefundPlan.REFUSED, ["submitted", "failed"], None),
        (RefundPlan.RETURNED, ["succeeded", "failed"], None),
    ],
)
def test_refunds_end_as_planned(
    api: Client, paid: SandboxPayment, shop: Any, plan: RefundPlan, words: list[str], refunded: str | None
) -> None:
    """At once, later, never, or never after all; each word is told."""
    plan_refunds(paid, plan)
    reference = post(api, "refund", paid.reference, amount="5.00", refund_id="r1").json()["refund_reference"]
    settle_due(timezone.now() + LATER)
    deliver_due(timezone.now() + LATER)
    asked = api.get(f"/sandbox/refund/{reference}").json()

    assert [event["refund_status"] for event in shop.events] == words
    assert asked["status"] == words[-1]
    assert asked["reason"] == ("account_closed" if words[-1] == "failed" else "")
    assert status(api, paid).get("refunded") == refunded


def test_what_has_failed_can_be_given_back_again(api: Client, paid: SandboxPayment) -> None:
    """What may still fail cannot."""
    plan_refunds(paid, RefundPlan.REFUSED)
    with time_machine.travel(timezone.now(), tick=False):  # five seconds later the first one has failed
        answers = [post(api, "refund", paid.reference, f"r-{place}", amount="19.99") for place in range(2)]
    settle_due(timezone.now() + LATER)
    answers.append(post(api, "refund", paid.reference, "r-3", amount="19.99"))

    assert [answer.status_code for answer in answers] == [201, 422, 201]
    assert answers[1].json() == {"code": "too_much"}


def test_asking_decides_a_refund_that_is_due(api: Client, paid: SandboxPayment) -> None:
    """The answer does not depend on the thread, which knows when the next one is due."""
    plan_refunds(paid, RefundPlan.LATER)
    reference = post(api, "refund", paid.reference, amount="5.00").json()["refund_reference"]
    deliver_due()
    waits = _seconds_until_next()
    SandboxRefund.objects.update(settle_at=timezone.now() - LATER)

    assert waits
    assert 0 < waits <= 5
    assert api.get(f"/sandbox/refund/{reference}").json()["status"] == "succeeded"
    assert status(api, paid)["refunded"] == "5.00"


def test_the_same_key_gives_back_once(api: Client, paid: SandboxPayment) -> None:
    """And names one refund only."""
    first = post(api, "refund", paid.reference, amount="5.00")
    again = post(api, "refund", paid.reference, amount="5.00")
    other = post(api, "refund", paid.reference, amount="6.00")

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert (other.status_code, other.json()) == (422, {"code": "idempotency_conflict"})
    assert (SandboxRefund.objects.count(), SandboxDelivery.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    ("change", "code"),
    [({"amount": "20.00"}, "too_much"), ({"amount": "-1"}, "amount"), ({"currency": "USD"}, "currency")],
)
def test_a_refund_that_cannot_be_is_refused(
    api: Client, paid: SandboxPayment, change: dict[str, Any], code: str
) -> None:
    """By name, and nothing goes back."""
    answer = post(api, "refund", paid.reference, **{"amount": "1.00", **change})

    assert (answer.status_code, answer.json()) == (422, {"code": code})
    assert not SandboxRefund.objects.exists()


def test_an_unpaid_session_gives_nothing_back(api: Client, payment: SandboxPayment) -> None:
    """There is nothing."""
    assert post(api, "refund", payment.reference, amount="0.01").json() == {"code": "too_much"}


def test_the_refunds_of_a_payment_are_listed(api: Client, paid: SandboxPayment) -> None:
    """All of them, with the ids that the shop gave."""
    made = [post(api, "refund", paid.reference, f"k{name}", amount="1.00", refund_id=name).json() for name in "ab"]

    assert api.get(f"/sandbox/refunds/{paid.reference}").json() == {"refunds": made}


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_many_at_once_never_give_back_too_much(api: Client, paid: SandboxPayment) -> None:
    """Eight ask for a third each; three get it."""

    def ask(place: int) -> int:
        try:
            code: int = post(api, "refund", paid.reference, f"k{place}", amount="6.66").status_code
            return code
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(ask, range(8))]
    paid.refresh_from_db()

    assert sorted(answers) == [201] * 3 + [422] * 5
    assert paid.refunding_minor == paid.refunded_minor == 1998


def test_two_senders_decide_a_refund_once(api: Client, paid: SandboxPayment) -> None:
    """The second finds it done."""
    plan_refunds(paid, RefundPlan.LATER)
    post(api, "refund", paid.reference, amount="5.00")
    row = SandboxRefund.objects.get()
    stale = SandboxRefund.objects.get()

    assert movements.settle_refund(row, timezone.now())
    assert not movements.settle_refund(stale, timezone.now())
    assert status(api, paid)["refunded"] == "5.00"


@pytest.mark.parametrize(("mode", "told"), [(Mode.NEVER, 0), (Mode.TWICE, 2), (Mode.FORGED, 1)])
def test_the_shop_is_told_in_the_chosen_way(
    api: Client, payment: SandboxPayment, shop: Any, mode: Mode, told: int
) -> None:
    """Also of what comes after the payment."""
    decide(payment, Action.PAY, mode)
    SandboxDelivery.objects.all().delete()
    post(api, "refund", payment.reference, amount="5.00")
    deliver_due()

    assert len(shop.calls) == told


# --- Disputes.


@pytest.mark.parametrize("word", DisputeWord)
def test_a_dispute_is_told(api: Client, paid: SandboxPayment, shop: Any, word: DisputeWord) -> None:
    """With its amount, its reason and the day until which an answer is taken; when asked, the same."""
    assert dispute(paid, word)
    deliver_due()
    told, asked = shop.events[0], status(api, paid)

    assert told["status"] == "success"
    assert (told["dispute_status"], told["dispute_amount"], told["dispute_reason"]) == (word, "19.99", "fraudulent")
    assert timedelta(days=6) < datetime.fromisoformat(told["dispute_due_at"]) - timezone.now() < timedelta(days=8)
    assert {name: value for name, value in told.items() if name != "event_id"} == asked


def test_a_dispute_keeps_its_name_and_its_day(api: Client, paid: SandboxPayment) -> None:
    """Whatever the bank says next."""
    said = []
    for word in (DisputeWord.OPEN, DisputeWord.WON):
        dispute(paid, word)
        paid.refresh_from_db()
        said.append(status(api, paid))

    assert said[0]["dispute_reference"] == said[1]["dispute_reference"]
    assert said[0]["dispute_due_at"] == said[1]["dispute_due_at"]


def test_what_was_not_taken_cannot_be_disputed(payment: SandboxPayment) -> None:
    """Nobody has paid."""
    assert not dispute(payment, DisputeWord.OPEN)
    assert not SandboxDelivery.objects.exists()


# --- The list.


def listed(api: Client, since: datetime, until: datetime, **more: str) -> Any:
    query = {"since": since.isoformat(), "until": until.isoformat(), **more}
    return api.get("/sandbox/list", query).json()


def test_the_list_tells_what_was_opened(api: Client, paid: SandboxPayment) -> None:
    """The facts of each payment, the order, what was asked for, and when."""
    now = timezone.now()
    answer = listed(api, now - timedelta(hours=1), now + timedelta(hours=1))
    more = {"order_id": "", "asked_amount": "19.99", "created_at": paid.created_at.astimezone(UTC).isoformat()}

    assert answer == {"payments": [status(api, paid) | more], "next": ""}


def test_the_list_keeps_to_its_window(api: Client, payment: SandboxPayment) -> None:
    """From the first moment to before the last one."""
    at, hour = payment.created_at, timedelta(hours=1)
    windows = [(at, at + hour), (at - hour, at), (at + hour, at + 2 * hour)]

    assert [len(listed(api, *window)["payments"]) for window in windows] == [1, 0, 0]


def test_the_list_has_pages(api: Client, payment: SandboxPayment) -> None:
    """A hundred payments each, and each payment once."""
    copies = [
        SandboxPayment(
            idempotency_key=f"k{place}", transaction_id=f"t{place}", amount_minor=1, reported_minor=1,
            currency="EUR", expires_at=payment.expires_at, created_at=payment.created_at,
        )
        for place in range(204)
    ]  # fmt: skip
    SandboxPayment.objects.bulk_create(copies)
    window = payment.created_at, payment.created_at + timedelta(hours=1)
    pages, after = [], ""
    while not pages or after:
        pages.append(listed(api, *window, **({"after": after} if after else {})))
        after = pages[-1]["next"]
    found = [one["transaction_id"] for page in pages for one in page["payments"]]

    assert [len(page["payments"]) for page in pages] == [100, 100, 5]
    assert len({*found}) == 205


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({}, "since"),
        ({"since": "2030-01-01T00:00:00Z"}, "until"),
        ({"since": "2030-01-01", "until": "2030-01-01T00:00:00Z"}, "since"),
        ({"since": "2030-01-01T00:00:00Z", "until": "soon"}, "until"),
        ({"since": "2030-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z", "after": "x"}, "after"),
    ],
)
def test_a_list_of_no_time_is_refused(api: Client, query: dict[str, str], code: str) -> None:
    """By name."""
    answer = api.get("/sandbox/list", query)

    assert (answer.status_code, answer.json()) == (422, {"code": code})
