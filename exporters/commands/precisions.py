"""`mien-export precision`: a model folder in fp16 or int8; and the flags that `onnx` shares with it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from engines.manifest import Expression, Manifest
from exporters.commands.screen import say, steps

Target = Annotated[
    str, typer.Option("--target", metavar="BACKEND", help="Where it is to run: onnx, tensorrt, openvino, …; measured there if it is here.")
]
Samples = Annotated[
    Path | None, typer.Option("--samples", metavar="W.npz", help="What `mien windows --inputs` wrote; int8 is calibrated on it.")
]
Uniform = Annotated[bool, typer.Option("--uniform-keyframes", help="Choose keyframes evenly, so that the frame graph need not stay fp32.")]


def precision(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A model folder in fp32.")],
    out: Annotated[Path, typer.Option("--out", help="The model folder to write.", show_default=False)],
    wanted: Annotated[str, typer.Option("--precision", help="fp16 or int8.", show_default=False)],
    samples: Samples = None,
    target: Target = "onnx",
    uniform: Uniform = False,
    identity: Annotated[str | None, typer.Option("--id", help="The new model's id; the folder's name if left out.")] = None,
) -> None:
    """Make a model folder in another precision of one in fp32, and refuse it where it is out of tolerance or slower."""
    reduce(directory, out, parsed(wanted), samples, target, uniform, identity)


def parsed(text: str, fp32: bool = False) -> Literal["fp16", "int8"]:
    """Read a precision's name; `fp32`: whether that is one too."""
    if text == "fp16":
        return "fp16"
    if text == "int8":
        return "int8"
    raise typer.BadParameter(f"no precision {text!r}; there are: {'fp32, ' * fp32}fp16, int8")


def reduce(
    source: Path, out: Path, wanted: Literal["fp16", "int8"], samples: Path | None, target: str, uniform: bool, identity: str | None,
    kept: bool = True,
) -> None:  # fmt: skip
    """Write `out` and print its figures; `kept`: whether the fp32 folder stays."""
    from exporters import precision as precisions

    if out.resolve() == source.resolve():
        raise typer.BadParameter("--out is the fp32 folder itself; give another place: both are of use")
    with steps(f"{source.name} to {wanted}") as step:
        made = precisions.write(out, source, precisions.Wish(wanted, target, samples, uniform), identity, step)
    report(made, out, source if kept else None)


def report(made: Manifest, out: Path, source: Path | None) -> None:
    """Print what a reduced folder was measured to be; `source`: the fp32 folder, None if it is not kept."""
    from exporters.precision import figures

    say(f"{made.precision}: {figures(made)}")
    if made.reduced is not None and made.reduced.samples is None:
        say("drawn clips are no faces: measure it on your own with --samples W.npz (mien windows CLIPS --inputs)")
    if made.reduced is not None and made.reduced.runtime is None:
        with_samples = "" if made.reduced.samples is None else " --samples W.npz"
        where = source if source is not None else "DIR"
        say(
            f"{made.reduced.target} is not here, so its speed is not known; on its machine: "
            f"mien-export verify {out} --fp32 {where}{with_samples}"
        )
        if source is None:
            say(f"DIR is not kept: the same export with --id {made.id} and without --precision writes it")
    if isinstance(made, Expression) and made.calibration is not None and made.calibration.runtime:
        say("its calibration and label sets are the fp32 model's; mien windows --labels on this folder, then mien-export fit-temperature")
    say(f"wrote {out}")


def beside(out: Path) -> TemporaryDirectory[str]:
    """Make a place for an fp32 folder that only another precision is made from."""
    out.parent.mkdir(parents=True, exist_ok=True)
    return TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent)
