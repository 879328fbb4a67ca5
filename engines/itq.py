"""Fitting iterative quantisation: features to 16-bit codes whose changes choose keyframes.

Owns the fit and its file. Does not own the use (`service/windows/keyframes.py`) or the making of features (`mien windows`).
Source: Gong & Lazebnik 2013, "Iterative Quantization: A Procrustean Approach to Learning Binary Codes", section 3.2.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EPOCH = (1980, 1, 1, 0, 0, 0)
_NOTHING = 1e-9  # of the largest axis' variance: below it a feature axis carries rounding errors only


class FitRefused(ValueError):
    """The features cannot be fitted."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A fitted quantisation, float64: `mean` (D,), `components` (D, bits) principal axes in columns, `rotation` (bits, bits).

    A feature's code is the signs of (feature − mean) @ components @ rotation, 0 counting as positive. `errors`: the
    quantisation error ‖sign(VR) − VR‖² at the start and after each iteration; it never rises.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    rotation: NDArray[np.float64]
    errors: tuple[float, ...]


def fit(features: NDArray[np.floating], bits: int = 16, iterations: int = 50, seed: int = 0) -> Fit:
    """Fit to `features` (n, D).

    Raises:
        FitRefused: they are not finite, too few, or vary along fewer than `bits` axes.
    """
    values = np.asarray(features, np.float64)
    if values.ndim != 2:
        raise FitRefused(f"features must be (n, D), not {values.shape}")
    rows, width = values.shape
    if bits < 1 or width < bits or rows <= bits:
        raise FitRefused(
            f"{rows} features of {width} values cannot give {bits} bits; needed: more than {bits} features of at least {bits} values"
        )
    if not np.isfinite(values).all():
        raise FitRefused("features hold NaN or infinity; leave those rows out")
    mean = values.mean(axis=0)
    variances, axes = _axes(values - mean)
    if (found := _varying(variances)) < bits:
        raise FitRefused(f"the features vary along {found} axes only, {bits} bits need as many; fit on more varied clips or fewer bits")
    return _alternated(values, mean, axes[:, :bits], iterations, seed)


def fit_varying(features: NDArray[np.floating], most: int = 16, iterations: int = 50, seed: int = 0) -> Fit | None:
    """Fit to finite `features` (n, D) as many bits as they vary along axes, `most` at most; None: they do not vary."""
    values = np.asarray(features, np.float64)
    mean = values.mean(axis=0)
    variances, axes = _axes(values - mean)
    bits = min(most, _varying(variances), len(values) - 1)
    return None if bits < 1 else _alternated(values, mean, axes[:, :bits], iterations, seed)


def _alternated(values: NDArray[np.float64], mean: NDArray[np.float64], axes: NDArray[np.float64], iterations: int, seed: int) -> Fit:
    """Alternate codes and rotation from a seeded rotation on; `axes` (D, bits)."""
    bits = axes.shape[1]
    # Each axis' largest entry is made positive, so that its sign is settled.
    largest = np.abs(axes).argmax(axis=0)
    components = np.ascontiguousarray(axes * np.sign(axes[largest, np.arange(bits)]))
    projected = (values - mean) @ components
    rotation = _random_rotation(bits, seed)
    errors = [_error(projected @ rotation)]
    for _ in range(iterations):
        left, _, right = np.linalg.svd(projected.T @ signs(projected @ rotation))
        rotation = left @ right
        errors.append(_error(projected @ rotation))
    return Fit(mean, components, rotation, tuple(errors))


def signs(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return +1 where a value is zero or more, −1 elsewhere."""
    return np.where(values >= 0, 1.0, -1.0)


def _error(rotated: NDArray[np.float64]) -> float:
    return float(np.sum((signs(rotated) - rotated) ** 2))


def _varying(variances: NDArray[np.float64]) -> int:
    """Return along how many axes features vary: the most bits that they can be fitted to."""
    return int(np.sum(variances > _NOTHING * variances[0])) if variances[0] > 0 else 0


def _axes(centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return variances, largest first, and their axes in columns."""
    if len(centred) < centred.shape[1]:
        # A clip's few features of thousands of values: their covariance would take a minute.
        _, spread, rows = np.linalg.svd(centred, full_matrices=False)
        return spread**2 / len(centred), rows.T
    variances, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    return variances[::-1], axes[:, ::-1]


def _random_rotation(bits: int, seed: int) -> NDArray[np.float64]:
    orthogonal, upper = np.linalg.qr(np.random.default_rng(seed).standard_normal((bits, bits)))
    # The factorisation leaves the columns' signs open; this settles them.
    return np.asarray(orthogonal * np.where(np.diag(upper) < 0, -1.0, 1.0), np.float64)


def as_file(fitted: Fit, feature_model: str) -> bytes:
    """Write a fit as `itq.npz`; the same fit gives the same bytes. `feature_model`: sha256 of the graph that made the features."""
    arrays: Mapping[str, NDArray[np.generic]] = {
        "mean": fitted.mean,
        "components": fitted.components,
        "rotation": fitted.rotation,
        "feature_model": np.array(feature_model),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, values in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, values, allow_pickle=False)
            # numpy's own savez stamps the current time into the archive.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), entry.getvalue())
    return buffer.getvalue()


def feature_model(file: bytes) -> str:
    """Read from an `itq.npz` the sha256 of the graph that it was fitted on.

    Raises:
        FitRefused: it says none.
    """
    try:
        with np.load(io.BytesIO(file), allow_pickle=False) as arrays:
            return str(arrays["feature_model"])
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise FitRefused(f"not an itq file: {error}; make it again with mien-export itq") from error
