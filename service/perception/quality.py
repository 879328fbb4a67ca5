"""Whether a face is good enough to say anything about: the gates of a model's manifest.

Owns the three measures and their order. Does not own thresholds (the manifest; how they were chosen: docs/quality.md).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.manifest import Gates
from service.events import Box, NoCallCode


def size_gate(box: Box, gates: Gates) -> NoCallCode | None:
    """Return `too-small` if the shorter side of a face box is under `min_face_px`, before any crop is cut."""
    return "too-small" if min(box[2] - box[0], box[3] - box[1]) < gates.min_face_px else None


def crop_gate(crop: NDArray[np.uint8], gates: Gates) -> NoCallCode | None:
    """Return the first of `too-dark`, `blurred` that a `(3, H, W)` uint8 RGB crop fails, or None."""
    light = luma(crop)
    if brightness(light) < gates.min_luma:
        return "too-dark"
    if gates.min_sharpness > 0 and sharpness(light) < gates.min_sharpness:
        return "blurred"
    return None


def luma(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the `(H, W)` uint8 luma of a `(3, H, W)` uint8 RGB crop.

    Source: ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B.
    """
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(crop.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY), np.uint8)


def brightness(light: NDArray[np.uint8]) -> float:
    """Return the mean of a luma picture, 0–255."""
    return float(light.mean())


def sharpness(light: NDArray[np.uint8]) -> float:
    """Return the variance of the four-neighbour Laplacian of a luma picture, in squared luma steps.

    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy: a comparative study", LAPV.
    """
    return float(cv2.Laplacian(light, cv2.CV_64F, ksize=1).var())
