"""Makes the shipped model folders again, each from its source.

Owns what the shipped folders' manifests say that does not follow from the network: windows, gates, calibration, licence.
Does not own texts (card.md and LICENSE.txt are written by hand and kept) or the ITQ fit (kept while the graph it was fitted on is
the same bytes; `mien-export itq` makes a new one).
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.finishing import Calibration
from engines.itq import feature_model
from engines.manifest import Anchors, CropSpec, Gates, Image, Keyframes, Weights, Window
from engines.proof import Parity
from engines.terms import Strict
from exporters import affect, architecture, checkpoint, comparison, export, model_folder, onnx_graph, packages, parity
from exporters.foreign import blazeface, faceapi, tfjs
from exporters.invariance import is_invariant, open_session
from exporters.packages import BLAZEFACE, FACE_API
from exporters.probes import drawn_faces

FER_SMALL = "fer_small.safetensors"
FER_SMALL_SHA256 = "9b7574b4b71107794563d6a328c8c0950c246dc69f5a8bce9156b1939697c87c"
FER_SMALL_ORIGINAL_SHA256 = "6f28a5dd92a261b7b9d49626aa8d3acb4e65fcdfabf444dfc5a4367578b9bf5d"
"""The torch file as the training wrote it; the committed one holds the same tensors without the training head's."""
DETECTOR_TOLERANCE = 2e-3
"""Pixels and logits. The packaged graph is float32 as well, so both sides round; logits reach several hundred."""
KEPT = ("card.md", "LICENSE.txt")


class SourceRefused(ValueError):
    """A shipped model's source is missing or is another file."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where to take sources from: `packages` a directory of the npm payloads (None: npm), `checkpoint` fer_small's weights
    (None: the committed file)."""

    packages: Path | None = None
    checkpoint: Path | None = None


Made = tuple[dict[str, object], dict[str, bytes]]


def fer_small(sources: Sources) -> Made:
    """Export fer_small from its checkpoint: manifest fields and graphs."""
    path = sources.checkpoint or committed_checkpoint()
    loaded = checkpoint.read(path)
    if loaded.sha256 not in (FER_SMALL_SHA256, FER_SMALL_ORIGINAL_SHA256):
        raise SourceRefused(
            f"{path.name} has sha256 {loaded.sha256}; fer_small's are {FER_SMALL_SHA256} or, as trained, {FER_SMALL_ORIGINAL_SHA256}"
        )
    blueprint = architecture.find("fer_small")
    checkpoint.fit(blueprint.network, loaded, blueprint.dropped)
    weights = Weights(
        kind="checkpoint",
        source=f"exporters/checkpoints/{FER_SMALL}: fer_small.pt (sha256 {FER_SMALL_ORIGINAL_SHA256}) without its training head",
        sha256=FER_SMALL_SHA256,
    )
    graphs = export.graphs(blueprint)
    fields = export.network_fields(blueprint, graphs, weights)
    # Source: measured, docs/quality.md.
    fields["gates"] = _json(Gates(min_face_px=24, min_luma=16, min_sharpness=30))
    fields["affect"] = _json(affect.derived(blueprint.labels))
    fields["calibration"] = _json(
        Calibration(
            temperature=0.655,
            ece=0.017,
            source="temperature fitted on FER+ PublicTest; ece on FER+ PrivateTest, 7 labels, 3137 faces, 15 bins",
        )
    )
    fields["licence"] = {"spdx": "Apache-2.0", "file": "LICENSE.txt", "holder": "the mien authors"}
    return fields, {f"{part}.onnx": data for part, data in graphs.items()}


def faceapi_expression(sources: Sources) -> Made:
    """Build face-api's expression network from its npm package: manifest fields and graph."""
    payload = packages.load(FACE_API, sources.packages)
    binary = "model/face_expression_model.bin"
    read = tfjs.weights(payload["model/face_expression_model-weights_manifest.json"], {Path(binary).name: payload[binary]})
    data = _bytes(faceapi.convert(read))
    inputs = {"face": np.ascontiguousarray(drawn_faces(comparison.ROWS, faceapi.SIZE, faceapi.SIZE).transpose(0, 3, 1, 2))}
    tolerance = {"probabilities": 1e-5, "features": 5e-5}
    measured = parity.measure(data, faceapi.reference(read), "torch float64 from the packaged weights", inputs, tolerance)
    fields = _measured_fields("frame", data, measured) | {
        "kind": "expression",
        "title": "face-api: 7 expressions from one face",
        "weights": _json(Weights(kind="pretrained", source=f"npm {FACE_API.spec}, {binary}", sha256=FACE_API.files[binary])),
        "licence": {"spdx": "MIT", "file": "LICENSE.txt", "holder": "Vladimir Mandic"},
        "options": {"temperature": faceapi.TEMPERATURE},
        "labels": list(faceapi.LABELS),
        "crops": {"face": _json(CropSpec(size=(faceapi.SIZE, faceapi.SIZE), scale=1.2, align="eyes"))},
        "outputs": {"probabilities": "probabilities", "features": "features"},
        "window": _json(Window(frames=16, buffer=32, hop=4)),
        "keyframes": _json(Keyframes(selector="itq", features="features")),
        "aggregate": "mean-probabilities",
        "gates": _json(Gates(min_face_px=24, min_luma=16, min_sharpness=8)),
        "affect": _json(affect.derived(faceapi.LABELS)),
        "calibration": _json(
            Calibration(
                temperature=faceapi.TEMPERATURE,
                ece=0.041,
                source="temperature fitted on FER+ PublicTest; ece on FER+ PrivateTest, 7 labels, 3137 faces, 15 bins (0.232 without)",
            )
        ),
    }
    return fields, {"frame.onnx": data}


def blazeface_front(sources: Sources) -> Made:
    """Rebuild BlazeFace's short-range network from its npm package: manifest fields and graph."""
    return _blazeface(sources, "front", 128, 0.6, "BlazeFace, short range: faces near a camera")


def blazeface_back(sources: Sources) -> Made:
    """Rebuild BlazeFace's full-range network from its npm package: manifest fields and graph."""
    return _blazeface(sources, "back", 256, 0.8, "BlazeFace, full range: groups and distant faces")


def _blazeface(sources: Sources, name: str, size: int, min_score: float, title: str) -> Made:
    path = f"ONNX/face_detection_{name}_{size}x{size}_barracuda.onnx"
    packaged = packages.load(BLAZEFACE, sources.packages)[path]
    data = _bytes(blazeface.convert(packaged, size))
    inputs = {"image": drawn_faces(comparison.ROWS, size, size)}
    tolerance = dict.fromkeys(("boxes", "scores"), DETECTOR_TOLERANCE)
    measured = parity.measure(data, _packaged_blazeface(packaged), "the packaged graph, one picture at a time", inputs, tolerance)
    fields = _measured_fields("full", data, measured) | {
        "kind": "detector",
        "title": title,
        "weights": _json(Weights(kind="pretrained", source=f"npm {BLAZEFACE.spec}, {path}", sha256=BLAZEFACE.files[path])),
        "licence": {"spdx": "Apache-2.0", "file": "LICENSE.txt", "holder": "The MediaPipe Authors"},
        "decoder": "blazeface",
        "image": _json(Image(size=(size, size), layout="nhwc")),
        "anchors": [_json(Anchors(stride=size // 16, per_cell=2)), _json(Anchors(stride=size // 8, per_cell=6))],
        "keypoints": list(blazeface.KEYPOINTS),
        "min_score": min_score,
        "nms_iou": 0.3,
        "confirm_frames": 3,
    }
    return fields, {"full.onnx": data}


def _packaged_blazeface(packaged: bytes) -> parity.Reference:
    """Run the packaged graph, fixed to a batch of one, and join its heads by what MediaPipe says of them: the finer grid first."""
    session = open_session(packaged)
    (name,) = (value.name for value in session.get_inputs())

    def reference(inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        boxes, scores = [], []
        for picture in inputs["image"]:
            scaled = (picture.astype(np.float64) / 127.5 - 1).astype(np.float32)
            heads = {head.shape[1:]: head for head in session.run(None, {name: scaled[None]})}
            boxes.append(np.concatenate([heads[512, 16][0], heads[384, 16][0]]))
            scores.append(np.concatenate([heads[512, 1][0, :, 0], heads[384, 1][0, :, 0]]))
        return {"boxes": np.stack(boxes), "scores": np.stack(scores)}

    return reference


MODELS: Mapping[str, Callable[[Sources], Made]] = {
    "blazeface-back": blazeface_back,
    "blazeface-front": blazeface_front,
    "faceapi-expression": faceapi_expression,
    "fer-small": fer_small,
}


def make(identity: str, out: Path, sources: Sources) -> tuple[str, ...]:
    """Make one shipped folder again under `out`, keeping its texts; returns what the maker should know.

    Raises:
        SourceRefused: a source is missing or another file; the folder's texts are missing.
        exporters.packages.PackageError: a package cannot be had.
        exporters.parity.ParityFailed: a graph is not its source.
    """
    fields, files = MODELS[identity](sources)
    home = shipped_folders() / identity
    for name in KEPT:
        if not (home / name).is_file():
            raise SourceRefused(f"{home / name} is missing; it is written by hand: restore it")
        files[name] = (home / name).read_bytes()
    fields |= {"id": identity, "card": "card.md"}
    notes: tuple[str, ...] = ()
    keyframes = fields.get("keyframes")
    if isinstance(keyframes, dict) and (home / "itq.npz").is_file():
        fitted = (home / "itq.npz").read_bytes()
        if feature_model(fitted) == model_folder.sha256(files["frame.onnx"]):
            files["itq.npz"] = fitted
            keyframes["file"] = "itq.npz"
        else:
            notes = (
                f"{identity}: the graph changed, so itq.npz was left out; fit it again: mien-export itq W.npz --model {out / identity}",
            )
    model_folder.write(out / identity, fields, files)
    return notes


def shipped_folders() -> Path:
    """Return the directory of the shipped model folders."""
    return Path(str(importlib.resources.files("engines") / "models"))


def committed_checkpoint() -> Path:
    """Return fer_small's checkpoint in a checkout.

    Raises:
        SourceRefused: this is an installation, which has none.
    """
    path = Path(str(importlib.resources.files("exporters") / "checkpoints" / FER_SMALL))
    if not path.is_file():
        raise SourceRefused(
            f"{FER_SMALL} is not part of an installation; give it with --checkpoint (a checkout has it in exporters/checkpoints)"
        )
    return path


def _measured_fields(part: str, data: bytes, measured: tuple[Parity, ...]) -> dict[str, object]:
    parity.require(measured)
    model = onnx_graph.parsed(data)
    entry = onnx_graph.graph_entry(model, f"{part}.onnx")
    return {
        "graphs": {part: _json(entry)},
        "batch": {"invariant": is_invariant(data, entry)},
        "opset": onnx_graph.OPSET,
        "cost": {"gmac_per_frame": onnx_graph.gmac(model)},
        "parity": [_json(one) for one in measured],
    }


def _json(value: Strict) -> object:
    return value.model_dump(mode="json", exclude_none=True)


def _bytes(model: onnx.ModelProto) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))
