"""`mien bench`: models on runtimes, in turn, with what is lost beside what is gained.

Owns its flags and the table. Does not own the measurement (`service/bench/`).
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, replace
from enum import Enum
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from service.commands.flags import ConfigFile, ModelDirs, load
from service.commands.telling import Usage, text_file, told

if TYPE_CHECKING:
    from engines.engine import Precision
    from service.bench.variants import Measured, Variant
    from service.config import Config

HEADS = ("model", "precision", "runtime", "threads", "batch", "ms", "quartiles", "times", "labels agree", "differs by", "note")


class Form(str, Enum):
    """How figures are written."""

    TABLE = "table"
    JSON = "json"


def bench(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Expression models: ids, or ./THEIR/FOLDERS.", show_default=False)
    ],
    backend: Annotated[list[str] | None, typer.Option("--backend", metavar="NAME", help="Runtime; repeatable. Left out: onnx.")] = None,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", metavar="fp32|bf16", help="What fp32 graphs are computed in; repeatable.")
    ] = None,
    batch: Annotated[list[int] | None, typer.Option("--batch", metavar="N", help="Results made at once; repeatable.", min=1)] = None,
    threads: Annotated[
        list[int] | None, typer.Option("--threads", metavar="N", help="Threads within a network; repeatable. Left out: 1.", min=0)
    ] = None,
    samples: Annotated[
        Path | None, typer.Option("--samples", metavar="W.npz", help="Real crops (`mien windows --inputs`): what is lost is measured too.")
    ] = None,
    turns: Annotated[int, typer.Option("--turns", metavar="N", help="Times each way is run.", min=2)] = 15,
    form: Annotated[
        Form | None, typer.Option("--format", help="How figures are written; left out, as FILE's suffix says, else a table.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Instead of standard output.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw it too (svg, pdf as well).")] = None,
    dirs: ModelDirs = None,
    config: ConfigFile = None,
) -> None:
    """Time models side by side: every model on every runtime, batch and thread count given, all in turn."""
    with told():
        from service.bench.plot import check, draw
        from service.bench.variants import bench as measure
        from service.tables import working

        form = form or (Form.JSON if output is not None and output.suffix.lower() == ".json" else Form.TABLE)
        # What cannot be written is told before minutes are spent.
        if plot is not None:
            check(plot)
        chosen = load(config, {"model": {"dirs": dirs or None}})
        variants = _variants(chosen, models, backend or ["onnx"], precision or ["fp32"], batch or [1], threads or [1], samples)
        with text_file(output) as out:
            with working() as watch:
                found = measure(variants, turns, watch)
            if form is Form.JSON:
                out.write(json.dumps([_plain(one) for one in found], ensure_ascii=False, indent=1) + "\n")
            else:
                from service.tables import print_table

                print_table(out, HEADS, [_row(one) for one in found], f"{len(found)} ways, {turns} turns each; ms: of one result")
                notes = [f"note: {one.model} on {one.asked}: {one.note}\n" for one in found if one.note]
                out.writelines(dict.fromkeys(notes))
        if plot is not None:
            draw(found, plot, f"mien bench, {turns} turns" + (f", {samples.name}" if samples else ""))
        if all(one.why is not None for one in found):
            raise typer.Exit(1)


def _variants(
    chosen: Config, wanted: list[str], backends: list[str], precisions: list[str], batches: list[int], threads: list[int],
    samples: Path | None,
) -> list[Variant]:  # fmt: skip
    from engines.folder import open_folder
    from engines.manifest import Expression
    from engines.samples import windows
    from service.bench.variants import Variant
    from service.bench.windows import noise
    from service.chosen import engine_options, open_models, settled

    made: list[Variant] = []
    for named in wanted:
        own = settled(chosen.model_copy(update={"model": chosen.model.model_copy(update={"id": named})}))
        with closing(open_models(own)) as there:
            folder = open_folder(there.folder(own.model.id).path)
        if not isinstance(folder.manifest, Expression):
            raise Usage(f"model {folder.manifest.id!r} is of kind {folder.manifest.kind}; bench times those of kind expression")
        largest = folder.manifest.batch.max
        if max(batches) > largest:
            raise Usage(f"--batch {max(batches)}: {folder.manifest.id} takes up to {largest} at once (batch.max of its manifest)")
        rows = noise(folder.manifest, 2) if samples is None else windows(samples, folder.manifest)
        for backend, computed, count, size in product(backends, precisions, threads, batches):
            options = replace(engine_options(chosen), backend=backend, threads=count, precision=_precision(computed))
            made.append(Variant(folder, options, size, rows, samples is not None))
    return made


def _precision(text: str) -> Precision:
    from engines.engine import Precision

    if text not in get_args(Precision):
        raise Usage(
            f"--precision {text}: one of {', '.join(get_args(Precision))} is meant; other precisions are model folders of their own"
        )
    return cast("Precision", text)


def _row(one: Measured) -> tuple[str, ...]:
    named = (one.model, one.precision, one.runtime or one.asked, str(one.threads), str(one.batch))
    if one.why is not None:
        return (*named, "", "", "", "", "", one.why)
    low, high = one.quartiles_ms
    lost = one.difference
    agree = "" if lost is None or lost.agreement is None else f"{lost.agreement:.1%} of {lost.windows}"
    times = "" if one.ratio is None else f"{one.ratio:.2f}×"
    return (*named, f"{one.median_ms:.3g}", f"{low:.3g}–{high:.3g}", times, agree, "" if lost is None else f"{lost.largest:.1e}", "")


def _plain(one: Measured) -> dict[str, object]:
    return asdict(one) if one.why is not None else {**asdict(one), "median_ms": one.median_ms, "quartiles_ms": one.quartiles_ms}
