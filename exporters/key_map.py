"""A checkpoint's keys as a key map says, from another implementation's names to ours.

Owns the file's words (TOML), wildcards, slices and joining. Does not own reading checkpoints or fitting them (`checkpoint.py`).

    "features.*" = "backbone.conv.*"                    # `*` stands for the same text on both sides
    "cell.x.weight" = "conv.weight[:, 0:32]"            # a slice per axis, as in numpy, without steps
    "cell.x.bias" = ["conv.bias[0:16]", "conv.bias[32:48]"]  # parts, joined along axis 0
    drop = ["aux.*"]                                    # keys of the checkpoint that nothing needs

Ours is left, the checkpoint's right. Keys in no line keep their names. A line for one key goes before lines with `*`; of these the
first in the file that finds something counts.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

_TOML = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
_SLICED = re.compile(r"(?P<key>[^\[\]]+?)\s*(?:\[(?P<axes>[^\[\]]*)\])?")
_AXIS = re.compile(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*")


class KeyMapError(ValueError):
    """A key map cannot be read, or a line of it does not fit; one line of text that names the map's line."""


@dataclass(frozen=True, slots=True)
class Source:
    """A key of the checkpoint, maybe with `*`, and what of its tensor is taken: a start and stop per axis, () for all."""

    key: str
    axes: tuple[tuple[int | None, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """`ours` is made of `sources`, joined along axis 0. `place`: file and line, for messages."""

    ours: str
    sources: tuple[Source, ...]
    place: str


@dataclass(frozen=True, slots=True)
class KeyMap:
    """The lines in the file's order; `drop`: patterns of keys to leave out, with their places."""

    lines: tuple[Line, ...] = ()
    drop: tuple[tuple[str, str], ...] = ()


def read(path: Path) -> KeyMap:
    """Read a key map's file.

    Raises:
        KeyMapError: it cannot be read, or a line of it is no map line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise KeyMapError(f"cannot read key map {path.name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KeyMapError(f"{path.name} is not UTF-8 text; a key map is TOML") from error
    return parse(text, path.name)


def parse(text: str, name: str = "key map") -> KeyMap:
    """Parse a key map; `name` is the file's, for messages.

    Raises:
        KeyMapError: it is not TOML, or a line of it is no map line.
    """
    try:
        table: dict[str, object] = _TOML.loads(text)
    except ValueError as error:
        raise KeyMapError(f"{name} is not TOML: {error}") from error
    lines = []
    for ours, value in table.items():
        if ours == "drop":
            continue
        place = _place(text, name, ours)
        if isinstance(value, dict):
            raise KeyMapError(f'{place}: a key with dots must stand in quotes: "{ours}.…" = "their.key"')
        given = value if isinstance(value, list) else [value]
        parts = [part for part in given if isinstance(part, str)]
        if not parts or len(parts) != len(given):
            raise KeyMapError(f"{place}: must be a key of the checkpoint, or a list of keys to join; it is {value!r}")
        lines.append(Line(ours, tuple(_source(part, place) for part in parts), place))
        if any(source.key.count("*") != ours.count("*") for source in lines[-1].sources):
            raise KeyMapError(f"{place}: both sides must have as many * as each other")
    dropped = table.get("drop", [])
    if not isinstance(dropped, list) or not all(isinstance(part, str) for part in dropped):
        raise KeyMapError(f'{_place(text, name, "drop")}: drop must be a list of keys: drop = ["aux.*"]')
    return KeyMap(tuple(lines), tuple((pattern, _place(text, name, "drop")) for pattern in dropped))


def apply(key_map: KeyMap, state: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """Rename, slice and join a checkpoint's tensors to the network's keys `wanted`; what no line names keeps its key.

    Raises:
        KeyMapError: a line finds nothing on either side, is never used, or slices or joins what does not fit.
    """
    names = list(wanted)
    made: dict[str, Tensor] = {}
    taken: set[str] = set()
    used: set[Line] = set()
    for name in names:
        for line in sorted(key_map.lines, key=lambda line: "*" in line.ours):  # sorted keeps the file's order otherwise
            found = _found(line, name, state)
            if found:
                made[name] = _joined(found, state, line)
                taken.update(source.key for source in found)
                used.add(line)
                break
    for line in key_map.lines:
        if line not in used:
            raise KeyMapError(_unused(line, names, state))
    kept = {name: value for name, value in state.items() if name not in taken and name not in made}
    for pattern, place in key_map.drop:
        if not any(_match(pattern, name) is not None for name in state):
            raise KeyMapError(f"{place}: drop {pattern!r}: the checkpoint has no such key{nearest(pattern, state)}")
        kept = {name: value for name, value in kept.items() if _match(pattern, name) is None}
    return {**kept, **made}


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Say which of the candidates are most like a name, at most two; "" where none is."""
    found = difflib.get_close_matches(name, list(candidates), n=2)
    return f" (nearest: {', '.join(found)})" if found else ""


def _place(text: str, name: str, key: str) -> str:
    begins = re.compile(rf"""\s*(["']?){re.escape(key)}\1\s*[.=]""")
    number = next((index for index, line in enumerate(text.splitlines(), 1) if begins.match(line)), None)
    return f"{name}, {key!r}" if number is None else f"{name}, line {number}, {key!r}"


def _source(text: str, place: str) -> Source:
    found = _SLICED.fullmatch(text.strip())
    if found is None:
        raise KeyMapError(f'{place}: {text!r} is neither a key nor a key with a slice, as "conv.weight[:, 0:32]"')
    if found["axes"] is None:
        return Source(found["key"])
    axes = [_AXIS.fullmatch(axis) for axis in found["axes"].split(",")]
    if not all(axes):
        raise KeyMapError(f"{place}: [{found['axes']}] is not a slice: start:stop per axis, without steps, as [:, 0:32]")
    return Source(found["key"], tuple((_number(axis[1]), _number(axis[2])) for axis in axes if axis is not None))


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _match(pattern: str, name: str) -> tuple[str, ...] | None:
    """Return what each `*` of a pattern stands for in a name, at least one character each; None: it is not of that pattern."""
    found = re.fullmatch("(.+?)".join(map(re.escape, pattern.split("*"))), name)
    return None if found is None else found.groups()


def _found(line: Line, name: str, state: Mapping[str, Tensor]) -> tuple[Source, ...]:
    """Return the line's sources for one of our keys, wildcards filled in; () where the line or the checkpoint has none."""
    stands = _match(line.ours, name)
    if stands is None:
        return ()
    sources = tuple(Source(_filled(source.key, stands), source.axes) for source in line.sources)
    return sources if all(source.key in state for source in sources) else ()


def _filled(pattern: str, stands: Sequence[str]) -> str:
    pieces = pattern.split("*")
    return pieces[0] + "".join(text + piece for text, piece in zip(stands, pieces[1:], strict=True))


def _joined(sources: Sequence[Source], state: Mapping[str, Tensor], line: Line) -> Tensor:
    parts = [_cut(state[source.key], source, line) for source in sources]
    if len(parts) == 1:
        return parts[0].clone()
    if any(part.ndim != parts[0].ndim or part.ndim == 0 or part.shape[1:] != parts[0].shape[1:] for part in parts):
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise KeyMapError(f"{line.place}: parts of shapes {shapes} cannot be joined along axis 0; all other axes must be equal")
    return torch.cat(parts)


def _cut(value: Tensor, source: Source, line: Line) -> Tensor:
    shape = tuple(value.shape)
    if len(source.axes) > value.ndim:
        raise KeyMapError(f"{line.place}: {source.key} has shape {shape}; a slice of {len(source.axes)} axes does not fit")
    cuts = []
    for axis, (start, stop) in enumerate(source.axes):
        size = shape[axis]
        first, last = (limit if limit is None or limit >= 0 else size + limit for limit in (start, stop))
        if not 0 <= (first or 0) < (size if last is None else last) <= size:
            said = f"{'' if start is None else start}:{'' if stop is None else stop}"
            raise KeyMapError(f"{line.place}: {source.key} has shape {shape}; {said} on axis {axis} is empty or outside of 0:{size}")
        cuts.append(slice(first, last))
    return value[tuple(cuts)]


def _unused(line: Line, names: Sequence[str], state: Mapping[str, Tensor]) -> str:
    matches = [name for name in names if _match(line.ours, name) is not None]
    if not matches:
        return f"{line.place}: the network has no such key{nearest(line.ours, names)}"
    stands = _match(line.ours, matches[0]) or ()
    absent = [key for key in (_filled(source.key, stands) for source in line.sources) if key not in state]
    if absent:
        return f"{line.place}: the checkpoint has no key {absent[0]!r}{nearest(absent[0], state)}"
    return f"{line.place}: is never used; other lines make all of its keys"
