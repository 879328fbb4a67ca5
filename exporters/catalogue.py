"""The architectures and the shipped models by name and title, read from files without running any.

Owns the listing. Does not own what an architecture is (`architecture.py`): building all of them to print their names would take torch
and seconds.
"""

from __future__ import annotations

import ast
import importlib.resources
import pkgutil
from collections.abc import Mapping
from pathlib import Path

import exporters.architectures
from engines.folder import MANIFEST, read_manifest


def titles() -> Mapping[str, str]:
    """Return each architecture's title, the first line of its file's docstring, by name in alphabetical order."""
    folders = exporters.architectures.__path__
    names = sorted(module.name for module in pkgutil.iter_modules(folders))
    return {name: _title(next(Path(folder) / f"{name}.py" for folder in folders)) for name in names}


def shipped() -> Mapping[str, str]:
    """Return the titles of the shipped model folders by id, in alphabetical order.

    Raises:
        engines.folder.FolderError: a manifest among them is broken.
    """
    folders = Path(str(importlib.resources.files("engines") / "models"))
    manifests = [read_manifest(folder) for folder in sorted(folders.iterdir()) if (folder / MANIFEST).is_file()]
    return {manifest.id: manifest.title for manifest in manifests}


def _title(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    first = text.partition("\n")[0].strip()
    return first.removeprefix(f"{file.stem}:").strip().rstrip(".")
