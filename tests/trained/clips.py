"""Drawn clips whose classes need the order of frames: the set that test weights are trained on.

A face in which one thing changes, one way or the other: the mouth opens or closes, the brows rise or fall. A clip played backwards is
a good clip of another class, so a network that averages frames is right half the time at best. Place, size, colours, light, noise and
timing are random and say nothing of the class. Depth and temperature of the same face come with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLASSES = ("mouth opens", "mouth closes", "brows rise", "brows fall")
BACKWARDS = (1, 0, 3, 2)
"""The class of a clip of class k played backwards."""
VALENCE = (0.8, -0.8, 0.4, -0.4)
Field = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """`color` uint8 (N, T, 3, S, S) RGB; `depth` float32 (N, T, 1, S, S) m, 0 unknown; `thermal` the same in K; `label` int64 (N,)."""

    color: NDArray[np.uint8]
    depth: Field
    thermal: Field
    label: NDArray[np.int64]

    @property
    def valence(self) -> Field:
        """One value per clip, (N, 1), by its class."""
        return np.array(VALENCE, np.float32)[self.label][:, None]


def drawn(count: int, frames: int, size: int, seed: int) -> Clips:
    """Draw `count` clips of `frames` frames of `size` × `size` pixels; the same seed, the same clips."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, len(CLASSES), count)
    parts = [_some(rng, label[start : start + 32], frames, size) for start in range(0, count, 32)]
    color, depth, thermal = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Clips(color, depth, thermal, label.astype(np.int64))


def _some(rng: np.random.Generator, label: NDArray[np.int64], frames: int, size: int) -> tuple[NDArray[np.uint8], Field, Field]:
    count = len(label)

    def each(low: float, high: float) -> Field:
        return rng.uniform(low, high, (count, 1, 1, 1)).astype(np.float32)

    # How far the change is, 0 to 1, soft at both ends, begun and ended at random; backwards for the odd classes.
    t = np.linspace(0, 1, frames, dtype=np.float32)[None, :]
    begin, end = rng.uniform(-0.1, 0.35, (count, 1)), rng.uniform(0.65, 1.1, (count, 1))
    way = np.clip((t - begin) / (end - begin), 0, 1)
    way = (way * way * (3 - 2 * way)).astype(np.float32)
    way = np.where((label % 2 == 1)[:, None], 1 - way, way)
    still = rng.uniform(0, 1, (count, 1)).astype(np.float32)
    mouth = np.where((label < 2)[:, None], way, still)[..., None, None]
    brows = np.where((label < 2)[:, None], still, way)[..., None, None]

    v, u = (axis[None, None].astype(np.float32) for axis in np.mgrid[0:size, 0:size] / np.float32(size) - 0.5)
    scale = each(0.85, 1.1)
    x, y = (u - each(-0.05, 0.05)) / scale, (v - each(-0.05, 0.05)) / scale
    soft = np.float32(size / 2)

    def blob(cx: float, cy: Field | float, rx: float, ry: Field | float) -> Field:
        return np.clip((1 - np.hypot((x - cx) / rx, (y - cy) / ry)) * soft * np.minimum(rx, ry) + 0.5, 0, 1).astype(np.float32)

    head = np.broadcast_to(blob(0.0, 0.0, 0.34, 0.45), (count, frames, size, size))
    eyes = np.maximum(blob(-0.14, -0.1, 0.06, 0.035), blob(0.14, -0.1, 0.06, 0.035))
    lips = blob(0.0, 0.22, 0.13, 0.02 + 0.11 * mouth)
    height = -0.19 - 0.09 * brows
    brow = np.maximum(blob(-0.14, height, 0.11, 0.022), blob(0.14, height, 0.11, 0.022))

    skin, ground = rng.uniform(120, 225, (count, 1, 3, 1, 1)), rng.uniform(20, 235, (count, 1, 3, 1, 1))
    dark = rng.uniform(10, 60, (count, 1, 3, 1, 1))
    picture = np.broadcast_to(ground, (count, frames, 3, size, size)).astype(np.float32)
    for cover, colour in ((head, skin), (eyes, dark + 150), (lips, dark * [[[1.5]], [[0.6]], [[0.6]]]), (brow, dark)):
        picture = picture + cover[:, :, None] * (colour.astype(np.float32) - picture)
    picture *= (each(0.8, 1.15) + each(-0.3, 0.3) * u)[:, :, None]
    picture += rng.normal(0, 4, picture.shape)
    color = np.clip(np.rint(picture), 0, 255).astype(np.uint8)

    depth = each(0.7, 1.2) - 0.12 * head * (1 - 0.5 * (x * x + y * y)) + 0.04 * lips - 0.01 * brow
    thermal = each(295, 299) + each(7, 10) * head - 2.5 * lips - 1.5 * brow
    fields = []
    for values, noise in ((depth, 0.003), (thermal, 0.15)):
        noisy = values + rng.normal(0, noise, values.shape)
        noisy[rng.random(noisy.shape) < 0.02] = 0.0
        fields.append(noisy[:, :, None].astype(np.float32))
    return color, fields[0], fields[1]
