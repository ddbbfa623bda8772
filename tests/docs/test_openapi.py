"""The description of the HTTP API is OpenAPI 3.1, names what the URLconf has, and is what the views answer."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import URLPattern
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from django_gatewaypay import urls
from django_gatewaypay.models import TransactionEvent
from django_gatewaypay.permissions import COOKIE
from django_gatewaypay.testing.gateway_server import GatewayServer
from django_gatewaypay.types import DECLINE_CODES, DisputeState, MovementState, RefundStatus, Source, State, Status
from django_gatewaypay.views import problems

from ..conftest import REPOSITORY
from . import staff_answers
from .answers import CALLBACK, INITIATE, NOBODY, SCENARIOS, Scenario, Site

pytestmark = pytest.mark.django_db(transaction=True)

DESCRIPTION = yaml.safe_load((REPOSITORY / "docs/reference/openapi.yaml").read_text())
SCHEMAS = DESCRIPTION["components"]["schemas"]
REGISTRY = Registry().with_resource("urn:api", Resource(DESCRIPTION, DRAFT202012))
METHODS = ("get", "post", "put", "patch", "delete")


def is_described(answer: Any, method: str, path: str) -> None:
    """The status, the type, the body and the headers of an answer are as its operation says."""
    operation = resolve(f"#/paths/{path.replace('/', '~1')}/{method.lower()}/responses/{answer.status_code}")
    where, said = operation
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    if "content" in said:
        assert kind in said["content"], kind
        body = answer.json() if kind.endswith("json") else answer.content.decode()
        check(f"{where}/content/{kind.replace('/', '~1')}/schema", body)
    else:
        assert answer.content == b""
    for name in said.get("headers", {}):
        place, header = resolve(f"{where}/headers/{name}")
        assert name in answer.headers or not header["required"], name
        check(f"{place}/schema", answer.headers[name])


def resolve(pointer: str) -> tuple[str, Any]:
    """What stands at a place, following its $ref, and the place where it really stands."""
    found = REGISTRY.resolver("urn:api").lookup(pointer).contents
    return resolve(found["$ref"]) if "$ref" in found else (pointer, found)


def check(pointer: str, value: object) -> None:
    validator = OAS31Validator(
        {"$ref": f"urn:api{pointer}"}, registry=REGISTRY, format_checker=OAS31Validator.FORMAT_CHECKER
    )
    assert [error.message for error in validator.iter_errors(value)] == []


# --- The description by itself.


def test_it_is_openapi_3_1() -> None:
    """By the published schema of OpenAPI, with every reference and default in order."""
    errors = [error.message for error in OpenAPIV31SpecValidator(DESCRIPTION).iter_errors()]

    assert errors == []


def test_its_paths_are_those_of_the_urlconf() -> None:
    """Every route, with and without the slash, and no other."""
    routes = [str(one.pattern) for one in urls.urlpatterns if isinstance(one, URLPattern)]
    paths = {"/" + re.sub(r"<str:(?:text_)?(\w+)>", r"{\1}", route) for route in routes}

    assert set(DESCRIPTION["paths"]) == paths


@pytest.mark.parametrize("path", DESCRIPTION["paths"])
def test_its_methods_are_those_that_the_views_take(path: str) -> None:
    """Any other is answered 405, to whoever may use the view."""
    url = "/payments" + path.replace("{id}", NOBODY).replace("{alias}", "nowhere")
    client = Client()
    client.force_login(get_user_model().objects.create_user("chief", is_superuser=True))
    taken = {method for method in METHODS if client.generic(method.upper(), url).status_code != 405}

    assert taken == set(DESCRIPTION["paths"][path]) & set(METHODS)


def test_its_words_are_those_of_the_code() -> None:
    """States, statuses, decline codes, problem codes, the words of movements and the guest's cookie."""
    fields = SCHEMAS["StatusFields"]["properties"]
    words = {"State": State, "RefundStatus": RefundStatus, "MovementState": MovementState}
    entry = SCHEMAS["LedgerEntry"]["properties"]
    text = (REPOSITORY / "docs/reference/openapi.yaml").read_text()

    assert set(fields["state"]["enum"]) == {str(state) for state in State}
    assert set(fields["status"]["enum"]) == {str(status) for status in Status}
    assert {name: SCHEMAS[name]["enum"] for name in words} == {name: [*map(str, of)] for name, of in words.items()}
    assert SCHEMAS["Dispute"]["properties"]["state"]["enum"] == [str(state) for state in DisputeState]
    assert entry["kind"]["enum"] == list(TransactionEvent.Kind.values)
    assert entry["source"]["enum"] == [str(source) for source in Source]
    assert set(SCHEMAS["Problem"]["properties"]["decline_code"]["enum"]) == DECLINE_CODES
    assert [code for _, _, code in problems.ANSWERS if not re.search(rf"\b{code}\b", text)] == []
    assert DESCRIPTION["components"]["securitySchemes"]["guest"]["name"] == COOKIE


@pytest.mark.parametrize("field", ["amount", "token", "payment_url", "next_action", "version", "expires_at"])
def test_a_body_that_lacks_a_field_is_not_as_described(site: Site, field: str) -> None:
    """The comparison can fail."""
    answer = site.initiate()
    answer.json = lambda: {name: value for name, value in json.loads(answer.content).items() if name != field}

    with pytest.raises(AssertionError, match=field):
        is_described(answer, "POST", "/initiate/")


@pytest.fixture
def site(hosted: GatewayServer, settings: Any, client: Client, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)
    return Site(hosted, settings, client)


# --- The answers of the views.


def with_and_without_slash() -> Iterator[Any]:
    for method, path, status, scenario in SCENARIOS:
        for slash in ("/", "") if path in {INITIATE, CALLBACK} else ("/",):
            name = f"{method} {path.rstrip('/') + slash} {status} {scenario.__name__}"
            yield pytest.param(method, path, status, scenario, slash, id=name)


@pytest.mark.parametrize(("method", "path", "status", "scenario", "slash"), list(with_and_without_slash()))
def test_an_answer_is_as_described(
    site: Site, method: str, path: str, status: int, scenario: Scenario, slash: str
) -> None:
    """Its status, its type, every field of its body and its headers."""
    site.method, site.path, site.slash = method, path, slash
    answer = scenario(site)

    assert answer.status_code == status, answer.content
    is_described(answer, method, path.rstrip("/") + slash)


def test_every_described_answer_is_given_by_some_scenario() -> None:
    """Nothing is described that was not seen."""
    seen = {(method.lower(), path, str(status)) for method, path, status, _ in SCENARIOS}
    seen |= {(method, path.rstrip("/"), status) for method, path, status in seen if path in {INITIATE, CALLBACK}}
    assert {path for _, path, _ in seen} >= {staff_answers.LIST, staff_answers.ONE}
    described = {
        (method, path, status)
        for path, item in DESCRIPTION["paths"].items()
        for method in METHODS
        for status in item.get(method, {}).get("responses", {})
    }

    assert seen == described
