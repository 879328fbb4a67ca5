"""Writing model folders.

Owns the writing: all files and their hashes in the manifest, a folder replaced as a whole. Does not own reading and checking at
run time (`engines/folder.py`) or what the manifest says.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from engines.folder import MANIFEST
from engines.manifest import SCHEMA, Manifest, parse, render


class FolderRefused(ValueError):
    """A model folder cannot be written there."""


def sha256(data: bytes) -> str:
    """Return the sha256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def manifest(fields: Mapping[str, object], files: Mapping[str, bytes]) -> Manifest:
    """Make a manifest of `fields` (JSON values) and the hashes of `files`.

    Raises:
        pydantic.ValidationError: it breaks a rule of the schema.
    """
    hashes = {name: sha256(files[name]) for name in sorted(files)}
    return parse(json.dumps({"schema": SCHEMA, **fields, "files": hashes}))


def write(directory: Path, fields: Mapping[str, object], files: Mapping[str, bytes]) -> Manifest:
    """Write a model folder, in place of one that is there.

    Raises:
        FolderRefused: `directory` holds something that is not a model folder.
        pydantic.ValidationError: the manifest breaks a rule of the schema.
    """
    made = manifest(fields, files)
    if directory.exists() and any(directory.iterdir()) and not (directory / MANIFEST).is_file() and not _only(directory, files):
        raise FolderRefused(f"{directory} is there and is not a model folder; give another place, or empty it")
    fresh, old = directory.with_name(f".{directory.name}.new"), directory.with_name(f".{directory.name}.old")
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, data in files.items():
        (fresh / name).write_bytes(data)
    (fresh / MANIFEST).write_text(render(made), encoding="utf-8")
    if directory.exists():
        os.replace(directory, old)
    os.replace(fresh, directory)
    shutil.rmtree(old, ignore_errors=True)
    return made


def _only(directory: Path, files: Mapping[str, bytes]) -> bool:
    return {entry.name for entry in directory.iterdir()} <= set(files)


def fields_of(made: Manifest) -> dict[str, object]:
    """Return a manifest's fields as JSON values, without schema and file hashes, to be changed and written again."""
    fields: dict[str, object] = json.loads(render(made))
    return {name: value for name, value in fields.items() if name not in ("schema", "files")}
