"""Writing model folders.

Owns the writing: all files and their hashes in the manifest, a folder replaced as a whole. Does not own reading and checking at
run time (`engines/folder.py`) or what the manifest says.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
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
        FolderRefused: `directory` holds something that is not a model folder, or files beside the model's, which would be lost.
        pydantic.ValidationError: the manifest breaks a rule of the schema.
    """
    made = manifest(fields, files)
    check_room(directory, files)
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


def check_room(directory: Path, files: Collection[str]) -> None:
    """Refuse to write files of these names where anything would be lost that is not a model's.

    Raises:
        FolderRefused: it would be.
    """
    there = {entry.name for entry in directory.iterdir()} if directory.exists() else set[str]()
    if MANIFEST not in there:
        if not there <= set(files):
            raise FolderRefused(f"{directory} is there and is not a model folder; give another place, or empty it")
        return
    try:
        own = set(json.loads((directory / MANIFEST).read_text(encoding="utf-8"))["files"])
    except (ValueError, KeyError, TypeError):
        own = set()
    others = sorted(there - own - {MANIFEST} - set(files))
    if others:
        named = ", ".join(others[:5]) + (" …" if len(others) > 5 else "")
        raise FolderRefused(f"{directory} holds what its manifest does not name: {named}; move it, or give another place")


def fields_of(made: Manifest) -> dict[str, object]:
    """Return a manifest's fields as JSON values, without schema and file hashes, to be changed and written again."""
    fields: dict[str, object] = json.loads(render(made))
    return {name: value for name, value in fields.items() if name not in ("schema", "files")}
