"""`mien-export frame-cnn` and `import-onnx`: somebody's ONNX file to a model folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from exporters.commands.networks import Identity, LicenceFile, Out
from exporters.commands.screen import report, say, steps

if TYPE_CHECKING:
    from exporters.foreign.guesses import Guessed, Said
    from exporters.foreign.wrapped import Network

File = Annotated[Path, typer.Argument(metavar="FILE.onnx", help="The network, one ONNX file with the data inside.")]
Labels = Annotated[str | None, typer.Option("--labels", help="a,b,c in the network's order.")]
Numbers = Annotated[str | None, typer.Option(metavar="A[,B,C]", help="Per channel, of values / scale.")]
Scale = Annotated[float | None, typer.Option("--scale", help="Pixels 0…255 are divided by this first.")]
Size = Annotated[str | None, typer.Option("--size", metavar="H,W", help="The picture's size, where the graph leaves it open.")]
Layout = Annotated[str | None, typer.Option("--layout", help="NCHW, NHWC; of clips NTCHW, NCTHW, NTHWC; where it cannot be told.")]


def frame_cnn(
    file: File,
    preset: Annotated[str, typer.Option("--preset", help="emotiefflib (also hsemotion), fer or human.", show_default=False)],
    out: Out,
    labels: Labels = None,
    identity: Identity = None,
    licence: LicenceFile = None,
    frames: Annotated[int | None, typer.Option("--frames", min=1, help="Frames whose mean is a result; 16 if left out.")] = None,
    size: Size = None,
    layout: Layout = None,
    scale: Scale = None,
    mean: Numbers = None,
    std: Numbers = None,
) -> None:
    """Make a model folder of a well-known per-frame expression network; what is given here goes before the preset's word."""
    from exporters.foreign import guesses
    from exporters.foreign.presets import PRESETS

    if preset not in PRESETS:
        raise typer.BadParameter(f"no preset {preset!r}; there are: {', '.join(PRESETS)}")
    said = _said(labels=_parts(labels), frames=frames, size=_parts(size), layout=layout, scale=scale, mean=_parts(mean), std=_parts(std))
    _write(file, out, identity, licence, lambda network: guesses.by_preset(network, PRESETS[preset], said))


def import_onnx(
    file: File,
    out: Out,
    kind: Annotated[str, typer.Option("--kind", help="expression, or features: an embedding for --keyframes-from.")] = "expression",
    labels: Labels = None,
    crop: Annotated[str, typer.Option("--crop", help="What a picture shows: face, upper-body or full.")] = "face",
    output: Annotated[
        list[str] | None,
        typer.Option("--output", metavar="ROLE=NAME", help="NAME, NAME[0:8] or softmax(NAME) is the valence or …; repeatable."),
    ] = None,
    frames: Annotated[int | None, typer.Option("--frames", min=1, help="Frames of a window.")] = None,
    size: Size = None,
    layout: Layout = None,
    channels: Annotated[str | None, typer.Option("--channels", help="rgb, bgr or gray, as the network was trained.")] = None,
    scale: Scale = None,
    mean: Numbers = None,
    std: Numbers = None,
    identity: Identity = None,
    licence: LicenceFile = None,
) -> None:
    """Make a model folder of your own graph: what can be told from it is guessed, said, and yours to edit in manifest.json."""
    from exporters.foreign import guesses, wrapped

    said = _said(
        kind=kind, labels=_parts(labels), crop=crop, frames=frames, size=_parts(size), layout=layout, channels=channels, scale=scale,
        mean=_parts(mean), std=_parts(std), takes=tuple(wrapped.parsed(text) for text in output or []),
    )  # fmt: skip
    _write(file, out, identity, licence, lambda network: guesses.by_looking(network, f"{file.stem}, imported", said))


def _parts(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(","))


def _said(**given: object) -> Said:
    """Check the options' words and numbers; None: not given."""
    from exporters.foreign.guesses import Said
    from exporters.onnx_graph import GraphRefused

    try:
        return TypeAdapter(Said).validate_python({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = first["loc"][0]
        text = given[str(name)]
        shown = ",".join(map(str, text)) if isinstance(text, tuple) else text
        raise GraphRefused(f"--{name} {shown}: {first['msg'].lower()}") from None


def _write(file: Path, out: Path, identity: str | None, licence: Path | None, adopt: Callable[[Network], Guessed]) -> None:
    from exporters.foreign import adopted, wrapped

    text = licence.read_bytes() if licence is not None else None
    network = wrapped.opened(file.read_bytes())
    guessed = adopt(network)
    for note in guessed.notes:
        say(f"guessed  {note}")
    with steps(f"adopting {file.name}") as step:
        made = adopted.write(out, network, file.name, guessed.adoption, identity or out.resolve().name, text, step)
    report(made, out)
