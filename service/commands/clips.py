"""`mien analyze` and `mien windows`: what works on clips and pictures.

Owns their flags and order of work. Does not own the analysis (`service/analyze.py`) or what is written (`service/reports.py`,
`service/collect.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from service.commands.flags import (
    Backend,
    ConfigFile,
    DetectorId,
    Faces,
    Inputs,
    LabelMap,
    ModelDirs,
    ModelId,
    Random,
    Threads,
    load,
    networks,
)  # fmt: skip
from service.commands.telling import Usage, complain, text_file, told

if TYPE_CHECKING:
    from service.analyze import Analyser, Tally
    from service.evaluation.dataset import Labelled
    from service.intake import Source
    from service.models import Model
    from service.reports import Report, Style


class Format(str, Enum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


def analyze(
    inputs: Inputs,
    form: Annotated[
        Format | None, typer.Option("--format", help="How results are written; left out, as FILE's suffix says, else a table.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Instead of standard output; whole or not at all.")
    ] = None,
    timing: Annotated[bool, typer.Option("--timing", help="Add `delivery` (UTC, ms spent) to events; json and ndjson.")] = False,
    allow_partial: Annotated[bool, typer.Option("--allow-partial", help="Take what a truncated clip has.")] = False,
    hop: Annotated[int | None, typer.Option("--hop", metavar="N", help="Label every N-th sampled frame.")] = None,
    faces: Faces = None,
    model: ModelId = None,
    detector: DetectorId = None,
    models: ModelDirs = None,
    backend: Backend = None,
    threads: Threads = None,
    allow_random_weights: Random = False,
    config: ConfigFile = None,
) -> None:
    """Label the expressions in clips and images; folders are searched for both."""
    with told():
        form = form or _format_of(output)
        if timing and form not in {Format.JSON, Format.NDJSON}:
            raise Usage(f"--timing goes with --format json or ndjson, not {form.value}")
        from service.analyze import Analyser
        from service.intake import find
        from service.reports import Style

        chosen = load(config, networks(model, detector, models, backend, threads, allow_random_weights, faces, hop))
        sources = find(inputs)
        with Analyser.create(chosen) as analyser, text_file(output) as out:
            style = Style(analyser.model, several=len(sources) > 1 or any(path.is_dir() for path in inputs), timing=timing)
            # Lines that come one by one would run through a bar on the same terminal; a table comes when its bar has gone.
            bar = form is not Format.NDJSON or not out.isatty()
            failed = _analyse(analyser, sources, _report(form, out, style), allow_partial, bar)
            if failed == len(sources):
                raise typer.Exit(1)
        if failed:
            complain(f"{failed} of {len(sources)} inputs could not be analysed")
            raise typer.Exit(1)


def windows(
    clips: Inputs,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="W.npz", help="File to write; whole or not at all.")],
    inputs: Annotated[bool, typer.Option("--inputs", help="Add the crops themselves.")] = False,
    labels: Annotated[Path | None, typer.Option("--labels", metavar="FILE.csv", help="Add each clip's label: columns clip, label.")] = None,
    label_map: LabelMap = None,
    faces: Faces = None,
    model: ModelId = None,
    detector: DetectorId = None,
    models: ModelDirs = None,
    backend: Backend = None,
    threads: Threads = None,
    allow_random_weights: Random = False,
    config: ConfigFile = None,
) -> None:
    """Write every sample's features as arrays, for `mien-export itq` and its kin."""
    with told():
        from service.analyze import Analyser
        from service.collect import collect, write
        from service.intake import find
        from service.replacing import replacing
        from service.tables import progress

        if label_map and labels is None:
            raise Usage("--map goes with --labels FILE.csv")
        chosen = load(config, networks(model, detector, models, backend, threads, allow_random_weights, faces, None))
        sources = find(clips)
        with Analyser.create(chosen) as analyser:
            truth = None
            if labels is not None:
                truth = _truth(labels, label_map or [], sources, analyser.model)
                sources = [row.source for row in truth]
            # Opened first: hours later is no time to learn that it cannot be written.
            with replacing(output) as file:
                arrays = collect(analyser, sources, inputs, progress, truth)
                if not len(arrays["frame"]):
                    complain(f"no face in any of {len(sources)} clips, so there is nothing to write; mien analyze says what they show")
                    raise typer.Exit(1)
                write(file, arrays)


def _truth(file: Path, pairs: Sequence[str], sources: Sequence[Source], model: Model) -> list[Labelled]:
    """Return each clip's row of a CSV of labels, under the name it was given by; clips that --map leaves out are not among them."""
    from service.evaluation.dataset import DatasetError, mapping, read
    from service.intake import Source, shown

    data = read(file, getattr(model.manifest, "labels", ()), mapping(pairs), model.name.id)
    if not data.labelled:
        raise DatasetError(f"{data.name} has no column label; fits need the label of each clip")
    rows = {row.source.path.resolve(): row for row in data.clips}
    folder = file if file.is_dir() else file.parent
    left_out = {(folder / name).resolve() for name in data.left_out}
    truth = []
    for source in sources:
        if (row := rows.get(source.path.resolve())) is not None:
            truth.append(replace(row, source=Source(source.path, source.name)))
        elif source.path.resolve() not in left_out:
            raise DatasetError(f"{shown(source.name)} has no row in {data.name}; add one, or do not name the clip")
    return truth


def _format_of(output: Path | None) -> Format:
    """Return the format that a file's suffix names; a table where it names none."""
    suffix = "" if output is None else output.suffix.lower().removeprefix(".")
    return Format(suffix) if suffix in {form.value for form in Format} else Format.TABLE


def _report(form: Format, out: TextIO, style: Style) -> Report:
    from service.reports import Csv, JsonDocument, Ndjson
    from service.tables import TableReport

    kinds: dict[Format, type[TableReport] | type[JsonDocument] | type[Ndjson] | type[Csv]] = {
        Format.TABLE: TableReport, Format.JSON: JsonDocument, Format.NDJSON: Ndjson, Format.CSV: Csv,
    }  # fmt: skip
    return kinds[form](out, style)


def _analyse(analyser: Analyser, sources: Sequence[Source], report: Report, allow_partial: bool, bar: bool) -> int:
    """Analyse every input and return how many could not be; each of those is complained of as it fails."""
    from capture.driver import SourceError
    from service.messages import Failure
    from service.tables import progress

    failed = 0
    for number, source in enumerate(sources, start=1):
        label = f"{number}/{len(sources)} {source.name}" if len(sources) > 1 else source.name
        outcome: Tally | Failure
        try:
            with progress(label, bar) as advance:
                analysis = analyser.open(source, allow_partial=allow_partial)
                for event, timing in analysis:
                    report.say(source, event, timing)
                    advance(analysis.tally.decoded, analysis.info.frames)
                outcome = analysis.tally
        except SourceError as error:
            failed += 1
            complain(f"{error.code}: {error}")
            outcome = Failure(error.code, str(error), retryable=False)
        report.end(source, outcome)
    report.close()
    return failed
