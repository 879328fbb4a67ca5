"""A model folder, opened: everything in it listed, hashed and as its manifest says, or refused.

Owns the rules for what a folder may hold and reads its files once: the bytes that were checked are the bytes that are used.
Does not own the schema (`manifest.py`) or running anything.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from engines import wiring
from engines.engine import EngineError
from engines.manifest import Graph, Manifest, Tensor, parse
from engines.onnx_file import NotOnnx, OnnxTensor, read_facts
from engines.terms import Part

MANIFEST = "manifest.json"
LARGEST = 2 * 2**30
LARGEST_MANIFEST = 2**20
COMPILED = "EPContext"
"""ONNX Runtime's node that carries, or names a file with, a compiled engine: code, not a network."""
_AGAIN = "copy the whole folder again, or export the model again"


class FolderError(EngineError):
    """A model folder breaks a rule. One line: which file, which rule, what to do."""

    def __init__(self, text: str) -> None:
        # Names come from strangers' files: a line feed or an escape sequence in one must not reach a terminal or a log.
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text))


@dataclass(frozen=True, slots=True, eq=False)
class Folder:
    """A verified folder. `sha256`: of manifest.json, which holds the hashes of all else, so it names the whole model."""

    path: Path
    manifest: Manifest
    sha256: str
    files: Mapping[str, bytes]

    def read(self, name: str) -> bytes:
        """Return the verified bytes of one listed file.

        Raises:
            FolderError: no such file is held.
        """
        if name not in self.files:
            raise FolderError(f"{self.path}: holds no file {name!r}; there are: {', '.join(self.files)}")
        return self.files[name]

    def graph_bytes(self, part: Part) -> bytes:
        """Return the verified bytes of one graph.

        Raises:
            FolderError: the model has no such part.
        """
        if part not in self.manifest.graphs:
            raise FolderError(f"{self.path}: has no graph {part!r}; there are: {', '.join(self.manifest.graphs)}")
        return self.read(self.manifest.graphs[part].file)

    def without_graphs(self) -> Folder:
        """Return the same folder holding everything but its graphs' bytes: what is worth keeping once they are running."""
        graphs = {graph.file for graph in self.manifest.graphs.values()}
        return replace(self, files={name: data for name, data in self.files.items() if name not in graphs})


def open_folder(path: Path) -> Folder:
    """Open and verify a model folder.

    Raises:
        FolderError: a file is missing, unlisted, a link, a folder, changed, or not what the manifest says.
    """
    raw = _read(path / MANIFEST, LARGEST_MANIFEST)
    manifest = _parsed(path, raw)
    there = {entry.name for entry in path.iterdir()} - {MANIFEST}
    for name in sorted(there - set(manifest.files)):
        raise FolderError(f"{path / name}: is not listed in {MANIFEST}; remove it, or export the model again")
    files = {name: _verified(path / name, sha256) for name, sha256 in sorted(manifest.files.items())}
    for graph in manifest.graphs.values():
        _check_graph(path / graph.file, files[graph.file], graph, manifest.opset)
    broken = wiring.fault(manifest)
    if broken is not None:
        raise FolderError(f"{path / MANIFEST}: {broken}; correct it, or export the model again")
    return Folder(path, manifest, hashlib.sha256(raw).hexdigest(), files)


def read_manifest(path: Path) -> Manifest:
    """Read a folder's manifest without looking at the other files: enough to list it, not to run it.

    Raises:
        FolderError: it is missing or breaks a rule of the schema.
    """
    return _parsed(path, _read(path / MANIFEST, LARGEST_MANIFEST))


def _parsed(path: Path, raw: bytes) -> Manifest:
    try:
        return parse(raw)
    except ValidationError as error:
        first, more = error.errors(include_url=False)[0], error.error_count() - 1
        # The union's tag is pydantic's word, not a key of the file.
        key = ".".join(str(part) for part in first["loc"][1:])[:200] or "the whole file"
        rest = f" (and {more} more)" if more else ""
        said = first["msg"].removeprefix("Value error, ")
        raise FolderError(f"{path / MANIFEST}: {key}: {said}{rest}; correct it, or export the model again") from None


def _read(file: Path, largest: int) -> bytes:
    """Read a plain file without following a link and without waiting for a pipe."""
    if file.is_symlink():
        raise FolderError(f"{file}: is a link; a model folder holds plain files only: put the file itself there")
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    not_plain = f"{file}: is not a plain file; a model folder holds plain files only: remove it"
    try:
        # Checks are on what was opened, not on what the name meant a moment before.
        with open(file, "rb", opener=lambda name, mode: os.open(name, mode | flags)) as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FolderError(not_plain)
            # One byte more than it says: a file that grows meanwhile is caught, by its hash at the latest.
            data = opened.read(status.st_size + 1) if status.st_size <= largest else b""
    except FileNotFoundError:
        raise FolderError(f"{file}: is missing; {_AGAIN}") from None
    except IsADirectoryError:
        raise FolderError(not_plain) from None
    except OSError as error:
        raise FolderError(f"{file}: cannot be read: {error.strerror}; make it a readable plain file") from None
    if status.st_size > largest:
        raise FolderError(f"{file}: has {status.st_size} bytes, at most {largest} are allowed; export a smaller model")
    return data


def _verified(file: Path, sha256: str) -> bytes:
    data = _read(file, LARGEST)
    actual = hashlib.sha256(data).hexdigest()
    if actual != sha256:
        raise FolderError(f"{file}: sha256 is {actual[:12]}…, {MANIFEST} says {sha256[:12]}…: it was changed; {_AGAIN}")
    return data


def _check_graph(file: Path, data: bytes, graph: Graph, opset: int) -> None:
    try:
        facts = read_facts(data)
    except NotOnnx as error:
        raise FolderError(f"{file}: is no ONNX model: {error}; export it again") from None
    if facts.external:
        raise FolderError(
            f"{file}: keeps the data of {_some(facts.external)} in another file; external data is not allowed: export into one file"
        )
    if any(name.rpartition(".")[2] == COMPILED for name in facts.operators):
        raise FolderError(
            f"{file}: has a node {COMPILED}, which holds compiled code; only networks are allowed: export the ONNX it was built from"
        )
    if facts.opset != opset:
        raise FolderError(f"{file}: has opset {facts.opset}, {MANIFEST} says {opset}; export it again")
    _check_tensors(file, "input", graph.inputs, facts.inputs)
    _check_tensors(file, "output", graph.outputs, facts.outputs)


def _check_tensors(file: Path, what: str, said: tuple[Tensor, ...], actual: tuple[OnnxTensor, ...]) -> None:
    wanted, found = sorted(tensor.name for tensor in said), sorted(tensor.name for tensor in actual)
    if wanted != found:
        raise FolderError(f"{file}: has {what}s {_some(found)}, {MANIFEST} says {_some(wanted)}; export it again")
    by_name = {tensor.name: tensor for tensor in actual}
    for tensor in said:
        there = by_name[tensor.name]
        if there.dtype != tensor.dtype or not _fits(there.shape, tensor.shape):
            shape = "no shape" if there.shape is None else f"({', '.join('?' if size is None else str(size) for size in there.shape)})"
            raise FolderError(
                f"{file}: {what} {tensor.name} is {there.dtype} {shape}, {MANIFEST} says {tensor.dtype} "
                f"({', '.join(('batch', *map(str, tensor.shape)))}) with a dynamic batch; export it again"
            )


def _fits(actual: tuple[int | None, ...] | None, said: tuple[int, ...]) -> bool:
    """Whether the batch axis is open and the others are as said; what a graph leaves open (None) the manifest may fix."""
    if actual is None or len(actual) != len(said) + 1 or actual[0] is not None:
        return False
    return all(size is None or size == wanted for size, wanted in zip(actual[1:], said, strict=True))


def _some(names: tuple[str, ...] | list[str]) -> str:
    """Name the first three."""
    return ", ".join(name[:80] for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"
