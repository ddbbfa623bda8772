"""Whatever a host has set for its own views, ours do the same."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.urls import URLPattern, get_resolver
from rest_framework.permissions import AllowAny
from rest_framework.settings import api_settings
from rest_framework.views import APIView

import django_gatewaypay
from django_gatewaypay import urls
from django_gatewaypay.permissions import StaffPermission

ROOT = Path(django_gatewaypay.__file__).parent.parent
PATTERNS: list[URLPattern] = urls.urlpatterns
NAMES = [str(pattern.pattern) for pattern in PATTERNS]
API = [pattern for pattern in PATTERNS if hasattr(pattern.callback, "cls")]
STAFF = {
    "CaptureView", "RefreshView", "RefundsView", "TransactionCancelView", "TransactionView", "TransactionsView"
}  # fmt: skip
PLAIN = [pattern for pattern in PATTERNS if not hasattr(pattern.callback, "cls")]


def view_class(pattern: URLPattern) -> type[APIView]:
    return pattern.callback.cls  # type: ignore[union-attr,no-any-return]


def own(cls: type, name: str) -> bool:
    """Whether a class of ours, and not DRF with the host's default, sets an attribute."""
    return any(name in vars(each) for each in cls.__mro__ if each.__module__.startswith("django_gatewaypay"))


@pytest.mark.parametrize(
    "name",
    [
        "permission_classes",
        "throttle_classes",
        "throttle_scope",
        "renderer_classes",
        "parser_classes",
        "content_negotiation_class",
        "versioning_class",
        "metadata_class",
        "get_authenticators",
        "get_exception_handler",
    ],
)
@pytest.mark.parametrize("pattern", API, ids=lambda pattern: pattern.name)
def test_an_api_view_leaves_nothing_to_the_hosts_defaults(pattern: URLPattern, name: str) -> None:
    """Permissions, limits, authentication, parsers and renderers are said by the view itself."""
    assert own(view_class(pattern), name)


def test_every_api_view_is_limited() -> None:
    """Each has a scope that exists in THROTTLES."""
    from django_gatewaypay.conf import GatewayPaySettings

    assert {view_class(pattern).throttle_scope for pattern in API} <= GatewayPaySettings().THROTTLES.keys()
    assert {view_class(pattern).__name__ for pattern in API} == {
        "InitiateView", "StatusView", "CancelView", "GatewaysView", *STAFF
    }  # fmt: skip


def test_every_view_for_staff_asks_for_permissions() -> None:
    """Those of our models, of which seeing is always one; and no other view is open to whoever is signed in."""
    known = {
        f"{action}_{model._meta.model_name}"
        for model in apps.get_app_config("gatewaypay").get_models()
        for action in ("view", *(name.partition("_")[0] for name, _ in model._meta.permissions))
    }
    views = {view_class(pattern) for pattern in API}

    assert {view.__name__ for view in views if view.permission_classes != (AllowAny,)} == STAFF
    for view in views:
        if view.__name__ in STAFF:
            assert view.permission_classes == (StaffPermission,)
            assert "view_transaction" in view.needs
            assert set(view.needs) <= known


@pytest.mark.parametrize("pattern", PATTERNS, ids=NAMES)
def test_every_view_is_open_to_guests_and_keeps_its_own_transactions(pattern: URLPattern) -> None:
    """LoginRequiredMiddleware and ATOMIC_REQUESTS pass by."""
    view: Any = pattern.callback

    assert view.login_required is False
    assert view._non_atomic_requests == {"default"}


def test_the_views_without_djangos_csrf_check_are_known() -> None:
    """The gateway's door, the return by POST which changes nothing, and DRF's views, which check by themselves."""
    exempt = {
        str(pattern.pattern).partition("/")[0] for pattern in PATTERNS if getattr(pattern.callback, "csrf_exempt", 0)
    }

    assert exempt == {"callbacks", "return", "initiate", "status", "cancel", "gateways", "transactions"}


@pytest.mark.parametrize("pattern", PLAIN, ids=lambda pattern: str(pattern.pattern))
def test_every_other_view_names_its_methods(pattern: URLPattern) -> None:
    """TRACE, PROPFIND and whatever else is invented are refused."""
    from django.test import Client

    url = "/payments/" + str(pattern.pattern).replace("<str:alias>", "hosted").replace("<str:text_id>", "x")

    assert Client().generic("PROPFIND", url).status_code == 405


def test_the_user_model_is_the_hosts() -> None:
    """Users are named through AUTH_USER_MODEL alone."""
    found = []
    for path in Path(django_gatewaypay.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = isinstance(node, ast.ImportFrom) and node.module == "django.contrib.auth.models"
            named = isinstance(node, ast.Constant) and node.value == "auth.User"
            if imported or named:
                found.append((path.name, node.lineno))

    assert found == []


def test_nothing_depends_on_drf_settings_but_the_count_of_proxies() -> None:
    """What we read of REST_FRAMEWORK is NUM_PROXIES."""
    used = set()
    for path in Path(django_gatewaypay.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "api_settings":
                used.add(node.attr)

    assert used == {"NUM_PROXIES"}
    assert hasattr(api_settings, "NUM_PROXIES")


HOSTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "odd DRF": {
        "REST_FRAMEWORK": {
            "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.StaticHTMLRenderer"],
            "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.MultiPartParser"],
            "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"],
            "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle"],
            "DEFAULT_THROTTLE_RATES": {"anon": "1/day"},
            "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
            "ALLOWED_VERSIONS": ["v9"],
            "DEFAULT_CONTENT_NEGOTIATION_CLASS": "rest_framework.negotiation.BaseContentNegotiation",
            "DEFAULT_METADATA_CLASS": None,
            "EXCEPTION_HANDLER": "builtins.repr",
            "UNAUTHENTICATED_USER": None,
            "URL_FORMAT_OVERRIDE": None,
            "NON_FIELD_ERRORS_KEY": "x",
        }
    },
    "atomic requests": {"DATABASE": {"ATOMIC_REQUESTS": True}},
    "sign-in everywhere": {"MORE_MIDDLEWARE": ["django.contrib.auth.middleware.LoginRequiredMiddleware"]},
    "naive times": {"USE_TZ": False, "TIME_ZONE": "Asia/Kolkata"},
    "another name": {"NAMESPACE": "checkout"},
    "own users": {"AUTH_USER_MODEL": "people.Person", "WITH": ["tests.people"], "WITHOUT": ["django.contrib.admin"]},
    "no sessions": {
        "WITHOUT": ["django.contrib.admin", "django.contrib.sessions", "django.contrib.messages"],
        "MIDDLEWARE": ["django.middleware.common.CommonMiddleware"],
        "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    },
    "no session middleware": {"MIDDLEWARE": [], "WITHOUT": ["django.contrib.admin"]},
    "no slashes, other words": {"APPEND_SLASH": False, "LANGUAGE_CODE": "ar", "USE_THOUSAND_SEPARATOR": True},
}


@pytest.mark.parametrize("name", HOSTS)
def test_a_payment_is_made_at_any_host(name: str) -> None:
    """From the start to the fulfilled order, in a process of its own, with the host's settings from the beginning."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.views.a_host", json.dumps(HOSTS[name])],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout.splitlines()[-1])

    signed_in: list[Any] = {"no sessions": [], "no session middleware": [False, 200, 404]}.get(name, [True, 200, 404])
    assert said == {
        "initiate": [201, "application/json"],
        "cookie": 200,
        "token": 200,
        "stranger": [404, "application/problem+json"],
        "pay": 200,
        "callback": 200,
        "forged": 400,
        "return": True,
        "check": True,
        "gateways": 200,
        "state": "success",
        "declined": [422, "failed"],
        "user": signed_in,
        "rows": [3 if signed_in else 2, 1],
        "fulfilled": 1,
    }


def test_the_suite_mounts_all_of_it() -> None:
    """Every address of the design is there."""
    names: dict[Any, Callable[..., Any]] = get_resolver("django_gatewaypay.urls").reverse_dict

    assert {name for name in names if isinstance(name, str)} == {
        "initiate", "status", "cancel", "gateways", "callback", "pay", "return", "check", "link", "health",
        "transactions", "transaction", "transaction-cancel", "transaction-capture", "transaction-refresh",
        "transaction-refunds",
    }  # fmt: skip
