"""Which faults `make mutants` puts into a module: one small change of its text each.

Owns the kinds of change and what a mutant is called. Does not own where a mutant is tried (`scratch.py`, `trial.py`) nor which modules
are tried (`core.py`). Annotations, docstrings, prose in messages and assertions are left alone: no test should notice them.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
SYMMETRIC = {"min", "max", "minimum", "maximum"}
"""Their arguments are not swapped: the order means nothing."""
OF_TYPES = {"Literal", "TypeVar", "NewType", "cast", "TypeAlias", "Protocol"}
"""What speaks of types alone, outside of annotations as well."""
ALL_OF_IT = {"__slots__", "__all__"}
LARGE = 100
"""From here on a whole number is a size or a unit, not a count: it is doubled."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module's text with one change: `was` and `becomes` are the lines around it, blanks squeezed; `nth` counts equal ones."""

    module: str
    line: int
    last_line: int
    scope: str
    was: str
    becomes: str
    text: str
    nth: int = 1

    @property
    def identity(self) -> tuple[str, str, str, str, int]:
        """Return what stays the same when other lines of the module change."""
        return self.module, self.scope, self.was, self.becomes, self.nth


def mutants(module: str, source: str) -> list[Mutant]:
    """Return every mutant of a module, in the order of its lines; each is valid Python and means something else to the parser."""
    text = _Text(source)
    tree = ast.parse(source)
    unchanged = ast.dump(tree)
    counted: Counter[tuple[str, str, str]] = Counter()
    found = []
    for scope, node in _places(tree, text, ""):
        for start, end, replacement in _changes(node, text):
            changed = source[:start] + replacement + source[end:]
            try:
                if ast.dump(ast.parse(changed)) == unchanged:
                    continue
            except SyntaxError:
                continue
            first, last = source.rfind("\n", 0, start) + 1, source.find("\n", end)
            was = " ".join(source[first:last].split())
            becomes = " ".join((source[first:start] + replacement + source[end:last]).split())
            counted[scope, was, becomes] += 1
            line = source.count("\n", 0, start) + 1
            last_line = source.count("\n", 0, end) + 1
            found.append(Mutant(module, line, last_line, scope, was, becomes, changed, counted[scope, was, becomes]))
    return sorted(found, key=lambda mutant: mutant.line)


Change = tuple[int, int, str]


class _Text:
    """A module's text, and where in it a node begins and ends, in characters."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._begins = [0]
        for line in source.splitlines(keepends=True):
            self._begins.append(self._begins[-1] + len(line))
        self._lines = source.splitlines(keepends=True)

    def _offset(self, line: int, column: int) -> int:
        return self._begins[line - 1] + len(self._lines[line - 1].encode()[:column].decode())  # columns count bytes

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def of(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.source[start:end]

    def between(self, left: ast.expr, right: ast.expr, token: str, other: str) -> Iterator[Change]:
        """Replace the operator between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        at = self.source.find(token, start, end)
        if at >= 0:
            yield at, at + len(token), other


def _places(node: ast.AST, text: _Text, scope: str) -> Iterator[tuple[str, ast.expr | ast.stmt]]:
    """Walk the tree without what must be left alone."""
    if isinstance(node, (ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)):
        return
    if isinstance(node, ast.If) and "TYPE_CHECKING" in text.of(node.test):
        return
    speaker = node.value if isinstance(node, ast.Subscript) else node.func if isinstance(node, ast.Call) else None
    if speaker is not None and _name(speaker) in OF_TYPES:
        return
    if isinstance(node, ast.keyword) and node.arg == "strict":  # of zip: an assertion
        return
    if isinstance(node, ast.Assign) and any(_name(target) in ALL_OF_IT for target in node.targets):
        return
    if isinstance(node, (ast.expr, ast.stmt)):
        yield scope, node
    inside = scope
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        inside = f"{scope}.{node.name}" if scope else node.name
    for name, field in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, ast.AST):
                yield from _places(child, text, inside)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _changes(node: ast.expr | ast.stmt, text: _Text) -> Iterator[Change]:
    if isinstance(node, ast.stmt):
        yield from _of_statement(node, text)
        return
    start, end = text.span(node)
    if isinstance(node, ast.Constant):
        yield from ((start, end, other) for other in _of_constant(node.value))
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield from text.between(node.left, node.right, *OPERATORS[type(node.op)])
    elif isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            yield from text.between(left, right, *COMPARISONS[type(operator)])
    elif isinstance(node, ast.BoolOp):
        token, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from text.between(left, right, token, other)
        for dropped in node.values:
            # Dropping one condition is the commonest fault of all.
            yield *text.span(dropped), "True" if isinstance(node.op, ast.And) else "False"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield start, end, f"({text.of(node.operand)})"
    elif isinstance(node, ast.IfExp):
        yield from _condition(node.test, text)
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        for condition in (condition for clause in node.generators for condition in clause.ifs):
            yield *text.span(condition), "True"
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in NAMES:
            yield *text.span(node.func), NAMES[node.func.id]
        if _name(node.func) in SYMMETRIC:
            return
        for left, right in zip(node.args, node.args[1:], strict=False):
            if not isinstance(left, ast.Starred) and not isinstance(right, ast.Starred):
                begins, ends = text.span(left)[0], text.span(right)[1]
                middle = text.source[text.span(left)[1] : text.span(right)[0]]
                yield begins, ends, text.of(right) + middle + text.of(left)


def _of_constant(value: object) -> Iterator[str]:
    if isinstance(value, bool):
        yield str(not value)
    elif isinstance(value, int):
        yield str(value + 1 if abs(value) < LARGE else value * 2)
    elif isinstance(value, float):
        yield repr(value * 2 if value else 1.0)
    elif isinstance(value, str) and value and not any(character.isspace() for character in value):
        yield repr(f"{value}-")  # a code, a label, a field; prose has blanks


def _of_statement(node: ast.stmt, text: _Text) -> Iterator[Change]:
    start, end = text.span(node)
    if isinstance(node, ast.Return) and node.value is not None and text.of(node.value) != "None":
        yield start, end, "return None"
    elif isinstance(node, (ast.If, ast.While)):
        yield from _condition(node.test, text)
    elif _can_go(node):
        yield start, end, "pass"


def _can_go(node: ast.stmt) -> bool:
    """Tell whether a statement may be left out without a name that is then missing."""
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, (ast.Constant, ast.Yield, ast.YieldFrom))
    if isinstance(node, ast.Assign):
        return all(isinstance(target, (ast.Attribute, ast.Subscript)) for target in node.targets)
    return isinstance(node, (ast.Break, ast.Continue, ast.Raise, ast.AugAssign, ast.Delete))


def _condition(test: ast.expr, text: _Text) -> Iterator[Change]:
    """Turn a condition round, unless a change of its own operator does so."""
    turned = isinstance(test, ast.Compare) and isinstance(test.ops[0], (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn))
    if not turned and not isinstance(test, (ast.UnaryOp, ast.Constant)):
        yield *text.span(test), f"not ({text.of(test)})"
