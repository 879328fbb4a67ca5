"""Which faults `make mutants` makes of a text, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.equivalents import equivalents, left_over
from tests.mutants.mutations import mutants
from tests.mutants.results import HEAD, RULE, Result, record
from tests.mutants.trial import Coverage

KINDS = {
    "x = a + b": ["x = a - b"],
    "x = a // b": ["x = a * b"],
    "x = a if b else c": ["x = a if not (b) else c"],
    "x = a < b": ["x = a <= b"],
    "x = a is not b": ["x = a is b"],
    "x = a in b": ["x = a not in b"],
    "x = a and b": ["x = a or b", "x = True and b", "x = a and True"],
    "x = a or b": ["x = a and b", "x = False or b", "x = a or False"],
    "x = not a": ["x = (a)"],
    "x = -a": ["x = (a)"],
    "x = 7": ["x = 8"],
    "x = 1_000": ["x = 2000"],
    "x = 1e6": ["x = 2000000.0"],
    "x = True": ["x = False"],
    "x = 'color'": ["x = 'color-'"],
    "x = f(a, b)": ["x = f(b, a)"],
    "x = min(a, b)": ["x = max(a, b)"],
    "x = np.maximum(a, b or c)": ["x = np.maximum(a, b and c)", "x = np.maximum(a, False or c)", "x = np.maximum(a, b or False)"],
    "x = [a for a in b if a]": ["x = [a for a in b if True]"],
    "a.b = c": ["pass"],
    "a[b] = c": ["pass"],
    "a += b": ["pass"],
    "f(a)": ["pass"],
    "raise a": ["pass"],
    "if a: b = c": ["if not (a): b = c"],
    "if a == d: b = c": ["if a != d: b = c"],
    "while a < d: b = c": ["while not (a < d): b = c", "while a <= d: b = c"],
    "def f(): return a": ["def f(): return None"],
    "def f(a=1): b = a": ["def f(a=2): b = a"],
    "x = 'é' + a": ["x = 'é' - a", "x = 'é-' + a"],
}
LEFT_ALONE = (
    '"""A docstring."""',
    "import a",
    "a: int | None",
    "def f(a: 'b' = None) -> 'c': b = a",
    "assert a == 1",
    "x = f'{a} of {b}'",
    "x = 'prose has blanks'",
    "x = None",
    "x = zip(a, strict=True)",
    "Kind = Literal['a', 'b']",
    "x = cast('b', a)",
    "__slots__ = ('a', 'b')",
    "@decorated('a')\ndef f(): b = a",
    "if TYPE_CHECKING: import a",
)


@pytest.mark.parametrize("text", KINDS)
def test_a_kind_of_fault(text: str) -> None:
    assert sorted(mutant.becomes for mutant in mutants("m.py", text + "\n")) == sorted(KINDS[text])


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_no_test_should_notice_is_left_alone(text: str) -> None:
    assert mutants("m.py", text + "\n") == []


def test_a_mutant_is_the_module_with_one_change_and_keeps_its_name_when_lines_move() -> None:
    source = "class A:\n    def f(self, a):\n        if a < 2:\n            return a\n"
    first = mutants("m.py", source)[0]
    assert (first.line, first.scope, first.was, first.becomes) == (3, "A.f", "if a < 2:", "if not (a < 2):")
    assert first.text == "class A:\n    def f(self, a):\n        if not (a < 2):\n            return a\n"
    assert [mutant.identity for mutant in mutants("m.py", "b = c\n\n" + source)] == [m.identity for m in mutants("m.py", source)]


def test_equal_lines_are_counted() -> None:
    assert [mutant.identity[-1] for mutant in mutants("m.py", "x = 1\nx = 1\n")] == [1, 2]


ENTRY = '[[equivalent]]\nmodule = "m.py"\nscope = ""\nwas = "x = 1"\nbecomes = "x = 2"\nwhy = "{why}"\n'


def test_an_equivalent_needs_a_reason_and_a_mutant(tmp_path: Path) -> None:
    path = tmp_path / "equivalents.toml"
    path.write_text(ENTRY.format(why="nothing reads x"), encoding="utf-8")
    with pytest.raises(ValueError, match="has no reason"):
        equivalents(path)
    path.write_text(ENTRY.format(why="x is overwritten before anything reads it"), encoding="utf-8")
    known = equivalents(path)
    assert left_over(known, mutants("m.py", "x = 1\n")) == []
    assert left_over(known, mutants("m.py", "y = 1\n")) == [("m.py", "", "x = 1", "x = 2", 1)]
    assert left_over(known, mutants("other.py", "y = 1\n")) == []


def test_every_equivalent_that_is_committed_fits_a_mutant(checkout: Path) -> None:
    known = equivalents()
    found = [m for module in {i[0] for i in known} for m in mutants(module, (checkout / module).read_text(encoding="utf-8"))]
    assert left_over(known, found) == []


COVERAGE = Coverage(
    {"slow.py::a": 9.0, "slow.py::b": 1.0, "quick.py::c": 0.5, "quick.py::d": 0.5},
    {"m.py": {1: ("",), 2: ("slow.py::b|run", "quick.py::d|run"), 3: ("slow.py::a|setup",)}},
)


@pytest.mark.parametrize(
    ("first", "last", "tests"),
    [
        (1, 1, ["quick.py::c", "quick.py::d", "slow.py::a", "slow.py::b"]),  # an import: everything may depend on it
        (2, 2, ["quick.py::d", "slow.py::b"]),
        (3, 3, ["slow.py::a", "slow.py::b"]),  # a fixture: whoever shares it
        (2, 3, ["quick.py::d", "slow.py::a", "slow.py::b"]),
        (4, 4, []),
    ],
)
def test_the_tests_that_run_a_line_the_quickest_file_first(first: int, last: int, tests: list[str]) -> None:
    assert COVERAGE.tests("m.py", first, last, otherwise=False) == tests


def test_where_tests_use_other_processes_a_line_that_nobody_ran_is_for_all_of_them() -> None:
    assert len(COVERAGE.tests("m.py", 4, 4, otherwise=True)) == 4
    assert COVERAGE.tests("m.py", 2, 2, otherwise=True) == ["quick.py::d", "slow.py::b"]


def test_a_timeout_is_caught_and_nothing_tried_is_no_score() -> None:
    result = Result.of("m.py", ["caught", "timeout", "survived", "caught"], 2)
    assert (result.tried, result.score, result.row("2026-01-02")) == (4, 75.0, "| m.py | 3 | 1 | 1 | 2 | 75.0 % | 2026-01-02 |")
    assert Result.sum([result, Result.of("n.py", ["survived"], 1)]) == Result("all", 2, 1, 2, 3)
    assert Result.sum([]).score == 0.0


def test_a_modules_row_is_replaced_and_the_page_around_it_kept(tmp_path: Path) -> None:
    page = tmp_path / "mutants.md"
    page.write_text(f"Before.\n\n{HEAD}\n{RULE}\n| b.py | 1 | 0 | 0 | 0 | 100.0 % | 2020-01-01 |\n\nAfter.\n", encoding="utf-8")
    for result in (Result.of("c.py", ["caught"], 0), Result.of("b.py", ["survived"], 0), Result.of("a.py", ["caught"], 0)):
        record(result, page)
    text = page.read_text(encoding="utf-8")
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")] == ["| module", "| a.py", "| b.py", "| c.py"]
    assert "| b.py | 0 | 0 | 1 | 0 | 0.0 % |" in text
    assert text.startswith("Before.\n\n")
    assert text.endswith(" |\n\nAfter.\n")
