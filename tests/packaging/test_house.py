"""The rules of the house that no linter knows: see CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("capture", "engines", "exporters", "service")
ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LONGEST = 350
VAGUE = {"util", "utils", "helper", "helpers", "manager", "managers", "base", "common", "misc"}
# Spelt apart, so that this file passes its own test.
HOSTS = re.compile(
    "|".join(rf"\b{name}\.{end}\b" for name, end in (("pypi", "org"), ("pythonhosted", "org"), (r"npmjs", "org"), ("debian", "org")))
)
THIS_MACHINE = re.compile(r"(?<![\w.~-])/wo" "rk/")


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST, f"{shown(path)} is longer than {LONGEST} lines: split it by idea"
    assert ast.get_docstring(ast.parse(text)), f"{shown(path)} has no docstring: say what it owns and what it does not"
    assert path.stem not in VAGUE, f"{shown(path)}: name it after what it holds, not '{path.stem}'"


@pytest.mark.parametrize("path", [m for m in MODULES if m.name == "__init__.py"], ids=shown)
def test_an_init_holds_a_docstring_and_nothing_else(path: Path) -> None:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert len(body) == 1, f"{shown(path)} does more than say what its package is"


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    assert [shown(f) for f in sorted(folders) if not (f / "__init__.py").is_file()] == []
    assert [package for package in PACKAGES if not (ROOT / package / "py.typed").is_file()] == []


def texts() -> Iterator[Path]:
    folders = (*PACKAGES, "tests", "benchmarks", "docs", "deploy", ".ci")
    candidates = [*ROOT.iterdir(), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    suffixes = {"", ".py", ".md", ".toml", ".json", ".html", ".js", ".css", ".txt", ".service", ".yaml", ".yml"}
    for path in candidates:
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts:
            yield path


def test_no_file_names_a_registry_host_or_a_path_of_one_machine() -> None:
    found = [
        f"{shown(path)}:{number}: {line.strip()[:100]}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
        if HOSTS.search(line) or THIS_MACHINE.search(line)
    ]
    assert found == []
