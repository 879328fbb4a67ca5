"""The finder for BlazeFace graphs: anchors, decoding, weighted non-maximum suppression.

Owns how a picture becomes the graph's row and how its rows become faces. Does not own running the graph (engines), tracks
(`track.py`) or thresholds (the detector's manifest).

Graph: one uint8 RGB input as the manifest's `image` says; outputs `boxes` (N, A, 4 + 2·K) float32, per anchor cx, cy, w, h
and K keypoints x, y, in input pixels relative to the anchor's centre; `scores` (N, A) float32 logits. Anchors run through
the manifest's strides in order, row by row, `per_cell` on each cell.

Source: Bazarevsky et al. 2019, "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs" (anchors: 3.2; blending
in place of suppression: 3.4); MediaPipe's face_detection_short_range graph for score clipping and anchor centres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays
from engines.manifest import Anchors, Detector
from service.inputs import Detection
from service.perception.letterbox import Size, fit

LOGIT_LIMIT = 100.0
SMALLEST_PX = 1.0
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BlazeFace:
    """A finder for one manifest. `centres` (A, 2): anchor centres x, y in input pixels."""

    manifest: Detector
    input: str
    centres: Floats

    def prepare(self, image: NDArray[np.uint8]) -> Arrays:
        """Return the graph's row for a `(H, W, 3)` uint8 RGB picture."""
        square = fit(_size(image), self.manifest.image.size).draw(image)
        if self.manifest.image.layout == "nchw":
            square = np.ascontiguousarray(square.transpose(2, 0, 1))
        return {self.input: square}

    def decode(self, outputs: Arrays, size: Size) -> tuple[Detection, ...]:
        """Return the faces in a picture of `size` (H, W), best score first, boxes clipped to it."""
        logits = np.asarray(outputs["scores"], np.float64).reshape(-1)
        scores = 1.0 / (1.0 + np.exp(-np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT)))
        found = np.flatnonzero(scores >= self.manifest.min_score)
        if not len(found):
            return ()
        rows = _corners(np.asarray(outputs["boxes"], np.float64)[found], self.centres[found])
        real = np.isfinite(rows).all(axis=1)
        faces = merge(rows[real], scores[found][real], self.manifest.nms_iou)
        placed = fit(size, self.manifest.image.size)
        detections = (self._detection(placed.picture_points(row.reshape(-1, 2)), score, size) for row, score in faces)
        return tuple(detection for detection in detections if detection is not None)

    def _detection(self, points: Floats, score: float, size: Size) -> Detection | None:
        (x0, y0), (x1, y1) = np.clip(points[:2], 0.0, (size[1], size[0])).tolist()
        if x1 - x0 < SMALLEST_PX or y1 - y0 < SMALLEST_PX:
            return None
        keypoints = {name: (x, y) for name, (x, y) in zip(self.manifest.keypoints, points[2:].tolist(), strict=True)}
        return Detection((x0, y0, x1, y1), score, keypoints)


def create(detector: Detector) -> BlazeFace:
    """Return the finder for `detector`.

    Raises:
        ValueError: the manifest's tensors do not fit BlazeFace's layout.
    """
    graph = detector.graphs.get("full")
    if graph is None or len(graph.inputs) != 1:
        raise ValueError(f"{detector.id}: decoder 'blazeface' needs a 'full' graph with one input; it has {', '.join(detector.graphs)}")
    height, width = detector.image.size
    shape = (3, height, width) if detector.image.layout == "nchw" else (height, width, 3)
    entry = graph.inputs[0]
    if entry.dtype != "uint8" or entry.shape != shape:
        raise ValueError(f"{detector.id}: input {entry.name!r} is {entry.dtype} {entry.shape}; 'image' promises uint8 {shape}")
    centres = anchor_centres(detector.anchors, detector.image.size)
    expected = {"boxes": (len(centres), 4 + 2 * len(detector.keypoints)), "scores": (len(centres),)}
    actual = {tensor.name: tensor.shape for tensor in graph.outputs}
    for name, wanted in expected.items():
        if actual.get(name) != wanted:
            raise ValueError(f"{detector.id}: output {name!r} is {actual.get(name, 'missing')}; its anchors and keypoints make {wanted}")
    return BlazeFace(detector, entry.name, centres)


def anchor_centres(anchors: Sequence[Anchors], size: Size) -> Floats:
    """Return the `(A, 2)` anchor centres x, y in input pixels for an input of `size` (H, W)."""
    centres = []
    for layer in anchors:
        y, x = np.mgrid[0 : -(-size[0] // layer.stride), 0 : -(-size[1] // layer.stride)]
        cells = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * layer.stride
        centres.append(np.repeat(cells, layer.per_cell, axis=0))
    return np.concatenate(centres).astype(np.float64) if centres else np.zeros((0, 2))


def merge(rows: Floats, scores: Floats, overlap: float) -> list[tuple[Floats, float]]:
    """Blend overlapping candidates: each group with IoU > `overlap` to its best becomes its score-weighted mean, with the best's score.

    `rows` (k, 4 + 2·K): x0, y0, x1, y1, then keypoints, `scores` (k,). The result is the same for any order of candidates:
    they are taken by score, then by their numbers.

    Source: Bazarevsky et al. 2019, 3.4.
    """
    order = np.lexsort((*rows.T[::-1], -scores))
    rows, scores = rows[order], scores[order]
    faces: list[tuple[Floats, float]] = []
    while len(rows):
        near = overlaps(rows[0, :4], rows[:, :4]) > overlap
        near[0] = True
        weights = scores[near]
        faces.append(((weights[:, None] * rows[near]).sum(axis=0) / weights.sum(), float(scores[0])))
        rows, scores = rows[~near], scores[~near]
    return faces


def overlaps(box: Floats, boxes: Floats) -> Floats:
    """Return the intersection over union of `box` (4,) with each of `boxes` (k, 4); 0 where both are empty."""
    shared = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0.0, None).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0), np.float64)


def _corners(raw: Floats, centres: Floats) -> Floats:
    """Return rows x0, y0, x1, y1, keypoints in input pixels, of raw regressors relative to `centres`."""
    middle, half = raw[:, :2] + centres, np.abs(raw[:, 2:4]) / 2.0
    points = raw[:, 4:].reshape(len(raw), -1, 2) + centres[:, None]
    return np.concatenate([middle - half, middle + half, points.reshape(len(raw), -1)], axis=1)


def _size(image: NDArray[np.uint8]) -> Size:
    return int(image.shape[0]), int(image.shape[1])
