"""Crops of depth and heat: metres and kelvin of the region that a colour crop shows.

Owns resampling with holes: 0 is *not measured* and never mixes into a neighbour. Does not own regions (`crop.py`) or what a network
makes of metres (its graph). The picture must show what the colour picture shows, edge to edge (`aligned` in a rig file).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.frame import Frame, Modality
from engines.manifest import CropSpec
from service.inputs import Detection
from service.perception.crop import Region, region

UNIT: dict[Modality, str] = {"depth": "m", "thermal": "K"}


class UnitError(ValueError):
    """A depth or thermal frame does not say its values in metres or kelvin."""


def cut_measured(frame: Frame, color_size: tuple[int, int], face: Detection, spec: CropSpec) -> NDArray[np.float32]:
    """Return the `(1, H, W)` float32 crop, metres or kelvin, of a face found in a colour picture of `color_size` (h, w).

    Raises:
        UnitError: the frame's values are of another unit.
    """
    wanted = UNIT[frame.modality]
    if frame.data is None or frame.unit != wanted or frame.data.ndim != 2:
        raise UnitError(f"frame {frame.seq} of {frame.source!r} is {frame.modality} in {frame.unit}; it must be (H, W) in {wanted}")
    counts = np.asarray(frame.data, np.float32)
    # Counts of 0 are holes whatever the offset; so is what is no number.
    measured = np.isfinite(counts) & (counts != 0)
    values = np.where(measured, counts * np.float32(frame.scale) + np.float32(frame.offset), np.float32(0))
    height, width = spec.size
    rows, columns = counts.shape
    scale = np.array([[columns / color_size[1]], [rows / color_size[0]]])
    if spec.kind == "full":
        matrix = np.array([[columns / width, 0.0, 0.0], [0.0, rows / height, 0.0]])
    else:
        matrix = _to_picture(region(face, spec), (height, width)) * scale
    # Pixel centres are at i + 0.5 in both.
    matrix[:, 2] += matrix[:, 0] / 2 + matrix[:, 1] / 2 - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    sums = cv2.warpAffine(values, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    weights = cv2.warpAffine(measured.astype(np.float32), matrix, (width, height), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    known = weights >= 0.5
    return np.where(known, sums / np.where(known, weights, 1), 0).astype(np.float32)[None]


def _to_picture(area: Region, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the `(2, 3)` map from a crop's continuous coordinates to the colour picture's."""
    height, width = size
    cos, sin = math.cos(area.angle), math.sin(area.angle)
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([area.width / width, area.height / height])
    corner = np.array([area.x, area.y]) - turn @ np.array([width / 2, height / 2])
    return np.column_stack([turn, corner])
