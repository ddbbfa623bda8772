"""What the documentation says is what the code does."""

import argparse
import re
import tomllib
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest
from django.urls import URLPattern

from django_gatewaypay import __version__, lifecycle
from django_gatewaypay.conf import GatewayPaySettings
from django_gatewaypay.models import Callback, Fulfilment, TransactionEvent
from django_gatewaypay.permissions import COOKIE
from django_gatewaypay.sandbox.decisions import Action
from django_gatewaypay.sandbox.models import DisputeWord, Mode, RefundPlan
from django_gatewaypay.types import Source, State
from django_gatewaypay.views import problems

from ..conftest import REPOSITORY

PACKAGE = REPOSITORY / "django_gatewaypay"
REFERENCE = REPOSITORY / "docs" / "reference"
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
METADATA = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def read(name: str) -> str:
    return (REPOSITORY / name).read_text()


def first_cells(text: str) -> list[str]:
    """The code words that stand alone in the first cell of a table's rows."""
    return re.findall(r"^\| `([^`|]+)`(?: \(default\))? \|", text, re.MULTILINE)


def versions(trove: str) -> list[str]:
    """The versions that a classifier names, such as "Framework :: Django"."""
    found = (line.removeprefix(f"{trove} :: ") for line in METADATA["classifiers"] if line.startswith(trove))
    return [version for version in found if re.fullmatch(r"\d+\.\d+", version)]


def documented_settings() -> dict[str, object]:
    found = re.findall(r"^## ([A-Z_]+)\n\nDefault: `(.+)`$", read("docs/reference/settings.md"), re.MULTILINE)
    return {name: eval(value, {"timedelta": timedelta}) for name, value in found}  # noqa: S307 - our own page


def test_every_setting_is_documented_with_its_default() -> None:
    """The reference has the settings of the code, no more, with the same defaults."""
    kept = {name: value for name, value in vars(GatewayPaySettings).items() if name.isupper()}

    assert documented_settings() == kept


def test_every_check_is_documented() -> None:
    """The reference has the ids that the code can say, no more."""
    sources = "".join((PACKAGE / name).read_text() for name in ("checks.py", "sandbox/checks.py"))
    ids = set(re.findall(r"gatewaypay\.[EW]\d{3}", sources))

    assert ids
    assert set(first_cells(read("docs/reference/checks.md"))) == ids


@pytest.mark.parametrize(
    ("module", "page"),
    [("django_gatewaypay.urls", "http-api.md"), ("django_gatewaypay.sandbox.urls", "sandbox.md")],
)
def test_every_url_is_documented_by_name_and_path(module: str, page: str) -> None:
    """The reference has the routes of the code, no more."""
    urls = import_module(module)
    patterns = [pattern for pattern in urls.urlpatterns if isinstance(pattern, URLPattern) and pattern.name]
    paths = {pattern.name: str(pattern.pattern).replace("str:text_id", "id") for pattern in patterns}
    routes = {f"{urls.app_name}:{name}": re.sub(r"<\w+:", "<", path) for name, path in paths.items()}
    rows = re.findall(r"^\| (.+?) \| `(gatewaypay\w*:[\w-]+)` \|", (REFERENCE / page).read_text(), re.MULTILINE)
    documented = {name: re.search(r"([\w<>/-]*)`$", path)[1].lstrip("/") for path, name in rows}  # type: ignore[index]

    assert documented == routes


def test_every_state_is_documented_with_rank_and_status() -> None:
    """The table of states is the code's."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (\w+) \|", read("docs/reference/states.md"), re.MULTILINE)

    assert sorted(rows) == sorted((str(state.rank), state.value, state.status.value) for state in State)


def test_the_moves_are_those_of_the_table() -> None:
    """The examples on the page of states hold."""
    moves = lifecycle.TRANSITIONS

    assert State.SUCCESS in moves[State.EXPIRED]
    assert State.HELD in moves[State.FAILED]
    assert State.FAILED not in moves[State.SUCCESS]


@pytest.mark.parametrize("words", [Callback.State, Fulfilment.State, TransactionEvent.Kind, Source])
def test_every_word_of_the_books_is_documented(words: type[Source]) -> None:
    """States of callbacks and fulfilments, kinds and sources of ledger lines."""
    text = read("docs/reference/states.md")

    assert [word.value for word in words if f"`{word.value}`" not in text] == []


def test_every_attention_code_is_documented() -> None:
    """The codes that the code raises are those of the how-to."""
    raised = set()
    for path in (*PACKAGE.glob("lifecycle/*.py"), *PACKAGE.glob("services/*.py")):
        for group in re.findall(r"(?:attention \| |flags = |flags=|frozenset\()[{(]([^})]*)[})]", path.read_text()):
            raised |= set(re.findall(r'"(\w+)"', group))

    assert raised == set(first_cells(read("docs/how-to/attention.md")))


def test_every_command_is_documented_with_its_options() -> None:
    """Each command has its section, and each of its own options is in there."""
    text = read("docs/reference/commands.md")
    names = [path.stem for path in PACKAGE.glob("management/commands/*.py") if path.stem != "__init__"]

    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == sorted(names)
    for name in names:
        parser = argparse.ArgumentParser(add_help=False)
        import_module(f"django_gatewaypay.management.commands.{name}").Command().add_arguments(parser)
        options = [option for action in parser._actions for option in action.option_strings]
        assert [option for option in options if f"`{option}" not in text] == []


def test_every_problem_code_is_documented() -> None:
    """The HTTP reference has each of our own errors with its status."""
    text = read("docs/reference/http-api.md")

    assert [code for _, status, code in problems.ANSWERS if f"| {status} | `{code}` |" not in text] == []


def test_the_guest_cookie_is_documented_by_name() -> None:
    """Hosts list their cookies in a privacy notice."""
    assert f"`{COOKIE}`" in read("docs/reference/http-api.md")


@pytest.mark.parametrize("words", [Action, Mode, RefundPlan, DisputeWord])
def test_every_choice_of_the_sandbox_is_documented(words: type[Mode]) -> None:
    """The sandbox's page has its actions, its ways to call back, and what comes after."""
    documented = first_cells(read("docs/reference/sandbox.md"))

    assert [word.value for word in words if word.value not in documented] == []


def test_the_readme_names_the_versions_of_the_metadata() -> None:
    """Python and Django in the README are those of the classifiers."""
    (python, django) = re.findall(r"\*\*(?:Python|Django)\*\* ([\d., ]+\d)", read("README.md"))

    assert python.split(", ") == versions("Programming Language :: Python")
    assert django.split(", ") == versions("Framework :: Django")


def test_the_changelog_has_this_version() -> None:
    """A release is never silent."""
    assert f"## [{__version__}]" in read("CHANGELOG.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_a_page_names_no_machine(page: Path) -> None:
    """No page knows where somebody's files are, or which registry they use."""
    text = page.read_text()

    assert re.findall(r"(?:^|[\s`'\"(])/(?:home|root|work|tmp|Users|opt|var|usr)/[^\s`)]*|[A-Z]:\\\\", text) == []
    assert re.findall(r"(?:pypi\.org|pythonhosted|/simple/)", text) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """Sphinx checks the pages that it builds; this also covers those that it does not."""
    links = re.findall(r"\]\(((?!https?:|mailto:|#)[^)#\s]+)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_adr_is_short() -> None:
    """At most 30 lines, and listed."""
    records = sorted((REPOSITORY / "docs" / "adr").glob("0*.md"))
    listed = read("docs/adr/index.md")

    assert [path.name for path in records if len(path.read_text().splitlines()) > 30] == []
    assert [path.stem for path in records if path.stem not in listed] == []
