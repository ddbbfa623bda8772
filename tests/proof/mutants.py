"""Every small change to a module that a test ought to notice: mutmut's operators, and two of our own.

mutmut itself leaves decorated functions and module constants alone, which is where the signatures and the table of
moves are; so its operators are used, and the walk is ours. Ours negate a condition and drop a statement.
"""

import ast
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import libcst as cst
from libcst import matchers as m
from mutmut.mutation.mutators import mutation_operators

__all__ = ["Mutant", "Mutants"]

# What types say, what is exported and what is logged is not what these tests are about; mutmut leaves the two
# built-ins alone as well, since every change to them ends in a TypeError.
IGNORED = (
    m.Annotation()
    | m.Import()
    | m.ImportFrom()
    | m.Decorator()
    | m.Call(func=m.Attribute(value=m.Name("logger") | m.Name("logging")))
    | m.Call(func=m.Name("isinstance") | m.Name("len"))
    | m.Assign(targets=[m.AssignTarget(target=m.Name("__all__"))])
    | m.Expr(value=m.SimpleString())
    # The words of an error are for people. That it is raised is a change of its own.
    | m.Raise()
)
# Their opposite is among mutmut's own changes.
TURNED_ALREADY = m.UnaryOperation(operator=m.Not()) | m.Comparison(
    comparisons=[
        m.ComparisonTarget(operator=m.Is() | m.IsNot() | m.In() | m.NotIn() | m.Equal() | m.NotEqual()),
    ]
)
DROPPED = m.SimpleStatementLine(body=[m.Expr(value=~m.SimpleString()) | m.Raise() | m.AugAssign() | m.Continue()])
PASS = cst.SimpleStatementLine(body=[cst.Pass()])


@dataclass(frozen=True)
class Mutant:
    """One changed module.

    Args:
        where: the function that was changed.
        change: the old lines and the new ones.
        code: the whole module, changed.
        at_import: it is done once, when the module is imported, and not when a function is called.
    """

    where: str
    change: str
    code: str
    at_import: bool


class Mutants:
    """Every change to a module, in the order of the source; a mutant is made when it is asked for."""

    def __init__(self, source: str) -> None:
        self.module = cst.parse_module(source)
        self.head = "".join(self.module.code_for_node(line) for line in self.module.header)
        self.texts = [self.module.code_for_node(statement) for statement in self.module.body]
        self.sites = [
            (number, *change) for number, statement in enumerate(self.module.body) for change in _changes_in(statement)
        ]

    def __len__(self) -> int:
        return len(self.sites)

    def make(self, chosen: Iterable[int]) -> list[Mutant]:
        """The chosen ones; those that mean the same are one, and what is no Python is none."""
        made, seen = [], {_meaning(text) for text in self.texts} | {""}
        for index in chosen:
            number, where, node, new, at_import = self.sites[index]
            changed = self.module.code_for_node(_replace(self.module.body[number], node, new))
            meaning = _meaning(changed)
            if meaning not in seen:
                seen.add(meaning)
                code = "".join([self.head, *self.texts[:number], changed, *self.texts[number + 1 :]])
                made.append(Mutant(where, _describe(self.texts[number], changed), code, at_import))
        return made


def _changes_in(statement: cst.CSTNode) -> list[tuple[str, cst.CSTNode, cst.CSTNode, bool]]:
    walk = Walk()
    statement.visit(walk)
    return walk.found


def _replace(statement: cst.CSTNode, node: cst.CSTNode, new: cst.CSTNode) -> cst.CSTNode:
    changed = new if node is statement else statement.deep_replace(node, new)
    assert isinstance(changed, cst.CSTNode)
    return changed


class Walk(cst.CSTVisitor):
    """Collects the nodes, what each may become, and the function around it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, cst.CSTNode, cst.CSTNode, bool]] = []
        self.names: list[str] = []
        self.bodies = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if m.matches(node, IGNORED):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self.names.append(node.name.value)
        self.found += [(".".join(self.names), one, new, not self.bodies) for one, new in _changes_of(node)]
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self.names.pop()

    def visit_FunctionDef_body(self, node: cst.FunctionDef) -> None:
        self.bodies += 1

    def leave_FunctionDef_body(self, node: cst.FunctionDef) -> None:
        self.bodies -= 1


def _changes_of(node: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, cst.CSTNode]]:
    for kind, operator in mutation_operators:
        if isinstance(node, kind):
            yield from ((node, new) for new in operator(node))
    if isinstance(node, cst.If | cst.While) and not m.matches(node.test, TURNED_ALREADY):
        bare = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        yield node.test, cst.UnaryOperation(cst.Not(), bare)
    if m.matches(node, DROPPED) and not _is_log_line(node):
        yield node, PASS


def _is_log_line(node: cst.CSTNode) -> bool:
    return bool(m.findall(node, m.Call(func=m.Attribute(value=m.Name("logger") | m.Name("logging")))))


def _meaning(code: str) -> str:
    """What the lines say, whatever their layout; nothing when they are no Python."""
    try:
        return ast.dump(ast.parse(code))
    except SyntaxError:
        return ""


def _describe(before: str, after: str) -> str:
    """The change as one line, comments left out."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))[2:]
    old, new = (
        " ".join(line[1:].strip() for line in lines if line[0] == sign and not line[1:].lstrip().startswith("#"))
        for sign in "-+"
    )
    return f"{old} -> {new}"
