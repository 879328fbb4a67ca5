"""Labelled clips as a user names them: a CSV of clips, with a label or a trace for each.

Owns the files' format (`docs/evaluate.md` describes it), its checks, and the mapping of somebody's labels to the model's. Reads the CSV
and the traces whole before any clip is opened, so that a bad row is told in a second and not after an hour. Does not open clips.
"""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.intake import Source, shown
from service.refusal import Refusal

CLIPS_FILE = "clips.csv"
COLUMNS = ("clip", "label", "trace", "subject", "split", "fold")
DIMENSIONS = ("valence", "arousal")
SPLITS = ("dev", "test")


class DatasetError(Refusal):
    """A dataset breaks a rule: which file, row and column, what stands there, what is allowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """Somebody's trace of a clip: `t_s` (n,) s from the start of its video, rising; `values`: dimension → (n,) in [−1, 1]."""

    t_s: NDArray[np.float64]
    values: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """One clip and the truth about it. `label`: a label of the model's; `development`: what is fitted is fitted on it, and no score is
    of it; `subject`, `fold`: "" where the CSV has no such column."""

    source: Source
    label: str | None
    annotation: Annotation | None
    subject: str = ""
    development: bool = False
    fold: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The clips, in the CSV's order. `name`: the CSV as it was named; `left_out`: clips whose label the user mapped to nothing."""

    name: str
    clips: tuple[Labelled, ...]
    left_out: tuple[str, ...] = ()

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions that some clip's trace has."""
        return tuple(d for d in DIMENSIONS if any(clip.annotation is not None and d in clip.annotation.values for clip in self.clips))

    @property
    def labelled(self) -> bool:
        """Whether the clips have labels."""
        return any(clip.label is not None for clip in self.clips)


def mapping(pairs: Iterable[str]) -> dict[str, str]:
    """Read `theirs=ours` pairs; `theirs=` leaves such clips out.

    Raises:
        DatasetError: one is no such pair, or two map the same label.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        theirs, equals, ours = (part.strip() for part in pair.partition("="))
        if not equals or not theirs:
            raise DatasetError(f"--map {pair!r} must be THEIRS=OURS: a label of the CSV, then one of the model, or nothing to leave it out")
        if found.setdefault(theirs, ours) != ours:
            raise DatasetError(f"--map maps {theirs!r} to {found[theirs]!r} and to {ours!r}; give one of them")
    return found


def read(path: Path, labels: Sequence[str], renamed: Mapping[str, str], model: str = "the model", dev: Sequence[str] = ()) -> Dataset:
    """Read a dataset: the folder that holds `clips.csv`, or such a CSV itself. Paths in it are relative to it.

    `labels`: those of the model named `model`; `renamed`: from the CSV's labels to these; `dev`: subjects of the development part,
    beside the rows that say `split` dev.

    Raises:
        DatasetError: a file, column, row or cell is not as it must be; the first such, and how many more there are.
    """
    file = path / CLIPS_FILE if path.is_dir() else path
    rows, there = _table(file, required=("clip",), known=COLUMNS)
    if not {"label", "trace"} & set(there):
        raise DatasetError(f"{shown(file)} has columns {', '.join(there)}; it needs label, or trace, or both")
    reader = _Rows(file, labels, dict(renamed), model, frozenset(dev))
    unknown = sorted(set(renamed) - {row.get("label", "") for _, row in rows})
    if unknown:
        raise DatasetError(f"--map names {', '.join(map(repr, unknown))}, which no row of {shown(file)} has as its label")
    for number, row in rows:
        reader.take(number, row)
    missing = sorted(set(dev) - {row.get("subject", "") for _, row in rows})
    if missing:
        raise DatasetError(f"--dev names {', '.join(map(repr, missing))}, which no row of {shown(file)} has as its subject")
    if reader.faults:
        more = f" (and {len(reader.faults) - 1} more such faults)" if len(reader.faults) > 1 else ""
        raise DatasetError(reader.faults[0] + more)
    if not reader.clips:
        raise DatasetError(f"{shown(file)} names no clip to evaluate" + (" that --map does not leave out" if reader.left_out else ""))
    return Dataset(shown(path), tuple(reader.clips), tuple(reader.left_out))


class _Rows:
    """Takes rows one by one and gathers clips and faults."""

    def __init__(self, file: Path, labels: Sequence[str], renamed: dict[str, str], model: str, dev: frozenset[str]) -> None:
        self.clips: list[Labelled] = []
        self.left_out: list[str] = []
        self.faults: list[str] = []
        self._file, self._labels, self._renamed, self._model, self._dev = file, labels, renamed, model, dev
        self._seen: dict[Path, int] = {}

    def take(self, number: int, row: Mapping[str, str]) -> None:
        """Take the row on line `number`."""
        at = f"{shown(self._file)} line {number}"
        try:
            named = row["clip"]
            if not named:
                raise DatasetError(f"{at}, column clip: is empty; it must name a clip or picture, relative to the CSV")
            if "\0" in named:
                raise DatasetError(f"{at}, column clip: holds a NUL; it must name a clip or picture, relative to the CSV")
            clip = self._file.parent / named
            before = self._seen.setdefault(clip.resolve(), number)
            if before != number:
                raise DatasetError(f"{at}, column clip: {named!r} stands on line {before} already; a clip is evaluated once")
            if not clip.is_file():
                raise DatasetError(f"{at}, column clip: {named!r} is no file beside the CSV; paths are relative to the CSV")
            label = self._label(at, row["label"]) if "label" in row else None
            annotation = self._trace(at, row["trace"]) if "trace" in row else None
            split = row.get("split", "")
            if split not in ("", *SPLITS):
                raise DatasetError(f"{at}, column split: is {split!r}; allowed: {', '.join(SPLITS)}, or nothing (test)")
            subject = _filled(at, "subject", row["subject"]) if "subject" in row else ""
            fold = _filled(at, "fold", row["fold"]) if "fold" in row and split != "dev" else ""
        except DatasetError as error:
            self.faults.append(str(error))
            return
        if label == "":
            self.left_out.append(named)
            return
        self.clips.append(Labelled(Source(clip, named), label, annotation, subject, split == "dev" or subject in self._dev, fold))

    def _trace(self, at: str, given: str) -> Annotation:
        file = self._file.parent / _filled(at, "trace", given)
        if not file.is_file():
            raise DatasetError(f"{at}, column trace: {given!r} is no file beside the CSV; paths are relative to the CSV")
        return read_trace(file)

    def _label(self, at: str, given: str) -> str:
        label = self._renamed.get(_filled(at, "label", given), given)
        if label in self._labels or (label == "" and given in self._renamed):
            return label
        if not self._labels:
            raise DatasetError(f"{at}, column label: {self._model} has no labels, it gives valence or arousal only; give traces")
        by_small = {known.casefold(): known for known in self._labels}
        near = difflib.get_close_matches(label.casefold(), by_small, n=1, cutoff=0.0)
        raise DatasetError(
            f"{at}, column label: {label!r} is no label of {self._model}; nearest: {by_small[near[0]]!r}, all: {', '.join(self._labels)}; "
            f"--map '{given}={by_small[near[0]]}' maps it, --map '{given}=' leaves such clips out"
        )


def read_trace(file: Path) -> Annotation:
    """Read a trace: a CSV of `time_s` and `valence` or `arousal` or both.

    Raises:
        DatasetError: it is missing, has no rows, or a cell is no number in its range; times must rise.
    """
    rows, there = _table(file, required=("time_s",), known=("time_s", *DIMENSIONS))
    kept = [name for name in DIMENSIONS if name in there]
    if not kept:
        raise DatasetError(f"{shown(file)} has columns {', '.join(there)}; it needs valence or arousal beside time_s")
    times = [_number(file, number, "time_s", row["time_s"], 0.0, math.inf) for number, row in rows]
    for (number, _), before, now in zip(rows[1:], times, times[1:], strict=False):
        if now <= before:
            raise DatasetError(f"{shown(file)} line {number}, column time_s: {now:g} after {before:g}; times must rise")
    values = {name: np.array([_number(file, number, name, row[name], -1.0, 1.0) for number, row in rows]) for name in kept}
    return Annotation(np.array(times), values)


def _table(file: Path, required: Sequence[str], known: Sequence[str]) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    """Return a CSV's rows, each with its line, and its columns."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text)
            head = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except FileNotFoundError:
        raise DatasetError(f"{shown(file)} does not exist; a dataset is a CSV of clips, or a folder with {CLIPS_FILE} in it") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{shown(file)} cannot be read as CSV in UTF-8: {error}") from None
    unknown = [name for name in head if name not in known]
    if unknown or len(set(head)) != len(head) or not set(required) <= set(head):
        apart = next((name for sign, name in (("\t", "tabs"), (";", "semicolons")) if len(head) == 1 and sign in head[0]), None)
        raise DatasetError(
            f"{shown(file)} has columns {', '.join(head) or 'none'}; needed: {', '.join(required)}, allowed: {', '.join(known)}"
            + (f"; its cells are kept apart by {apart}, they must be by commas" if apart else "")
        )
    for number, row in rows:
        if len(row) != len(head):
            raise DatasetError(
                f"{shown(file)} line {number}: has {len(row)} cells, the header has {len(head)}; quote cells that hold commas"
            )
    if not rows:
        raise DatasetError(f"{shown(file)} has a header and no rows")
    return [(number, dict(zip(head, row, strict=True))) for number, row in rows], head


def _filled(at: str, column: str, cell: str) -> str:
    if not cell:
        raise DatasetError(f"{at}, column {column}: is empty; every row needs one, or leave the column out")
    return cell


def _number(file: Path, line: int, column: str, cell: str, low: float, high: float) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not low <= value <= high or math.isinf(value):
        allowed = f"a number from {low:g} to {high:g}" if math.isfinite(high) else "a number of seconds, 0 or more"
        raise DatasetError(f"{shown(file)} line {line}, column {column}: is {cell!r}; allowed: {allowed}")
    return value
