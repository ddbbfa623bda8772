"""One scenario for every answer that the description of the HTTP API knows."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth import get_user_model
from django.core import signing
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from django_gatewaypay import services
from django_gatewaypay.conf import settings as ours
from django_gatewaypay.models import Transaction
from django_gatewaypay.services import access
from django_gatewaypay.services.lookup import SALT
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer
from django_gatewaypay.types import State

from ..factories import make_order, make_transaction

__all__ = ["CALLBACK", "INITIATE", "NOBODY", "SCENARIOS", "Scenario", "Site"]

NOBODY = "8a1f0c0e-5d3b-4c58-9b57-3f1a2f3c4d5e"
FORM = "application/x-www-form-urlencoded"


@dataclass
class Site:
    """A shop and its gateway; requests come from one guest.

    Args:
        method, path: of the operation that is looked at.
        slash: how its address ends, where both ways are taken.
    """

    gateway: GatewayServer
    settings: Any
    client: Client
    method: str = "GET"
    path: str = "/"
    slash: str = "/"

    def set(self, **changed: Any) -> None:
        self.settings.GATEWAYPAY = {**self.settings.GATEWAYPAY, **changed}

    def send(self, method: str, path: str, body: bytes = b"", kind: str = "application/json", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.generic(method, f"/payments/{path}", body, CONTENT_TYPE=kind, headers=named)

    def visit(self, **headers: str) -> Any:
        """Call the operation about a payment that nobody has."""
        path = self.path.strip("/").replace("{id}", NOBODY) + self.slash
        return self.send(self.method, path, **headers)

    def initiate(self, order: object = None, **more: Any) -> Any:
        headers = {name: more.pop(name) for name in list(more) if name[0].isupper()}
        body = {"order_id": str(make_order().pk if order is None else order), **more}
        return self.send("POST", f"initiate{self.slash}", json.dumps(body).encode(), **headers)

    def form(self, body: bytes) -> Any:
        return self.send("POST", f"initiate{self.slash}", body, FORM)

    def mine(self, state: State = State.PENDING, **fields: Any) -> tuple[str, dict[str, str]]:
        """The id of a payment, and the header that opens it."""
        row = make_transaction(state, **fields)
        return str(row.pk), {"Authorization": f"Bearer {access.mint_token(row.pk)}"}

    def call_back(self, **change: Any) -> Any:
        row = Transaction.objects.get(pk=self.initiate().json()["id"])
        self.gateway.pay(row.gateway_reference)
        headers, body = self.gateway.callback(row.gateway_reference)
        headers |= {name: value for name, value in change.items() if name[0].isupper()}
        kind = change.get("kind", headers.pop("content-type"))
        alias = change.get("alias", "hosted")
        return self.send("POST", f"callbacks/{alias}{self.slash}", change.get("body", body), kind, **headers)

    def ask(self, order_id: str, email: str) -> Any:
        """Ask for a link to the payments of an order."""
        return self.send("POST", "check/", urlencode({"order_id": order_id, "email": email}).encode(), FORM)

    def throttle(self, scope: str) -> None:
        cache.clear()
        self.set(THROTTLES={**ours.THROTTLES, scope: "1/day"})
        self.client.get("/payments/check/") if scope == "page" else None
        self.client.get("/payments/gateways/") if scope == "status" else None
        self.client.post("/payments/initiate/") if scope == "initiate" else None

    def sign_in(self) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.client.force_login(get_user_model().objects.create_user("ada"))


Scenario = Callable[[Site], Any]
SCENARIOS: list[tuple[str, str, int, Scenario]] = []


def answers(method: str, path: str, status: int) -> Callable[[Scenario], Scenario]:
    """A scenario whose answer is described under this operation and status."""

    def keep(scenario: Scenario) -> Scenario:
        SCENARIOS.append((method, path, status, scenario))
        return scenario

    return keep


INITIATE = "/initiate/"
LINK = "/check/{signed}/"


@answers("POST", INITIATE, 201)
def a_guest_starts(site: Site) -> Any:
    return site.initiate(return_url="/thanks/", Idempotency_Key="k1")


@answers("POST", INITIATE, 201)
def a_paid_payment_is_started_again_by_its_key(site: Site) -> Any:
    site.client.force_login(get_user_model().objects.create_user("ada"))
    order = make_order()
    row = Transaction.objects.get(pk=site.initiate(order.pk, Idempotency_Key="k1").json()["id"])
    site.gateway.pay(row.gateway_reference)
    site.client.get(f"/payments/return/{row.pk}/")
    return site.initiate(order.pk, Idempotency_Key="k1")


@answers("POST", INITIATE, 303)
def a_form_is_sent(site: Site) -> Any:
    return site.form(f"order_id={make_order().pk}".encode())


@answers("POST", INITIATE, 400)
def it_is_not_json(site: Site) -> Any:
    return site.send("POST", f"initiate{site.slash}", b"{")


@answers("POST", INITIATE, 400)
def the_key_is_no_text(site: Site) -> Any:
    return site.initiate(Idempotency_Key="é")


@answers("POST", INITIATE, 400)
def a_form_has_too_many_fields(site: Site) -> Any:
    return site.form(b"&".join(b"a" for _ in range(2000)))


@answers("POST", INITIATE, 403)
def a_session_has_no_csrf_token(site: Site) -> Any:
    site.sign_in()
    return site.initiate()


@answers("POST", INITIATE, 403)
def a_form_has_no_csrf_token(site: Site) -> Any:
    site.client = Client(enforce_csrf_checks=True)
    return site.form(b"order_id=1")


@answers("POST", INITIATE, 404)
def there_is_no_such_order(site: Site) -> Any:
    return site.initiate(10**9)


@answers("POST", INITIATE, 404)
def a_form_names_no_order_of_ours(site: Site) -> Any:
    return site.form(b"order_id=nonsense")


@answers("POST", INITIATE, 409)
def it_is_being_opened_right_now(site: Site) -> Any:
    row = make_transaction(State.CREATED, claimed_until=timezone.now() + timedelta(minutes=1))
    return site.initiate(row.order_id)


@answers("POST", INITIATE, 413)
def the_body_is_too_large(site: Site) -> Any:
    return site.initiate("x" * 70_000)


@answers("POST", INITIATE, 415)
def it_is_neither_json_nor_a_form(site: Site) -> Any:
    return site.send("POST", f"initiate{site.slash}", b"<order/>", "text/xml")


@answers("POST", INITIATE, 422)
def a_price_is_sent(site: Site) -> Any:
    return site.initiate(amount="0.01")


@answers("POST", INITIATE, 422)
def it_is_no_object(site: Site) -> Any:
    return site.send("POST", f"initiate{site.slash}", b"[1, null]")


@answers("POST", INITIATE, 422)
def there_is_no_such_gateway(site: Site) -> Any:
    return site.initiate(gateway="nowhere")


@answers("POST", INITIATE, 422)
def the_shop_refuses(site: Site) -> Any:
    return site.initiate(make_order(mood="refuse").pk)


@answers("POST", INITIATE, 422)
def a_key_is_used_twice(site: Site) -> Any:
    site.initiate(Idempotency_Key="k1")
    return site.initiate(Idempotency_Key="k1")


@answers("POST", INITIATE, 422)
def the_gateway_declines(site: Site) -> Any:
    site.gateway.script(Answer.json({"decline_code": "insufficient_funds"}, 402))
    return site.initiate()


@answers("POST", INITIATE, 422)
def the_gateway_rejects(site: Site) -> Any:
    site.gateway.script(Answer.error(422))
    return site.initiate()


@answers("POST", INITIATE, 422)
def a_form_lacks_the_order(site: Site) -> Any:
    return site.form(b"gateway=hosted")


@answers("POST", INITIATE, 429)
def initiations_are_too_many(site: Site) -> Any:
    site.throttle("initiate")
    return site.initiate()


@answers("POST", INITIATE, 503)
def the_gateway_is_down(site: Site) -> Any:
    site.gateway.script(*[Answer.error(503)] * 9)
    return site.initiate()


@answers("POST", INITIATE, 401)
@answers("GET", "/gateways/", 401)
@answers("GET", "/status/{id}/", 401)
@answers("POST", "/cancel/{id}/", 401)
def the_hosts_own_credentials_are_wrong(site: Site) -> Any:
    site.set(AUTHENTICATION=["rest_framework.authentication.BasicAuthentication"])
    return site.visit(Authorization="Basic YTpi")


@answers("GET", "/status/{id}/", 200)
def the_owner_looks(site: Site) -> Any:
    pk, headers = site.mine(State.HELD)
    return site.send("GET", f"status/{pk}/", **headers)


@answers("GET", "/status/{id}/", 404)
def a_stranger_looks(site: Site) -> Any:
    return site.send("GET", f"status/{site.mine()[0]}/")


@answers("GET", "/status/{id}/", 413)
def a_question_is_too_large(site: Site) -> Any:
    return site.send("GET", f"status/{NOBODY}/", b"x" * 70_000)


@answers("GET", "/status/{id}/", 429)
def questions_are_too_many(site: Site) -> Any:
    site.throttle("status")
    return site.send("GET", f"status/{NOBODY}/")


@answers("POST", "/cancel/{id}/", 200)
def the_owner_cancels(site: Site) -> Any:
    started = site.initiate().json()
    return site.send("POST", f"cancel/{started['id']}/", Authorization=f"Bearer {started['token']}")


@answers("POST", "/cancel/{id}/", 403)
def a_session_cancels_without_csrf_token(site: Site) -> Any:
    site.sign_in()
    return site.send("POST", f"cancel/{NOBODY}/")


@answers("POST", "/cancel/{id}/", 404)
def a_stranger_cancels(site: Site) -> Any:
    return site.send("POST", f"cancel/{site.mine()[0]}/")


@answers("POST", "/cancel/{id}/", 409)
def it_is_over(site: Site) -> Any:
    pk, headers = site.mine(State.SUCCESS)
    return site.send("POST", f"cancel/{pk}/", **headers)


@answers("POST", "/cancel/{id}/", 413)
def a_cancellation_is_too_large(site: Site) -> Any:
    return site.send("POST", f"cancel/{NOBODY}/", b"x" * 70_000)


@answers("POST", "/cancel/{id}/", 422)
def the_gateway_does_not_know_the_session(site: Site) -> Any:
    pk, headers = site.mine()
    return site.send("POST", f"cancel/{pk}/", **headers)


@answers("POST", "/cancel/{id}/", 429)
def cancellations_are_too_many(site: Site) -> Any:
    site.throttle("initiate")
    return site.send("POST", f"cancel/{NOBODY}/")


@answers("POST", "/cancel/{id}/", 503)
def the_gateway_is_down_when_it_is_canceled(site: Site) -> Any:
    pk, headers = site.mine()
    site.gateway.script(*[Answer.error(503)] * 9)
    return site.send("POST", f"cancel/{pk}/", **headers)


@answers("GET", "/gateways/", 200)
def the_gateways_are_listed(site: Site) -> Any:
    return site.send("GET", "gateways/?currency=eur")


@answers("GET", "/gateways/", 413)
def a_list_is_asked_for_at_length(site: Site) -> Any:
    return site.send("GET", "gateways/", b"x" * 70_000)


@answers("GET", "/gateways/", 422)
def there_is_no_such_currency(site: Site) -> Any:
    return site.send("GET", "gateways/?currency=%E2%82%AC")


@answers("GET", "/gateways/", 429)
def lists_are_too_many(site: Site) -> Any:
    site.throttle("status")
    return site.send("GET", "gateways/")


@answers("GET", "/health/", 200)
def a_monitor_asks(site: Site) -> Any:
    return site.visit()


@answers("GET", "/health/", 503)
def a_monitor_asks_and_no_clock_runs(site: Site) -> Any:
    pk, _ = site.mine()
    Transaction.objects.filter(pk=pk).update(next_poll_at=timezone.now() - timedelta(minutes=9))
    return site.visit()


CALLBACK = "/callbacks/{alias}/"


@answers("POST", CALLBACK, 200)
def the_gateway_reports(site: Site) -> Any:
    return site.call_back()


@answers("POST", CALLBACK, 400)
def somebody_else_reports(site: Site) -> Any:
    return site.call_back(Webhook_Signature="v1,AAAA")


@answers("POST", CALLBACK, 404)
def an_unknown_gateway_reports(site: Site) -> Any:
    return site.call_back(alias="nowhere")


@answers("POST", CALLBACK, 413)
def a_report_is_too_large(site: Site) -> Any:
    return site.call_back(body=b"x" * 300_000)


@answers("POST", CALLBACK, 415)
def a_report_is_a_page(site: Site) -> Any:
    return site.call_back(kind="text/html")


@answers("POST", CALLBACK, 503)
def no_callback_secret_is_configured(site: Site) -> Any:
    answer = site.initiate()
    row = Transaction.objects.get(pk=answer.json()["id"])
    headers, body = site.gateway.callback(row.gateway_reference)
    hosted = site.settings.GATEWAYPAY["GATEWAYS"]["hosted"]
    secrets: list[list[str]] = [[site.gateway.secret]]
    options = {**hosted["OPTIONS"], "webhook_secrets": lambda: secrets.pop() if secrets else []}
    site.set(GATEWAYS={"hosted": {**hosted, "OPTIONS": options}})
    return site.send("POST", f"callbacks/hosted{site.slash}", body, headers.pop("content-type"), **headers)


@answers("GET", "/pay/{id}/", 200)
def the_shopper_is_shown_the_way(site: Site) -> Any:
    return site.send("GET", f"pay/{site.initiate().json()['id']}/")


@answers("GET", "/return/{id}/", 200)
def the_shopper_is_back(site: Site) -> Any:
    return site.send("GET", f"return/{site.initiate().json()['id']}/")


@answers("POST", "/return/{id}/", 303)
def the_shopper_is_sent_back_by_post(site: Site) -> Any:
    return site.send("POST", f"return/{NOBODY}/", b"status=paid", FORM)


@answers("GET", "/pay/{id}/", 404)
def the_way_is_not_for_strangers(site: Site) -> Any:
    return site.send("GET", f"pay/{NOBODY}/")


@answers("GET", "/return/{id}/", 404)
def a_stranger_is_back(site: Site) -> Any:
    return site.send("GET", f"return/{NOBODY}/")


@answers("POST", "/return/{id}/", 404)
def nobody_is_sent_back_by_post(site: Site) -> Any:
    return site.send("POST", "return/nothing/")


@answers("GET", "/check/", 200)
def the_shopper_checks(site: Site) -> Any:
    site.initiate()
    return site.send("GET", "check/")


@answers("POST", "/check/", 200)
def the_shopper_asks_for_a_link(site: Site) -> Any:
    site.set(ORDERS="tests.shop.MailingShopOrders")
    return site.ask("1", "ann@shop.example")


@answers("POST", "/check/", 403)
def the_form_for_a_link_has_no_csrf_token(site: Site) -> Any:
    site.client = Client(enforce_csrf_checks=True)
    return site.ask("1", "ann@shop.example")


@answers("POST", "/check/", 404)
def the_host_knows_no_addresses(site: Site) -> Any:
    return site.ask("1", "ann@shop.example")


@answers("POST", "/check/", 422)
def it_is_no_address(site: Site) -> Any:
    site.set(ORDERS="tests.shop.MailingShopOrders")
    return site.ask("1", "ann")


@answers("POST", "/check/", 429)
def the_shopper_asks_too_often(site: Site) -> Any:
    site.set(ORDERS="tests.shop.MailingShopOrders", THROTTLES={"lookup": "1/day"})
    site.ask("1", "ann@shop.example")
    return site.ask("1", "ann@shop.example")


@answers("GET", LINK, 303)
def the_shopper_opens_the_link(site: Site) -> Any:
    site.set(ORDERS="tests.shop.MailingShopOrders")
    row = make_transaction(order=make_order(email="ann@shop.example"))
    claim = [row.order_id, services.address_digest(row.order_id, "ann@shop.example")]
    return site.send("GET", f"check/{signing.dumps(claim, salt=SALT)}/")


@answers("GET", LINK, 410)
def the_link_is_broken(site: Site) -> Any:
    return site.send("GET", "check/nothing/")


@answers("GET", LINK, 429)
@answers("GET", "/check/", 429)
@answers("GET", "/pay/{id}/", 429)
@answers("GET", "/return/{id}/", 429)
@answers("POST", "/return/{id}/", 429)
def visits_are_too_many(site: Site) -> Any:
    site.throttle("page")
    return site.visit()
