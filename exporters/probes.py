"""Pictures to measure with: drawn faces, seeded, no photograph of anybody.

Owns the drawing. They are not meant to be recognised well, only to make a face network's outputs move.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Tensor

Range = float | tuple[float, float, float]


def drawn_faces(rows: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw `rows` different faces, uint8 RGB (rows, height, width, 3): skin, brows, eyes and a mouth that smiles or droops."""
    rng = np.random.default_rng(seed)
    return np.stack([_face(height, width, rng) for _ in range(rows)])


def drawn_clips(rows: int, frames: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw `rows` clips, uint8 RGB (rows, frames, height, width, 3): in each a face that turns into another, there and half back."""
    way = 0.5 - 0.5 * np.cos(np.linspace(0.0, 1.5 * np.pi, frames))
    clips = [[_face(height, width, _Between(seed, row, share)) for share in way] for row in range(rows)]
    return np.stack([np.stack(clip) for clip in clips])


def probe(tensor: Tensor, rows: int, seed: int = 0) -> NDArray[np.generic]:
    """Make input rows for a graph input, by its dtype, shape and name.

    Drawn faces where it is a uint8 picture (NCHW or NHWC), drawn clips where it is a uint8 (T, 3, H, W); for inputs called `depth`
    (metres) and `thermal` (kelvin) heads of that shape with holes of 0; else seeded normal noise.
    """
    shape = tensor.shape
    if tensor.dtype == "uint8" and len(shape) == 3 and 3 in (shape[0], shape[2]):
        first = shape[0] == 3
        faces = drawn_faces(rows, *(shape[1:] if first else shape[:2]), seed=seed)
        return np.ascontiguousarray(faces.transpose(0, 3, 1, 2)) if first else faces
    if tensor.dtype == "uint8" and len(shape) == 4 and shape[1] == 3:
        return np.ascontiguousarray(drawn_clips(rows, shape[0], *shape[2:], seed=seed).transpose(0, 1, 4, 2, 3))
    if tensor.name in ("depth", "thermal"):
        return _heads(rows, shape, tensor.name, seed)
    rng = np.random.default_rng(seed)
    if tensor.dtype == "float32":
        return rng.standard_normal((rows, *shape), dtype=np.float32)
    return rng.integers(0, 256, (rows, *shape)).astype(tensor.dtype)


def _heads(rows: int, shape: tuple[int, ...], kind: str, seed: int) -> NDArray[np.float32]:
    """Draw depth (m) or temperature (K) of heads, float32 (rows, …, 1, H, W): a bump on a tilted plane, 0 where nothing was measured."""
    rng = np.random.default_rng((seed, 1 if kind == "depth" else 2))
    *leading, height, width = shape
    v, u = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    some = (rows, *leading, 1, 1)
    bump = np.exp(-((u - rng.uniform(-0.2, 0.2, some)) ** 2 + (v - rng.uniform(-0.2, 0.2, some)) ** 2) / rng.uniform(0.1, 0.5, some))
    tilt = rng.uniform(-1, 1, some) * u + rng.uniform(-1, 1, some) * v
    noise = rng.standard_normal((rows, *shape))
    if kind == "depth":
        values = rng.uniform(0.6, 1.4, some) + 0.05 * tilt - 0.08 * bump + 0.004 * noise
    else:
        values = rng.uniform(295.0, 300.0, some) + tilt + rng.uniform(5, 11, some) * bump + 0.2 * noise
    values[rng.random(values.shape) < 0.05] = 0.0
    return values.astype(np.float32)


class _Between:
    """Draws what lies between two seeded draws, `share` of the way; noise is each frame's own."""

    def __init__(self, seed: int, row: int, share: float) -> None:
        self._ends = np.random.default_rng((seed, row, 0)), np.random.default_rng((seed, row, 1))
        self._noise = np.random.default_rng((seed, row, 2, round(share * 1e6)))
        self._share = share

    def uniform(self, low: Range, high: Range) -> Any:
        first, second = (end.uniform(low, high) for end in self._ends)
        return first + self._share * (second - first)

    def normal(self, loc: float, scale: float, size: tuple[int, ...]) -> NDArray[np.float64]:
        return self._noise.normal(loc, scale, size)


def _face(height: int, width: int, rng: np.random.Generator | _Between) -> NDArray[np.uint8]:
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
