"""Fault 8, read in the source: what is secret is never compared with ==, whose time tells where it differs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_gatewaypay

PACKAGE = Path(django_gatewaypay.__file__).parent
SECRET = re.compile(r"signature|(^|_)sign(ed|s)?($|_)|digest|hmac|(^|_)mac($|_)|token|secret|(^|_)hash|password", re.I)
CRYPTO = re.compile(r"^(hmac|compare_digest|constant_time_compare|salted_hmac|hexdigest|digest)$")
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


def words_in_node(node: ast.AST) -> Iterator[str]:
    words = (getattr(node, field, None) for field in ("id", "attr", "value"))
    return (word for word in words if isinstance(word, str))


def words_in(side: ast.expr) -> Iterator[str]:
    """Every name, attribute and text that a side of a comparison is made of."""
    return (word for node in ast.walk(side) for word in words_in_node(node))


def makes_proofs(function: ast.AST) -> bool:
    """Whether a function works with digests: then its plainest names may hold one."""
    return any(CRYPTO.search(word) for node in ast.walk(function) for word in words_in_node(node))


def leaks(source: str) -> set[int]:
    """The lines that compare something secret, or anything beside a digest, in a time that depends on it."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    close = {id(node) for function in functions if makes_proofs(function) for node in ast.walk(function)}
    return {node.lineno for node in ast.walk(tree) if is_leak(node, suspicious=id(node) in close)}  # type: ignore[attr-defined]


def is_leak(node: ast.AST, *, suspicious: bool) -> bool:
    sides = compared(node)
    if not sides or any(is_public(side) for side in sides):
        return False
    return suspicious or any(SECRET.search(word) for side in sides for word in words_in(side))


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
        "def check(made): return hmac.new(key, body) and made in offered",
        "def check(a, b): return any(a == one for one in b) or hmac.compare_digest(a, b[0])",
    ],
)
def test_fault_08_the_check_sees_what_it_looks_for(planted: str) -> None:
    """Each way to compare a secret wrongly is found, so that silence means something."""
    assert leaks(planted) == {1}
