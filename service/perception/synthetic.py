"""Perception without pixels: tables of faces in place of pictures, for benchmarks and tests of what lies behind a camera.

Owns such tables, their perception, the manifests of a detector and an expression model that need no folder, and what their
graphs compute per row (`find_row`, `express_row`, run by `engines.synthetic`). Does not own pixels (`pixels.py`).

A table is a frame's `data`: float32 `(k, 6 + d)`, per face x0, y0, x1, y1 in pixels, score, the index of its gate in `GATES`
(0: none), and d identity numbers. An identity travels as the sample through windows and comes back as features and, by its
first numbers, as probabilities: whoever mixes two people up shows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.frame import Bundle
from engines.engine import Arrays
from engines.manifest import SCHEMA, CropSpec, Detector, Expression
from service.events import Box, NoCallCode
from service.inputs import Detection, Request

DETECTOR_ID = "synthetic-detector"
EXPRESSION_ID = "synthetic-expression"
GATES: tuple[NoCallCode | None, ...] = (None, "too-small", "too-dark", "blurred", "sensor-stale")
LABELS = ("neutral", "happy", "sad", "angry")
_SCORE, _GATE, _IDENTITY = 4, 5, 6
_NO_FILE = hashlib.sha256(b"").hexdigest()
Floats = NDArray[np.float32]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class SyntheticFace:
    """One row of a table. `identity`: d numbers; their first four are the logits of `LABELS`."""

    box: Box
    identity: tuple[float, ...]
    score: float = 1.0
    gate: NoCallCode | None = None


def table(faces: Sequence[SyntheticFace], features: int) -> Floats:
    """Return the `(k, 6 + features)` float32 table of `faces`.

    Raises:
        ValueError: an identity is not `features` long, or a gate is none of `GATES`.
    """
    rows = np.zeros((len(faces), _IDENTITY + features), np.float32)
    for row, face in zip(rows, faces, strict=True):
        if len(face.identity) != features:
            raise ValueError(f"an identity has {len(face.identity)} numbers; this table's have {features}")
        if face.gate not in GATES:
            raise ValueError(f"{face.gate!r} is no gate of a sample; there are: {', '.join(gate for gate in GATES if gate)}")
        row[:_IDENTITY] = (*face.box, face.score, GATES.index(face.gate))
        row[_IDENTITY:] = face.identity
    return rows


class SyntheticPerception:
    """Perception over tables. `features`: d; `rows`: faces that fit a request, so that requests of all frames stack."""

    def __init__(self, features: int, rows: int = 8, confirm_frames: int = 3) -> None:
        self._shape = (rows, _IDENTITY + features)
        self._confirm_frames = confirm_frames

    @property
    def confirm_frames(self) -> int:
        """Frames in a row that make a face believed."""
        return self._confirm_frames

    def detect(self, bundle: Bundle) -> Request:
        """Return a request that carries the bundle's table, filled with rows of zeros.

        Raises:
            ValueError: the bundle has no table, or one that does not fit.
        """
        rows = self._table(bundle)
        padded = np.zeros(self._shape, np.float32)
        padded[: len(rows)] = rows
        return Request((DETECTOR_ID, "full"), {"table": padded})

    def faces(self, bundle: Bundle, result: Arrays) -> tuple[Detection, ...]:
        """Return the result's rows with a score above 0, best first."""
        rows = [row for row in np.asarray(result["faces"], np.float32).tolist() if row[_SCORE] > 0]
        rows.sort(key=lambda row: (-row[_SCORE], row))
        return tuple(Detection((row[0], row[1], row[2], row[3]), row[_SCORE], {}) for row in rows)

    def sample(self, bundle: Bundle, face: Detection, manifest: Expression) -> Arrays | NoCallCode:
        """Return the identity of the table's face with this box, or the gate its row names.

        Raises:
            ValueError: no row, or more than one, has this box.
        """
        return GATES[int(self._row(bundle, face)[_GATE])] or self.crops(bundle, face, manifest.crops)

    def crops(self, bundle: Bundle, face: Detection, specs: Mapping[str, CropSpec]) -> Arrays:
        """Return the identity of the table's face with this box, under each name.

        Raises:
            ValueError: no row, or more than one, has this box.
        """
        return dict.fromkeys(specs, self._row(bundle, face)[_IDENTITY:])

    def flow(self, before: NDArray[np.generic], after: NDArray[np.generic]) -> Floats:
        """Return how the identity's first two numbers changed, float32 (2,): what moves where there are no pixels."""
        return np.asarray(after[:2], np.float32) - np.asarray(before[:2], np.float32)

    def _row(self, bundle: Bundle, face: Detection) -> Floats:
        rows = self._table(bundle)
        found = np.flatnonzero((rows[:, :_SCORE] == np.array(face.box, np.float32)).all(axis=1))
        if len(found) != 1:
            raise ValueError(f"{len(found)} rows of the table of bundle {bundle.number} have the box {face.box}; one must")
        return np.asarray(rows[found[0]], np.float32)

    def _table(self, bundle: Bundle) -> Floats:
        frame = bundle.frame("color")
        if frame is None or frame.data is None:
            raise ValueError(f"bundle {bundle.number} has no table of synthetic faces")
        rows, (most, width) = frame.data, self._shape
        if rows.ndim != 2 or rows.shape[1] != width or len(rows) > most or rows.dtype != np.float32:
            raise ValueError(f"a table of synthetic faces is {rows.dtype} {rows.shape}; it must be float32 (up to {most}, {width})")
        return np.asarray(rows, np.float32)


def find_row(inputs: Arrays) -> Arrays:
    """Return what the synthetic detector's graph says of one row: `faces`, the table as it came."""
    return {"faces": inputs["table"]}


def express_row(inputs: Arrays) -> Arrays:
    """Return what the synthetic frame graph says of one identity (d,).

    `probabilities`: the softmax of its first numbers, one per label; `features`: the identity itself.
    """
    identity = np.asarray(inputs["face"], np.float32)
    odds = np.exp(identity[: len(LABELS)] - identity[: len(LABELS)].max())
    return {"probabilities": odds / odds.sum(), "features": identity}


def synthetic_detector(features: int, rows: int = 8, confirm_frames: int = 3, max_batch: int = 16) -> Detector:
    """Return the manifest of the detector that `SyntheticPerception` asks, without a folder."""
    shape = (rows, _IDENTITY + features)
    body = _common(DETECTOR_ID, "full", {"table": shape}, {"faces": shape}, max_batch)
    body |= {"kind": "detector", "decoder": "synthetic", "image": {"size": (1, 1)}, "min_score": 0.0, "confirm_frames": confirm_frames}
    return Detector.model_validate(body)


def synthetic_expression(
    features: int,
    frames: int,
    buffer: int,
    hop: int,
    *,
    id: str = EXPRESSION_ID,
    max_batch: int = 16,
    window: dict[str, Any] | None = None,
    **extra: Any,
) -> Expression:
    """Return the manifest of a frame graph over identities, without a folder.

    Four labels, windows of `frames` of `buffer` samples, the mean of their probabilities. `window` and `extra` add to, or
    replace, the manifest's keys: `window={"period_ms": 250}`, `keyframes={"selector": "uniform"}`.

    Raises:
        ValueError: fewer features than labels, or the keys break a rule of manifests.
    """
    if features < len(LABELS):
        raise ValueError(f"{features} features cannot carry the logits of {len(LABELS)} labels")
    outputs = {"probabilities": (len(LABELS),), "features": (features,)}
    body = _common(id, "frame", {"face": (features,)}, outputs, max_batch) | {
        "kind": "expression",
        "labels": LABELS,
        "crops": {"face": {"size": (1, 1), "align": "none"}},
        "outputs": {name: name for name in outputs},
        "window": {"frames": frames, "buffer": buffer, "hop": hop} | (window or {}),
        "aggregate": "mean-probabilities",
    }
    return Expression.model_validate(body | extra)


def _common(id: str, part: str, inputs: Shapes, outputs: Shapes, max_batch: int) -> dict[str, Any]:
    graph = {
        "file": "none.onnx",
        "inputs": [{"name": name, "dtype": "float32", "shape": shape} for name, shape in inputs.items()],
        "outputs": [{"name": name, "dtype": "float32", "shape": shape} for name, shape in outputs.items()],
    }
    return {
        "schema": SCHEMA,
        "id": id,
        "title": "Synthetic faces: no network",
        "files": dict.fromkeys(("none.onnx", "card.md", "LICENSE"), _NO_FILE),
        "card": "card.md",
        "graphs": {part: graph},
        "batch": {"max": max_batch, "invariant": True},
        "opset": 17,
        "weights": {"kind": "random", "source": "none: a row's answer is computed from its own numbers"},
        "licence": {"spdx": "Apache-2.0", "file": "LICENSE", "holder": "mien"},
        "cost": {"gmac_per_frame": 0.0},
    }
