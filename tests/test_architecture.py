"""What must stay true of the code as a whole, read from the code itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_gatewaypay

PACKAGE = Path(django_gatewaypay.__file__).parent
MODULES = sorted(
    path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts
)
LONGEST_MODULE = 320
# Words of switches that weaken verification in other packages.
SWITCHES = {"verify", "secure", "secure_endpoint", "tolerance", "insecure", "skip_verification", "verify_ssl", "unsafe"}


def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"), module)


def calls(module: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(module)) if isinstance(node, ast.Call))


def imported(module: str) -> set[str]:
    """The top-level packages that a module imports by absolute name."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_read_in_one_sitting(module: str) -> None:
    """A room that grows becomes a folder of the same name."""
    lines = (PACKAGE / module).read_text(encoding="utf-8").count("\n")

    assert lines <= LONGEST_MODULE


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is(module: str) -> None:
    """Every module with code in it has a docstring."""
    found = tree(module)

    assert not found.body or ast.get_docstring(found)


@pytest.mark.parametrize("module", [name for name in MODULES if name not in {"gateways/http.py"}])
def test_no_amount_becomes_a_float(module: str) -> None:
    """`float()` is called nowhere that money passes; gateways.http has it for seconds only."""
    assert not [call.lineno for call in calls(module) if getattr(call.func, "id", "") == "float"]


@pytest.mark.parametrize("module", MODULES)
def test_no_amount_is_rounded(module: str) -> None:
    """Money is refused, not rounded: neither `round()` nor `quantize()` has a place here."""
    names = {getattr(call.func, "id", "") or getattr(call.func, "attr", "") for call in calls(module)}

    assert not names & {"round", "quantize"}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_switches_verification_off(module: str) -> None:
    """No parameter, keyword or setting has the name of such a switch."""
    names = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.keyword | ast.arg) and node.arg:
            names.add(node.arg.lower())
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id.lower())

    # set_cookie(secure=...) makes a cookie stricter; it is the one good use of such a word.
    cookies = {
        keyword.arg
        for call in calls(module)
        if getattr(call.func, "attr", "") in {"set_cookie", "set_signed_cookie"}
        for keyword in call.keywords
    }
    assert not (names & SWITCHES) - cookies


@pytest.mark.parametrize("module", ["gateways/signing.py", "services/access.py"])
def test_digests_are_never_compared_by_equality(module: str) -> None:
    """`==` tells by its time how much was right."""
    if not (PACKAGE / module).exists():
        pytest.skip(f"there is no {module}")
    suspicious = ("sign", "digest", "token", "secret", "hmac", "mac")
    found = [
        ast.unparse(node)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and any(word in ast.unparse(node).lower() for word in suspicious)
    ]

    assert found == []


def test_one_module_talks_to_the_network() -> None:
    """Only gateways.http, with its deadline, imports an HTTP client; the sandbox, a provider, sends its callbacks."""
    clients = {"requests", "urllib3", "httpx", "aiohttp"}
    talkers = {module for module in MODULES if imported(module) & clients}

    assert talkers - {"sandbox/delivery.py"} == {"gateways/http.py", "gateways/deadline.py"}


def test_adapters_know_no_django() -> None:
    """An adapter is plain Python; signing only borrows the decorator that hides secrets."""
    frameworks = {"django", "rest_framework", "channels", "celery"}
    users = {module for module in MODULES if module.startswith("gateways/") and imported(module) & frameworks}

    assert users == {"gateways/signing.py"}


@pytest.mark.parametrize("module", MODULES)
def test_package_code_does_not_print(module: str) -> None:
    """Logs and command output go where the host sends them."""
    assert not [call.lineno for call in calls(module) if getattr(call.func, "id", "") == "print"]


def python(code: str) -> str:
    """What a fresh interpreter, without Django's settings, prints."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_importing_the_package_is_cheap() -> None:
    """The package itself pulls in neither Django nor a model nor an HTTP client."""
    code = "import sys, django_gatewaypay; print([m for m in ('django', 'requests', 'celery') if m in sys.modules])"

    assert python(code) == "[]"


@pytest.mark.parametrize("wanted", [False, True])
def test_celery_is_imported_where_it_is_used(wanted: bool) -> None:
    """A host that has switched it on imports it at its start, where no shopper waits; any other one never does."""
    code = (
        "from django.conf import settings;"
        "apps = ['django.contrib.contenttypes', 'django.contrib.auth', 'django_gatewaypay'];"
        f"settings.configure(INSTALLED_APPS=apps, GATEWAYPAY={{'USE_CELERY': {wanted}}});"
        "import django, sys; django.setup(); import django_gatewaypay.urls, django_gatewaypay.routing;"
        "print('celery' in sys.modules)"
    )

    assert python(code) == str(wanted)


def test_an_adapter_works_without_settings() -> None:
    """Types, money and adapters are importable and usable in a script that never configures Django."""
    code = (
        "from django_gatewaypay.gateways.hosted import HostedGateway as H;"
        "import sys;"
        "H('a', api_base='https://a.example', webhook_secrets=['whsec_YWJj']);"
        "print([m for m in ('django_gatewaypay.models', 'django_gatewaypay.conf') if m in sys.modules])"
    )

    assert python(code) == "[]"


def test_the_version_is_written_once() -> None:
    """The package and its metadata agree, because one reads the other."""
    pyproject = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")

    assert 'dynamic = ["version"]' in pyproject
    assert django_gatewaypay.__version__.count(".") == 2
