"""Pictures to measure with: drawn faces, seeded, no photograph of anybody.

Owns the drawing. They are not meant to be recognised well, only to make a face network's outputs move.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Tensor


def drawn_faces(rows: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw `rows` different faces, uint8 RGB (rows, height, width, 3): skin, brows, eyes and a mouth that smiles or droops."""
    rng = np.random.default_rng(seed)
    return np.stack([_face(height, width, rng) for _ in range(rows)])


def probe(tensor: Tensor, rows: int, seed: int = 0) -> NDArray[np.generic]:
    """Make input rows for a graph input: drawn faces where it is a uint8 picture (NCHW or NHWC), else seeded normal noise."""
    shape = tensor.shape
    if tensor.dtype == "uint8" and len(shape) == 3 and 3 in (shape[0], shape[2]):
        first = shape[0] == 3
        faces = drawn_faces(rows, *(shape[1:] if first else shape[:2]), seed=seed)
        return np.ascontiguousarray(faces.transpose(0, 3, 1, 2)) if first else faces
    rng = np.random.default_rng(seed)
    if tensor.dtype == "float32":
        return rng.standard_normal((rows, *shape), dtype=np.float32)
    return rng.integers(0, 256, (rows, *shape)).astype(tensor.dtype)


def _face(height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    v, u = np.mgrid[0:height, 0:width]
    size = min(height, width)
    angle = rng.uniform(-0.2, 0.2)
    du, dv = u - width * rng.uniform(0.45, 0.55), v - height * rng.uniform(0.45, 0.55)
    x = (du * np.cos(angle) + dv * np.sin(angle)) / size
    y = (dv * np.cos(angle) - du * np.sin(angle)) / size
    skin = rng.uniform((120, 80, 60), (235, 195, 170))
    picture = np.full((height, width, 3), rng.uniform(20, 230))
    _paint(picture, _inside(x, y, 0.0, 0.0, rng.uniform(0.28, 0.38), rng.uniform(0.38, 0.47)), skin)
    opening, lift = rng.uniform(0.01, 0.05), rng.uniform(-0.04, 0.05)
    for side in (-1, 1):
        _paint(picture, _inside(x, y, side * 0.14, -0.09, 0.065, opening), np.array([245.0, 245.0, 245.0]))
        _paint(picture, _inside(x, y, side * 0.14, -0.09, 0.02, opening), np.array([30.0, 25.0, 20.0]))
        _paint(picture, np.clip(1.5 - np.hypot((x - side * 0.14) / 0.09, (y + 0.18 + lift * side * x * 4) / 0.015), 0, 1), skin * 0.3)
    _paint(picture, _inside(x, y, 0.0, 0.04, 0.025, 0.07), skin * 0.85)
    bend, gape = rng.uniform(-2.5, 2.5), rng.uniform(0.008, 0.07)
    curve = y - 0.2 + bend * (x * x - 0.01)
    _paint(picture, np.clip(1.5 - np.hypot(x / 0.14, curve / gape), 0, 1), np.array([130.0, 40.0, 45.0]))
    picture *= 1 + rng.uniform(-0.5, 0.5) * x[..., None]
    return np.clip(np.rint(picture + rng.normal(0, 3, picture.shape)), 0, 255).astype(np.uint8)


def _inside(x: NDArray[np.float64], y: NDArray[np.float64], cx: float, cy: float, rx: float, ry: float) -> NDArray[np.float64]:
    """How far inside an ellipse each pixel is, 0 to 1, soft at the edge."""
    return np.asarray(np.clip((1 - np.hypot((x - cx) / rx, (y - cy) / ry)) * 8, 0, 1), np.float64)


def _paint(picture: NDArray[np.float64], cover: NDArray[np.float64], colour: NDArray[np.float64]) -> None:
    picture += cover[..., None] * (colour - picture)
