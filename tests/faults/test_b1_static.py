"""Fault 8, read in the source: what is secret is never compared with ==, whose time tells where it differs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_gatewaypay

PACKAGE = Path(django_gatewaypay.__file__).parent
SECRET = re.compile(r"signature|(^|_)sign(ed|s)?($|_)|digest|hmac|(^|_)mac($|_)|token|secret|(^|_)hash|password", re.I)
OPERATORS = (ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot)
METHODS = {"startswith", "endswith", "__eq__", "__ne__", "index", "find"}


def compared(node: ast.AST) -> list[ast.expr]:
    """What a comparison compares; nothing where it is none."""
    if isinstance(node, ast.Compare) and any(isinstance(operator, OPERATORS) for operator in node.ops):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
        return [node.func.value, *node.args]
    return []


def is_public(side: ast.expr) -> bool:
    """A literal, or a constant: it stands in the source, where everybody can read it."""
    name = getattr(side, "id", getattr(side, "attr", ""))
    return isinstance(side, ast.Constant) or name.isupper()


def words_in(side: ast.expr) -> Iterator[str]:
    """Every name, attribute and text that a side of a comparison is made of."""
    for node in ast.walk(side):
        for field in ("id", "attr", "value"):
            word = getattr(node, field, None)
            if isinstance(word, str):
                yield word


def leaks(source: str) -> list[int]:
    """The lines that compare something secret in a time that depends on it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        sides = compared(node)
        if not any(is_public(side) for side in sides) and any(
            SECRET.search(word) for side in sides for word in words_in(side)
        ):
            found.append(node.lineno)  # type: ignore[attr-defined]
    return found


def test_fault_08_nothing_secret_is_compared_in_a_time_that_tells() -> None:
    """No ==, `in` or startswith between a signature, digest, token or secret and what somebody sent."""
    # What tests are made with compares in any way that it likes.
    files = [file for file in PACKAGE.rglob("*.py") if "testing" not in file.relative_to(PACKAGE).parts]
    found = {str(file.relative_to(PACKAGE)): leaks(file.read_text()) for file in files}

    assert len(files) > 50
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "if signature == expected: pass",
        "if headers['webhook-signature'] != made: pass",
        "if made == headers.get('Stripe-Signature'): pass",
        "ok = given in {hmac.new(key, body).hexdigest()}",
        "ok = row.token_hash == hash_token(token)",
        "ok = given in self.webhook_secrets",
        "ok = given.startswith(digest)",
        "ok = any(one == made_digest for one in offered)",
    ],
)
def test_fault_08_the_check_sees_what_it_looks_for(planted: str) -> None:
    """Each way to compare a secret wrongly is found, so that silence means something."""
    assert leaks(planted) == [1]
