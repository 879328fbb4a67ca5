"""`mien-export tensorrt`: plans of a model's graphs for this device; or the proof, without a device, that they can be made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exporters.commands.precisions import parsed
from exporters.commands.screen import say, steps


def tensorrt(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A model folder.")],
    gate: Annotated[bool, typer.Option("--gate", help="Only try: parse and build every graph, on any machine; keeps nothing.")] = False,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", metavar="P", help="With --gate: try its graphs in fp16 or int8 too; repeatable.")
    ] = None,
    plans: Annotated[Path | None, typer.Option("--plans", metavar="DIR", help="Where plans are kept; your cache if left out.")] = None,
) -> None:
    """Build a folder's TensorRT plans for this machine's GPU, so that the service starts at once."""
    if gate and plans is not None:
        raise typer.BadParameter("--gate keeps no plan; leave out --plans")
    if precision and not gate:
        raise typer.BadParameter("a plan has the precision of its graphs: mien-export precision DIR makes folders in others")
    if gate:
        _gate(directory, precision or [])
    else:
        _build(directory, plans)


def _gate(directory: Path, precisions: list[str]) -> None:
    from engines.folder import open_folder
    from engines.manifest import Expression
    from engines.plans import sdk
    from exporters import gate

    kit, failed = sdk.load(sdk.RTX), 0
    wanted = tuple(parsed(text) for text in precisions if text != "fp32")
    folder = open_folder(directory)
    if wanted and not (isinstance(folder.manifest, Expression) and folder.manifest.precision == "fp32"):
        what = f"kind {folder.manifest.kind} in {folder.manifest.precision}"
        raise typer.BadParameter(f"{directory} is of {what}; only expression models in fp32 have other precisions: leave out --precision")
    with steps(f"trying {folder.manifest.id} on {kit.name} {kit.version}") as step:
        found = list(gate.gate(folder, kit, wanted, step))
    for one in found:
        failed += one.fault is not None
        what = one.fault or f"{one.size / 1e6:.1f} MB in {one.seconds:.1f} s"
        say(f"{'ok   ' if one.fault is None else 'FAILS'}  {one.part:<6}  {one.precision:<4}  {what}")
    say(f"{len(found) - failed} of {len(found)} graphs built by {kit.name} {kit.version} for {gate.CAPABILITY}; no plan was kept")
    if failed:
        raise typer.Exit(1)


def _build(directory: Path, plans: Path | None) -> None:
    from engines.engine import BackendMissing, EngineOptions
    from engines.folder import open_folder
    from engines.open import open_engine
    from engines.wiring import run_parts

    folder = open_folder(directory)
    with steps(f"plans of {folder.manifest.id}") as step:
        options = EngineOptions("tensorrt", plans=None if plans is None else str(plans), told=step)
        for part in run_parts(folder.manifest.graphs):
            try:
                engine = open_engine(folder, part, options)
            except BackendMissing as error:
                raise BackendMissing(f"{error}; --gate tries the graphs without one") from None
            say(f"{part}: ready on {engine.info.backend}, TensorRT {engine.info.version}")
            engine.close()
