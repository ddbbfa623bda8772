"""`gatewaypay_startgateway`: a new gateway starts with a green battery and a list of what is left."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from .conftest import REPOSITORY
from .docs.walkthrough import Command, read_steps, section

GUIDE = (REPOSITORY / "docs" / "how-to" / "add-a-gateway.md").read_text(encoding="utf-8")
MARK = "FILL IN"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody else's project."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Pytest in that project, which has none of our settings."""
    options = ["-p", "no:django", "-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error", "-q", "-rf"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, f"--rootdir={folder}", *options, *arguments],
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_its_tests_say_what_is_left_and_nothing_else(here: Path) -> None:
    """The guide's two lines: the battery is green; one test is red, and names each line to look at."""
    start, test = (shlex.split(step.line) for step in read_steps(section(GUIDE, "Start")) if isinstance(step, Command))
    call_command(*start[2:])
    first = run(here, *test[3:])
    for name in written(here):
        if name.endswith((".py", ".md")):
            (here / name).write_text((here / name).read_text().replace(MARK, "done"))
    second = run(here, *test[3:])

    assert start[:3] == ["python", "manage.py", "gatewaypay_startgateway"]
    assert test[:3] == ["python", "-m", "pytest"]
    assert first.stdout.count("FAILED ") == 1, first.stdout
    assert "FAILED test_acme_pay.py::test_nothing_is_left_to_fill_in" in first.stdout
    for place in ("acme_pay.py:1: ", "test_acme_pay.py:", "acme_pay.md:3: "):
        assert place in first.stdout
    assert second.returncode == 0, second.stdout
    assert " passed" in second.stdout


def test_it_writes_here_by_default_and_says_what(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four files, and the next line to type."""
    call_command("gatewaypay_startgateway", "Acme")
    files = {"acme.py", "test_acme.py", "fixtures/acme/callback_paid.json", "acme.md"}
    told = capsys.readouterr().out

    assert written(here) == files
    assert [name for name in files if f"wrote {name}" not in told] == []
    assert "pytest test_acme.py" in told


def test_it_writes_where_it_is_told(here: Path) -> None:
    """The tests import the adapter from its package, and find the page."""
    call_command("gatewaypay_startgateway", "Acme", code="shop/gateways", tests="tests/pay", docs="docs")
    tests = (here / "tests/pay/test_acme.py").read_text()

    assert written(here) == {
        "shop/gateways/acme.py",
        "tests/pay/test_acme.py",
        "tests/pay/fixtures/acme/callback_paid.json",
        "docs/acme.md",
    }
    assert "from shop.gateways.acme import AcmeGateway" in tests
    assert 'HERE / "../../docs/acme.md"' in tests
    assert '"BACKEND": "shop.gateways.acme.AcmeGateway"' in (here / "docs/acme.md").read_text()


@pytest.mark.parametrize("name", ["acme.py", "test_acme.py", "fixtures/acme/callback_paid.json", "acme.md"])
def test_nothing_is_overwritten(here: Path, name: str) -> None:
    """One file that is there already, and none is written."""
    (here / name).parent.mkdir(parents=True, exist_ok=True)
    (here / name).write_text("mine")
    with pytest.raises(CommandError, match="there already"):
        call_command("gatewaypay_startgateway", "Acme")

    assert written(here) == {name}
    assert (here / name).read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "acme",
        "1Acme",
        "Acme-Pay",
        "Acme Pay",
        "../Acme",
        "Äcme",
        "Acme\n",
        "A" * 41,
        "Class",
        "AcmeGateway",
        "Test",
    ],
)
def test_a_name_that_is_none_is_refused(here: Path, name: str) -> None:
    """It becomes a class, a module and an environment variable."""
    with pytest.raises(CommandError, match="no name for a gateway"):
        call_command("gatewaypay_startgateway", name)

    assert written(here) == set()


@pytest.mark.parametrize(("name", "module"), [("Acme", "acme"), ("AcmePay", "acme_pay"), ("ABCPay2Go", "abc_pay2_go")])
def test_a_module_is_named_in_small_letters(here: Path, name: str, module: str) -> None:
    """As Python does."""
    call_command("gatewaypay_startgateway", name)

    assert f"{module}.py" in written(here)


@pytest.mark.parametrize("folder", ["..", "../elsewhere", "my-shop", "shop/class"])
def test_a_folder_that_cannot_be_imported_is_refused(here: Path, folder: str) -> None:
    """The tests have to import the adapter."""
    with pytest.raises(CommandError, match="not a package"):
        call_command("gatewaypay_startgateway", "Acme", code=folder)

    assert written(here) == set()


def test_what_is_written_is_in_good_style(here: Path) -> None:
    """Ruff, with our own rules, has nothing to say."""
    call_command("gatewaypay_startgateway", "Acme")
    config = str(REPOSITORY / "pyproject.toml")
    ran = [
        subprocess.run([sys.executable, "-m", "ruff", *words, "--config", config, "."], capture_output=True, text=True)
        for words in (["check", "--no-cache", "--ignore", "S101,S106"], ["format", "--check", "--no-cache"])
    ]
    if any("No module named ruff" in each.stderr for each in ran):
        pytest.skip("ruff is not installed")

    assert [each.stdout for each in ran if each.returncode] == []
