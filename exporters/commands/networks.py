"""`mien-export list`, `describe` and `onnx`: the architectures, and a checkpoint of one to a model folder."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engines.manifest import Keyframes, Requirement, Weights
from exporters.commands.precisions import Samples, Target, beside, parsed, reduce
from exporters.commands.screen import report, say, steps

if TYPE_CHECKING:
    from exporters.architecture import Blueprint

Arch = Annotated[str, typer.Argument(help="Name of an architecture; `list` shows them.")]
Options = Annotated[list[str] | None, typer.Option("--option", metavar="K=V", help="One of `describe`'s options; repeatable.")]
Out = Annotated[Path, typer.Option("--out", help="The model folder to write.", show_default=False)]
Identity = Annotated[str | None, typer.Option("--id", help="The model's id; the folder's name if left out.")]
LicenceFile = Annotated[Path | None, typer.Option("--licence", help="A file with the licence of the weights.")]
MapFile = Annotated[Path | None, typer.Option("--key-map", metavar="FILE", help="TOML: the checkpoint's keys by the network's.")]
BranchFile = Annotated[
    Path | None, typer.Option("--branch-checkpoint", metavar="FILE", help="A checkpoint for the network's branch.* keys alone.")
]


def list_() -> None:
    """List the architectures and the shipped models."""
    from exporters import catalogue

    architectures, shipped = catalogue.titles(), catalogue.shipped()
    width = max(map(len, [*architectures, *shipped]))
    for name, title in architectures.items():
        say(f"architecture  {name:<{width}}  {title}")
    for name, title in shipped.items():
        say(f"shipped       {name:<{width}}  {title}")


def describe(arch: Arch, option: Options = None) -> None:
    """Show an architecture's options, inputs, outputs, labels and cost, and the keys and shapes a checkpoint must have."""
    from exporters import architecture, checkpoint, description

    blueprint = architecture.find(arch, 0, options_of(option))
    facts = description.parts(blueprint)
    say(f"{blueprint.title}\nparameters: {sum(p.numel() for p in blueprint.network.parameters())}")
    for part, found in facts.items():
        for tensor in found.inputs:
            say(f"{part} input   {tensor.name} {tensor.dtype} {_shape(tensor.shape)}")
        for name, shape in found.outputs.items():
            say(f"{part} output  {name} {_shape(shape)}")
        for name, shape in found.taps.items():
            say(f"{part} tap     {name} {_shape(shape)}")
        say(f"{part} cost    {found.gmac:.4f} GMAC")
    say(f"labels: {', '.join(blueprint.labels) or 'none'}")
    window = blueprint.window
    say(f"window: {window.frames} of {window.buffer} samples, a result every {window.hop}, keyframes {blueprint.keyframes.selector}")
    _options_table(arch)
    if blueprint.dropped:
        say(f"checkpoint keys that are left out: {', '.join(f'{prefix}*' for prefix in blueprint.dropped)}")
    keys = checkpoint.shapes(blueprint.network)
    _columns([("checkpoint key", "shape"), *((key, " × ".join(map(str, shape))) for key, shape in keys.items())])


def _options_table(arch: str) -> None:
    from exporters import description

    said, rows = description.options(arch)
    _columns([("--option", "value", "default"), *rows])
    say(said)


def _columns(rows: list[tuple[str, ...]]) -> None:
    """Print rows under each other; unlike rich's tables, nothing is cut to the terminal's width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())


def _shape(sizes: tuple[int, ...]) -> str:
    return f"({', '.join(('N', *map(str, sizes)))})"


def onnx(
    arch: Arch,
    out: Out,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="A .safetensors or torch file (tensors only).")] = None,
    random_weights: Annotated[
        int | None, typer.Option("--random-weights", metavar="SEED", help="Random weights instead, marked for ever.")
    ] = None,
    key_map: MapFile = None,
    branch_checkpoint: BranchFile = None,
    keyframes_from: Annotated[
        Path | None, typer.Option("--keyframes-from", metavar="DIR", help="A model folder of kind features: keyframes by its output.")
    ] = None,
    identity: Identity = None,
    labels: Annotated[str | None, typer.Option("--labels", help="a,b,c in the network's order, if not the architecture's own.")] = None,
    option: Options = None,
    licence: LicenceFile = None,
    wanted: Annotated[
        str,
        typer.Option("--precision", metavar="P", help="fp32, or fp16 or int8, held against it and refused if not as good."),
    ] = "fp32",
    samples: Samples = None,
    target: Target = "onnx",
) -> None:
    """Export a network to a model folder and prove that it computes the same."""
    from exporters import architecture, export, model_folder

    reduced = None if wanted == "fp32" else parsed(wanted, fp32=True)
    if reduced is None and samples is not None:
        raise typer.BadParameter("--samples is what fp16 and int8 are measured on; it needs --precision fp16 or int8")
    if (checkpoint is None) == (random_weights is None):
        raise typer.BadParameter("give either --checkpoint FILE or --random-weights SEED")
    if key_map is not None and checkpoint is None:
        raise typer.BadParameter("--key-map says how a checkpoint's keys are called; it needs --checkpoint FILE")
    if reduced is not None:
        from exporters import precision

        precision.check(precision.Wish(reduced, target, samples))
    chosen = options_of(option)
    if labels is not None:
        chosen["labels"] = labels
    text = licence.read_bytes() if licence is not None else None
    blueprint = architecture.find(arch, random_weights or 0, chosen)
    weights, noted = _load(blueprint, Given(checkpoint, key_map, branch_checkpoint), random_weights)
    requires: tuple[Requirement, ...] = ()
    if keyframes_from is not None:
        requires, keyframes = _features(keyframes_from)
        blueprint = replace(blueprint, keyframes=keyframes)
    name = identity or out.resolve().name
    model_folder.check_room(out, [f"{part}.onnx" for part in blueprint.parts])
    with ExitStack() as stack:
        whole = out if reduced is None else Path(stack.enter_context(beside(out)), name)
        with steps(f"exporting {arch}") as step:
            made = export.write(whole, blueprint, name, weights, text, requires=requires, noted=noted, step=step)
        if reduced is None:
            report(made, out)
        else:
            reduce(whole, out, reduced, samples, target, False, name, kept=False)


@dataclass(frozen=True, slots=True)
class Given:
    """The files that a network's numbers come from."""

    checkpoint: Path | None = None
    key_map: Path | None = None
    branch: Path | None = None


def _load(blueprint: Blueprint, given: Given, seed: int | None) -> tuple[Weights, dict[str, str]]:
    """Load the files into the network; returns what the manifest says of the weights, and its options that say more."""
    from exporters import sources

    loaded = sources.load(blueprint, given.checkpoint, given.key_map, given.branch)
    for note in loaded.notes:
        say(note)
    branch = f"; branch.* from {given.branch.name}" if given.branch is not None else ""
    if given.checkpoint is None:
        return Weights(kind="random", source=f"random by He et al. 2015, seed {seed}{branch}", seed=seed), loaded.options
    keys = f", keys by {given.key_map.name}" if given.key_map is not None else ""
    return Weights(kind="checkpoint", source=f"{given.checkpoint.name}{keys}{branch}", sha256=loaded.sha256), loaded.options


def _features(directory: Path) -> tuple[tuple[Requirement, ...], Keyframes]:
    from engines.folder import open_folder
    from engines.manifest import Features

    folder = open_folder(directory)
    manifest = folder.manifest
    if not isinstance(manifest, Features):
        raise ValueError(
            f"--keyframes-from {directory}: model {manifest.id!r} is of kind {manifest.kind}; a model of kind features is needed"
        )
    need = Requirement(id=manifest.id, sha256=folder.sha256, output=manifest.output)
    return (need,), Keyframes(selector="itq", features=manifest.output, model=manifest.id)


def options_of(given: list[str] | None) -> dict[str, object]:
    """Read `--option k=v`s."""
    return dict(_option(text) for text in given or [])


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"--option {text!r} must be key=value")
    return key.strip(), value.strip()
