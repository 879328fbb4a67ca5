"""`mien evaluate`: how good a model is on labelled clips.

Owns its flags and order of work. Does not own the evaluation (`service/evaluation/run.py`) or how it is told (`document.py`, `shown.py`,
`report.py` there).
"""

from __future__ import annotations

from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.flags import Backend, ConfigFile, DetectorId, LabelMap, ModelDirs, Random, Threads, load, networks
from service.commands.telling import Usage, complain, text_file, told

if TYPE_CHECKING:
    from service.evaluation.run import Unreadable


class Format(str, Enum):
    """How the scores are written."""

    TABLE = "table"
    JSON = "json"


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Expression model: an id, or ./ITS/FOLDER.", show_default=False)],
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A CSV of clips, or a folder with clips.csv.", show_default=False)],
    form: Annotated[
        Format | None, typer.Option("--format", help="How scores are written; left out, as FILE's suffix says, else a table.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Instead of standard output; whole or not at all.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", metavar="DIR", help="Also a report with plots, in a folder.")] = None,
    label_map: LabelMap = None,
    folds: Annotated[int | None, typer.Option("--folds", metavar="N", help="Folds by subject; one each up to 10 if left out.")] = None,
    dev: Annotated[
        str | None, typer.Option("--dev", metavar="SUBJECT,…", help="Subjects to fit post-processing on, besides split dev.")
    ] = None,
    post: Annotated[
        str, typer.Option("--post", metavar="STEP,…", help="Steps to fit: smooth, centre, scale, shift; or none.")
    ] = "smooth,centre,scale",
    detector: DetectorId = None,
    models: ModelDirs = None,
    backend: Backend = None,
    threads: Threads = None,
    allow_random_weights: Random = False,
    config: ConfigFile = None,
) -> None:
    """Score a model on labelled clips: accuracy, F1, confusion; RMSE, CC, CCC of valence and arousal."""
    with told():
        from service.analyze import Analyser
        from service.evaluation import document, shown
        from service.evaluation import report as reporting
        from service.evaluation.dataset import mapping, read
        from service.evaluation.run import evaluate as run
        from service.tables import progress

        suffix = "" if output is None else output.suffix.lower()
        form = form or (Format.JSON if suffix == ".json" else Format.TABLE)
        steps = _steps(post)
        renamed, subjects = mapping(label_map or []), _listed(dev or "")
        if report is not None:
            reporting.check(report)
        chosen = load(config, networks(model, detector, models, backend, threads, allow_random_weights, None, None))
        with ExitStack() as stack:
            analyser = stack.enter_context(Analyser.create(chosen))
            labels: tuple[str, ...] = getattr(analyser.model.manifest, "labels", ())
            data = read(dataset, labels, renamed, analyser.model.name.id, subjects)
            # Opened first: hours later is no time to learn that it cannot be written.
            out = stack.enter_context(text_file(output))
            done = run(analyser, data, folds, steps, progress, _complain)
            if form is Format.JSON:
                out.write(document.text(done))
            else:
                shown.write(done, out)
        if report is not None:
            reporting.write(done, report)
        if done.unreadable:
            complain(f"{len(done.unreadable)} of {len(data.clips)} clips could not be read and are in no score")
            raise typer.Exit(1)


def _steps(text: str) -> tuple[str, ...]:
    from service.evaluation.chain import STEPS

    steps = () if text == "none" else tuple(_listed(text))
    unknown = [step for step in steps if step not in STEPS]
    if unknown or (not steps and text != "none"):
        raise Usage(f"--post {text!r}: each step must be one of {', '.join(STEPS)}; or give none alone")
    return steps


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _complain(one: Unreadable) -> None:
    complain(f"{one.code}: {one.detail}")
