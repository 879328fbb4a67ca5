"""A wrapped network to a model folder, proven against the file it was made from.

Owns the steps: graph, rules, parity, invariance, cost, manifest; and the manifest's options that let `verify` do the comparison again.
Does not own what is guessed or known of a network (`guesses.py`, `presets.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from engines.folder import Folder, open_folder
from engines.manifest import CropSpec, Keyframes, Manifest, Tensor, Weights, Window
from engines.proof import Parity
from engines.terms import Part, Strict
from exporters import export, model_folder, onnx_graph, parity
from exporters.comparison import ROWS, TOLERANCE
from exporters.export import Step
from exporters.foreign import wrapped
from exporters.foreign.reading import Reading
from exporters.foreign.wrapped import Network, Take
from exporters.invariance import is_invariant
from exporters.onnx_graph import GraphRefused
from exporters.probes import probe

DESCRIBED = "the given file on onnxruntime, row by row"
_FREE = 1e-3
"""Largest error allowed of outputs whose unit is the network's own (features), in units of how far they move."""
_READING: TypeAdapter[Reading] = TypeAdapter(Reading)


@dataclass(frozen=True, slots=True)
class Adoption:
    """All that is to be known of somebody's network. `picture`: our input. `window` None: a model of kind features."""

    title: str
    reading: Reading
    picture: Tensor
    crop: CropSpec
    takes: tuple[Take, ...]
    labels: tuple[str, ...] = ()
    window: Window | None = None

    @property
    def part(self) -> Part:
        """The graph's part: `frame` where frames are run one by one for a window."""
        return "frame" if self.window is not None and len(self.picture.shape) == 3 else "full"


def write(directory: Path, network: Network, source: str, adoption: Adoption, identity: str, licence: bytes | None, step: Step) -> Manifest:
    """Write the model folder `directory` of a network read from a file called `source`, and open it as the service will.

    Raises:
        GraphRefused: the network cannot be served so.
        exporters.parity.ParityFailed: the graph is not the given network.
        engines.folder.FolderError: the folder breaks a rule of the service.
    """
    step("wrapping the graph")
    model = wrapped.wrap(network, adoption.reading, adoption.picture, adoption.takes)
    data: bytes = model.SerializeToString(deterministic=True)
    entry = onnx_graph.graph_entry(model, f"{adoption.part}.onnx")
    step("parity: comparing with the given file")
    measured = compare(network, data, adoption.reading, adoption.picture, adoption.takes)
    step("batch invariance: whether a row depends on the rows beside it")
    invariant = is_invariant(data, entry)
    gmac, per_window = onnx_graph.gmac(model), adoption.window is not None and adoption.part == "full"
    fields = {
        "title": adoption.title,
        "graphs": {adoption.part: _json(entry)},
        "batch": {"invariant": invariant},
        "opset": onnx_graph.OPSET,
        "options": _options(adoption),
        "weights": _json(Weights(kind="pretrained", source=source, sha256=model_folder.sha256(network.given))),
        "cost": {"gmac_per_frame": 0.0 if per_window else gmac, "gmac_per_window": gmac if per_window else 0.0},
        "parity": [_json(one) for one in measured],
        "crops": {adoption.picture.name: _json(adoption.crop)},
        **_kind(adoption),
    }
    step("writing the folder")
    made = export.finish(directory, fields, {entry.file: data}, identity, licence)
    open_folder(directory)
    return made


def _kind(adoption: Adoption) -> dict[str, object]:
    roles = [take.role for take in adoption.takes]
    if adoption.window is None:
        return {"kind": "features", "output": roles[0]}
    keyframes = Keyframes(selector="uniform" if adoption.window.buffer > adoption.window.frames else "none")
    if adoption.part == "frame" and "features" in roles:
        keyframes = Keyframes(selector="itq", features="features")
    return {
        "kind": "expression",
        "labels": list(adoption.labels),
        "outputs": {role: role for role in roles},
        "window": _json(adoption.window),
        "keyframes": _json(keyframes),
        **({"aggregate": "mean-probabilities"} if adoption.part == "frame" else {}),
    }


def compare(network: Network, graph: bytes, reading: Reading, picture: Tensor, takes: Sequence[Take]) -> tuple[Parity, ...]:
    """Hold a wrapped graph against the given file at batch 1 and 3, on drawn faces.

    Raises:
        exporters.parity.ParityFailed: an output differs, or hardly moves.
        GraphRefused: the graph does not run on several rows.
    """
    rows = {picture.name: probe(picture, ROWS)}
    given = wrapped.reference(network, reading, picture.name, takes)(rows)
    moves = {role: parity.spread(np.asarray(values, np.float64)) for role, values in given.items()}
    tolerance = {role: TOLERANCE[role] if role not in ("features", "attention") else max(_FREE * moves[role], 1e-12) for role in moves}
    try:
        measured = parity.measure(graph, lambda _: given, DESCRIBED, rows, tolerance)
    except parity.ParityFailed:
        raise
    except Exception as error:  # onnxruntime's errors have no common class
        said = str(error).strip().splitlines()[0]
        raise GraphRefused(f"the graph does not run on several rows ({said}); export it with a dynamic batch axis") from error
    parity.require(measured)
    return measured


def _options(adoption: Adoption) -> dict[str, object]:
    outputs = [str(take) for take in adoption.takes]
    return {"made_from": "onnx", **_READING.dump_python(adoption.reading, mode="json"), "taken": outputs}


def again(folder: Folder, data: bytes) -> tuple[Parity, ...]:
    """Hold an adopted folder's graph once more against the file `data` it was made from.

    Raises:
        GraphRefused: it is another file, or the manifest's options do not say how it was read.
        exporters.parity.ParityFailed: the graph is not that network.
    """
    manifest, options = folder.manifest, folder.manifest.options
    if model_folder.sha256(data) != manifest.weights.sha256:
        raise GraphRefused(f"the file has another sha256 than {manifest.weights.source}, which the folder was made from")
    names = {field.name for field in dataclasses.fields(Reading)}
    taken = options.get("taken")
    try:
        reading = _READING.validate_python({name: value for name, value in options.items() if name in names})
    except ValidationError as error:
        raise GraphRefused(f"the manifest's options do not say how the file was read: {error.errors()[0]['msg']}") from error
    takes = [wrapped.parsed(str(text)) for text in taken] if isinstance(taken, tuple) else []
    ((part, graph),) = manifest.graphs.items()
    return compare(wrapped.opened(data), folder.graph_bytes(part), reading, graph.inputs[0], takes)


def _json(value: Strict) -> object:
    return value.model_dump(mode="json", exclude_none=True)
