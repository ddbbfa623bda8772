"""The scenarios of the API for staff, beside those of `answers`."""

import json
from typing import Any

from django.contrib.auth import get_user_model
from django.test import Client

from django_gatewaypay import services
from django_gatewaypay.models import Transaction
from django_gatewaypay.testing.gateway_server import Answer

from ..factories import make_order, make_transaction
from .answers import FORM, NOBODY, Site, answers

__all__ = ["LIST", "ONE"]

LIST = "/transactions/"
ONE = "/transactions/{id}/"
REFRESH, CANCEL, CAPTURE, REFUNDS = (f"{ONE}{verb}/" for verb in ("refresh", "cancel", "capture", "refunds"))
POSTS = (REFRESH, CANCEL, CAPTURE, REFUNDS)
WISH = {"amount": "5.00", "currency": "EUR", "reason": "broken"}


def as_chief(site: Site) -> Site:
    """A member of staff who may do everything, in a browser that checks no CSRF."""
    site.client = Client()
    site.client.force_login(get_user_model().objects.create_user("chief", is_superuser=True))
    return site


def paid(site: Site, *, manual: bool = False) -> Transaction:
    """A payment that the gateway has taken; or reserved."""
    if manual:
        site.set(GATEWAYS={"hosted": site.settings.GATEWAYPAY["GATEWAYS"]["hosted"] | {"CAPTURE": "manual"}})
    row = services.initiate(str(make_order().pk)).transaction
    site.gateway.pay(row.gateway_reference)
    return services.refresh(row.pk)


def ask(site: Site, row: Transaction | None = None, body: Any = None, **headers: str) -> Any:
    """Call the operation that is looked at, about a payment or about nobody's."""
    path = site.path.strip("/").replace("{id}", NOBODY if row is None else str(row.pk)) + "/"
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return site.send(site.method, path, content, **headers)


# --- Of the list.


@answers("GET", LIST, 200)
def staff_look_at_what_there_is(site: Site) -> Any:
    for state in ("success", "held", "failed"):
        make_transaction(state)
    return as_chief(site).send("GET", "transactions/?limit=2&created_from=2020-01-01T00:00:00Z")


@answers("GET", LIST, 422)
def a_filter_does_not_exist(site: Site) -> Any:
    return as_chief(site).send("GET", "transactions/?page=2")


# --- Of one.


@answers("GET", ONE, 200)
def staff_look_at_all_that_happened(site: Site) -> Any:
    row = paid(site)
    services.refund(row.pk, reason="broken", actor=get_user_model().objects.create_user("ann"))
    return ask(as_chief(site), row)


@answers("GET", ONE, 200)
def staff_look_at_money_taken_in_part(site: Site) -> Any:
    row = paid(site, manual=True)
    as_chief(site).send("POST", f"transactions/{row.pk}/capture/", json.dumps({**WISH, "final": False}).encode())
    return ask(site, row)


@answers("GET", ONE, 200)
def staff_look_at_a_callback_that_said_nothing_new(site: Site) -> Any:
    site.call_back()
    row = Transaction.objects.get()
    headers, body = site.gateway.callback(row.gateway_reference)
    site.send("POST", "callbacks/hosted/", body, headers.pop("content-type"), **headers)
    return ask(as_chief(site), row)


# --- Of what changes something.


@answers("POST", REFRESH, 200)
def staff_ask_the_gateway(site: Site) -> Any:
    return ask(as_chief(site), paid(site))


@answers("POST", CANCEL, 200)
def staff_cancel(site: Site) -> Any:
    row = services.initiate(str(make_order().pk)).transaction
    return ask(as_chief(site), row, {"reason": "ordered twice"})


@answers("POST", CAPTURE, 201)
def staff_capture(site: Site) -> Any:
    return ask(as_chief(site), paid(site, manual=True), {"final": True}, Idempotency_Key="k1")


@answers("POST", REFUNDS, 201)
def staff_refund(site: Site) -> Any:
    return ask(as_chief(site), paid(site), WISH, Idempotency_Key="k1")


@answers("POST", REFUNDS, 201)
def the_gateway_does_not_say_what_became_of_a_refund(site: Site) -> Any:
    row = paid(site)
    site.gateway.script(*[Answer.error(503)] * 9)
    return ask(as_chief(site), row, WISH)


@answers("POST", REFUNDS, 201)
def the_gateway_refuses_a_refund(site: Site) -> Any:
    row = paid(site)
    site.gateway.script(Answer.json({"code": "too_old"}, 422))
    return ask(as_chief(site), row, WISH)


@answers("POST", REFUNDS, 201)
def a_refund_waits_for_a_second_person(site: Site) -> Any:
    site.set(REFUND_APPROVAL_ABOVE={"EUR": "1.00"})
    return ask(as_chief(site), paid(site), WISH)


@answers("POST", CANCEL, 409)
@answers("POST", CAPTURE, 409)
def it_is_paid_already(site: Site) -> Any:
    return ask(as_chief(site), paid(site), {})


@answers("POST", REFUNDS, 409)
def it_is_not_paid_yet(site: Site) -> Any:
    return ask(as_chief(site), services.initiate(str(make_order().pk)).transaction, WISH)


@answers("POST", REFUNDS, 409)
def nobody_knows_what_became_of_the_refund_before(site: Site) -> Any:
    the_gateway_does_not_say_what_became_of_a_refund(site)
    return ask(site, Transaction.objects.get(), WISH)


@answers("POST", REFUNDS, 422)
def more_is_wanted_back_than_is_left(site: Site) -> Any:
    return ask(as_chief(site), paid(site), {**WISH, "amount": "20.00"})


@answers("POST", REFUNDS, 422)
def a_key_is_used_for_another_refund(site: Site) -> Any:
    row = paid(site)
    ask(as_chief(site), row, WISH, Idempotency_Key="k1")
    return ask(site, row, {**WISH, "amount": "6.00"}, Idempotency_Key="k1")


@answers("POST", REFUNDS, 422)
def nobody_says_why(site: Site) -> Any:
    return ask(as_chief(site), paid(site), {})


@answers("POST", CANCEL, 422)
def nobody_says_why_a_part_is_the_whole(site: Site) -> Any:
    row = paid(site, manual=True)
    as_chief(site).send("POST", f"transactions/{row.pk}/capture/", json.dumps({**WISH, "final": False}).encode())
    return ask(site, row, {})


@answers("POST", CAPTURE, 422)
def more_is_wanted_than_is_reserved(site: Site) -> Any:
    return ask(as_chief(site), paid(site, manual=True), {"amount": "20.00", "currency": "EUR"})


@answers("POST", CAPTURE, 422)
@answers("POST", CANCEL, 422)
@answers("POST", REFRESH, 422)
def a_field_is_sent_that_nobody_asked_for(site: Site) -> Any:
    return ask(as_chief(site), paid(site), {"state": "success"})


@answers("POST", REFRESH, 422)
def the_gateway_does_not_know_it(site: Site) -> Any:
    return ask(as_chief(site), make_transaction())


@answers("POST", REFRESH, 503)
@answers("POST", CANCEL, 503)
def the_gateway_is_down_for_staff_too(site: Site) -> Any:
    row = services.initiate(str(make_order().pk)).transaction
    site.gateway.script(*[Answer.error(503)] * 9)
    return ask(as_chief(site), row)


@answers("POST", CAPTURE, 503)
@answers("POST", REFUNDS, 503)
def its_account_is_not_in_the_settings_any_more(site: Site) -> Any:
    row = paid(site, manual="capture" in site.path)
    site.set(GATEWAYS={"other": site.settings.GATEWAYPAY["GATEWAYS"]["hosted"]})
    return ask(as_chief(site), row, {"reason": "broken"})


# --- Of all of them.


def of_all(method: str, paths: tuple[str, ...], status: int) -> Any:
    """One scenario for several operations."""

    def keep(scenario: Any) -> Any:
        for path in paths:
            answers(method, path, status)(scenario)
        return scenario

    return keep


@of_all("GET", (LIST, ONE), 401)
@of_all("POST", POSTS, 401)
def the_hosts_credentials_are_wrong_for_staff(site: Site) -> Any:
    site.set(AUTHENTICATION=["rest_framework.authentication.BasicAuthentication"])
    return ask(site, Authorization="Basic YTpi")


@of_all("GET", (LIST, ONE), 401)
@of_all("POST", POSTS, 401)
def nobody_is_signed_in_where_the_host_has_a_challenge(site: Site) -> Any:
    site.set(AUTHENTICATION=["rest_framework.authentication.BasicAuthentication"])
    return ask(site)


@of_all("GET", (LIST, ONE), 403)
@of_all("POST", POSTS, 403)
def nobody_is_signed_in(site: Site) -> Any:
    return ask(site)


@of_all("GET", (LIST, ONE), 403)
@of_all("POST", POSTS, 403)
def a_shopper_is_signed_in(site: Site) -> Any:
    site.sign_in()
    return ask(site)


@of_all("POST", POSTS, 403)
def staff_have_no_csrf_token(site: Site) -> Any:
    cookies = as_chief(site).client.cookies
    site.client = Client(enforce_csrf_checks=True)
    site.client.cookies = cookies
    return ask(site)


@of_all("GET", (ONE,), 404)
@of_all("POST", POSTS, 404)
def there_is_no_such_payment(site: Site) -> Any:
    return ask(as_chief(site), body={"reason": "broken"} if site.path == REFUNDS else {})


@of_all("POST", POSTS, 400)
def staff_send_no_json(site: Site) -> Any:
    return ask(as_chief(site), paid(site), b"{")


@of_all("GET", (LIST, ONE), 413)
@of_all("POST", POSTS, 413)
def staff_send_too_much(site: Site) -> Any:
    return ask(as_chief(site), body=b" " * 70_000)


@of_all("POST", POSTS, 415)
def staff_send_a_form(site: Site) -> Any:
    as_chief(site)
    return site.send("POST", site.path.strip("/").replace("{id}", str(paid(site).pk)) + "/", b"reason=x", FORM)


@of_all("GET", (LIST, ONE), 429)
@of_all("POST", POSTS, 429)
def staff_ask_too_often(site: Site) -> Any:
    as_chief(site).set(THROTTLES={"staff": "1/day"})
    ask(site)
    return ask(site)
