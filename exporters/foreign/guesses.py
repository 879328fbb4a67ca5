"""What can be told from somebody's graph without being told: sizes, roles of outputs, scores or probabilities.

Owns the guesses and the words that name each, so that the user can correct it. Whatever would ruin results unseen if guessed wrong
(how pictures were scaled, which of several outputs is which) is asked for instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx

from engines.manifest import CropSpec, Tensor, Window
from exporters.architecture import Role
from exporters.comparison import ROWS
from exporters.foreign import normal_form, wrapped
from exporters.foreign.adopted import Adoption
from exporters.foreign.presets import Preset
from exporters.foreign.reading import COUNT, Channels, Layout, Reading, layout_of
from exporters.foreign.wrapped import Network, Take
from exporters.onnx_graph import GraphRefused
from exporters.probes import probe

Crop = Literal["face", "upper-body", "full"]
_INPUT: Mapping[Crop, str] = {"face": "face", "upper-body": "body", "full": "picture"}
_NAMES: Mapping[str, Role] = {
    "prob": "probabilities",
    "valence": "valence",
    "arousal": "arousal",
    "feature": "features",
    "embed": "features",
}
"""Parts of an output's name that say its role."""
FRAMES = 16


@dataclass(frozen=True, slots=True)
class Said:
    """What the user said beside the file; None or () where nothing."""

    kind: Literal["expression", "features"] = "expression"
    labels: tuple[str, ...] = ()
    crop: Crop = "face"
    frames: int | None = None
    size: tuple[int, int] | None = None
    layout: Layout | None = None
    channels: Channels | None = None
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    takes: tuple[Take, ...] = ()


@dataclass(frozen=True, slots=True)
class Guessed:
    """What came out, and one line for each guess: what, and how to say otherwise."""

    adoption: Adoption
    notes: tuple[str, ...]


def by_preset(network: Network, preset: Preset, said: Said) -> Guessed:
    """Adopt a per-frame network of a known family; what the user said goes before the preset's word.

    Raises:
        GraphRefused: the file is not of that family.
    """
    dims = network.port.dims
    layout = layout_of(dims, said.layout)
    if len(dims) != 4:
        raise GraphRefused("frame-cnn is for networks of single frames; this one takes clips: use import-onnx")
    reading = preset.reading(layout)
    reading = replace(reading, scale=said.scale or reading.scale, mean=said.mean or reading.mean, std=said.std or reading.std)
    channels = dims[layout.index("C")]
    if channels not in (None, COUNT[preset.channels]):
        raise GraphRefused(f"the file reads {channels} channels, networks of this preset {COUNT[preset.channels]}; is it another network?")
    height, width = said.size or _size(dims, layout, (preset.size, preset.size))
    picture = Tensor(name="face", dtype="uint8", shape=(3, height, width))
    outputs = _widths(network, reading, picture)
    extra = (0, 2) if preset.values else (0,)
    labels_by_count = {len(said.labels): said.labels} if said.labels else preset.labels
    fits = [(name, count, more) for name, count in outputs.items() for more in extra if (count - more) in labels_by_count]
    if not fits:
        there = ", ".join(f"{name} ({count})" for name, count in outputs.items())
        allowed = " or ".join(str(count + more) for count in sorted(labels_by_count) for more in extra)
        raise GraphRefused(f"no output has {allowed} numbers per row, there are: {there}; give --labels a,b,c for other classes")
    name, count, more = fits[0]
    classes = count - more
    takes = [Take("probabilities", name, 0, classes if more else None)]
    takes += [Take("valence", name, classes, classes + 1, "clip"), Take("arousal", name, classes + 1, classes + 2, "clip")] if more else []
    takes, notes = _scored(network, reading, picture, takes)
    inner = normal_form.penultimate(network.model, name)
    if inner is not None:
        takes.append(Take("features", inner))
        notes.append(f"features: {inner!r}, what the last layer reads")
    labels = labels_by_count[classes]
    notes += [f"labels: {', '.join(labels)}", f"a window: {FRAMES} of {2 * FRAMES} frames (--frames, or edit window in manifest.json)"]
    crop = CropSpec(kind="face", size=(height, width))
    return Guessed(Adoption(preset.title, reading, picture, crop, tuple(takes), labels, _window(said.frames or FRAMES)), tuple(notes))


def by_looking(network: Network, title: str, said: Said) -> Guessed:
    """Adopt a user's own network, of frames or of clips.

    Raises:
        GraphRefused: something that must be known was not said and cannot be told from the file.
    """
    dims, notes = network.port.dims, list[str]()
    layout = layout_of(dims, said.layout)
    reading = _reading(network, layout, said, notes)
    height, width = said.size or _size(dims, layout, None)
    length = _length(dims, layout, said)
    name = _INPUT[said.crop]
    picture = Tensor(name=name, dtype="uint8", shape=(3, height, width) if length is None else (length, 3, height, width))
    notes.append(f"input: {name}, {said.crop}, {height} × {width}" + (f", {length} frames" if length else "") + " (--crop; edit crops)")
    crop = CropSpec(kind=said.crop, size=(height, width), align="eyes" if said.crop == "face" else "none")
    takes = list(said.takes) or _takes(network, _widths(network, reading, picture), said, notes)
    if said.kind == "features":
        if [take.role for take in takes] != ["features"] or length is not None:
            raise GraphRefused("a model of kind features takes single frames and gives one output: --output features=NAME")
        return Guessed(Adoption(title, reading, picture, crop, tuple(takes)), tuple(notes))
    if not {"probabilities", "valence", "arousal"} & {take.role for take in takes}:
        raise GraphRefused("a model of kind expression gives probabilities, valence or arousal: --output ROLE=NAME, or --kind features")
    takes, scored = _scored(network, reading, picture, takes)
    notes += scored
    classes = _widths(network, reading, picture, takes).get("probabilities", 0)
    labels = said.labels or tuple(f"class-{index}" for index in range(classes))
    if len(labels) != classes:
        raise GraphRefused(f"{len(labels)} labels were given, there are {classes} classes")
    if classes and not said.labels:
        notes.append(f"labels: {labels[0]} … {labels[-1]} (--labels a,b,c; edit labels)")
    window = _window(said.frames or FRAMES) if length is None else Window(frames=length, buffer=length, hop=max(1, length // 2))
    notes.append(f"window: {window.frames} of {window.buffer} frames, a result every {window.hop} (edit window)")
    return Guessed(Adoption(title, reading, picture, crop, tuple(takes), labels, window), tuple(notes))


def _window(frames: int) -> Window:
    return Window(frames=frames, buffer=2 * frames, hop=max(1, frames // 4))


def _reading(network: Network, layout: Layout, said: Said, notes: list[str]) -> Reading:
    if network.port.dtype == onnx.TensorProto.UINT8:
        if said.scale is not None or said.mean is not None or said.std is not None:
            raise GraphRefused("the input is uint8, so the network scales inside; leave out --scale, --mean and --std")
        return Reading(layout, said.channels or "rgb", raw=True)
    if said.scale is None and said.mean is None:
        raise GraphRefused(
            f"input {network.port.name!r} is float and pictures are 0…255: say how it was trained: --scale 255 for 0…1, "
            "--scale 255 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 for ImageNet's, --scale 1 for 0…255"
        )
    count = network.port.dims[layout.index("C")]
    channels = said.channels or ("gray" if count == 1 else "rgb")
    if count is not None and count != COUNT[channels]:
        raise GraphRefused(f"the input has {count} channels, --channels {channels} has {COUNT[channels]}")
    if said.channels is None:
        notes.append(f"channels: {channels} (--channels rgb|bgr|gray)")
    return Reading(layout, channels, 255.0 if said.scale is None else said.scale, said.mean or (0.0,), said.std or (1.0,))


def _size(dims: Sequence[int | None], layout: Layout, default: tuple[int, int] | None) -> tuple[int, int]:
    height, width = dims[layout.index("H")], dims[layout.index("W")]
    if default is not None:
        height, width = height or default[0], width or default[1]
    if height is None or width is None:
        raise GraphRefused("the graph leaves the picture's size open; give --size HEIGHT,WIDTH")
    return height, width


def _length(dims: Sequence[int | None], layout: Layout, said: Said) -> int | None:
    if "T" not in layout:
        return None
    there = dims[layout.index("T")]
    if there is not None and said.frames not in (None, there):
        raise GraphRefused(f"the graph takes clips of {there} frames, --frames says {said.frames}")
    if there is None and said.frames is None:
        raise GraphRefused("the graph leaves the number of frames open; give --frames T")
    return there or said.frames


def _widths(network: Network, reading: Reading, picture: Tensor, takes: Sequence[Take] = ()) -> dict[str, int]:
    """Measure how many numbers each output gives per row: by role for `takes`, by name for all outputs without."""
    black = {picture.name: np.zeros((1, *picture.shape), np.uint8)}
    if takes:
        given = wrapped.reference(network, reading, picture.name, takes)(black)
        return {role: values.shape[1] for role, values in given.items()}
    found = {}
    for value in network.model.graph.output:
        alone = wrapped.reference(network, reading, picture.name, [Take("features", value.name)])
        found[value.name] = alone(black)["features"].shape[1]
    return found


def _takes(network: Network, widths: Mapping[str, int], said: Said, notes: list[str]) -> list[Take]:
    if said.kind == "features":
        names = [name for name in widths if _role(name) == "features"] or list(widths)
        if len(names) != 1:
            raise GraphRefused(f"the graph has outputs {_list(widths)}; say which is the embedding: --output features=NAME")
        notes.append(f"output: {names[0]} ({widths[names[0]]} numbers) (--output features=NAME)")
        return [Take("features", names[0])]
    named = {name: _role(name) for name in widths}
    if len(widths) == 1 and None in named.values():
        (name, width), count = next(iter(widths.items())), len(said.labels)
        if width < 3 and width != count:
            raise GraphRefused(
                f"output {name!r} has {width} numbers; say what they are: --output valence={name}[0] --output arousal={name}[1]"
            )
        if count and width == count + 2:
            notes.append(f"output: {name} has two numbers more than labels: valence and arousal (--output ROLE={name}[a:b])")
            return [Take("probabilities", name, 0, count), Take("valence", name, count, count + 1), Take("arousal", name, count + 1, width)]
        named = {name: "probabilities"}
    roles = [role for role in named.values() if role is not None]
    if not roles or len(set(roles)) != len(roles):
        raise GraphRefused(
            f"the graph has outputs {_list(widths)}; say which is what: --output probabilities=NAME (also valence, arousal, features)"
        )
    notes.append("outputs: " + ", ".join(f"{name} is {role or 'left out'}" for name, role in named.items()) + " (--output ROLE=NAME)")
    return [Take(role, name) for name, role in named.items() if role is not None]


def _role(name: str) -> Role | None:
    return next((role for part, role in _NAMES.items() if part in name.lower()), None)


def _list(widths: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({width})" for name, width in widths.items())


def _scored(network: Network, reading: Reading, picture: Tensor, takes: Sequence[Take]) -> tuple[list[Take], list[str]]:
    """Put a softmax on the classes' scores unless they are probabilities already: measured on drawn faces, so never wrong by a name."""
    found = [take for take in takes if take.role == "probabilities" and not take.way]
    if not found:
        return list(takes), []
    rows = {picture.name: probe(picture, ROWS // 2)}
    values = wrapped.reference(network, reading, picture.name, found)(rows)["probabilities"]
    if values.min() >= -1e-6 and np.abs(values.sum(1) - 1).max() < 1e-3:
        return list(takes), ["scores: probabilities, they sum to 1"]
    changed = [replace(take, way="softmax") if take in found else take for take in takes]
    return changed, ["scores: not probabilities, so a softmax was put behind them"]
