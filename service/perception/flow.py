"""Dense optical flow between two crops of one track: how each point of a face moved since the sample before.

Owns the method and its parameters. Does not own which two crops make a pair or what a window's first flow is
(`windows/buffer.py`: each pair is computed once, when the later sample arrives, and cached in it).

Source: Farnebäck 2003, "Two-frame motion estimation based on polynomial expansion"; MODELS: "Farneback, 2 channels, pixels; flow_t is
from t−1 to t". The papers give no parameters; these are OpenCV's usual ones but for the window, which is made for faces of 64
pixels: 15 would cover a quarter of the face and blur the mouth into the cheek.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from service.perception.quality import luma

PYRAMID_SCALE, LEVELS = 0.5, 3
"""Each coarser level has half the size; three in all, so motions of up to about a quarter of a crop are found. Levels under 32 pixels
are left out by OpenCV itself."""
WINDOW = 9
"""Side, in pixels, of the neighbourhood whose motion is taken to be one."""
ITERATIONS = 3
"""Refinements per level."""
POLY_N, POLY_SIGMA = 5, 1.1
"""Neighbourhood of the polynomial expansion and the width of its Gaussian, in pixels; 1.1 is the width made for 5."""


def flow(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return where each pixel of `before` went in `after`: float32 `(2, H, W)`, x then y, pixels of the crop.

    Both are `(3, H, W)` uint8 RGB crops; luma alone is looked at. The same two crops give the same bytes.

    Raises:
        ValueError: the crops differ in size.
    """
    if before.shape != after.shape:
        raise ValueError(f"optical flow needs two crops of one size; these are {before.shape} and {after.shape}")
    start = np.zeros((*before.shape[1:], 2), np.float32)
    moved = cv2.calcOpticalFlowFarneback(luma(before), luma(after), start, PYRAMID_SCALE, LEVELS, WINDOW, ITERATIONS, POLY_N, POLY_SIGMA, 0)
    return np.ascontiguousarray(np.asarray(moved, np.float32).transpose(2, 0, 1))
