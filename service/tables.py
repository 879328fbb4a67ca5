"""What people see: the table of an analysis, the list of models, the progress bar.

Owns layout for terminals. Everything stays readable without colour and in a pipe, where neither lines are drawn nor
columns cut. What programs read is in `reports.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from engines.manifest import Manifest
from service.analyze import Tally
from service.events import Affect, ClipPrediction, Event, FaceEvent, Rejected, Score, SessionEvent
from service.intake import Source, shown
from service.messages import Failure, Timing
from service.reports import Style

_ENDLESS = 10_000
_COLUMNS = ("time s", "track", "label", "probability", "valence", "arousal", "note")
_CLIP_COLUMNS = ("track", "label", "probability", "valence", "arousal", "frames", "windows", "filled")
Row = tuple[str, ...]


class TableReport:
    """Per input: a row per due frame and face, then a row per track for the whole."""

    def __init__(self, out: TextIO, style: Style) -> None:
        self._out = out
        self._style = style
        self._rows: list[Row] = []
        self._clip: list[Row] = []

    def say(self, source: Source, event: SessionEvent, timing: Timing) -> None:
        """Turn one event into rows."""
        if isinstance(event, Event) and event.due:
            at = f"{event.t_ns / 1e9:.3f}"
            self._rows += [_face(at, face) for face in event.faces] or [(at, "-", "-", "", "", "", event.no_call or "")]
        elif isinstance(event, ClipPrediction):
            frames = f"{event.frames[0]}-{event.frames[1]}"
            self._clip.append((str(event.track), *_said(event.scores, event.affect), frames, str(event.windows), f"{event.filled:.3f}"))
        elif isinstance(event, Rejected):
            self._rows.append(("", "", "", "", "", "", f"frame {event.frame} {event.code}"))

    def end(self, source: Source, outcome: Tally | Failure) -> None:
        """Print the input's tables; of a failed one nothing, its error has been said."""
        if isinstance(outcome, Tally):
            faces = f"{shown(source.name)}: {outcome.decoded} frames, {outcome.with_face} with a face"
            # A model of clip scope says nothing on the way.
            at_end_only = bool(self._clip) and not self._rows
            if not at_end_only:
                print_table(self._out, _COLUMNS, self._rows, faces)
            if self._clip:
                print_table(self._out, _CLIP_COLUMNS, self._clip, faces if at_end_only else f"{shown(source.name)}: the whole")
        self._rows, self._clip = [], []

    def close(self) -> None:
        """Say what should be known of how the model ran, last, where it is seen."""
        notes = [*self._style.model.notes]
        if self._style.model.manifest.weights.kind == "random":
            notes.append("the model's weights are random: its labels mean nothing")
        self._out.writelines(f"note: {note}\n" for note in notes)
        self._out.flush()


def print_table(out: TextIO, columns: Sequence[str], rows: Iterable[Row], title: str) -> None:
    """Print a titled table; on a terminal with rules and folded to its width, elsewhere as plain columns."""
    terminal = out.isatty()
    console = Console(file=out, highlight=False, markup=False, emoji=False, width=None if terminal else _ENDLESS)
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, title_justify="left")
    for column in columns:
        table.add_column(
            column, no_wrap=not terminal, justify="right" if column in {"time s", "probability", "valence", "arousal"} else "left"
        )
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    console.print(Text(title, style="bold"))
    console.print(table)
    console.print()


def print_models(out: TextIO, manifests: Sequence[tuple[Manifest, str]]) -> None:
    """Print a row per model; the text beside a manifest is its card's line on accuracy."""
    rows = [(m.id, m.kind, m.weights.kind, m.licence.spdx, m.title, accuracy) for m, accuracy in manifests]
    print_table(out, ("id", "kind", "weights", "licence", "title", "accuracy"), rows, f"{len(rows)} models")


class Advance(Protocol):
    """Tell the bar how many frames of an input are done, and how many there are if that is known."""

    def __call__(self, done: int, total: int | None) -> None: ...


@contextmanager
def progress(label: str, wanted: bool = True) -> Iterator[Advance]:
    """Show a bar on stderr while the block runs, if it is wanted and stderr is a terminal; it leaves nothing behind.

    Nothing else may be written to the terminal meanwhile.
    """
    if not wanted or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(shown(label), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def working() -> Iterator[Callable[[str], None]]:
    """Show what is being done, one line on stderr while the block runs, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    with Console(stderr=True, highlight=False, markup=False, emoji=False).status("") as status:
        yield lambda text: status.update(Text(shown(text)))


def _face(at: str, face: FaceEvent) -> Row:
    if face.prediction is not None:
        return (at, str(face.track), *_said(face.prediction.scores, face.prediction.affect), "")
    note = "" if face.no_call is None else f"{face.no_call.code} {face.no_call.filled:.0%}"
    return (at, str(face.track), "-", "", "", "", note)


def _said(scores: Sequence[Score], affect: Affect | None) -> tuple[str, str, str, str]:
    label, probability = (scores[0].name, f"{scores[0].probability:.3f}") if scores else ("-", "")
    pair = (None, None) if affect is None else (affect.valence, affect.arousal)
    valence, arousal = ("" if x is None else f"{x:+.2f}" for x in pair)
    return label, probability, valence, arousal
