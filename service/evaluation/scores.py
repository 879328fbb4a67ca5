"""The figures by which expression models are judged: accuracy, F1, confusion, RMSE, CC, CCC.

Owns the formulas and what they say of degenerate input. A figure that is not defined is NaN, never a number that looks like a result:
a constant trace has no correlation, a class that neither occurs nor was ever named has no F1. Nothing here knows a dataset or a model;
inputs are arrays or sequences of equal length, outputs are floats. NaN or infinity in an input is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

NONE = "(none)"
"""The word for no prediction; it may stand among the predictions, and never is right."""
Counts = NDArray[np.int64]


def confusion(truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Counts:
    """Count truth against prediction: int64 (K, K + 1), a row per true label, a column per predicted one, `NONE` last.

    Raises:
        ValueError: the lengths differ, or a word is none of `labels` (nor, of a prediction, `NONE`).
    """
    if len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} true labels and {len(predicted)} predicted ones; there must be as many of each")
    place = {label: index for index, label in enumerate([*labels, NONE])}
    if len(place) != len(labels) + 1:
        raise ValueError(f"labels must differ from one another and from {NONE!r}: {', '.join(labels)}")
    counts = np.zeros((len(labels), len(labels) + 1), np.int64)
    for true, said in zip(truth, predicted, strict=True):
        if true not in place or true == NONE or said not in place:
            raise ValueError(f"true label {true!r} or predicted {said!r} is none of {', '.join(labels)}")
        counts[place[true], place[said]] += 1
    return counts


def accuracy(counts: Counts) -> float:
    """Return the share of `counts` (as `confusion` gives) that is right; no prediction counts as wrong; NaN: nothing was counted."""
    total = int(counts.sum())
    return int(np.trace(counts)) / total if total else math.nan


def recall(counts: Counts) -> NDArray[np.float64]:
    """Return per label the share of its occurrences that was found, (K,); NaN where it does not occur."""
    return _ratio(np.diagonal(counts), counts.sum(axis=1))


def f1(counts: Counts) -> NDArray[np.float64]:
    """Return per label 2·TP / (2·TP + FP + FN), (K,); NaN where a label neither occurs nor was predicted."""
    right = np.diagonal(counts)
    return _ratio(2 * right, counts.sum(axis=1) + counts[:, : len(counts)].sum(axis=0))


def macro_f1(counts: Counts) -> float:
    """Return the mean F1 over the labels that occur or were predicted (those whose F1 is defined); NaN: none does."""
    return _mean(f1(counts))


def macro_recall(counts: Counts) -> float:
    """Return the mean recall over the labels that occur; NaN: none does."""
    return _mean(recall(counts))


def rmse(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the root mean square error of two traces (n,); NaN of none.

    Source: Lee et al. 2020, Eq. 6.

    Raises:
        ValueError: their lengths differ, or a value is not finite; so of all below.
    """
    y, x = _traces(truth, predicted)
    return math.sqrt(float(np.mean((x - y) ** 2))) if len(y) else math.nan


def cc(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return Pearson's correlation of two traces (n,), in [−1, 1]; NaN where either is constant or there are fewer than two values.

    Source: Lee et al. 2020, Eq. 7.
    """
    y, x = _traces(truth, predicted)
    if len(y) < 2 or _constant(y) or _constant(x):
        return math.nan
    # Of values around 1e-200 the squares would be 0: correlation does not change when each trace is scaled to 1.
    dy, dx = (_centred(values) for values in (y, x))
    return max(-1.0, min(1.0, float(dy @ dx) / math.sqrt(float(dy @ dy) * float(dx @ dx))))


def ccc(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the concordance correlation of two traces (n,), in [−1, 1], with population moments (divided by n).

    One constant trace: 0, they do not vary together. Two constant traces of one value: NaN, for 0/0; of two values: 0. Fewer than two
    values: NaN.

    Source: Lee et al. 2020, Eq. 8; ρ·σ·σ there is the covariance, which is defined for constant traces too.
    """
    y, x = _traces(truth, predicted)
    if len(y) < 2 or (_constant(y) and _constant(x) and y[0] == x[0]):
        return math.nan
    if _constant(y) or _constant(x):
        return 0.0
    # One scale for both, for the same reason as in `cc`.
    scale = max(float(np.abs(y).max()), float(np.abs(x).max()))
    y, x = y / scale, x / scale
    dy, dx = y - y.mean(), x - x.mean()
    apart = float(dy @ dy) + float(dx @ dx) + len(y) * float(x.mean() - y.mean()) ** 2
    return 2.0 * float(dy @ dx) / apart if apart > 0 else math.nan


def _traces(truth: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if y.ndim != 1 or y.shape != x.shape:
        raise ValueError(f"truth has shape {y.shape} and prediction {x.shape}; both must be (n,)")
    if not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise ValueError("a trace holds NaN or infinity; leave those samples out of both traces, or interpolate them")
    return y, x


def _constant(values: NDArray[np.float64]) -> bool:
    # Not by the variance: that of equal values is often a rounding error above 0.
    return bool(values.min() == values.max())


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean()
    return np.asarray(centred / np.abs(centred).max(), np.float64)


def _ratio(top: NDArray[np.int64], bottom: NDArray[np.int64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.full(len(top), np.nan)
    return np.asarray(np.divide(top, bottom, out=shares, where=bottom > 0), np.float64)


def _mean(values: NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
