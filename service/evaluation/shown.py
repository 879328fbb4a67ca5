"""An evaluation as tables for people: on a terminal, and in the Markdown of a report.

Owns which tables there are and their words. Does not own how a terminal draws one (`service/tables.py`) or a report's file (`report.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from engines.finishing import PostProcessing
from service.evaluation.judging import MANY_FOLDS, LabelScores, TraceScores, spread
from service.evaluation.run import Evaluation
from service.evaluation.scores import NONE, f1, recall
from service.tables import print_table

Row = tuple[str, ...]
_WORDS = {"accuracy": "accuracy", "macro_f1": "macro F1", "macro_recall": "macro recall", "rmse": "RMSE", "cc": "CC", "ccc": "CCC"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A titled table."""

    title: str
    columns: Row
    rows: tuple[Row, ...]


def tables(done: Evaluation) -> list[Shown]:
    """Return the tables of an evaluation, most telling first."""
    found = []
    levels = [(name, one) for name, one in (("clips", done.pooled.clip), ("frames", done.pooled.frame)) if one is not None]
    if levels:
        figures = [one.figures() for _, one in levels]
        rows = [(_WORDS[name], *(number(column[name]) for column in figures)) for name in figures[0]]
        rows.append(("count", *(str(int(one.counts.sum())) for _, one in levels)))
        found.append(Shown("Labels", ("", *(f"by {name.removesuffix('s')}" for name, _ in levels)), tuple(rows)))
        found += [_per_label(levels[0][1]), _confusion(levels[0][1])]
    if traces := _traces(done):
        found.append(traces)
    if done.chains:
        found.append(_chains(done.chains))
    if done.folds:
        found.append(_folds(done))
    return found


def write(done: Evaluation, out: TextIO) -> None:
    """Print all tables, then what could not be used and what else should be known."""
    model = done.model
    out.write(f"{model.name.id} ({model.name.sha256}) on {done.dataset.name}: {counted(done)}\n\n")
    for table in tables(done):
        print_table(out, table.columns, table.rows, table.title)
    out.writelines(f"unreadable: {one.code}: {one.detail}\n" for one in done.unreadable)
    out.writelines(f"note: {note}\n" for note in done.notes)
    out.flush()


def counted(done: Evaluation) -> str:
    """Return what became of the listed clips, in words."""
    listed = len(done.dataset.clips) + len(done.dataset.left_out)
    parts = [f"{listed} clips listed", f"{len(done.heard)} scored"]
    for count, what in (
        (len(done.development), "in the development part"), (len(done.dataset.left_out), "left out by --map"),
        (len(done.unreadable), "unreadable"),
    ):  # fmt: skip
        parts += [f"{count} {what}"] if count else []
    return ", ".join(parts)


def number(value: float, digits: int = 3) -> str:
    """Return a figure as text; a dash where it is not defined."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _per_label(found: LabelScores) -> Shown:
    rows = [
        (label, number(score), number(part), str(int(count)))
        for label, score, part, count in zip(found.labels, f1(found.counts), recall(found.counts), found.counts.sum(axis=1), strict=True)
    ]
    return Shown("Per label, by clip", ("label", "F1", "recall", "count"), tuple(rows))


def _confusion(found: LabelScores) -> Shown:
    rows = [(label, *map(str, row)) for label, row in zip(found.labels, found.counts.tolist(), strict=True)]
    return Shown("Confusion by clip (row: truth, column: said)", ("", *found.labels, NONE), tuple(rows))


def _traces(done: Evaluation) -> Shown | None:
    kinds: tuple[tuple[str, Mapping[str, TraceScores]], ...] = (
        ("trace", done.pooled.traces), ("trace, post-processed", done.pooled.finished), ("mean of clip", done.pooled.means),
    )  # fmt: skip
    rows = [
        (dimension, kind, number(one.rmse), number(one.cc), number(one.ccc), str(one.n), str(one.clips), str(one.missing),
         str(one.interpolated), str(one.outside))
        for kind, per_dimension in kinds
        for dimension, one in per_dimension.items()
    ]  # fmt: skip
    columns = ("", "of", "RMSE", "CC", "CCC", "values", "clips", "clips missing", "interpolated", "after the end")
    return Shown("Valence and arousal", columns, tuple(sorted(rows, key=lambda row: row[0], reverse=True))) if rows else None


def _chains(chains: Mapping[str, PostProcessing]) -> Shown:
    rows: list[Row] = []
    for dimension, fitted in chains.items():
        numbers = (fitted.median_s, fitted.bias, fitted.gain, fitted.centre, fitted.shift_s)
        rows.append((dimension, *(f"{value:.4g}" for value in numbers), fitted.source))
    return Shown("Post-processing", ("", "median s", "bias", "gain", "around", "shift s", "fitted on"), tuple(rows))


def _folds(done: Evaluation) -> Shown:
    over, pooled = spread(list(done.folds.values())), done.pooled.figures()
    # More columns than these are for programs.
    each = done.folds if len(done.folds) <= MANY_FOLDS else {}
    rows: list[Row] = [("clips", "", str(done.pooled.clips), *(str(found.clips) for found in each.values()))]
    for name, one in over.items():
        some = f" ({one.folds} of {len(done.folds)})" if one.folds < len(done.folds) else ""
        mean = f"{number(one.mean)} ± {number(one.std)}{some}" if one.folds else "–"
        rows.append((worded(name), mean, number(pooled[name]), *(number(found.figures().get(name, math.nan)) for found in each.values())))
    return Shown(f"{len(done.folds)} folds", ("", "mean ± std", "pooled", *each), tuple(rows))


def worded(name: str) -> str:
    """Return a figure's name (of `Scores.figures`) as people write it."""
    return " ".join(_WORDS.get(word, word) for word in name.split())


def markdown(table: Shown) -> Sequence[str]:
    """Return a table as lines of Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(table.columns), line(["---"] * len(table.columns)), *(line(row) for row in table.rows)]
