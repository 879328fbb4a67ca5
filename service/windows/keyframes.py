"""Choosing n of many samples: `uniform`, `stride`, `random`, `kmeans`, and by change of ITQ code.

Owns the selection rules and the use of a fitted ITQ. Does not fit one (`engines/itq.py`). Every selector returns
strictly increasing indices; all need `n <= count`.

Source: Ly et al. 2019, section 2.1; Gong & Lazebnik 2013 (ITQ); Saurav et al. 2020 (uniform with both ends).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.itq import fit_varying

START = math.inf
"""Distance of a sample without predecessor: the first after a track starts or its buffer is cleared always wins."""


@dataclass(frozen=True, slots=True, eq=False)
class Itq:
    """A fitted iterative quantisation: `mean` (D,), `components` (D, bits), `rotation` (bits, bits), all float64.

    `feature_model`: sha256 of the graph file whose features it was fitted on.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    rotation: NDArray[np.float64]
    feature_model: str

    def __post_init__(self) -> None:
        d, bits = self.components.shape
        if self.mean.shape != (d,) or self.rotation.shape != (bits, bits):
            raise ValueError(
                f"itq arrays do not fit: mean {self.mean.shape}, components {self.components.shape}, rotation {self.rotation.shape}"
            )

    @classmethod
    def load(cls, data: Path | bytes) -> Itq:
        """Read an `itq.npz`, from its path or its verified bytes.

        Raises:
            ValueError: an array is missing or the shapes do not fit.
        """
        from io import BytesIO

        with np.load(BytesIO(data) if isinstance(data, bytes) else data, allow_pickle=False) as arrays:
            missing = sorted({"mean", "components", "rotation", "feature_model"} - set(arrays.files))
            if missing:
                raise ValueError(f"itq file has no array {', '.join(missing)}; make it again with mien-export itq")
            return cls(
                np.asarray(arrays["mean"], np.float64),
                np.asarray(arrays["components"], np.float64),
                np.asarray(arrays["rotation"], np.float64),
                str(arrays["feature_model"]),
            )

    def code(self, feature: NDArray[np.generic]) -> int:
        """Return the code of one feature vector (D,), as an integer of as many bits as the fit has."""
        rotated = (np.asarray(feature, np.float64) - self.mean) @ self.components @ self.rotation
        return int.from_bytes(np.packbits(rotated >= 0.0).tobytes(), "big")


def hamming(a: int, b: int) -> int:
    """Return the number of differing bits."""
    return (a ^ b).bit_count()


def uniform(count: int, n: int) -> list[int]:
    """Return n indices evenly over `count`, first and last included: round(k·(count−1)/(n−1))."""
    _check(count, n)
    if n == 1:
        return [count - 1]
    return [math.floor(k * (count - 1) / (n - 1) + 0.5) for k in range(n)]


def stride(count: int, n: int) -> list[int]:
    """Return every k-th index, the last included, with the widest k that fits ("overlapping windows" of Ly et al.)."""
    _check(count, n)
    step = 1 if n == 1 else (count - 1) // (n - 1)
    return [count - 1 - step * (n - 1 - k) for k in range(n)]


def random(count: int, n: int, seed: int) -> list[int]:
    """Return n indices drawn without replacement."""
    _check(count, n)
    return sorted(np.random.default_rng(seed).choice(count, n, replace=False).tolist())


def by_change(distances: Sequence[float], feature_distances: Sequence[float], n: int) -> list[int]:
    """Return the n indices of largest distance; ties to the larger feature distance, then to the earlier."""
    _check(len(distances), n)
    order = sorted(range(len(distances)), key=lambda i: (-distances[i], -feature_distances[i], i))
    return sorted(order[:n])


def itq(itq: Itq, features: NDArray[np.generic], n: int) -> list[int]:
    """Return the n indices where the code changes most over a whole sequence of features (count, D)."""
    codes = [itq.code(feature) for feature in features]
    distances = [START, *(float(hamming(a, b)) for a, b in itertools.pairwise(codes))]
    moves = np.linalg.norm(np.diff(np.asarray(features, np.float64), axis=0), axis=1)
    return by_change(distances, [START, *moves.tolist()], n)


def itq_of_itself(features: NDArray[np.generic], n: int, seed: int) -> list[int]:
    """Return the n indices where the code changes most, the quantisation fitted on the sequence itself (count, D).

    Of fewer bits than 16 where the features vary along fewer axes; what does not vary at all is chosen from evenly.
    """
    fitted = fit_varying(np.asarray(features, np.float64), seed=seed)
    if fitted is None:
        return uniform(len(features), n)
    return itq(Itq(fitted.mean, fitted.components, fitted.rotation, ""), features, n)


def kmeans(features: NDArray[np.generic], n: int, seed: int, iterations: int = 50) -> list[int]:
    """Return the n samples nearest the centres of n clusters of features (count, D); each sample serves one centre."""
    points = np.asarray(features, np.float64)
    _check(len(points), n)
    centres = points[random(len(points), n, seed)]
    for _ in range(iterations):
        nearest = _squared(points, centres).argmin(axis=1)
        moved = np.stack([points[nearest == k].mean(axis=0) if (nearest == k).any() else centres[k] for k in range(n)])
        if np.array_equal(moved, centres):
            break
        centres = moved
    squared = _squared(points, centres)
    chosen: list[int] = []
    for k in range(n):
        squared[chosen, k] = np.inf
        chosen.append(int(squared[:, k].argmin()))
    return sorted(chosen)


def _squared(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(((points[:, None] - centres[None]) ** 2).sum(axis=2))


def _check(count: int, n: int) -> None:
    if not 1 <= n <= count:
        raise ValueError(f"cannot choose {n} of {count} samples; n must be in 1..{count}")
